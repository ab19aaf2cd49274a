//! What makes a container's place on a network, by the network's driver.
//!
//! A driver first reads what is asked for and changes nothing; only when all of a container's networks could be read is
//! the first of them set up.

mod bridge;
mod device;
mod inside;
mod plugin;

use std::path::Path;

use linkspan_model::{Attachment, IfName, Invalid, Mac, Name};

use crate::{Error, Global, Host, Network, NetworkOptions, PerNetwork, Status};

/// What parts of endpoints are known by.
pub const OWNER: &str = "netavark";

/// A container's place on one network, as Podman describes it.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The flags.
    pub global: &'a Global,
    /// The file that stands for the container's namespace; it may be gone at teardown.
    pub netns: &'a Path,
    /// The container.
    pub options: &'a NetworkOptions,
    /// How it is on the network.
    pub per: &'a PerNetwork,
    /// The network.
    pub network: &'a Network,
}

/// What was set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// What Podman is told.
    pub status: Status,
}

/// A driver.
pub trait Driver {
    /// Reads what is asked for. Nothing is changed.
    ///
    /// # Errors
    /// If it cannot be, whatever the host is like.
    fn plan<'a>(&self, job: &Job<'a>) -> Result<Box<dyn Plan + 'a>, Error>;

    /// Takes away what was set up, as far as it is there: it may be gone, as may the namespace.
    ///
    /// # Errors
    /// If something is left.
    fn teardown(&self, job: &Job<'_>, host: &mut Host<'_>) -> Result<(), Error> {
        job.detach(host)
    }
}

/// A container's place on a network that is to be made.
pub trait Plan {
    /// Makes it.
    ///
    /// # Errors
    /// If the host does not allow it; nothing is left then.
    fn setup(&self, host: &mut Host<'_>) -> Result<Made, Error>;
}

/// The driver of a network.
///
/// # Errors
/// If there is none of its name.
pub fn find(job: &Job<'_>) -> Result<Box<dyn Driver>, Error> {
    match job.network.driver.as_str() {
        "bridge" => Ok(Box::new(bridge::Bridge)),
        "macvlan" => Ok(Box::new(device::OnDevice::Macvlan)),
        "ipvlan" => Ok(Box::new(device::OnDevice::Ipvlan)),
        other => match crate::plugin::find(&job.global.plugins, other) {
            Some(program) => Ok(Box::new(plugin::Plugin(program))),
            None => Err(Error::new(format!("unknown network driver \"{other}\""))),
        },
    }
}

impl Job<'_> {
    /// How the engine knows the endpoint.
    ///
    /// # Errors
    /// If the interface has no name that a device may have.
    pub fn attachment(&self) -> Result<Attachment, Error> {
        Ok(Attachment {
            network: self.record()?,
            container: self.options.container_id.clone(),
            ifname: self.ifname()?,
        })
    }

    /// The interface inside.
    ///
    /// # Errors
    /// If it has no name that a device may have.
    pub fn ifname(&self) -> Result<IfName, Error> {
        if self.per.interface_name.is_empty() {
            return Err(Error::new("no container interface name given"));
        }
        Ok(self.per.interface_name.parse()?)
    }

    /// The name that the engine has the network under. One that is too long for it goes by its identity.
    ///
    /// # Errors
    /// If neither can be kept.
    pub fn record(&self) -> Result<Name, Error> {
        let Network { name, id, .. } = self.network;
        Ok(name.parse().or_else(|_| id.chars().take(32).collect::<String>().parse())?)
    }

    /// The MAC that the container is to have, if one is asked for.
    ///
    /// # Errors
    /// If it is none.
    pub fn static_mac(&self) -> Result<Option<Mac>, Error> {
        let Some(text) = self.per.static_mac.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let parsed = text.replace('-', ":").parse();
        parsed.map(Some).map_err(|cause: Invalid| {
            Error::new(format!("unable to parse mac address {text}: {}", cause.one_line()))
        })
    }

    /// Whether Podman is of version 6 or later, whose defaults differ.
    pub const fn is_podman6(&self) -> bool {
        self.options.networks.is_list
    }

    /// Takes the endpoint away with all that was made for it, as far as it is there.
    ///
    /// # Errors
    /// If something is left.
    pub fn detach(&self, host: &mut Host<'_>) -> Result<(), Error> {
        host.engine()?.detach(&self.attachment()?)?;
        Ok(())
    }
}
