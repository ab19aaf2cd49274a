//! What runtimes attach: endpoints that they call by a name of their own, whole or plugin by plugin.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use linkspan_model::{
    Attachment, Endpoint, Guests, Id, IfName, Lease, Mac, Name, NetAttach, Network, Part, PublishSpec,
    Published, Sandbox, Shaping, Wire,
};
use linkspan_plan::{Inside, Kernel, Scope, State, desired, lacking};
use linkspan_store::{Mode, Object, Tx};

use crate::berth::Berth;
use crate::converge::attached;
use crate::cores::make_room;
use crate::error::Obstacle;
use crate::expected::expected;
use crate::guests::{own_network, with_guests};
use crate::heirs::settled;
use crate::networks::end_all;
use crate::publish::publish;
use crate::wires::{refuse_pending, wire};
use crate::{Engine, Error, PATIENCE, random_id};

/// What the journal calls it when a plugin's part comes or goes. The detail is the endpoint and the plugin.
pub const FIT: &str = "fit";

/// An endpoint with the sandbox and the network that it is of.
pub type Attached = (Endpoint, Sandbox, Network);

/// What a runtime asks for when a network of ours is to do everything.
#[derive(Clone, Debug)]
pub struct AttachRequest {
    /// How the runtime calls it.
    pub attachment: Attachment,
    /// The file that stands for the container's namespace.
    pub netns: PathBuf,
    /// The network and how to be on it; the interface is that of the attachment.
    pub net: NetAttach,
    /// Ports to publish through it.
    pub publish: Vec<PublishSpec>,
    /// Whether its peers are to find it by name, and it is to find them.
    pub named: bool,
    /// Who is asked for other names, instead of the host's name servers, if the sandbox is to be made.
    pub dns: Vec<IpAddr>,
    /// What is made by the runtime's plugin beside it.
    pub part: Option<Part>,
    /// Labels of the sandbox, if it is to be made.
    pub labels: BTreeMap<String, String>,
}

/// What one plugin asks for.
#[derive(Clone, Debug)]
pub struct FitRequest {
    /// How the runtime calls the endpoint.
    pub attachment: Attachment,
    /// The file that stands for the container's namespace.
    pub netns: PathBuf,
    /// What the endpoint stands on: as the plugin makes it, if `is_main`, or as it was found behind somebody else's.
    pub footing: Footing,
    /// Whether the plugin makes the interface itself, so that it may not be there yet.
    pub is_main: bool,
    /// What it makes.
    pub part: Part,
    /// What holds for the network from now on.
    pub guests: Guests,
    /// Labels of the sandbox, if it is to be made.
    pub labels: BTreeMap<String, String>,
}

/// What an endpoint is beside what plugins made for it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Footing {
    /// The MAC inside.
    pub mac: Option<Mac>,
    /// The device on the host by which it is reached.
    pub host: Option<IfName>,
    /// Its addresses.
    pub leases: Vec<Lease>,
}

impl<K: Kernel> Engine<K> {
    /// Attaches a runtime's container to a network of ours.
    ///
    /// # Errors
    /// If it is attached already, the network or namespace is not there, or what is asked for not to be had.
    pub fn attach(&mut self, request: &AttachRequest) -> Result<Attached, Error> {
        self.settle()?;
        let attached = loop {
            match self.try_attach(request) {
                Err(error) if self.reclaim_behind(&error, &request.attachment.network)? => {}
                settled => break settled?,
            }
        };
        if attached.0.named {
            self.answer_again(&attached.1.name)?;
        }
        Ok(attached)
    }

