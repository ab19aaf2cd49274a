//! Linkspan as Podman's network backend, called as Podman calls it.

mod calling;
mod devices;
mod firewall;
mod leases;
mod firewalld;
mod plugins;
