//! Driver options: Docker's keys and ours, read into a typed value.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Driver, IfName, Invalid, Name, nearest};

/// Options as the user gave them, key to value.
pub type OptionMap = BTreeMap<String, String>;

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
pub(crate) const IFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
const UPLINK: &str = "linkspan.uplink";
const CONFIRM: &str = "linkspan.uplink.confirm";
const STP: &str = "linkspan.stp";
const KNOWN: [&str; 9] =
    [BRIDGE_NAME, MASQUERADE, ICC, HOST_BINDING, MTU, IFACE_PREFIX, UPLINK, CONFIRM, STP];

/// Least MTU that IPv4 needs (RFC 791) and most that a veth takes (linux/if_ether.h ETH_MAX_MTU).
const MTU_LIMITS: std::ops::RangeInclusive<u32> = 68..=65535;

/// What a bridge network can be told, with the defaults in place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BridgeOptions {
    /// The bridge device; none means that it is named after the network's identity.
    pub bridge: Option<IfName>,
    /// Whether traffic to the outside takes the host's address.
    pub masquerade: bool,
    /// Whether the network's sandboxes may talk to each other.
    pub icc: bool,
    /// The address that ports are published on when none is given.
    pub host_binding: Ipv4Addr,
    /// The MTU of bridge and endpoints, in bytes.
    pub mtu: u32,
    /// What the interface inside a sandbox is called, before its number.
    pub iface_prefix: String,
    /// What the bridge is plugged into beside its sandboxes.
    #[serde(default)]
    pub uplink: Option<Uplink>,
    /// Within how many seconds somebody must confirm that the host is still reached through the uplink; else it is
    /// put back. None: no confirmation is asked for.
    #[serde(default)]
    pub confirm: Option<u32>,
    /// Whether the bridge speaks the spanning tree protocol (IEEE 802.1D).
    #[serde(default)]
    pub stp: bool,
}

/// What a bridge may be plugged into: `IFACE`, `network:NAME` or `ovs:BRIDGE`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Uplink {
    /// A network card of the host, whose addresses, routes and MAC move to the bridge.
    Device(IfName),
    /// The bridge of another network, by a veth pair.
    Network(Name),
    /// A bridge of Open vSwitch, by a veth pair.
    Ovs(String),
}

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(name) => write!(f, "{name}"),
            Self::Network(name) => write!(f, "network:{name}"),
            Self::Ovs(bridge) => write!(f, "ovs:{bridge}"),
        }
    }
}

impl FromStr for Uplink {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            None => Ok(Self::Device(text.parse()?)),
            Some(("network", name)) => Ok(Self::Network(name.parse()?)),
            // A name of Open vSwitch is no device name: bridges of its userspace datapath may be longer.
            Some(("ovs", bridge)) if !bridge.is_empty() => Ok(Self::Ovs(bridge.to_owned())),
            Some(_) => Err(Invalid::new(format!("'{text}' is no uplink"))
                .hint("write IFACE, network:NAME or ovs:BRIDGE")),
        }
    }
}

text_form!(Uplink);

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            bridge: None,
            masquerade: true,
            icc: true,
            host_binding: Ipv4Addr::UNSPECIFIED,
            mtu: 1500,
            iface_prefix: "eth".to_owned(),
            uplink: None,
            confirm: None,
            stp: false,
        }
    }
}

impl BridgeOptions {
    /// Whether `options` say what the MTU is.
    pub fn give_mtu(options: &OptionMap) -> bool {
        options.contains_key(MTU)
    }

    /// Reads `options`.
    ///
    /// # Errors
    /// On an unknown key, with the nearest known one, and on a value that its key does not take.
    pub fn parse(options: &OptionMap) -> Result<Self, Invalid> {
        let mut parsed = Self::default();
        for (key, value) in options {
            match key.as_str() {
                BRIDGE_NAME => parsed.bridge = Some(value.parse().map_err(|e| in_option(key, &e))?),
                MASQUERADE => parsed.masquerade = boolean(key, value)?,
                ICC => parsed.icc = boolean(key, value)?,
                HOST_BINDING => {
                    parsed.host_binding = value.parse().map_err(|_| refused(key, value, "an IPv4 address"))?
                }
                MTU => parsed.mtu = mtu(key, value)?,
                IFACE_PREFIX => parsed.iface_prefix = iface_prefix(key, value)?,
                UPLINK => parsed.uplink = Some(value.parse().map_err(|e| in_option(key, &e))?),
                CONFIRM => parsed.confirm = Some(seconds(key, value)?),
                STP => parsed.stp = boolean(key, value)?,
                _ => return Err(unknown(key, Driver::Bridge, &KNOWN)),
            }
        }
        if parsed.confirm.is_some() && !matches!(parsed.uplink, Some(Uplink::Device(_))) {
            return Err(Invalid::new(format!("option {CONFIRM} has nothing to confirm"))
                .because("only a network card that moves to the bridge can cut the host off")
                .hint(format!("add -o {UPLINK}=IFACE, or leave it out")));
        }
        Ok(parsed)
    }
}

