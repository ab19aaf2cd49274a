//! Network cards of the host that are plugged into a bridge.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Mac;

/// What a network card was and had before its addresses and routes moved to a bridge: on record for as long as they
/// are there.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Card {
    /// Its MAC, which the bridge takes.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses, IPv6 link-local ones left out.
    pub addresses: BTreeSet<IpNet>,
    /// The addresses as the kernel gave them: bodies of RTM_NEWADDR (linux/if_addr.h), in hexadecimal digits.
    pub given_addresses: Vec<String>,
    /// The routes that are not of the kernel's own making: bodies of RTM_NEWROUTE (linux/rtnetlink.h).
    pub given_routes: Vec<String>,
    /// When the move is undone unless somebody has confirmed it: seconds since the host booted. None: confirmed.
    #[serde(default)]
    pub undone_at: Option<u64>,
}
