//! Linkspan as Podman's network backend, called as Podman calls it.

mod bridge;
mod calling;
mod devices;
mod firewall;
mod firewalld;
mod leases;
mod plugins;
