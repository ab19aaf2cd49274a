//! firewalld: the container's addresses are sources of a zone.

use std::io;
use std::net::IpAddr;

use super::bus::{Bus, Method, Reply};
use crate::CniError;

const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const INTERFACE: &str = "org.fedoraproject.FirewallD1.zone";
/// What firewalld says of a source that the zone has.
const ALREADY_SET: &str = "ZONE_ALREADY_SET";

/// A zone of the firewalld that runs.
#[derive(Debug)]
pub struct Zone {
    bus: Bus,
    name: String,
}

impl Zone {
    /// The zone `name`, if firewalld runs.
    pub fn of_running(name: &str) -> Option<Self> {
        let mut bus = Bus::system().ok()?;
        bus.is_owned(NAME).ok()?.then(|| Self { bus, name: name.to_owned() })
    }

    /// The zone `name`, where firewalld is to run.
    ///
    /// # Errors
    /// If the bus that it is on cannot be reached.
    pub fn open(name: &str) -> Result<Self, CniError> {
        let unreachable = |error: io::Error| {
            CniError::other("cannot reach firewalld")
                .because(format!("the system bus: {error}"))
                .because("start it, or choose the backend \"iptables\"")
        };
        Ok(Self { bus: Bus::system().map_err(unreachable)?, name: name.to_owned() })
    }

    /// Makes the addresses sources of the zone.
    ///
    /// # Errors
    /// If firewalld refuses; none is a source then that was not before.
    pub fn add(&mut self, addresses: &[IpAddr]) -> Result<(), CniError> {
        for (done, address) in addresses.iter().enumerate() {
            let why = match self.call("addSource", *address) {
                Ok(Reply::Done(_)) => continue,
                Ok(Reply::Failed(what)) if what.contains(ALREADY_SET) => continue,
                Ok(Reply::Failed(what)) => what,
                Err(error) => error.to_string(),
            };
            self.remove(addresses.get(..done).unwrap_or_default());
            let zone = &self.name;
            return Err(CniError::other(format!(
                "failed to add the address {address} to {zone} zone: {why}"
            )));
        }
        Ok(())
    }

    /// Takes them from the zone again, as far as they are there.
    pub fn remove(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            _ = self.call("removeSource", *address);
        }
    }

    /// That all of them are sources of the zone.
    ///
    /// # Errors
    /// Naming the first that is none.
    pub fn check(&mut self, addresses: &[IpAddr]) -> Result<(), CniError> {
        for address in addresses {
            if !matches!(self.call("querySource", *address), Ok(Reply::Done(Some(true)))) {
                let zone = &self.name;
                return Err(CniError::other(format!("failed to find the address {address} in {zone} zone")));
            }
        }
        Ok(())
    }

    fn call(&mut self, member: &str, address: IpAddr) -> io::Result<Reply> {
        let method = Method { destination: NAME, path: PATH, interface: INTERFACE, member };
        let whole = if address.is_ipv4() { 32 } else { 128 };
        self.bus.call(method, &[&self.name, &format!("{address}/{whole}")])
    }
}
