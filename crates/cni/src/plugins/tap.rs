//! `tap`: a persistent tap device, for what runs in the container and speaks Ethernet itself.

use linkspan_model::{DeviceFixture, DeviceKind, Fixture, IfName, Mac};

use super::device::{self, Device};
use super::mac;
use crate::error::Code;
use crate::{Call, CniError, CniResult, Host, Plugin};

const NAME: &str = "tap";

/// The plugin.
pub struct Tap;

/// Its configuration.
struct Config {
    multi_queue: bool,
    mtu: Option<u32>,
    mac: Option<Mac>,
    owner: Option<u32>,
    group: Option<u32>,
    bridge: Option<IfName>,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let config = &call.config;
        if let Some(context) = config.text("selinuxContext")? {
            let what = format!("key 'selinuxContext' is not supported: {context:?}");
            return Err(CniError::new(Code::FIELD, what).because("the tap has the label of the runtime"));
        }
        Ok(Self {
            multi_queue: config.boolean("multiQueue")?.unwrap_or_default(),
            mtu: config.number("mtu")?.filter(|mtu| *mtu != 0),
            mac: mac::asked(call)?,
            owner: config.number("owner")?,
            group: config.number("group")?,
            bridge: config.text("bridge")?.map(|bridge| bridge.parse()).transpose()?,
        })
    }

    /// The device; `chosen` is its MAC if none is asked for.
    fn device(&self, call: &Call, chosen: Mac) -> Result<Device, CniError> {
        let ifname: IfName = call.ifname.parse()?;
        let mac = self.mac.unwrap_or(chosen);
        let fixture = DeviceFixture {
            ifname: ifname.clone(),
            kind: DeviceKind::Tap { multi_queue: self.multi_queue, owner: self.owner, group: self.group },
            mac: Some(mac),
            mtu: self.mtu,
            ipv6: false,
        };
        let member = self.bridge.clone().map(|master| Fixture::Member { device: ifname, master });
        Ok(Device {
            owner: NAME,
            fixtures: [Fixture::Device(fixture)].into_iter().chain(member).collect(),
            mac,
            announce: false,
            dns: device::dns(call)?,
        })
    }
}

impl Plugin for Tap {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        Config::read(call)?.device(call, host.mac()?)?.add(call, host)
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::del(call, host, NAME)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?;
        device::check(call, host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::gc(call, host)
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?;
        device::status(call, host)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::call;
    use super::*;

    #[test]
    fn a_tap_is_for_whom_it_is_said_and_on_the_bridge_inside() {
        let call = call("", r#""owner": 0, "group": 5, "multiQueue": true, "mtu": 0, "bridge": "br1""#);
        let made = Config::read(&call).unwrap().device(&call, Mac::default()).unwrap();
        let [Fixture::Device(tap), Fixture::Member { master, .. }] = made.fixtures.as_slice() else {
            panic!("{made:?}")
        };
        let kind = DeviceKind::Tap { multi_queue: true, owner: Some(0), group: Some(5) };
        assert_eq!((&tap.kind, tap.mtu, master.as_str()), (&kind, None, "br1"));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let error = Config::read(&call("", r#""selinuxContext": "system_u:object_r:x_t:s0""#)).err().unwrap();
        assert_eq!(error.code, Code::FIELD);
        assert!(error.msg.contains("selinuxContext") && error.msg.contains("x_t"), "{error}");
    }
}
