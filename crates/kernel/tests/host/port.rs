//! veth pairs, from the first packet on.

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, Capture, Net, sh};
use linkspan_model::Mac;
use linkspan_plan::{Kernel, Step};

use crate::steps::{apply_and_see, bridge, create, device, host, name, namespace, port, route, sandbox};

#[test]
fn everything_is_seen_as_it_was_made() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let mut steps = vec![bridge(1500, &["10.0.0.1/24", "fd00::1/64"])];
        for number in 2..6 {
            let (v4, v6) = (format!("10.0.0.{number}/24"), format!("fd00::{number}/64"));
            let both = [v4.as_str(), v6.as_str()];
            let addresses = [&both[..1], &both[1..], &both, &[]][usize::from(number) - 2];
            let (veth, mut port) = port(number, addresses);
            port.isolated = number % 2 == 0;
            port.hairpin = number > 3;
            steps.extend([namespace(&format!("box{number}")), create((veth, port))]);
        }
        steps.extend([route(2, "10.0.0.1"), route(3, "fd00::1"), route(4, "10.0.0.1"), route(4, "fd00::1")]);
        apply_and_see(&mut host, &steps);
        let flags = |veth: &str| sh(&format!("bridge -d link show dev {veth}"));
        assert!(flags("veth2").contains("isolated on") && flags("veth2").contains("hairpin off"));
        assert!(flags("veth5").contains("isolated off") && flags("veth5").contains("hairpin on"));
        assert!(
            sh("ip -n box4 -6 route show default").starts_with("default via fd00::1 dev eth0 proto static")
        );
    });
}

#[test]
fn one_sandbox_can_have_several() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let (second, mut other) = port(3, &["10.0.0.3/24"]);
        if let Some(peer) = &mut other.peer {
            peer.namespace = name("box2");
            peer.ifname = device("eth1");
        }
        let both = [create(port(2, &["10.0.0.2/24"])), create((second, other)), route(2, "10.0.0.1")];
        let mut steps = vec![bridge(1500, &[]), namespace("box2")];
        steps.extend(both);
        apply_and_see(&mut host, &steps);
    });
}

/// Each sandbox is new, so every first packet needs an ARP that nobody can have answered before.
#[test]
fn the_first_ping_is_answered_at_once() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        for number in 2..22 {
            host.apply(&sandbox(number)).unwrap();
            let inside = format!("box{number}");
            match number % 3 {
                0 => _ = Net::pinned(&inside).sh("ping -c 1 -W 1 10.0.0.1"),
                1 => _ = sh(&format!("ping -c 1 -W 1 10.0.0.{number}")),
                _ => _ = Net::pinned(&inside).sh(&format!("ping -c 1 -W 1 10.0.0.{}", number.max(3) - 1)),
            }
        }
    });
}

#[test]
fn the_first_ping_over_ipv6_is_answered_at_once() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        host.apply(&[bridge(1500, &["fd00::1/64"])]).unwrap();
        for number in 2..12 {
            let address = format!("fd00::{number}/64");
            let steps = [
                namespace(&format!("box{number}")),
                create(port(number, &[&address])),
                route(number, "fd00::1"),
            ];
            host.apply(&steps).unwrap();
            Net::pinned(&format!("box{number}")).sh("ping -c 1 -W 1 fd00::1");
        }
    });
}

#[test]
fn neighbours_learn_a_new_mac() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let neighbour = Net::pinned("box2");
        let capture = Capture::start(&neighbour, "eth0");
        let (veth, mut port) = port(3, &["10.0.0.3/24", "fd00::3/64"]);
        if let Some(peer) = &mut port.peer {
            peer.mac = "02:00:00:00:00:77".parse().unwrap();
            peer.announce = true;
        }
        host.apply(&[namespace("box3"), create((veth, port))]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let arp = capture.packets("arp");
        let gratuitous = "02:00:00:00:00:77 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has 10.0.0.3 ";
        assert!(arp.iter().any(|line| line.contains(gratuitous)), "{arp:?}");
    });
}

#[test]
fn nothing_is_broadcast_for_an_address_that_nobody_can_know() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let capture = Capture::start(&Net::pinned("box2"), "eth0");
        host.apply(&sandbox(3)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let arp = capture.packets("arp");
        assert!(arp.is_empty(), "{arp:?}");
    });
}

#[test]
fn neighbours_learn_a_new_mac_for_ipv6() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        host.apply(&[bridge(1500, &["fd00::1/64"])]).unwrap();
        let capture = Capture::start(&Net::here(), "br0");
        let (veth, mut port) = port(3, &["fd00::3/64"]);
        port.peer.as_mut().unwrap().announce = true;
        host.apply(&[namespace("box3"), create((veth, port))]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let seen = capture.packets("icmp6 and ip6[40] == 136");
        assert!(seen.iter().any(|line| line.contains("neighbor advertisement, tgt is fd00::3")), "{seen:?}");
    });
}

