//! Endpoints come and go on sandboxes that are there: connect and disconnect.

use linkspan_model::{
    ChildKind, Endpoint, Family, Id, IfName, Mac, MacvlanMode, NamespaceSource, NetAttach, Network, Parent,
    Sandbox, Wire,
};
use linkspan_plan::{Inside, Kernel, Upper, desired};
use linkspan_store::{Mode, Object, Tx};

use crate::converge::attached;
use crate::cores::CAPACITY;
use crate::error::Obstacle;
use crate::foreign::leads_away;
use crate::ground::note_left;
use crate::heirs::pass_on;
use crate::machines::{insert_machine, tap_name};
use crate::publish::sandbox_of;
use crate::{Engine, Error, PATIENCE, addresses, random_id};

/// An endpoint of `sandbox` on `network`, with its addresses leased; `others` are the sandbox's endpoints so far. What
/// was `inside` its namespace before is left alone: devices keep their names, and default routes lead where they do.
pub fn wire(
    tx: &Tx<'_>,
    sandbox: &Sandbox,
    network: &Network,
    attach: &NetAttach,
    others: &[(Endpoint, Network)],
    inside: &Inside,
) -> Result<Endpoint, Error> {
    if others.iter().any(|(_, other)| other.id == network.id) {
        return Err(Error::refused(format!(
            "sandbox '{}' is on network '{}' already",
            sandbox.name, network.name
        )));
    }
    let id = random_id()?;
    let ifname = match attach.wire {
        Wire::Tap { .. } => tap_name(tx, id, attach)?,
        Wire::Veth | Wire::Fitted { .. } => inner_name(sandbox, network, attach, others, inside)?,
    };
    if let Some(parent) = &network.parent {
        refuse_on_parent(tx, network, parent, attach)?;
    }
    if let Some(mac) = attach.mac {
        refuse_taken(tx, network, mac)?;
    }
    let mut leases = addresses::lease(tx, network, attach)?;
    for lease in &mut leases {
        lease.gateway.take_if(|_| leads_away(inside, Family::of(lease.address), others).is_some());
    }
    let mac = attach.mac.or_else(|| leases.first().map(|lease| Mac::for_ip(lease.address)));
    Ok(Endpoint {
        id,
        network: network.id,
        sandbox: sandbox.id,
        wire: attach.wire.clone(),
        ifname,
        mac: mac.ok_or_else(|| Error::refused(format!("network '{}' has no subnet", network.name)))?,
        access: if network.has_bridge() { tx.bridge_with_room(network.id, CAPACITY)? } else { 0 },
        addresses_of: network.is_switch().then(|| network.address_space()),
        leases,
        aliases: attach.aliases.clone(),
        named: !network.is_predefined() && !sandbox.of_runtime,
        gw_priority: attach.gw_priority,
        published: Vec::new(),
        shaping: attach.shaping.settle(network.bridge.mtu)?,
        parts: Vec::new(),
    })
}

/// What an interface inside is called: as asked for, or the next free name.
fn inner_name(
    sandbox: &Sandbox,
    network: &Network,
    attach: &NetAttach,
    others: &[(Endpoint, Network)],
    inside: &Inside,
) -> Result<IfName, Error> {
    let taken = |name: &IfName| {
        name.as_str() == "lo"
            || inside.devices.contains(name)
            || others.iter().any(|(endpoint, _)| endpoint.ifname == *name)
    };
    match &attach.ifname {
        Some(name) if taken(name) => {
            let what = format!("sandbox '{}' has an interface {name} already", sandbox.name);
            Err(Error::refused(what)
                .hinting("choose another ifname, or leave it out to have a free one chosen"))
        }
        Some(name) => Ok(name.clone()),
        None => (0..)
            .map(|n| IfName::numbered(network.iface_prefix(), n))
            .find(|n| !taken(n))
            .ok_or(Error::Overtaken),
    }
}

/// What devices of some kinds cannot be: given a MAC, or more than one.
fn refuse_on_parent(
    tx: &Tx<'_>,
    network: &Network,
    parent: &Parent,
    attach: &NetAttach,
) -> Result<(), Error> {
    if let Some(mac) = attach.mac.filter(|_| !parent.kind.has_own_mac()) {
        return Err(Error::refused(format!("MAC {mac} cannot be given"))
            .because(format!("with {} every sandbox has the MAC of {}", parent.kind, parent.device))
            .hinting("leave it out"));
    }
    let needs_bridge = |what: &str| {
        Error::refused(format!("network '{}' has no {what}", network.name))
            .because(format!("it has no bridge: its sandboxes sit on {}", parent.device))
            .hinting("use a network of driver bridge")
    };
    if matches!(attach.wire, Wire::Tap { .. }) {
        return Err(needs_bridge("taps"));
    }
    if attach.shaping != linkspan_model::ShapingRequest::default() {
        return Err(needs_bridge("limits"));
    }
    let passthru = parent.kind == ChildKind::Macvlan(MacvlanMode::Passthru);
    match tx.endpoints_of_network(network.id)?.first().filter(|_| passthru) {
        Some(holder) => Err(Error::refused(format!("network '{}' takes one sandbox", network.name))
            .because(format!("{} has {} for itself", sandbox_of(tx, holder.id)?, parent.device))
            .behind(Obstacle::Endpoint(holder.id))),
        None => Ok(()),
    }
}

