//! `vlan`: what of one of the host's devices bears a VLAN's tag.

use linkspan_model::{DeviceFixture, DeviceKind, Fixture};

use super::device::{self, Device};
use super::master::{Asked, Master};
use crate::{Call, CniError, CniResult, Host, Plugin, ipam};

const NAME: &str = "vlan";
/// The highest VLAN: the next one is reserved (IEEE 802.1Q).
const LAST: i64 = 4094;

/// The plugin.
pub struct Vlan;

/// Its configuration.
struct Config {
    master: Asked,
    id: u16,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let master = Asked::read(call)?;
        if master.name.is_none() {
            return Err(CniError::config(
                "\"master\" field is required. It specifies the host interface name to create the VLAN for",
            ));
        }
        let id: i64 = call.config.number("vlanId")?.unwrap_or_default();
        let wrong = || CniError::config(format!("invalid VLAN ID {id} (must be between 0 and 4094)"));
        let id = u16::try_from(id).ok().filter(|id| i64::from(*id) <= LAST).ok_or_else(wrong)?;
        Ok(Self { master, id })
    }

    fn device(&self, call: &Call, master: &Master) -> Result<Device, CniError> {
        let fixture = DeviceFixture {
            ifname: call.ifname.parse()?,
            kind: DeviceKind::Vlan { side: master.side, master: master.name.clone(), id: self.id },
            mac: None,
            mtu: self.master.mtu_on(master)?,
            ipv6: false,
        };
        Ok(Device {
            owner: NAME,
            fixtures: vec![Fixture::Device(fixture)],
            mac: master.mac,
            announce: false,
            dns: device::dns(call)?,
        })
    }
}

impl Plugin for Vlan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        if ipam::kind(call)?.is_none() {
            return Err(CniError::config("vlan requires an IPAM configuration"));
        }
        let master = config.master.find(call, host)?;
        config.device(call, &master)?.add(call, host)
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::del(call, host, NAME)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?.master.find(call, host)?;
        device::check(call, host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::gc(call, host)
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?.master.expect(host)?;
        device::status(call, host)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::call;
    use super::*;

    #[test]
    fn a_vlan_needs_a_master_and_a_number_that_is_one() {
        let id =
            |rest: &str| Config::read(&call("", rest)).map(|config| config.id).map_err(|error| error.msg);
        assert_eq!(id(r#""master": "lan0", "vlanId": 4094"#), Ok(4094));
        assert_eq!(id(r#""master": "lan0""#), Ok(0));
        assert!(id(r#""vlanId": 7"#).unwrap_err().contains("\"master\" field is required"));
        for wrong in ["4095", "-1", "70000"] {
            let error = id(&format!(r#""master": "lan0", "vlanId": {wrong}"#)).unwrap_err();
            assert!(error.starts_with(&format!("invalid VLAN ID {wrong}")), "{error}");
        }
    }
}
