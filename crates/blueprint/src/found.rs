//! What of a lab there is.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_engine::{Engine, Error, SandboxView};
use linkspan_model::{Name, Network};
use linkspan_plan::Kernel;

use crate::lab::LABEL;
use crate::programs::{Program, Records};

/// Every network and sandbox of the host, and which of them are a lab's.
#[derive(Debug)]
pub struct Found {
    /// The lab.
    pub lab: Name,
    /// Every network of the host.
    pub networks: BTreeMap<Name, Network>,
    /// Every sandbox of the host.
    pub sandboxes: BTreeMap<Name, SandboxView>,
    /// Sandboxes of the lab whose namespace is gone.
    pub abandoned: BTreeSet<Name>,
    /// Programs of the lab.
    pub programs: Vec<Program>,
}

impl Found {
    /// Looks.
    ///
    /// # Errors
    /// If store or records cannot be read.
    pub fn look<K: Kernel>(engine: &mut Engine<K>, records: &Records, lab: &Name) -> Result<Self, Error> {
        let networks =
            engine.networks()?.into_iter().map(|network| (network.name.clone(), network)).collect();
        let sandboxes =
            engine.sandboxes()?.into_iter().map(|view| (view.sandbox.name.clone(), view)).collect();
        let abandoned = BTreeSet::new();
        let mut found = Self { lab: lab.clone(), networks, sandboxes, abandoned, programs: records.all()? };
        let ours: Vec<_> = found.members().map(|view| view.sandbox.clone()).collect();
        for sandbox in ours {
            if engine.is_stale(&sandbox)? {
                found.abandoned.insert(sandbox.name);
            }
        }
        Ok(found)
    }

    /// The lab's sandboxes.
    pub fn members(&self) -> impl Iterator<Item = &SandboxView> {
        self.sandboxes.values().filter(|view| self.is_ours(&view.sandbox.labels))
    }

    /// The lab's networks.
    pub fn own_networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values().filter(|network| self.is_ours(&network.labels))
    }

    /// Whether something with these labels is the lab's.
    pub fn is_ours(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(LABEL).is_some_and(|lab| lab == self.lab.as_str())
    }

    /// The sandboxes on a network.
    pub fn on<'a>(&'a self, network: &'a Name) -> impl Iterator<Item = &'a SandboxView> {
        let is_on = move |view: &&SandboxView| view.attached.iter().any(|(_, on)| on.name == *network);
        self.sandboxes.values().filter(is_on)
    }
}
