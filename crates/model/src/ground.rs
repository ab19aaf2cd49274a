//! What a network makes for itself alone: its bridge, and destinations that nothing leads to.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::IfName;

/// A bridge that is made for one network, and goes when that goes if nothing else is on it by then. One of that name that is
/// there is used as it is, and stays unless this made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnBridge {
    /// Its name.
    pub name: IfName,
    /// Its MTU in bytes; that of the device of the default route if none is given.
    pub mtu: Option<u32>,
    /// Whether it tells VLANs apart; it is only ever switched on.
    pub vlan_filtering: bool,
    /// The VRF that it is under.
    pub vrf: Option<IfName>,
    /// The host's addresses on it.
    pub gateways: Vec<IpNet>,
    /// Whether the host routes what comes from it.
    pub forwards: bool,
}

/// A destination that nothing leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Barred {
    /// The destination.
    pub to: IpNet,
    /// What who sends there is told.
    pub how: Bar,
    /// The metric.
    pub priority: Option<u32>,
}

/// What who sends to a barred destination is told (RTN_... of linux/rtnetlink.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bar {
    /// Nothing.
    Blackhole,
    /// That it is not reached.
    Unreachable,
    /// That it may not.
    Prohibit,
}

impl fmt::Display for OwnBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "own bridge {}", self.name)?;
        self.gateways.iter().try_for_each(|gateway| write!(f, " address {gateway}"))
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        })
    }
}
