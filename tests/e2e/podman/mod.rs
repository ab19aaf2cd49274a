//! Podman itself, with Linkspan under the names of its network backend and its DNS server.

mod names;
mod networks;
mod ports;
mod user;

use crate::support::{Podman, World};

/// Root's Podman on a host with a neighbour, if its programs are installed. What is made once per host is there.
fn host() -> Option<(World, Podman)> {
    let podman = Podman::of_root("network_backend = \"netavark\"\n")?;
    let world = World::new();
    podman.run("run --rm -p 8087:80 bb true");
    Some((world, podman))
}
