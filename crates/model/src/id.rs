//! Identities of networks and endpoints.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{IfName, Invalid};

/// A 256-bit identity, written as 64 hexadecimal digits as Docker does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Id([u8; 32]);

impl Id {
    /// The identity with these bytes; the caller brings the randomness.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub(crate) const fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The first 12 digits, as people and Docker abbreviate.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// The host side of this endpoint's veth pair: `veth` and 11 digits.
    pub fn host_ifname(&self) -> IfName {
        IfName::truncated(&format!("veth{}", &self.to_string()[..11]))
    }

    /// The default name of this endpoint's tap: `tap` and 11 digits.
    pub fn tap_ifname(&self) -> IfName {
        IfName::truncated(&format!("tap{}", &self.to_string()[..11]))
    }

    /// The device that what this endpoint sends is slowed down in: `ifb` and 11 digits.
    pub fn ifb_ifname(&self) -> IfName {
        IfName::truncated(&format!("ifb{}", &self.to_string()[..11]))
    }

    /// The host's own device among this network's sandboxes: `shim-` and 10 digits.
    pub fn shim_ifname(&self) -> IfName {
        IfName::truncated(&format!("shim-{}", &self.to_string()[..10]))
    }

    /// A number that is this endpoint's, above zero and of 31 bits: the kernel's group of a device made for it.
    pub const fn mark(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a & 0x7f, b, c, d]) | 1
    }

    /// The default name of this network's bridge: `br-` and 12 digits.
    pub fn bridge_ifname(&self) -> IfName {
        IfName::truncated(&format!("br-{}", self.short()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Id {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong =
            || Invalid::new(format!("'{text}' is no identity")).because("it takes 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

text_form!(Id);

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn round_trips_and_names_devices_of_fifteen_characters() {
        let id = Id::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert_eq!(id.host_ifname().as_str(), "vethabababababa");
        assert_eq!(id.bridge_ifname().as_str(), "br-abababababab");
        assert!("zz".parse::<Id>().is_err());
    }
}
