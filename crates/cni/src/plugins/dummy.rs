//! `dummy`: a device that takes everything and gives nothing, for an address that is reached otherwise.

use linkspan_model::{DeviceFixture, DeviceKind, Fixture};

use super::device::{self, Device};
use crate::{Call, CniError, CniResult, Host, Plugin, ipam};

const NAME: &str = "dummy";

/// The plugin.
pub struct Dummy;

fn needs_addresses(call: &Call) -> Result<(), CniError> {
    match ipam::kind(call)? {
        Some(_) => Ok(()),
        None => Err(CniError::config("dummy interface requires an IPAM configuration")),
    }
}

impl Plugin for Dummy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        needs_addresses(call)?;
        let mac = host.mac()?;
        let fixture = DeviceFixture {
            ifname: call.ifname.parse()?,
            kind: DeviceKind::Dummy,
            mac: Some(mac),
            mtu: None,
            ipv6: false,
        };
        let device = Device {
            owner: NAME,
            fixtures: vec![Fixture::Device(fixture)],
            mac,
            announce: false,
            // The configuration's name servers have never counted here.
            dns: None,
        };
        device.add(call, host)
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::del(call, host, NAME)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        needs_addresses(call)?;
        device::check(call, host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::gc(call, host)
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        needs_addresses(call)?;
        device::status(call, host)
    }
}
