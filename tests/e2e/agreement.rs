//! What the system's own tools say is what Linkspan says.

use serde_json::{Value, json as value};

use crate::support::*;

/// A network lab on the bridge br7, and a sandbox web on it.
fn lab_with_web() {
    linkspan("network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br7 lab");
    linkspan("sandbox create --net lab web");
}

/// The endpoint of a sandbox on a network, as `sandbox inspect` has it.
fn endpoint(sandbox: &str, network: &str) -> Value {
    json(&format!("sandbox inspect {sandbox}"))[0]["NetworkSettings"]["Networks"][network].clone()
}

/// What `ip -j` prints for one device.
fn ip(command: &str) -> Value {
    let printed: Value = serde_json::from_str(&sh(command)).unwrap();
    printed[0].clone()
}

#[test]
fn ip_netns_sees_a_sandbox() {
    run(here!(), || {
        lab_with_web();
        assert!(sh("ip netns list").lines().any(|line| line.starts_with("web")));
        let web = endpoint("web", "lab");
        let eth0 = ip("ip netns exec web ip -j -d address show dev eth0");
        assert_eq!(eth0["ifname"], web["IfName"]);
        assert_eq!(eth0["ifindex"], web["IfIndex"]);
        assert_eq!(eth0["address"], web["MacAddress"]);
        assert_eq!(eth0["addr_info"][0]["local"], web["IPAddress"]);
        assert_eq!(eth0["addr_info"][0]["prefixlen"], web["IPPrefixLen"]);
        assert_eq!(eth0["addr_info"].as_array().unwrap().len(), 1);
        assert_eq!(eth0["operstate"], "UP");
        let route = ip("ip netns exec web ip -j route show default");
        assert_eq!(route["gateway"], web["Gateway"]);
        assert_eq!(ip("ip netns exec web ip -j link show dev lo")["operstate"], "UNKNOWN");
        assert!(inside("web", "ping -c1 -W1 127.0.0.1").contains("1 received"));
    });
}

#[test]
fn ethtool_sees_both_ends_of_a_cable() {
    run(here!(), || {
        if !has("ethtool") {
            return;
        }
        lab_with_web();
        let web = endpoint("web", "lab");
        let host = web["HostIfName"].as_str().unwrap();
        let peer = |text: String| {
            let line = text.lines().find(|line| line.contains("peer_ifindex")).unwrap().to_owned();
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(Some(peer(sh(&format!("ethtool -S {host}")))), web["IfIndex"].as_u64());
        assert_eq!(Some(peer(inside("web", "ethtool -S eth0"))), web["HostIfIndex"].as_u64());
        assert!(host.starts_with("veth") && host.len() == 15, "{host}");
        assert!(host.ends_with(&web["EndpointID"].as_str().unwrap()[..11]), "{host}");
        let link = ip(&format!("ip -j link show dev {host}"));
        assert_eq!((&link["ifindex"], &link["master"]), (&web["HostIfIndex"], &value!("br7")));
    });
}

#[test]
fn brctl_and_bridge_see_the_port_and_the_mac_behind_it() {
    run(here!(), || {
        lab_with_web();
        let web = endpoint("web", "lab");
        let (host, mac) = (web["HostIfName"].as_str().unwrap(), web["MacAddress"].as_str().unwrap());
        assert_eq!(mac, "02:42:0a:07:00:02");
        inside("web", "ping -c 1 -W 1 10.7.0.1");
        let fdb = sh("bridge fdb show br br7");
        assert!(fdb.contains(&format!("{mac} dev {host}")), "{fdb}");
        assert!(sh("ip neighbour show dev br7").contains(&format!("10.7.0.2 lladdr {mac}")));
        assert!(sh("bridge link").contains(&format!("{host}@")));
        if has("brctl") {
            let shown = sh("brctl show br7");
            let fields: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
            assert_eq!(fields, ["br7", "8000.02420a070001", "no", host]);
        }
    });
}

#[test]
fn the_mac_of_a_bridge_never_changes() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br7 lab");
        let mac = || ip("ip -j address show dev br7")["address"].clone();
        assert_eq!(mac(), "02:42:0a:07:00:01");
        // A MAC lower than the bridge's own would become the bridge's, were it not set.
        linkspan("sandbox create --net lab,mac=02:00:00:00:00:01 a");
        linkspan("sandbox create --net lab b");
        assert_eq!(mac(), "02:42:0a:07:00:01");
        linkspan("sandbox rm a b");
        assert_eq!(mac(), "02:42:0a:07:00:01");
        assert_eq!(ip("ip -j address show dev br7")["addr_info"][0]["local"], "10.7.0.1");
    });
}