/// A MAC that somebody asks for must be nobody else's on the network.
fn refuse_taken(tx: &Tx<'_>, network: &Network, mac: Mac) -> Result<(), Error> {
    let taken = |by: String| Error::refused(format!("MAC {mac} is taken")).because(format!("{by} has it"));
    if network.parent.is_some() && network.shim_mac() == mac {
        return Err(taken("the host's own device there".to_owned()));
    }
    if network.has_bridge() && network.bridge_mac() == Some(mac) {
        return Err(taken(format!("the bridge of network '{}'", network.name)));
    }
    match tx.endpoints_of_network(network.id)?.into_iter().find(|endpoint| endpoint.mac == mac) {
        Some(holder) => Err(taken(sandbox_of(tx, holder.id)?).behind(Obstacle::Endpoint(holder.id))),
        None => Ok(()),
    }
}

impl<K: Kernel> Engine<K> {
    /// Attaches a sandbox to one more network. Its other endpoints are not touched. With a tap it is a virtual machine,
    /// which is made if it is not there.
    ///
    /// # Errors
    /// If one of them is not there, or the address wanted is not to be had.
    pub fn connect(&mut self, attach: &NetAttach, sandbox: &str) -> Result<Endpoint, Error> {
        self.settle()?;
        let (sandbox, attached) = self.persist(|engine| engine.try_connect(attach, sandbox))?;
        self.answer(&sandbox, &attached);
        attached.into_iter().next_back().map(|(endpoint, _)| endpoint).ok_or(Error::Overtaken)
    }

    /// The sandbox with its endpoints, of which the last is new.
    fn try_connect(
        &mut self,
        attach: &NetAttach,
        sandbox: &str,
    ) -> Result<(Sandbox, Vec<(Endpoint, Network)>), Error> {
        let sandbox = self.connectable(attach, sandbox)?;
        let network = self.network_for_use(&attach.network)?;
        let _network = self.store.lock(&Object::Network(network.name.clone()), Mode::Shared, PATIENCE)?;
        let object = Object::Sandbox(sandbox.name.clone());
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        if self.reclaim_locked(&sandbox)? {
            return Err(abandoned(&sandbox));
        }
        let inside = self.look_around(&sandbox)?;
        let Self { store, asked, .. } = self;
        let (before, after, journal) = store.write(|tx| {
            if sandbox.is_machine() && tx.sandbox_by_id(sandbox.id)?.is_none() {
                insert_machine(tx, &sandbox)?;
            }
            refuse_pending(tx, &sandbox, Some(&network))?;
            let before = attached(tx, sandbox.id)?;
            let endpoint = wire(tx, &sandbox, &network, attach, &before, &inside)?;
            asked.refuse_unasked(tx, &network, attach, &endpoint)?;
            tx.insert_endpoint(&endpoint)?;
            let journal = tx.begin(&object, "connect", &endpoint.id.to_string())?;
            let mut after = before.clone();
            after.push((endpoint, network.clone()));
            Ok::<_, Error>((before, after, journal))
        })?;
        self.plug_in(&sandbox, &before, &after)?;
        self.store.write(|tx| tx.end(journal))?;
        after.last().into_iter().for_each(|last| self.tell_kept(&sandbox, last, &inside));
        Ok((sandbox, after))
    }

    /// Makes the last endpoint of `after` in the kernel; the others are there `before`. If that fails, it is erased.
    pub(crate) fn plug_in(
        &mut self,
        sandbox: &Sandbox,
        before: &[(Endpoint, Network)],
        after: &[(Endpoint, Network)],
    ) -> Result<(), Error> {
        let Some((endpoint, network)) = after.last() else { return Ok(()) };
        let mut wanted = self.ground(endpoint, network)?;
        let mut whole = desired::sandbox(sandbox, after);
        whole.retain_wires(|device| *device == endpoint.host_ifname());
        whole.upper.retain_child(endpoint.id.mark());
        wanted.merge(whole);
        let mut former = desired::sandbox(sandbox, before);
        former.retain_wires(|_| false);
        former.upper = Upper::default();
        let made = self.converge(wanted, &former).and_then(|()| self.rewrite_names(sandbox, after));
        if let Err(error) = made {
            self.undo(|engine| engine.erase_endpoint(sandbox, endpoint.id));
            return Err(error);
        }
        Ok(())
    }

    /// Detaches a sandbox from a network. Its other endpoints are not touched; with `force`, one that is not attached
    /// is no error.
    ///
    /// # Errors
    /// If one of them is not there, or the endpoint has published ports and there is no `force`.
    pub fn disconnect(&mut self, network: &str, sandbox: &str, force: bool) -> Result<(), Error> {
        self.settle()?;
        match self.persist(|engine| engine.try_disconnect(network, sandbox, force))? {
            Some((sandbox, gone)) if gone.named => self.answer_again(&sandbox.name),
            _ => Ok(()),
        }
    }

