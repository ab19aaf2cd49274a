//! Who keeps the host's firewall, and what of it a network calls for.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use linkspan_kernel::firewall::{Drops, Firewall as Chains};
use linkspan_kernel::firewalld::Firewalld;
use linkspan_model::{Admission, Guests, IfName, Isolation};

use crate::Error;

/// The zone of firewalld whose sources may do everything.
const ZONE: &str = "trusted";
/// Where the bus is that firewalld is on. Set to nothing, there is none.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// The chains in which others' drop of all that nobody has accepted is averted; earlier versions of the reference had them too.
const FORWARD: &str = "NETAVARK_FORWARD";
const INPUT: &str = "NETAVARK_INPUT";
/// The port that clients ask at (RFC 1035).
const DOMAIN: u16 = 53;

/// Who keeps the host's firewall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Backend {
    /// This program, by rules of nf_tables. Where firewalld runs, it is told what to let pass.
    Rules,
    /// The same, but firewalld is to be there.
    Firewalld,
    /// Somebody else: nothing is published, masqueraded or isolated.
    None,
}

/// A network, as far as the firewall is about it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its bridge.
    pub bridge: IfName,
    /// Whether it leads nowhere else.
    pub internal: bool,
    /// What it is kept from.
    pub isolation: Isolation,
    /// The sources of what leaves the host, one of a family; the host's own where there is none.
    pub outbound: Vec<IpAddr>,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Where clients ask for names, and the port where the server listens there.
    pub dns: Vec<SocketAddr>,
}

/// The host's firewall.
#[derive(Debug)]
pub struct Firewall {
    backend: Backend,
    /// What firewalld is spoken to by, once it was looked for.
    firewalld: Option<Option<Firewalld>>,
}

impl Backend {
    fn named(name: Option<&str>) -> Result<Self, Error> {
        let Some(name) = name else { return Ok(Self::Rules) };
        let lower = name.to_lowercase();
        match lower.as_str() {
            // Rules of iptables are but another way to write the same.
            "nftables" | "iptables" => Ok(Self::Rules),
            "firewalld" => Ok(Self::Firewalld),
            "none" => Ok(Self::None),
            _ => Err(Error::new(format!("Must provide a valid firewall backend, got {lower}"))),
        }
    }
}

impl Segment {
    /// What lets its packets pass where others' chains drop them.
    fn admissions(&self, drops: [Drops; 2]) -> BTreeSet<Admission> {
        let mut admissions = BTreeSet::new();
        for (ipv6, drops) in [false, true].into_iter().zip(drops) {
            let admission = |chain: &str, service| Admission {
                device: self.bridge.clone(),
                ipv6,
                chain: chain.to_owned(),
                admin: None,
                service,
            };
            let has_subnet = self.subnets.iter().any(|subnet| subnet.addr().is_ipv6() == ipv6);
            if drops.forwarded && !self.internal && has_subnet {
                admissions.insert(admission(FORWARD, None));
            }
            let servers = self.dns.iter().filter(|server| drops.taken && server.is_ipv6() == ipv6);
            admissions.extend(servers.map(|server| admission(INPUT, Some(server.port()))));
        }
        admissions
    }
}

impl Firewall {
    /// The one that `name` says who keeps, in whatever case; by default this program does.
    ///
    /// # Errors
    /// If nobody is called so, or firewalld is and cannot be reached.
    pub fn named(name: Option<&str>) -> Result<Self, Error> {
        let backend = Backend::named(name)?;
        let firewalld = match backend {
            Backend::Rules => None,
            Backend::None => Some(None),
            Backend::Firewalld => Some(Some(required()?)),
        };
        Ok(Self { backend, firewalld })
    }

    /// Whether ports are published, and all the rest.
    pub fn has_rules(&self) -> bool {
        self.backend != Backend::None
    }

    /// What holds for a network.
    ///
    /// # Errors
    /// If the kernel cannot be asked what others drop.
    pub fn guests(&self, segment: &Segment) -> Result<Guests, Error> {
        if !self.has_rules() {
            return Ok(Guests::default());
        }
        let drops = Chains::open().and_then(|mut chains| chains.drops());
        Ok(self.guests_where(segment, drops.map_err(linkspan_engine::Error::from)?))
    }

    fn guests_where(&self, segment: &Segment, drops: [Drops; 2]) -> Guests {
        let Segment { bridge, internal, isolation, outbound, subnets, dns } = segment;
        let own = || [bridge.clone()].into();
        let redirected = dns.iter().filter(|server| server.port() != DOMAIN);
        let guests = Guests {
            dns: redirected.copied().collect(),
            named: if dns.is_empty() { BTreeSet::new() } else { own() },
            admitted: segment.admissions(drops),
            ..Guests::default()
        };
        let trusted = || subnets.iter().map(IpNet::trunc).collect();
        if *internal {
            // Only the name server is to be reached.
            let asks = self.backend == Backend::Rules && !dns.is_empty();
            let trusted = if asks { trusted() } else { BTreeSet::new() };
            return Guests { internal: own(), trusted, ..guests };
        }
        Guests {
            bridges: own(),
            masqueraded: own(),
            isolation: [(bridge.clone(), *isolation)].into(),
            outbound: outbound.iter().map(|address| (bridge.clone(), *address)).collect(),
            trusted: trusted(),
            ..guests
        }
    }

