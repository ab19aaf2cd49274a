//! Names inside a sandbox: its hosts and resolv.conf, where `run`, `exec` and `ip netns exec` find them.
//!
//! A user-defined network has a roster, a hosts file of all its endpoints. A sandbox that is on one such network and
//! asks for nothing else has the roster as its hosts file. Any other gets a file of its own, and is entered as a reader
//! of its networks' rosters: what changes in one is changed in the files of its readers too. So all see peers come and
//! go.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use linkspan_model::{
    Endpoint, Family, HostAlias, Lease, LinkSpec, NAME_SERVER, Name, NamespaceSource, Network, Sandbox,
};
use linkspan_plan::Kernel;

use crate::converge::attached;
use crate::{Engine, Error, Paths};

const LOCAL_V4: &str = "127.0.0.1\tlocalhost\n";
const LOCAL_V6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
                        ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// The files of this host's sandboxes.
#[derive(Debug)]
pub struct Files {
    paths: Paths,
}

impl Files {
    pub(crate) const fn new(paths: Paths) -> Self {
        Self { paths }
    }

    /// The directory with the files that replace those of /etc in `sandbox`; none if the host's are right, or a runtime
    /// looks after them.
    pub fn directory(&self, sandbox: &Sandbox) -> Option<PathBuf> {
        let name = match &sandbox.namespace {
            _ if sandbox.of_runtime => return None,
            NamespaceSource::New | NamespaceSource::Path(_) => &sandbox.name,
            NamespaceSource::Sandbox(other) => other,
            NamespaceSource::Host | NamespaceSource::Machine => return None,
        };
        Some(self.sandboxes().join(name.as_str()).join("etc"))
    }

    /// The files that the programs of `sandbox` see in place of those in /etc: what, and over which.
    pub fn binds(&self, sandbox: &Sandbox) -> Vec<(PathBuf, PathBuf)> {
        let bind = |directory: &Path, file: &str| (directory.join(file), Path::new("/etc").join(file));
        let files = self.directory(sandbox).into_iter();
        files.flat_map(|directory| ["hosts", "resolv.conf"].map(|file| bind(&directory, file))).collect()
    }

    fn sandboxes(&self) -> PathBuf {
        self.paths.run.join("sandboxes")
    }

    /// The hosts file of a sandbox that has no roster for it. Not beside what leads to it: `ip netns exec` mounts whatever
    /// is there.
    fn own_hosts(&self, sandbox: impl AsRef<Path>) -> PathBuf {
        self.sandboxes().join(sandbox).join("hosts")
    }

    fn roster(&self, network: &Name) -> PathBuf {
        self.paths.run.join("networks").join(format!("{network}.hosts"))
    }

    /// The directory with an entry for each sandbox that has a copy of the roster in its own file.
    fn readers(&self, network: &Name) -> PathBuf {
        self.paths.run.join("networks").join(format!("{network}.readers"))
    }

    fn write(&self, sandbox: &Sandbox, attached: &[(Endpoint, Network)], extra: &str) -> Result<(), Error> {
        if sandbox.of_runtime {
            return Ok(());
        }
        for (endpoint, network) in attached.iter().filter(|(_, network)| !network.is_predefined()) {
            self.enter_in_roster(sandbox, endpoint, network)?;
        }
        let Some(directory) = self.directory(sandbox) else { return Ok(()) };
        if sandbox.namespace.takes_endpoints() {
            create_directory(&directory)?;
            self.write_hosts(&directory.join("hosts"), sandbox, attached, extra)?;
            let is_answered = sandbox.is_answered(attached.iter().map(|(endpoint, _)| endpoint));
            let servers = if is_answered { &[IpAddr::V4(NAME_SERVER)] } else { sandbox.dns.as_slice() };
            let text = self.resolv_conf(servers);
            write(&directory.join("resolv.conf"), &if is_answered { at_once(text) } else { text })?;
        }
        let link = self.paths.etc_netns.join(sandbox.name.as_str());
        create_directory(&self.paths.etc_netns)?;
        if fs::read_link(&link).is_ok_and(|target| target == directory) {
            return Ok(());
        }
        if self.is_ours(&link) {
            remove(&link)?;
        }
        symlink(&directory, &link).map_err(Error::file("create", &link))
    }

