//! Which sandbox a runtime's container is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use linkspan_model::{Attachment, Endpoint, Name, NamespaceSource, Sandbox};
use linkspan_plan::{Inside, Kernel};
use linkspan_store::Tx;

use crate::{Engine, Error, now, random_id};

/// Where `ip netns` keeps its namespaces, and what that is also called.
const NAMESPACES: [&str; 2] = ["/run/netns", "/var/run/netns"];
/// So much of a long identity is enough to call a container by.
const SHORT: usize = 12;

/// The sandbox that a runtime's container is, or is to be.
pub struct Berth {
    /// It.
    pub sandbox: Sandbox,
    /// Whether it is to be made.
    pub is_new: bool,
    /// What is in its namespace, if that was looked at.
    pub inside: Inside,
}

impl<K: Kernel> Engine<K> {
    /// Finds the sandbox of `container`, whose namespace the file `netns` stands for, or drafts it. What is in the namespace
    /// is looked at only for a sandbox that is to be made, or if it `matters`.
    pub(crate) fn berth(
        &mut self,
        container: &str,
        netns: &Path,
        labels: &BTreeMap<String, String>,
        matters: bool,
    ) -> Result<Berth, Error> {
        let (path, pin) = place(netns);
        let (found, name) = self.store.read(|tx| {
            let found = match &pin {
                Some(pin) => tx.sandbox(pin.as_str())?.filter(|other| other.netns_name() == pin),
                None => None,
            };
            let found = match found {
                Some(found) => Some(found),
                None => known(tx, container, &path)?,
            };
            Ok::<_, Error>((found, free_name(tx, container, pin.is_none())?))
        })?;
        // It may be the host's own: the runtime was asked before whether that is meant.
        let inside = match found {
            Some(_) if !matters => Inside::default(),
            _ => self.kernel.look_into(&path)?,
        };
        if let Some(sandbox) = found {
            return Ok(Berth { sandbox, is_new: false, inside });
        }
        let sandbox = Sandbox {
            id: random_id()?,
            created: now(),
            namespace: NamespaceSource::Path(path),
            hostname: name.to_string(),
            dns: Vec::new(),
            add_hosts: Vec::new(),
            links: Vec::new(),
            ephemeral: false,
            labels: labels.clone(),
            netns: pin,
            of_runtime: true,
            name,
        };
        Ok(Berth { sandbox, is_new: true, inside })
    }

    /// How a runtime called what it means by `attachment` when the plugin `owner` made its part, if the network had another
    /// name then: the container, its interface and the namespace, which the file `netns` stands for, are the same.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn renamed(
        &mut self,
        attachment: &Attachment,
        owner: &str,
        netns: &Path,
    ) -> Result<Option<Attachment>, Error> {
        let (path, _) = place(netns);
        let source = NamespaceSource::Path(path);
        self.store.read(|tx| {
            for id in tx.endpoints_of_container(&attachment.container)? {
                let is_it = |endpoint: &Endpoint| {
                    endpoint.ifname == attachment.ifname && endpoint.part(owner).is_some()
                };
                let Some(endpoint) = tx.endpoint(id)?.filter(is_it) else { continue };
                let sandbox = tx.sandbox_by_id(endpoint.sandbox)?;
                if sandbox.is_some_and(|sandbox| sandbox.namespace == source) {
                    return Ok(tx.attachment_of(id)?);
                }
            }
            Ok(None)
        })
    }
}

/// A namespace's file, and what it is called if `ip netns` sees it there.
fn place(netns: &Path) -> (PathBuf, Option<Name>) {
    let is_there = |directory: &Path| NAMESPACES.iter().any(|known| directory == Path::new(known));
    let name = || netns.file_name()?.to_str()?.parse::<Name>().ok();
    match netns.parent().filter(|parent| is_there(parent)).and_then(|_| name()) {
        Some(name) => (Path::new(NAMESPACES[0]).join(name.as_str()), Some(name)),
        None => (netns.to_owned(), None),
    }
}

/// The sandbox that something of `container` was attached to, if that has the namespace `path` too.
fn known(tx: &Tx<'_>, container: &str, path: &Path) -> Result<Option<Sandbox>, Error> {
    for id in tx.endpoints_of_container(container)? {
        let Some(endpoint) = tx.endpoint(id)? else { continue };
        let sandbox = tx.sandbox_by_id(endpoint.sandbox)?;
        let same = |sandbox: &Sandbox| sandbox.namespace == NamespaceSource::Path(path.to_owned());
        if let Some(sandbox) = sandbox.filter(same) {
            return Ok(Some(sandbox));
        }
    }
    Ok(None)
}

/// A name that no sandbox has: the container's identity if that is one, else as short as people write it, with its end if
/// many begin alike; and a number if need be. If it is to be pinned by that name, nothing else may be.
fn free_name(tx: &Tx<'_>, container: &str, is_to_be_pinned: bool) -> Result<Name, Error> {
    let short: String = container.chars().take(SHORT).collect();
    let plain = match container.char_indices().nth_back(SHORT - 1) {
        _ if container.parse::<Name>().is_ok() => vec![container.to_owned()],
        Some((at, _)) => vec![short.clone(), format!("{short}-{}", &container[at..])],
        None => vec![short.clone()],
    };
    let others = (2..).map(|number| format!("{short}-{number}"));
    for text in plain.into_iter().chain(others) {
        let name: Name = text.parse()?;
        let taken = tx.sandbox(name.as_str())?.is_some_and(|other| other.name == name)
            || is_to_be_pinned && Path::new(NAMESPACES[0]).join(name.as_str()).exists();
        if !taken {
            return Ok(name);
        }
    }
    Err(Error::Overtaken)
}
