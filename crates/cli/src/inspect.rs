//! Networks and sandboxes in the shapes that Docker's clients read.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use linkspan_engine::{NetworkView, SandboxView};
use linkspan_model::{Endpoint, Family, Lease, Limit, Network, Published, Shaping};
use serde::Serialize;

/// `docker network inspect`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkJson {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: String,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    containers: BTreeMap<String, Container>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uplink: Option<Uplink>,
}

/// The network card that a network's bridge is plugged into.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Uplink {
    device: String,
    /// The card's, and so the bridge's; empty before the network is made in the kernel.
    mac_address: String,
    /// Whether it stays only if somebody confirms it.
    unconfirmed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: String,
    options: BTreeMap<String, String>,
    config: Vec<IpamConfig>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IpamConfig {
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    ip_range: Option<String>,
    gateway: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    auxiliary_addresses: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

/// A network in Docker's shape.
pub fn network(view: &NetworkView) -> NetworkJson {
    let Network { name, id, created, driver, ipv6, internal, .. } = &view.network;
    let config = view.network.pools.iter().map(|pool| IpamConfig {
        subnet: pool.subnet.to_string(),
        ip_range: pool.range.map(|range| range.to_string()),
        gateway: if pool.gateway.is_unspecified() { String::new() } else { pool.gateway.to_string() },
        auxiliary_addresses: pool
            .aux
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    });
    let own_mac = has_own_mac(&view.network);
    let container = |(endpoint, sandbox): &(Endpoint, linkspan_model::Sandbox)| {
        let address = |family| {
            endpoint.lease(family).map(|lease| lease.interface_address().to_string()).unwrap_or_default()
        };
        let container = Container {
            name: sandbox.name.to_string(),
            endpoint_id: endpoint.id.to_string(),
            mac_address: if own_mac { endpoint.mac.to_string() } else { String::new() },
            ipv4_address: address(Family::V4),
            ipv6_address: address(Family::V6),
        };
        (sandbox.id.to_string(), container)
    };
    NetworkJson {
        name: name.to_string(),
        id: id.to_string(),
        created: time(*created),
        scope: "local",
        driver: driver.to_string(),
        enable_ipv4: view.network.has_ipv4(),
        enable_ipv6: *ipv6,
        ipam: Ipam {
            driver: view.network.ipam_driver.clone(),
            options: view.network.ipam_options.clone(),
            config: config.collect(),
        },
        internal: *internal,
        containers: view.endpoints.iter().map(container).collect(),
        options: view.network.options.clone(),
        labels: view.network.labels.clone(),
        uplink: uplink(&view.network),
    }
}

fn uplink(network: &Network) -> Option<Uplink> {
    let card = network.card.as_ref();
    Some(Uplink {
        device: network.uplink_card()?.to_string(),
        mac_address: card.map(|card| card.mac.to_string()).unwrap_or_default(),
        unconfirmed: card.is_some_and(|card| card.undone_at.is_some()),
    })
}

/// Whether sandboxes have MACs of their own there; if not, they have their parent's.
fn has_own_mac(network: &Network) -> bool {
    network.parent.as_ref().is_none_or(|parent| parent.kind.has_own_mac())
}

/// A sandbox, its networks as in Docker's NetworkSettings.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SandboxJson {
    name: String,
    id: String,
    created: String,
    hostname: String,
    sandbox_key: String,
    labels: BTreeMap<String, String>,
    network_settings: NetworkSettings,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    ports: BTreeMap<String, Vec<PortBinding>>,
    networks: BTreeMap<String, EndpointJson>,
}

/// Where a published port is reached.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    host_ip: String,
    host_port: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EndpointJson {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    gateway: String,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    mac_address: String,
    aliases: Vec<String>,
    gw_priority: i32,
    #[serde(flatten)]
    limits: Limits,
    host_if_name: String,
    host_if_index: Option<u32>,
    if_name: String,
    if_index: Option<u32>,
    /// The device of the host that it sits on, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

/// How fast an endpoint may be, as `network connect` takes it; what has no limit is left out.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress_rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress_burst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress_rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress_burst: Option<String>,
}

