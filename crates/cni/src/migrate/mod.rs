//! Takes over what other plugins attached, while it is in use: what the runtime remembers of it is planned as our own plugins
//! would, compared with what is there, and written down.

mod cache;
mod rules;

use std::path::Path;

use linkspan_kernel::netns::Namespace;
use linkspan_model::{Attachment, Fixture, IfName};
use serde::Serialize;

use crate::host::Found;
use crate::ipam::{self, HostLocal};
use crate::{CniError, CniResult, Host, find};

use cache::{Cached, read_all};
use rules::Rules;

/// Where the reference library keeps what it attached.
pub const CACHE: &str = "/var/lib/cni/results";
/// Plugins that attach to networks of Linkspan's: what they made is known.
const NATIVE: &str = "linkspan";
/// The plugin that lets containers' packets pass.
const FIREWALL: &str = "firewall";

/// What became of an attachment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It was taken over, or would be.
    Taken,
    /// Linkspan had it already.
    Known,
    /// It was left as it is.
    Left,
}

/// An attachment that the runtime remembers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrated {
    /// Its file in the cache.
    pub file: String,
    /// The network.
    pub network: String,
    /// The container.
    pub container: String,
    /// Its interface.
    pub ifname: String,
    /// What became of it.
    pub fate: Fate,
    /// The plugins whose parts were taken over.
    pub plugins: Vec<String>,
    /// How many firewall rules of other plugins went.
    pub rules: usize,
    /// Why it was left, and what else there is to say.
    pub notes: Vec<String>,
}

/// Takes over everything that is remembered in the directory `cache`; with `is_dry`, only tells what would be. Whatever is
/// left has its reason beside it.
///
/// # Errors
/// If the cache cannot be listed, or the store not be opened.
pub fn migrate(host: &mut Host, cache: &Path, is_dry: bool) -> Result<Vec<Migrated>, CniError> {
    let rules = Rules::read(host)?;
    let mut all = Vec::new();
    for (file, read) in read_all(cache)? {
        let mut migrated = Migrated {
            file,
            network: String::new(),
            container: String::new(),
            ifname: String::new(),
            fate: Fate::Left,
            plugins: Vec::new(),
            rules: 0,
            notes: Vec::new(),
        };
        let done = read.and_then(|cached| {
            migrated.network.clone_from(&cached.network);
            migrated.container.clone_from(&cached.container);
            migrated.ifname.clone_from(&cached.ifname);
            take_over(host, &cached, &rules, is_dry, &mut migrated)
        });
        host.take_found();
        migrated.notes.extend(done.err().map(|error| error.to_string()));
        all.push(migrated);
    }
    Ok(all)
}

/// Takes over one; an error is the reason why it, or what is still to do about it, is left.
fn take_over(
    host: &mut Host,
    cached: &Cached,
    rules: &Rules,
    is_dry: bool,
    migrated: &mut Migrated,
) -> Result<(), CniError> {
    let attachment = Attachment {
        network: cached.network.parse()?,
        container: cached.container.clone(),
        ifname: cached.ifname.parse()?,
    };
    if let Some((endpoint, ..)) = host.engine()?.attachment(&attachment)? {
        migrated.fate = Fate::Known;
        migrated.plugins = endpoint.parts.into_iter().map(|part| part.owner).collect();
    } else {
        let found = gather(host, cached, &mut migrated.notes)?;
        if !is_dry {
            host.engine()?.adopt(&found.requests)?;
        }
        migrated.fate = Fate::Taken;
        migrated.plugins = found.requests.into_iter().map(|request| request.part.owner).collect();
        migrated.plugins.dedup();
    }
    let lets_pass = cached.types()?.iter().any(|name| name == FIREWALL);
    let own = rules.of(cached, lets_pass);
    migrated.rules = own.len();
    migrated.notes.extend(own.notes.iter().cloned());
    if is_dry {
        return Ok(());
    }
    own.remove(host)?;
    finish(host, cached, &attachment, migrated)
}

/// What is done after that, and again if it could not be: addresses are put on record, and devices marked.
fn finish(
    host: &mut Host,
    cached: &Cached,
    attachment: &Attachment,
    migrated: &mut Migrated,
) -> Result<(), CniError> {
    if let Some(main) = cached.types()?.first().and_then(|name| find(name)) {
        let call = cached.call(0, main)?;
        if ipam::kind(&call)?.as_deref() == Some("host-local") {
            host.engine()?.take_stock(&HostLocal::directory_of(&call)?)?;
        }
    }
    let Some((endpoint, sandbox, _)) = host.engine()?.attachment(attachment)? else { return Ok(()) };
    for part in &endpoint.parts {
        for fixture in &part.fixtures {
            if let Fixture::Device(device) = fixture {
                host.engine()?.kernel().claim(sandbox.netns_name(), &device.ifname)?;
            }
        }
        let lacking = host.engine()?.lacking(attachment, &part.owner, endpoint.mac.into())?;
        let tell = |what: String| format!("not as {} makes it: {what}", part.owner);
        migrated.notes.extend(lacking.into_iter().map(tell));
    }
    Ok(())
}

/// Has our plugins plan what others made.
fn gather(host: &mut Host, cached: &Cached, notes: &mut Vec<String>) -> Result<Found, CniError> {
    let types = cached.types()?;
    if types.iter().any(|name| name == NATIVE) {
        return Err(CniError::other("it was attached by Linkspan, which removed it since"));
    }
    if let Some(main) = types.first().and_then(|name| find(name))
        && ipam::kind(&cached.call(0, main)?)?.as_deref() == Some("dhcp")
    {
        return Err(CniError::other("another program's daemon keeps its lease")
            .because("nobody else knows what was agreed with the server: attach the container anew"));
    }
    let gone = |error| CniError::other("its namespace is gone").because(error);
    Namespace::open(&cached.netns).map_err(gone)?;
    let device: IfName = cached.ifname.parse()?;
    let kernel = host.engine()?.kernel();
    let inside = kernel.device(Some(&cached.netns), &device)?;
    let inside = inside.ok_or_else(|| CniError::other(format!("there is no {device} in its namespace")))?;
    let is_pair = inside.kind == "veth";
    let peer = if is_pair { kernel.peer_on_host(&cached.netns, &device)? } else { None };
    host.expect(Found {
        host: peer,
        mac: inside.mac,
        addressed: CniResult { interfaces: Vec::new(), ..cached.result.clone() },
        ..Found::default()
    });
    for (number, name) in types.iter().enumerate() {
        match find(name) {
            None => notes.push(format!("{name} is no plugin of Linkspan's: what it made stays its own")),
            Some(plugin) => {
                let planned = cached.call(number, plugin).and_then(|call| plugin.add(&call, host));
                planned.map_err(|error| CniError { msg: format!("{name}: {}", error.msg), ..error })?;
            }
        }
    }
    let mut found = host.take_found().unwrap_or_default();
    match found.requests.first_mut() {
        Some(first) => _ = first.guests.take_in(&found.guests),
        None => return Err(CniError::other("none of its plugins made anything that is to be remembered")),
    }
    Ok(found)
}
