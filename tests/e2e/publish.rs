//! Published ports: who reaches them on which way, and whom the server sees.

use crate::support::*;

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
/// Port 8080 of both protocols leads to port 80.
const WEB: &str = "--net lab -p 8080:80 -p 8080:80/udp";

/// A network, and a sandbox called web on it with these flags.
fn web(world: &World, flags: &str) -> Net {
    world.network("--subnet 10.7.0.0/24 lab");
    world.sandbox("web", flags)
}

#[test]
fn outside_reaches_a_port_and_keeps_its_address() {
    run(here!(), || {
        let world = World::new();
        web(&world, WEB);
        for protocol in BOTH {
            assert_eq!(source(&world.outside, protocol, "192.0.2.1:8080"), "192.0.2.9");
        }
        world.outside.gets_nothing_from(&["192.0.2.1:80", "10.7.0.2:80", "10.7.0.2:8080"]);
    });
}

#[test]
fn the_host_reaches_a_port_at_each_of_its_addresses() {
    run(here!(), || {
        let world = World::new();
        sh("ip address add 192.0.2.2/24 dev lan0");
        web(&world, WEB);
        for protocol in BOTH {
            for address in ["192.0.2.1", "192.0.2.2", "10.7.0.1", "127.0.0.1", "127.0.0.2"] {
                source(&world.host, protocol, &format!("{address}:8080"));
            }
            assert_eq!(source(&world.host, protocol, "192.0.2.1:8080"), "192.0.2.1");
            assert_eq!(source(&world.host, protocol, "127.0.0.1:8080"), "10.7.0.1");
        }
    });
}

#[test]
fn sandboxes_of_the_same_network_reach_a_port_even_their_own() {
    run(here!(), || {
        let world = World::new();
        let web = web(&world, WEB);
        let peer = world.sandbox("peer", "--net lab");
        for through_the_firewall in ["1", "0"] {
            bridge_netfilter(through_the_firewall);
            for protocol in BOTH {
                for host in ["192.0.2.1:8080", "10.7.0.1:8080"] {
                    assert_eq!(source(&peer, protocol, host), "10.7.0.1");
                    assert_eq!(source(&web, protocol, host), "10.7.0.1");
                }
            }
        }
    });
}

#[test]
fn sandboxes_of_other_networks_reach_a_port_and_keep_their_address() {
    run(here!(), || {
        let world = World::new();
        web(&world, WEB);
        world.network("--subnet 10.8.0.0/24 two");
        let stranger = world.sandbox("stranger", "--net two");
        for protocol in BOTH {
            assert_eq!(source(&stranger, protocol, "192.0.2.1:8080"), "10.8.0.2");
            assert_eq!(source(&stranger, protocol, "10.8.0.1:8080"), "10.8.0.2");
        }
        stranger.gets_nothing_from(&["10.7.0.2:80"]);
    });
}

#[test]
fn curl_fetches_a_page_on_every_way() {
    run(here!(), || {
        if !(has("curl") && has("python3")) {
            return;
        }
        let world = World::new();
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab -p 8080:80 web");
        linkspan("sandbox create --net lab peer");
        sh("mkdir /run/page && echo hello > /run/page/index.html");
        Net::pinned("web").sh("cd /run/page && setsid python3 -m http.server 80 >/dev/null 2>&1 &");
        let fetch = |url| {
            format!("curl -s --retry 30 --retry-delay 1 --retry-connrefused --retry-max-time 30 -m 5 {url}")
        };
        assert_eq!(sh(&fetch("http://127.0.0.1:8080/")), "hello\n");
        assert_eq!(sh(&fetch("http://192.0.2.1:8080/")), "hello\n");
        assert_eq!(world.outside.sh(&fetch("http://192.0.2.1:8080/")), "hello\n");
        assert_eq!(inside("peer", &fetch("http://192.0.2.1:8080/")), "hello\n");
        assert_eq!(inside("peer", &fetch("http://web/")), "hello\n");
        assert_eq!(inside("web", &fetch("http://192.0.2.1:8080/")), "hello\n");
    });
}

#[test]
fn a_port_on_loopback_is_for_the_host_alone() {
    run(here!(), || {
        let world = World::new();
        web(&world, "--net lab -p 127.0.0.1:8080:80 -p 127.0.0.1:8080:80/udp");
        let peer = world.sandbox("peer", "--net lab");
        for protocol in BOTH {
            source(&world.host, protocol, "127.0.0.1:8080");
        }
        world.host.gets_nothing_from(&["192.0.2.1:8080"]);
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
        peer.gets_nothing_from(&["10.7.0.1:8080"]);
    });
}

