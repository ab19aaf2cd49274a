//! What macvlan and ipvlan networks share: a device of the host, and how their sandboxes sit on it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::options::{IFACE_PREFIX, MTU, boolean, iface_prefix, in_option, mtu, refused};
use crate::{Driver, IfName, Invalid, OptionMap, nearest, options};

const PARENT: &str = "parent";
const MACVLAN_MODE: &str = "macvlan_mode";
const IPVLAN_MODE: &str = "ipvlan_mode";
const IPVLAN_FLAG: &str = "ipvlan_flag";
const HOST_ACCESS: &str = "linkspan.host-access";
const OF_MACVLAN: [&str; 5] = [PARENT, MACVLAN_MODE, MTU, IFACE_PREFIX, HOST_ACCESS];
const OF_IPVLAN: [&str; 6] = [PARENT, IPVLAN_MODE, IPVLAN_FLAG, MTU, IFACE_PREFIX, HOST_ACCESS];

/// A word of the kernel's, with its parser.
macro_rules! words {
    ($(#[$about:meta])* $type:ident, $option:expr, { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $type {
            $($(#[$doc])* $variant,)+
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl FromStr for $type {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => {
                        let words = [$($word),+];
                        let error = Invalid::new(format!("option {} does not take '{text}'", $option))
                            .because(format!("it takes {}", words.join(", ")));
                        Err(match nearest(text, words) {
                            Some(known) => error.hint(format!("did you mean {known}?")),
                            None => error,
                        })
                    }
                }
            }
        }
    };
}

words! {
    /// How macvlan devices of one parent see each other and the LAN.
    MacvlanMode, MACVLAN_MODE, {
        /// They reach each other directly.
        Bridge = "bridge",
        /// They never reach each other.
        Private = "private",
        /// They reach each other if the switch outside sends frames back by the port they came from (IEEE 802.1Qbg).
        Vepa = "vepa",
        /// There is one, and it has the parent for itself, with the parent's MAC.
        Passthru = "passthru",
        /// They get frames only of senders that they are told of, as `ip link set type macvlan macaddr add` does.
        Source = "source",
    }
}

words! {
    /// Up to which layer ipvlan devices take part in the LAN. It holds for all of one parent.
    IpvlanMode, IPVLAN_MODE, {
        /// With ARP and broadcasts.
        L2 = "l2",
        /// Only IP: the parent's host routes for them.
        L3 = "l3",
        /// As l3, passing the host's firewall too.
        L3s = "l3s",
    }
}

words! {
    /// How ipvlan devices of one parent see each other; as for macvlan.
    IpvlanFlag, IPVLAN_FLAG, {
        /// They reach each other directly.
        Bridge = "bridge",
        /// They never reach each other.
        Private = "private",
        /// They reach each other by way of the switch or router outside.
        Vepa = "vepa",
    }
}

/// The kind of a sandbox's device on a parent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChildKind {
    /// A device with a MAC of its own.
    Macvlan(MacvlanMode),
    /// A device with the parent's MAC, told apart by its IP addresses.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

impl ChildKind {
    /// The kernel's name for such devices, also the driver's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
        }
    }

    /// Whether each device has a MAC of its own; if not, it has the parent's.
    pub const fn has_own_mac(self) -> bool {
        matches!(self, Self::Macvlan(mode) if !matches!(mode, MacvlanMode::Passthru))
    }

    /// Whether its devices have no neighbours, only routes (ipvlan in mode l3 or l3s).
    pub const fn is_routed(self) -> bool {
        matches!(self, Self::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }

    /// Why devices of this kind cannot be on one parent with those of `other`, if they cannot.
    pub fn conflict(self, other: Self) -> Option<&'static str> {
        match (self, other) {
            (Self::Macvlan(a), Self::Macvlan(b)) => [a, b]
                .contains(&MacvlanMode::Passthru)
                .then_some("in mode passthru a network has its parent for itself"),
            (Self::Ipvlan(a, a_flag), Self::Ipvlan(b, b_flag)) => ((a, a_flag) != (b, b_flag))
                .then_some("all ipvlan networks of a parent have one ipvlan_mode and ipvlan_flag"),
            _ => Some("a device carries macvlan or ipvlan, not both"),
        }
    }
}

