//! Podman itself, with Linkspan under the names of its network backend and its DNS server.

mod names;
mod networks;
mod ports;
mod user;

use crate::support::{Podman, World};

/// Root's Podman on a host with a neighbour, if its programs are installed.
fn host() -> Option<(World, Podman)> {
    let podman = Podman::of_root("network_backend = \"netavark\"\n")?;
    Some((World::new(), podman))
}
