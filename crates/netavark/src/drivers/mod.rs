//! What makes a container's place on a network, by the network's driver.
//!
//! A driver first reads what is asked for and changes nothing; only when all of a container's networks could be read is
//! the first of them set up.

mod bridge;
mod device;
mod inside;
mod plugin;

use std::collections::BTreeMap;
use std::path::Path;

use linkspan_aardvark::Entry;
use linkspan_engine::FitRequest;
use linkspan_model::{Attachment, IfName, Invalid, Mac, Name};
use linkspan_plan::Failure;

use crate::{Error, Global, Host, Network, NetworkOptions, PerNetwork, Status, leases};

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
    /// The port that the name server listens on.
    pub dns_port: u16,
}

/// What was set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// What Podman is told.
    pub status: Status,
    /// What the name server is to know.
    pub names: Option<Entry>,
}

impl From<Status> for Made {
    fn from(status: Status) -> Self {
        Self { status, names: None }
    }
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

    /// What a sandbox is labelled with that is made for the container.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let of = |what: &str, value: &str| (format!("linkspan.netavark.{what}"), value.to_owned());
        [of("container", &self.options.container_id), of("name", &self.options.container_name)].into()
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
        parsed.map(Some).map_err(|cause: Invalid| not_a_mac(text, &cause))
    }

    /// Whether Podman is of version 6 or later, whose defaults differ.
    pub const fn is_podman6(&self) -> bool {
        self.options.networks.is_list
    }

    /// Gives back what is leased for the endpoint, and takes it away with all that was made for it, as far as it is there.
    ///
    /// # Errors
    /// The first, after both were tried.
    pub fn detach(&self, host: &mut Host<'_>) -> Result<(), Error> {
        let given_back = leases::give_back(self, host);
        self.remove(host).and(given_back)
    }

    /// Takes the endpoint away with all that was made for it, as far as it is there.
    ///
    /// # Errors
    /// If something is left.
    pub fn remove(&self, host: &mut Host<'_>) -> Result<(), Error> {
        host.engine()?.detach(&self.attachment()?)?;
        Ok(())
    }
}

/// Why `text` is no container's MAC. One that no device may have is refused in the kernel's words, as others leave it to
/// the kernel.
fn not_a_mac(text: &str, cause: &Invalid) -> Error {
    let is_byte = |part: &str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    let is_whole = text.split([':', '-']).filter(|part| is_byte(part)).count() == 6;
    let why = cause.one_line();
    Error::new(if is_whole {
        format!("unable to set mac address {text}: Cannot assign requested address (os error 99): {why}")
    } else {
        format!("unable to parse mac address {text}: {why}")
    })
}

/// Why the engine refused, in the words that others know for it.
pub fn words(error: linkspan_engine::Error, request: &FitRequest) -> Error {
    const EXISTS: &str = "Netlink error: File exists (os error 17)";
    let ifname = &request.attachment.ifname;
    let in_container = format!("interface {ifname} already exists on container namespace");
    match &error {
        linkspan_engine::Error::Present { .. } => {
            Error::new(format!("create veth pair: {in_container}: {EXISTS}"))
        }
        linkspan_engine::Error::Kernel(refused)
            if refused.failure == Failure::Exists && refused.cause.starts_with("there is a device") =>
        {
            let host = request.footing.host.as_ref().map(ToString::to_string).unwrap_or_default();
            Error::new(format!(
                "create veth pair: {in_container} or {host} exists on host namespace: {EXISTS}"
            ))
        }
        linkspan_engine::Error::Kernel(refused)
            if refused.what.starts_with("set sysctl") && refused.cause.contains("EROFS") =>
        {
            let key = refused.what.split(' ').nth(2).unwrap_or_default();
            Error::new(format!("set sysctl {key}: IO error: Read-only file system (os error 30)"))
        }
        linkspan_engine::Error::Kernel(refused) if refused.cause.starts_with("there is no VRF") => {
            Error::new("get vrf to set up bridge interface: Netlink error: No such device (os error 19)")
        }
        linkspan_engine::Error::Kernel(refused) if refused.cause.contains("IPv6 is disabled") => Error::new(
            "add ip addr to bridge: failed to add ipv6 address, is ipv6 enabled in the kernel?: Netlink error: \
             Permission denied (os error 13)",
        ),
        _ => error.into(),
    }
}
