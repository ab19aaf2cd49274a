//! `host-device`: a device of the host that the container has for itself.

use std::fmt;

use linkspan_model::{Fixture, IfName, Mac};

use super::device::{self, Device};
use crate::part::sandbox_of;
use crate::{Call, CniError, CniResult, Host, Interface, Ip, Plugin, ipam};

const NAME: &str = "host-device";
/// Drivers that hand a device to a program: there is no network interface to be moved.
const USERSPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// The plugin.
pub struct HostDevice;

/// How the configuration names the device.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Which {
    Name(IfName),
    Address(Mac),
    /// A directory of sysfs that has it.
    Path(String),
    /// A bus of the machine, and the place there.
    Bus(&'static str, String),
}

impl Which {
    /// Reads it. `is_on_bus` says whether a bus has something at a place.
    fn read(call: &Call, is_on_bus: impl Fn(&str, &str) -> bool) -> Result<Self, CniError> {
        let config = &call.config;
        let device_id = call.runtime()?.map_or(Ok(None), |runtime| runtime.text("deviceID"))?;
        // What the runtime says takes the place of the bus address alone.
        let on_bus = match device_id {
            Some(id) => {
                let bus = ["pci", "auxiliary"].into_iter().find(|bus| is_on_bus(bus, &id));
                let what = format!("runtime config DeviceID {id} not found or unsupported");
                Some(Self::Bus(bus.ok_or_else(|| CniError::config(what))?, id))
            }
            None => config.text("pciBusID")?.map(|id| Self::Bus("pci", id)),
        };
        if let Some(name) = config.text("device")? {
            return Ok(Self::Name(name.parse()?));
        }
        if let Some(address) = config.text("hwaddr")? {
            return Ok(Self::Address(address.parse()?));
        }
        if let Some(path) = config.text("kernelpath")? {
            if !path.starts_with("/sys/devices/") || path.split('/').any(|part| part == "..") {
                let what =
                    format!("kernel device path {path:?} must be absolute and begin with /sys/devices/");
                return Err(CniError::config(what));
            }
            return Ok(Self::Path(path));
        }
        let missing = r#"specify either "device", "hwaddr", "kernelpath" or "pciBusID""#;
        on_bus.ok_or_else(|| CniError::config(missing))
    }

    fn read_for(call: &Call, host: &mut Host) -> Result<Self, CniError> {
        let kernel = host.engine()?.kernel();
        Self::read(call, |bus, id| kernel.is_on_bus(bus, id))
    }

    /// The device's name on the host, and its MAC.
    fn find(&self, host: &mut Host) -> Result<(IfName, Mac), CniError> {
        let absent = || CniError::other("failed to find host device").because(self);
        let kernel = host.engine()?.kernel();
        let name = match self {
            Self::Name(name) => Some(name.clone()),
            Self::Address(mac) => {
                let devices = kernel.devices(None)?;
                let found = devices.into_iter().find(|device| device.mac == Some(*mac));
                found.map(|device| device.name)
            }
            Self::Path(path) => kernel.device_in(path),
            Self::Bus(bus, id) => kernel.device_on_bus(bus, id),
        };
        let name = name.ok_or_else(absent)?;
        let found = kernel.device(None, &name)?.ok_or_else(absent)?;
        Ok((name, found.mac.unwrap_or_default()))
    }

    /// Whether it is in the hands of a program.
    fn is_in_userspace(&self, host: &mut Host) -> Result<bool, CniError> {
        let Self::Bus(bus, id) = self else { return Ok(false) };
        let driver = host.engine()?.kernel().driver_on_bus(bus, id);
        Ok(driver.is_some_and(|driver| USERSPACE_DRIVERS.contains(&driver.as_str())))
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "there is no device {name}"),
            Self::Address(mac) => write!(f, "no device has the MAC {mac}"),
            Self::Path(path) => write!(f, "there is no network device in {path}"),
            Self::Bus(bus, id) => write!(f, "there is no network device at {id} of bus {bus}"),
        }
    }
}

/// What is there for a program is not moved; only addresses are put aside for it.
fn unmoved(call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
    let interface =
        Interface { name: call.ifname.clone(), sandbox: sandbox_of(call.netns()?), ..Interface::default() };
    let addressed = match ipam::kind(call)? {
        Some(_) => ipam::add(call, host)?,
        None => CniResult::default(),
    };
    Ok(CniResult {
        interfaces: vec![interface],
        ips: addressed.ips.into_iter().map(|ip| Ip { interface: Some(0), ..ip }).collect(),
        routes: addressed.routes,
        dns: device::dns(call)?.unwrap_or(addressed.dns),
    })
}

impl Plugin for HostDevice {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let which = Which::read_for(call, host)?;
        if which.is_in_userspace(host)? {
            return unmoved(call, host);
        }
        let (name, mac) = which.find(host)?;
        let device = Device {
            owner: NAME,
            fixtures: vec![Fixture::Moved { device: name, ifname: call.ifname.parse()? }],
            mac,
            announce: false,
            dns: device::dns(call)?,
        };
        device.add(call, host)
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::del(call, host, NAME)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        if Which::read_for(call, host)?.is_in_userspace(host)? {
            return device::check_result(call, host, NAME);
        }
        device::check(call, host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::gc(call, host)
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::status(call, host)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::call;
    use super::*;

    fn which(rest: &str) -> Result<Which, String> {
        let is_on_bus =
            |bus: &str, id: &str| [("pci", "0000:00:1f.6"), ("auxiliary", "sf.1")].contains(&(bus, id));
        Which::read(&call("", rest), is_on_bus).map_err(|error| error.msg)
    }

    #[test]
    fn a_device_is_named_in_one_of_five_ways() {
        let path = "/sys/devices/pci0000:00/0000:00:1f.6";
        assert_eq!(which(r#""device": "lan0""#), Ok(Which::Name("lan0".parse().unwrap())));
        let mac = Which::Address("02:00:00:00:00:01".parse().unwrap());
        assert_eq!(which(r#""hwaddr": "02:00:00:00:00:01""#), Ok(mac));
        assert_eq!(which(&format!(r#""kernelpath": "{path}""#)), Ok(Which::Path(path.to_owned())));
        let at = |bus, id: &str| Ok(Which::Bus(bus, id.to_owned()));
        assert_eq!(which(r#""pciBusID": "0000:00:1f.6""#), at("pci", "0000:00:1f.6"));
        let asked = |id: &str| which(&format!(r#""pciBusID": "x", "runtimeConfig": {{"deviceID": "{id}"}}"#));
        assert_eq!(asked("0000:00:1f.6"), at("pci", "0000:00:1f.6"));
        assert_eq!(asked("sf.1"), at("auxiliary", "sf.1"));
        assert_eq!(asked("sf.2"), Err("runtime config DeviceID sf.2 not found or unsupported".to_owned()));
    }

    #[test]
    fn a_device_must_be_named_and_paths_stay_in_sysfs() {
        let missing = r#"specify either "device", "hwaddr", "kernelpath" or "pciBusID""#;
        assert_eq!(which(r#""ipam": {}"#), Err(missing.to_owned()));
        for path in ["sys/devices/a", "/sys/class/net", "/sys/devices/../class/net/lan0"] {
            let error = which(&format!(r#""kernelpath": "{path}""#)).unwrap_err();
            assert!(error.contains("must be absolute and begin with /sys/devices/"), "{error}");
        }
    }
}
