//! `vrf`: puts an interface into a routing domain of its container, with a table of its own.

use std::collections::BTreeSet;

use linkspan_kernel::DeviceFacts;
use linkspan_model::{Fixture, Guests, IfName, Part};

use crate::part::found;
use crate::{Call, CniError, CniResult, Host, Plugin, Version};

const NAME: &str = "vrf";

/// The plugin.
pub struct Vrf;

/// Its configuration.
struct Config {
    name: IfName,
    table: Option<u32>,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let name = call.config.text("vrfname")?;
        let missing = || CniError::config("configuration is expected to have a valid vrf name");
        Ok(Self {
            name: name.ok_or_else(missing)?.parse()?,
            table: call.config.number("table")?.filter(|table| *table != 0),
        })
    }

    /// The table of the VRF, which may be there, among all `devices` of the container.
    fn table_among(&self, devices: &[DeviceFacts]) -> Result<u32, CniError> {
        let name = &self.name;
        match (devices.iter().find(|device| device.name == *name), self.table) {
            (Some(there), asked) => {
                let no_vrf = || CniError::other(format!("{name} is {}, not a VRF", there.kind));
                let table = there.vrf_table.ok_or_else(no_vrf)?;
                if asked.is_some_and(|asked| asked != table) {
                    let what = format!("VRF {name} already exist with different routing table {table}");
                    return Err(CniError::other(what));
                }
                Ok(table)
            }
            (None, Some(asked)) => Ok(asked),
            (None, None) => {
                let taken: BTreeSet<u32> = devices.iter().filter_map(|device| device.vrf_table).collect();
                let mut free = (1..u32::MAX).filter(|table| !taken.contains(table));
                free.next().ok_or_else(|| CniError::other("there is no free routing table"))
            }
        }
    }

    /// What is to be made in a container with `devices`.
    fn fixtures(&self, device: &IfName, devices: &[DeviceFacts]) -> Result<Vec<Fixture>, CniError> {
        let table = self.table_among(devices)?;
        let absent = || CniError::other(format!("could not get link by name {device}"));
        let there = devices.iter().find(|other| other.name == *device).ok_or_else(absent)?;
        if let Some(master) = there.master {
            let master = devices.iter().find(|other| other.index == master);
            let master = master.map_or_else(String::new, |master| format!(": {}", master.name));
            return Err(CniError::other(format!("interface {device} has already a master set{master}")));
        }
        Ok(vec![
            Fixture::Vrf { name: self.name.clone(), table },
            Fixture::Member { device: device.clone(), master: self.name.clone() },
        ])
    }
}

fn previous(call: &Call) -> Result<&CniResult, CniError> {
    call.prev.as_ref().ok_or_else(|| CniError::config("missing prevResult from earlier plugin"))
}

impl Plugin for Vrf {
    fn name(&self) -> &'static str {
        NAME
    }

    fn versions(&self) -> &'static [Version] {
        Version::V031.and_later()
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        let prev = previous(call)?;
        let devices = host.engine()?.kernel().devices(Some(call.netns()?))?;
        let fixtures = config.fixtures(&call.ifname.parse()?, &devices)?;
        let part = Part { owner: NAME.to_owned(), fixtures, ..Part::default() };
        call.fit(host, (part, Guests::default()), found(call, prev, None), false)?;
        Ok(prev.clone())
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.unfit(host, NAME).map(drop)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?;
        previous(call)?;
        call.compare(host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.collect(host)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::call;
    use super::*;

    fn device(index: u32, name: &str, master: Option<u32>, vrf_table: Option<u32>) -> DeviceFacts {
        DeviceFacts {
            index,
            name: name.parse().unwrap(),
            kind: if vrf_table.is_some() { "vrf" } else { "veth" }.to_owned(),
            mac: None,
            mtu: 1500,
            up: true,
            loopback: false,
            promisc: false,
            allmulti: false,
            tx_queue: 0,
            master,
            peer: None,
            alias: None,
            vrf_table,
            addresses: Vec::new(),
        }
    }

    fn table(rest: &str, devices: &[DeviceFacts]) -> Result<u32, String> {
        let config = Config::read(&call("", rest)).map_err(|error| error.msg)?;
        let fixtures = config.fixtures(&"eth0".parse().unwrap(), devices).map_err(|error| error.msg)?;
        match fixtures.as_slice() {
            [Fixture::Vrf { table, .. }, Fixture::Member { .. }] => Ok(*table),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_table_is_asked_for_or_that_of_the_vrf_or_the_first_that_is_free() {
        let eth0 = device(2, "eth0", None, None);
        let with = |other: DeviceFacts| [eth0.clone(), other];
        assert_eq!(table(r#""vrfName": "blue""#, &with(device(3, "red", None, Some(1)))), Ok(2));
        assert_eq!(table(r#""vrfname": "red""#, &with(device(3, "red", None, Some(7)))), Ok(7));
        assert_eq!(table(r#""vrfname": "blue", "table": 1"#, &with(device(3, "red", None, Some(1)))), Ok(1));
        let other = table(r#""vrfname": "red", "table": 8"#, &with(device(3, "red", None, Some(7))));
        assert_eq!(other, Err("VRF red already exist with different routing table 7".to_owned()));
        let taken = table(r#""vrfname": "red""#, &with(device(3, "red", None, None)));
        assert_eq!(taken, Err("red is veth, not a VRF".to_owned()));
    }

    #[test]
    fn the_interface_must_be_there_and_under_nothing() {
        let under = [device(2, "eth0", Some(3), None), device(3, "red", None, Some(1))];
        let error = table(r#""vrfname": "blue""#, &under).unwrap_err();
        assert_eq!(error, "interface eth0 has already a master set: red");
        assert_eq!(table(r#""vrfname": "a""#, &[]), Err("could not get link by name eth0".to_owned()));
        let error = table(r#""vrfname": """#, &[]).unwrap_err();
        assert_eq!(error, "configuration is expected to have a valid vrf name");
    }
}