    fn try_attach(&mut self, request: &AttachRequest) -> Result<Attached, Error> {
        let network = self.network_for_use(&request.net.network)?;
        let berth = self.berth(&request.attachment.container, &request.netns, &request.labels, true)?;
        self.drop_leftover(&request.attachment, &berth.inside)?;
        let Berth { mut sandbox, is_new, inside } = berth;
        if is_new {
            sandbox.dns.clone_from(&request.dns);
        }
        let _network = self.store.lock(&Object::Network(network.name.clone()), Mode::Shared, PATIENCE)?;
        let object = Object::Sandbox(sandbox.name.clone());
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        self.still_there(&sandbox, is_new)?;
        let Self { store, kernel, asked, .. } = self;
        let (before, after, journal) = store.write(|tx| {
            enter(tx, &sandbox, is_new)?;
            refuse_pending(tx, &sandbox, Some(&network))?;
            refuse_attached(tx, &request.attachment)?;
            let before = attached(tx, sandbox.id)?;
            let mut wired =
                [(wire(tx, &sandbox, &network, &request.net, &before, &inside)?, network.clone())];
            publish(tx, kernel, &request.publish, &mut wired)?;
            let [(mut endpoint, network)] = wired;
            endpoint.parts.extend(request.part.clone());
            endpoint.named = request.named;
            asked.refuse_unasked(tx, &network, &request.net, &endpoint)?;
            tx.insert_endpoint(&endpoint)?;
            tx.insert_attachment(&request.attachment, endpoint.id)?;
            let journal = tx.begin(&object, "connect", &endpoint.id.to_string())?;
            let mut after = before.clone();
            after.push((endpoint, network));
            Ok::<_, Error>((before, after, journal))
        })?;
        self.plug_in(&sandbox, &before, &after)?;
        let Some((endpoint, network)) = after.last().cloned() else { return Err(Error::Overtaken) };
        self.store.write(|tx| tx.end(journal))?;
        Ok((endpoint, sandbox, network))
    }

    /// Makes what one plugin wants for an endpoint, which is written down if it was not yet.
    ///
    /// # Errors
    /// If the plugin is to make an interface that is there, the namespace is not there, or something is in the way.
    pub fn fit(&mut self, request: &FitRequest) -> Result<Attached, Error> {
        self.settle()?;
        loop {
            match self.try_fit(request) {
                Err(error) if self.reclaim_behind(&error, &request.attachment.network)? => {}
                Err(error) => {
                    self.undo(Self::put_left_away);
                    return Err(error);
                }
                fitted => return fitted,
            }
        }
    }

    fn try_fit(&mut self, request: &FitRequest) -> Result<Attached, Error> {
        let FitRequest { attachment, .. } = request;
        let Berth { sandbox, is_new, inside } =
            self.berth(&attachment.container, &request.netns, &request.labels, request.is_main)?;
        if request.is_main {
            self.drop_leftover(attachment, &inside)?;
            refuse_present(attachment, &inside)?;
        } else {
            self.drop_namesake(attachment, &sandbox)?;
        }
        let object = Object::Sandbox(sandbox.name.clone());
        let _network =
            self.store.lock(&Object::Network(attachment.network.clone()), Mode::Shared, PATIENCE)?;
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        self.still_there(&sandbox, is_new)?;
        let Self { store, kernel, .. } = self;
        let (endpoint, (network, before), part, journal) = store.write(|tx| {
            enter(tx, &sandbox, is_new)?;
            refuse_pending(tx, &sandbox, None)?;
            let (endpoint, network, part) = extended(tx, kernel, &sandbox, request)?;
            let detail = format!("{} {}", endpoint.id, part.owner);
            Ok::<_, Error>((endpoint, network, part, tx.begin(&object, FIT, &detail)?))
        })?;
        let former = self.outdated(&network, before)?;
        let mut wanted = self.ground(&endpoint, &network)?;
        wanted.merge(desired::pin(&sandbox));
        wanted.merge(desired::part(&sandbox, &endpoint, &part));
        if let Err(error) = self.converge(wanted, &former) {
            self.undo(|engine| engine.rid(&sandbox, endpoint.id, &part.owner));
            return Err(error);
        }
        self.store.write(|tx| tx.end(journal))?;
        Ok((endpoint, sandbox, network))
    }

