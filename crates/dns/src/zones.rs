//! What has a name, and who may ask for it.

mod decide;
mod set;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

pub use decide::{Answer, Asker, Question, Records, Verdict};
use rpds::HashTrieMapSync;

type Map<K, V> = HashTrieMapSync<K, V>;
/// A name in lower case.
type Key = Arc<[u8]>;

/// All names a server answers for, as they are at one instant.
///
/// A clone costs nothing, and a change of one costs what it changes however many members there are: the two share
/// the rest. So a frontend keeps one, changes it, and gives a clone to the server.
#[derive(Clone, Debug)]
pub struct Zones {
    style: Style,
    networks: Map<Arc<str>, Arc<Zone>>,
    /// The memberships of each container, in the order they were made.
    containers: Map<Arc<str>, Arc<Vec<Arc<Seat>>>>,
    /// Whose address it is.
    addresses: Map<IpAddr, Arc<Vec<Arc<str>>>>,
}

/// Whose customs the answers follow.
#[derive(Clone, Debug)]
pub enum Style {
    /// Podman's: names end in nothing or in one of the `suffixes` (`dns.podman`), answers are not to be kept (TTL 0).
    Podman {
        /// What may follow a name, without dots at the ends, in any case. What ends so and is unknown does not exist.
        suffixes: Vec<String>,
        /// Whether what is unknown goes to other servers.
        forward: bool,
    },
    /// Docker's: a name is `NAME` or `NAME.NETWORK`, answers hold for ten minutes, and addresses come in any order.
    Sandboxes,
}

/// What holds for all members of a network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Whether its members reach nobody else.
    pub internal: bool,
    /// Who is asked for what is unknown, if a member has nobody of its own; empty for the host's servers.
    pub servers: Vec<SocketAddr>,
}

/// A container or sandbox on one network.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Which container it is: the same text on all its networks, and only there.
    pub container: String,
    /// Its addresses on this network.
    pub addresses: Vec<IpAddr>,
    /// What it is called there, in any case; its own name comes first.
    pub names: Vec<String>,
    /// Who is asked for what is unknown; empty for the network's servers.
    pub servers: Vec<SocketAddr>,
    /// Names that it alone knows, and that come before all others.
    pub links: Vec<Link>,
}

/// A name that one asker has for another member of its network.
#[derive(Clone, Debug)]
pub struct Link {
    /// The name asked for.
    pub alias: String,
    /// A name of that member.
    pub target: String,
}

#[derive(Clone, Debug, Default)]
struct Zone {
    internal: bool,
    servers: Arc<[SocketAddr]>,
    names: Map<Key, Arc<Vec<Arc<Seat>>>>,
    addresses: Map<IpAddr, Arc<Vec<Arc<Seat>>>>,
}

/// A member with what of it is looked up.
#[derive(Debug)]
struct Seat {
    network: Arc<str>,
    container: Arc<str>,
    addresses: Vec<IpAddr>,
    /// As given, for reverse lookups.
    names: Vec<String>,
    servers: Arc<[SocketAddr]>,
    /// Alias and target.
    links: Vec<(Key, Key)>,
}
