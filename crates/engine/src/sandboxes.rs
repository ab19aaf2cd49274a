//! Sandboxes come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use linkspan_model::{
    Endpoint, HostAlias, LinkSpec, Name, NamespaceSource, NetAttach, NetSpec, Network, PublishSpec, Sandbox,
    TargetPort, nearest,
};
use linkspan_plan::{Inside, Kernel, Scope, State, desired};
use linkspan_store::{Lock, Mode, Object, Tx};

use crate::converge::attached;
use crate::error::{Kind, Obstacle, listed};
use crate::ground::note_left;
use crate::networks::{DEFAULT, end_all};
use crate::publish::publish;
use crate::wires::wire;
use crate::{Engine, Error, PATIENCE, SandboxView, now, random_id};

/// What `sandbox create` and `run` ask for.
#[derive(Clone, Debug)]
pub struct SandboxRequest {
    /// Its name.
    pub name: Name,
    /// What to attach it to; nothing means the default network.
    pub nets: Vec<NetSpec>,
    /// Ports to publish.
    pub publish: Vec<PublishSpec>,
    /// Whether the exposed ports are published too.
    pub publish_all: bool,
    /// Ports that it serves.
    pub expose: Vec<TargetPort>,
    /// Other sandboxes under further names.
    pub links: Vec<LinkSpec>,
    /// Its host name, if not its name.
    pub hostname: Option<String>,
    /// Name servers instead of the host's.
    pub dns: Vec<IpAddr>,
    /// Entries of its hosts file.
    pub add_hosts: Vec<HostAlias>,
    /// A namespace that is there, instead of a new one.
    pub namespace: Option<PathBuf>,
    /// Whether it lives only as long as the process that makes it.
    pub ephemeral: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl SandboxRequest {
    /// A sandbox called `name`, alone on the default network.
    pub const fn new(name: Name) -> Self {
        Self {
            name,
            nets: Vec::new(),
            publish: Vec::new(),
            publish_all: false,
            expose: Vec::new(),
            links: Vec::new(),
            hostname: None,
            dns: Vec::new(),
            add_hosts: Vec::new(),
            namespace: None,
            ephemeral: false,
            labels: BTreeMap::new(),
        }
    }

    /// The ports to publish, with what `-P` adds: every exposed port under a host port to be chosen.
    pub fn specs(&self) -> Vec<PublishSpec> {
        let mut specs = self.publish.clone();
        if self.publish_all {
            let exposed = self.expose.iter().filter(|port| !specs.iter().any(|spec| spec.target == **port));
            let exposed: Vec<_> =
                exposed.map(|target| PublishSpec { host_ip: None, host: None, target: *target }).collect();
            specs.extend(exposed);
        }
        specs
    }

    fn wants_default(&self) -> bool {
        let default = |spec: &NetSpec| matches!(spec, NetSpec::Attach(attach) if attach.network == DEFAULT);
        self.nets.is_empty() || self.nets.iter().any(default)
    }

    /// Where the namespace comes from, and what it is attached to.
    fn placement(&self) -> Result<(NamespaceSource, Vec<NetAttach>), Error> {
        let own = || self.namespace.clone().map_or(NamespaceSource::New, NamespaceSource::Path);
        let attach = |spec: &NetSpec| match spec {
            NetSpec::Attach(attach) => Ok(attach.clone()),
            _ => Err(Error::refused("host, none and container:NAME stand alone")
                .because("they cannot be combined with each other or with networks")),
        };
        let placement = match self.nets.as_slice() {
            [] => (own(), vec![NetAttach::to(DEFAULT)]),
            [NetSpec::None] => (own(), Vec::new()),
            [NetSpec::Host] => (NamespaceSource::Host, Vec::new()),
            [NetSpec::Container(name)] => (NamespaceSource::Sandbox(name.clone()), Vec::new()),
            specs => (own(), specs.iter().map(attach).collect::<Result<_, _>>()?),
        };
        let shared = !placement.0.takes_endpoints();
        if shared && self.namespace.is_some() {
            return Err(Error::refused("--pid and --netns need a namespace of the sandbox's own")
                .because("the network of the host or of another sandbox was asked for too"));
        }
        if placement.1.is_empty() && (self.publish_all || !self.publish.is_empty()) {
            return Err(Error::refused("no port can be published")
                .because("the sandbox has no network of its own")
                .hinting(if shared {
                    "publish it where the namespace is made; here its ports are reached as they are"
                } else {
                    "attach it to a network"
                }));
        }
        Ok(placement)
    }
}

/// The locks of a change, held while it lives.
type Locks = Vec<Lock>;

impl<K: Kernel> Engine<K> {
    /// Makes a sandbox: namespace, endpoints, published ports, names.
    ///
    /// # Errors
    /// If the request means nothing or collides with what is there.
    pub fn create_sandbox(&mut self, request: &SandboxRequest) -> Result<SandboxView, Error> {
        self.settle()?;
        let makes_default = request.wants_default() && !self.has_default_network()?;
        let created = loop {
            match self.try_create(request) {
                Err(error) if self.reclaim_behind(&error, &request.name)? => {}
                settled => break settled,
            }
        };
        match &created {
            Ok(view) => self.answer(&view.sandbox, &view.attached),
            Err(_) if makes_default => self.undo(Self::put_default_network_away),
            Err(_) => {}
        }
        created
    }

