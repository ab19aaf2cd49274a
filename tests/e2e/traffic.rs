//! Who reaches whom, and under which address.

use crate::support::*;

const NO_MASQUERADE: &str = "-o com.docker.network.bridge.enable_ip_masquerade=false";
const NO_ICC: &str = "-o com.docker.network.bridge.enable_icc=false";

#[test]
fn sandboxes_of_one_network_reach_each_other() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab");
        let (a, b) = (world.sandbox("a", "--net lab"), world.sandbox("b", "--net lab"));
        a.pings("10.7.0.3");
        b.pings("10.7.0.2");
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(source(&a, protocol, "10.7.0.3:80"), "10.7.0.2");
            assert_eq!(source(&b, protocol, "10.7.0.2:80"), "10.7.0.3");
        }
    });
}

#[test]
fn sandboxes_of_one_network_know_each_other_by_name() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab a");
        linkspan("sandbox create --net lab b");
        for (from, to, address) in [("a", "b", "10.7.0.3"), ("b", "a", "10.7.0.2"), ("a", "a", "10.7.0.2")] {
            let told = inside(from, &format!("ping -c 1 -W 1 {to}"));
            assert!(told.contains(address), "{told}");
            let told = linkspan(&format!("exec {from} -- ping -c 1 -W 1 {to}"));
            assert!(told.contains(address), "{told}");
        }
    });
}

#[test]
fn networks_are_apart() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 one").network("--subnet 10.8.0.0/24 two");
        let (a, b) = (world.sandbox("a", "--net one"), world.sandbox("b", "--net two"));
        a.gets_nothing_from(&["10.8.0.2:80"]);
        b.gets_nothing_from(&["10.7.0.2:80"]);
        a.pings_in_vain("10.8.0.2");
        // With the other network's gateway as next hop it is the same.
        a.sh("ip route add 10.8.0.1/32 via 10.7.0.1 && ip route add 10.8.0.2/32 via 10.7.0.1");
        a.pings("10.8.0.1");
        a.gets_nothing_from(&["10.8.0.2:80"]);
    });
}

#[test]
fn outside_sees_the_host_where_the_network_masquerades() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        world.network("--subnet 10.7.0.0/24 lab");
        let a = world.sandbox("a", "--net lab");
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(source(&a, protocol, "192.0.2.9:80"), "192.0.2.1");
        }
        a.pings("192.0.2.9");
        world.outside.gets_nothing_from(&["10.7.0.2:80"]);
        world.outside.pings_in_vain("10.7.0.2");
    });
}

#[test]
fn outside_sees_the_sandbox_where_the_network_does_not_masquerade() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        world.network(&format!("--subnet 10.7.0.0/24 {NO_MASQUERADE} lab"));
        let a = world.sandbox("a", "--net lab");
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(source(&a, protocol, "192.0.2.9:80"), "10.7.0.2");
        }
        world.outside.gets_nothing_from(&["10.7.0.2:80"]);
    });
}

#[test]
fn without_icc_sandboxes_of_one_network_are_apart() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        world.network(&format!("--subnet 10.7.0.0/24 {NO_ICC} lab"));
        let a = world.sandbox("a", "--net lab");
        let b = world.sandbox("b", "--net lab -p 8080:80 -p 5353:53/udp");
        for through_the_firewall in ["1", "0"] {
            bridge_netfilter(through_the_firewall);
            a.gets_nothing_from(&["10.7.0.3:80"]);
            a.pings_in_vain("10.7.0.3");
            b.pings_in_vain("10.7.0.2");
        }
        // What is published is for everyone, and so is outside.
        // (While bridged frames pass the firewall, not for a: the kernel rewrites its frame, and bridges that after all.)
        a.reaches("192.0.2.1:8080");
        assert_eq!(source(&world.outside, Protocol::Tcp, "192.0.2.1:8080"), "192.0.2.9");
        assert_eq!(source(&world.outside, Protocol::Udp, "192.0.2.1:5353"), "192.0.2.9");
        a.reaches("192.0.2.9:80");
    });
}

#[test]
fn without_icc_the_host_is_no_way_around() {
    run(here!(), || {
        let world = World::new();
        world.network(&format!("--subnet 10.7.0.0/24 {NO_ICC} lab"));
        let a = world.sandbox("a", "--net lab");
        let b = world.sandbox("b", "--net lab");
        a.sh("ip route add 10.7.0.3/32 via 10.7.0.1");
        b.sh("ip route add 10.7.0.2/32 via 10.7.0.1");
        a.gets_nothing_from(&["10.7.0.3:80"]);
        a.pings_in_vain("10.7.0.3");
    });
}

#[test]
fn an_internal_network_reaches_nothing_else() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        world.network("--subnet 10.7.0.0/24 --internal vault").network("--subnet 10.8.0.0/24 lab");
        let (a, b) = (world.sandbox("a", "--net vault"), world.sandbox("b", "--net vault"));
        let other = world.sandbox("other", "--net lab -p 8080:80");
        a.reaches("10.7.0.3:80");
        for route in ["true", "ip route add default via 10.7.0.1"] {
            a.sh(route);
            a.gets_nothing_from(&["192.0.2.9:80", "10.8.0.2:80", "192.0.2.1:8080", "10.7.0.1:8080"]);
            a.pings_in_vain("192.0.2.9");
        }
        other.gets_nothing_from(&["10.7.0.3:80"]);
        world.outside.gets_nothing_from(&["10.7.0.3:80"]);
        b.pings("10.7.0.2");
    });
}

#[test]
fn a_sandbox_on_two_networks_is_no_router_between_them() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 one").network("--subnet 10.8.0.0/24 two");
        let a = world.sandbox("a", "--net one");
        let b = world.sandbox("b", "--net two");
        let both = world.sandbox("both", "--net one --net two");
        both.reaches("10.7.0.2:80");
        both.reaches("10.8.0.2:80");
        a.reaches("10.7.0.3:80");
        b.reaches("10.8.0.3:80");
        a.gets_nothing_from(&["10.8.0.2:80"]);
    });
}

#[test]
fn networks_are_apart_over_ipv6_too() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 one");
        world.network("--subnet 10.8.0.0/24 --subnet fd00:8::/64 --ipv6 two");
        linkspan("sandbox create --net one a");
        linkspan("sandbox create --net one peer");
        linkspan("sandbox create --net two b");
        let (a, b) = (Net::pinned("a"), Net::pinned("b"));
        b.serve_tcp("[::]:80");
        Net::pinned("peer").serve_tcp("[::]:80");
        a.reaches("[fd00:7::3]:80");
        a.gets_nothing_from(&["[fd00:8::2]:80"]);
        a.pings_in_vain("fd00:8::2");
        assert!(inside("a", "ping -6 -c 1 -W 1 peer").contains("fd00:7::3"));
    });
}

#[test]
fn forwarding_ipv6_does_not_make_the_host_forget_its_router() {
    run(here!(), || {
        let _world = World::new();
        let learns =
            || sh("cat /proc/sys/net/ipv6/conf/lan0/accept_ra /proc/sys/net/ipv6/conf/all/forwarding");
        assert_eq!(learns(), "1\n0\n");
        linkspan("network create --subnet 10.7.0.0/24 plain");
        assert_eq!(learns(), "1\n0\n");
        linkspan("network create --ipv6 six");
        assert_eq!(learns(), "2\n1\n");
    });
}