    fn write_hosts(
        &self,
        hosts: &Path,
        sandbox: &Sandbox,
        attached: &[(Endpoint, Network)],
        extra: &str,
    ) -> Result<(), Error> {
        let own = self.own_hosts(sandbox.name.as_str());
        if let ([(_, network)], "") = (attached, extra)
            && !network.is_predefined()
        {
            remove(&self.readers(&network.name).join(sandbox.name.as_str()))?;
            point(hosts, &self.roster(&network.name))?;
            return remove(&own);
        }
        // Locked until it is written, so that no change of a roster is missed.
        let mut rosters = BTreeMap::new();
        for (_, network) in attached.iter().filter(|(_, network)| !network.is_predefined()) {
            rosters.insert(&network.name, self.subscribe(sandbox, &network.name)?);
        }
        let v6 = attached.iter().any(|(endpoint, _)| endpoint.lease(Family::V6).is_some());
        let mut text = base(v6) + extra;
        for (endpoint, network) in attached {
            match rosters.get(&network.name) {
                Some((_, peers)) => text += peers.strip_prefix(&base(network.ipv6)).unwrap_or(peers),
                None => text += &lines(sandbox, endpoint),
            }
        }
        edit(&own, |old| old.clone_from(&text))?;
        point(hosts, &own)
    }

    /// Enters a sandbox as a reader of a roster; gives what is in that, and the file, which does not change before it is
    /// closed.
    fn subscribe(&self, sandbox: &Sandbox, network: &Name) -> Result<(File, String), Error> {
        let readers = self.readers(network);
        create_directory(&readers)?;
        write(&readers.join(sandbox.name.as_str()), "")?;
        let path = self.roster(network);
        let read = || -> io::Result<_> {
            let mut roster = File::open(&path)?;
            roster.lock_shared()?;
            let mut text = String::new();
            roster.read_to_string(&mut text)?;
            Ok((roster, text))
        };
        read().map_err(Error::file("read", &path))
    }

    /// Changes a roster, and the files of its readers alike.
    fn edit_roster(&self, network: &Network, change: impl Fn(&mut String)) -> Result<(), Error> {
        let _locked = edit(&self.roster(&network.name), |text| {
            if text.is_empty() {
                *text = base(network.ipv6);
            }
            change(text);
        })?;
        for reader in entries(&self.readers(&network.name))? {
            let own = self.own_hosts(reader.file_name().unwrap_or_default());
            match OpenOptions::new().read(true).write(true).open(&own) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                file => {
                    drop(file.and_then(|file| rewrite(file, &change)).map_err(Error::file("write", &own))?)
                }
            }
        }
        Ok(())
    }

    fn enter_in_roster(
        &self,
        sandbox: &Sandbox,
        endpoint: &Endpoint,
        network: &Network,
    ) -> Result<(), Error> {
        create_directory(&self.paths.run.join("networks"))?;
        self.edit_roster(network, |text| {
            strike(text, endpoint);
            text.push_str(&lines(sandbox, endpoint));
        })
    }

    /// Takes `endpoint` of `sandbox` out of a roster, which the sandbox reads no more.
    pub(crate) fn strike_from_roster(
        &self,
        network: &Network,
        sandbox: &Name,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        if network.is_predefined() || !self.roster(&network.name).exists() {
            return Ok(());
        }
        remove(&self.readers(&network.name).join(sandbox.as_str()))?;
        self.edit_roster(network, |text| strike(text, endpoint))
    }

    pub(crate) fn remove_roster(&self, network: &Name) -> Result<(), Error> {
        remove_tree(&self.readers(network))?;
        remove(&self.roster(network))
    }

    /// Removes a sandbox's files.
    pub(crate) fn remove(&self, sandbox: &Name) -> Result<(), Error> {
        let link = self.paths.etc_netns.join(sandbox.as_str());
        if self.is_ours(&link) {
            remove(&link)?;
        }
        remove_tree(&self.sandboxes().join(sandbox.as_str()))
    }

    /// Files of ours that a sandbox may have, each under the sandbox's name.
    pub(crate) fn of_sandboxes(&self) -> Result<Vec<PathBuf>, Error> {
        let mut files: Vec<_> = entries(&self.paths.etc_netns)?;
        files.retain(|path| self.is_ours(path));
        files.extend(entries(&self.sandboxes())?);
        Ok(files)
    }

    /// Whether an entry of /etc/netns leads into the run directory.
    fn is_ours(&self, link: &Path) -> bool {
        fs::read_link(link).is_ok_and(|target| target.starts_with(&self.paths.run))
    }

    /// Removes one of them.
    pub(crate) fn discard(path: &Path) -> Result<(), Error> {
        if path.is_symlink() { remove(path) } else { remove_tree(path) }
    }

    /// What somebody else has where `ip netns exec` will look for the files of `sandbox`.
    pub(crate) fn foreign(&self, sandbox: &Name) -> Option<PathBuf> {
        let link = self.paths.etc_netns.join(sandbox.as_str());
        (link.symlink_metadata().is_ok() && !self.is_ours(&link)).then_some(link)
    }

    /// The host's name servers but those that listen on its loopback, which a sandbox does not reach; or `dns`. Everything
    /// else is as the host has it.
    fn resolv_conf(&self, dns: &[IpAddr]) -> String {
        let host = || {
            let texts = self.paths.resolv_conf.iter().filter_map(|path| fs::read_to_string(path).ok());
            let texts: Vec<_> = texts.map(|text| reachable(&text)).collect();
            let useful = texts.iter().find(|text| text.lines().any(|line| line.starts_with("nameserver")));
            useful.or_else(|| texts.first()).cloned().unwrap_or_default()
        };
        if dns.is_empty() {
            return host();
        }
        let kept = host()
            .lines()
            .filter(|line| !line.starts_with("nameserver"))
            .fold(String::new(), |text, line| text + line + "\n");
        dns.iter().fold(kept, |text, server| text + &format!("nameserver {server}\n"))
    }
}

