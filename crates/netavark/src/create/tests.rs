use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::*;

/// A host with a few devices.
#[derive(Default)]
struct Fake {
    devices: BTreeSet<&'static str>,
    prefixes: Vec<IpNet>,
    draws: u8,
    plugin: Option<fn(Network) -> Network>,
}

impl Facts for Fake {
    fn has_device(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.devices.contains(name))
    }

    fn prefixes(&mut self) -> Result<Vec<IpNet>, Error> {
        Ok(self.prefixes.clone())
    }

    fn chance(&mut self) -> Result<[u8; 7], Error> {
        self.draws += 1;
        Ok([self.draws; 7])
    }

    fn ask(&mut self, network: &Network) -> Result<Network, Error> {
        self.plugin.map(|make| make(network.clone())).ok_or_else(|| Error::new("no plugin"))
    }

    fn now(&self) -> String {
        "2026-01-01T00:00:00Z".to_owned()
    }
}

/// Lays `over` over `base`, object by object; null takes a key away.
fn lay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn request(changes: &Value) -> CreateRequest {
    let mut whole = json!({
        "network": {"name": "n1", "id": "a".repeat(64), "driver": "bridge"},
        "used": {"interfaces": [], "names": {}, "subnets": []},
        "options": {
            "subnet_pools": [{"base": "10.89.0.0/16", "size": 24}, {"base": "10.90.0.0/15", "size": 24}],
            "default_interface_name": "podman",
            "check_used_subnets": true
        }
    });
    lay(&mut whole, changes);
    serde_json::from_value(whole).unwrap()
}

fn made_on(host: &mut Fake, changes: &Value) -> Value {
    serde_json::to_value(create(request(changes), host).unwrap()).unwrap()
}

fn made(network: &Value) -> Value {
    made_on(&mut Fake::default(), &json!({"network": network}))
}

fn refused(changes: &Value) -> String {
    let mut host = Fake { devices: ["lan0"].into(), ..Fake::default() };
    create(request(changes), &mut host).unwrap_err().to_string()
}

#[test]
fn a_bridge_gets_a_name_a_subnet_and_a_gateway() {
    let expected = json!({
        "created": "2026-01-01T00:00:00Z",
        "dns_enabled": false,
        "driver": "bridge",
        "id": "a".repeat(64),
        "internal": false,
        "ipv6_enabled": false,
        "name": "n1",
        "network_interface": "podman1",
        "ipam_options": {"driver": "host-local"},
        "subnets": [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}]
    });
    assert_eq!(made(&json!({"driver": ""})), expected);
}

#[test]
fn what_is_taken_is_passed_over() {
    let mut host = Fake {
        devices: ["podman2"].into(),
        prefixes: vec!["10.89.2.0/23".parse().unwrap()],
        ..Fake::default()
    };
    let used = json!({"used": {
        "interfaces": ["podman1"],
        "names": {"podman3": "x"},
        "subnets": ["10.89.0.0/24", "10.89.1.128/25"]
    }});
    let network = made_on(&mut host, &used);
    assert_eq!(network["network_interface"], "podman4");
    assert_eq!(network["subnets"][0]["subnet"], "10.89.4.0/24");
    let full = json!({"used": {"subnets": ["10.89.0.0/16"]}});
    assert_eq!(made_on(&mut host, &full)["subnets"][0]["subnet"], "10.90.0.0/24");
    host.prefixes = vec!["10.0.0.0/8".parse().unwrap()];
    assert_eq!(made_on(&mut host, &full)["subnets"][0]["subnet"], "10.90.0.0/24");
    let unchecked = json!({"used": {"subnets": ["10.89.0.0/16"]}, "options": {"check_used_subnets": false}});
    assert_eq!(made_on(&mut host, &unchecked)["subnets"][0]["subnet"], "10.89.0.0/24");
    let none = json!({"used": {"subnets": ["10.0.0.0/8"]}});
    assert_eq!(refused(&none), "could not find free subnet from subnet pools");
}

