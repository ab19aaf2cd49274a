//! Decisions, apart from effects: what should be in the kernel, what that takes, which address is next.
//!
//! Everything here is a pure function of its arguments. The kernel is described by [`State`], a change
//! of it by [`Step`], and [`Kernel`] is the only door to the real one.

mod diff;
mod kernel;
mod lacking;
mod patch;
mod segment;
mod shaper;
mod state;
mod step;
mod tap;
mod uplink;
mod upper;

pub mod desired;
pub mod ipam;
pub mod ports;
pub mod ranges;

pub use diff::diff;
pub use kernel::{
    CardFacts, Failure, HostPrefix, Inside, Kernel, KernelError, LinkFacts, ParentDevice, PortHolder,
};
pub use lacking::lacking;
pub use patch::{Patch, PatchEnd};
pub use shaper::{Detour, Shaper};
pub use state::{Bridge, Element, Elements, Namespace, Peer, Port, Route, Scope, State};
pub use step::Step;
pub use tap::Tap;
pub use uplink::Uplink;
pub use upper::{Child, Path, Shim, Upper, UpperStep};