impl<K: Kernel> Engine<K> {
    /// Writes what a new `sandbox` knows by name, for the networks that it is `attached_to`.
    pub(crate) fn write_names(
        &mut self,
        sandbox: &Sandbox,
        attached_to: &[(Endpoint, Network)],
    ) -> Result<(), Error> {
        let mut extra = String::new();
        for host in &sandbox.add_hosts {
            extra += &added(host, attached_to)?;
        }
        for link in &sandbox.links {
            extra += &self.linked(link, attached_to)?;
        }
        self.files.write(sandbox, attached_to, &extra)
    }

    /// Writes it again for a `sandbox` that lives. What it was linked to may be gone, or on no network of its any more.
    pub(crate) fn rewrite_names(
        &mut self,
        sandbox: &Sandbox,
        attached_to: &[(Endpoint, Network)],
    ) -> Result<(), Error> {
        let added = sandbox.add_hosts.iter().map(|host| added(host, attached_to));
        let mut found: Vec<_> = added.collect();
        found.extend(sandbox.links.iter().map(|link| self.linked(link, attached_to)));
        let mut extra = String::new();
        for lines in found {
            match lines {
                Ok(lines) => extra += &lines,
                Err(Error::Refused { .. } | Error::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.files.write(sandbox, attached_to, &extra)
    }

    /// The lines for `--link`.
    fn linked(&mut self, link: &LinkSpec, attached_to: &[(Endpoint, Network)]) -> Result<String, Error> {
        let target = self.sandbox_called(link.sandbox.as_str())?;
        let peers = self.store.read(|tx| attached(tx, target.id))?;
        let shared = |network: &Network| attached_to.iter().any(|(_, own)| own.id == network.id);
        let Some((endpoint, _)) = peers.iter().find(|(_, network)| shared(network)) else {
            return Err(Error::refused(format!("cannot link to sandbox '{}'", target.name))
                .because("the two are on no network in common")
                .hinting(format!(
                    "attach both to one network (--net), or link after `linkspan network connect NETWORK {}`",
                    target.name
                )));
        };
        let names = [link.alias.as_str()].into_iter().chain(own_names(&target)).collect::<Vec<_>>().join(" ");
        let line = |text: String, lease: &Lease| text + &format!("{} {names}\n", lease.address);
        Ok(endpoint.leases.iter().fold(String::new(), line))
    }
}

/// What a sandbox calls itself.
fn own_names(sandbox: &Sandbox) -> impl Iterator<Item = &str> {
    let name = Some(sandbox.name.as_str()).filter(|name| *name != sandbox.hostname);
    [sandbox.hostname.as_str()].into_iter().chain(name)
}

/// The line for `--add-host`.
fn added(host: &HostAlias, attached_to: &[(Endpoint, Network)]) -> Result<String, Error> {
    let gateway = || attached_to.first().and_then(|(_, network)| network.host_address());
    let address = host.address.or_else(gateway).ok_or_else(|| {
        Error::refused(format!("host entry '{}' has no address", host.name))
            .because("host-gateway is the host as a network shows it, and the sandbox is on none")
    })?;
    Ok(format!("{address} {}\n", host.name))
}

fn base(v6: bool) -> String {
    if v6 { format!("{LOCAL_V4}{LOCAL_V6}") } else { LOCAL_V4.to_owned() }
}

/// The names of `endpoint` as lines of a hosts file, one an address.
fn lines(sandbox: &Sandbox, endpoint: &Endpoint) -> String {
    let names = own_names(sandbox).chain(endpoint.aliases.iter().map(Name::as_str));
    let names = names.collect::<Vec<_>>().join(" ");
    endpoint.leases.iter().fold(String::new(), |text, lease| text + &format!("{}\t{names}\n", lease.address))
}

/// Takes the lines of `endpoint` out of a roster. Lines that were asked for have a space behind the address, and stay.
fn strike(text: &mut String, endpoint: &Endpoint) {
    for lease in &endpoint.leases {
        let start = format!("{}\t", lease.address);
        let found = if text.starts_with(&start) {
            Some(0)
        } else {
            text.find(&format!("\n{start}")).map(|at| at + 1)
        };
        if let Some(at) = found {
            let end = text[at..].find('\n').map_or(text.len(), |length| at + length + 1);
            text.replace_range(at..end, "");
        }
    }
}

/// The text of a resolv.conf without the name servers that only the host itself reaches.
fn reachable(text: &str) -> String {
    let local = |line: &str| {
        let server = line.strip_prefix("nameserver").map(str::trim);
        server.is_some_and(|server| server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
    };
    text.lines().filter(|line| !local(line)).fold(String::new(), |text, line| text + line + "\n")
}

/// A resolv.conf by which a name is asked for as it is before domains are put behind it, unless it says otherwise.
fn at_once(mut text: String) -> String {
    let options = |line: &str| line.starts_with("options");
    if text.lines().filter(|line| options(line)).any(|line| line.contains("ndots:")) {
        return text;
    }
    text += "options ndots:0\n";
    text
}

/// Changes a file in place, alone: sandboxes have its inode mounted, so it is never replaced. It stays locked until it
/// is closed.
fn edit(path: &Path, change: impl FnOnce(&mut String)) -> Result<File, Error> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.and_then(|file| rewrite(file, change)).map_err(Error::file("write", path))
}

fn rewrite(mut file: File, change: impl FnOnce(&mut String)) -> io::Result<File> {
    file.lock()?;
    let mut before = String::new();
    file.read_to_string(&mut before)?;
    let mut after = before.clone();
    change(&mut after);
    let same = before.bytes().zip(after.bytes()).take_while(|(old, new)| old == new).count();
    file.seek(io::SeekFrom::Start(same as u64))?;
    file.write_all(&after.as_bytes()[same..])?;
    file.set_len(after.len() as u64)?;
    Ok(file)
}

/// Makes `link` lead to `target`, whatever it was.
fn point(link: &Path, target: &Path) -> Result<(), Error> {
    if fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    remove(link)?;
    symlink(target, link).map_err(Error::file("create", link))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let written = || File::create(path)?.write_all(text.as_bytes());
    written().map_err(Error::file("write", path))
}

fn create_directory(path: &Path) -> Result<(), Error> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(path).map_err(Error::file("create", path))
        }
        other => other.map_err(Error::file("create", path)),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::file("remove", path)),
    }
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::file("remove", path)),
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::file("read", directory)(error)),
        Ok(entries) => Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).collect()),
    }
}
