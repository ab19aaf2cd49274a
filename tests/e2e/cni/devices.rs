//! Plugins that give a container one device: macvlan, ipvlan, vlan, dummy, tap, host-device.

use linkspan_lab::{Attachment, Runtime};
use serde_json::{Value, json};

use super::calling::{LINKS, install};
use crate::support::*;

const DIRECTORY: &str = "/run/cni/networks/lan";

/// A runtime whose network `lan` has the plugins `list`.
fn runtime(version: &str, list: &Value) -> Runtime {
    install();
    let list = json!({ "cniVersion": version, "name": "lan", "plugins": list });
    Runtime::new([LINKS, "/run/cni/others"], list)
        .env("LINKSPAN_STATE_DIR", STATE)
        .env("LINKSPAN_RUN_DIR", RUN)
}

/// host-local on the LAN, from 192.0.2.100 on.
fn ipam() -> Value {
    json!({
        "type": "host-local",
        "ranges": [[{ "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.100", "gateway": "192.0.2.9" }]],
        "routes": [{ "dst": "198.51.100.0/24" }],
        "dataDir": "/run/cni/networks",
    })
}

fn macvlan(more: Value) -> Value {
    let mut plugin = json!({ "type": "macvlan", "ipam": ipam(), "capabilities": { "mac": true } });
    plugin.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([plugin])
}

/// The MAC of `eth0` there.
fn mac_of(net: &Net) -> String {
    net.sh("ip -o link show eth0 | sed 's/.*ether //; s/ .*//'").trim().to_owned()
}

/// How many addresses are put aside.
fn held() -> usize {
    sh(&format!("ls {DIRECTORY} | grep -c '^192' || true")).trim().parse().unwrap()
}

fn devices(net: &Net) -> usize {
    net.sh("ip -br link").lines().count()
}

#[test]
fn containers_have_macs_of_their_own_on_the_lan() {
    run(here!(), || {
        let lan = Switched::new();
        lan.outside.sh("ip address add 198.51.100.9/32 dev lo");
        let runtime = runtime("1.1.0", &macvlan(json!({ "mode": "bridge" })));
        runtime.status().unwrap();
        let (a, b) = (Net::new("a"), Net::new("b"));
        let mac = "02:00:00:00:00:07";
        let (of_a, of_b) = (Attachment::of("a"), Attachment::of("b").with("mac", json!(mac)));
        let (first, second) = (runtime.add(&of_a).unwrap(), runtime.add(&of_b).unwrap());
        assert_eq!(first["ips"][0]["address"], "192.0.2.100/24", "{first:#}");
        assert_eq!(first["ips"][0]["interface"], 0, "{first:#}");
        assert_eq!(first["interfaces"][0]["sandbox"], "/run/netns/a", "{first:#}");
        assert_eq!(first["interfaces"][0]["mac"], mac_of(&a));
        assert_eq!((second["interfaces"][0]["mac"].as_str(), mac_of(&b).as_str()), (Some(mac), mac));
        serve(&a, &[80]);
        lan.outside.reaches("192.0.2.100:80");
        b.reaches("192.0.2.100:80");
        a.pings("198.51.100.9");
        assert!(linkspan("sandbox ls").contains('a'));

        for attachment in [&of_a, &of_b] {
            runtime.check(attachment).unwrap();
        }
        a.sh("ip address delete 192.0.2.100/24 dev eth0");
        let missing = runtime.check(&of_a).unwrap_err().text;
        assert!(missing.contains("192.0.2.100/24"), "{missing}");
        b.sh("ip link set eth0 address 02:00:00:00:00:08");
        let changed = runtime.check(&of_b).unwrap_err().text;
        assert!(changed.contains(mac), "{changed}");

        let again = runtime.add(&of_a).unwrap_err().text;
        assert!(again.contains("already") || again.contains("duplicate"), "{again}");
        assert_eq!((held(), devices(&a)), (2, 2));
        for _ in 0..2 {
            runtime.del(&of_a).unwrap();
        }
        assert_eq!((held(), devices(&a)), (1, 1));
        runtime.gc(&[]).unwrap();
        assert_eq!((held(), devices(&b)), (0, 1));
        assert!(!linkspan("sandbox ls").contains("/run/netns"));
    });
}

