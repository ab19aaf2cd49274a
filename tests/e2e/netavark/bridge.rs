//! Bridge networks: what a container gets, which ports lead to it, and what is left when it goes.

use serde_json::{Value, json};

use super::calling::{Backend, Container, Said};
use crate::support::*;

fn network(number: u8) -> Value {
    json!({
        "name": format!("n{number}"), "id": format!("{number:064x}"), "driver": "bridge",
        "network_interface": format!("podman{number}"),
        "subnets": [
            {"subnet": format!("10.9{number}.0.0/24"), "gateway": format!("10.9{number}.0.1")},
            {"subnet": format!("fd9{number}::/64"), "gateway": format!("fd9{number}::1")},
        ],
    })
}

/// A container on the networks of these numbers, with eth0 on the first, eth1 on the next.
fn on(name: &str, networks: &[u8], host: u8, ports: &Value) -> Value {
    let place = |(index, number): (usize, &u8)| {
        json!({
            "name": format!("n{number}"), "interface_name": format!("eth{index}"),
            "static_ips": [format!("10.9{number}.0.{host}"), format!("fd9{number}::{host}")],
        })
    };
    let info: serde_json::Map<_, _> =
        networks.iter().map(|number| (format!("n{number}"), network(*number))).collect();
    json!({
        "container_id": format!("id-of-{name}"), "container_name": name,
        "networks": networks.iter().enumerate().map(place).collect::<Vec<_>>(),
        "network_info": info, "port_mappings": ports,
    })
}

fn port(host_ip: &str, host: u16, container: u16, range: u16) -> Value {
    json!({"host_ip": host_ip, "host_port": host, "container_port": container, "range": range, "protocol": "tcp"})
}

fn call(command: &str, name: &str, input: &Value) -> Said {
    Backend::new().args(&format!("{command} /run/netns/{name}")).with(input)
}

#[test]
fn containers_have_what_podman_says_and_leave_nothing() {
    run(here!(), || {
        let world = World::new();
        let (a, b) = (Net::new("a"), Net::new("b"));
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        let before = Snapshot::take();
        let (first, second) = (on("a", &[1], 2, &Value::Null), on("b", &[1], 3, &Value::Null));
        let told = call("setup", "a", &first).result();
        call("setup", "b", &second).result();
        assert_eq!(
            told["n1"]["interfaces"]["eth0"]["subnets"],
            json!([{"ipnet": "10.91.0.2/24", "gateway": "10.91.0.1"}, {"ipnet": "fd91::2/64", "gateway": "fd91::1"}])
        );
        let mac = told["n1"]["interfaces"]["eth0"]["mac_address"].as_str().unwrap();
        assert!(a.sh("ip link show eth0").contains(mac));
        for route in [
            "default via 10.91.0.1 dev eth0 proto static metric 100",
            "default via fd91::1 dev eth0 proto static metric 100",
        ] {
            assert!(a.sh("ip route; ip -6 route").contains(route), "{}", a.sh("ip route; ip -6 route"));
        }
        assert_eq!(a.sh("cat /proc/sys/net/ipv4/conf/eth0/rp_filter").trim(), "2");
        assert_eq!(sh("cat /proc/sys/net/ipv4/conf/podman1/rp_filter").trim(), "2");
        serve(&a, &[80]);
        b.reaches("10.91.0.2:80");
        world.host.reaches("10.91.0.2:80");
        world.outside.serve_tcp("0.0.0.0:80");
        a.reaches("192.0.2.9:80");
        assert_eq!(
            call("setup", "a", &on("c", &[1], 4, &Value::Null)).error(),
            "create veth pair: interface eth0 already exists on container namespace: Netlink error: File exists (os \
             error 17)"
        );
        call("teardown", "a", &first).is_silent();
        assert!(sh("ip -br link").contains("podman1"));
        for _ in 0..2 {
            call("teardown", "b", &second).is_silent();
        }
        before.is_unchanged();
    });
}

#[test]
fn ports_lead_to_a_container_as_long_as_it_is_on_a_network() {
    run(here!(), || {
        let world = World::new();
        let a = Net::new("a");
        let ports = json!([port("", 8080, 80, 1), port("", 9000, 7000, 3), port("127.0.0.1", 8181, 80, 1)]);
        call("setup", "a", &on("a", &[1, 2], 2, &ports)).result();
        serve(&a, &[80, 7000, 7002]);
        let reached = || {
            for at in ["192.0.2.1:8080", "192.0.2.1:9000", "192.0.2.1:9002"] {
                world.outside.reaches(at);
                world.host.reaches(at);
            }
            world.host.reaches("127.0.0.1:8181");
            world.outside.gets_nothing_from(&["192.0.2.1:8181"]);
        };
        reached();
        // As `podman network disconnect` does: the second one takes the ports over.
        let mut first = on("a", &[1, 2], 2, &ports);
        first["networks"].as_array_mut().unwrap().truncate(1);
        call("teardown", "a", &first).is_silent();
        reached();
        call("setup", "a", &first).result();
        reached();
        call("teardown", "a", &on("a", &[1, 2], 2, &ports)).is_silent();
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
        assert!(!sh("nft list ruleset").contains("linkspan"), "{}", sh("nft list ruleset"));
    });
}