impl fmt::Display for ChildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Macvlan(mode) => write!(f, "macvlan {mode}"),
            Self::Ipvlan(mode, IpvlanFlag::Bridge) => write!(f, "ipvlan {mode}"),
            Self::Ipvlan(mode, flag) => write!(f, "ipvlan {mode} {flag}"),
        }
    }
}

/// An 802.1Q sub-interface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Vlan {
    /// The device that carries it.
    pub link: IfName,
    /// Its VLAN, 1 to 4094.
    pub id: u16,
}

impl Vlan {
    /// What a name such as `eth0.10` stands for; none if it is of another form.
    pub fn named(name: &IfName) -> Option<Self> {
        let (link, id) = name.as_str().rsplit_once('.')?;
        let id = Some(id).filter(|id| !id.starts_with('0'))?.parse().ok();
        Some(Self { link: link.parse().ok()?, id: id.filter(|id| (1..=4094).contains(id))? })
    }
}

/// What a macvlan or ipvlan network can be told, with the defaults in place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentOptions {
    /// The parent; none for the device of the host's default route.
    pub parent: Option<IfName>,
    /// What sits on it.
    pub kind: ChildKind,
    /// The MTU of endpoints, in bytes; none for the parent's.
    pub mtu: Option<u32>,
    /// What the interface inside a sandbox is called, before its number.
    pub iface_prefix: String,
    /// Whether the host reaches its own sandboxes.
    pub host_access: bool,
}

impl ParentOptions {
    /// Reads the `options` of `driver`, which is macvlan or ipvlan.
    ///
    /// # Errors
    /// On an unknown key, with the nearest known one, on a value that its key does not take, and on host access where
    /// the mode keeps the host out.
    pub fn parse(driver: Driver, options: &OptionMap) -> Result<Self, Invalid> {
        let known: &[&str] = if driver == Driver::Ipvlan { &OF_IPVLAN } else { &OF_MACVLAN };
        let (mut macvlan, mut ipvlan, mut flag) = (MacvlanMode::Bridge, IpvlanMode::L2, IpvlanFlag::Bridge);
        let mut parsed = Self {
            parent: None,
            kind: ChildKind::Macvlan(macvlan),
            mtu: None,
            iface_prefix: "eth".to_owned(),
            host_access: false,
        };
        for (key, value) in options {
            match key.as_str() {
                key if !known.contains(&key) => return Err(options::unknown(key, driver, known)),
                PARENT => parsed.parent = Some(value.parse().map_err(|e| in_option(key, &e))?),
                MACVLAN_MODE => macvlan = value.parse()?,
                IPVLAN_MODE => ipvlan = value.parse()?,
                IPVLAN_FLAG => flag = value.parse()?,
                MTU => parsed.mtu = Some(mtu(key, value)?),
                IFACE_PREFIX => parsed.iface_prefix = iface_prefix(key, value)?,
                _ => parsed.host_access = boolean(key, value)?,
            }
        }
        parsed.kind = match driver {
            Driver::Ipvlan => ChildKind::Ipvlan(ipvlan, flag),
            _ => ChildKind::Macvlan(macvlan),
        };
        parsed.check()
    }

    fn check(self) -> Result<Self, Invalid> {
        let is_vlan = |name: &IfName| Vlan::named(name).is_some() || !name.as_str().contains('.');
        if let Some(name) = self.parent.as_ref().filter(|name| !is_vlan(name)) {
            return Err(refused(
                PARENT,
                name.as_str(),
                "a device, or DEVICE.VLAN with a VLAN from 1 to 4094",
            ));
        }
        let open = matches!(
            self.kind,
            ChildKind::Macvlan(MacvlanMode::Bridge) | ChildKind::Ipvlan(_, IpvlanFlag::Bridge)
        );
        if self.host_access && !open {
            return Err(Invalid::new(format!("option {HOST_ACCESS} does not go with {}", self.kind))
                .because("in that mode no two devices of one parent reach each other on this host")
                .hint("use macvlan_mode=bridge or ipvlan_flag=bridge, or leave it out"));
        }
        Ok(self)
    }
}