#[test]
fn every_version_hears_of_a_device_in_its_own_words() {
    run(here!(), || {
        let _lan = Switched::new();
        let a = Net::new("a");
        for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let runtime = runtime(version, &macvlan(json!({})));
            let result = runtime.add(&Attachment::of("a")).unwrap();
            assert_eq!(result["cniVersion"], version);
            let address = if version < "0.3.0" { &result["ip4"]["ip"] } else { &result["ips"][0]["address"] };
            assert!(address.as_str().is_some_and(|text| text.starts_with("192.0.2.")), "{result:#}");
            // The namespace may be gone, or nobody says where it was.
            let nowhere = Attachment { netns: String::new(), ..Attachment::of("a") };
            runtime.del(&nowhere).unwrap();
            assert_eq!((held(), devices(&a)), (0, 1), "{version}");
        }
    });
}

#[test]
fn what_fails_leaves_neither_device_nor_address() {
    run(here!(), || {
        let lan = Switched::new();
        let a = Net::new("a");
        let refused = |more: Value, why: &str| {
            let error = runtime("1.1.0", &macvlan(more)).add(&Attachment::of("a")).unwrap_err().text;
            assert!(error.contains(why), "{error}");
            assert_eq!((held(), devices(&a)), (0, 1), "{error}");
        };
        sh(&format!("mkdir -p {DIRECTORY}"));
        refused(json!({ "master": "lan7" }), "lan7");
        refused(json!({ "mtu": 9000 }), "invalid MTU 9000");
        refused(json!({ "mode": "x" }), "unknown macvlan mode");
        let far = json!({ "type": "static", "addresses": [{ "address": "192.0.2.50/24" }],
            "routes": [{ "dst": "10.0.0.0/8", "gw": "203.0.113.1" }] });
        refused(json!({ "ipam": far }), "route");
        let status = runtime("1.1.0", &macvlan(json!({ "master": "lan7" }))).status().unwrap_err();
        assert_eq!(status.code, 50, "{status}");
        a.sh("ip link add eth0 type veth peer name other");
        let error = runtime("1.1.0", &macvlan(json!({}))).add(&Attachment::of("a")).unwrap_err().text;
        assert!(error.contains("has an interface eth0 already"), "{error}");
        assert_eq!((held(), devices(&a)), (0, 3));
        lan.outside.pings("192.0.2.1");
    });
}

/// An IPAM plugin of others that finds an address only by way of a device that is up, as DHCP does.
const ASKING: &str = r#"#!/bin/sh
[ "$CNI_COMMAND" = ADD ] || { echo "$CNI_COMMAND" >>/run/cni/others/asked; exit 0; }
nsenter --net="$CNI_NETNS" ip link show dev "$CNI_IFNAME" up | grep -q "$CNI_IFNAME" || {
    echo '{"code": 999, "msg": "there is no device to ask through"}'; exit 1; }
echo '{"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.77/24"}, {"address": "2001:db8::77/64"}]}'
"#;

#[test]
fn an_ipam_plugin_of_others_may_ask_through_the_device() {
    run(here!(), || {
        let lan = Switched::new().ipv6();
        sh("mkdir -p /run/cni/others");
        std::fs::write("/run/cni/others/asking", ASKING).unwrap();
        sh("chmod +x /run/cni/others/asking");
        let a = Net::new("a");
        let runtime = runtime("1.0.0", &macvlan(json!({ "ipam": { "type": "asking" } })));
        let result = runtime.add(&Attachment::of("a")).unwrap();
        assert_eq!(result["ips"][0]["interface"], 0, "{result:#}");
        a.pings("192.0.2.9");
        lan.outside.pings("2001:db8::77");
        assert!(linkspan("network inspect lan").contains("192.0.2.77"));
        runtime.check(&Attachment::of("a")).unwrap();
        runtime.del(&Attachment::of("a")).unwrap();
        assert_eq!(devices(&a), 1);
        // One address more than the device can have: it goes again, and the addresses are given back.
        let twice = ASKING.replace("2001:db8::77/64", "192.0.2.77/24");
        std::fs::write("/run/cni/others/asking", twice).unwrap();
        runtime.add(&Attachment::of("a")).unwrap_err();
        assert_eq!(devices(&a), 1);
        assert_eq!(sh("tail -n 1 /run/cni/others/asked").trim(), "DEL");
        std::fs::write(
            "/run/cni/others/asking",
            "#!/bin/sh\necho '{\"code\": 11, \"msg\": \"none left\"}'; exit 1\n",
        )
        .unwrap();
        assert_eq!(runtime.add(&Attachment::of("a")).unwrap_err().code, 11);
        assert_eq!(devices(&a), 1);
    });
}

