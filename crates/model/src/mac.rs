//! Ethernet addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A unicast Ethernet address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address with these bytes, as the kernel gives them.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes in transmission order.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// `02:42` and the four bytes of `address`: the same address always has the same MAC, so no
    /// neighbour's ARP entry goes stale when a sandbox is made again.
    pub fn for_ip(address: IpAddr) -> Self {
        let last = match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => {
                let o = v6.octets();
                let fold = |i: usize| o[i] ^ o[i + 4] ^ o[i + 8] ^ o[i + 12];
                Ipv4Addr::new(fold(0), fold(1), fold(2), fold(3)).octets()
            }
        };
        Self([0x02, 0x42, last[0], last[1], last[2], last[3]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match Self::read(text)? {
            Self([0, 0, 0, 0, 0, 0]) => Err(wrong(text, "it is all zero")),
            mac => Ok(mac),
        }
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// As it was written down: that of a device without one is all zero.
impl TryFrom<String> for Mac {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::read(&text)
    }
}

impl Mac {
    fn read(text: &str) -> Result<Self, Invalid> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(|| {
                wrong(text, "it takes six pairs of hexadecimal digits, as in 02:42:0a:00:00:02")
            })?;
        }
        if parts.next().is_some() {
            return Err(wrong(text, "it has more than six pairs"));
        }
        if bytes[0] & 1 == 1 {
            return Err(wrong(text, "it is a multicast address (the first byte is odd)"));
        }
        Ok(Self(bytes))
    }
}

fn wrong(text: &str, why: &str) -> Invalid {
    Invalid::new(format!("'{text}' is no valid MAC address")).because(why)
}

#[cfg(test)]
mod tests {
    use super::Mac;

    #[test]
    fn parses_prints_and_refuses() {
        assert_eq!("02:42:AC:11:00:02".parse::<Mac>().unwrap().to_string(), "02:42:ac:11:00:02");
        for bad in [
            "",
            "02:42",
            "02:42:ac:11:00:02:03",
            "01:00:00:00:00:00",
            "00:00:00:00:00:00",
            "0g:42:ac:11:00:02",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn follows_the_address() {
        assert_eq!(Mac::for_ip("172.17.0.2".parse().unwrap()).to_string(), "02:42:ac:11:00:02");
    }
}
