//! How fast an endpoint may send and receive.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Bits a second, written as tc does: `10mbit`, units of 1000, or a bare number of bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Rate(u64);

const RATE_UNITS: [(&str, u64); 5] =
    [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1), ("", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [("mb", 1 << 20), ("kb", 1 << 10), ("b", 1), ("", 1)];

impl Rate {
    /// The slowest: 8 kbit, a thousand bytes a second.
    const LEAST: u64 = 8_000;
    /// The fastest: 1000 gbit.
    const MOST: u64 = 1_000_000_000_000;

    /// Bytes a second.
    pub const fn bytes(self) -> u64 {
        self.0 / 8
    }

    /// The rate of so many bytes a second.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes.saturating_mul(8))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_units(f, self.0, &RATE_UNITS)
    }
}

impl FromStr for Rate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| Invalid::new(format!("'{text}' is no rate")).because(why);
        match in_units(text, &RATE_UNITS) {
            Some(bits) if (Self::LEAST..=Self::MOST).contains(&bits) => Ok(Self(bits)),
            Some(_) => Err(wrong("rates go from 8kbit to 1000gbit")),
            None => Err(wrong("it takes a number and bit, kbit, mbit or gbit, as in 10mbit")),
        }
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// As it was written down: plugins of runtimes take rates that people are not offered.
impl TryFrom<String> for Rate {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        in_units(&text, &RATE_UNITS).map(Self).ok_or_else(|| Invalid::new(format!("'{text}' is no rate")))
    }
}

/// An amount of data, written as tc does: `128kb`, units of 1024, or a bare number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Size(u32);

impl Size {
    /// The amount in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// So many bytes.
    pub const fn from_bytes(bytes: u32) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_units(f, self.0.into(), &SIZE_UNITS)
    }
}

impl FromStr for Size {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| Invalid::new(format!("'{text}' is no amount of data")).because(why);
        let bytes = in_units(text, &SIZE_UNITS)
            .ok_or_else(|| wrong("it takes a number and b, kb or mb, as in 128kb"))?;
        match u32::try_from(bytes) {
            Ok(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(wrong("amounts go from 1b to 4095mb")),
        }
    }
}

text_form!(Size);

/// A number with one of `units`, in all; none if it is not that.
fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The largest unit that leaves a whole number.
fn write_in_units(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let (name, factor) = units.iter().find(|(_, factor)| value.is_multiple_of(*factor)).unwrap_or(&("", 1));
    write!(f, "{}{name}", value / factor)
}

/// A rate that is not exceeded by more than one burst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// What is reached in the long run.
    pub rate: Rate,
    /// What may pass at once after a rest.
    pub burst: Size,
}

impl Limit {
    /// The least burst that is chosen: twenty frames of the usual MTU.
    const LEAST_BURST: u32 = 32 << 10;

    /// A limit with a burst that suits it: what comes in 20 ms, which a busy host may be late by, but some frames at
    /// least.
    pub fn new(rate: Rate) -> Self {
        let burst = u32::try_from(rate.bytes() / 50).unwrap_or(u32::MAX).max(Self::LEAST_BURST);
        Self { rate, burst: Size(burst) }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} burst {}", self.rate, self.burst)
    }
}

/// The limits of an endpoint, each way as the sandbox sees it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shaping {
    /// Of what comes to the sandbox.
    pub ingress: Option<Limit>,
    /// Of what the sandbox sends.
    pub egress: Option<Limit>,
}

impl Shaping {
    /// Whether there is no limit.
    pub const fn is_none(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// Limits as they are asked for: rates, and bursts for some of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ShapingRequest {
    /// The rate of what comes to the sandbox.
    pub ingress_rate: Option<Rate>,
    /// Its burst.
    pub ingress_burst: Option<Size>,
    /// The rate of what the sandbox sends.
    pub egress_rate: Option<Rate>,
    /// Its burst.
    pub egress_burst: Option<Size>,
}

impl ShapingRequest {
    /// Length of an Ethernet header with a VLAN tag, which counts too.
    const HEADER: u32 = 18;

    /// The limits for an endpoint whose frames carry up to `mtu` bytes.
    ///
    /// # Errors
    /// If a burst has no rate, or a frame would not fit into it and so never pass.
    pub fn settle(&self, mtu: u32) -> Result<Shaping, Invalid> {
        Ok(Shaping {
            ingress: limit("ingress", self.ingress_rate, self.ingress_burst, mtu)?,
            egress: limit("egress", self.egress_rate, self.egress_burst, mtu)?,
        })
    }
}

fn limit(way: &str, rate: Option<Rate>, burst: Option<Size>, mtu: u32) -> Result<Option<Limit>, Invalid> {
    let Some(rate) = rate else {
        return match burst {
            Some(burst) => Err(Invalid::new(format!("a burst of {burst} {way} has no rate"))
                .hint(format!("give {way}-rate too, as in {way}-rate=10mbit"))),
            None => Ok(None),
        };
    };
    let limit = burst.map_or_else(|| Limit::new(rate), |burst| Limit { rate, burst });
    if limit.burst.0 < mtu.saturating_add(ShapingRequest::HEADER) {
        return Err(Invalid::new(format!("a burst of {} {way} lets no full frame pass", limit.burst))
            .because(format!("the network's MTU is {mtu} bytes"))
            .hint(format!("make {way}-burst some frames at least, as in {way}-burst={}kb", mtu / 50)));
    }
    Ok(Some(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sizes_are_written_as_tc_does() {
        for (text, bytes) in
            [("10mbit", 1_250_000), ("8000", 1_000), ("1gbit", 125_000_000), ("64KBIT", 8_000)]
        {
            assert_eq!(text.parse::<Rate>().unwrap().bytes(), bytes, "{text}");
        }
        for (text, bytes) in [("128kb", 131_072), ("1500", 1_500), ("2mb", 2 << 20), ("7b", 7)] {
            assert_eq!(text.parse::<Size>().unwrap().bytes(), bytes, "{text}");
        }
        for text in ["10mbit", "1500kbit", "8001bit", "2gbit"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["128kb", "2mb", "1500b"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_rate_written_down_for_a_plugin_is_read_again() {
        for bytes in [1, 999, 200_000_000_000] {
            let rate = Rate::from_bytes(bytes);
            assert_eq!(Rate::try_from(String::from(rate)).unwrap(), rate);
        }
        assert!(Rate::try_from("fast".to_owned()).is_err());
    }

    #[test]
    fn what_is_no_rate_or_size_is_refused() {
        for bad in
            ["", "mbit", "10 mbit", "1.5mbit", "10mb", "0", "7kbit", "1001gbit", "99999999999gbit", "-1"]
        {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        for bad in ["", "kb", "1kbit", "0b", "4096mb", "99999999999999999999"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_has_room_for_frames() {
        let rate = |text: &str| Some(text.parse::<Rate>().unwrap());
        let asked =
            ShapingRequest { ingress_rate: rate("10mbit"), egress_rate: rate("1gbit"), ..Default::default() };
        let shaping = asked.settle(1500).unwrap();
        assert_eq!(shaping.ingress.unwrap().to_string(), "10mbit burst 32kb");
        assert_eq!(shaping.egress.unwrap().burst.bytes(), 2_500_000);
        assert!(asked.settle(60_000).is_err());
        let burst = Some("1500b".parse().unwrap());
        assert!(ShapingRequest { ingress_burst: burst, ..asked }.settle(1500).is_err());
        assert!(ShapingRequest { egress_burst: burst, ..Default::default() }.settle(1500).is_err());
        assert!(ShapingRequest::default().settle(1500).unwrap().is_none());
    }
}
