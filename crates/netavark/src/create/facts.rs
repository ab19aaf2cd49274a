//! What `create` finds out about the host.

use std::path::PathBuf;
use std::time::SystemTime;

use ipnet::IpNet;
use linkspan_kernel::Host as Kernel;
use linkspan_model::IfName;
use linkspan_plan::Kernel as _;

use crate::{Error, Network, plugin};

/// What `create` asks of the host.
pub trait Facts {
    /// Whether the host has a device of this name.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn has_device(&mut self, name: &str) -> Result<bool, Error>;

    /// The subnets that the host has addresses in or routes to.
    ///
    /// # Errors
    /// If they cannot be listed.
    fn prefixes(&mut self) -> Result<Vec<IpNet>, Error>;

    /// Seven bytes by chance.
    ///
    /// # Errors
    /// If the kernel gives none.
    fn chance(&mut self) -> Result<[u8; 7], Error>;

    /// What the driver of a third party makes of a network.
    ///
    /// # Errors
    /// Its own; if there is no such driver.
    fn ask(&mut self, network: &Network) -> Result<Network, Error>;

    /// The time (RFC 3339).
    fn now(&self) -> String;
}

/// The host that this process runs on.
pub struct ThisHost<'a> {
    kernel: Kernel,
    plugins: &'a [PathBuf],
}

impl<'a> ThisHost<'a> {
    /// This host, with the drivers of third parties in `plugins`.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn open(plugins: &'a [PathBuf]) -> Result<Self, Error> {
        Ok(Self { kernel: Kernel::open()?, plugins })
    }
}

impl Facts for ThisHost<'_> {
    fn has_device(&mut self, name: &str) -> Result<bool, Error> {
        let Ok(name) = name.parse::<IfName>() else { return Ok(false) };
        Ok(self.kernel.device(None, &name)?.is_some())
    }

    fn prefixes(&mut self) -> Result<Vec<IpNet>, Error> {
        let found = self.kernel.host_prefixes()?;
        Ok(found.into_iter().map(|used| used.prefix).collect())
    }

    fn chance(&mut self) -> Result<[u8; 7], Error> {
        let mut bytes = [0; 7];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(format!("the kernel gives no random bytes: {error}")))?;
        Ok(bytes)
    }

    fn ask(&mut self, network: &Network) -> Result<Network, Error> {
        plugin::create(self.plugins, network)
    }

    fn now(&self) -> String {
        humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
    }
}
