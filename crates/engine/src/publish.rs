//! Settling which host ports a sandbox gets.

use std::net::Ipv4Addr;

use linkspan_model::{Endpoint, Family, Id, Network, PublishSpec, Published};
use linkspan_plan::ports::{self, HostPorts, Refusal, Target};
use linkspan_plan::{Failure, Kernel, desired};
use linkspan_store::Tx;

use crate::Error;
use crate::error::Obstacle;

/// The ports of this host as store and kernel have them.
struct Holders<'a, K> {
    tx: &'a Tx<'a>,
    kernel: &'a mut K,
    /// The endpoint last found in the way.
    endpoint: Option<Id>,
}

impl<K: Kernel> HostPorts for Holders<'_, K> {
    type Error = Error;

    fn holder(&mut self, published: &Published) -> Result<Option<String>, Error> {
        if let Some(endpoint) = self.tx.publish_conflict(published)? {
            self.endpoint = Some(endpoint);
            return Ok(Some(sandbox_of(self.tx, endpoint)?));
        }
        let found = self.kernel.port_holder(published.protocol, published.host_ip, published.host);
        let found = found.map_err(|error| match error.failure {
            Failure::NotFound => Error::refused(format!("cannot publish on {}", published.host_ip))
                .because("this host has no such address")
                .hinting("`ip address` lists the host's addresses; leave it out to publish on all of them"),
            _ => error.into(),
        })?;
        Ok(found.map(|holder| match holder.process {
            Some(process) => format!("process {process}, listening on port {}", holder.port),
            None => format!("a process listening on port {}", holder.port),
        }))
    }
}

/// Whose endpoint it is, in words.
pub fn sandbox_of(tx: &Tx<'_>, endpoint: Id) -> Result<String, Error> {
    let endpoint = tx.endpoint(endpoint)?;
    let sandbox = endpoint.map(|endpoint| tx.sandbox_by_id(endpoint.sandbox)).transpose()?.flatten();
    Ok(sandbox.map_or_else(|| "another sandbox".to_owned(), |sandbox| format!("sandbox '{}'", sandbox.name)))
}

/// The endpoints that ports are published through.
struct Ways {
    default_host: Ipv4Addr,
    v4: Option<Id>,
    v6: Option<Id>,
}

impl Ways {
    /// Those that have the default routes; a family without one goes with the other.
    fn of(attached: &[(Endpoint, Network)]) -> Result<Self, Error> {
        let refused = Error::refused("no port can be published");
        let through = |family| {
            let id = desired::default_route(attached, family)?.0.id;
            attached.iter().find(|(endpoint, _)| endpoint.id == id)
        };
        let (v4, v6) = (through(Family::V4), through(Family::V6));
        let Some(first) = v4.or(v6) else {
            return Err(if attached.iter().all(|(_, network)| network.internal) {
                refused
                    .because("the sandbox is on no network that reaches outside")
                    .hinting("attach it to a network that is not --internal")
            } else {
                refused
                    .because("its namespace has a default route of its own, by which the answers would leave")
                    .hinting("remove that route first (`ip route`)")
            });
        };
        if let (_, Network { parent: Some(parent), name, .. }) = first {
            return Err(refused
                .because(format!(
                    "the sandbox answers by network '{name}', which is on {} beside the host, not behind it",
                    parent.device
                ))
                .hinting(
                    "its ports are reached at its own address; or prefer a bridge network (gw-priority)",
                ));
        }
        let way = |found: Option<&(Endpoint, Network)>, family| {
            let with_first = || Some(first).filter(|(endpoint, _)| endpoint.lease(family).is_some());
            let behind_the_host = found.or_else(with_first).filter(|(_, network)| network.parent.is_none());
            behind_the_host.map(|(endpoint, _)| endpoint.id)
        };
        let (v4, v6) = (way(v4, Family::V4), way(v6, Family::V6));
        Ok(Self { default_host: first.1.bridge.host_binding, v4, v6 })
    }
}

/// Publishes `specs`, each family through the endpoint that has its default route.
pub fn publish<K: Kernel>(
    tx: &Tx<'_>,
    kernel: &mut K,
    specs: &[PublishSpec],
    attached: &mut [(Endpoint, Network)],
) -> Result<(), Error> {
    if specs.is_empty() {
        return Ok(());
    }
    let Ways { default_host, v4, v6 } = Ways::of(attached)?;
    let target = Target { default_host: default_host.into(), v4: v4.is_some(), v6: v6.is_some() };
    let cursor = tx.port_cursor()?.unwrap_or(ports::FIRST_DYNAMIC);
    let mut holders = Holders { tx, kernel, endpoint: None };
    let chosen = ports::choose(specs, target, cursor, &mut holders);
    let in_the_way = holders.endpoint;
    let chosen = chosen.map_err(|refusal| refused(refusal, in_the_way))?;
    if chosen.cursor != cursor {
        tx.set_port_cursor(chosen.cursor)?;
    }
    for published in chosen.published {
        let through = if published.host_ip.is_ipv4() { v4 } else { v6 };
        if let Some((endpoint, _)) = attached.iter_mut().find(|(endpoint, _)| Some(endpoint.id) == through) {
            endpoint.published.push(published);
        }
    }
    Ok(())
}

fn refused(refusal: Refusal<Error>, in_the_way: Option<Id>) -> Error {
    match refusal {
        Refusal::Ports(error) => error,
        Refusal::Taken { published, by } => {
            let error = Error::refused(format!("cannot publish {published}"))
                .because(format!("the port is taken by {by}"))
                .hinting("choose another host port, or leave it out to have one chosen");
            in_the_way.map(Obstacle::Endpoint).into_iter().fold(error, Error::behind)
        }
        Refusal::NoneFree { .. } => Error::refused("cannot publish").because(refusal.to_string()),
        Refusal::NoAddress { .. } => Error::refused("cannot publish")
            .because(refusal.to_string())
            .hinting("attach the sandbox to a network of that family (network create --ipv6)"),
    }
}
