//! The devices by which bridges of ours are joined.
//!
//! All are named after a network's identity and a number: 0 is the network's own bridge and what leads up from it,
//! 1 and more are its access bridges. A name has three letters, nine digits of the identity, and the number as three
//! hexadecimal digits: 15 characters, all that a device name takes.

use crate::{Id, IfName, Mac};

/// The first letters of patch sides that lead up: ports of the bridge below.
const UP: &str = "lsu";
/// The first letters of patch sides that lead down: ports of the bridge above.
const DOWN: &str = "lsd";
/// The first letters of access bridges.
const ACCESS: &str = "lsb";

impl Id {
    /// The port of this network's bridge `number` that leads up.
    pub fn uplink_ifname(&self, number: u16) -> IfName {
        self.numbered(UP, number)
    }

    /// The other side of [`uplink_ifname`](Self::uplink_ifname): a port of the bridge above.
    pub fn downlink_ifname(&self, number: u16) -> IfName {
        self.numbered(DOWN, number)
    }

    /// This network's access bridge `number`.
    pub fn access_bridge_ifname(&self, number: u16) -> IfName {
        self.numbered(ACCESS, number)
    }

    /// The MAC of this network's bridge `number` where the host has no address on it: 02:4c, then four bytes of the
    /// identity, in which no two numbers give the same.
    pub fn switch_mac(&self, number: u16) -> Mac {
        let [a, b, c, d, ..] = self.bytes();
        let [high, low] = number.to_be_bytes();
        Mac::from_bytes([0x02, 0x4c, a, b, c ^ high, d ^ low])
    }

    fn numbered(&self, letters: &str, number: u16) -> IfName {
        IfName::truncated(&format!("{letters}{}{number:03x}", &self.to_string()[..9]))
    }
}

/// Whether a device called `name` is a side of a patch of ours, or one that is cut off from the other.
pub fn is_patch(name: &IfName) -> bool {
    let digits = [UP, DOWN].iter().find_map(|letters| name.as_str().strip_prefix(letters));
    digits.is_some_and(|digits| {
        digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::is_patch;
    use crate::Id;

    #[test]
    fn devices_are_named_after_identity_and_number() {
        let id = Id::from_bytes([0xab; 32]);
        assert_eq!(id.uplink_ifname(0).as_str(), "lsuababababa000");
        assert_eq!(id.downlink_ifname(17).as_str(), "lsdababababa011");
        assert_eq!(id.access_bridge_ifname(0xfff).as_str(), "lsbababababafff");
        assert!(is_patch(&id.uplink_ifname(1)) && is_patch(&id.downlink_ifname(1)));
        assert!(!is_patch(&id.access_bridge_ifname(1)) && !is_patch(&id.host_ifname()));
        assert!(!is_patch(&"lsu".parse().unwrap()) && !is_patch(&"lsuABCDEFABC000".parse().unwrap()));
    }

    #[test]
    fn no_two_bridges_of_a_network_have_one_mac() {
        let id = Id::from_bytes([0xab; 32]);
        let macs: std::collections::BTreeSet<_> = (0..1024).map(|number| id.switch_mac(number)).collect();
        assert_eq!(macs.len(), 1024);
        assert_eq!(id.switch_mac(0).to_string(), "02:4c:ab:ab:ab:ab");
    }
}
