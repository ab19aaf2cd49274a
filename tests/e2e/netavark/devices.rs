//! macvlan and ipvlan: containers on the LAN.

use serde_json::{Value, json};

use super::calling::{Backend, Container};
use crate::support::*;

fn on_lan(name: &'static str, address: &str, network: &Value) -> Container {
    let mut whole = json!({
        "driver": "macvlan",
        "network_interface": "lan0",
        "subnets": [{"subnet": "192.0.2.0/24", "gateway": "192.0.2.9"}],
    });
    whole.as_object_mut().unwrap().extend(network.as_object().unwrap().clone());
    Container::new(name, &whole, &json!({"static_ips": [address]}))
}

fn shown(net: &Net) -> String {
    net.sh("ip -d link show eth0; ip address show eth0; ip route")
}

#[test]
fn containers_have_macs_of_their_own_on_the_lan() {
    run(here!(), || {
        let lan = Switched::new();
        let (a, b) = (Net::new("a"), Net::new("b"));
        let before = Snapshot::take();
        let first = on_lan("a", "192.0.2.50", &json!({}));
        let mut second = on_lan("b", "192.0.2.51", &json!({}));
        second.per["static_mac"] = json!("02:00:00:00:00:07");
        second.podman6 = false;
        let (of_a, of_b) = (first.setup(), second.setup());
        let ours = &of_a["interfaces"]["eth0"];
        assert_eq!(ours["subnets"], json!([{"ipnet": "192.0.2.50/24", "gateway": "192.0.2.9"}]), "{of_a:#}");
        assert!(shown(&a).contains(ours["mac_address"].as_str().unwrap()), "{of_a:#}");
        assert_eq!(of_b["interfaces"]["eth0"]["mac_address"], "02:00:00:00:00:07");
        assert!(shown(&a).contains("default via 192.0.2.9 dev eth0 proto static metric 99"), "{}", shown(&a));
        assert!(shown(&b).contains("metric 99"), "{}", shown(&b));
        assert_eq!(a.sh("cat /proc/sys/net/ipv6/conf/eth0/autoconf").trim(), "0");
        serve(&a, &[80]);
        lan.outside.reaches("192.0.2.50:80");
        b.reaches("192.0.2.50:80");
        assert!(first.refused().contains("already"));
        for _ in 0..2 {
            first.teardown();
            second.teardown();
        }
        assert!(!a.sh("ip -br link").contains("eth0"));
        before.is_unchanged();
    });
}

#[test]
fn the_firewall_goes_with_the_last_bridge_though_there_was_a_macvlan() {
    run(here!(), || {
        let _lan = Switched::new();
        let (_a, _b) = (Net::new("a"), Net::new("b"));
        let before = Snapshot::take();
        let on_device = on_lan("a", "192.0.2.50", &json!({}));
        on_device.setup();
        on_device.teardown();
        let place = json!({"name": "n2", "interface_name": "eth0", "static_ips": ["10.92.0.2"]});
        let network = json!({
            "name": "n2", "id": "b".repeat(64), "driver": "bridge", "network_interface": "podman2",
            "subnets": [{"subnet": "10.92.0.0/24", "gateway": "10.92.0.1"}],
        });
        let on_bridge = json!({
            "container_id": "id-of-b", "container_name": "b",
            "networks": [place], "network_info": {"n2": network},
        });
        Backend::new().args("setup /run/netns/b").with(&on_bridge).result();
        Backend::new().args("teardown /run/netns/b").with(&on_bridge).is_silent();
        before.is_unchanged();
    });
}

#[test]
fn a_networks_options_are_the_devices() {
    run(here!(), || {
        let _lan = Switched::new();
        let a = Net::new("a");
        for mode in ["bridge", "private", "vepa", "passthru", "source"] {
            let options = json!({"mode": mode, "mtu": "1400", "metric": "7", "bclim": "3"});
            let container = on_lan("a", "192.0.2.50", &json!({"options": options}));
            let status = container.setup();
            let shown = shown(&a);
            for part in [&format!("macvlan mode {mode}"), "mtu 1400", "metric 7"] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            assert!(shown.contains(status["interfaces"]["eth0"]["mac_address"].as_str().unwrap()), "{shown}");
            container.teardown();
        }
        for network in [json!({"internal": true}), json!({"options": {"no_default_route": "true"}})] {
            let container = on_lan("a", "192.0.2.50", &network);
            container.setup();
            assert!(!shown(&a).contains("default"));
            container.teardown();
        }
        let bare = json!({"driver": "macvlan", "ipam_options": {"driver": "none"}, "subnets": []});
        let bare = Container::new("a", &bare, &json!({}));
        bare.setup();
        assert_eq!(a.sh("ip -4 -o address show eth0; ip route"), "");
        bare.teardown();
    });
}

