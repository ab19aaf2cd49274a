//! The keys of `bridge`.

use std::collections::BTreeSet;

use linkspan_model::{IfName, Mac};

use super::super::{mac, pair};
use crate::{Call, CniError, Dns, Object, ipam};

/// The bridge that is meant if none is named.
const DEFAULT: &str = "cni0";
/// The highest VLAN that a frame can be of (IEEE 802.1Q).
const LAST_VLAN: u16 = 4094;

/// A configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Config {
    /// The bridge.
    pub(super) bridge: IfName,
    /// Whether the bridge has the gateway's addresses.
    pub(super) is_gateway: bool,
    /// Whether the default route leads there.
    pub(super) is_default_gateway: bool,
    /// Whether those addresses take the place of others.
    pub(super) force_address: bool,
    /// Whether what goes out takes the host's address.
    pub(super) masquerades: bool,
    /// The MTU of the pair, and of a new bridge.
    pub(super) mtu: Option<u32>,
    /// Whether a frame may leave by the port that it came by.
    pub(super) hairpin: bool,
    /// Whether the bridge takes every frame.
    pub(super) promisc: bool,
    /// The VLAN of frames without a tag; 0 is none.
    pub(super) vlan: u16,
    /// The VLANs that pass with their tag, each from first to last; none if the key is absent.
    pub(super) trunk: Option<Vec<(u16, u16)>>,
    /// Whether the bridge's default VLAN stays on the port.
    pub(super) keep_default_vlan: bool,
    /// Whether only frames from the container's MAC may come.
    pub(super) checks_mac: bool,
    /// Whether IPv6 looks for others that have its addresses.
    pub(super) probes: bool,
    /// Whether the interface in the container stays down.
    pub(super) stays_down: bool,
    /// Whether the port is kept from other such ports.
    pub(super) isolated: bool,
    /// The MAC in the container, if one is asked for.
    pub(super) mac: Option<Mac>,
    /// Name servers that go for those of the IPAM plugin.
    pub(super) dns: Option<Dns>,
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// Naming the key; also if two of them cannot hold together.
    pub(super) fn read(call: &Call) -> Result<Self, CniError> {
        let keys = &call.config;
        let flag = |key: &str| Ok::<_, CniError>(keys.boolean(key)?.unwrap_or_default());
        let bridge = keys.text("bridge")?.unwrap_or_else(|| DEFAULT.to_owned());
        let is_default_gateway = flag("isDefaultGateway")?;
        let config = Self {
            bridge: bridge.parse()?,
            is_gateway: flag("isGateway")? || is_default_gateway,
            is_default_gateway,
            force_address: flag("forceAddress")?,
            masquerades: pair::masquerades(keys)?,
            mtu: pair::mtu(keys)?,
            hairpin: flag("hairpinMode")?,
            promisc: flag("promiscMode")?,
            vlan: vlan(keys)?,
            trunk: keys.list("vlanTrunk")?.map(|_| trunk(keys)).transpose()?,
            keep_default_vlan: flag("preserveDefaultVlan")?,
            checks_mac: flag("macspoofchk")?,
            probes: flag("enabledad")?,
            stays_down: flag("disableContainerInterface")?,
            isolated: flag("portIsolation")?,
            mac: mac::asked(call)?,
            dns: pair::dns(keys)?,
        };
        if config.stays_down && ipam::kind(call)?.is_some() {
            return Err(CniError::config("cannot use IPAM when DisableContainerInterface flag is set"));
        }
        if config.hairpin && config.promisc {
            return Err(CniError::config("cannot set hairpin mode and promiscuous mode at the same time"));
        }
        Ok(config)
    }

    /// The device on the host that has the gateway's addresses: the bridge, or the host's place in the VLAN.
    ///
    /// # Errors
    /// If there is no room for the VLAN in its name.
    pub(super) fn gateway_device(&self) -> Result<IfName, CniError> {
        match self.vlan {
            0 => Ok(self.bridge.clone()),
            vlan => Ok(format!("{}.{vlan}", self.bridge).parse()?),
        }
    }
}

fn vlan(keys: &Object) -> Result<u16, CniError> {
    let vlan = keys.number::<i64>("vlan")?.unwrap_or_default();
    u16::try_from(vlan).ok().filter(|vlan| *vlan <= LAST_VLAN).ok_or_else(|| {
        CniError::config(format!("invalid VLAN ID {vlan} (must be between 0 and {LAST_VLAN})"))
    })
}

/// The VLANs of `vlanTrunk`, in order, those in a row as one range. The messages are the reference plugin's.
fn trunk(keys: &Object) -> Result<Vec<(u16, u16)>, CniError> {
    let mut vlans = BTreeSet::new();
    for item in keys.objects("vlanTrunk")? {
        let vlan = |key: &str| {
            let number = item.number::<i64>(key)?;
            let wrong = || CniError::config(format!("incorrect trunk {key} parameter"));
            let valid =
                |number: i64| u16::try_from(number).ok().filter(|vlan| (1..=LAST_VLAN).contains(vlan));
            number.map(|number| valid(number).ok_or_else(wrong)).transpose()
        };
        let lacking = |key: &str| {
            let what = format!("minID and maxID should be configured simultaneously, {key} is missing");
            Err(CniError::config(what))
        };
        match (item.get("minID"), item.get("maxID")) {
            (Some(_), None) => return lacking("maxID"),
            (None, Some(_)) => return lacking("minID"),
            _ => {}
        }
        if let (Some(first), Some(last)) = (vlan("minID")?, vlan("maxID")?) {
            if last < first {
                return Err(CniError::config("minID is greater than maxID in trunk parameter"));
            }
            vlans.extend(first..=last);
        }
        vlans.extend(vlan("id")?);
    }
    Ok(ranges(vlans))
}

fn ranges(vlans: BTreeSet<u16>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for vlan in vlans {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == vlan => *last = vlan,
            _ => ranges.push((vlan, vlan)),
        }
    }
    ranges
}
