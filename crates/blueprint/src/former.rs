//! What there is, written as the requests that would make it again.

use linkspan_engine::{NetworkRequest, SandboxRequest, SandboxView};
use linkspan_model::{
    Endpoint, Family, IpamRequest, NamespaceSource, NetAttach, NetSpec, Network, Pool, PublishSpec,
    Published, Shaping, ShapingRequest, TargetPort,
};

/// A network.
pub fn network(network: &Network) -> NetworkRequest {
    let pools = &network.pools;
    let own = |pool: &&Pool| pool.subnet.contains(&pool.gateway);
    NetworkRequest {
        name: network.name.clone(),
        driver: network.driver,
        ipam: IpamRequest {
            subnets: pools.iter().map(|pool| pool.subnet).collect(),
            ranges: pools.iter().filter_map(|pool| pool.range).collect(),
            // One that is not of the subnet was found on the LAN, and is found again.
            gateways: pools.iter().filter(own).map(|pool| pool.gateway).collect(),
            // That of the network above is not to be said again.
            aux: pools.iter().filter(|_| !network.is_switch()).flat_map(|pool| pool.aux.clone()).collect(),
        },
        ipam_driver: network.ipam_driver.clone(),
        ipam_options: network.ipam_options.clone(),
        options: network.options.clone(),
        labels: network.labels.clone(),
        internal: network.internal,
        ipv4: network.has_ipv4(),
        ipv6: network.ipv6,
    }
}

/// A sandbox.
pub fn sandbox(view: &SandboxView) -> SandboxRequest {
    let sandbox = &view.sandbox;
    let attached =
        || view.attached.iter().map(|(endpoint, on)| NetSpec::Attach(attachment(endpoint, on))).collect();
    let (namespace, nets): (_, Vec<_>) = match &sandbox.namespace {
        NamespaceSource::Host => (None, vec![NetSpec::Host]),
        NamespaceSource::Sandbox(other) => (None, vec![NetSpec::Container(other.clone())]),
        NamespaceSource::Path(path) => (Some(path.clone()), attached()),
        NamespaceSource::New | NamespaceSource::Machine => (None, attached()),
    };
    SandboxRequest {
        nets: if nets.is_empty() { vec![NetSpec::None] } else { nets },
        publish: published(view).map(spec).collect(),
        links: sandbox.links.clone(),
        hostname: Some(sandbox.hostname.clone()),
        dns: sandbox.dns.clone(),
        add_hosts: sandbox.add_hosts.clone(),
        namespace,
        labels: sandbox.labels.clone(),
        ..SandboxRequest::new(sandbox.name.clone())
    }
}

/// Everything that a sandbox publishes.
pub fn published(view: &SandboxView) -> impl Iterator<Item = &Published> {
    view.attached.iter().flat_map(|(endpoint, _)| &endpoint.published)
}

fn spec(published: &Published) -> PublishSpec {
    PublishSpec {
        host_ip: Some(published.host_ip),
        host: Some(published.host),
        target: TargetPort { ports: published.target, protocol: published.protocol },
    }
}

/// An attachment to the network `on`, with the addresses that it has.
pub fn attachment(endpoint: &Endpoint, on: &Network) -> NetAttach {
    let address = |family| endpoint.lease(family).map(|lease| lease.address);
    NetAttach {
        ip: address(Family::V4).and_then(|ip| ip.to_string().parse().ok()),
        ip6: address(Family::V6).and_then(|ip| ip.to_string().parse().ok()),
        mac: Some(endpoint.mac),
        aliases: endpoint.aliases.clone(),
        ifname: Some(endpoint.ifname.clone()),
        gw_priority: endpoint.gw_priority,
        wire: endpoint.wire.clone(),
        shaping: limits(endpoint.shaping),
        ..NetAttach::to(on.name.to_string())
    }
}

fn limits(shaping: Shaping) -> ShapingRequest {
    ShapingRequest {
        ingress_rate: shaping.ingress.map(|limit| limit.rate),
        ingress_burst: shaping.ingress.map(|limit| limit.burst),
        egress_rate: shaping.egress.map(|limit| limit.rate),
        egress_burst: shaping.egress.map(|limit| limit.burst),
    }
}
