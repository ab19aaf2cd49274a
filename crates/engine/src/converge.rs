//! Bringing the kernel to what is desired, within what a command touches.

use std::collections::BTreeSet;

use linkspan_model::{Endpoint, Id, IfName, Network, is_patch};
use linkspan_plan::{
    Elements, Kernel, Patch, PatchEnd, Port, Scope, State, Step, Tap, UpperStep, desired, diff,
};
use linkspan_store::{Mode, Object, Tx};

use crate::cores::access_bridges;
use crate::{Engine, Error, Event, PATIENCE};

impl<K: Kernel> Engine<K> {
    /// Makes the kernel hold `desired` and nothing more of `former`.
    ///
    /// If our firewall table is not there (the first network; somebody flushed the ruleset), it is built whole from
    /// the store first: where the table is, everything is in it.
    ///
    /// What sandboxes of several commands stand on is made by one command at a time. Another that misses it too, as after
    /// a reboot, looks again when its turn has come.
    pub(crate) fn converge(&mut self, mut desired: State, former: &State) -> Result<(), Error> {
        let mut scope = Scope::of([&desired, former]);
        let (mut bridges, mut built) = (None, false);
        let _host = loop {
            let lock = self.store.lock(&Object::Host, Mode::Shared, PATIENCE)?;
            let mut observed = self.kernel.observe(&scope)?;
            observed.forgive(&desired, former);
            observed.fixtures.clone_from(&former.fixtures);
            observed.answered.clone_from(&former.answered);
            if observed.firewall.is_some() || desired.firewall.as_ref().is_none_or(BTreeSet::is_empty) {
                if built || observed.firewall.is_none() {
                    (desired.firewall, observed.firewall) = (None, None);
                }
                let steps = diff(&desired, &observed);
                if bridges.is_some() || !steps.iter().any(Step::makes_ground) {
                    self.apply(&steps)?;
                    break lock;
                }
                drop(lock);
                bridges = Some(self.store.lock(&Object::Bridges, Mode::Exclusive, PATIENCE)?);
                continue;
            }
            drop(lock);
            self.rebuild_firewall()?;
            // Whatever is desired is in it: it need not be asked for again, which may be thousands of ports.
            if former.firewall.as_ref().is_none_or(BTreeSet::is_empty) {
                (scope.elements, built) = (Elements::default(), true);
            }
        };
        Ok(())
    }

    /// Builds the firewall table with every element that the store calls for, in one transaction.
    fn rebuild_firewall(&mut self) -> Result<(), Error> {
        let _host = self.store.lock(&Object::Host, Mode::Exclusive, PATIENCE)?;
        if self.kernel.observe(&Scope::default())?.firewall.is_some() {
            return Ok(());
        }
        let whole = State { firewall: self.lasting_state()?.firewall, ..State::default() };
        self.apply(&diff(&whole, &State::default()))
    }

    /// What the kernel should hold altogether, without what is being removed: that must not come back behind whoever
    /// removes it.
    pub(crate) fn lasting_state(&mut self) -> Result<State, Error> {
        self.store.read(|tx| {
            let journal = tx.journal()?;
            let goes = |object: &Object| {
                journal.iter().any(|entry| entry.object == *object && entry.verb == "remove")
            };
            Self::whole_state(tx, goes)
        })
    }

    /// What the kernel should hold altogether, without the objects that are `left_out`.
    fn whole_state(tx: &Tx<'_>, left_out: impl Fn(&Object) -> bool) -> Result<State, Error> {
        let mut whole = State { firewall: Some([].into()), ..State::default() };
        for network in tx.networks()? {
            if !left_out(&Object::Network(network.name.clone())) {
                whole.merge(desired::network(&network));
                whole.merge(access_bridges(tx, &network)?.0);
            }
        }
        for sandbox in tx.sandboxes()? {
            if !left_out(&Object::Sandbox(sandbox.name.clone())) {
                whole.merge(desired::sandbox(&sandbox, &attached(tx, sandbox.id)?));
            }
        }
        Ok(whole)
    }

