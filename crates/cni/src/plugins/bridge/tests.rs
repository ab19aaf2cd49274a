use serde_json::{Value, json};

use super::*;
use crate::plugins::pair::tests::{call, chosen, reserved, texts};
use crate::{Code, Interface};

fn config(more: Value) -> Config {
    Config::read(&call(more)).unwrap()
}

/// What `more` beside `ipam` makes of the addresses `ips`.
fn planned(more: Value, ips: &[&str]) -> Plan {
    let call = call(more);
    plan(&call, &Config::read(&call).unwrap(), &chosen(), reserved(ips)).unwrap()
}

fn refused(more: Value) -> CniError {
    Config::read(&call(more)).unwrap_err()
}

#[test]
fn without_keys_it_is_a_port_of_cni0() {
    let plan = planned(json!({ "ipam": { "type": "host-local" } }), &["10.1.2.3/24"]);
    assert_eq!(
        texts(&plan.part),
        [
            "bridge cni0",
            "veth pair veth01234567 with eth0 in the sandbox on cni0",
            "address 10.1.2.3/24 of eth0 in the sandbox",
        ]
    );
    assert_eq!(plan.footing.mac.unwrap().to_string(), "02:42:0a:01:02:03");
    assert_eq!(plan.footing.leases.len(), 1);
    assert_eq!(plan.guests.bridges.iter().map(IfName::as_str).collect::<Vec<_>>(), ["cni0"]);
    assert!(plan.guests.homes.is_empty() && plan.part.masquerade_from.is_empty());
    let [bridge, host, container] = &plan.result.interfaces[..] else { panic!("{:?}", plan.result) };
    assert_eq!((bridge.name.as_str(), host.name.as_str()), ("cni0", "veth01234567"));
    let sandbox = Some("/run/netns/c1".to_owned());
    let mac = Some("02:42:0a:01:02:03".to_owned());
    assert_eq!(*container, Interface { name: "eth0".to_owned(), mac, sandbox, ..Interface::default() });
    assert_eq!((plan.result.ips[0].interface, plan.result.ips[0].gateway), (Some(2), None));
}

#[test]
fn a_gateway_gets_addresses_and_default_routes() {
    let keys = json!({ "bridge": "br0", "isDefaultGateway": true, "forceAddress": true, "ipMasq": true });
    let plan = planned(keys, &["10.1.2.3/24", "fd00:7::5/64"]);
    assert_eq!(
        texts(&plan.part),
        [
            "bridge br0",
            "address 10.1.2.1/24 of bridge br0",
            "address fd00:7::1/64 of bridge br0",
            "sysctl net/ipv4/ip_forward = 1 in the host",
            "sysctl net/ipv6/conf/all/forwarding = 1 in the host",
            "veth pair veth01234567 with eth0 in the sandbox on br0",
            "sysctl net/ipv6/conf/eth0/keep_addr_on_down = 1 in the sandbox",
            "address 10.1.2.3/24 of eth0 in the sandbox",
            "address fd00:7::5/64 of eth0 in the sandbox",
            "route to 0.0.0.0/0 via 10.1.2.1 dev eth0 in the sandbox",
            "route to ::/0 via fd00:7::1 dev eth0 in the sandbox",
        ]
    );
    assert!(plan.part.fixtures.iter().all(|fixture| match fixture {
        Fixture::Gateway { replace, .. } => *replace,
        Fixture::Address { probed, .. } => !probed,
        _ => true,
    }));
    let routes: Vec<_> = plan.result.routes.iter().map(|route| (route.dst.to_string(), route.gw)).collect();
    let gateways = ["10.1.2.1", "fd00:7::1"].map(|gateway| Some(gateway.parse().unwrap()));
    assert_eq!(routes, [("0.0.0.0/0".to_owned(), gateways[0]), ("::/0".to_owned(), gateways[1])]);
    assert_eq!(plan.result.ips[1].gateway, gateways[1]);
    assert_eq!(
        plan.guests.homes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.1.2.0/24", "fd00:7::/64"]
    );
    assert_eq!(plan.part.masquerade_from.len(), 2);
}

#[test]
fn a_default_route_that_is_given_stays_the_only_one() {
    let call = call(json!({ "isDefaultGateway": true }));
    for gw in [None, Some("10.1.2.9".parse().unwrap())] {
        let mut leased = reserved(&["10.1.2.3/24"]);
        leased.routes.push(Route::new("0.0.0.0/0".parse().unwrap(), gw));
        let plan = plan(&call, &config(json!({ "isDefaultGateway": true })), &chosen(), leased).unwrap();
        assert_eq!(plan.result.routes.len(), 1);
        assert_eq!(plan.result.routes[0].gw, gw);
        let via = if gw.is_some() { "10.1.2.9" } else { "10.1.2.1" };
        let last = texts(&plan.part).pop().unwrap();
        assert_eq!(last, format!("route to 0.0.0.0/0 via {via} dev eth0 in the sandbox"));
    }
}

#[test]
fn without_addresses_it_is_a_wire() {
    let plan = planned(json!({ "isGateway": true, "ipMasq": true, "ipam": {} }), &[]);
    assert_eq!(texts(&plan.part), ["bridge cni0", "veth pair veth01234567 with eth0 in the sandbox on cni0"]);
    assert_eq!(plan.footing.mac, Some(chosen().mac));
    assert!(plan.result.ips.is_empty() && plan.part.masquerade_from.is_empty());
}