impl Limits {
    fn of(shaping: Shaping) -> Self {
        let parts = |limit: Option<Limit>| {
            (limit.map(|limit| limit.rate.to_string()), limit.map(|limit| limit.burst.to_string()))
        };
        let (ingress_rate, ingress_burst) = parts(shaping.ingress);
        let (egress_rate, egress_burst) = parts(shaping.egress);
        Self { ingress_rate, ingress_burst, egress_rate, egress_burst }
    }
}

/// A sandbox in the shape of Docker's NetworkSettings.
pub fn sandbox(view: &SandboxView) -> SandboxJson {
    let sandbox = &view.sandbox;
    let networks = view.attached.iter().enumerate().map(|(index, (endpoint, network))| {
        let facts = view.links.get(index).copied().flatten();
        (network.name.to_string(), endpoint_json(endpoint, network, facts))
    });
    SandboxJson {
        name: sandbox.name.to_string(),
        id: sandbox.id.to_string(),
        created: time(sandbox.created),
        hostname: sandbox.hostname.clone(),
        sandbox_key: if sandbox.is_machine() { String::new() } else { sandbox.pin().display().to_string() },
        labels: sandbox.labels.clone(),
        network_settings: NetworkSettings { ports: ports(view), networks: networks.collect() },
    }
}

fn endpoint_json(
    endpoint: &Endpoint,
    network: &Network,
    facts: Option<linkspan_plan::LinkFacts>,
) -> EndpointJson {
    let (v4, v6) = (endpoint.lease(Family::V4), endpoint.lease(Family::V6));
    let parent = network.parent.as_ref().map(|parent| parent.device.to_string());
    let address = |lease: Option<&Lease>| lease.map(|lease| lease.address.to_string()).unwrap_or_default();
    let prefix = |lease: Option<&Lease>| lease.map(|lease| lease.subnet.prefix_len()).unwrap_or_default();
    let gateway = |lease: Option<&Lease>| {
        let gateway = lease.and_then(|lease| lease.gateway).filter(|gateway| !gateway.is_unspecified());
        gateway.map(|ip| ip.to_string()).unwrap_or_default()
    };
    EndpointJson {
        network_id: endpoint.network.to_string(),
        endpoint_id: endpoint.id.to_string(),
        gateway: gateway(v4),
        ip_address: address(v4),
        ip_prefix_len: prefix(v4),
        ipv6_gateway: gateway(v6),
        global_ipv6_address: address(v6),
        global_ipv6_prefix_len: prefix(v6),
        mac_address: if has_own_mac(network) { endpoint.mac.to_string() } else { String::new() },
        aliases: endpoint.aliases.iter().map(ToString::to_string).collect(),
        gw_priority: endpoint.gw_priority,
        limits: Limits::of(endpoint.shaping),
        host_if_name: if parent.is_some() { String::new() } else { endpoint.host_ifname().to_string() },
        host_if_index: facts.and_then(|facts| facts.host_index),
        if_name: if endpoint.is_tap() { String::new() } else { endpoint.ifname.to_string() },
        if_index: facts.and_then(|facts| facts.sandbox_index),
        parent,
    }
}

impl std::fmt::Display for PortBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let v6 = self.host_ip.contains(':');
        if v6 {
            write!(f, "[{}]:{}", self.host_ip, self.host_port)
        } else {
            write!(f, "{}:{}", self.host_ip, self.host_port)
        }
    }
}

/// Each published sandbox port with where it is reached.
pub fn ports(view: &SandboxView) -> BTreeMap<String, Vec<PortBinding>> {
    let mut ports: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for published in published(view) {
        for (host, target) in published.pairs() {
            let binding = PortBinding { host_ip: published.host_ip.to_string(), host_port: host.to_string() };
            ports.entry(format!("{target}/{}", published.protocol)).or_default().push(binding);
        }
    }
    ports
}

/// Everything that a sandbox publishes.
pub fn published(view: &SandboxView) -> impl Iterator<Item = &Published> {
    view.attached.iter().flat_map(|(endpoint, _)| &endpoint.published)
}

/// Seconds since 1970 as RFC 3339.
pub fn time(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
