//! `macvlan`: a device with a MAC of its own on one of the host's.

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
                broadcast_cutoff: None,
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
        config.device(call, &master, host.mac()?)?.add(call, host)
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

#[cfg(test)]
mod tests {
    use linkspan_model::Side;

    use super::super::example::call;
    use super::*;

    fn master() -> Master {
        let mac = "02:00:00:00:00:01".parse().unwrap();
        Master { name: "lan0".parse().unwrap(), side: Side::Host, mac, mtu: 1500 }
    }

    fn chosen() -> Mac {
        "02:00:00:00:00:02".parse().unwrap()
    }

    fn device(args: &str, rest: &str) -> Result<Device, CniError> {
        let call = call(args, rest);
        Config::read(&call)?.device(&call, &master(), chosen())
    }

    #[test]
    fn the_mac_is_by_chance_or_the_masters_or_as_asked_for() {
        let mac = |args: &str, rest: &str| device(args, rest).unwrap().mac.to_string();
        assert_eq!(mac("", r#""master": "lan0""#), chosen().to_string());
        assert_eq!(mac("", r#""mode": "passthru""#), master().mac.to_string());
        let all = r#""mac": "02:00:00:00:00:0a", "args": {"cni": {"mac": "02:00:00:00:00:0b"}},
            "runtimeConfig": {"mac": "02:00:00:00:00:0c"}"#;
        assert_eq!(mac("MAC=02:00:00:00:00:0d", all), "02:00:00:00:00:0c");
        let by_convention = r#""args": {"cni": {"mac": "02:00:00:00:00:0b"}}"#;
        assert_eq!(mac("MAC=02:00:00:00:00:0d", by_convention), "02:00:00:00:00:0b");
        assert_eq!(mac("MAC=02:00:00:00:00:0d", r#""mac": "02:00:00:00:00:0a""#), "02:00:00:00:00:0d");
        assert!(device("IP=10.0.0.1", r#""master": "lan0""#).is_err());
    }

    #[test]
    fn keys_come_through_and_wrong_ones_are_named() {
        let keys = r#""MASTER": "lan0", "mode": "vepa", "mtu": 1400, "bcqueuelen": 100"#;
        let made = device("", keys).unwrap();
        let [Fixture::Device(fixture)] = made.fixtures.as_slice() else { panic!("{made:?}") };
        let DeviceKind::Macvlan { mode, broadcast_queue, .. } = &fixture.kind else { panic!("{made:?}") };
        assert_eq!((*mode, *broadcast_queue, fixture.mtu), (MacvlanMode::Vepa, Some(100), Some(1400)));
        let message = |rest: &str| device("", rest).unwrap_err().msg;
        assert_eq!(message(r#""mode": "open""#), r#"unknown macvlan mode: "open""#);
        assert_eq!(message(r#""mtu": 1501"#), "invalid MTU 1501, must be [0, master MTU(1500)]");
        assert_eq!(message(r#""mtu": -1"#), "invalid MTU -1, must be [0, master MTU(1500)]");
        assert!(message(r#""linkInContainer": 1"#).contains("linkInContainer"));
    }

    #[test]
    fn name_servers_are_the_configurations_alone() {
        let dns = device("", r#""dns": {"nameservers": ["10.0.0.53"]}"#).unwrap().dns.unwrap();
        assert_eq!(dns.nameservers, ["10.0.0.53"]);
        assert!(device("", r#""dns": {}"#).unwrap().dns.is_some_and(|dns| dns.is_empty()));
    }
}
