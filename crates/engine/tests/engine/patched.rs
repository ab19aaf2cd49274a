//! Networks patched into others.

use linkspan_engine::{Error, NetworkRequest};
use linkspan_model::IpamRequest;
use linkspan_plan::{PatchEnd, Step};

use crate::site::{Site, network, sandbox, told};

/// A network below `core`: without subnets it shares those of `core`.
pub fn below(name: &str, core: &str, subnets: &[&str]) -> NetworkRequest {
    let mut request = network(name, "10.0.0.0/8");
    request.ipam.subnets = subnets.iter().map(|subnet| subnet.parse().unwrap()).collect();
    request.options.insert("linkspan.uplink".to_owned(), format!("network:{core}"));
    request
}

/// With `core` (10.7.0.0/24) and `access` below it.
fn two_tiers() -> Site {
    let site = Site::new();
    site.engine().create_network(network("core", "10.7.0.0/24")).unwrap();
    site.engine().create_network(below("access", "core", &[])).unwrap();
    site
}

fn address(site: &Site, name: &str) -> String {
    site.engine().sandbox(name).unwrap().attached[0].0.leases[0].address.to_string()
}

#[test]
fn one_without_a_subnet_shares_addresses_and_gateway() {
    let site = two_tiers();
    let mut given = Vec::new();
    for (name, net) in [("a", "access"), ("b", "core"), ("c", "access"), ("d", "core")] {
        site.engine().create_sandbox(&sandbox(name, &[net])).unwrap();
        given.push(address(&site, name));
    }
    given.sort();
    assert_eq!(given, ["10.7.0.2", "10.7.0.3", "10.7.0.4", "10.7.0.5"]);
    let taken = site.engine().create_sandbox(&sandbox("e", &["access,ip=10.7.0.3"])).unwrap_err();
    assert!(told(&taken).contains("in use"), "{}", told(&taken));

    let state = site.machine.state();
    let core = site.engine().network("core").unwrap().network;
    let access = site.engine().network("access").unwrap().network;
    let bridge = &state.bridges[&access.bridge_name()];
    assert!(bridge.switch && bridge.addresses.is_empty() && bridge.mac != core.bridge_mac().unwrap());
    assert_eq!(state.patches.len(), 1);
    let patch = &state.patches[&access.id.uplink_ifname(0)];
    assert_eq!((&patch.bridge, &patch.to), (&access.bridge_name(), &PatchEnd::Bridge(core.bridge_name())));
    assert!(state.routes.iter().all(|route| route.via.to_string() == "10.7.0.1"));
    site.assert_in_order();
}

#[test]
fn an_address_given_back_below_is_the_last_to_come_again_above() {
    let site = Site::new();
    site.engine().create_network(network("core", "10.7.0.0/29")).unwrap();
    site.engine().create_network(below("access", "core", &["10.7.0.0/29"])).unwrap();
    site.engine().create_sandbox(&sandbox("a", &["access"])).unwrap();
    site.engine().remove_sandbox("a", false).unwrap();
    let next: Vec<_> = ["b", "c", "d", "e", "f"]
        .map(|name| {
            site.engine().create_sandbox(&sandbox(name, &["core"])).unwrap();
            address(&site, name)
        })
        .into();
    assert_eq!(next, ["10.7.0.3", "10.7.0.4", "10.7.0.5", "10.7.0.6", "10.7.0.2"]);
    let full = site.engine().create_sandbox(&sandbox("g", &["access"])).unwrap_err();
    assert!(told(&full).contains("is full"), "{}", told(&full));
}

#[test]
fn a_range_of_its_own_leaves_the_rest_to_the_others() {
    let site = Site::new();
    site.engine().create_network(network("core", "10.7.0.0/24")).unwrap();
    let mut request = below("access", "core", &["10.7.0.0/24"]);
    request.ipam.ranges = vec!["10.7.0.128/28".parse().unwrap()];
    site.engine().create_network(request).unwrap();
    site.engine().create_sandbox(&sandbox("a", &["core"])).unwrap();
    site.engine().create_sandbox(&sandbox("b", &["access"])).unwrap();
    assert_eq!((address(&site, "a").as_str(), address(&site, "b").as_str()), ("10.7.0.2", "10.7.0.128"));
}

