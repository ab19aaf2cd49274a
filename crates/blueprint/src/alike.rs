//! Whether what there is, is what was asked for; and what was asked for, in words.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_engine::{NetworkRequest, SandboxRequest, SandboxView};
use linkspan_model::{
    Driver, Endpoint, Family, Mac, Name, NamespaceSource, NetAttach, NetSpec, Network, PublishSpec,
};

use crate::change::Attachment;
use crate::found::Found;
use crate::lab::{LABEL, Member, brings_along};

/// How `network` differs from what is asked for. What the file leaves open differs in nothing.
pub fn network(request: &NetworkRequest, network: &Network) -> Vec<String> {
    let mut words = Vec::new();
    let mut differ = |what: &str, wanted: String, found: String| {
        if wanted != found {
            words.push(format!("{what} {} instead of {}", shown(&wanted), shown(&found)));
        }
    };
    differ("driver", request.driver.to_string(), network.driver.to_string());
    let pools = &network.pools;
    let ipam = &request.ipam;
    let chosen = |family: Family| !ipam.subnets.iter().any(|subnet| Family::of(subnet.addr()) == family);
    let given = pools.iter().filter(|pool| !chosen(pool.family()));
    differ("subnet", subnets(ipam.subnets.iter().copied()), subnets(given.map(|pool| pool.subnet)));
    let gateways: BTreeSet<IpAddr> = pools.iter().map(|pool| pool.gateway).collect();
    if !ipam.gateways.iter().all(|gateway| gateways.contains(gateway)) {
        differ("gateway", listed(&ipam.gateways), listed(&gateways));
    }
    // What comes along with an uplink or a parent, the file leaves open.
    let free = brings_along(request);
    if !(free && ipam.ranges.is_empty()) {
        let ranges = pools.iter().filter_map(|pool| pool.range);
        differ("ip-range", subnets(ipam.ranges.iter().copied()), subnets(ranges));
    }
    let aux =
        pools.iter().flat_map(|pool| &pool.aux).filter(|(name, _)| !free || ipam.aux.contains_key(*name));
    differ("aux-address", pairs(&ipam.aux), pairs(aux));
    differ("options", pairs(&request.options), pairs(&network.options));
    for (what, wanted, found) in [
        ("internal", request.internal, network.internal),
        ("ipv4", request.ipv4, network.has_ipv4()),
        ("ipv6", request.ipv6, network.ipv6),
    ] {
        if !free {
            differ(what, wanted.to_string(), found.to_string());
        }
    }
    differ("labels", pairs(&request.labels), pairs(&network.labels));
    words
}

/// What a new network is, in words.
pub fn described(request: &NetworkRequest) -> Vec<String> {
    let mut words = Vec::new();
    if request.driver != Driver::Bridge {
        words.push(format!("driver {}", request.driver));
    }
    words.extend(request.ipam.subnets.iter().map(|subnet| format!("subnet {subnet}")));
    words.extend(request.ipam.gateways.iter().map(|gateway| format!("gateway {gateway}")));
    words.extend(request.ipam.aux.iter().map(|(name, address)| format!("aux-address {name}={address}")));
    words.extend(request.options.iter().map(|(key, value)| format!("{key}={value}")));
    words.extend(request.internal.then(|| "internal".to_owned()));
    words.extend((!request.ipv4).then(|| "no ipv4".to_owned()));
    words.extend(request.ipv6.then(|| "ipv6".to_owned()));
    words
}

/// What a new sandbox is, in words.
pub fn member(member: &Member) -> Vec<String> {
    let request = &member.request;
    let net = |spec: &NetSpec| match spec {
        NetSpec::Host => "host".to_owned(),
        NetSpec::None => "none".to_owned(),
        NetSpec::Container(other) => format!("container:{other}"),
        NetSpec::Attach(attach) => Attachment(attach).to_string(),
    };
    let mut words: Vec<_> = request.nets.iter().map(|spec| format!("net {}", net(spec))).collect();
    words.extend(request.specs().iter().map(|spec| format!("publish {spec}")));
    words.extend(request.links.iter().map(|link| format!("link {}:{}", link.sandbox, link.alias)));
    words
}

