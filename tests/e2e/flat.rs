//! Networks on a LAN of the host: a network card becomes a port of the bridge.

use crate::support::*;

const FLAT: &str = "network create -o linkspan.uplink=eth1 -o com.docker.network.bridge.name=br0";

/// Things that a card may have beside its addresses.
fn furnish() {
    sh("ip addr add 192.168.0.77/24 dev eth1 label eth1:x");
    sh("ip addr add 10.50.0.1/16 dev eth1 noprefixroute metric 50");
    sh("ip addr add 192.168.0.78/24 dev eth1 valid_lft 3000 preferred_lft 2000");
    sh("ip route add 10.60.0.0/16 dev eth1 scope link src 192.168.0.77");
    sh("ip route add 10.61.0.0/16 via 10.60.0.1 dev eth1 metric 7 mtu 1400");
    sh("ip route add 10.62.0.0/16 via 192.168.0.254 dev eth1 table 100 proto 42");
    sh("ip route add 10.63.0.0/16 nexthop via 192.168.0.254 weight 2 nexthop via 192.168.0.9");
    sh("ip route add 10.64.0.0/16 via 203.0.113.1 dev eth1 onlink");
    sh("ip rule add from 10.50.0.1 table 100");
    sh("ip -6 route add 2001:db8:9::/64 via 2001:db8::9 dev eth1 metric 77 pref high");
    sh("ip -6 route add 2001:db8:a::/64 nexthop via 2001:db8::9 dev eth1 nexthop via 2001:db8::fe dev eth1");
    sh("ip neigh add 192.168.0.200 lladdr 02:00:00:00:00:c8 dev eth1 nud permanent");
    sh("ip neigh add 2001:db8::c8 lladdr 02:00:00:00:00:c8 dev eth1 nud permanent");
}

#[test]
fn a_card_goes_over_to_its_bridge_and_comes_back_as_it_was() {
    run(here!(), || {
        let _lan = Lan::new();
        furnish();
        let (before, link) = (ways("eth1"), sh("ip -d link show dev eth1"));
        let all = Snapshot::take();
        linkspan(&format!("{FLAT} flat"));
        assert_eq!(ways("br0").replace("br0", "eth1"), before);
        assert!(!ways("eth1").contains("inet"), "{}", ways("eth1"));
        let mac = |device: &str| sh(&format!("cat /sys/class/net/{device}/address"));
        assert_eq!(mac("br0"), mac("eth1"));
        linkspan("network rm flat");
        assert_eq!(ways("eth1"), before);
        assert_eq!(sh("ip -d link show dev eth1"), link);
        all.is_unchanged();
    });
}

#[test]
fn sandboxes_live_on_the_lan() {
    run(here!(), || {
        let lan = Lan::new();
        serve(&lan.outside, &[80]);
        serve(&lan.neighbour, &[80]);
        linkspan(&format!("{FLAT} --ip-range 192.168.0.64/28 flat"));
        linkspan("sandbox create --net flat a");
        linkspan("sandbox create --net flat b");
        let (a, b) = (Net::pinned("a"), Net::pinned("b"));
        serve(&a, &[80]);
        serve(&b, &[80]);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(source(&a, protocol, "198.51.100.9:80"), "192.168.0.64");
            assert_eq!(source(&a, protocol, "192.168.0.9:80"), "192.168.0.64");
            assert_eq!(source(&lan.neighbour, protocol, "192.168.0.64:80"), "192.168.0.9");
            assert_eq!(source(&lan.outside, protocol, "192.168.0.64:80"), "198.51.100.9");
            assert_eq!(source(&b, protocol, "192.168.0.64:80"), "192.168.0.65");
            assert_eq!(source(&Net::here(), protocol, "192.168.0.64:80"), "192.168.0.5");
        }
        let inside = a.sh("ip route");
        assert!(inside.contains("default via 192.168.0.254"), "{inside}");
        assert!(linkspan("network inspect flat").contains("\"DefaultGatewayIPv4\": \"192.168.0.254\""));
        linkspan("sandbox rm a b");
        linkspan("network rm flat");
        lan.neighbour.pings("192.168.0.5");
    });
}

#[test]
fn sessions_of_the_host_live_on() {
    run(here!(), || {
        let lan = Lan::new();
        let local = Session::begin(&lan.neighbour, "192.168.0.9:7");
        let six = Session::begin(&lan.neighbour, "[2001:db8::9]:7");
        let routed = Session::begin(&lan.outside, "198.51.100.9:7");
        for _ in 0..5 {
            linkspan(&format!("{FLAT} flat"));
            linkspan("network rm flat");
        }
        for (what, session) in [("to a neighbour", local), ("over IPv6", six), ("through the router", routed)]
        {
            println!("{what}: a byte took {:?} at most", session.end());
        }
    });
}