#[test]
fn a_sandbox_has_ipv6_only_if_it_was_given_some() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        host.apply(&[namespace("box3"), create(port(3, &["fd00::3/64"]))]).unwrap();
        assert_eq!(sh("ip -n box2 -6 address show eth0"), "");
        let addresses = sh("ip -n box3 -6 address show eth0");
        assert!(
            addresses.contains("inet6 fe80::42:aff:fe00:3/64 scope link") && !addresses.contains("tentative"),
            "{addresses}"
        );
    });
}

#[test]
fn ipv6_that_the_host_switched_off_for_new_devices_is_switched_on() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        host.apply(&[namespace("box3")]).unwrap();
        Net::pinned("box3").sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
        host.apply(&[create(port(3, &["fd00::3/64"]))]).unwrap();
        assert!(sh("ip -n box3 -6 address show eth0").contains("fd00::3/64"));
    });
}

#[test]
fn small_mtus_work() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let (veth, mut small) = port(2, &["10.0.0.2/24"]);
        small.mtu = 576;
        apply_and_see(&mut host, &[bridge(576, &["10.0.0.1/24"]), namespace("box2"), create((veth, small))]);
        Net::pinned("box2").sh("ping -c 1 -W 1 10.0.0.1");
    });
}

#[test]
fn isolated_ports_reach_the_bridge_and_not_each_other() {
    lab::run(lab::here!(), || {
        let mut host = host(&[4]);
        for number in 2..4 {
            let (veth, mut port) = port(number, &[&format!("10.0.0.{number}/24")]);
            port.isolated = true;
            host.apply(&[namespace(&format!("box{number}")), create((veth, port))]).unwrap();
        }
        let inside = Net::pinned("box2");
        assert!(inside.succeeds("ping -c 1 -W 1 10.0.0.1") && inside.succeeds("ping -c 1 -W 1 10.0.0.4"));
        assert!(!inside.succeeds("ping -c 1 -W 1 10.0.0.3"));
    });
}

#[test]
fn a_frame_comes_back_through_a_hairpin_port_only() {
    lab::run(lab::here!(), || {
        for (number, hairpin) in [(2, false), (3, true)] {
            let mut host = if number == 2 { host(&[]) } else { Host::open().unwrap() };
            let (veth, mut port) = port(number, &[&format!("10.0.0.{number}/24")]);
            port.hairpin = hairpin;
            host.apply(&[namespace(&format!("box{number}")), create((veth, port))]).unwrap();
            let inside = Net::pinned(&format!("box{number}"));
            let capture = Capture::start(&inside, "eth0");
            // Nobody has this MAC, so the bridge sends the frame to every port.
            inside.sh("ip neighbour add 10.0.0.99 lladdr 02:00:00:00:00:99 dev eth0; ping -c 1 -W 1 10.0.0.99 || true");
            assert_eq!(capture.packets("icmp and dst 10.0.0.99").len(), if hairpin { 2 } else { 1 });
        }
    });
}

#[test]
fn a_changed_port_is_seen_as_it_is() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let scope = linkspan_plan::Scope {
            ports: [(device("veth2"), (name("box2"), device("eth0")))].into(),
            ..linkspan_plan::Scope::default()
        };
        let mut seen = |change: &str| {
            sh(change);
            host.observe(&scope).unwrap().ports.remove(&device("veth2")).unwrap()
        };
        assert_eq!(
            seen("ip -n box2 link set eth0 address 02:00:00:00:00:05").peer.unwrap().mac,
            Mac::from_bytes([2, 0, 0, 0, 0, 5])
        );
        assert_eq!(seen("ip link set veth2 nomaster").bridge.as_str(), "-");
        assert_eq!(
            seen("ip link add br1 type bridge && ip link set veth2 master br1").bridge.as_str(),
            "br1"
        );
        assert_eq!(seen("ip -n box2 link set eth0 down && ip -n box2 link set eth0 name eth9").peer, None);
    });
}

#[test]
fn routes_go_twice_without_complaint() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let Step::AddRoute(old) = route(2, "10.0.0.1") else { return };
        let gone = [Step::DeleteRoute(old.clone())];
        host.apply(&gone).unwrap();
        assert_eq!(sh("ip -n box2 route show default"), "");
        host.apply(&gone).unwrap();
        let nowhere = linkspan_plan::Route { namespace: name("none"), ..old };
        host.apply(&[Step::DeleteRoute(nowhere), route(2, "10.0.0.9")]).unwrap();
        assert!(sh("ip -n box2 route show default").starts_with("default via 10.0.0.9 dev eth0"));
    });
}
