//! Versions of the CNI specification.

use std::fmt;

/// A version of the specification; later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// 0.1.0, which is also meant where none is given.
    V010,
    /// 0.2.0
    V020,
    /// 0.3.0
    V030,
    /// 0.3.1
    V031,
    /// 0.4.0: CHECK.
    V040,
    /// 1.0.0
    V100,
    /// 1.1.0: GC and STATUS.
    V110,
}

impl Version {
    /// All, the oldest first.
    pub const ALL: &'static [Self] =
        &[Self::V010, Self::V020, Self::V030, Self::V031, Self::V040, Self::V100, Self::V110];
    /// The newest.
    pub const NEWEST: Self = Self::V110;

    /// The one that is written exactly so; an empty text means 0.1.0.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::V010);
        }
        Self::ALL.iter().copied().find(|version| version.as_str() == text)
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V010 => "0.1.0",
            Self::V020 => "0.2.0",
            Self::V030 => "0.3.0",
            Self::V031 => "0.3.1",
            Self::V040 => "0.4.0",
            Self::V100 => "1.0.0",
            Self::V110 => "1.1.0",
        }
    }

    /// This one and all later ones.
    pub fn and_later(self) -> &'static [Self] {
        &Self::ALL[self as usize..]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
