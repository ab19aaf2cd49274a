//! `firewall`: lets the container's traffic through the host's firewall, and keeps bridges, or all containers, apart.

mod bus;
mod zone;

use std::net::IpAddr;

use linkspan_model::{Fixture, Guests, IfName, Part};

use self::zone::Zone;
use crate::error::Code;
use crate::part::found;
use crate::{Call, CniError, CniResult, Host, Plugin};

const NAME: &str = "firewall";
const ZONE: &str = "trusted";

/// The plugin.
pub struct Firewall;

/// Who speaks to the host's firewall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Backend {
    Iptables,
    Firewalld,
}

/// Who may begin to talk to the container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    Open,
    SameBridge,
    Isolated,
}

/// Its configuration.
struct Config {
    /// None if it depends on whether firewalld runs.
    backend: Option<Backend>,
    zone: String,
    policy: Policy,
}

/// What a policy is about.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Behind {
    bridge: IfName,
    /// The container's port of it.
    port: Option<IfName>,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let backend = match call.config.text("backend")?.as_deref() {
            None => None,
            Some("iptables") => Some(Backend::Iptables),
            Some("firewalld") => Some(Backend::Firewalld),
            Some(other) => {
                return Err(CniError::new(Code::FIELD, format!("backend {other:?} is not supported"))
                    .because("there are \"iptables\" and \"firewalld\""));
            }
        };
        let policy = match call.config.text("ingressPolicy")?.as_deref() {
            None | Some("open") => Policy::Open,
            Some("same-bridge") => Policy::SameBridge,
            Some("isolated") => Policy::Isolated,
            Some(other) => return Err(CniError::config(format!("unknown ingress policy: {other:?}"))),
        };
        let zone = call.config.text("firewalldZone")?.unwrap_or_else(|| ZONE.to_owned());
        Ok(Self { backend, zone, policy })
    }

    /// The zone that the container belongs into, where firewalld has the say.
    fn zone(&self) -> Result<Option<Zone>, CniError> {
        match self.backend {
            Some(Backend::Iptables) => Ok(None),
            Some(Backend::Firewalld) => Zone::open(&self.zone).map(Some),
            None => Ok(Zone::of_running(&self.zone)),
        }
    }
}

impl Policy {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::SameBridge => "same-bridge",
            Self::Isolated => "isolated",
        }
    }

    /// What it is about, by the result so far; none if it keeps nobody out.
    fn behind(self, prev: &CniResult) -> Result<Option<Behind>, CniError> {
        if self == Self::Open {
            return Ok(None);
        }
        let name = self.name();
        let first = prev.interfaces.first().filter(|first| first.sandbox.is_none());
        let missing = || {
            CniError::config(format!(
                "interface needs to be set for ingress policy {name:?}, make sure to chain \"firewall\" plugin with \
                 \"bridge\""
            ))
        };
        let bridge = first.ok_or_else(missing)?.name.parse()?;
        let mut ports = prev.interfaces.iter().skip(1).filter(|interface| interface.sandbox.is_none());
        let port = ports.next().map(|port| port.name.parse()).transpose()?;
        Ok(Some(Behind { bridge, port }))
    }

    fn guests(self, bridge: IfName) -> Guests {
        let bridges = [bridge].into();
        match self {
            Self::Open => Guests::default(),
            Self::SameBridge => Guests { closed: bridges, ..Guests::default() },
            Self::Isolated => Guests { sealed: bridges, ..Guests::default() },
        }
    }

    fn enforce(self, call: &Call, prev: &CniResult, host: &mut Host) -> Result<(), CniError> {
        let Some(Behind { bridge, port }) = self.behind(prev)? else { return Ok(()) };
        let guests = self.guests(bridge);
        match port.filter(|_| self == Self::Isolated) {
            Some(port) => {
                let fixtures = vec![Fixture::Isolated { port: port.clone() }];
                let part = Part { owner: NAME.to_owned(), fixtures, ..Part::default() };
                call.fit(host, (part, guests), found(call, prev, Some(port)), false)?;
            }
            None => host.engine()?.hold(&call.network()?, &guests)?,
        }
        Ok(())
    }

    fn check(self, call: &Call, prev: &CniResult, host: &mut Host) -> Result<(), CniError> {
        let Some(Behind { bridge, port }) = self.behind(prev)? else { return Ok(()) };
        let broken = host.engine()?.broken(&call.network()?, &self.guests(bridge))?;
        if let Some((first, others)) = broken.split_first() {
            let name = self.name();
            let error = CniError::other(format!("ingress policy {name:?} does not hold: {first}"));
            return Err(others.iter().fold(error, CniError::because));
        }
        if self == Self::Isolated && port.is_some() { call.compare(host, NAME) } else { Ok(()) }
    }
}

fn previous(call: &Call) -> Result<&CniResult, CniError> {
    call.prev.as_ref().ok_or_else(|| CniError::config("missing prevResult from earlier plugin"))
}

fn addresses(prev: &CniResult) -> Vec<IpAddr> {
    prev.ips.iter().map(|ip| ip.address.addr()).collect()
}

impl Plugin for Firewall {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        let prev = previous(call)?;
        config.policy.behind(prev)?;
        let mut zone = config.zone()?;
        if let Some(zone) = &mut zone {
            zone.add(&addresses(prev))?;
        }
        config.policy.enforce(call, prev, host).inspect_err(|_| {
            if let Some(zone) = &mut zone {
                zone.remove(&addresses(prev));
            }
        })?;
        Ok(prev.clone())
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let config = Config::read(call);
        if let (Ok(config), Some(prev)) = (&config, &call.prev)
            && let Ok(Some(mut zone)) = config.zone()
        {
            zone.remove(&addresses(prev));
        }
        // What cannot be read now was read once, so there may be something.
        if config.is_ok_and(|config| config.policy != Policy::Isolated) {
            return Ok(());
        }
        call.unfit(host, NAME).map(drop)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let config = Config::read(call)?;
        let prev = previous(call)?;
        if let Some(mut zone) = config.zone()? {
            zone.check(&addresses(prev))?;
        }
        config.policy.check(call, prev, host)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.collect(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interface;

    fn behind(policy: Policy, interfaces: &[(&str, bool)]) -> Result<Option<Behind>, CniError> {
        let interface = |(name, inside): &(&str, bool)| Interface {
            name: (*name).to_owned(),
            sandbox: inside.then(|| "/run/netns/a".to_owned()),
            ..Interface::default()
        };
        let interfaces = interfaces.iter().map(interface).collect();
        policy.behind(&CniResult { interfaces, ..CniResult::default() })
    }

    #[test]
    fn a_policy_is_about_the_first_interface_and_the_port_after_it() {
        let all = [("cni0", false), ("veth1", false), ("eth0", true)];
        let found = behind(Policy::Isolated, &all).unwrap().unwrap();
        assert_eq!(found.bridge.as_str(), "cni0");
        assert_eq!(found.port.as_ref().map(IfName::as_str), Some("veth1"));
        let no_port = behind(Policy::Isolated, &[("cni0", false), ("eth0", true)]).unwrap().unwrap();
        assert_eq!(no_port.port, None);
        assert_eq!(behind(Policy::Open, &all), Ok(None));
    }

    #[test]
    fn a_policy_needs_a_bridge() {
        for interfaces in [&[][..], &[("eth0", true)]] {
            let error = behind(Policy::SameBridge, interfaces).unwrap_err();
            assert!(error.msg.ends_with("make sure to chain \"firewall\" plugin with \"bridge\""), "{error}");
            assert!(error.msg.contains("ingress policy \"same-bridge\""), "{error}");
        }
    }
}