    /// What a runtime calls so.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn attachment(&mut self, attachment: &Attachment) -> Result<Option<Attached>, Error> {
        self.store.read(|tx| {
            let Some(id) = tx.attachment(attachment)? else { return Ok(None) };
            let Some(endpoint) = tx.endpoint(id)? else { return Ok(None) };
            let sandbox = tx.sandbox_by_id(endpoint.sandbox)?;
            let network = tx.network_by_id(endpoint.network)?;
            Ok(sandbox.zip(network).map(|(sandbox, network)| (endpoint, sandbox, network)))
        })
    }

    /// Whether the interface of a container is on record, on any network.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn knows(&mut self, container: &str, ifname: &IfName) -> Result<bool, Error> {
        self.store.read(|tx| {
            for id in tx.endpoints_of_container(container)? {
                if tx.endpoint(id)?.is_some_and(|endpoint| endpoint.ifname == *ifname) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// How runtimes call what they attached to what they call `network`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn attachments_on(&mut self, network: &Name) -> Result<Vec<Attachment>, Error> {
        Ok(self.store.read(|tx| tx.attachments_on(network))?)
    }

    /// What is missing of an endpoint on a network of ours, in words.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn missing(&mut self, attachment: &Attachment) -> Result<Vec<String>, Error> {
        let Some((endpoint, sandbox, network)) = self.attachment(attachment)? else {
            return Ok(vec![format!("there is no {attachment}")]);
        };
        let mut wanted = self.ground(&endpoint, &network)?;
        wanted.merge(desired::sandbox(&sandbox, &self.store.read(|tx| attached(tx, sandbox.id))?));
        wanted.retain_wires(|device| *device == endpoint.host_ifname());
        wanted.upper.retain_child(endpoint.id.mark());
        let found = self.kernel.observe(&Scope::of([&wanted]))?;
        Ok(lacking(&wanted, &found))
    }

    /// What the plugin `owner` made for an endpoint and is not as it made it any more, in words. What other plugins have set
    /// since is theirs; so is the MAC, which is to be `mac` by now if that is given.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn lacking(
        &mut self,
        attachment: &Attachment,
        owner: &str,
        mac: Option<Mac>,
    ) -> Result<Vec<String>, Error> {
        let Some((endpoint, sandbox, _)) = self.attachment(attachment)? else {
            return Ok(vec![format!("there is no {attachment}")]);
        };
        let Some(part) = endpoint.part(owner) else {
            return Ok(vec![format!("{owner} made nothing for {attachment}")]);
        };
        let wanted = desired::part(&sandbox, &endpoint, part);
        let scope = Scope::of([&wanted]);
        let found = self.kernel.observe(&scope)?;
        let fixtures = expected(&endpoint.ifname, &endpoint.parts, part, mac);
        let mut missing = self.kernel.lacking(sandbox.netns_name(), &fixtures)?;
        missing.extend(lacking(&wanted, &found));
        Ok(missing)
    }

    /// Takes away what the plugin `owner` made for an endpoint, and the endpoint with the last part; whether there was
    /// any.
    ///
    /// # Errors
    /// If the kernel does not let it go.
    pub fn unfit(&mut self, attachment: &Attachment, owner: &str) -> Result<bool, Error> {
        self.settle()?;
        let gone = self.persist(|engine| {
            let Some((endpoint, sandbox, _)) = engine.attachment(attachment)? else { return Ok(false) };
            let object = Object::Sandbox(sandbox.name.clone());
            let _lock = engine.store.lock(&object, Mode::Exclusive, PATIENCE)?;
            let there = engine.store.write(|tx| {
                refuse_pending(tx, &sandbox, None)?;
                let found = tx.endpoint(endpoint.id)?;
                if found.is_none_or(|found| found.part(owner).is_none()) {
                    return Ok(false);
                }
                tx.begin(&object, FIT, &format!("{} {owner}", endpoint.id))?;
                Ok::<_, Error>(true)
            })?;
            if there {
                engine.rid(&sandbox, endpoint.id, owner)?;
            }
            Ok(there)
        })?;
        self.put_left_away()?;
        Ok(gone)
    }

    /// Takes away what a runtime attached, with what all its plugins made; whether there was any.
    ///
    /// # Errors
    /// If the kernel does not let it go.
    pub fn detach(&mut self, attachment: &Attachment) -> Result<bool, Error> {
        self.settle()?;
        let gone = self.persist(|engine| {
            let Some((endpoint, sandbox, _)) = engine.attachment(attachment)? else { return Ok(false) };
            let object = Object::Sandbox(sandbox.name.clone());
            let _lock = engine.store.lock(&object, Mode::Exclusive, PATIENCE)?;
            engine.store.write(|tx| {
                refuse_pending(tx, &sandbox, None)?;
                Ok::<_, Error>(tx.begin(&object, "disconnect", &endpoint.id.to_string())?)
            })?;
            engine.erase_endpoint(&sandbox, endpoint.id)?;
            Ok(true)
        })?;
        self.put_left_away()?;
        Ok(gone)
    }

    /// Finishes what a dead process began with a plugin's part: it goes.
    pub(crate) fn rid_of(&mut self, sandbox: &Sandbox, detail: &str) -> Result<(), Error> {
        let owned = detail.split_once(' ').and_then(|(id, owner)| Some((id.parse().ok()?, owner)));
        match owned {
            Some((endpoint, owner)) => self.rid(sandbox, endpoint, owner),
            None => self.erase_sandbox(sandbox),
        }
    }

    /// Takes a plugin's part out of kernel and store, with the sandbox's journal entries.
    fn rid(&mut self, sandbox: &Sandbox, endpoint: Id, owner: &str) -> Result<(), Error> {
        let found = self.store.read(|tx| tx.endpoint(endpoint))?;
        let Some(mut endpoint) = found else { return self.erase_endpoint(sandbox, endpoint) };
        let others: Vec<_> = endpoint.parts.iter().filter(|part| part.owner != owner).cloned().collect();
        if others.is_empty() && endpoint.is_fitted() {
            return self.erase_endpoint(sandbox, endpoint.id);
        }
        if let Some(part) = endpoint.part(owner) {
            let former = desired::part(sandbox, &endpoint, part);
            self.converge(State { firewall: Some([].into()), ..State::default() }, &former)?;
        }
        endpoint.published = published_by(&endpoint, owner);
        endpoint.parts = others;
        self.store.write(|tx| {
            tx.update_endpoint(&endpoint)?;
            end_all(tx, &Object::Sandbox(sandbox.name.clone()))
        })
    }

    /// An endpoint whose interface is not in the namespace any more was left by somebody who never said so.
    fn drop_leftover(&mut self, attachment: &Attachment, inside: &Inside) -> Result<(), Error> {
        if inside.devices.contains(&attachment.ifname) || self.attachment(attachment)?.is_none() {
            return Ok(());
        }
        self.detach(attachment).map(drop)
    }

    /// What a runtime called so in another namespace is over: it has the name for this one now.
    fn drop_namesake(&mut self, attachment: &Attachment, sandbox: &Sandbox) -> Result<(), Error> {
        match self.attachment(attachment)? {
            Some((_, other, _)) if other.id != sandbox.id => self.detach(attachment).map(drop),
            _ => Ok(()),
        }
    }

    pub(crate) fn still_there(&mut self, sandbox: &Sandbox, is_new: bool) -> Result<(), Error> {
        if !is_new && self.reclaim_locked(sandbox)? {
            return Err(Error::Overtaken);
        }
        Ok(())
    }
}