#[test]
fn pools_may_be_of_any_size() {
    let subnet = |base: &str, size: u8, used: &[&str]| {
        let options = json!({"subnet_pools": [{"base": base, "size": size}]});
        let changes = json!({"network": {"internal": true}, "used": {"subnets": used}, "options": options});
        create(request(&changes), &mut Fake::default())
            .ok()
            .map(|network| network.subnets.unwrap()[0].subnet.to_string())
    };
    assert_eq!(subnet("0.0.0.0/0", 32, &["0.0.0.0/1"]).as_deref(), Some("128.0.0.0/32"));
    assert_eq!(subnet("255.255.255.0/24", 25, &["255.255.255.0/25"]).as_deref(), Some("255.255.255.128/25"));
    assert_eq!(subnet("255.255.255.0/24", 25, &["255.255.255.0/24"]), None);
    assert_eq!(subnet("10.1.2.3/16", 24, &[]).as_deref(), Some("10.1.0.0/24"));
    assert_eq!(subnet("10.0.0.0/16", 8, &[]), None);
    assert_eq!(subnet("10.0.0.0/16", 33, &[]), None);
    assert_eq!(subnet("fd00::/48", 64, &[]), None);
    assert_eq!(subnet("0.0.0.0/0", 0, &[]).as_deref(), Some("0.0.0.0/0"));
}

