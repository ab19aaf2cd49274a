//! Addresses that are put aside in a directory, which programs that give out addresses share.

use std::fmt;
use std::net::IpAddr;

/// For what an address is put aside: an interface of a container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Holder {
    /// A runtime's identity of the container.
    pub container: String,
    /// The interface; empty for any of the container's, as early programs wrote it.
    pub ifname: String,
}

impl Holder {
    /// Whether what is put aside for `other` is put aside for this one.
    pub fn owns(&self, other: &Self) -> bool {
        self.container == other.container && (self.ifname == other.ifname || other.ifname.is_empty())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ifname.as_str() {
            "" => write!(f, "container {}", self.container),
            ifname => write!(f, "{ifname} of container {}", self.container),
        }
    }
}

/// An address that is put aside.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reservation {
    /// The address.
    pub address: IpAddr,
    /// For what.
    pub holder: Holder,
}