/// What is published beside what `owner` publishes.
fn published_by(endpoint: &Endpoint, owner: &str) -> Vec<Published> {
    let gone: Vec<_> = endpoint.part(owner).into_iter().flat_map(|part| part.published.clone()).collect();
    endpoint.published.iter().filter(|published| !gone.contains(published)).cloned().collect()
}

pub(crate) fn enter(tx: &Tx<'_>, sandbox: &Sandbox, is_new: bool) -> Result<(), Error> {
    if !is_new {
        return Ok(());
    }
    // Another plugin of the same container was faster.
    match tx.insert_sandbox(sandbox) {
        Err(linkspan_store::StoreError::Exists { .. }) => Err(Error::Overtaken),
        done => Ok(done?),
    }
}

pub(crate) fn refuse_attached(tx: &Tx<'_>, attachment: &Attachment) -> Result<(), Error> {
    match tx.attachment(attachment)? {
        Some(endpoint) => Err(Error::refused(format!("{attachment} is there already"))
            .hinting("delete it first")
            .behind(Obstacle::Endpoint(endpoint))),
        None => Ok(()),
    }
}

fn refuse_present(attachment: &Attachment, inside: &Inside) -> Result<(), Error> {
    let ifname = &attachment.ifname;
    if !inside.devices.contains(ifname) || ifname.as_str() == "lo" {
        return Ok(());
    }
    Err(Error::Present { container: attachment.container.clone(), ifname: ifname.clone() })
}