#[test]
fn the_mtu_of_a_network_is_that_of_its_devices() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 -o com.docker.network.driver.mtu=1400 lab");
        linkspan("sandbox create --net lab web");
        let host = endpoint("web", "lab")["HostIfName"].as_str().unwrap().to_owned();
        assert_eq!(ip("ip netns exec web ip -j link show dev eth0")["mtu"], 1400);
        assert_eq!(ip(&format!("ip -j link show dev {host}"))["mtu"], 1400);
    });
}

#[test]
fn nft_lists_a_published_port_as_an_element() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        let rules = || sh("nft -a list table inet linkspan").lines().filter(|l| l.contains("handle")).count();
        let before = rules();
        linkspan("sandbox create --net lab -p 8080:80 -p 8000-8009:8000-8009 web");
        assert!(sh("nft list map inet linkspan publish4_any").contains("tcp . 8080 : 10.7.0.2 . 80"));
        assert!(sh("nft list map inet linkspan range4_tcp").contains("8000-8009 : 10.7.0.2"));
        assert_eq!(rules(), before);
        // What nft lists it also reads.
        sh("nft list ruleset | nft -c -f -");
    });
}

#[test]
fn the_command_of_the_seeds_works_as_it_stands() {
    run(here!(), || {
        let world = World::new();
        linkspan(
            "network create --opt=com.docker.network.bridge.enable_icc=true \
             --opt=com.docker.network.bridge.enable_ip_masquerade=false \
             --opt=com.docker.network.bridge.host_binding_ipv4=0.0.0.0 \
             --opt=com.docker.network.bridge.name=br0 --opt=com.docker.network.driver.mtu=1500 \
             --subnet=192.168.0.0/24 --gateway=192.168.0.1 \
             --aux-address=DefaultGatewayIPv4=192.168.0.2 mynet",
        );
        assert_eq!(
            linkspan("run --net=mynet -- ip -br address show dev eth0").split_whitespace().nth(2),
            Some("192.168.0.3/24")
        );
        assert!(linkspan("run --net=mynet -- ip route").starts_with("default via 192.168.0.2 dev eth0"));
        assert_eq!(ip("ip -j address show dev br0")["addr_info"][0]["local"], "192.168.0.1");
        // The default gateway is a machine on the bridge.
        sh("ip netns add router && ip link add uplink type veth peer name eth0 netns router");
        sh("ip link set uplink master br0 up && ip -n router link set eth0 up");
        sh(
            "ip -n router address add 192.168.0.2/24 dev eth0 && ip -n router address add 203.0.113.1/32 dev lo",
        );
        sh("ip -n router link set lo up && ip route add 203.0.113.1 via 192.168.0.2");
        let web = world.sandbox("web", "--net=mynet -p 8080:80");
        web.pings("203.0.113.1");
        world.outside.reaches("192.0.2.1:8080");
        inspect_is_in_dockers_shape();
    });
}