    fn try_create(&mut self, request: &SandboxRequest) -> Result<SandboxView, Error> {
        let (namespace, attachments) = request.placement()?;
        if namespace == NamespaceSource::New {
            self.kernel.anticipate_namespace();
        }
        let namespace = self.owned(namespace)?;
        let inside = self.look_into(&namespace)?;
        let mut networks = Vec::new();
        for attach in &attachments {
            networks.push(self.network_for_use(&attach.network)?);
        }
        let sandbox = draft(request, namespace)?;
        let _locks = self.lock_for_create(&sandbox, &networks)?;
        self.refuse_foreign(&sandbox)?;
        let wanted: Vec<_> = attachments.iter().zip(networks).collect();
        let object = Object::Sandbox(sandbox.name.clone());
        let Self { store, kernel, asked, .. } = self;
        let (attached, journal) = store.write(|tx| {
            refuse_pending(tx, &sandbox, &wanted)?;
            let attached = insert(tx, kernel, &sandbox, wanted, request, &inside)?;
            for ((endpoint, network), attach) in attached.iter().zip(&attachments) {
                asked.refuse_unasked(tx, network, attach, endpoint)?;
            }
            Ok::<_, Error>((attached, tx.begin(&object, "create", "")?))
        })?;
        if let Err(error) = self.realise(&sandbox, &attached) {
            self.undo(|engine| engine.erase_sandbox(&sandbox));
            return Err(error);
        }
        self.store.write(|tx| tx.end(journal))?;
        attached.iter().for_each(|wired| self.tell_kept(&sandbox, wired, &inside));
        Ok(SandboxView { sandbox, attached, links: Vec::new() })
    }

    /// Whose namespace it really is: a sandbox that shares one itself is no owner, and may go before those that do.
    fn owned(&mut self, source: NamespaceSource) -> Result<NamespaceSource, Error> {
        let NamespaceSource::Sandbox(name) = &source else { return Ok(source) };
        let found = self.store.read(|tx| tx.sandbox(name.as_str()))?.filter(|found| found.name == *name);
        Ok(match found.map(|found| found.namespace) {
            Some(shared @ (NamespaceSource::Sandbox(_) | NamespaceSource::Host)) => shared,
            _ => source,
        })
    }

    /// Locks in one order for everyone: networks by name, then sandboxes by name.
    fn lock_for_create(&self, sandbox: &Sandbox, networks: &[Network]) -> Result<Locks, Error> {
        let names: BTreeSet<_> = networks.iter().map(|network| network.name.clone()).collect();
        let mut wanted: Vec<_> =
            names.into_iter().map(|name| (Object::Network(name), Mode::Shared)).collect();
        let mut sandboxes = vec![(sandbox.name.clone(), Mode::Exclusive)];
        if let NamespaceSource::Sandbox(other) = &sandbox.namespace {
            sandboxes.push((other.clone(), Mode::Shared));
        }
        sandboxes.sort_by(|a, b| a.0.cmp(&b.0));
        sandboxes.dedup_by(|a, b| a.0 == b.0);
        wanted.extend(sandboxes.into_iter().map(|(name, mode)| (Object::Sandbox(name), mode)));
        let lock = |(object, mode): &(Object, Mode)| self.store.lock(object, *mode, PATIENCE);
        Ok(wanted.iter().map(lock).collect::<Result<_, _>>()?)
    }

