//! Bridges of bridges: an access layer below a core, as the companies of the textbooks have it.

use crate::support::*;

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
const NO_ICC: &str = "-o com.docker.network.bridge.enable_icc=false";

/// The network core, with `a` and `b` below it that share its subnet, and a sandbox on each, named after its network.
fn tiers(world: &World, options: &str) -> [Net; 3] {
    world.network(&format!("--subnet 10.7.0.0/24 {options} core"));
    for access in ["a", "b"] {
        world.network(&format!("-o linkspan.uplink=network:core {options} {access}"));
    }
    let on = |network: &str, flags: &str| {
        world.sandbox(&format!("on-{network}"), &format!("--net {network} {flags}"))
    };
    [on("core", ""), on("a", "-p 8080:80 -p 8080:80/udp"), on("b", "")]
}

#[test]
fn sandboxes_of_two_access_networks_share_subnet_and_gateway() {
    run(here!(), || {
        let before = Snapshot::take();
        {
            let world = World::new();
            serve(&world.outside, &[80]);
            let [core, a, b] = tiers(&world, "");
            for through_the_firewall in ["1", "0"] {
                bridge_netfilter(through_the_firewall);
                for protocol in BOTH {
                    assert_eq!(source(&a, protocol, "10.7.0.4:80"), "10.7.0.3");
                    assert_eq!(source(&b, protocol, "10.7.0.3:80"), "10.7.0.4");
                    assert_eq!(source(&core, protocol, "10.7.0.4:80"), "10.7.0.2");
                    assert_eq!(source(&b, protocol, "10.7.0.2:80"), "10.7.0.4");
                    // Out by the core's gateway, and in at a published port.
                    assert_eq!(source(&a, protocol, "192.0.2.9:80"), "192.0.2.1");
                    assert_eq!(source(&world.outside, protocol, "192.0.2.1:8080"), "192.0.2.9");
                    assert_eq!(source(&world.host, protocol, "127.0.0.1:8080"), "10.7.0.1");
                    for sandbox in [&core, &a, &b] {
                        assert_eq!(source(sandbox, protocol, "192.0.2.1:8080"), "10.7.0.1");
                    }
                }
                world.host.reaches("10.7.0.4:80");
                world.outside.gets_nothing_from(&["10.7.0.3:80"]);
            }
            let routes = [&core, &a, &b].map(|sandbox| sandbox.sh("ip route show default"));
            assert!(routes.iter().all(|route| route.contains("via 10.7.0.1")), "{routes:?}");
            for name in ["on-core", "on-a", "on-b"] {
                linkspan(&format!("sandbox rm {name}"));
            }
            refused("network rm core").says(&["uplink of others", "a, b"]);
            linkspan("network prune");
            sh("ip link del lan0; ip netns del outside");
        }
        before.is_unchanged();
    });
}

#[test]
fn frames_for_an_access_bridge_itself_go_nowhere() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        world.network("--subnet 10.7.0.0/24 --internal core").network("-o linkspan.uplink=network:core a");
        let a = world.sandbox("on-a", "--net a");
        let bridge = format!("br-{}", &json("network inspect a")[0]["Id"].as_str().unwrap()[..12]);
        let mac = sh(&format!("cat /sys/class/net/{bridge}/address"));
        a.sh(&format!("ip neigh replace 10.7.0.1 lladdr {} dev eth0 nud permanent", mac.trim()));
        a.sh("ip route add default via 10.7.0.1");
        world.outside.sh("ip route add 10.7.0.0/24 via 192.0.2.1");
        a.gets_nothing_from(&["192.0.2.9:80"]);
    });
}

#[test]
fn without_icc_no_two_of_all_tiers_meet() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        let [core, a, b] = tiers(&world, NO_ICC);
        for (from, to) in [(&core, "10.7.0.3"), (&a, "10.7.0.2"), (&a, "10.7.0.4"), (&b, "10.7.0.3")] {
            from.pings_in_vain(to);
        }
        let second = world.sandbox("second", "--net a");
        second.pings_in_vain("10.7.0.3");
        // Nor by way of the host.
        second.sh("ip route add 10.7.0.3/32 via 10.7.0.1");
        second.pings_in_vain("10.7.0.3");
        for sandbox in [&core, &a, &b] {
            sandbox.reaches("192.0.2.9:80");
            sandbox.pings("10.7.0.1");
        }
        for through_the_firewall in ["1", "0"] {
            bridge_netfilter(through_the_firewall);
            world.outside.reaches("192.0.2.1:8080");
            b.reaches("192.0.2.1:8080");
            second.reaches("192.0.2.1:8080");
        }
    });
}

#[test]
fn with_subnets_of_their_own_two_networks_share_the_wire_and_nothing_else() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        world.network("--subnet 10.7.0.0/24 core");
        world.network("--subnet 10.8.0.0/24 -o linkspan.uplink=network:core access");
        let (core, access) =
            (world.sandbox("c", "--net core"), world.sandbox("a", "--net access -p 8080:80"));
        for (net, gateway) in [(&core, "10.7.0.1"), (&access, "10.8.0.1")] {
            for _ in 0..5 {
                net.sh("ip neigh flush dev eth0");
                net.pings(gateway);
                let octets: Vec<u8> = gateway.split('.').map(|octet| octet.parse().unwrap()).collect();
                let mac = format!("02:42:{:02x}:{:02x}:00:01", octets[0], octets[1]);
                assert!(
                    net.sh(&format!("ip neigh show {gateway}")).contains(&mac),
                    "another bridge answered"
                );
            }
            assert_eq!(source(net, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
        }
        world.outside.reaches("192.0.2.1:8080");
        core.gets_nothing_from(&["10.8.0.2:80"]);
        // It is one segment: who takes an address of the other network is there.
        core.sh("ip address add 10.8.0.9/24 dev eth0");
        core.reaches("10.8.0.2:80");
    });
}

#[test]
fn a_patch_cut_by_hand_is_restored_by_repair() {
    run(here!(), || {
        let world = World::new();
        let [_, a, _] = tiers(&world, "");
        let ports = sh("ip -br link show group 19539");
        let up = ports.split_whitespace().find(|word| word.starts_with("lsu")).unwrap();
        let up = up.split('@').next().unwrap();
        sh(&format!("ip link del {up}"));
        let told = linkspan("repair");
        assert!(told.contains("create patch"), "{told}");
        a.reaches("10.7.0.2:80");
        a.reaches("10.7.0.4:80");
        assert!(!linkspan("repair").contains("patch"));
    });
}

#[test]
fn a_spanning_tree_lets_the_first_packet_through() {
    run(here!(), || {
        let world = World::new();
        let [core, ..] = tiers(&world, "-o linkspan.stp=true");
        core.pings("10.7.0.3");
        assert!(sh("ip -d link show type bridge").contains("stp_state 1"));
    });
}