fn inspect_is_in_dockers_shape() {
    let network = json("network inspect mynet")[0].clone();
    let keys: Vec<_> = network.as_object().unwrap().keys().cloned().collect();
    let mut expected = vec!["Name", "Id", "Created", "Scope", "Driver", "EnableIPv6", "IPAM", "Internal"];
    expected.extend(["Containers", "Options", "Labels"]);
    assert!(expected.iter().all(|key| keys.iter().any(|found| found == key)), "{keys:?}");
    assert_eq!(network["Name"], "mynet");
    assert_eq!(network["Driver"], "bridge");
    assert_eq!(network["Scope"], "local");
    assert_eq!(network["Id"].as_str().unwrap().len(), 64);
    assert!(network["Created"].as_str().unwrap().contains('T'));
    let config = value!([{
        "Subnet": "192.168.0.0/24",
        "Gateway": "192.168.0.1",
        "AuxiliaryAddresses": { "DefaultGatewayIPv4": "192.168.0.2" },
    }]);
    assert_eq!(network["IPAM"]["Config"], config);
    assert_eq!(network["IPAM"]["Driver"], "default");
    assert_eq!((&network["Internal"], &network["EnableIPv6"]), (&value!(false), &value!(false)));
    assert_eq!(network["Options"]["com.docker.network.bridge.name"], "br0");
    assert_eq!(network["Options"].as_object().unwrap().len(), 5);
    let containers = network["Containers"].as_object().unwrap();
    let (id, web) = containers.iter().next().unwrap();
    assert_eq!((id.len(), containers.len()), (64, 1));
    assert_eq!(json("sandbox inspect web")[0]["Id"], id.as_str());
    assert_eq!(web["Name"], "web");
    assert_eq!(web["EndpointID"], endpoint("web", "mynet")["EndpointID"]);
    assert_eq!(web["MacAddress"], endpoint("web", "mynet")["MacAddress"]);
    assert_eq!(web["IPv4Address"], format!("{}/24", endpoint("web", "mynet")["IPAddress"].as_str().unwrap()));
    assert_eq!(web["IPv6Address"], "");
}

#[test]
fn sandbox_inspect_is_in_the_shape_of_dockers_network_settings() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab,alias=db,gw-priority=5 -p 127.0.0.1:8080:80 -p 53/udp web");
        let web = json("sandbox inspect web")[0].clone();
        assert_eq!(web["Name"], "web");
        assert_eq!(web["SandboxKey"], "/run/netns/web");
        let ports = value!({
            "53/udp": [{ "HostIp": "0.0.0.0", "HostPort": "49153" }],
            "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }],
        });
        assert_eq!(web["NetworkSettings"]["Ports"], ports);
        let lab = &web["NetworkSettings"]["Networks"]["lab"];
        assert_eq!((&lab["IPAddress"], &lab["IPPrefixLen"]), (&value!("10.7.0.2"), &value!(24)));
        assert_eq!((&lab["Gateway"], &lab["Aliases"]), (&value!("10.7.0.1"), &value!(["db"])));
        assert_eq!((&lab["MacAddress"], &lab["GwPriority"]), (&value!("02:42:0a:07:00:02"), &value!(5)));
        assert_eq!(lab["NetworkID"], json("network inspect lab")[0]["Id"]);
        for key in ["EndpointID", "HostIfName", "HostIfIndex", "IfName", "IfIndex"] {
            assert!(!lab[key].is_null(), "no {key}");
        }
    });
}

#[test]
fn networks_and_sandboxes_are_found_by_the_beginning_of_their_identity() {
    run(here!(), || {
        let id = linkspan("network create --subnet 10.7.0.0/24 lab");
        assert_eq!(id.trim().len(), 64);
        assert_eq!(json(&format!("network inspect {}", &id[..12]))[0]["Name"], "lab");
        linkspan(&format!("sandbox create --net {} web", &id[..12]));
        assert!(linkspan("network ls").lines().any(|line| line.starts_with(&id[..12])));
    });
}

#[test]
fn a_sandbox_shows_its_labels() {
    run(here!(), || {
        linkspan("sandbox create --net none --label tier=web --label owner web");
        let labels = &json("sandbox inspect web")[0]["Labels"];
        assert_eq!((&labels["tier"], &labels["owner"]), (&"web".into(), &"".into()));
        let listed = linkspan("sandbox ls");
        assert!(listed.lines().any(|line| line.ends_with("owner=,tier=web")), "{listed}");
    });
}