    /// The steps that separate the whole host from what it should hold. What others are at work on is left to them, as
    /// are sandboxes that are to `go`; the caller has the host's lock, so that nobody changes the kernel meanwhile.
    pub(crate) fn drift(&mut self, go: &[Object]) -> Result<Vec<Step>, Error> {
        let (mut desired, theirs, networks) = self.store.read(|tx| {
            let journal = tx.journal()?;
            let at_work =
                |object: &Object| go.contains(object) || journal.iter().any(|entry| entry.object == *object);
            let desired = Self::whole_state(tx, at_work)?;
            let theirs = Self::whole_state(tx, |object| !at_work(object))?;
            Ok::<_, Error>((desired, theirs, tx.networks()?))
        })?;
        let idle = self.store.read(|tx| {
            let idle = networks.iter().map(|network| Ok(access_bridges(tx, network)?.1));
            Ok::<_, Error>(idle.collect::<Result<Vec<_>, Error>>()?.concat())
        })?;
        // What was below a bridge that somebody took away is left until the next container brings that back.
        for own in networks.iter().filter_map(Network::own_bridge) {
            if self.kernel.parent(Some(&own.name))?.is_none() {
                desired.patches.retain(|_, patch| patch.to != PatchEnd::Bridge(own.name.clone()));
            }
        }
        let idle_states = idle.iter().map(|(_, state)| state);
        let scope = Scope { elements: Elements::All, ..Scope::of(idle_states.chain([&desired])) };
        let mut observed = self.kernel.observe(&scope)?;
        // A bridge that nobody is on any more stays if it is there, and is not missed.
        for (_, state) in idle {
            if state.bridges.keys().all(|bridge| observed.bridges.contains_key(bridge)) {
                desired.merge(state);
            }
        }
        observed.forgive(&desired, &desired);
        observed.fixtures.clone_from(&desired.fixtures);
        observed.answered.clone_from(&desired.answered);
        if !networks.iter().any(Network::needs_firewall) {
            desired.firewall = None;
        }
        for network in networks.iter().filter(|network| network.has_bridge()) {
            self.observe_orphans(network, &desired, &mut observed)?;
        }
        observed.ports.retain(|name, _| desired.ports.contains_key(name) || !theirs.ports.contains_key(name));
        observed.taps.retain(|name, _| desired.taps.contains_key(name) || !theirs.taps.contains_key(name));
        observed.patches.retain(|name, _| desired.patches.contains_key(name) || !theirs.joins_by(name));
        if let (Some(found), Some(wanted), Some(theirs)) =
            (&mut observed.firewall, &desired.firewall, &theirs.firewall)
        {
            found.retain(|element| wanted.contains(element) || !theirs.contains(element));
        }
        Ok(diff(&desired, &observed))
    }

    /// Adds to `observed` the ports and patches of our make that a bridge has and nobody knows.
    fn observe_orphans(
        &mut self,
        network: &Network,
        desired: &State,
        observed: &mut State,
    ) -> Result<(), Error> {
        let numbers = self.store.read(|tx| tx.access_bridges(network.id))?;
        let numbers = [0].into_iter().chain(numbers.into_iter().map(|(number, _)| number));
        let mut ports = Vec::new();
        for bridge in numbers.map(|number| network.bridge_numbered(number)) {
            let names = self.kernel.bridge_ports(&bridge)?;
            ports.extend(names.into_iter().map(|name| (name, bridge.clone())));
        }
        for (name, bridge) in ports {
            let (mtu, isolated) = (network.bridge.mtu, false);
            if is_numbered(&name, "veth") && !desired.ports.contains_key(&name) {
                observed.ports.insert(name, Port { bridge, mtu, isolated, hairpin: false, peer: None });
            } else if is_numbered(&name, "tap") && !desired.taps.contains_key(&name) {
                observed.taps.insert(name, Tap { bridge, mtu, isolated, owner: None });
            } else if is_patch(&name) && !desired.joins_by(&name) {
                observed.patches.insert(name.clone(), Patch::stray(name, bridge));
            }
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, steps: &[Step]) -> Result<(), Error> {
        for step in steps {
            if let Step::SetSysctl { key, value } = step {
                if key == desired::FORWARD_V6 {
                    self.keep_learning()?;
                }
                self.remember_sysctl(key, value)?;
            }
            (self.tell)(Event::Step(step));
        }
        if !steps.is_empty() {
            self.kernel.apply(steps)?;
            for step in steps {
                if let Step::Upper(UpperStep::SetUp(name)) = step {
                    self.note(format!("device {name} was down; it is set up and stays so"));
                }
            }
            if steps.iter().any(Step::deletes_in_firewall) {
                self.store.note_deletion();
            }
        }
        Ok(())
    }

    /// Before the host forwards IPv6: has its devices go on learning routes, or it may lose its default route.
    fn keep_learning(&mut self) -> Result<(), Error> {
        for key in self.kernel.learning()? {
            self.remember_sysctl(&key, "2")?;
            self.kernel.apply(&[Step::SetSysctl { key, value: "2".to_owned() }])?;
        }
        Ok(())
    }

    /// A host sysctl is changed for good; what it was stays on record.
    fn remember_sysctl(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let scope = Scope { sysctls: [key.to_owned()].into(), ..Scope::default() };
        // One that the kernel does not have is not changed either.
        let Some(before) = self.kernel.observe(&scope)?.sysctls.remove(key) else { return Ok(()) };
        self.store.write(|tx| tx.record_sysctl(key, &before, value))?;
        self.note(format!("sysctl {key} is set to {value} (it was {before}) and stays so"));
        Ok(())
    }
}

/// Whether a device's name is `kind` and digits of an identity, as Linkspan names its own.
fn is_numbered(name: &IfName, kind: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.as_str().strip_prefix(kind).is_some_and(|hex| hex.len() == 11 && hex.bytes().all(is_digit))
}

/// A sandbox's endpoints, each with its network.
pub(crate) fn attached(tx: &Tx<'_>, sandbox: Id) -> Result<Vec<(Endpoint, Network)>, Error> {
    let with_network = |endpoint: Endpoint| {
        let network = tx.network_by_id(endpoint.network)?;
        Ok(network.map(|network| (endpoint, network)))
    };
    tx.endpoints_of_sandbox(sandbox)?
        .into_iter()
        .filter_map(|endpoint| with_network(endpoint).transpose())
        .collect()
}