#[test]
fn no_neighbour_forges_its_way_to_a_port_on_loopback() {
    run(here!(), || {
        let world = World::new();
        web(&world, "--net lab -p 127.0.0.1:8080:80 -p 127.0.0.1:8080:80/udp -p 9090:80");
        world.network("--subnet 10.8.0.0/24 two");
        let peer = world.sandbox("peer", "--net lab");
        let stranger = world.sandbox("stranger", "--net two");
        // A host that is careless on its own: frames for 127.0.0.1 are let in from the wire.
        sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lan0.rp_filter=0 \
            net.ipv4.conf.lan0.route_localnet=1");
        world.host.serve_tcp("127.0.0.1:7070");
        for (net, device, gateway) in [
            (&world.outside, "lan0", "192.0.2.1"),
            (&peer, "eth0", "10.7.0.1"),
            (&stranger, "eth0", "10.8.0.1"),
        ] {
            forge_loopback(net, device, gateway);
            net.gets_nothing_from(&["127.0.0.1:8080", "127.0.0.1:9090"]);
        }
        // That the forged frames arrive shows where nothing but the host itself keeps them away.
        world.outside.reaches("127.0.0.1:7070");
        peer.gets_nothing_from(&["127.0.0.1:7070"]);
    });
}

/// Has what is sent to 127.0.0.1 leave by `device` to `gateway`.
pub fn forge_loopback(net: &Net, device: &str, gateway: &str) {
    net.sh("sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.rp_filter=0");
    net.sh(&format!("sysctl -qw net.ipv4.conf.{device}.rp_filter=0"));
    net.sh("ip address flush dev lo");
    net.sh(&format!("ip route add 127.0.0.1/32 via {gateway} dev {device} onlink"));
}

#[test]
fn a_port_on_one_address_is_on_no_other() {
    run(here!(), || {
        let world = World::new();
        sh("ip address add 192.0.2.2/24 dev lan0");
        web(&world, "--net lab -p 192.0.2.2:8080:80 -p 192.0.2.2:8080:80/udp");
        for protocol in BOTH {
            assert_eq!(source(&world.outside, protocol, "192.0.2.2:8080"), "192.0.2.9");
            source(&world.host, protocol, "192.0.2.2:8080");
        }
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
        world.host.gets_nothing_from(&["127.0.0.1:8080"]);
        // Another sandbox may have the same port on the other address.
        world.sandbox("other", "--net lab -p 192.0.2.1:8080:53");
        world.outside.reaches("192.0.2.1:8080");
    });
}

#[test]
fn the_network_says_where_ports_are_published_by_default() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 lab");
        world.sandbox("web", "--net lab -p 8080:80 -p 192.0.2.1:9090:80");
        assert_eq!(linkspan("port web"), "80/tcp -> 127.0.0.1:8080\n80/tcp -> 192.0.2.1:9090\n");
        world.host.reaches("127.0.0.1:8080");
        world.outside.reaches("192.0.2.1:9090");
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
    });
}

#[test]
fn ports_answer_behind_a_foreign_default_gateway() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 --aux-address DefaultGatewayIPv4=10.7.0.254 lab");
        let web = world.sandbox("web", WEB);
        assert!(web.sh("ip route show default").starts_with("default via 10.7.0.254 dev eth0"));
        for protocol in BOTH {
            assert_eq!(source(&world.outside, protocol, "192.0.2.1:8080"), "10.7.0.1");
            source(&world.host, protocol, "192.0.2.1:8080");
            source(&world.host, protocol, "127.0.0.1:8080");
        }
    });
}

#[test]
fn a_port_is_free_as_soon_as_its_sandbox_is_gone() {
    run(here!(), || {
        let world = World::new();
        web(&world, WEB);
        world.outside.reaches("192.0.2.1:8080");
        linkspan("sandbox rm web");
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
        world.host.gets_nothing_from(&["127.0.0.1:8080"]);
        world.host.serve_tcp("0.0.0.0:8080");
        assert_eq!(source(&world.outside, Protocol::Tcp, "192.0.2.1:8080"), "192.0.2.9");
        world.sandbox("web", "--net lab -p 8080:80/udp");
        assert_eq!(source(&world.outside, Protocol::Udp, "192.0.2.1:8080"), "192.0.2.9");
    });
}

#[test]
fn icmp_and_services_of_the_host_are_left_alone() {
    run(here!(), || {
        let world = World::new();
        world.host.serve_tcp("0.0.0.0:22");
        let web = web(&world, WEB);
        world.outside.pings("192.0.2.1");
        world.outside.reaches("192.0.2.1:22");
        web.reaches("192.0.2.1:22");
        web.reaches("10.7.0.1:22");
        world.host.pings("10.7.0.2");
        world.host.reaches("10.7.0.2:80");
    });
}