#[test]
fn keys_of_the_port_are_the_ports() {
    let keys = json!({
        "mtu": 1400,
        "hairpinMode": true,
        "portIsolation": true,
        "vlan": 100,
        "vlanTrunk": [{ "id": 7 }, { "minID": 3, "maxID": 5 }, { "id": 6 }, { "minID": 3, "maxID": 4, "id": 9 }],
        "preserveDefaultVlan": true,
        "disableContainerInterface": true,
        "macspoofchk": true,
        "MAC": "02:00:00:00:00:07",
        "runtimeConfig": { "mac": "02:00:00:00:00:09" },
    });
    let plan = planned(keys, &[]);
    let (Fixture::Bridge(bridge), Fixture::Veth(veth)) = (&plan.part.fixtures[0], &plan.part.fixtures[1])
    else {
        panic!("{:?}", plan.part);
    };
    assert!(bridge.vlan_filtering && !bridge.promisc && bridge.mtu == Some(1400));
    assert!(veth.down && veth.mtu == Some(1400));
    let port = veth.port.as_ref().unwrap();
    assert!(port.hairpin && port.isolated && port.keep_default_vlan);
    assert_eq!((port.vlan, &port.trunk[..]), (100, &[(3, 7), (9, 9)][..]));
    let mac = "02:00:00:00:00:09".parse().unwrap();
    assert_eq!(plan.part.spoof, Some(("veth01234567".parse().unwrap(), mac)));
    assert_eq!(plan.result.interfaces[2].mac.as_deref(), Some("02:00:00:00:00:09"));
}

#[test]
fn an_empty_trunk_still_tells_vlans_apart() {
    let filters = |keys: Value| match &planned(keys, &[]).part.fixtures[0] {
        Fixture::Bridge(bridge) => bridge.vlan_filtering,
        other => panic!("{other}"),
    };
    assert!(filters(json!({ "vlanTrunk": [] })));
    assert!(!filters(json!({ "vlanTrunk": null, "vlan": 0 })));
}

#[test]
fn the_gateway_of_a_vlan_is_the_hosts_place_in_it() {
    let plan = planned(json!({ "isGateway": true, "vlan": 100 }), &["10.1.2.3/24"]);
    assert_eq!(
        texts(&plan.part)[..3],
        [
            "bridge cni0",
            "device cni0.100 in VLAN 100 of bridge cni0",
            "address 10.1.2.1/24 of bridge cni0.100"
        ]
    );
    assert_eq!(plan.result.interfaces[3].name, "cni0.100");
    assert_eq!(plan.guests.bridges.len(), 2);
    let call = call(json!({ "bridge": "br-twelve-xyz", "vlan": 100, "isGateway": true }));
    let error =
        super::plan(&call, &Config::read(&call).unwrap(), &chosen(), reserved(&["10.1.2.3/24"])).unwrap_err();
    assert!(error.to_string().contains("br-twelve-xyz.100"), "{error}");
}

#[test]
fn who_asks_for_a_mac_has_it_announced() {
    let plan = planned(
        json!({ "args": { "cni": { "mac": "02:00:00:00:00:07" } }, "enabledad": true }),
        &["fd00::2/64"],
    );
    assert!(plan.part.fixtures.contains(&Fixture::Announce { device: "eth0".parse().unwrap() }));
    assert!(
        plan.part.fixtures.iter().any(|fixture| matches!(fixture, Fixture::Address { probed: true, .. }))
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let error = refused(json!({ "hairpinMode": true, "promiscMode": true }));
    assert_eq!(error.msg, "cannot set hairpin mode and promiscuous mode at the same time");
    let error = refused(json!({ "disableContainerInterface": true, "ipam": { "type": "host-local" } }));
    assert_eq!(error.msg, "cannot use IPAM when DisableContainerInterface flag is set");
    let error = refused(json!({ "vlan": 5000 }));
    assert_eq!(error.msg, "invalid VLAN ID 5000 (must be between 0 and 4094)");
    for (item, msg) in [
        (json!({ "minID": 1 }), "minID and maxID should be configured simultaneously, maxID is missing"),
        (json!({ "maxID": 1 }), "minID and maxID should be configured simultaneously, minID is missing"),
        (json!({ "minID": 0, "maxID": 1 }), "incorrect trunk minID parameter"),
        (json!({ "minID": 1, "maxID": 4095 }), "incorrect trunk maxID parameter"),
        (json!({ "minID": 9, "maxID": 8 }), "minID is greater than maxID in trunk parameter"),
        (json!({ "id": -1 }), "incorrect trunk id parameter"),
    ] {
        assert_eq!(refused(json!({ "vlanTrunk": [item] })).msg, msg);
    }
    assert_eq!(refused(json!({ "ipMasqBackend": "pf" })).code, Code::FIELD);
    assert!(refused(json!({ "bridge": "a/b" })).msg.contains("a/b"));
    assert!(refused(json!({ "runtimeConfig": { "mac": "x" } })).msg.contains("'x'"));
}

#[test]
fn dns_of_the_configuration_wins_even_if_it_is_empty() {
    let call = call(json!({ "dns": { "nameservers": [] } }));
    let mut leased = reserved(&["10.1.2.3/24"]);
    leased.dns.nameservers = vec!["192.0.2.53".to_owned()];
    let told = |dns: Value| {
        plan(&call, &config(json!({ "dns": dns })), &chosen(), leased.clone()).unwrap().result.dns.nameservers
    };
    assert!(told(json!({ "nameservers": [] })).is_empty());
    assert_eq!(told(json!({ "nameservers": ["192.0.2.1"] })), ["192.0.2.1"]);
    assert_eq!(told(json!({})), ["192.0.2.53"]);
}
