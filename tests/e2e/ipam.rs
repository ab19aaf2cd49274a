//! Which addresses sandboxes get.

use crate::support::*;

/// Makes a sandbox on a network; gives the address that its device has.
fn address_of(name: &str, net: &str) -> String {
    linkspan(&format!("sandbox create --net {net} {name}"));
    let shown = inside(name, "ip -4 -o address show dev eth0");
    shown.split_whitespace().nth(3).unwrap().to_owned()
}

#[test]
fn addresses_are_given_out_in_order_and_released_ones_last() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/29 lab");
        for (name, address) in [("a", "10.7.0.2/29"), ("b", "10.7.0.3/29"), ("c", "10.7.0.4/29")] {
            assert_eq!(address_of(name, "lab"), address);
        }
        linkspan("sandbox rm b");
        linkspan("sandbox rm a");
        assert_eq!(address_of("d", "lab"), "10.7.0.5/29");
        assert_eq!(address_of("e", "lab"), "10.7.0.6/29");
        // None is left that was never used: now the one that was given back first.
        assert_eq!(address_of("f", "lab"), "10.7.0.3/29");
        assert_eq!(address_of("g", "lab"), "10.7.0.2/29");
        let before = Snapshot::take();
        refused("sandbox create --net lab h").says(&["'lab' is full", "10.7.0.0/29"]).hints("--subnet");
        before.is_unchanged();
        linkspan("sandbox rm c");
        assert_eq!(address_of("h", "lab"), "10.7.0.4/29");
    });
}

#[test]
fn addresses_come_from_the_range_but_others_may_be_asked_for() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/16 --ip-range 10.7.5.0/30 --gateway 10.7.255.254 lab");
        assert_eq!(address_of("a", "lab"), "10.7.5.0/16");
        assert_eq!(address_of("b", "lab,ip=10.7.5.2"), "10.7.5.2/16");
        assert_eq!(address_of("c", "lab"), "10.7.5.1/16");
        assert_eq!(address_of("d", "lab"), "10.7.5.3/16");
        refused("sandbox create --net lab e").says(&["is full", "10.7.5.0/30"]);
        assert_eq!(address_of("e", "lab,ip=10.7.9.9"), "10.7.9.9/16");
        assert!(inside("e", "ip route show default").starts_with("default via 10.7.255.254 "));
        assert!(inside("e", "ping -c1 -W1 10.7.5.0").contains("1 received"));
        assert!(inside("a", "ping -c1 -W1 10.7.255.254").contains("1 received"));
    });
}

#[test]
fn reserved_addresses_are_nobodys() {
    run(here!(), || {
        linkspan(
            "network create --subnet 10.7.0.0/29 --aux-address nas=10.7.0.2 --aux-address tv=10.7.0.4 lab",
        );
        assert_eq!(address_of("a", "lab"), "10.7.0.3/29");
        assert_eq!(address_of("b", "lab"), "10.7.0.5/29");
        refused("sandbox create --net lab,ip=10.7.0.2 c").says(&["10.7.0.2", "reserved as nas"]);
        refused("sandbox create --net lab,ip=10.7.0.3 c").says(&["10.7.0.3"]).hints("sandbox 'a'");
        refused("sandbox create --net lab,ip=10.7.0.7 c").says(&["broadcast"]);
        refused("sandbox create --net lab,ip=10.7.0.8 c").says(&["outside", "10.7.0.0/29"]);
    });
}

#[test]
fn an_address_and_a_mac_are_as_they_were_asked_for() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        assert_eq!(address_of("a", "lab,ip=10.7.0.99,mac=02:00:00:00:00:99"), "10.7.0.99/24");
        assert!(inside("a", "cat /sys/class/net/eth0/address").starts_with("02:00:00:00:00:99"));
        address_of("b", "lab,ip=10.7.0.200");
        assert!(inside("b", "cat /sys/class/net/eth0/address").starts_with("02:42:0a:07:00:c8"));
        assert!(inside("b", "ping -c1 -W1 10.7.0.99").contains("1 received"));
        // An address given back by name is free by name at once.
        linkspan("sandbox rm a");
        assert_eq!(address_of("c", "lab,ip=10.7.0.99"), "10.7.0.99/24");
    });
}

#[test]
fn a_network_has_several_subnets() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/30 --subnet 10.8.0.0/24 --gateway 10.8.0.254 lab");
        assert_eq!(address_of("a", "lab"), "10.7.0.2/30");
        assert_eq!(address_of("b", "lab"), "10.8.0.1/24");
        assert_eq!(address_of("c", "lab,ip=10.8.0.77"), "10.8.0.77/24");
        assert!(inside("b", "ip route show default").starts_with("default via 10.8.0.254 "));
        assert!(inside("b", "ping -c1 -W1 10.8.0.77").contains("1 received"));
        // The two meet at the host, which has an address in each.
        assert!(inside("a", "ping -c1 -W1 10.8.0.1").contains("1 received"));
        assert_eq!(json("network inspect lab")[0]["IPAM"]["Config"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_network_of_two_addresses_holds_one_sandbox() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.6/31 pair");
        assert_eq!(address_of("a", "pair"), "10.7.0.7/31");
        assert!(inside("a", "ping -c1 -W1 10.7.0.6").contains("1 received"));
        refused("sandbox create --net pair b").says(&["is full"]);
        linkspan("sandbox rm a");
        assert_eq!(address_of("b", "pair"), "10.7.0.7/31");
    });
}

