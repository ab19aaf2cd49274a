//! Driver options: Docker's keys and ours, read into a typed value.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{IfName, Invalid, nearest};

/// Options as the user gave them, key to value.
pub type OptionMap = BTreeMap<String, String>;

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const MTU: &str = "com.docker.network.driver.mtu";
const IFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
const KNOWN: [&str; 6] = [BRIDGE_NAME, MASQUERADE, ICC, HOST_BINDING, MTU, IFACE_PREFIX];

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
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            bridge: None,
            masquerade: true,
            icc: true,
            host_binding: Ipv4Addr::UNSPECIFIED,
            mtu: 1500,
            iface_prefix: "eth".to_owned(),
        }
    }
}

impl BridgeOptions {
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
                _ => return Err(unknown(key)),
            }
        }
        Ok(parsed)
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, Invalid> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Ok(true),
        "false" | "0" | "f" => Ok(false),
        _ => Err(refused(key, value, "true or false")),
    }
}

fn mtu(key: &str, value: &str) -> Result<u32, Invalid> {
    let wanted = format!("a number from {} to {}", MTU_LIMITS.start(), MTU_LIMITS.end());
    value.parse().ok().filter(|mtu| MTU_LIMITS.contains(mtu)).ok_or_else(|| refused(key, value, &wanted))
}

fn iface_prefix(key: &str, value: &str) -> Result<String, Invalid> {
    let name: IfName = value.parse().map_err(|e| in_option(key, &e))?;
    if value.len() > 11 || value.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(refused(key, value, "at most 11 characters, the last no digit"));
    }
    Ok(name.to_string())
}

fn refused(key: &str, value: &str, wanted: &str) -> Invalid {
    Invalid::new(format!("option {key} does not take '{value}'")).because(format!("it takes {wanted}"))
}

fn in_option(key: &str, inner: &Invalid) -> Invalid {
    let mut error = Invalid::new(format!("option {key}: {inner}"));
    error.cause.clone_from(&inner.cause);
    error
}

fn unknown(key: &str) -> Invalid {
    let error = Invalid::new(format!("unknown option '{key}' of driver bridge"));
    match nearest(key, KNOWN) {
        Some(known) => error.hint(format!("did you mean {known}?")),
        None => error.hint(format!("known options: {}", KNOWN.join(", "))),
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
        ] {
            assert!(parse(&[(key, value)]).is_err(), "{key}={value}");
        }
    }
}
