//! Where addresses come from: from this very program if the runtime's path leads to it, else from other programs.

pub mod delegate;
mod dhcp;
mod host_local;
mod r#static;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use linkspan_model::Family;

use crate::{Call, CniError, CniResult, Host, Object, Plugin, Verb, Version};

pub use dhcp::Dhcp;
pub use host_local::HostLocal;
pub use r#static::Static;

/// Those that are this program's, as they work within another plugin: what CNI_ARGS has for that one is not theirs.
const OURS: [&dyn Plugin; 3] =
    [&Dhcp, &HostLocal { known_args: &["IP", "MAC"] }, &Static { known_args: &["IP", "GATEWAY", "MAC"] }];

/// Who gives out addresses.
enum Giver {
    Ours(&'static dyn Plugin),
    Theirs(PathBuf),
}

/// The `ipam.type` of a configuration; none if it asks for no addresses.
///
/// # Errors
/// Code 6 if it is no text.
pub fn kind(call: &Call) -> Result<Option<String>, CniError> {
    call.config.object("ipam")?.map_or(Ok(None), |ipam| ipam.text("type"))
}

/// Gets addresses, with the routes and name servers that belong to them; no interfaces.
///
/// # Errors
/// Those of whoever gives them out; then nothing is held.
pub fn add(call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
    if let Some(found) = host.found() {
        return Ok(found.addressed.clone());
    }
    match giver(call)? {
        Giver::Ours(ours) => ours.add(call, host),
        Giver::Theirs(plugin) => delegate::add(call, &plugin),
    }
}

/// Gives them back.
///
/// # Errors
/// Those of whoever gave them out.
pub fn del(call: &Call, host: &mut Host) -> Result<(), CniError> {
    if host.found().is_some() {
        return Ok(());
    }
    match giver(call)? {
        Giver::Ours(ours) => ours.del(call, host),
        Giver::Theirs(plugin) => delegate::tell(call, &plugin, Verb::Del),
    }
}

/// Looks whether they are still held.
///
/// # Errors
/// If they are not.
pub fn check(call: &Call, host: &mut Host) -> Result<(), CniError> {
    match giver(call)? {
        Giver::Ours(ours) => ours.check(call, host),
        Giver::Theirs(plugin) => delegate::tell(call, &plugin, Verb::Check),
    }
}

/// Gives back those of attachments that the runtime does not know.
///
/// # Errors
/// Those of whoever gave them out.
pub fn gc(call: &Call, host: &mut Host) -> Result<(), CniError> {
    match giver(call)? {
        Giver::Ours(ours) => ours.gc(call, host),
        Giver::Theirs(plugin) => delegate::tell(call, &plugin, Verb::Gc),
    }
}

/// Tells whether there are addresses to be had.
///
/// # Errors
/// Codes 50 and 51, and that of whoever gives them out.
pub fn status(call: &Call, host: &mut Host) -> Result<(), CniError> {
    match giver(call)? {
        Giver::Ours(ours) => ours.status(call, host),
        Giver::Theirs(plugin) => delegate::tell(call, &plugin, Verb::Status),
    }
}

/// Who gives out addresses for `call`. A program of ours needs no file where no other has the name.
fn giver(call: &Call) -> Result<Giver, CniError> {
    let kind = kind(call)?.ok_or_else(|| CniError::config("key 'ipam.type' is not given"))?;
    let ours = OURS.into_iter().find(|plugin| plugin.name() == kind);
    match (ours, delegate::find(call, &kind)) {
        (Some(ours), Err(_)) => Ok(Giver::Ours(ours)),
        (Some(ours), Ok(file)) if is_this_program(&file) => Ok(Giver::Ours(ours)),
        (_, found) => found.map(Giver::Theirs),
    }
}

fn is_this_program(file: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    identity(file).is_some_and(|found| identity(Path::new("/proc/self/exe")) == Some(found))
}

/// The `ipam` of a configuration.
fn section(call: &Call) -> Result<&Object, CniError> {
    // In the words of the reference plugins, which users look for; so below.
    call.config.object("ipam")?.ok_or_else(|| CniError::config("IPAM config missing 'ipam' key"))
}

/// Refuses several addresses of a family where results have room for one.
fn check_count(call: &Call, families: impl Iterator<Item = Family>) -> Result<(), CniError> {
    let families: Vec<Family> = families.collect();
    let many = |family| families.iter().filter(|other| **other == family).count() > 1;
    if call.version >= Version::V030 || !(many(Family::V4) || many(Family::V6)) {
        return Ok(());
    }
    let version = call.version;
    Err(CniError::config(format!("CNI version {version} does not support more than 1 address per family")))
}

/// An address with its prefix, host bits and all.
fn prefix(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok()
}

/// An address; one of IPv4 in the guise of IPv6 is what it is.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// The address under `key` of `object`; an empty text is none.
fn address_at(object: &Object, key: &str) -> Result<Option<IpAddr>, CniError> {
    let text = object.text(key)?;
    let parse = |text: String| {
        let path = object.path_of(key);
        address(&text)
            .ok_or_else(|| CniError::config(format!("key '{path}' must be an address, got: '{text}'")))
    };
    text.map(parse).transpose()
}
