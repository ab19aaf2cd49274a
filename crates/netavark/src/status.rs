//! What `setup` tells of each network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A container on a network.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Domains to look names up in.
    #[serde(default)]
    pub dns_search_domains: Option<Vec<String>>,
    /// Name servers.
    #[serde(default)]
    pub dns_server_ips: Option<Vec<IpAddr>>,
    /// Its interfaces by name.
    #[serde(default)]
    pub interfaces: Option<BTreeMap<String, Interface>>,
}

/// An interface in the container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Its MAC.
    pub mac_address: String,
    /// Its addresses.
    #[serde(default)]
    pub subnets: Option<Vec<Address>>,
}

/// An address with the gateway of its subnet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    /// The gateway, if there is one.
    pub gateway: Option<IpAddr>,
    /// The address with the length of the subnet's prefix.
    pub ipnet: IpNet,
}
