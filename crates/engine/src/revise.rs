//! Changes of a sandbox that lives, beside its networks: names, labels, published ports.

use std::collections::BTreeMap;

use linkspan_model::{Endpoint, Id, Network, PublishSpec, Published, Sandbox};
use linkspan_plan::{Kernel, State, desired};
use linkspan_store::{Mode, Object, Tx};

use crate::converge::attached;
use crate::networks::end_all;
use crate::publish::publish;
use crate::wires::refuse_pending;
use crate::{Engine, Error, PATIENCE, SandboxRequest};

/// What the journal calls it. The detail is what was published before, by endpoint, as JSON.
pub const REVISE: &str = "revise";

type Attached = Vec<(Endpoint, Network)>;
type Former = BTreeMap<Id, Vec<Published>>;

impl<K: Kernel> Engine<K> {
    /// Makes a sandbox what `request` says in hostname, hosts, name servers, links, labels and published ports. Networks
    /// and namespace of the request are not looked at. What is published as it was keeps its host port.
    ///
    /// # Errors
    /// If there is none such, or a port is taken.
    pub fn revise_sandbox(&mut self, request: &SandboxRequest) -> Result<(), Error> {
        self.settle()?;
        let (sandbox, attached) = self.persist(|engine| engine.try_revise(request))?;
        self.answer(&sandbox, &attached);
        Ok(())
    }

    fn try_revise(&mut self, request: &SandboxRequest) -> Result<(Sandbox, Attached), Error> {
        let former = self.sandbox_called(request.name.as_str())?;
        let object = Object::Sandbox(former.name.clone());
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        let sandbox = Sandbox {
            hostname: request.hostname.clone().unwrap_or_else(|| former.name.to_string()),
            dns: request.dns.clone(),
            add_hosts: request.add_hosts.clone(),
            links: request.links.clone(),
            labels: request.labels.clone(),
            ..former.clone()
        };
        let Self { store, kernel, .. } = self;
        let specs = request.specs();
        let (before, detail) = store.write(|tx| {
            refuse_pending(tx, &former, None)?;
            let before = attached(tx, former.id)?;
            let published: Former = before.iter().map(|(e, _)| (e.id, e.published.clone())).collect();
            let detail = serde_json::to_string(&published).map_err(|_| Error::Overtaken)?;
            republish(tx, kernel, &specs, before.clone())?;
            tx.update_sandbox(&sandbox)?;
            tx.begin(&object, REVISE, &detail)?;
            Ok::<_, Error>((before, detail))
        })?;
        let done = self.finish_revision(&sandbox, &detail);
        if done.is_err() {
            self.undo(|engine| engine.restore(&former, &before));
        }
        done.map(|()| (sandbox, before))
    }

    /// Brings kernel and files to what the store has of a sandbox that published `detail` before.
    pub(crate) fn finish_revision(&mut self, sandbox: &Sandbox, detail: &str) -> Result<(), Error> {
        let after = self.store.read(|tx| attached(tx, sandbox.id))?;
        let published: Former = serde_json::from_str(detail).unwrap_or_default();
        let mut before = after.clone();
        for (endpoint, _) in &mut before {
            if let Some(formerly) = published.get(&endpoint.id) {
                endpoint.published.clone_from(formerly);
            }
        }
        if !self.is_stale(sandbox)? {
            let (mut wanted, mut former) = (publication(sandbox, &after), publication(sandbox, &before));
            wanted.ports.retain(|device, port| former.ports.get(device) != Some(port));
            former.ports.retain(|device, _| wanted.ports.contains_key(device));
            self.converge(wanted, &former)?;
            self.rewrite_names(sandbox, &after)?;
        }
        self.store.write(|tx| end_all(tx, &Object::Sandbox(sandbox.name.clone())))
    }

    /// Writes down again what a sandbox was, and brings the kernel to it.
    fn restore(&mut self, former: &Sandbox, before: &Attached) -> Result<(), Error> {
        let detail = self.store.write(|tx| {
            let after = attached(tx, former.id)?;
            let published: Former = after.iter().map(|(e, _)| (e.id, e.published.clone())).collect();
            before.iter().try_for_each(|(endpoint, _)| tx.update_endpoint(endpoint))?;
            tx.update_sandbox(former)?;
            serde_json::to_string(&published).map_err(|_| Error::Overtaken)
        })?;
        self.finish_revision(former, &detail)
    }
}

/// The part of a sandbox that publishing changes: elements, and whether its ports send back where they received.
fn publication(sandbox: &Sandbox, attached: &Attached) -> State {
    let whole = desired::sandbox(sandbox, attached);
    State { ports: whole.ports, firewall: whole.firewall, ..State::default() }
}

/// Writes down what is published from now on: what is still asked for stays, the rest is chosen.
fn republish<K: Kernel>(
    tx: &Tx<'_>,
    kernel: &mut K,
    specs: &[PublishSpec],
    mut attached: Attached,
) -> Result<(), Error> {
    let mut missing = specs.to_vec();
    for (endpoint, network) in &mut attached {
        let default = network.bridge.host_binding.into();
        endpoint.published.retain(|published| specs.iter().any(|spec| spec.is_met_by(published, default)));
        missing.retain(|spec| !endpoint.published.iter().any(|published| spec.is_met_by(published, default)));
        tx.update_endpoint(endpoint)?;
    }
    publish(tx, kernel, &missing, &mut attached)?;
    Ok(attached.iter().try_for_each(|(endpoint, _)| tx.update_endpoint(endpoint))?)
}
