//! Bridges joined by a veth pair.

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, Net, sh};
use linkspan_plan::{Bridge, Kernel, Patch, PatchEnd, Step};

use crate::steps::{apply_and_see, bridge, create, device, meaning, namespace, port, route};

/// br1 below br0, where the host has no address.
fn switch(stp: bool) -> Step {
    let mac = "02:4c:00:00:00:01".parse().unwrap();
    Step::CreateBridge(device("br1"), Bridge { mac, mtu: 1500, addresses: [].into(), switch: true, stp })
}

fn patch(isolated: bool) -> Step {
    let to = PatchEnd::Bridge(device("br0"));
    let patch = Patch { bridge: device("br1"), to, peer: device("down"), mtu: 1500, isolated };
    Step::CreatePatch(device("up"), patch)
}

/// The sandbox `boxN` with 10.0.0.N on br1.
fn below(number: u8) -> Vec<Step> {
    let (name, mut port) = port(number, &[&format!("10.0.0.{number}/24")]);
    port.bridge = device("br1");
    vec![namespace(&format!("box{number}")), create((name, port)), route(number, "10.0.0.1")]
}

#[test]
fn it_is_seen_as_it_was_made_and_goes() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let steps = [bridge(1500, &["10.0.0.1/24"]), switch(false), patch(true)];
        apply_and_see(&mut host, &steps);
        let ports = sh("bridge -d link show; ip link show group 19539");
        for part in ["up@down", "down@up", "isolated on", "isolated off"] {
            assert!(ports.contains(part), "{part} is not in {ports}");
        }
        let wanted = meaning(&steps);
        let goes = [Step::DeletePatch(device("up"), wanted.patches[&device("up")].clone())];
        host.apply(&goes).unwrap();
        host.apply(&goes).unwrap();
        assert_eq!(sh("ip -br link show group 19539"), "");
    });
}

#[test]
fn the_first_packet_passes_and_the_host_answers_once() {
    lab::run(lab::here!(), || {
        let mut host = crate::steps::host(&[2]);
        host.apply(&[switch(false), patch(false)]).unwrap();
        host.apply(&below(3)).unwrap();
        Net::pinned("box3").sh("ping -c 1 -W 1 10.0.0.2");
        Net::pinned("box3").sh("ping -c 1 -W 1 10.0.0.1");
        // br1 is the host's too, and hears the question first.
        let neighbour = Net::pinned("box3").sh("ip neigh show 10.0.0.1");
        assert!(neighbour.contains("02:42:0a:00:00:01"), "{neighbour}");
    });
}

#[test]
fn two_addresses_of_the_host_on_one_segment_have_a_mac_each() {
    lab::run(lab::here!(), || {
        let mut host = crate::steps::host(&[]);
        let mac = "02:42:0a:01:00:01".parse().unwrap();
        let addresses = ["10.1.0.1/24".parse().unwrap()].into();
        let other = Bridge { mac, mtu: 1500, addresses, switch: false, stp: false };
        host.apply(&[Step::CreateBridge(device("br1"), other), patch(false)]).unwrap();
        let mut steps = below(3);
        steps.truncate(1);
        let (name, mut wire) = port(3, &["10.0.0.3/24", "10.1.0.3/24"]);
        wire.bridge = device("br1");
        steps.push(create((name, wire)));
        host.apply(&steps).unwrap();
        let inside = Net::pinned("box3");
        for gateway in ["10.0.0.1", "10.1.0.1"] {
            // Who answers last wins, so each is asked more than once.
            inside.sh(&format!("arping -q -c 2 -I eth0 {gateway}; ping -c 1 -W 1 {gateway}"));
        }
        let neighbours = inside.sh("ip neigh show");
        assert!(neighbours.contains("10.0.0.1 dev eth0 lladdr 02:42:0a:00:00:01"), "{neighbours}");
        assert!(neighbours.contains("10.1.0.1 dev eth0 lladdr 02:42:0a:01:00:01"), "{neighbours}");
    });
}

#[test]
fn with_a_spanning_tree_too_the_first_packet_passes() {
    lab::run(lab::here!(), || {
        let mut host = crate::steps::host(&[2]);
        apply_and_see(&mut host, &[switch(true)]);
        host.apply(&[patch(false)]).unwrap();
        host.apply(&below(3)).unwrap();
        Net::pinned("box3").sh("ping -c 1 -W 1 10.0.0.2");
    });
}
