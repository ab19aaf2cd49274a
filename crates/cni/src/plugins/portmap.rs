//! `portmap`: ports of the container under ports of the host. They are elements of Linkspan's own maps, so that each costs the
//! same however many there are, and no other plugin's rule is before or behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linkspan_model::{Family, Guests, Lease, Part, PortRange, Published};

use crate::behind::{self, Behind};
use crate::error::Code;
use crate::part::found;
use crate::ports::{Mapping, mappings};
use crate::{Call, CniError, CniResult, Host, Plugin};

const NAME: &str = "portmap";
/// iptables marks have 32 bits.
const MARK_BITS: std::ops::RangeInclusive<i64> = 0..=31;

/// The plugin.
pub struct Portmap;

/// Its configuration.
struct Config {
    mappings: Vec<Mapping>,
    /// Whether the host itself, and the container's neighbours, reach the ports too.
    snat: bool,
    /// Whether all that reach the ports come with the host's address.
    masquerade_all: bool,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let config = &call.config;
        if let Some(backend) = config.text("backend")?
            && !["iptables", "nftables"].contains(&backend.as_str())
        {
            return Err(CniError::config(format!("unrecognized backend {backend:?}")));
        }
        let chain = config.text("externalSetMarkChain")?;
        let bit = config.number::<i64>("markMasqBit")?;
        if chain.is_some() && bit.is_some() {
            return Err(CniError::config("Cannot specify externalSetMarkChain and markMasqBit"));
        }
        if bit.is_some_and(|bit| !MARK_BITS.contains(&bit)) {
            return Err(CniError::config("MasqMarkBit must be between 0 and 31"));
        }
        if let Some(chain) = chain {
            return Err(CniError::new(
                Code::FIELD,
                format!("externalSetMarkChain {chain:?} is not supported"),
            )
            .because("nothing is marked here: what needs the host's address is known by its elements"));
        }
        for key in ["conditionsV4", "conditionsV6"] {
            if let Some(condition) = config.strings(key)?.first() {
                return Err(CniError::new(Code::FIELD, format!("{key} {condition:?} is not supported"))
                    .because(
                        "ports are published by maps, which take no conditions; hostIP restricts them",
                    ));
            }
        }
        Ok(Self {
            mappings: mappings(call)?,
            snat: config.boolean("snat")?.unwrap_or(true),
            masquerade_all: config.boolean("masqAll")?.unwrap_or_default(),
        })
    }

    /// What is made for a container with the addresses `leases`, which is behind `behind` if no plugin of ours said so.
    fn part(&self, leases: &[Lease], behind: Option<Behind>) -> (Part, Guests) {
        let mut part = Part { owner: NAME.to_owned(), ..Part::default() };
        let mut guests = Guests::default();
        for family in [Family::V4, Family::V6] {
            let Some(lease) = leases.iter().find(|lease| Family::of(lease.address) == family) else {
                continue;
            };
            let published: Vec<_> =
                self.mappings.iter().filter_map(|mapping| published(mapping, family)).collect();
            if self.masquerade_all && !published.is_empty() {
                part.masquerade_to.push(lease.address);
            }
            part.published.extend(published);
        }
        if let Some(behind) = behind.filter(|_| self.snat) {
            behind.enter(&mut part, &mut guests);
        }
        (part, guests)
    }
}

/// A mapping as it is for `family`; none if its host address is of the other.
fn published(mapping: &Mapping, family: Family) -> Option<Published> {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    Some(Published {
        protocol: mapping.protocol,
        host_ip: mapping.host_ip.map_or(Some(any), |ip| Some(ip).filter(|ip| Family::of(*ip) == family))?,
        host: PortRange::single(mapping.host),
        target: PortRange::single(mapping.container),
    })
}

fn unreadable(error: CniError) -> CniError {
    CniError { msg: format!("failed to parse config: {}", error.msg), ..error }
}

impl Plugin for Portmap {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call).map_err(unreadable)?;
        let prev = call.prev.as_ref();
        let prev = prev.ok_or_else(|| CniError::config("must be called as chained plugin"))?;
        if config.mappings.is_empty() {
            return Ok(prev.clone());
        }
        let behind = behind::unless_known(call, prev, host)?;
        let footing = found(call, prev, behind.as_ref().map(|behind| behind.device.clone()));
        let parts = config.part(&footing.leases, behind);
        if parts.0.published.is_empty() {
            return Ok(prev.clone());
        }
        call.fit(host, parts, footing, false)?;
        Ok(prev.clone())
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        // What cannot be read now was read once, so there may be something.
        if Config::read(call).is_ok_and(|config| config.mappings.is_empty()) {
            return Ok(());
        }
        call.unfit(host, NAME).map(drop)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let config = Config::read(call).map_err(unreadable)?;
        if call.prev.is_none() {
            return Err(CniError::config("Required prevResult missing"));
        }
        if config.mappings.is_empty() { Ok(()) } else { call.compare(host, NAME) }
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.collect(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::lease;

    fn mapping(host_ip: Option<&str>) -> Mapping {
        let protocol = "tcp".parse().unwrap();
        Mapping { host_ip: host_ip.map(|ip| ip.parse().unwrap()), host: 8080, container: 80, protocol }
    }

    fn of(mappings: Vec<Mapping>, masquerade_all: bool) -> (Part, Guests) {
        let leases =
            ["10.1.0.2/24", "10.1.0.3/24", "fd00::2/64"].map(|net| lease(net.parse().unwrap(), None));
        let behind = Behind { device: "cni0".parse().unwrap(), is_bridge: true };
        Config { mappings, snat: true, masquerade_all }.part(&leases, Some(behind))
    }

    #[test]
    fn each_family_gets_its_own() {
        let hosts = |part: &Part| part.published.iter().map(|p| p.host_ip.to_string()).collect::<Vec<_>>();
        let (part, guests) = of(vec![mapping(None)], false);
        assert_eq!(hosts(&part), ["0.0.0.0", "::"]);
        assert!(part.masquerade_to.is_empty() && guests.bridges.len() == 1);
        assert_eq!(hosts(&of(vec![mapping(Some("192.0.2.1"))], false).0), ["192.0.2.1"]);
        assert_eq!(hosts(&of(vec![mapping(Some("::"))], false).0), ["::"]);
    }

    #[test]
    fn the_first_address_of_a_family_is_masqueraded_to() {
        let (part, _) = of(vec![mapping(None)], true);
        assert_eq!(part.masquerade_to, ["10.1.0.2", "fd00::2"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    }
}
