//! The words that the stories are told with.

mod containers;
mod dnsmasq;
mod lan;
mod ovs;
mod podman;
mod program;
mod qemu;
mod snapshot;
mod switched;
mod world;

pub use containers::{ROOT, Traces, root_file_system, served, served_at_once};
pub use dnsmasq::{Dnsmasq, until};
pub use lan::{Lan, Session, ways};
pub use linkspan_lab::{Flow, Net, here, may_open_taps, run, run_as_root, run_tool, sh, skip};
pub use ovs::{Datapath, OpenVSwitch};
pub use podman::Podman;
pub use program::{BINARY, ENVIRONMENT, RUN, Refusal, STATE, json, linkspan, program, refused, run_program};
pub use qemu::Qemu;
pub use snapshot::{Snapshot, has};
pub use switched::{Switched, kernel_has};
pub use world::{Protocol, Reach, World, bridge_netfilter, inside, serve, source, succeeds_inside};