    /// The sandbox with the endpoint that is gone, if there was one.
    fn try_disconnect(
        &mut self,
        network: &str,
        sandbox: &str,
        force: bool,
    ) -> Result<Option<(Sandbox, Endpoint)>, Error> {
        let network = self.known_network(network)?;
        let sandbox = self.sandbox_called(sandbox)?;
        let object = Object::Sandbox(sandbox.name.clone());
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        if self.reclaim_locked(&sandbox)? {
            return if force { Ok(None) } else { Err(abandoned(&sandbox)) };
        }
        let found = self.store.write(|tx| {
            refuse_pending(tx, &sandbox, None)?;
            let endpoint = tx.endpoints_of_sandbox(sandbox.id)?.into_iter().find(|e| e.network == network.id);
            if let Some(endpoint) = &endpoint {
                refuse_published(endpoint, force)?;
                tx.begin(&object, "disconnect", &endpoint.id.to_string())?;
            }
            Ok::<_, Error>(endpoint)
        })?;
        match found {
            Some(endpoint) => {
                self.erase_endpoint(&sandbox, endpoint.id)?;
                Ok(Some((sandbox, endpoint)))
            }
            None if force => Ok(None),
            None => Err(Error::refused(format!(
                "sandbox '{}' is not on network '{}'",
                sandbox.name, network.name
            ))),
        }
    }

    /// Takes one endpoint out of kernel, files and store, with the sandbox's journal entries; all of a sandbox that
    /// nothing holds any more, whose namespace would come back otherwise.
    pub(crate) fn erase_endpoint(&mut self, sandbox: &Sandbox, endpoint: Id) -> Result<(), Error> {
        if self.is_stale(sandbox)? {
            return self.erase_sandbox(sandbox);
        }
        let before = self.store.read(|tx| attached(tx, sandbox.id))?;
        let after: Vec<_> = before.iter().filter(|(other, _)| other.id != endpoint).cloned().collect();
        if sandbox.goes_with_last_endpoint() && after.is_empty() {
            return self.erase_sandbox(sandbox);
        }
        let mut former = desired::sandbox(sandbox, &before);
        let mut wanted = desired::sandbox(sandbox, &after);
        let gone = before.iter().find(|(other, _)| other.id == endpoint);
        former.retain_wires(|device| gone.is_some_and(|(gone, _)| gone.host_ifname() == *device));
        wanted.retain_wires(|_| false);
        former.upper.retain_child(endpoint.mark());
        wanted.upper = Upper::default();
        self.converge(wanted, &former)?;
        if let Some((gone, network)) = gone {
            self.files.strike_from_roster(network, &sandbox.name, gone)?;
        }
        self.rewrite_names(sandbox, &after)?;
        let (left, passed) = self.store.write(|tx| {
            tx.delete_endpoint(endpoint)?;
            crate::networks::end_all(tx, &Object::Sandbox(sandbox.name.clone()))?;
            let left = note_left(tx, gone.map(|(_, network)| network))?;
            Ok::<_, Error>((left, pass_on(tx, sandbox, &after)?))
        })?;
        self.has_left |= left;
        if passed {
            self.publish_inherited(sandbox)?;
        }
        self.stop_answering(sandbox, &before);
        gone.map_or(Ok(()), |gone| self.fold(std::slice::from_ref(gone)))
    }
}

/// What changed or died half-way between our look and our locks has to be looked at again.
pub(crate) fn refuse_pending(tx: &Tx<'_>, sandbox: &Sandbox, network: Option<&Network>) -> Result<(), Error> {
    let ours = |object: &Object| match object {
        Object::Sandbox(name) => *name == sandbox.name,
        Object::Network(name) => network.is_some_and(|network| network.name == *name),
        Object::Host | Object::Bridges | Object::Run(_) | Object::Lab(_) => false,
    };
    let sandbox_there = tx.sandbox_by_id(sandbox.id)?.is_some();
    let network_there =
        network.map_or(Ok(true), |network| Ok::<_, Error>(tx.network_by_id(network.id)?.is_some()))?;
    if !sandbox_there || !network_there || tx.journal()?.iter().any(|entry| ours(&entry.object)) {
        return Err(Error::Overtaken);
    }
    Ok(())
}

fn abandoned(sandbox: &Sandbox) -> Error {
    let gone = match &sandbox.namespace {
        NamespaceSource::Path(source) if sandbox.owns_pin() => {
            format!("its namespace is no longer that of {}, and nobody is in it", source.display())
        }
        _ => format!("nothing is pinned at {}", sandbox.pin().display()),
    };
    Error::refused(format!("there is no sandbox '{}' any more", sandbox.name))
        .because(format!("{gone}; what was left of the sandbox has been removed"))
        .hinting(format!("`linkspan sandbox create {}` makes it anew", sandbox.name))
}

fn refuse_published(endpoint: &Endpoint, force: bool) -> Result<(), Error> {
    match endpoint.published.first() {
        Some(published) if !force => {
            Err(Error::refused("the sandbox's published ports lead through this network")
                .because(format!("for one, {published}"))
                .hinting("disconnect with -f to give them up"))
        }
        _ => Ok(()),
    }
}