#[test]
fn a_device_may_be_made_on_one_in_the_container() {
    run(here!(), || {
        let lan = Switched::new();
        let a = Net::new("a");
        lan.plug(&a, "net1", "p7");
        let list = macvlan(json!({ "master": "net1", "linkInContainer": true }));
        let runtime = runtime("1.1.0", &list);
        runtime.add(&Attachment::of("a")).unwrap();
        a.pings("192.0.2.9");
        runtime.del(&Attachment::of("a")).unwrap();
        assert_eq!(devices(&a), 2);
    });
}

#[test]
fn a_tap_waits_for_who_opens_it() {
    run(here!(), || {
        if !may_open_taps() {
            return;
        }
        let a = Net::new("a");
        let ipam = json!({ "type": "static", "addresses": [{ "address": "10.0.0.1/24" }] });
        let plain =
            json!([{ "type": "tap", "mac": "02:00:00:00:00:05", "mtu": 1400, "owner": 0, "ipam": ipam }]);
        let (runtime, eth0) = (runtime("1.1.0", &plain), Attachment::of("a"));
        let result = runtime.add(&eth0).unwrap();
        assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:05");
        let shown = a.sh("ip -d link show eth0");
        assert!(shown.contains("tun type tap") && shown.contains("mtu 1400"), "{shown}");
        let machine = a.enter(|| Net::machine("machine", "eth0", "02:00:00:00:00:06"));
        machine.sh("ip address add 10.0.0.2/24 dev eth0");
        machine.pings("10.0.0.1");
        runtime.check(&eth0).unwrap();
        a.sh("ip link set eth0 down");
        assert!(runtime.check(&eth0).unwrap_err().text.contains("down"));
        runtime.del(&eth0).unwrap();
        runtime.del(&eth0).unwrap();
        assert_eq!(devices(&a), 1);
    });
}

#[test]
fn a_tap_may_be_a_port_of_a_bridge_inside() {
    run(here!(), || {
        if !may_open_taps() {
            return;
        }
        let a = Net::new("a");
        a.sh("ip link add br1 type bridge && ip address add 10.0.0.1/24 dev br1 && ip link set br1 up");
        let runtime = runtime("1.0.0", &json!([{ "type": "tap", "bridge": "br1", "multiQueue": false }]));
        runtime.add(&Attachment::of("a")).unwrap();
        let machine = a.enter(|| Net::machine("machine", "eth0", "02:00:00:00:00:06"));
        machine.sh("ip address add 10.0.0.2/24 dev eth0");
        machine.pings("10.0.0.1");
        runtime.del(&Attachment::of("a")).unwrap();
        assert_eq!(devices(&a), 2);
        let refused = super::devices::runtime("1.0.0", &json!([{ "type": "tap", "selinuxContext": "x" }]));
        assert_eq!(refused.add(&Attachment::of("a")).unwrap_err().code, 2);
    });
}

