//! `create`: a network's definition is checked, and completed with what it leaves open.

mod bridge;
mod device;
mod facts;
mod subnets;

use crate::options::{BridgeOptions, DeviceOptions};
use crate::{CreateRequest, Error, Global, Network, Route, Used};

pub use facts::Facts;
use facts::ThisHost;

pub(crate) const BRIDGE: &str = "bridge";
pub(crate) const MACVLAN: &str = "macvlan";
pub(crate) const IPVLAN: &str = "ipvlan";

const HOST_LOCAL: &str = "host-local";
const DHCP: &str = "dhcp";
const NONE: &str = "none";
/// The key of `ipam_options` that says who gives out addresses.
const DRIVER: &str = "driver";

/// The longest name of an interface (IFNAMSIZ in linux/if.h, with the NUL).
const LONGEST_INTERFACE: usize = 15;
const ID_DIGITS: usize = 64;

/// Completes the network that Podman sends; gives what it is told.
///
/// # Errors
/// As [`create`].
pub(crate) fn answer(global: &Global) -> Result<String, Error> {
    let request = CreateRequest::load(global)?;
    let network = create(request, &mut ThisHost::open(&global.plugins)?)?;
    let text = serde_json::to_string(&network).map_err(|cause| Error::new(cause.to_string()))?;
    Ok(text + "\n")
}

/// Completes the network of `request`.
///
/// # Errors
/// Naming what in it cannot be, or is taken.
pub fn create(request: CreateRequest, host: &mut impl Facts) -> Result<Network, Error> {
    let CreateRequest { mut network, used, options } = request;
    identified(&network, &used)?;
    if network.driver.is_empty() {
        BRIDGE.clone_into(&mut network.driver);
    }
    bridge::rename(&mut network);
    if let Some(name) = &network.network_interface {
        interface_name(name)?;
    }
    addressed_by(&network)?;
    let mut check_used = false;
    match network.driver.as_str() {
        BRIDGE => {
            BridgeOptions::refuse_unknown(network.options.as_ref())?;
            let read = BridgeOptions::read(network.options.as_ref())?;
            check_used = options.check_used_subnets && bridge::is_own(&read);
            bridge::complete(&mut network, &read, (&used, &options), host)?;
        }
        MACVLAN | IPVLAN => {
            DeviceOptions::refuse_unknown(network.options.as_ref())?;
            device::complete(&mut network, host)?;
        }
        _ => network = by_third_party(&network, host)?,
    }
    if ipam(&network) == Some(NONE) {
        network.dns_enabled = false;
    }
    if !network.dns_enabled && network.network_dns_servers.is_some() {
        return Err(Error::new("cannot set NetworkDNSServers if DNS is not enabled for the network"));
    }
    let used = if check_used { used.subnets.as_slice() } else { &[] };
    subnets::settle(&mut network, used)?;
    network.routes.iter().flatten().try_for_each(route)?;
    network.created = Some(host.now());
    Ok(network)
}

/// Who gives out the network's addresses, if it says so.
fn ipam(network: &Network) -> Option<&str> {
    let driver = network.ipam_options.as_ref()?.get(DRIVER)?;
    Some(driver.as_str()).filter(|driver| !driver.is_empty())
}

fn set_ipam(network: &mut Network, driver: &str) {
    network.ipam_options.get_or_insert_default().insert(DRIVER.to_owned(), driver.to_owned());
}

fn has_subnets(network: &Network) -> bool {
    network.subnets.as_ref().is_some_and(|subnets| !subnets.is_empty())
}

fn identified(network: &Network, used: &Used) -> Result<(), Error> {
    let Network { name, id, .. } = network;
    if name.is_empty() {
        return Err(Error::new("Network name must be supplied"));
    }
    if !is_word(name) {
        return Err(Error::new(format!(
            "Invalid characters in network name {name:?}: must match [a-zA-Z0-9][a-zA-Z0-9_.-]*"
        )));
    }
    if used.names.contains_key(name) {
        return Err(Error::new(format!("network already exists {name}")));
    }
    if id.is_empty() {
        return Err(Error::new("Network id must be supplied"));
    }
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::new(format!("Network id must be a hexadecimal string {id:?}")));
    }
    if id.len() != ID_DIGITS {
        return Err(Error::new(format!(
            "Network id must be exactly {ID_DIGITS} characters long, got {}: {id}",
            id.len()
        )));
    }
    Ok(())
}

/// Whether `text` is a letter or digit, followed by these and `_`, `.` and `-`.
fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) && text.bytes().all(inner)
}

/// That an interface can have this name.
fn interface_name(name: &str) -> Result<(), Error> {
    if name.chars().count() > LONGEST_INTERFACE {
        return Err(Error::new(format!(
            "Interface name is too long: interface names must be {LONGEST_INTERFACE} characters or less: {name}"
        )));
    }
    if ["", ".", ".."].contains(&name) {
        return Err(Error::new("Interface name cannot be empty, . or .."));
    }
    match name.chars().find(|char| ['/', ':'].contains(char) || char.is_whitespace()) {
        Some(char) => Err(Error::new(format!("Interface name cannot contain {char:?}"))),
        None => Ok(()),
    }
}

fn addressed_by(network: &Network) -> Result<(), Error> {
    match ipam(network) {
        None | Some(HOST_LOCAL | DHCP) => Ok(()),
        Some(NONE) if has_subnets(network) => {
            Err(Error::new("None ipam driver is set but subnets are given"))
        }
        Some(NONE) => Ok(()),
        Some(other) => Err(Error::new(format!("Unsupported ipam driver: {other}"))),
    }
}

fn by_third_party(network: &Network, host: &mut impl Facts) -> Result<Network, Error> {
    let made = host.ask(network)?;
    let changed = [
        (made.name != network.name, "network name"),
        (made.id != network.id, "network ID"),
        (made.driver != network.driver, "network driver"),
    ];
    match changed.iter().find(|(is_changed, _)| *is_changed) {
        Some((_, what)) => {
            Err(Error::new(format!("{} plugin invalid result: changed {what}", network.driver)))
        }
        None => Ok(made),
    }
}

fn route(route: &Route) -> Result<(), Error> {
    let Route { destination, gateway, .. } = route;
    if *destination != destination.trunc() {
        return Err(Error::new("route destination invalid"));
    }
    match (route.route_type.as_deref(), gateway) {
        (None | Some("" | "unicast"), None) => {
            Err(Error::new(format!("route {destination} requires a gateway for type unicast")))
        }
        (None | Some("" | "unicast"), Some(_)) | (Some("blackhole" | "unreachable" | "prohibit"), None) => {
            Ok(())
        }
        (Some(kind @ ("blackhole" | "unreachable" | "prohibit")), Some(_)) => {
            Err(Error::new(format!("route {destination} must not have a gateway for type {kind}")))
        }
        (Some(other), _) => Err(Error::new(format!("invalid route type {other:?}"))),
    }
}

#[cfg(test)]
mod tests;
