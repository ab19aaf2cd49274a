//! What Podman sends. Keys that are not known are left out of account, as newer versions send more.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::{fmt, fs};

use ipnet::IpNet;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::{Error, Global};

/// `setup` and `teardown`: a container and its networks.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct NetworkOptions {
    /// The container's identity.
    pub container_id: String,
    /// Its name; that of a pod's own container for all of the pod.
    pub container_name: String,
    /// Its host name.
    #[serde(default)]
    pub container_hostname: Option<String>,
    /// How it is on each network, in the order of set-up.
    pub networks: Networks,
    /// The networks by name.
    pub network_info: BTreeMap<String, Network>,
    /// Ports to publish.
    #[serde(default)]
    pub port_mappings: Option<Vec<PortMapping>>,
    /// Name servers for this container.
    #[serde(default)]
    pub dns_servers: Option<Vec<IpAddr>>,
}

impl NetworkOptions {
    /// Reads them from the file that the flags name, or from standard input.
    ///
    /// # Errors
    /// If it cannot be read, or means nothing.
    pub fn load(global: &Global) -> Result<Self, Error> {
        load(global, "failed to load network options")
    }
}

impl CreateRequest {
    /// Reads it from where the flags say.
    ///
    /// # Errors
    /// If it cannot be read, or means nothing.
    pub fn load(global: &Global) -> Result<Self, Error> {
        load(global, "failed to load network create")
    }
}

fn load<T: DeserializeOwned>(global: &Global, what: &str) -> Result<T, Error> {
    let bytes = match &global.file {
        Some(path) => fs::read(path),
        None => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
    };
    let bytes = bytes.map_err(|cause| Error::io(what, &cause))?;
    serde_json::from_slice(&bytes)
        .map_err(|cause| Error::new(format!("{what}: JSON Decoding error: {cause}")))
}

/// A container's networks: up to Podman 5 an object with the names as keys, since Podman 6 a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Networks {
    /// Each with its name.
    pub all: Vec<PerNetwork>,
    /// Whether they came as a list, so that Podman is of version 6 or later.
    pub is_list: bool,
}

/// How a container is on a network.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PerNetwork {
    /// The network's name.
    #[serde(default, skip_serializing)]
    pub name: String,
    /// The interface inside.
    pub interface_name: String,
    /// Its addresses.
    #[serde(default)]
    pub static_ips: Option<Vec<IpAddr>>,
    /// Its MAC.
    #[serde(default)]
    pub static_mac: Option<String>,
    /// Further names.
    #[serde(default)]
    pub aliases: Option<Vec<String>>,
    /// Options for this container.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
}

/// A network's definition.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Network {
    /// When it was created (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Whether its containers find each other by name.
    #[serde(default)]
    pub dns_enabled: bool,
    /// The driver: `bridge`, `macvlan`, `ipvlan` or a plugin's name.
    #[serde(default)]
    pub driver: String,
    /// Its identity, 64 hexadecimal digits.
    #[serde(default)]
    pub id: String,
    /// Whether it leads nowhere else.
    #[serde(default)]
    pub internal: bool,
    /// Whether it has an IPv6 subnet.
    #[serde(default)]
    pub ipv6_enabled: bool,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The bridge, or the device that others sit on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_interface: Option<String>,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<BTreeMap<String, String>>,
    /// Options of who gives out addresses; `driver` says who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Its subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnets: Option<Vec<Subnet>>,
    /// Routes for its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
    /// Name servers for its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_dns_servers: Option<Vec<IpAddr>>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// A subnet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subnet {
    /// The host's address in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The part that addresses are given out from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<LeaseRange>,
    /// The subnet.
    pub subnet: IpNet,
}

/// The first and the last address that are given out.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseRange {
    /// The last one.
    #[serde(default)]
    pub end_ip: Option<String>,
    /// The first one.
    #[serde(default)]
    pub start_ip: Option<String>,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where it leads.
    pub destination: IpNet,
    /// Its metric.
    #[serde(default)]
    pub metric: Option<u32>,
    /// `unicast` (the default), `blackhole`, `unreachable` or `prohibit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_type: Option<String>,
}

/// Ports that are published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortMapping {
    /// The first one inside.
    pub container_port: u16,
    /// The host's address: none for all, unspecified for all of a family.
    #[serde(default)]
    pub host_ip: String,
    /// The first one on the host.
    pub host_port: u16,
    /// `tcp`, `udp`, `sctp`, or several with commas.
    #[serde(default)]
    pub protocol: String,
    /// How many; 0 means 1.
    #[serde(default)]
    pub range: u16,
}

/// `create`: a network's definition that is to be completed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct CreateRequest {
    /// What is known of it.
    pub network: Network,
    /// What is taken.
    pub used: Used,
    /// How to choose what is missing.
    pub options: CreateOptions,
}

/// What other networks have.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
pub struct Used {
    /// Bridges.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// Identities by name.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// Subnets.
    #[serde(default)]
    pub subnets: Vec<IpNet>,
}

/// How `create` chooses.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
pub struct CreateOptions {
    /// Where subnets are taken from.
    #[serde(default)]
    pub subnet_pools: Vec<SubnetPool>,
    /// What the names of bridges begin with.
    #[serde(default)]
    pub default_interface_name: Option<String>,
    /// Whether subnets that the host has routes to are left alone.
    #[serde(default)]
    pub check_used_subnets: bool,
}

/// Subnets of one size.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct SubnetPool {
    /// What they are parts of.
    pub base: IpNet,
    /// The length of their prefix.
    pub size: u8,
}

/// What a third party's driver gets on its standard input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PluginRequest<'a> {
    /// The container's identity.
    pub container_id: &'a str,
    /// Its name.
    pub container_name: &'a str,
    /// Ports to publish.
    pub port_mappings: Option<&'a [PortMapping]>,
    /// The network.
    pub network: &'a Network,
    /// How the container is on it.
    pub network_options: &'a PerNetwork,
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NetworksVisitor)
    }
}

struct NetworksVisitor;

impl<'de> Visitor<'de> for NetworksVisitor {
    type Value = Networks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("networks as an object or a list")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Networks, M::Error> {
        let mut all = Vec::new();
        while let Some((name, options)) = map.next_entry::<String, PerNetwork>()? {
            all.push(PerNetwork { name, ..options });
        }
        Ok(Networks { all, is_list: false })
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Networks, S::Error> {
        let mut all = Vec::new();
        while let Some(options) = list.next_element::<PerNetwork>()? {
            all.push(options);
        }
        Ok(Networks { all, is_list: true })
    }
}