    /// Before ports are published, or questions redirected to a name server.
    ///
    /// # Errors
    /// If firewalld forwards nothing but what its own configuration says.
    pub fn refuse_strict(&mut self) -> Result<(), Error> {
        let Some(firewalld) = self.firewalld() else { return Ok(()) };
        match firewalld.strict_forward_ports().map(|text| text.to_lowercase()).as_deref() {
            None | Some("no") => Ok(()),
            Some("yes") => {
                Err(Error::new("Port forwarding not possible as firewalld StrictForwardPorts enabled"))
            }
            Some(other) => {
                eprintln!("warning: unexpected value from StrictForwardPorts property: {other}");
                Ok(())
            }
        }
    }

    /// Has firewalld, where it runs, let pass what comes from and goes to `subnets`. That it does not is said and no error:
    /// it need not be in the way.
    pub fn trust<'a>(&mut self, subnets: impl IntoIterator<Item = &'a IpNet>) {
        for subnet in subnets {
            let Some(firewalld) = self.firewalld() else { return };
            if let Err(why) = firewalld.add_source(ZONE, *subnet) {
                eprintln!("warning: subnet {subnet} cannot be added to zone {ZONE} of firewalld: {why}");
            }
        }
    }

    /// Has it no longer do so.
    pub fn distrust<'a>(&mut self, subnets: impl IntoIterator<Item = &'a IpNet>) {
        for subnet in subnets {
            let Some(firewalld) = self.firewalld() else { return };
            firewalld.remove_source(ZONE, subnet.trunc());
        }
    }

    fn firewalld(&mut self) -> Option<&mut Firewalld> {
        let running = || has_bus().then(Firewalld::running).flatten();
        self.firewalld.get_or_insert_with(running).as_mut()
    }
}

/// The firewalld that is asked for by name.
///
/// # Errors
/// If it is not there.
pub fn required() -> Result<Firewalld, Error> {
    let unreachable = |why: String| {
        Error::new(format!("Error retrieving dbus connection for requested firewall backend: {why}"))
    };
    if !has_bus() {
        return Err(unreachable(format!("{BUS} is empty")));
    }
    Firewalld::open().map_err(|cause| unreachable(cause.to_string()))
}

fn has_bus() -> bool {
    std::env::var_os(BUS).is_none_or(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [Drops; 2] = [Drops { forwarded: false, taken: false }; 2];

    fn segment(internal: bool, dns: &[&str]) -> Segment {
        Segment {
            bridge: "podman1".parse().unwrap(),
            internal,
            isolation: Isolation::Strict,
            outbound: vec!["192.0.2.1".parse().unwrap()],
            subnets: vec!["10.89.0.1/24".parse().unwrap()],
            dns: dns.iter().map(|server| server.parse().unwrap()).collect(),
        }
    }

    fn firewall(name: &str) -> Firewall {
        Firewall::named(Some(name)).unwrap()
    }

    #[test]
    fn who_keeps_the_firewall_is_known_in_any_case() {
        for name in ["nftables", "NFTABLES", "iptables", "None"] {
            assert_eq!(firewall(name).has_rules(), name != "None");
        }
        assert!(Firewall::named(None).unwrap().has_rules());
        let error = Firewall::named(Some("Foo")).unwrap_err().to_string();
        assert_eq!(error, "Must provide a valid firewall backend, got foo");
    }

    #[test]
    fn a_network_goes_out_and_is_isolated() {
        let guests = firewall("nftables").guests_where(&segment(false, &["10.89.0.1:53"]), NOTHING);
        let bridge: IfName = "podman1".parse().unwrap();
        assert_eq!(guests.bridges, [bridge.clone()].into());
        assert_eq!(guests.masqueraded, [bridge.clone()].into());
        assert_eq!(guests.isolation, [(bridge.clone(), Isolation::Strict)].into());
        assert_eq!(guests.outbound, [(bridge, "192.0.2.1".parse().unwrap())].into());
        assert_eq!(guests.trusted, ["10.89.0.0/24".parse().unwrap()].into());
        assert!(guests.dns.is_empty() && guests.internal.is_empty());
    }

    #[test]
    fn an_internal_network_does_neither_and_reaches_its_name_server() {
        let guests = firewall("nftables").guests_where(&segment(true, &["10.89.0.1:5353"]), NOTHING);
        assert_eq!(guests.internal, ["podman1".parse().unwrap()].into());
        assert_eq!(guests.dns, ["10.89.0.1:5353".parse().unwrap()].into());
        assert_eq!(guests.trusted.len(), 1);
        assert!(guests.bridges.is_empty() && guests.masqueraded.is_empty() && guests.isolation.is_empty());
        assert!(firewall("nftables").guests_where(&segment(true, &[]), NOTHING).trusted.is_empty());
    }

    #[test]
    fn without_a_firewall_nothing_is_in_it() {
        let guests = firewall("none").guests(&segment(false, &["10.89.0.1:5353"]));
        assert_eq!(guests, Ok(Guests::default()));
    }

    #[test]
    fn what_others_drop_is_let_pass() {
        let drops = [Drops { forwarded: true, taken: true }, Drops { forwarded: true, taken: true }];
        let lines = |internal, dns: &[&str]| {
            let admitted = segment(internal, dns).admissions(drops);
            admitted.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let forward = "podman1 let pass by chain NETAVARK_FORWARD of ip filter";
        let ask = "podman1 let ask at port 5353 by chain NETAVARK_INPUT of ip filter";
        assert_eq!(lines(false, &["10.89.0.1:5353"]), [forward, ask]);
        assert_eq!(lines(true, &["10.89.0.1:5353"]), [ask]);
        assert_eq!(lines(false, &[]), [forward]);
        assert!(segment(false, &["10.89.0.1:53"]).admissions(NOTHING).is_empty());
    }
}