pub(crate) fn boolean(key: &str, value: &str) -> Result<bool, Invalid> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Ok(true),
        "false" | "0" | "f" => Ok(false),
        _ => Err(refused(key, value, "true or false")),
    }
}

pub(crate) fn mtu(key: &str, value: &str) -> Result<u32, Invalid> {
    let wanted = format!("a number from {} to {}", MTU_LIMITS.start(), MTU_LIMITS.end());
    value.parse().ok().filter(|mtu| MTU_LIMITS.contains(mtu)).ok_or_else(|| refused(key, value, &wanted))
}

/// A time such as `30s`, `2m` or `30`, in seconds; at most an hour.
fn seconds(key: &str, value: &str) -> Result<u32, Invalid> {
    let (digits, unit) = match value.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (value.strip_suffix('s').unwrap_or(value), 1),
    };
    let seconds = digits.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    let allowed = seconds.filter(|seconds| (1..=3600).contains(seconds));
    allowed.ok_or_else(|| refused(key, value, "a time from 1s to 60m"))
}

pub(crate) fn iface_prefix(key: &str, value: &str) -> Result<String, Invalid> {
    let name: IfName = value.parse().map_err(|e| in_option(key, &e))?;
    if value.len() > 11 || value.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(refused(key, value, "at most 11 characters, the last no digit"));
    }
    Ok(name.to_string())
}

pub(crate) fn refused(key: &str, value: &str, wanted: &str) -> Invalid {
    Invalid::new(format!("option {key} does not take '{value}'")).because(format!("it takes {wanted}"))
}

pub(crate) fn in_option(key: &str, inner: &Invalid) -> Invalid {
    let mut error = Invalid::new(format!("option {key}: {inner}"));
    error.cause.clone_from(&inner.cause);
    error
}

/// An option that `driver` does not know, with the nearest of the `known` ones or all of them.
pub(crate) fn unknown(key: &str, driver: Driver, known: &[&str]) -> Invalid {
    let error = Invalid::new(format!("unknown option '{key}' of driver {driver}"));
    match nearest(key, known.iter().copied()) {
        Some(known) => error.hint(format!("did you mean {known}?")),
        None => error.hint(format!("known options: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<BridgeOptions, Invalid> {
        BridgeOptions::parse(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn reads_every_key() {
        let options = parse(&[
            (BRIDGE_NAME, "br0"),
            (MASQUERADE, "false"),
            (ICC, "0"),
            (HOST_BINDING, "127.0.0.1"),
            (MTU, "9000"),
            (IFACE_PREFIX, "net"),
        ])
        .unwrap();
        assert_eq!(options.bridge.unwrap().as_str(), "br0");
        assert!(!options.masquerade && !options.icc);
        assert_eq!((options.mtu, options.host_binding), (9000, Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn reads_uplinks() {
        for text in ["bond0", "network:core", "ovs:br-int"] {
            assert_eq!(parse(&[(UPLINK, text)]).unwrap().uplink.unwrap().to_string(), text);
        }
        for (text, seconds) in [("30s", 30), ("2m", 120), ("5", 5)] {
            assert_eq!(parse(&[(UPLINK, "eth1"), (CONFIRM, text)]).unwrap().confirm, Some(seconds));
        }
        assert!(parse(&[(CONFIRM, "30s")]).is_err());
        assert!(parse(&[(UPLINK, "network:core"), (CONFIRM, "30s")]).is_err());
    }

    #[test]
    fn refuses_by_name() {
        let unknown = parse(&[("com.docker.network.bridge.enable_ic", "true")]).unwrap_err();
        assert!(unknown.hint.unwrap().contains(ICC));
        for (key, value) in [
            (MTU, "10"),
            (MTU, "x"),
            (ICC, "maybe"),
            (HOST_BINDING, "::1"),
            (BRIDGE_NAME, "sixteen-letters!"),
            (IFACE_PREFIX, "e0"),
            (UPLINK, "vde:x"),
            (UPLINK, "network:"),
            (CONFIRM, "2h"),
            (STP, "maybe"),
        ] {
            assert!(parse(&[(key, value)]).is_err(), "{key}={value}");
        }
    }
}
