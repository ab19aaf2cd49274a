//! Virtual machines on networks. One is played by a namespace whose device's frames go through the tap.

use crate::support::*;

/// Connects a machine called `name` with these flags, boots it and gives it the address and gateway that it was given.
fn machine(name: &str, flags: &str) -> Net {
    let told = json(&format!("network connect --format json --tap {flags} {name}"));
    let text = |field: &str| told[field].as_str().unwrap().to_owned();
    let machine = Net::machine(name, &text("Device"), &text("MacAddress"));
    for (address, gateway) in
        told["Addresses"].as_array().unwrap().iter().zip(told["Gateways"].as_array().unwrap())
    {
        let (address, gateway) = (address.as_str().unwrap(), gateway.as_str().unwrap());
        let flag = if address.contains(':') { "nodad" } else { "" };
        machine
            .sh(&format!("ip address add {address} dev eth0 {flag} && ip route add default via {gateway}"));
    }
    machine
}

#[test]
fn a_machine_reaches_and_is_reached_like_a_sandbox() {
    run(here!(), || {
        if !may_open_taps() {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 --ipv6 --subnet fd00:7::/64 lab");
        let peer = world.sandbox("peer", "--net lab -p 8080:80");
        serve(&world.outside, &[80]);
        let before = Snapshot::take();
        let vm = machine("vm", "lab");
        serve(&vm, &[80, 53]);
        assert_eq!(source(&vm, Protocol::Tcp, "10.7.0.2:80"), "10.7.0.3");
        assert_eq!(source(&vm, Protocol::Udp, "10.7.0.2:53"), "10.7.0.3");
        assert_eq!(source(&vm, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
        vm.reaches("192.0.2.1:8080");
        assert_eq!(source(&peer, Protocol::Tcp, "10.7.0.3:80"), "10.7.0.2");
        peer.pings("10.7.0.3");
        peer.pings("fd00:7::3");
        vm.pings("fd00:7::1");
        Net::here().reaches("10.7.0.3:80");
        assert!(inside("peer", "ping -4 -c 1 -W 1 vm").contains("10.7.0.3"));
        world.outside.gets_nothing_from(&["10.7.0.3:80"]);
        sh("ip netns del vm");
        linkspan("sandbox rm vm");
        before.is_unchanged();
        peer.pings_in_vain("10.7.0.3");
        peer.reaches("192.0.2.1:8080");
    });
}

#[test]
fn a_virtual_machine_boots_on_its_tap() {
    run(here!(), || {
        if !has("qemu-system-x86_64") || !may_open_taps() {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab").network("--subnet 10.8.0.0/24 other");
        let peer = world.sandbox("peer", "--net lab");
        linkspan("sandbox create --net other -p 8080:80 web");
        Net::pinned("web").serve_page("0.0.0.0:80", "a published page");
        let before = Snapshot::take();
        let told = json("network connect --format json --tap lab vm");
        let asks = "linkspan.peer=10.7.0.2 linkspan.page=http://192.0.2.1:8080/";
        let Some(mut qemu) = Qemu::boot(&told, asks) else { return };
        let said = qemu.said();
        for words in ["mac 02:42:0a:07:00:03", "pinged 10.7.0.2", "page a published page to 10.7.0.3"] {
            assert!(said.contains(&format!("guest: {words}")), "{words}:\n{said}");
        }
        peer.pings("10.7.0.3");
        assert!(inside("peer", "curl -s -m 5 http://vm/").contains("hello from the machine"));
        drop(qemu);
        peer.pings_in_vain("10.7.0.3");
        assert!(sh("ip link").contains(told["Device"].as_str().unwrap()));
        linkspan("network disconnect lab vm");
        before.is_unchanged();
    });
}

#[test]
fn isolation_holds_for_machines() {
    run(here!(), || {
        if !may_open_taps() {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 -o com.docker.network.bridge.enable_icc=false apart");
        world.network("--subnet 10.8.0.0/24 other").network("--internal --subnet 10.9.0.0/24 vault");
        let peer = world.sandbox("peer", "--net apart");
        world.sandbox("stranger", "--net other");
        serve(&world.outside, &[80, 53]);
        let vm = machine("vm", "apart");
        serve(&vm, &[80, 53]);
        vm.gets_nothing_from(&["10.7.0.2:80", "10.8.0.2:80", "10.8.0.2:53"]);
        peer.gets_nothing_from(&["10.7.0.3:80", "10.7.0.3:53"]);
        vm.reaches("192.0.2.9:80");
        linkspan("network connect --tap --ifname vm0 --ip 10.9.0.9 vault locked");
        let locked = Net::machine("locked", "vm0", "02:42:0a:09:00:09");
        locked.sh("ip address add 10.9.0.9/24 dev eth0 && ip route add default via 10.9.0.1");
        locked.pings("10.9.0.1");
        locked.gets_nothing_from(&["192.0.2.9:80", "10.8.0.2:80", "10.7.0.3:80"]);
    });
}

#[test]
fn a_tap_stays_while_its_machine_is_off() {
    run(here!(), || {
        if !may_open_taps() {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab");
        let peer = world.sandbox("peer", "--net lab");
        let shown = linkspan("network connect --tap --ifname vm0 --mac-address 02:00:00:00:00:77 lab vm");
        for word in ["vm0", "02:00:00:00:00:77", "10.7.0.3/24", "10.7.0.1", "ifname=vm0,script=no"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        peer.pings_in_vain("10.7.0.3");
        for _ in 0..2 {
            let vm = Net::machine("vm", "vm0", "02:00:00:00:00:77");
            vm.sh("ip address add 10.7.0.3/24 dev eth0");
            peer.pings("10.7.0.3");
            // The frames' way is with this process: it ends where the device is gone, which repair brings back.
            sh("ip link del vm0; ip netns del vm");
            let repaired = linkspan("repair");
            assert!(repaired.contains("create tap vm0"), "{repaired}");
            assert_eq!(linkspan("repair"), linkspan("repair --dry-run"));
        }
        linkspan("network disconnect lab vm");
        assert!(!linkspan("sandbox ls").contains("vm") && !sh("ip link").contains("vm0"));
    });
}

#[test]
fn a_machine_is_no_place_for_programs_or_plain_endpoints() {
    run(here!(), || {
        if !may_open_taps() {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab").network("--subnet 10.8.0.0/24 wide");
        world.sandbox("web", "--net lab");
        linkspan("network connect --tap --ifname vm0 lab vm");
        sh("ip tuntap add dev mine mode tap");
        let before = Snapshot::take();
        refused("exec vm true").says(&["virtual machine", "vm"]);
        refused("network connect wide vm").hints("--tap");
        refused("network connect --tap wide web").says(&["web", "tap"]);
        refused("sandbox create --net container:vm debug").says(&["virtual machine"]);
        refused("network connect --tap --ifname mine wide vm").says(&["mine", "exists already"]);
        refused("network connect --tap --ifname lan0 wide vm").says(&["lan0"]);
        refused("network connect --tap --ifname vm0 wide other").says(&["vm0", "exists already"]);
        refused("network connect --tap-owner 0 wide web").says(&["--tap"]);
        before.is_unchanged();
        assert_eq!(linkspan("sandbox ls").lines().count(), 3);
        assert_eq!(json("sandbox inspect vm")[0]["NetworkSettings"]["Networks"]["lab"]["HostIfName"], "vm0");
    });
}
