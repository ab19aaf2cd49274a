//! What a network's `options` say, each in its type.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use linkspan_model::{IpvlanMode, Isolation, MacvlanMode};

use crate::Error;

type Map = BTreeMap<String, String>;

const BCLIM: &str = "bclim";
const HOST_INTERFACE_NAME: &str = "host_interface_name";
const ISOLATE: &str = "isolate";
const METRIC: &str = "metric";
const MODE: &str = "mode";
const MTU: &str = "mtu";
const NO_DEFAULT_ROUTE: &str = "no_default_route";
const OUTBOUND4: &str = "outbound_addr4";
const OUTBOUND6: &str = "outbound_addr6";
const VLAN: &str = "vlan";
const VRF: &str = "vrf";

const OF_BRIDGE: [&str; 9] = [MODE, MTU, ISOLATE, METRIC, NO_DEFAULT_ROUTE, VRF, VLAN, OUTBOUND4, OUTBOUND6];
const OF_DEVICE: [&str; 5] = [MODE, MTU, METRIC, NO_DEFAULT_ROUTE, BCLIM];

/// The last VLAN that there is (IEEE 802.1Q; 4095 is reserved).
const LAST_VLAN: u16 = 4094;

/// Who looks after a bridge.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum BridgeMode {
    /// This backend makes it, and takes it away.
    #[default]
    Managed,
    /// Somebody else: it is there, and only gets ports.
    Unmanaged,
}

/// The options of a bridge network.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct BridgeOptions {
    /// `mode`.
    pub mode: BridgeMode,
    /// `mtu` in bytes; none to let it be chosen.
    pub mtu: Option<u32>,
    /// `isolate`; none for the default, which depends on Podman's version.
    pub isolate: Option<Isolation>,
    /// `metric` of the default routes.
    pub metric: Option<u32>,
    /// `no_default_route`.
    pub no_default_route: bool,
    /// `vrf` that the bridge is put under.
    pub vrf: Option<String>,
    /// `vlan` of frames without a tag, 0 to 4094.
    pub vlan: Option<u16>,
    /// `outbound_addr4`: the source of what leaves the host.
    pub outbound4: Option<Ipv4Addr>,
    /// `outbound_addr6`.
    pub outbound6: Option<Ipv6Addr>,
}

/// The options of a macvlan or ipvlan network.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DeviceOptions {
    /// `mode`, as a word; none for the default.
    mode: Option<String>,
    /// `mtu` in bytes; none for the parent's.
    pub mtu: Option<u32>,
    /// `metric` of the default routes.
    pub metric: Option<u32>,
    /// `no_default_route`.
    pub no_default_route: bool,
    /// `bclim`: the number of receivers from which on a broadcast waits in the queue (IFLA_MACVLAN_BC_CUTOFF).
    pub broadcast_cutoff: Option<i32>,
}

impl BridgeOptions {
    /// Reads them; others are left out of account.
    ///
    /// # Errors
    /// Naming the option whose value is none.
    pub fn read(options: Option<&Map>) -> Result<Self, Error> {
        let vlan = value(options, VLAN)?;
        if vlan.is_some_and(|vlan| vlan > LAST_VLAN) {
            return Err(Error::new(format!("vlan must be between 0 and {LAST_VLAN}")));
        }
        Ok(Self {
            mode: BridgeMode::of(text(options, MODE))?,
            mtu: value(options, MTU)?.filter(|mtu| *mtu != 0),
            isolate: text(options, ISOLATE).map(isolation).transpose()?,
            metric: value(options, METRIC)?,
            no_default_route: value(options, NO_DEFAULT_ROUTE)?.unwrap_or_default(),
            vrf: text(options, VRF).filter(|name| !name.is_empty()).map(str::to_owned),
            vlan,
            outbound4: value(options, OUTBOUND4)?,
            outbound6: value(options, OUTBOUND6)?,
        })
    }

    /// Refuses options that a bridge does not have.
    ///
    /// # Errors
    /// Naming one.
    pub fn refuse_unknown(options: Option<&Map>) -> Result<(), Error> {
        refuse_unknown(options, &OF_BRIDGE, "bridge")
    }
}

impl DeviceOptions {
    /// Reads them; others are left out of account.
    ///
    /// # Errors
    /// Naming the option whose value is none.
    pub fn read(options: Option<&Map>) -> Result<Self, Error> {
        Ok(Self {
            mode: text(options, MODE).filter(|mode| !mode.is_empty()).map(str::to_owned),
            mtu: value(options, MTU)?.filter(|mtu| *mtu != 0),
            metric: value(options, METRIC)?,
            no_default_route: value(options, NO_DEFAULT_ROUTE)?.unwrap_or_default(),
            broadcast_cutoff: value(options, BCLIM)?,
        })
    }

    /// Refuses options that neither macvlan nor ipvlan has.
    ///
    /// # Errors
    /// Naming one.
    pub fn refuse_unknown(options: Option<&Map>) -> Result<(), Error> {
        refuse_unknown(options, &OF_DEVICE, "vlan")
    }

    /// The mode of macvlan devices.
    ///
    /// # Errors
    /// If it is none of theirs.
    pub fn macvlan_mode(&self) -> Result<MacvlanMode, Error> {
        mode(self.mode.as_deref(), MacvlanMode::Bridge, "macvlan")
    }