    /// A pin or file that is there before the intent is written down is somebody else's, and stays.
    fn refuse_foreign(&mut self, sandbox: &Sandbox) -> Result<(), Error> {
        if let Some(path) = self.files.foreign(&sandbox.name) {
            return Err(Error::refused(format!("{} exists already", path.display()))
                .because("it was not made by Linkspan")
                .hinting(
                    "choose another name, or remove it; --add-host and --dns give a sandbox names of its own",
                ));
        }
        let known = self.store.read(|tx| tx.sandbox(sandbox.name.as_str()))?.is_some();
        let scope = Scope { namespaces: [sandbox.netns_name().clone()].into(), ..Scope::default() };
        if known || !sandbox.owns_pin() || self.kernel.observe(&scope)?.namespaces.is_empty() {
            return Ok(());
        }
        let pin = sandbox.pin();
        Err(Error::refused(format!("a namespace called '{}' exists already", sandbox.name))
            .because(format!("{} was not made by Linkspan", pin.display()))
            .hinting(format!("choose another name, or take it as it is with --netns {}", pin.display())))
    }

    fn realise(&mut self, sandbox: &Sandbox, attached: &[(Endpoint, Network)]) -> Result<(), Error> {
        self.write_names(sandbox, attached)?;
        let mut wanted = State::default();
        for (endpoint, network) in attached {
            wanted.merge(self.ground(endpoint, network)?);
        }
        wanted.merge(desired::sandbox(sandbox, attached));
        self.converge(wanted, &State::default())
    }

    /// Removes a sandbox with its endpoints, names and published ports; a namespace that was given stays alive. With
    /// `force`, one that is not there is no error.
    ///
    /// # Errors
    /// If there is none such, or another sandbox shares its namespace.
    pub fn remove_sandbox(&mut self, key: &str, force: bool) -> Result<(), Error> {
        self.settle()?;
        let sandbox = match self.sandbox_called(key) {
            Err(Error::Unknown { .. }) if force => return Ok(()),
            found => found?,
        };
        let object = Object::Sandbox(sandbox.name.clone());
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        let there = self.store.write(|tx| {
            if tx.sandbox_by_id(sandbox.id)?.is_none() {
                return Ok(false);
            }
            let sharing: Vec<_> =
                tx.sandboxes_in(&sandbox.name)?.into_iter().map(|other| other.name).collect();
            if !sharing.is_empty() {
                return Err(Error::refused(format!("sandbox '{}' cannot be removed", sandbox.name))
                    .because(format!("its namespace is shared by {}", listed(&sharing)))
                    .hinting("remove these first"));
            }
            tx.begin(&object, "remove", "")?;
            Ok(true)
        })?;
        if there { self.erase_sandbox(&sandbox) } else { Ok(()) }
    }

    /// Takes a sandbox out of kernel, files and store, with its journal entries.
    pub(crate) fn erase_sandbox(&mut self, sandbox: &Sandbox) -> Result<(), Error> {
        let attached = self.store.read(|tx| attached(tx, sandbox.id))?;
        let nothing = State { firewall: Some([].into()), ..State::default() };
        self.converge(nothing, &desired::sandbox(sandbox, &attached))?;
        for (endpoint, network) in &attached {
            self.files.strike_from_roster(network, &sandbox.name, endpoint)?;
        }
        self.files.remove(&sandbox.name)?;
        self.has_left |= self.store.write(|tx| {
            for (endpoint, _) in &attached {
                tx.delete_endpoint(endpoint.id)?;
            }
            tx.delete_sandbox(sandbox.id)?;
            end_all(tx, &Object::Sandbox(sandbox.name.clone()))?;
            note_left(tx, attached.iter().map(|(_, network)| network))
        })?;
        self.stop_answering(sandbox, &attached);
        self.fold(&attached)
    }

