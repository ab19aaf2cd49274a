//! Effects: the real [`Kernel`](linkspan_plan::Kernel), spoken to over netlink sockets and files of /proc and nsfs.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod ask;
pub mod daemon;
pub mod fake;
pub mod firewall;
pub mod firewalld;
pub mod guard;
pub mod isolation;
pub mod launch;
pub mod leased;
pub mod loopback;
pub mod netlink;
pub mod netns;
pub mod passed;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod resolver;
pub mod signals;
pub mod station;

pub mod tables;

mod child;
mod detached;
mod error;
mod ethtool;
mod host;
mod ovsdb;
mod packet;
mod reaper;
mod rtnl;
mod setup;
mod sysctl;
mod tun;

pub use fake::Fake;
pub use host::{DeviceFacts, Host};
pub use packet::PacketSocket;
pub use process::Failed;
