//! The nf_tables table `inet linkspan`: published ports, masquerading, and networks that are apart.
//!
//! With it come and go two more where the kernel can have them: `bridge linkspan` keeps sandboxes from posing as each
//! other's IPv6 router, `ip6 linkspan` leads the answers of published ports back to ::1.
//!
//! Chains and rules never change; everything that varies is an element of a set or map, so that what an attach
//! costs does not depend on what else is there.

mod admission;
mod apply;
mod change;
mod conntrack;
mod element;
mod error;
mod expr;
mod filter;
mod foreign;
mod home;
mod listeners;
mod matches;
mod nft;
mod observe;
mod resolver;
mod set;
mod table;
mod userdata;

pub use admission::Drops;
pub use foreign::{ForeignFamily, ForeignRule, ForeignTable};
pub use listeners::port_holder;

use std::os::fd::{AsFd, BorrowedFd};

use linkspan_plan::KernelError;

use crate::netlink::{Family, Socket};

/// The firewall of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Firewall {
    socket: Socket,
}

impl Firewall {
    /// Opens it in the current network namespace.
    ///
    /// # Errors
    /// If the kernel has no nfnetlink.
    pub fn open() -> Result<Self, KernelError> {
        let socket = Socket::open(Family::Netfilter)
            .map_err(|error| error::refused("open a netfilter socket", &error))?;
        Ok(Self { socket })
    }
}

/// The socket. After a delete, closing it waits for the kernel's clean-up: a child process that inherits it can
/// do the waiting.
impl AsFd for Firewall {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
