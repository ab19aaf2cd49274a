//! firewalld: the container's addresses are sources of a zone.

use std::io;
use std::net::IpAddr;

use linkspan_kernel::firewalld::Firewalld;

use crate::CniError;

/// A zone of the firewalld that runs.
#[derive(Debug)]
pub struct Zone {
    firewalld: Firewalld,
    name: String,
}

impl Zone {
    /// The zone `name`, if firewalld runs.
    pub fn of_running(name: &str) -> Option<Self> {
        Some(Self { firewalld: Firewalld::running()?, name: name.to_owned() })
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
        Ok(Self { firewalld: Firewalld::open().map_err(unreachable)?, name: name.to_owned() })
    }

    /// Makes the addresses sources of the zone.
    ///
    /// # Errors
    /// If firewalld refuses; none is a source then that was not before.
    pub fn add(&mut self, addresses: &[IpAddr]) -> Result<(), CniError> {
        for (done, address) in addresses.iter().enumerate() {
            if let Err(why) = self.firewalld.add_source(&self.name, (*address).into()) {
                self.remove(addresses.get(..done).unwrap_or_default());
                let zone = &self.name;
                return Err(CniError::other(format!(
                    "failed to add the address {address} to {zone} zone: {why}"
                )));
            }
        }
        Ok(())
    }

    /// Takes them from the zone again, as far as they are there.
    pub fn remove(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            self.firewalld.remove_source(&self.name, (*address).into());
        }
    }

    /// That all of them are sources of the zone.
    ///
    /// # Errors
    /// Naming the first that is none.
    pub fn check(&mut self, addresses: &[IpAddr]) -> Result<(), CniError> {
        for address in addresses {
            if !self.firewalld.has_source(&self.name, (*address).into()) {
                let zone = &self.name;
                return Err(CniError::other(format!("failed to find the address {address} in {zone} zone")));
            }
        }
        Ok(())
    }
}