#[test]
fn a_namespace_that_is_gone_leaves_nothing_on_the_host() {
    run(here!(), || {
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        let before = Snapshot::take();
        let input = on("a", &[1], 2, &Value::Null);
        sh("ip netns add a");
        call("setup", "a", &input).result();
        sh("ip netns del a");
        let said = call("teardown", "a", &input);
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.err.contains("container netns not found"), "{said:?}");
        before.is_unchanged();
    });
}

#[test]
fn a_network_that_cannot_be_is_told_before_anything_is_made() {
    run(here!(), || {
        let _a = Net::new("a");
        let before = Snapshot::take();
        let mut two = on("a", &[1, 2], 2, &Value::Null);
        two["network_info"]["n2"]["ipam_options"] = json!({"driver": "someDriver"});
        assert_eq!(call("setup", "a", &two).error(), "unsupported ipam driver someDriver");
        let unmanaged = json!({"driver": "bridge", "network_interface": "br9", "options": {"mode": "unmanaged"},
            "subnets": [{"subnet": "10.91.0.0/24"}]});
        let unmanaged = Container::new("a", &unmanaged, &json!({"static_ips": ["10.91.0.2"]}));
        assert!(
            unmanaged.refused().starts_with("in unmanaged mode, the bridge must already exist on the host")
        );
        before.is_unchanged();
        sh("ip link add br9 type veth peer name other9");
        let told = unmanaged.refused();
        assert!(told.contains("br9 exists and is no bridge but a veth"), "{told}");
    });
}

#[test]
fn an_unmanaged_bridge_gets_ports_and_nothing_else() {
    run(here!(), || {
        let a = Net::new("a");
        sh("ip link add br9 type bridge && ip addr add 10.91.0.1/24 dev br9 && ip link set br9 up");
        let unmanaged = json!({"driver": "bridge", "network_interface": "br9", "options": {"mode": "unmanaged"},
            "subnets": [{"subnet": "10.91.0.0/24", "gateway": "10.91.0.1"}],
            "routes": [{"destination": "10.99.0.0/16", "route_type": "blackhole"}]});
        let container = Container::new("a", &unmanaged, &json!({"static_ips": ["10.91.0.2"]}));
        container.setup();
        assert!(a.sh("ip route").contains("blackhole 10.99.0.0/16"));
        serve(&a, &[80]);
        Net::here().reaches("10.91.0.2:80");
        container.teardown();
        assert_eq!(a.sh("ip route").trim(), "");
        assert!(sh("ip -br link").contains("br9"));
    });
}

/// All but the last ones are in one namespace, each by an interface of its own: that is made faster, and says as much.
#[test]
fn containers_beyond_what_a_bridge_gets_are_on_one_below() {
    run(here!(), || {
        let world = World::new();
        let (a, b, _rest) = (Net::new("a"), Net::new("b"), Net::new("rest"));
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        let before = Snapshot::take();
        let filler = |number: u16| {
            let mut input = on(&format!("c{number}"), &[1], 2, &Value::Null);
            let address = format!("10.91.1.{number}");
            input["networks"][0]["interface_name"] = json!(format!("eth{number}"));
            input["networks"][0]["static_ips"] = json!([address]);
            large(input)
        };
        (0..250).for_each(|number| drop(call("setup", "rest", &filler(number)).result()));
        let last = [
            ("a", large(on("a", &[1], 2, &json!([port("", 8080, 80, 1)])))),
            ("b", large(on("b", &[1], 3, &json!([port("", 8081, 80, 1)])))),
        ];
        last.iter().for_each(|(name, input)| drop(call("setup", name, input).result()));
        assert_eq!(sh("bridge link | grep -c 'master podman1 '").trim(), "251");
        assert_eq!(sh("bridge link | grep -c 'master lsb'").trim(), "3");
        serve(&a, &[80]);
        serve(&b, &[80]);
        world.outside.serve_tcp("0.0.0.0:80");
        for bridged in ["0", "1"] {
            if !bridge_netfilter(bridged) {
                continue;
            }
            for at in ["10.91.0.2:80", "10.91.0.3:80", "192.0.2.1:8080", "192.0.2.1:8081"] {
                [&a, &b, &world.host].iter().for_each(|net| net.reaches(at));
            }
            world.outside.reaches("192.0.2.1:8081");
            a.reaches("192.0.2.9:80");
        }
        last.iter().for_each(|(name, input)| call("teardown", name, input).is_silent());
        assert!(!sh("ip -br link").contains("lsb"));
        (0..250).for_each(|number| call("teardown", "rest", &filler(number)).is_silent());
        before.is_unchanged();
    });
}

/// With room for as many containers.
fn large(mut input: Value) -> Value {
    input["network_info"]["n1"]["subnets"] = json!([{"subnet": "10.91.0.0/16", "gateway": "10.91.0.1"}]);
    if let Some(addresses) = input["networks"][0]["static_ips"].as_array_mut() {
        addresses.truncate(1);
    }
    input
}