/// The parent of a macvlan or ipvlan network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parent {
    /// The device that sandboxes sit on.
    pub device: IfName,
    /// What that device is if Linkspan made it: it goes with the last network that names it.
    pub vlan: Option<Vlan>,
    /// What sits on it.
    pub kind: ChildKind,
    /// The MTU of endpoints, in bytes; none for the parent's.
    pub mtu: Option<u32>,
    /// What the interface inside a sandbox is called, before its number.
    pub iface_prefix: String,
    /// How the host reaches its own sandboxes, if it does.
    pub host_access: Option<HostAccess>,
}

/// The host's own device among its sandboxes.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostAccess {
    /// The addresses that sandboxes know the host by, at most one of a family.
    pub addresses: BTreeSet<IpAddr>,
    /// Those of them that the host has on no other device.
    pub own: BTreeSet<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: Driver, pairs: &[(&str, &str)]) -> Result<ParentOptions, Invalid> {
        let options = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ParentOptions::parse(driver, &options)
    }

    #[test]
    fn reads_every_key() {
        let options = parse(
            Driver::Macvlan,
            &[(PARENT, "eth0.10"), (MACVLAN_MODE, "vepa"), (MTU, "1400"), (IFACE_PREFIX, "lan")],
        )
        .unwrap();
        assert_eq!(options.kind.to_string(), "macvlan vepa");
        assert_eq!((options.mtu, options.iface_prefix.as_str()), (Some(1400), "lan"));
        let options = parse(Driver::Ipvlan, &[(IPVLAN_MODE, "l3s"), (HOST_ACCESS, "true")]).unwrap();
        assert!(options.kind.is_routed() && options.host_access && options.parent.is_none());
    }

    #[test]
    fn refuses_by_name() {
        let unknown = parse(Driver::Macvlan, &[("macvlan_mod", "bridge")]).unwrap_err();
        assert_eq!(unknown.hint.unwrap(), "did you mean macvlan_mode?");
        let mode = parse(Driver::Macvlan, &[(MACVLAN_MODE, "brige")]).unwrap_err();
        assert_eq!(mode.hint.unwrap(), "did you mean bridge?");
        for (driver, key, value) in [
            (Driver::Macvlan, IPVLAN_MODE, "l2"),
            (Driver::Ipvlan, MACVLAN_MODE, "bridge"),
            (Driver::Ipvlan, IPVLAN_MODE, "l4"),
            (Driver::Macvlan, PARENT, "eth0.0"),
            (Driver::Macvlan, PARENT, "eth0.4095"),
            (Driver::Macvlan, PARENT, "a/b"),
        ] {
            assert!(parse(driver, &[(key, value)]).is_err(), "{key}={value}");
        }
        assert!(parse(Driver::Macvlan, &[(MACVLAN_MODE, "private"), (HOST_ACCESS, "1")]).is_err());
        assert!(parse(Driver::Ipvlan, &[(IPVLAN_FLAG, "vepa"), (HOST_ACCESS, "1")]).is_err());
    }

    #[test]
    fn names_of_vlans() {
        let vlan = Vlan::named(&"bond0.4094".parse().unwrap()).unwrap();
        assert_eq!((vlan.link.as_str(), vlan.id), ("bond0", 4094));
        for name in ["eth0", "eth0.0", "eth0.4095", "eth0.x", "eth0.010", ".5"] {
            assert_eq!(name.parse().ok().and_then(|name| Vlan::named(&name)), None, "{name}");
        }
    }

    #[test]
    fn some_kinds_exclude_each_other() {
        let (bridge, passthru) =
            (ChildKind::Macvlan(MacvlanMode::Bridge), ChildKind::Macvlan(MacvlanMode::Passthru));
        let l2 = ChildKind::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge);
        let l3 = ChildKind::Ipvlan(IpvlanMode::L3, IpvlanFlag::Bridge);
        assert_eq!(bridge.conflict(ChildKind::Macvlan(MacvlanMode::Private)), None);
        for (a, b) in [(bridge, passthru), (passthru, bridge), (bridge, l2), (l2, l3)] {
            assert!(a.conflict(b).is_some(), "{a} and {b}");
        }
    }
}
