//! `ipvlan`: a device with the MAC of one of the host's.

use linkspan_model::{DeviceFixture, DeviceKind, Fixture, IpvlanMode};

use super::device::{self, Device};
use super::master::{Asked, Master};
use crate::{Call, CniError, CniResult, Host, Plugin, ipam};

const NAME: &str = "ipvlan";

/// The plugin.
pub struct Ipvlan;

/// Its configuration.
struct Config {
    master: Asked,
    mode: IpvlanMode,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let mut master = Asked::read(call)?;
        if master.name.is_none()
            && let Some(prev) = &call.prev
        {
            master.name = Some(made_before(prev)?.parse()?);
        }
        Ok(Self { master, mode: mode(call.config.text("mode")?.as_deref())? })
    }

    fn device(&self, call: &Call, master: &Master) -> Result<Device, CniError> {
        let fixture = DeviceFixture {
            ifname: call.ifname.parse()?,
            kind: DeviceKind::Ipvlan { side: master.side, master: master.name.clone(), mode: self.mode },
            mac: None,
            mtu: self.master.mtu_on(master)?,
            ipv6: false,
        };
        Ok(Device {
            owner: NAME,
            fixtures: vec![Fixture::Device(fixture)],
            mac: master.mac,
            announce: true,
            dns: device::dns(call)?,
        })
    }
}

/// The one interface that the plugins before made.
fn made_before(prev: &CniResult) -> Result<&str, CniError> {
    match prev.interfaces.as_slice() {
        [only] if !only.name.is_empty() => Ok(&only.name),
        _ => Err(CniError::config("chained master failure. PrevResult lacks a single named interface")
            .because("name a master")),
    }
}

fn mode(text: Option<&str>) -> Result<IpvlanMode, CniError> {
    Ok(match text {
        None | Some("l2") => IpvlanMode::L2,
        Some("l3") => IpvlanMode::L3,
        Some("l3s") => IpvlanMode::L3s,
        Some(other) => return Err(CniError::config(format!("unknown ipvlan mode: {other:?}"))),
    })
}

impl Plugin for Ipvlan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        // Without an IPAM plugin the addresses of the plugin before go over to the new device.
        let addressed = call.prev.as_ref().filter(|prev| !prev.ips.is_empty());
        let is_alone = ipam::kind(call)?.is_none();
        if is_alone && addressed.is_none() {
            return Err(CniError::config(
                "ipvlan requires an IPAM configuration, or addresses in prevResult",
            ));
        }
        let master = config.master.find(call, host)?;
        let device = config.device(call, &master)?;
        match addressed.filter(|_| is_alone) {
            Some(prev) => device.fit(call, host, prev, false),
            None => device.add(call, host),
        }
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::del(call, host, NAME)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let asked = Asked::read(call)?;
        if asked.name.is_some() {
            asked.find(call, host)?;
        }
        device::check(call, host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::gc(call, host)
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Asked::read(call)?.expect(host)?;
        device::status(call, host)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::call;
    use super::*;

    #[test]
    fn the_master_is_named_or_what_was_made_before() {
        let master = |rest: &str| {
            let config = Config::read(&call("", rest)).map_err(|error| error.msg)?;
            Ok::<_, String>(config.master.name.map(|name| name.to_string()))
        };
        assert_eq!(master(r#""mode": "l3s""#), Ok(None));
        let one = r#""prevResult": {"interfaces": [{"name": "net1"}]}"#;
        assert_eq!(master(one), Ok(Some("net1".to_owned())));
        assert_eq!(master(&format!(r#""master": "lan0", {one}"#)), Ok(Some("lan0".to_owned())));
        let two = r#""prevResult": {"interfaces": [{"name": "net1"}, {"name": "net2"}]}"#;
        assert!(master(two).unwrap_err().contains("lacks a single named interface"));
        assert_eq!(master(r#""mode": "l4""#), Err(r#"unknown ipvlan mode: "l4""#.to_owned()));
    }
}