    /// The mode of ipvlan devices.
    ///
    /// # Errors
    /// If it is none of theirs.
    pub fn ipvlan_mode(&self) -> Result<IpvlanMode, Error> {
        mode(self.mode.as_deref(), IpvlanMode::L2, "ipvlan")
    }
}

impl BridgeMode {
    fn of(text: Option<&str>) -> Result<Self, Error> {
        match text {
            None | Some("" | "managed") => Ok(Self::Managed),
            Some("unmanaged") => Ok(Self::Unmanaged),
            Some(other) => Err(Error::new(format!("invalid bridge mode {other:?}"))),
        }
    }
}

fn isolation(text: &str) -> Result<Isolation, Error> {
    match text {
        "false" => Ok(Isolation::Open),
        "true" => Ok(Isolation::Isolated),
        "strict" => Ok(Isolation::Strict),
        other => Err(Error::new(format!("invalid isolate option {other:?}"))),
    }
}

/// `host_interface_name` of a container's options: the side of its veth pair on the host.
pub fn host_interface_name(options: Option<&Map>) -> Option<&str> {
    text(options, HOST_INTERFACE_NAME).filter(|name| !name.is_empty())
}

fn mode<T: FromStr>(text: Option<&str>, default: T, driver: &str) -> Result<T, Error> {
    let Some(word) = text else { return Ok(default) };
    word.parse().map_err(|_| Error::new(format!("invalid {driver} mode {word:?}")))
}

fn text<'a>(options: Option<&'a Map>, name: &str) -> Option<&'a str> {
    options?.get(name).map(String::as_str)
}

fn value<T: FromStr<Err: Display>>(options: Option<&Map>, name: &str) -> Result<Option<T>, Error> {
    let parsed = text(options, name).map(str::parse).transpose();
    parsed.map_err(|error| Error::new(format!("unable to parse \"{name}\": {error}")))
}

fn refuse_unknown(options: Option<&Map>, known: &[&str], of: &str) -> Result<(), Error> {
    match options.into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(Error::new(format!("unsupported {of} network option: {name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Map {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn bridge(pairs: &[(&str, &str)]) -> Result<BridgeOptions, String> {
        BridgeOptions::read(Some(&map(pairs))).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_and_empty_texts_are_the_defaults() {
        assert_eq!(BridgeOptions::read(None).unwrap(), BridgeOptions::default());
        assert_eq!(bridge(&[("mode", ""), ("mtu", "0"), ("vrf", "")]), Ok(BridgeOptions::default()));
        let device = DeviceOptions::read(Some(&map(&[("mode", "")]))).unwrap();
        assert_eq!(device, DeviceOptions::default());
        assert_eq!(device.macvlan_mode().unwrap(), MacvlanMode::Bridge);
        assert_eq!(device.ipvlan_mode().unwrap(), IpvlanMode::L2);
    }

    #[test]
    fn each_option_has_its_type() {
        let all = [
            ("mode", "unmanaged"),
            ("mtu", "1400"),
            ("isolate", "strict"),
            ("metric", "7"),
            ("no_default_route", "true"),
            ("vrf", "blue"),
            ("vlan", "4094"),
            ("outbound_addr4", "192.0.2.1"),
            ("outbound_addr6", "2001:db8::1"),
            ("later", "x"),
        ];
        let read = BridgeOptions {
            mode: BridgeMode::Unmanaged,
            mtu: Some(1400),
            isolate: Some(Isolation::Strict),
            metric: Some(7),
            no_default_route: true,
            vrf: Some("blue".to_owned()),
            vlan: Some(4094),
            outbound4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            outbound6: Some("2001:db8::1".parse().unwrap()),
        };
        assert_eq!(bridge(&all), Ok(read));
    }

    #[test]
    fn what_is_wrong_is_told_in_podmans_words() {
        let message = |name: &str, value: &str| bridge(&[(name, value)]).unwrap_err();
        assert_eq!(message("mtu", "x"), "unable to parse \"mtu\": invalid digit found in string");
        assert_eq!(message("vlan", "4095"), "vlan must be between 0 and 4094");
        assert!(message("vlan", "99999").starts_with("unable to parse \"vlan\": "));
        assert_eq!(message("isolate", "x"), "invalid isolate option \"x\"");
        assert_eq!(message("mode", "x"), "invalid bridge mode \"x\"");
        let boolean = "unable to parse \"no_default_route\": provided string was not `true` or `false`";
        assert_eq!(message("no_default_route", "True"), boolean);
        assert!(message("outbound_addr4", "fd00::1").starts_with("unable to parse \"outbound_addr4\": "));
        let device = DeviceOptions::read(Some(&map(&[("mode", "x")]))).unwrap();
        assert_eq!(device.macvlan_mode().unwrap_err().to_string(), "invalid macvlan mode \"x\"");
        assert_eq!(device.ipvlan_mode().unwrap_err().to_string(), "invalid ipvlan mode \"x\"");
    }

    #[test]
    fn unknown_ones_are_refused_when_a_network_is_created() {
        let message = |error: Result<(), Error>| error.unwrap_err().to_string();
        let options = map(&[("bclim", "1"), ("mode", "managed")]);
        let bridge = BridgeOptions::refuse_unknown(Some(&options));
        assert_eq!(message(bridge), "unsupported bridge network option: bclim");
        assert!(DeviceOptions::refuse_unknown(Some(&options)).is_ok());
        let device = DeviceOptions::refuse_unknown(Some(&map(&[("vlan", "1")])));
        assert_eq!(message(device), "unsupported vlan network option: vlan");
    }
}
