//! Results in every version.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use linkspan_cni::{CniError, CniResult, Code, Dns, Interface, Ip, Json, Object, Route, Version};
use serde_json::{Value, json};

fn object(value: &Value) -> Object {
    match Json::parse(value.to_string().as_bytes()).unwrap() {
        Json::Object(object) => object,
        other => panic!("{other:?}"),
    }
}

fn read(value: &Value, version: Version) -> Result<CniResult, CniError> {
    CniResult::read(&object(value), version)
}

fn printed(result: &CniResult, version: Version) -> Value {
    serde_json::from_str(&result.print(version).unwrap()).unwrap()
}

/// One with everything in it.
fn full() -> CniResult {
    let route =
        |dst: &str, gw: Option<&str>| Route::new(dst.parse().unwrap(), gw.map(|gw| gw.parse().unwrap()));
    let ip = |address: &str, gateway: &str, interface| Ip {
        address: address.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
        interface: Some(interface),
    };
    CniResult {
        interfaces: vec![
            Interface { name: "cni0".into(), mac: Some("00:11:22:33:44:55".into()), ..Interface::default() },
            Interface {
                name: "eth0".into(),
                mac: Some("00:11:22:33:44:66".into()),
                mtu: Some(1400),
                sandbox: Some("/run/netns/c1".into()),
                socket_path: Some("/run/s".into()),
                pci_id: Some("0000:00:01.0".into()),
            },
        ],
        ips: vec![
            ip("10.1.0.5/16", "10.1.0.1", 1),
            ip("2001:db8::5/64", "2001:db8::1", 1),
            ip("10.2.0.5/16", "10.2.0.1", 0),
        ],
        routes: vec![
            route("0.0.0.0/0", Some("10.1.0.1")),
            Route {
                mtu: Some(1300),
                advmss: Some(1200),
                priority: Some(9),
                table: Some(100),
                scope: Some(0),
                ..route("10.9.0.0/16", None)
            },
            route("::/0", Some("2001:db8::1")),
        ],
        dns: Dns {
            nameservers: vec!["10.1.0.1".into()],
            domain: Some("example".into()),
            search: vec!["a.example".into()],
            options: vec!["ndots:2".into()],
        },
    }
}

fn dns() -> Value {
    json!({"nameservers": ["10.1.0.1"], "domain": "example", "search": ["a.example"], "options": ["ndots:2"]})
}

fn routes() -> Value {
    json!([
        {"dst": "0.0.0.0/0", "gw": "10.1.0.1"},
        {"dst": "10.9.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 9, "table": 100, "scope": 0},
        {"dst": "::/0", "gw": "2001:db8::1"},
    ])
}

#[test]
fn the_newest_version_says_everything() {
    let text = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "cni0", "mac": "00:11:22:33:44:55"},
            {"name": "eth0", "mac": "00:11:22:33:44:66", "mtu": 1400, "sandbox": "/run/netns/c1",
             "socketPath": "/run/s", "pciID": "0000:00:01.0"},
        ],
        "ips": [
            {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1},
            {"address": "2001:db8::5/64", "gateway": "2001:db8::1", "interface": 1},
            {"address": "10.2.0.5/16", "gateway": "10.2.0.1", "interface": 0},
        ],
        "routes": routes(),
        "dns": dns(),
    });
    assert_eq!(printed(&full(), Version::V110), text);
    assert_eq!(read(&text, Version::V010).unwrap(), full());
}

#[test]
fn version_1_0_knows_less_of_interfaces() {
    let text = printed(&full(), Version::V100);
    assert_eq!(text["cniVersion"], "1.0.0");
    let eth0 = json!({"name": "eth0", "mac": "00:11:22:33:44:66", "sandbox": "/run/netns/c1"});
    assert_eq!(text["interfaces"][1], eth0);
    assert_eq!(text["ips"][0].get("version"), None);
}

