//! Settling which host ports a sandbox gets.

use linkspan_model::{Endpoint, Family, Network, PublishSpec, Published};
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
    endpoint: Option<linkspan_model::Id>,
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
pub fn sandbox_of(tx: &Tx<'_>, endpoint: linkspan_model::Id) -> Result<String, Error> {
    let endpoint = tx.endpoint(endpoint)?;
    let sandbox = endpoint.map(|endpoint| tx.sandbox_by_id(endpoint.sandbox)).transpose()?.flatten();
    Ok(sandbox.map_or_else(|| "another sandbox".to_owned(), |sandbox| format!("sandbox '{}'", sandbox.name)))
}

/// Publishes `specs` through the endpoint that has the default route.
pub fn publish<K: Kernel>(
    tx: &Tx<'_>,
    kernel: &mut K,
    specs: &[PublishSpec],
    attached: &mut [(Endpoint, Network)],
) -> Result<(), Error> {
    if specs.is_empty() {
        return Ok(());
    }
    let through =
        [Family::V4, Family::V6].into_iter().find_map(|family| desired::default_route(attached, family));
    let Some(id) = through.map(|(endpoint, _)| endpoint.id) else {
        let refused = Error::refused("no port can be published");
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
    let Some((endpoint, network)) = attached.iter_mut().find(|(endpoint, _)| endpoint.id == id) else {
        return Ok(());
    };
    if let Some(parent) = &network.parent {
        return Err(Error::refused("no port can be published")
            .because(format!(
                "the sandbox answers by network '{}', which is on {} beside the host, not behind it",
                network.name, parent.device
            ))
            .hinting("its ports are reached at its own address; or prefer a bridge network (gw-priority)"));
    }
    let target = Target {
        default_host: network.bridge.host_binding.into(),
        v4: endpoint.lease(Family::V4).is_some(),
        v6: endpoint.lease(Family::V6).is_some(),
    };
    let cursor = tx.port_cursor()?.unwrap_or(ports::FIRST_DYNAMIC);
    let mut holders = Holders { tx, kernel, endpoint: None };
    let chosen = ports::choose(specs, target, cursor, &mut holders);
    let in_the_way = holders.endpoint;
    let chosen = chosen.map_err(|refusal| refused(refusal, in_the_way))?;
    if chosen.cursor != cursor {
        tx.set_port_cursor(chosen.cursor)?;
    }
    endpoint.published = chosen.published;
    Ok(())
}

fn refused(refusal: Refusal<Error>, in_the_way: Option<linkspan_model::Id>) -> Error {
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
