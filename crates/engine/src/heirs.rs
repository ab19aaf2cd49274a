//! Ports that several endpoints of a sandbox would publish: one does, and when it goes, another.

use linkspan_model::{Endpoint, Network, Part, Published, Sandbox};
use linkspan_plan::{Kernel, State, desired};
use linkspan_store::{Object, Tx};

use crate::converge::attached;
use crate::error::Obstacle;
use crate::networks::end_all;
use crate::publish::sandbox_of;
use crate::{Engine, Error};

/// What the journal calls it when endpoints begin to publish what another did.
pub const INHERIT: &str = "inherit";

/// A plugin's part, as far as its ports are to be had: those that another endpoint of the sandbox publishes wait.
pub(crate) fn settled(tx: &Tx<'_>, sandbox: &Sandbox, part: &Part) -> Result<Part, Error> {
    let mut settled = part.clone();
    settled.published.clear();
    for published in &part.published {
        match tx.publish_conflict(published)? {
            None => settled.published.push(published.clone()),
            Some(holder) => {
                let ours = tx.endpoint(holder)?.is_some_and(|holder| holder.sandbox == sandbox.id);
                if !ours {
                    return Err(Error::refused(format!("cannot publish {published}"))
                        .because(format!("the port is taken by {}", sandbox_of(tx, holder)?))
                        .hinting("choose another host port")
                        .behind(Obstacle::Endpoint(holder)));
                }
                settled.standby.push(published.clone());
            }
        }
    }
    Ok(settled)
}

/// Has the endpoints of a sandbox publish what they wait for and nobody publishes any more; whether there is anything.
pub(crate) fn pass_on(tx: &Tx<'_>, sandbox: &Sandbox, left: &[(Endpoint, Network)]) -> Result<bool, Error> {
    let mut passed = false;
    for (endpoint, _) in left.iter().filter(|(endpoint, _)| waits(endpoint)) {
        let mut heir = endpoint.clone();
        for part in &mut heir.parts {
            let (mut free, mut taken) = (Vec::<Published>::new(), Vec::new());
            for published in std::mem::take(&mut part.standby) {
                let is_free = tx.publish_conflict(&published)?.is_none();
                if is_free { free.push(published) } else { taken.push(published) }
            }
            part.standby = taken;
            part.published.extend(free.iter().cloned());
            heir.published.extend(free);
        }
        if heir.published != endpoint.published {
            tx.update_endpoint(&heir)?;
            passed = true;
        }
    }
    if passed {
        tx.begin(&Object::Sandbox(sandbox.name.clone()), INHERIT, "")?;
    }
    Ok(passed)
}

fn waits(endpoint: &Endpoint) -> bool {
    endpoint.parts.iter().any(|part| !part.standby.is_empty())
}

impl<K: Kernel> Engine<K> {
    /// Publishes what a sandbox's endpoints have inherited. The caller has its lock.
    pub(crate) fn publish_inherited(&mut self, sandbox: &Sandbox) -> Result<(), Error> {
        let attached = self.store.read(|tx| attached(tx, sandbox.id))?;
        let firewall = desired::sandbox(sandbox, &attached).firewall;
        self.converge(State { firewall, ..State::default() }, &State::default())?;
        self.store.write(|tx| end_all(tx, &Object::Sandbox(sandbox.name.clone())))
    }
}
