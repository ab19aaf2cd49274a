//! What there is, for those who show it.

use linkspan_model::{Endpoint, Name, Network, Sandbox};
use linkspan_plan::{Kernel, LinkFacts};

use crate::converge::attached;
use crate::networks::predefined;
use crate::{Engine, Error};

/// A network with what is attached to it.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// The network.
    pub network: Network,
    /// Its endpoints, each with its sandbox.
    pub endpoints: Vec<(Endpoint, Sandbox)>,
}

/// A sandbox with what it is attached to.
#[derive(Clone, Debug)]
pub struct SandboxView {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// Its endpoints, each with its network.
    pub attached: Vec<(Endpoint, Network)>,
    /// The interface numbers of each endpoint, in the same order; none for one that is not there.
    pub links: Vec<Option<LinkFacts>>,
}

impl<K: Kernel> Engine<K> {
    /// Every network, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn networks(&mut self) -> Result<Vec<Network>, Error> {
        let mut networks = self.store.read(|tx| tx.networks())?;
        for name in Network::PREDEFINED {
            if !networks.iter().any(|network| network.name.as_str() == name) {
                networks.extend(predefined(name));
            }
        }
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// The network called `key` with what is attached to it.
    ///
    /// # Errors
    /// If there is none such.
    pub fn network(&mut self, key: &str) -> Result<NetworkView, Error> {
        let network = self.known_network(key)?;
        self.store.read(|tx| {
            let mut endpoints = Vec::new();
            for endpoint in tx.endpoints_of_network(network.id)? {
                if let Some(sandbox) = tx.sandbox_by_id(endpoint.sandbox)? {
                    endpoints.push((endpoint, sandbox));
                }
            }
            Ok(NetworkView { network, endpoints })
        })
    }

    /// Every sandbox, by name, without interface numbers.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn sandboxes(&mut self) -> Result<Vec<SandboxView>, Error> {
        self.store.read(|tx| {
            let view = |sandbox: Sandbox| {
                let attached = attached(tx, sandbox.id)?;
                Ok(SandboxView { sandbox, attached, links: Vec::new() })
            };
            tx.sandboxes()?.into_iter().map(view).collect()
        })
    }

    /// The sandbox of that very name, without interface numbers; none if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn sandbox_named(&mut self, name: &Name) -> Result<Option<SandboxView>, Error> {
        self.store.read(|tx| {
            let found = tx.sandbox(name.as_str())?.filter(|sandbox| sandbox.name == *name);
            let view = |sandbox: Sandbox| {
                let attached = attached(tx, sandbox.id)?;
                Ok(SandboxView { sandbox, attached, links: Vec::new() })
            };
            found.map(view).transpose()
        })
    }

    /// The sandbox called `key`, with interface numbers.
    ///
    /// # Errors
    /// If there is none such.
    pub fn sandbox(&mut self, key: &str) -> Result<SandboxView, Error> {
        let sandbox = self.sandbox_called(key)?;
        let attached = self.store.read(|tx| attached(tx, sandbox.id))?;
        let pairs: Vec<_> = attached
            .iter()
            .map(|(e, _)| (e.host_ifname(), sandbox.netns_name().clone(), e.ifname.clone()))
            .collect();
        let links = self.kernel.link_facts(&pairs)?;
        Ok(SandboxView { sandbox, attached, links })
    }
}