/// Writes down an endpoint with one more part; what its plugin wants anew of a part that is there is added to that. With the
/// network comes what held for its guests before.
pub(crate) fn extended<K: Kernel>(
    tx: &Tx<'_>,
    kernel: &mut K,
    sandbox: &Sandbox,
    request: &FitRequest,
) -> Result<(Endpoint, (Network, Guests), Part), Error> {
    let FitRequest { attachment, footing, part, .. } = request;
    let mut part = settled(tx, sandbox, part)?;
    let known = match tx.attachment(attachment)? {
        Some(id) => tx.endpoint(id)?,
        None => None,
    };
    if let Some(mut endpoint) = known {
        if request.is_main {
            refuse_attached(tx, attachment)?;
        }
        let network = tx.network_by_id(endpoint.network)?.ok_or(Error::Overtaken)?;
        let hosting = with_guests(tx, network, &request.guests)?;
        endpoint.published.extend(part.published.iter().cloned());
        if endpoint.leases.is_empty() {
            endpoint.leases.clone_from(&footing.leases);
        }
        match endpoint.parts.iter_mut().find(|known| known.owner == part.owner) {
            Some(known) => join(known, &part),
            None => endpoint.parts.push(part.clone()),
        }
        tx.update_endpoint(&endpoint)?;
        return Ok((endpoint, hosting, part));
    }
    let (mut network, before) = with_guests(tx, own_network(tx, &attachment.network)?, &request.guests)?;
    let access = make_room(tx, kernel, &mut network, &mut part)?;
    let id = random_id()?;
    let of_address = || footing.leases.first().map(|lease| Mac::for_ip(lease.address));
    let endpoint = Endpoint {
        id,
        network: network.id,
        sandbox: sandbox.id,
        wire: Wire::Fitted { host: footing.host.clone() },
        ifname: attachment.ifname.clone(),
        mac: footing.mac.or_else(of_address).unwrap_or_else(|| id.switch_mac(0)),
        access,
        addresses_of: None,
        leases: footing.leases.clone(),
        aliases: Vec::new(),
        named: false,
        gw_priority: 0,
        published: part.published.clone(),
        shaping: Shaping::default(),
        parts: vec![part.clone()],
    };
    tx.insert_endpoint(&endpoint)?;
    tx.insert_attachment(attachment, endpoint.id)?;
    Ok((endpoint, (network, before), part))
}

pub(crate) fn join(known: &mut Part, more: &Part) {
    known.fixtures.extend(more.fixtures.iter().cloned());
    known.published.extend(more.published.iter().cloned());
    known.standby.extend(more.standby.iter().cloned());
    known.masquerade_from.extend(&more.masquerade_from);
    known.masquerade_to.extend(&more.masquerade_to);
    known.guest = more.guest.clone().or(known.guest.take());
    known.spoof = more.spoof.clone().or(known.spoof.take());
}