#[test]
fn routes_leave_by_the_interface_that_knows_the_way() {
    run(here!(), || {
        let _lan = Switched::new();
        let a = Net::new("a");
        a.sh(
            "ip link add other0 type bridge && ip addr add 10.91.0.10/24 dev other0 && ip link set other0 up",
        );
        let routes = json!([
            {"destination": "10.89.0.0/24", "gateway": "192.0.2.7"},
            {"destination": "10.90.0.0/24", "gateway": "192.0.2.8", "metric": 7},
            {"destination": "10.92.0.0/24", "gateway": "10.91.0.1"},
            {"destination": "fd02::/64", "gateway": "fd01::7"},
            {"destination": "10.93.0.0/24", "route_type": "blackhole"},
        ]);
        let subnets = json!([
            {"subnet": "192.0.2.0/24", "gateway": "192.0.2.9"},
            {"subnet": "fd01::/64", "gateway": "fd01::9"},
        ]);
        let mut container = on_lan("a", "192.0.2.50", &json!({"routes": routes, "subnets": subnets}));
        container.per["static_ips"] = json!(["192.0.2.50", "192.0.2.51", "fd01::50"]);
        let before = a.sh("ip route; ip -6 route");
        container.setup();
        let made = a.sh("ip route; ip -6 route; ip address");
        for part in [
            "10.89.0.0/24 via 192.0.2.7 dev eth0 proto static metric 100",
            "10.90.0.0/24 via 192.0.2.8 dev eth0 proto static metric 7",
            "10.92.0.0/24 via 10.91.0.1 dev other0",
            "fd02::/64 via fd01::7 dev eth0 proto static metric 100",
            "blackhole 10.93.0.0/24",
            "default via 192.0.2.9",
            "default via fd01::9",
            "192.0.2.51/24",
            "fd01::50/64",
        ] {
            assert!(made.contains(part), "{part}: {made}");
        }
        container.teardown();
        assert_eq!(a.sh("ip route; ip -6 route"), before);
    });
}

#[test]
fn what_is_refused_leaves_nothing() {
    run(here!(), || {
        let _lan = Switched::new();
        let a = Net::new("a");
        let before = Snapshot::take();
        let says = |network: Value, per: Value, why: &str| {
            let mut container = on_lan("a", "192.0.2.50", &network);
            container.per.as_object_mut().unwrap().extend(per.as_object().unwrap().clone());
            let said = container.refused();
            assert!(said.contains(why), "{why}: {said}");
        };
        says(json!({"options": {"mode": "x"}}), json!({}), "invalid macvlan mode \"x\"");
        let mtu = json!({"options": {"mtu": "x"}});
        says(mtu, json!({}), "unable to parse \"mtu\": invalid digit found in string");
        says(json!({"network_interface": "lan7"}), json!({}), "parent interface lan7 does not exist");
        says(json!({}), json!({"interface_name": ""}), "no container interface name given");
        says(json!({}), json!({"static_mac": "x"}), "unable to parse mac address x");
        for nobodys in ["00:00:00:00:00:00", "03:00:00:00:00:01"] {
            says(json!({}), json!({"static_mac": nobodys}), "Cannot assign requested address");
        }
        says(json!({}), json!({"static_ips": ["10.0.0.1"]}), "not all static IPs matched a subnet");
        let twice = json!({"subnets": [{"subnet": "192.0.2.0/24"}, {"subnet": "192.0.2.0/24"}]});
        says(twice, json!({}), "duplicate subnet");
        says(json!({"driver": "other"}), json!({}), "unknown network driver \"other\"");
        let dhcp = json!({"driver": "ipvlan", "ipam_options": {"driver": "dhcp"}});
        says(dhcp, json!({}), "ipam driver dhcp is not supported with ipvlan");
        a.sh("ip link add eth0 type bridge");
        says(json!({}), json!({}), "eth0");
        assert_eq!(a.sh("ip -br link").lines().count(), 2);
        before.is_unchanged();
    });
}

#[test]
fn a_device_of_the_host_may_have_the_interfaces_name() {
    run(here!(), || {
        let _lan = Switched::new();
        let a = Net::new("a");
        sh("ip link add eth0 type bridge");
        let container = on_lan("a", "192.0.2.50", &json!({}));
        container.setup();
        a.pings("192.0.2.9");
        container.teardown();
    });
}

#[test]
fn vm_containers_share_the_mac_of_the_device_below() {
    run(here!(), || {
        let lan = Switched::new();
        if !kernel_has("type ipvlan") {
            return skip("this kernel has no ipvlan");
        }
        let a = Net::new("a");
        serve(&a, &[80]);
        for mode in ["", "l2", "l3", "l3s"] {
            let network = json!({"driver": "ipvlan", "options": {"mode": mode, "mtu": "1400"}});
            let container = on_lan("a", "192.0.2.50", &network);
            let status = container.setup();
            let mac = sh("cat /sys/class/net/lan0/address");
            assert_eq!(status["interfaces"]["eth0"]["mac_address"], mac.trim());
            let shown = shown(&a);
            let mode = if mode.is_empty() { "l2" } else { mode };
            for part in [&format!("ipvlan  mode {mode}"), "mtu 1400", "default via 192.0.2.9"] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            if mode == "l2" {
                lan.outside.reaches("192.0.2.50:80");
            }
            container.teardown();
        }
        let wrong = on_lan("a", "192.0.2.50", &json!({"driver": "ipvlan", "options": {"mode": "x"}}));
        assert_eq!(wrong.refused(), "invalid ipvlan mode \"x\"");
    });
}