/// Whether a sandbox's namespace is the one asked for.
pub fn namespace(request: &SandboxRequest, view: &SandboxView, found: &Found) -> bool {
    let is = &view.sandbox.namespace;
    match (request.nets.as_slice(), &request.namespace) {
        ([NetSpec::Host], _) => *is == NamespaceSource::Host,
        ([NetSpec::Container(other)], _) => *is == owner(other, found),
        (_, Some(path)) => *is == NamespaceSource::Path(path.clone()),
        (_, None) => *is == NamespaceSource::New,
    }
}

/// Whose namespace it is that `name` shares.
fn owner(name: &Name, found: &Found) -> NamespaceSource {
    match found.sandboxes.get(name).map(|view| &view.sandbox.namespace) {
        Some(shared @ (NamespaceSource::Sandbox(_) | NamespaceSource::Host)) => shared.clone(),
        _ => NamespaceSource::Sandbox(name.clone()),
    }
}

/// Whether an endpoint is attached as asked for.
pub fn attachment(attach: &NetAttach, endpoint: &Endpoint, on: &Network) -> bool {
    let has = |wanted: Option<IpAddr>, family| {
        wanted.is_none_or(|ip| endpoint.lease(family).is_some_and(|lease| lease.address == ip))
    };
    let usual = || endpoint.leases.first().map(|lease| Mac::for_ip(lease.address));
    has(attach.ip.map(IpAddr::V4), Family::V4)
        && has(attach.ip6.map(IpAddr::V6), Family::V6)
        && attach.mac.or_else(usual) == Some(endpoint.mac)
        && attach.aliases.iter().collect::<BTreeSet<_>>() == endpoint.aliases.iter().collect()
        && attach.ifname.as_ref().is_none_or(|name| *name == endpoint.ifname)
        && attach.gw_priority == endpoint.gw_priority
        && attach.wire == endpoint.wire
        && attach.shaping.settle(on.bridge.mtu).is_ok_and(|shaping| shaping == endpoint.shaping)
}

/// What a living sandbox has to change beside its networks, in words.
pub fn revision(request: &SandboxRequest, view: &SandboxView) -> Vec<String> {
    let sandbox = &view.sandbox;
    let mut words = publication(request, view);
    let hostname = request.hostname.clone().unwrap_or_else(|| sandbox.name.to_string());
    if hostname != sandbox.hostname {
        words.push(format!("hostname {hostname} instead of {}", sandbox.hostname));
    }
    let mut differ = |what: &str, differs: bool| words.extend(differs.then(|| format!("{what} changed")));
    differ("dns", request.dns != sandbox.dns);
    differ("add-host", request.add_hosts != sandbox.add_hosts);
    differ("link", request.links != sandbox.links);
    differ("labels", request.labels != sandbox.labels);
    words
}

/// Ports to publish, and ports not to publish any more.
fn publication(request: &SandboxRequest, view: &SandboxView) -> Vec<String> {
    let wanted = request.specs();
    let meets = |spec: &PublishSpec, endpoint: &Endpoint, network: &Network| {
        let default = network.bridge.host_binding.into();
        endpoint.published.iter().any(|published| spec.is_met_by(published, default))
    };
    let missing = wanted.iter().filter(|spec| !view.attached.iter().any(|(e, n)| meets(spec, e, n)));
    let mut words: Vec<_> = missing.map(|spec| format!("publish {spec}")).collect();
    for (endpoint, network) in &view.attached {
        let default = network.bridge.host_binding.into();
        let extra =
            endpoint.published.iter().filter(|p| !wanted.iter().any(|spec| spec.is_met_by(p, default)));
        words.extend(extra.map(|published| format!("no longer publish {published}")));
    }
    words
}

fn subnets(subnets: impl Iterator<Item = IpNet>) -> String {
    listed(&subnets.map(|subnet| subnet.trunc()).collect::<BTreeSet<_>>())
}

fn listed<'a, T: Display + 'a>(values: impl IntoIterator<Item = &'a T>) -> String {
    values.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Keys with their values, but the label that marks a lab.
fn pairs<'a, V: Display + 'a>(map: impl IntoIterator<Item = (&'a String, &'a V)>) -> String {
    let pairs = map.into_iter().filter(|(key, _)| *key != LABEL);
    pairs.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
