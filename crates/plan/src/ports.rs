//! Which host ports are published.

use std::net::{IpAddr, Ipv6Addr};

use linkspan_model::{Family, PortRange, PublishSpec, Published};
use thiserror::Error;

/// Where ports that nobody asked for by number begin (IANA's dynamic range, as Docker does).
pub const FIRST_DYNAMIC: u16 = 49153;

/// Who has which host port.
pub trait HostPorts {
    /// Why it could not be found out.
    type Error;

    /// Who has a port of `published` already, in words.
    ///
    /// # Errors
    /// If it could not be found out.
    fn holder(&mut self, published: &Published) -> Result<Option<String>, Self::Error>;
}

/// Where published ports lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The host address for those that name none.
    pub default_host: IpAddr,
    /// Whether there is an IPv4 address to publish.
    pub v4: bool,
    /// Whether there is an IPv6 address to publish.
    pub v6: bool,
}

/// Why a port cannot be published.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal<E> {
    /// Somebody has it.
    #[error("port {} is taken by {by}", .published)]
    Taken {
        /// What was to be published.
        published: Published,
        /// Who has it.
        by: String,
    },
    /// No row of free ports is left.
    #[error("no {count} free host port(s) in a row in {within}")]
    NoneFree {
        /// How many are needed.
        count: u32,
        /// Where they were looked for.
        within: PortRange,
    },
    /// The sandbox has no address of the host address's family.
    #[error("nothing to publish on {host}: the sandbox has no {} address", Family::of(*.host))]
    NoAddress {
        /// The host address.
        host: IpAddr,
    },
    /// Port holders could not be found out.
    #[error(transparent)]
    Ports(E),
}

/// Ports chosen for a sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// What is published.
    pub published: Vec<Published>,
    /// Where the next search for a dynamic port goes on.
    pub cursor: u16,
}

/// Settles every spec: host addresses filled in, dynamic ports chosen from `cursor` on, conflicts refused.
///
/// # Errors
/// If a port is taken or none is free; nothing is chosen then.
pub fn choose<P: HostPorts>(
    specs: &[PublishSpec],
    target: Target,
    cursor: u16,
    ports: &mut P,
) -> Result<Chosen, Refusal<P::Error>> {
    let mut chooser = Chooser { chosen: Vec::new(), cursor: cursor.max(FIRST_DYNAMIC), ports };
    for spec in specs {
        let hosts = host_addresses(spec, target)?;
        let found = match spec.host {
            Some(range) if range.count() == spec.target.ports.count() => {
                chooser.exactly(spec, &hosts, range)?
            }
            Some(range) => chooser.within(spec, &hosts, range, range.first)?,
            None => chooser.dynamic(spec, &hosts)?,
        };
        chooser.chosen.extend(found);
    }
    Ok(Chosen { published: chooser.chosen, cursor: chooser.cursor })
}

/// The addresses that a spec publishes on. One for every address of the host stands for both families.
fn host_addresses<E>(spec: &PublishSpec, target: Target) -> Result<Vec<IpAddr>, Refusal<E>> {
    let has = |host: &IpAddr| if host.is_ipv4() { target.v4 } else { target.v6 };
    let (first, both) = match spec.host_ip {
        Some(host) => (host, false),
        None => (target.default_host, target.default_host.is_unspecified()),
    };
    let mut hosts = vec![first];
    if both && first.is_ipv4() {
        hosts.push(Ipv6Addr::UNSPECIFIED.into());
        hosts.retain(has);
    }
    match hosts.iter().find(|host| !has(host)) {
        Some(host) => Err(Refusal::NoAddress { host: *host }),
        None if hosts.is_empty() => Err(Refusal::NoAddress { host: first }),
        None => Ok(hosts),
    }
}

struct Chooser<'a, P> {
    chosen: Vec<Published>,
    cursor: u16,
    ports: &'a mut P,
}

impl<P: HostPorts> Chooser<'_, P> {
    fn exactly(
        &mut self,
        spec: &PublishSpec,
        hosts: &[IpAddr],
        range: PortRange,
    ) -> Result<Vec<Published>, Refusal<P::Error>> {
        let candidates = at(spec, hosts, range);
        for published in &candidates {
            if let Some(by) = self.holder(published)? {
                return Err(Refusal::Taken { published: published.clone(), by });
            }
        }
        Ok(candidates)
    }

    /// The first free row of ports in `range`, tried from `start` on and then from its beginning.
    fn within(
        &mut self,
        spec: &PublishSpec,
        hosts: &[IpAddr],
        range: PortRange,
        start: u16,
    ) -> Result<Vec<Published>, Refusal<P::Error>> {
        let count = spec.target.ports.count();
        let last_start = u32::from(range.last) + 1 - count.min(range.count());
        let starts = || {
            (range.first..=range.last)
                .filter(|first| count <= range.count() && u32::from(*first) <= last_start)
        };
        for first in starts().filter(|first| *first >= start).chain(starts().filter(|first| *first < start)) {
            let last = u16::try_from(u32::from(first) + count - 1).unwrap_or(u16::MAX);
            match self.exactly(spec, hosts, PortRange { first, last }) {
                Err(Refusal::Taken { .. }) => {}
                settled => return settled,
            }
        }
        Err(Refusal::NoneFree { count, within: range })
    }

    fn dynamic(&mut self, spec: &PublishSpec, hosts: &[IpAddr]) -> Result<Vec<Published>, Refusal<P::Error>> {
        let all = PortRange { first: FIRST_DYNAMIC, last: u16::MAX };
        let found = self.within(spec, hosts, all, self.cursor)?;
        let next = found.first().and_then(|published| published.host.last.checked_add(1));
        self.cursor = next.unwrap_or(FIRST_DYNAMIC);
        Ok(found)
    }

    fn holder(&mut self, published: &Published) -> Result<Option<String>, Refusal<P::Error>> {
        if self.chosen.iter().any(|other| other.conflicts(published)) {
            return Ok(Some("another -p of the same sandbox".to_owned()));
        }
        self.ports.holder(published).map_err(Refusal::Ports)
    }
}

fn at(spec: &PublishSpec, hosts: &[IpAddr], range: PortRange) -> Vec<Published> {
    let published = |host: &IpAddr| Published {
        protocol: spec.target.protocol,
        host_ip: *host,
        host: range,
        target: spec.target.ports,
    };
    hosts.iter().map(published).collect()
}