#[test]
fn a_network_without_a_subnet_collides_with_nothing_on_the_host() {
    run(here!(), || {
        sh(
            "ip link add uplink type bridge && ip link set uplink up && ip address add 172.17.3.4/16 dev uplink",
        );
        sh("ip route add 172.18.0.0/15 via 172.17.0.1 && ip route add 172.20.5.0/24 dev uplink");
        let subnet = |name: &str| {
            linkspan(&format!("network create {name}"));
            json(&format!("network inspect {name}"))[0]["IPAM"]["Config"][0]["Subnet"].clone()
        };
        assert_eq!(subnet("one"), "172.21.0.0/16");
        linkspan("network create --subnet 172.22.128.0/24 chosen");
        assert_eq!(subnet("two"), "172.23.0.0/16");
        linkspan("sandbox create web");
        assert_eq!(json("network inspect bridge")[0]["IPAM"]["Config"][0]["Subnet"], "172.24.0.0/16");
        linkspan("network rm one");
        assert_eq!(subnet("three"), "172.21.0.0/16");
    });
}

#[test]
fn subnets_that_overlap_are_refused_by_the_networks_name() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/16 lab");
        let before = Snapshot::take();
        for subnet in ["10.7.0.0/16", "10.7.3.0/24", "10.0.0.0/8"] {
            let line = format!("network create --subnet {subnet} x");
            refused(&line).says(&[subnet, "overlaps network 'lab'"]).hints("--subnet");
        }
        before.is_unchanged();
        // Over a route of the host it is made, and said.
        sh(
            "ip link add uplink type bridge && ip link set uplink up && ip address add 10.9.0.1/24 dev uplink",
        );
        let made = run_program("network create --subnet 10.9.0.128/25 y");
        let noted = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(
            made.status.success() && noted.contains("10.9.0.0/24") && noted.contains("uplink"),
            "{noted}"
        );
    });
}

#[test]
fn sandboxes_have_ipv6_where_the_network_does() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 lab");
        let (a, b) =
            (world.sandbox("a", "--net lab,ip6=fd00:7::99"), world.sandbox("b", "--net lab -p 8080:80"));
        b.serve_tcp("[::]:8081");
        b.pings("fd00:7::99");
        a.pings("fd00:7::2");
        assert_eq!(source(&a, Protocol::Tcp, "[fd00:7::2]:8081"), "fd00:7::99");
        assert!(a.sh("ip -6 route show default").starts_with("default via fd00:7::1 dev eth0"));
        let inspected = &json("sandbox inspect a")[0]["NetworkSettings"]["Networks"]["lab"];
        assert_eq!(inspected["GlobalIPv6Address"], "fd00:7::99");
        assert_eq!(json("network inspect lab")[0]["EnableIPv6"], true);
        assert_eq!(linkspan("port b"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
        linkspan("network create --ipv6 --subnet 10.8.0.0/24 other");
        let second = json("network inspect other")[0]["IPAM"]["Config"][1]["Subnet"].clone();
        assert!(second.as_str().unwrap().starts_with("fd"), "{second}");
    });
}

#[test]
fn a_published_port_is_reached_over_ipv6_too() {
    run(here!(), || {
        let world = World::new();
        sh("ip address add 2001:db8::1/64 dev lan0 nodad");
        world
            .outside
            .sh("ip address add 2001:db8::9/64 dev lan0 nodad && ip route add default via 2001:db8::1");
        world.network("--subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 lab");
        linkspan("sandbox create --net lab -p 8080:80 -p [2001:db8::1]:9090:80 web");
        linkspan("sandbox create --net lab peer");
        Net::pinned("web").serve_tcp("[::]:80");
        assert_eq!(source(&world.outside, Protocol::Tcp, "[2001:db8::1]:8080"), "2001:db8::9");
        assert_eq!(source(&world.outside, Protocol::Tcp, "[2001:db8::1]:9090"), "2001:db8::9");
        assert_eq!(source(&world.host, Protocol::Tcp, "[2001:db8::1]:8080"), "2001:db8::1");
        assert_eq!(source(&Net::pinned("peer"), Protocol::Tcp, "[2001:db8::1]:8080"), "fd00:7::1");
        world.outside.gets_nothing_from(&["[fd00:7::2]:80", "192.0.2.1:9090"]);
        world.outside.serve_tcp("[::]:7000");
        assert_eq!(source(&Net::pinned("peer"), Protocol::Tcp, "[2001:db8::9]:7000"), "2001:db8::1");
    });
}
