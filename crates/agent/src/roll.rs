//! Who is called what, as the store has it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use linkspan_dns::{Link, Member, Network as Policy, Style, Zones};
use linkspan_engine::SandboxView;
use linkspan_model::{Endpoint, LinkSpec, Name, Sandbox};

const DNS: u16 = 53;
/// Digits of a container's identity by which people call it.
const SHORT: usize = 12;

/// The names of all sandboxes that have some.
#[derive(Debug)]
pub struct Roll {
    zones: Zones,
    known: BTreeMap<Name, Known>,
    /// How many are on each network.
    members: BTreeMap<Name, usize>,
}

/// A sandbox on the roll.
#[derive(Debug)]
struct Known {
    container: Arc<str>,
    networks: Vec<Name>,
}

impl Roll {
    /// One with nobody on it.
    pub fn new() -> Self {
        Self { zones: Zones::new(Style::Sandboxes), known: BTreeMap::new(), members: BTreeMap::new() }
    }

    /// All names as they are now. What changes later does not show in it.
    pub fn zones(&self) -> Zones {
        self.zones.clone()
    }

    /// Who is on it.
    pub fn sandboxes(&self) -> Vec<Name> {
        self.known.keys().cloned().collect()
    }

    /// Enters a sandbox, in place of what was known of it, and gives what it is called among those who ask; none if it has
    /// no name on any network, and so is not on the roll.
    pub fn enter(&mut self, view: &SandboxView) -> Option<Arc<str>> {
        self.strike(&view.sandbox.name);
        let container: Arc<str> = view.sandbox.id.to_string().into();
        let mut networks = Vec::new();
        for (endpoint, network) in view.attached.iter().filter(|(endpoint, _)| endpoint.named) {
            let policy = Policy { internal: network.internal, servers: Vec::new() };
            self.zones.set_network(network.name.as_str(), policy);
            self.zones.set_member(network.name.as_str(), member(&container, &view.sandbox, endpoint));
            *self.members.entry(network.name.clone()).or_default() += 1;
            networks.push(network.name.clone());
        }
        if networks.is_empty() {
            return None;
        }
        self.known.insert(view.sandbox.name.clone(), Known { container: Arc::clone(&container), networks });
        Some(container)
    }

    /// Takes a sandbox off, if it is there.
    pub fn strike(&mut self, sandbox: &Name) {
        let Some(Known { container, networks }) = self.known.remove(sandbox) else { return };
        for network in networks {
            self.zones.remove_member(network.as_str(), &container);
            if let Some(left) = self.members.get_mut(&network) {
                *left -= 1;
                if *left == 0 {
                    self.members.remove(&network);
                    self.zones.remove_network(network.as_str());
                }
            }
        }
    }
}

/// What a sandbox is on one of its networks.
fn member(container: &Arc<str>, sandbox: &Sandbox, endpoint: &Endpoint) -> Member {
    let link = |link: &LinkSpec| Link { alias: link.alias.to_string(), target: link.sandbox.to_string() };
    let server = |server: &IpAddr| SocketAddr::new(*server, DNS);
    Member {
        container: container.to_string(),
        addresses: endpoint.leases.iter().map(|lease| lease.address).collect(),
        names: names(sandbox, endpoint),
        servers: sandbox.dns.iter().map(server).collect(),
        links: sandbox.links.iter().map(link).collect(),
    }
}

/// What it is called there: its name first, which a reverse lookup gives.
fn names(sandbox: &Sandbox, endpoint: &Endpoint) -> Vec<String> {
    // A runtime's container has its identity as its name.
    let identity = if sandbox.of_runtime { sandbox.name.to_string() } else { sandbox.id.to_string() };
    let mut names = vec![sandbox.name.to_string()];
    names.extend(endpoint.aliases.iter().map(Name::to_string));
    names.push(identity.chars().take(SHORT).collect());
    names.push(sandbox.hostname.clone());
    names
}
