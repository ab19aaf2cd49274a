//! `macvlan`: a device with a MAC of its own on one of the host's.

use linkspan_engine::random_mac;
use linkspan_model::{DeviceFixture, DeviceKind, Fixture, Mac, MacvlanMode};

use super::device::{self, Device};
use super::mac;
use super::master::{Asked, Master};
use crate::{Call, CniError, CniResult, Host, Plugin};

const NAME: &str = "macvlan";

/// The plugin.
pub struct Macvlan;

/// Its configuration.
struct Config {
    master: Asked,
    mode: MacvlanMode,
    mac: Option<Mac>,
    broadcast_queue: Option<u32>,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        Ok(Self {
            master: Asked::read(call)?,
            mode: mode(call.config.text("mode")?.as_deref())?,
            mac: mac::asked(call)?,
            broadcast_queue: call.config.number("bcqueuelen")?.filter(|frames| *frames != 0),
        })
    }

    /// The device on `master`; `chosen` is its MAC if none is asked for.
    fn device(&self, call: &Call, master: &Master, chosen: Mac) -> Result<Device, CniError> {
        // There is but one on a master then, and it has the master's MAC.
        let default = if self.mode == MacvlanMode::Passthru { None } else { Some(chosen) };
        let mac = self.mac.or(default);
        let fixture = DeviceFixture {
            ifname: call.ifname.parse()?,
            kind: DeviceKind::Macvlan {
                side: master.side,
                master: master.name.clone(),
                mode: self.mode,
                broadcast_queue: self.broadcast_queue,
            },
            mac,
            mtu: self.master.mtu_on(master)?,
            ipv6: false,
        };
        Ok(Device {
            owner: NAME,
            fixtures: vec![Fixture::Device(fixture)],
            mac: mac.unwrap_or(master.mac),
            announce: true,
            // What an IPAM plugin says of name servers has never counted here.
            dns: Some(device::dns(call)?.unwrap_or_default()),
        })
    }
}

fn mode(text: Option<&str>) -> Result<MacvlanMode, CniError> {
    Ok(match text {
        None | Some("bridge") => MacvlanMode::Bridge,
        Some("private") => MacvlanMode::Private,
        Some("vepa") => MacvlanMode::Vepa,
        Some("passthru") => MacvlanMode::Passthru,
        Some(other) => return Err(CniError::config(format!("unknown macvlan mode: {other:?}"))),
    })
}

impl Plugin for Macvlan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        let master = config.master.find(call, host)?;
        config.device(call, &master, random_mac()?)?.add(call, host)
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::del(call, host, NAME)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let config = Config::read(call)?;
        config.master.mtu_on(&config.master.find(call, host)?)?;
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
