//! Effects: the real [`Kernel`](linkspan_plan::Kernel), spoken to over netlink sockets and files of /proc and nsfs.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod fake;
pub mod firewall;
pub mod isolation;
pub mod netlink;
pub mod netns;

mod child;
mod error;
mod host;
mod reaper;
mod rtnl;
mod sysctl;

pub use fake::Fake;
pub use host::Host;