#[test]
fn versions_0_3_and_0_4_name_the_family() {
    for version in [Version::V030, Version::V031, Version::V040] {
        let text = printed(&full(), version);
        assert_eq!(text["cniVersion"], version.as_str());
        let families: Vec<&Value> = text["ips"].as_array().unwrap().iter().map(|ip| &ip["version"]).collect();
        assert_eq!(families, ["4", "6", "4"]);
        let mut back = full();
        (back.interfaces[1].mtu, back.interfaces[1].socket_path, back.interfaces[1].pci_id) =
            (None, None, None);
        assert_eq!(read(&text, version).unwrap(), back);
    }
}

#[test]
fn up_to_0_2_there_is_one_address_of_each_family_with_its_routes() {
    for version in [Version::V010, Version::V020] {
        let text = printed(&full(), version);
        let expected = json!({
            "cniVersion": version.as_str(),
            "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1",
                    "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "10.9.0.0/16"}]},
            "ip6": {"ip": "2001:db8::5/64", "gateway": "2001:db8::1",
                    "routes": [{"dst": "::/0", "gw": "2001:db8::1"}]},
            "dns": dns(),
        });
        assert_eq!(text, expected);
        assert_eq!(printed(&read(&text, version).unwrap(), version), expected);
    }
}

#[test]
fn up_to_0_2_a_result_has_an_address() {
    let error = CniResult::default().print(Version::V020).unwrap_err();
    assert_eq!(error.code, Code::OTHER);
    assert!(CniResult::default().print(Version::V030).is_ok());
}

#[test]
fn routes_of_a_family_without_an_address_are_left_out_up_to_0_2() {
    let mut result = full();
    result.ips.remove(1);
    let text = printed(&result, Version::V020);
    assert_eq!(text.get("ip6"), None);
}

#[test]
fn what_says_nothing_is_left_out() {
    for version in &Version::ALL[2..] {
        assert_eq!(printed(&CniResult::default(), *version), json!({"cniVersion": version.as_str()}));
    }
}

#[test]
fn zero_and_empty_mean_nothing_where_they_do_in_go() {
    let text = json!({
        "interfaces": [{"name": "a", "mac": "", "mtu": 0, "sandbox": ""}],
        "ips": [{"address": "10.0.0.2/24", "gateway": ""}],
        "routes": [{"dst": "0.0.0.0/0", "gw": null, "mtu": 0, "table": 0}],
        "dns": {},
    });
    let result = read(&text, Version::V110).unwrap();
    assert_eq!(result.interfaces, [Interface { name: "a".into(), ..Interface::default() }]);
    assert_eq!((result.ips[0].gateway, result.ips[0].interface), (None, None));
    assert_eq!((result.routes[0].mtu, result.routes[0].table), (None, Some(0)));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let wrong = |text: Value| read(&text, Version::V110).unwrap_err();
    let error = wrong(json!({"ips": [{"address": "10.0.0.1/24"}, {"address": "10.0.0.2"}]}));
    assert_eq!(error.code, Code::DECODING);
    assert!(error.msg.contains("'ips[1].address'"), "{error}");
    assert!(wrong(json!({"ips": [{}]})).msg.contains("'ips[0].address'"));
    assert!(wrong(json!({"ips": [{"address": 7}]})).msg.contains("'ips[0].address'"));
    assert!(wrong(json!({"ips": [{"address": "::1/128", "gateway": "x"}]})).msg.contains("gateway"));
    assert!(wrong(json!({"routes": [{"dst": "default"}]})).msg.contains("'routes[0].dst'"));
    assert!(wrong(json!({"cniVersion": "3.0.0"})).msg.contains("3.0.0"));
    assert!(wrong(json!({"interfaces": {}})).msg.contains("interfaces"));
}

#[test]
fn the_interface_of_an_address_is_found_if_there_is_one() {
    let result = full();
    assert_eq!(result.interface_of(&result.ips[0]).unwrap().name, "eth0");
    for nowhere in [None, Some(-1), Some(7)] {
        let ip = Ip { interface: nowhere, ..result.ips[0].clone() };
        assert_eq!(result.interface_of(&ip), None);
    }
}