#[test]
fn one_with_a_subnet_of_its_own_has_its_own_gateway() {
    let site = Site::new();
    site.engine().create_network(network("core", "10.7.0.0/24")).unwrap();
    site.engine().create_network(below("access", "core", &["10.8.0.0/24"])).unwrap();
    site.engine().create_sandbox(&sandbox("a", &["access"])).unwrap();
    assert_eq!(address(&site, "a"), "10.8.0.2");
    let access = site.engine().network("access").unwrap().network;
    let bridge = site.machine.state().bridges[&access.bridge_name()].clone();
    assert!(!bridge.switch && bridge.addresses.len() == 1);
    let clash = site.engine().create_network(below("other", "core", &["10.7.0.0/25"])).unwrap_err();
    assert!(told(&clash).contains("overlaps network 'core'"), "{}", told(&clash));
}

#[test]
fn what_would_make_no_sense_is_refused() {
    let site = two_tiers();
    let refuse = |request: NetworkRequest, part: &str| {
        let before = site.picture();
        let error = site.engine().create_network(request).unwrap_err();
        assert!(told(&error).contains(part), "{part} is not in: {}", told(&error));
        assert!(site.picture() == before, "something is left of {part}");
    };
    let with = |change: fn(&mut NetworkRequest)| {
        let mut request = below("other", "core", &[]);
        change(&mut request);
        request
    };
    let option = |key: &str, value: &str| {
        let mut request = below("other", "core", &[]);
        request.options.insert(key.to_owned(), value.to_owned());
        request
    };
    refuse(below("self", "self", &[]), "cannot be its own uplink");
    refuse(below("other", "cor", &[]), "there is no network 'cor'");
    refuse(below("other", "host", &[]), "not attached to");
    refuse(with(|request| request.internal = true), "--internal is not for");
    refuse(with(|request| request.ipv6 = true), "cannot have IPv6");
    let mut gateway = below("other", "core", &["10.7.0.0/24"]);
    gateway.ipam.gateways = vec!["10.7.0.9".parse().unwrap()];
    refuse(gateway, "another --gateway is not for");
    refuse(option("com.docker.network.bridge.enable_icc", "false"), "enable_icc=false is not for");
    refuse(option("com.docker.network.driver.mtu", "1400"), "cannot have MTU 1400 below");
    let both = IpamRequest {
        subnets: vec!["10.7.0.0/24".parse().unwrap(), "10.9.0.0/24".parse().unwrap()],
        ..IpamRequest::default()
    };
    refuse(NetworkRequest { ipam: both, ..below("other", "core", &[]) }, "overlaps network");
}

#[test]
fn what_is_below_goes_first() {
    let site = two_tiers();
    site.engine().create_network(below("lowest", "access", &[])).unwrap();
    let error = site.engine().remove_network("access").unwrap_err();
    assert!(matches!(&error, Error::Patched { .. }) && told(&error).contains("lowest"), "{}", told(&error));
    let core = site.engine().network("core").unwrap().network;
    assert_eq!(site.engine().network("lowest").unwrap().network.address_space(), core.id);
    let pruned = site.engine().prune_networks().unwrap();
    assert_eq!(pruned.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["lowest", "access", "core"]);
    let state = site.machine.state();
    assert!(state.bridges.is_empty() && state.patches.is_empty());
}

#[test]
fn a_patch_taken_away_comes_back_and_one_too_many_goes() {
    let site = two_tiers();
    let access = site.engine().network("access").unwrap().network;
    let (up, wanted) = site.machine.with(|fake| fake.state.patches.pop_first()).unwrap();
    let stray = linkspan_model::Id::from_bytes([7; 32]);
    let mut other = wanted.clone();
    other.peer = stray.downlink_ifname(3);
    site.machine.with(|fake| fake.state.patches.insert(stray.uplink_ifname(3), other));
    let steps = site.engine().repair(false).unwrap().steps;
    assert!(steps.contains(&Step::CreatePatch(up, wanted)), "{steps:?}");
    assert_eq!(site.machine.state().patches.keys().collect::<Vec<_>>(), [&access.id.uplink_ifname(0)]);
    site.assert_in_order();
}

#[test]
fn after_a_reboot_the_first_sandbox_below_brings_all_back() {
    let mut site = two_tiers();
    site.reboot();
    site.engine().create_sandbox(&sandbox("a", &["access"])).unwrap();
    let state = site.machine.state();
    assert_eq!((state.bridges.len(), state.patches.len()), (2, 1));
    site.assert_in_order();
}