#[test]
fn with_ipv6_both_families_have_a_subnet() {
    let of = |subnets: Value| {
        let network = made(&json!({"ipv6_enabled": true, "subnets": subnets}));
        let subnets = network["subnets"].as_array().unwrap();
        subnets.iter().map(|one| one["subnet"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let drawn = "fd01:101:101:101::/64";
    assert_eq!(of(Value::Null), ["10.89.0.0/24", drawn]);
    assert_eq!(of(json!([{"subnet": "10.1.0.0/24"}])), ["10.1.0.0/24", drawn]);
    assert_eq!(of(json!([{"subnet": "fd00::/64"}])), ["fd00::/64", "10.89.0.0/24"]);
    let noticed = made(&json!({"subnets": [{"subnet": "fd00::/64"}]}));
    assert_eq!(noticed["ipv6_enabled"], true);
    assert_eq!(noticed["subnets"], json!([{"subnet": "fd00::/64", "gateway": "fd00::1"}]));
    let used = json!({"network": {"ipv6_enabled": true}, "used": {"subnets": [drawn]}});
    let network = made_on(&mut Fake::default(), &used);
    assert_eq!(network["subnets"][1]["subnet"], "fd02:202:202:202::/64");
}

#[test]
fn internal_networks_have_a_gateway_only_for_names() {
    let gateway =
        |dns: bool| made(&json!({"internal": true, "dns_enabled": dns}))["subnets"][0]["gateway"].clone();
    assert_eq!(gateway(false), Value::Null);
    assert_eq!(gateway(true), "10.89.0.1");
}

#[test]
fn dockers_options_become_podmans() {
    let options = json!({"com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.name": "br7"});
    let network = made(&json!({"options": options}));
    assert_eq!(network["options"], json!({"mtu": "1400"}));
    assert_eq!(network["network_interface"], "br7");
}

#[test]
fn bridges_may_be_shared_with_a_vlan_or_if_somebody_else_has_them() {
    let changes = |options: Value| {
        json!({
            "network": {
                "network_interface": "br0",
                "options": options,
                "subnets": [{"subnet": "10.1.0.0/24"}]
            },
            "used": {"interfaces": ["br0"], "subnets": ["10.1.0.0/24"]}
        })
    };
    for options in [json!({"vlan": "7"}), json!({"mode": "unmanaged"})] {
        assert_eq!(made_on(&mut Fake::default(), &changes(options))["network_interface"], "br0");
    }
    assert_eq!(refused(&changes(json!({"mode": "managed"}))), "bridge name br0 already in use");
    let dhcp = |options: Value| json!({"ipam_options": {"driver": "dhcp"}, "options": options});
    assert_eq!(made(&dhcp(json!({"mode": "unmanaged"}))).get("subnets"), None);
    assert_eq!(
        refused(&json!({"network": dhcp(json!({}))})),
        "cannot use dhcp ipam driver without using the option mode=unmanaged"
    );
}

#[test]
fn without_addresses_there_are_no_names() {
    let network = made(&json!({"dns_enabled": true, "ipam_options": {"driver": "none"}}));
    assert_eq!(network["dns_enabled"], false);
    assert_eq!(network.get("subnets"), None);
}

#[test]
fn devices_on_others_get_dhcp_or_the_subnets_given() {
    let device = |network: Value| {
        let mut host = Fake { devices: ["lan0"].into(), ..Fake::default() };
        let base = json!({"driver": "macvlan", "network_interface": "lan0", "dns_enabled": true});
        let mut whole = json!({"network": base});
        lay(&mut whole["network"], &network);
        made_on(&mut host, &whole)
    };
    let by_dhcp = device(json!({"options": {"mode": "bridge", "bclim": "-1"}}));
    assert_eq!(by_dhcp["ipam_options"]["driver"], "dhcp");
    assert_eq!((&by_dhcp["dns_enabled"], by_dhcp.get("subnets")), (&json!(false), None));
    let subnets = json!([{"subnet": "10.1.0.0/24"}]);
    let given = device(json!({"driver": "ipvlan", "subnets": subnets, "options": {"mode": "l3s"}}));
    assert_eq!(given["ipam_options"]["driver"], "host-local");
    assert_eq!(given["subnets"][0]["gateway"], "10.1.0.1");
    assert_eq!(device(json!({"ipam_options": {"driver": "none"}}))["ipam_options"]["driver"], "none");
}

#[test]
fn third_parties_may_not_change_what_a_network_is_known_by() {
    let ask = |make: fn(Network) -> Network| {
        let mut host = Fake { plugin: Some(make), ..Fake::default() };
        create(request(&json!({"network": {"driver": "own"}})), &mut host)
    };
    let made = ask(|network| Network { internal: true, ..network }).unwrap();
    assert!(made.internal && made.created.is_some());
    let message = |make| ask(make).unwrap_err().to_string();
    let renamed = message(|network| Network { name: "x".to_owned(), ..network });
    assert_eq!(renamed, "own plugin invalid result: changed network name");
    let other = message(|network| Network { id: "x".to_owned(), ..network });
    assert_eq!(other, "own plugin invalid result: changed network ID");
    let driver = message(|network| Network { driver: "x".to_owned(), ..network });
    assert_eq!(driver, "own plugin invalid result: changed network driver");
    assert_eq!(refused(&json!({"network": {"driver": "own"}})), "no plugin");
}

/// That each network is refused in these words.
fn all_refused<const N: usize>(cases: [(Value, &str); N]) {
    for (network, words) in cases {
        assert_eq!(refused(&json!({"network": network})), words);
    }
}

fn with_subnet(rest: &Value) -> Value {
    let mut subnet = json!({"subnet": "10.1.0.0/24"});
    lay(&mut subnet, rest);
    json!({"subnets": [subnet]})
}

#[test]
fn what_is_wrong_is_told_in_the_words_that_others_know() {
    all_refused([
        (json!({"name": ""}), "Network name must be supplied"),
        (
            json!({"name": "bad!"}),
            "Invalid characters in network name \"bad!\": must match [a-zA-Z0-9][a-zA-Z0-9_.-]*",
        ),
        (json!({"id": ""}), "Network id must be supplied"),
        (json!({"id": "xyz"}), "Network id must be a hexadecimal string \"xyz\""),
        (json!({"id": "abc"}), "Network id must be exactly 64 characters long, got 3: abc"),
        (
            json!({"network_interface": "a-name-too-long-"}),
            "Interface name is too long: interface names must be 15 characters or less: a-name-too-long-",
        ),
        (json!({"network_interface": "a b"}), "Interface name cannot contain ' '"),
        (json!({"network_interface": "-a"}), "bridge name -a is invalid"),
        (json!({"options": {"bclim": "1"}}), "unsupported bridge network option: bclim"),
        (json!({"options": {"mtu": "x"}}), "unable to parse \"mtu\": invalid digit found in string"),
        (json!({"options": {"vlan": "4095"}}), "vlan must be between 0 and 4094"),
        (json!({"ipam_options": {"driver": "x"}}), "Unsupported ipam driver: x"),
        (
            json!({"ipam_options": {"driver": "none"}, "subnets": [{"subnet": "10.1.0.0/24"}]}),
            "None ipam driver is set but subnets are given",
        ),
        (
            json!({"network_dns_servers": ["192.0.2.1"]}),
            "cannot set NetworkDNSServers if DNS is not enabled for the network",
        ),
    ]);
    assert_eq!(refused(&json!({"used": {"names": {"n1": "x"}}})), "network already exists n1");
    let unnamed = json!({"options": {"default_interface_name": null}});
    assert_eq!(refused(&unnamed), "default interface name is not set");
}

#[test]
fn a_subnet_that_cannot_be_is_named() {
    all_refused([
        (with_subnet(&json!({"gateway": "10.2.0.1"})), "gateway 10.2.0.1 not in subnet 10.1.0.0/24"),
        (
            with_subnet(&json!({"lease_range": {"start_ip": "10.2.0.1"}})),
            "lease range start_ip 10.2.0.1 not in subnet 10.1.0.0/24",
        ),
        (
            with_subnet(&json!({"lease_range": {"start_ip": "10.1.0.9", "end_ip": "10.1.0.8"}})),
            "lease range start_ip 10.1.0.9 must be less than or equal to end_ip 10.1.0.8",
        ),
        (
            with_subnet(&json!({"subnet": "10.1.0.0/31"})),
            "could not create gateway for subnet 10.1.0.0/31 because it has a 31 or greater subnet prefix",
        ),
        (
            with_subnet(&json!({"subnet": "fd00::/128"})),
            "could not create gateway for subnet fd00::/128 because it has a 128 or greater subnet prefix",
        ),
        (
            json!({"subnets": [{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/24"}]}),
            "duplicate subnet defined: 10.1.0.0/24",
        ),
        (
            json!({"subnets": [{"subnet": "10.1.0.0/16"}, {"subnet": "10.1.3.0/24"}]}),
            "overlapping subnets: 10.1.0.0/16 and 10.1.3.0/24",
        ),
    ]);
    let overlapping = json!({
        "network": {"subnets": [{"subnet": "10.1.3.248/30"}]},
        "used": {"subnets": ["10.1.0.0/16"]}
    });
    assert_eq!(
        refused(&overlapping),
        "subnet 10.1.3.248/30 is already used on the host or by another config"
    );
}

#[test]
fn a_route_that_cannot_be_is_named() {
    let routed = |to: &str, rest: Value| {
        let mut route = json!({"destination": to});
        lay(&mut route, &rest);
        json!({"routes": [route]})
    };
    all_refused([
        (routed("10.9.0.1/16", json!({"gateway": "10.89.0.2"})), "route destination invalid"),
        (routed("10.9.0.0/16", json!({})), "route 10.9.0.0/16 requires a gateway for type unicast"),
        (
            routed("10.9.0.0/16", json!({"gateway": "10.89.0.2", "route_type": "blackhole"})),
            "route 10.9.0.0/16 must not have a gateway for type blackhole",
        ),
        (routed("10.9.0.0/16", json!({"route_type": "x"})), "invalid route type \"x\""),
    ]);
}

#[test]
fn a_device_that_cannot_be_on_another_is_named() {
    let on_lan0 = |driver: &str, rest: Value| {
        let mut network = json!({"driver": driver, "network_interface": "lan0"});
        lay(&mut network, &rest);
        network
    };
    let by = |ipam: &str| json!({"ipam_options": {"driver": ipam}});
    let addressed = |mut rest: Value| {
        lay(&mut rest, &with_subnet(&json!({})));
        rest
    };
    all_refused([
        (json!({"driver": "macvlan", "network_interface": "lan1"}), "parent interface lan1 does not exist"),
        (on_lan0("ipvlan", json!({})), "ipam driver dhcp is not supported with ipvlan"),
        (on_lan0("ipvlan", by("dhcp")), "ipam driver dhcp is not supported with ipvlan"),
        (on_lan0("macvlan", addressed(by("dhcp"))), "ipam driver dhcp set but subnets are set"),
        (
            on_lan0("macvlan", by("host-local")),
            "macvlan driver needs at least one subnet specified when the host-local ipam driver is set",
        ),
        (on_lan0("macvlan", json!({"options": {"vlan": "1"}})), "unsupported vlan network option: vlan"),
        (on_lan0("macvlan", json!({"options": {"mode": "l2"}})), "invalid macvlan mode \"l2\""),
        (
            on_lan0("ipvlan", addressed(json!({"options": {"bclim": "1"}}))),
            "unsupported ipvlan network option bclim",
        ),
    ]);
}