#[test]
fn a_device_of_the_host_moves_in_and_back() {
    run(here!(), || {
        let lan = Switched::new();
        lan.plug(&lan.host, "card0", "p5");
        let mac = sh("cat /sys/class/net/card0/address").trim().to_owned();
        let a = Net::new("a");
        let eth0 = Attachment::of("a");
        for by in [json!({ "device": "card0" }), json!({ "hwaddr": mac.to_uppercase() })] {
            let mut plugin = json!({ "type": "host-device", "ipam": ipam() });
            plugin.as_object_mut().unwrap().extend(by.as_object().unwrap().clone());
            let runtime = runtime("1.1.0", &json!([plugin]));
            let result = runtime.add(&eth0).unwrap();
            let (interface, netns) = (&result["interfaces"][0], "/run/netns/a");
            assert_eq!(
                (&interface["name"], &interface["mac"], &interface["sandbox"]),
                (&json!("eth0"), &json!(mac), &json!(netns)),
                "{result:#}"
            );
            a.pings("192.0.2.9");
            assert!(a.sh("ip link show eth0").contains("alias card0"));
            runtime.check(&eth0).unwrap();
            runtime.del(&eth0).unwrap();
            runtime.del(&eth0).unwrap();
            assert_eq!((held(), devices(&a)), (0, 1));
            let shown = sh("ip link show card0");
            assert!(shown.contains(&mac) && !shown.contains("alias"), "{shown}");
        }
    });
}

#[test]
fn a_device_whose_name_was_taken_stays_until_there_is_room() {
    run(here!(), || {
        let lan = Switched::new();
        lan.plug(&lan.host, "card0", "p5");
        let a = Net::new("a");
        let runtime = runtime("1.0.0", &json!([{ "type": "host-device", "device": "card0" }]));
        let eth0 = Attachment::of("a");
        runtime.add(&eth0).unwrap();
        sh("ip link add card0 type veth peer name card1");
        let error = runtime.del(&eth0).unwrap_err().text;
        assert!(error.contains("there is a device card0 in the host already"), "{error}");
        assert!(a.sh("ip link show eth0").contains(",UP"));
        sh("ip link delete card0");
        runtime.del(&eth0).unwrap();
        assert!(sh("ip link show card0").contains("card0") && devices(&a) == 1);
    });
}

/// What few kernels have built in: each is one device with an address, in a container on the LAN.
fn vm(kind: &str, plugin: Value) {
    let lan = Switched::new();
    if !kernel_has(&format!("type {kind}")) {
        skip(&format!("this kernel has no {kind}"));
        return;
    }
    let a = Net::new("a");
    let (runtime, eth0) = (runtime("1.1.0", &json!([plugin])), Attachment::of("a"));
    let result = runtime.add(&eth0).unwrap();
    assert_eq!(result["interfaces"][0]["mac"], mac_of(&a), "{result:#}");
    assert!(a.sh("ip -d link show eth0").contains(kind.split(' ').next().unwrap()));
    match plugin["type"].as_str() {
        Some("dummy") => a.pings("192.0.2.100"),
        Some("vlan") => {
            lan.outside.sh("ip link add link lan0 name v7 type vlan id 7 && ip link set v7 up");
            lan.outside.sh("ip address add 192.0.2.77/32 dev v7 && ip route add 192.0.2.100/32 dev v7");
            a.pings("192.0.2.77");
        }
        _ => a.pings("192.0.2.9"),
    }
    runtime.check(&eth0).unwrap();
    a.sh("ip link delete eth0");
    assert!(runtime.check(&eth0).unwrap_err().text.contains("eth0"));
    runtime.del(&eth0).unwrap();
    runtime.add(&eth0).unwrap();
    runtime.del(&eth0).unwrap();
    assert_eq!((held(), devices(&a)), (0, 1));
}

#[test]
fn vm_a_container_may_share_the_mac_of_the_host() {
    run(here!(), || vm("ipvlan", json!({ "type": "ipvlan", "mode": "l2", "ipam": ipam() })));
}

#[test]
fn vm_a_container_may_be_in_a_vlan() {
    run(here!(), || {
        vm("vlan id 7", json!({ "type": "vlan", "master": "lan0", "vlanId": 7, "ipam": ipam() }))
    });
}

#[test]
fn vm_a_container_may_have_a_device_that_leads_nowhere() {
    run(here!(), || vm("dummy", json!({ "type": "dummy", "ipam": ipam() })));
}