    pub(crate) fn sandbox_called(&mut self, key: &str) -> Result<Sandbox, Error> {
        if let Some(sandbox) = self.store.read(|tx| tx.sandbox(key))? {
            return Ok(sandbox);
        }
        self.store.read(|tx| Err(unknown_sandbox(tx, key)?))
    }
}

fn draft(request: &SandboxRequest, namespace: NamespaceSource) -> Result<Sandbox, Error> {
    let name = request.name.clone();
    Ok(Sandbox {
        id: random_id()?,
        created: now(),
        namespace,
        hostname: request.hostname.clone().unwrap_or_else(|| name.to_string()),
        dns: request.dns.clone(),
        add_hosts: request.add_hosts.clone(),
        links: request.links.clone(),
        ephemeral: request.ephemeral,
        labels: request.labels.clone(),
        netns: None,
        of_runtime: false,
        name,
    })
}

/// What died half-way between our look at the journal and our locks has to be put right first.
fn refuse_pending(tx: &Tx<'_>, sandbox: &Sandbox, wanted: &[(&NetAttach, Network)]) -> Result<(), Error> {
    let ours = |object: &Object| match object {
        Object::Sandbox(name) => {
            *name == sandbox.name || sandbox.namespace == NamespaceSource::Sandbox(name.clone())
        }
        Object::Network(name) => wanted.iter().any(|(_, network)| network.name == *name),
        _ => false,
    };
    let networks_there = wanted
        .iter()
        .try_fold(true, |all, (_, network)| Ok::<_, Error>(all && tx.network_by_id(network.id)?.is_some()))?;
    if !networks_there || tx.journal()?.iter().any(|entry| ours(&entry.object)) {
        return Err(Error::Overtaken);
    }
    Ok(())
}

/// Writes down a sandbox with its endpoints, leases and published ports.
fn insert<K: Kernel>(
    tx: &Tx<'_>,
    kernel: &mut K,
    sandbox: &Sandbox,
    wanted: Vec<(&NetAttach, Network)>,
    request: &SandboxRequest,
    inside: &Inside,
) -> Result<Vec<(Endpoint, Network)>, Error> {
    if tx.sandbox(sandbox.name.as_str())?.is_some_and(|other| other.name == sandbox.name) {
        return Err(Error::refused(format!("sandbox '{}' exists already", sandbox.name))
            .hinting(format!("choose another name, or `linkspan sandbox rm {}`", sandbox.name))
            .behind(Obstacle::Namesake));
    }
    if let NamespaceSource::Sandbox(other) = &sandbox.namespace {
        refuse_unshareable(tx, other)?;
    }
    for link in &sandbox.links {
        if tx.sandbox(link.sandbox.as_str())?.is_none() {
            return Err(unknown_sandbox(tx, link.sandbox.as_str())?);
        }
    }
    let mut attached = Vec::new();
    for (attach, network) in wanted {
        let endpoint = wire(tx, sandbox, &network, attach, &attached, inside)?;
        attached.push((endpoint, network));
    }
    publish(tx, kernel, &request.specs(), &mut attached)?;
    tx.insert_sandbox(sandbox)?;
    for (endpoint, _) in &attached {
        tx.insert_endpoint(endpoint)?;
    }
    Ok(attached)
}

fn refuse_unshareable(tx: &Tx<'_>, other: &Name) -> Result<(), Error> {
    match tx.sandbox(other.as_str())? {
        Some(found) if found.is_machine() => {
            Err(Error::refused(format!("sandbox '{other}' has no namespace to share"))
                .because("it is a virtual machine"))
        }
        Some(found) if found.name == *other => Ok(()),
        _ => Err(unknown_sandbox(tx, other.as_str())?),
    }
}

fn unknown_sandbox(tx: &Tx<'_>, key: &str) -> Result<Error, Error> {
    let all = tx.sandboxes()?;
    let nearest = nearest(key, all.iter().map(|sandbox| sandbox.name.as_str())).map(str::to_owned);
    Ok(Error::Unknown { kind: Kind::Sandbox, key: key.to_owned(), nearest })
}
