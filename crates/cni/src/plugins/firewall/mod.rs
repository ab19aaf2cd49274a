//! `firewall`: lets the container's traffic through the host's firewall, and keeps bridges, or all containers, apart.

mod gate;
mod zone;

use std::net::IpAddr;

use linkspan_model::{Fixture, Guests, IfName, Part};

use self::gate::Door;
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
    /// The administrator's chain, if it is named.
    admin: Option<String>,
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
        let admin = call.config.text("iptablesAdminChainName")?;
        if admin.as_ref().is_some_and(|admin| !is_chain(admin)) {
            return Err(CniError::config("iptablesAdminChainName cannot be the name of a chain").because(
                "it has up to 28 characters, none of them a blank, and does not begin with '-' or '!'",
            ));
        }
        Ok(Self { backend, zone, admin, policy })
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

    fn wanted(self, prev: &CniResult) -> Result<Wanted, CniError> {
        let Some(Behind { bridge, port }) = self.behind(prev)? else { return Ok(Wanted::default()) };
        let port = port.filter(|_| self == Self::Isolated);
        let fixtures = port.iter().map(|port| Fixture::Isolated { port: port.clone() }).collect();
        Ok(Wanted { fixtures, guests: self.guests(bridge), device: port })
    }

    fn check(self, call: &Call, prev: &CniResult, host: &mut Host) -> Result<(), CniError> {
        let Some(Behind { bridge, .. }) = self.behind(prev)? else { return Ok(()) };
        let broken = host.engine()?.broken(&call.network()?, &self.guests(bridge))?;
        if let Some((first, others)) = broken.split_first() {
            let name = self.name();
            let error = CniError::other(format!("ingress policy {name:?} does not hold: {first}"));
            return Err(others.iter().fold(error, CniError::because));
        }
        Ok(())
    }
}

/// What is to be made.
#[derive(Default)]
struct Wanted {
    /// For the container alone.
    fixtures: Vec<Fixture>,
    /// For all of its network.
    guests: Guests,
    /// The device by which the container alone is reached, if it is about that.
    device: Option<IfName>,
}

impl Wanted {
    fn new(config: &Config, prev: &CniResult, is_zoned: bool) -> Result<Self, CniError> {
        let mut wanted = config.policy.wanted(prev)?;
        let Some(door) = Door::of(prev).filter(|_| !is_zoned) else { return Ok(wanted) };
        let admissions = door.admissions(prev, config.admin.as_deref())?;
        if door.is_own {
            wanted.device = Some(door.device);
            wanted.fixtures.extend(admissions.into_iter().map(Fixture::Admitted));
        } else {
            // What holds for others holds for this one.
            wanted.guests.admitted.extend(gate::missing(admissions)?);
        }
        Ok(wanted)
    }

    fn make(self, call: &Call, prev: &CniResult, host: &mut Host) -> Result<(), CniError> {
        let Self { fixtures, guests, device } = self;
        for admission in &guests.admitted {
            eprintln!("note: {admission}; that goes with `linkspan network rm {}`", call.name);
        }
        if !fixtures.is_empty() {
            let part = Part { owner: NAME.to_owned(), fixtures, ..Part::default() };
            call.fit(host, (part, guests), found(call, prev, device), false)?;
        } else if guests != Guests::default() {
            host.hold(&call.network()?, &guests)?;
        }
        Ok(())
    }
}

/// Whether iptables takes a name for a chain's.
fn is_chain(name: &str) -> bool {
    name.len() <= 28 && !name.starts_with(['-', '!']) && name.bytes().all(|byte| byte.is_ascii_graphic())
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
        let mut zone = config.zone()?;
        let wanted = Wanted::new(&config, prev, zone.is_some())?;
        if let Some(zone) = &mut zone {
            zone.add(&addresses(prev))?;
        }
        wanted.make(call, prev, host).inspect_err(|_| {
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
        let own_door = call.prev.as_ref().and_then(Door::of).is_none_or(|door| door.is_own);
        // What cannot be read now was read once, so there may be something.
        let is_open = config.is_ok_and(|config| config.policy != Policy::Isolated);
        if is_open && !(own_door && gate::is_there()?) {
            return Ok(());
        }
        call.unfit(host, NAME).map(drop)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let config = Config::read(call)?;
        let prev = previous(call)?;
        let mut zone = config.zone()?;
        if let Some(zone) = &mut zone {
            zone.check(&addresses(prev))?;
        }
        config.policy.check(call, prev, host)?;
        let Wanted { fixtures, guests, .. } = Wanted::new(&config, prev, zone.is_some())?;
        if let Some(admission) = guests.admitted.first() {
            return Err(CniError::other(format!("there is no {}", Fixture::Admitted(admission.clone()))));
        }
        if fixtures.is_empty() { Ok(()) } else { call.compare(host, NAME) }
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

    #[test]
    fn chains_have_names_that_iptables_takes() {
        let longest = "a".repeat(28);
        for name in ["CNI-ADMIN", "SITE", longest.as_str()] {
            assert!(is_chain(name), "{name}");
        }
        for name in ["-A", "!SITE", "a b", "\u{e4}", &format!("{longest}a")] {
            assert!(!is_chain(name), "{name}");
        }
    }
}
