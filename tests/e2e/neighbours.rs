//! An address moves: whoever remembers where it was finds it where it is, at once.

use crate::support::*;

const LAB: &str =
    "--subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 -o com.docker.network.bridge.name=lab0 lab";
/// The address that moves.
const V4: &str = "10.7.0.50";
const V6: &str = "fd00:7::50";

/// Everyone on the segment of network lab: a sandbox, the host, and a machine on a wire that leads into the bridge.
fn neighbours() -> Vec<Net> {
    let world = World::new();
    world.network(LAB);
    let peer = world.sandbox("peer", "--net lab");
    let machine = Net::new("machine");
    sh("ip link add uplink type veth peer name lan0 netns machine && ip link set uplink master lab0 up");
    machine.sh("ip link set lan0 addrgenmode eui64 up && ip address add 10.7.0.200/24 dev lan0");
    machine.sh("ip address add fd00:7::200/64 dev lan0 nodad");
    vec![peer, world.host, machine]
}

/// Has every neighbour talk to the address, so that each remembers the `mac` behind it.
fn all_remember(neighbours: &[Net], mac: &str) {
    for net in neighbours {
        for address in [V4, V6] {
            net.pings(address);
            let known = net.sh(&format!("ip neighbour show {address}"));
            assert!(known.contains(mac), "{}: {known}", net.name());
        }
    }
}

/// Has `name`, which has the address now, serve there, and every neighbour reach it with its first packet.
fn all_find(neighbours: &[Net], name: &str) {
    let net = Net::pinned(name);
    for server in servers() {
        net.serve_tcp(&server);
    }
    all_reach(neighbours);
}

fn all_reach(neighbours: &[Net]) {
    for server in servers() {
        neighbours.iter().for_each(|neighbour| neighbour.reaches(&server));
    }
}

fn servers() -> [String; 2] {
    [format!("{V4}:7000"), format!("[{V6}]:7000")]
}

#[test]
fn an_address_that_moves_to_another_sandbox_and_mac_is_found() {
    run(here!(), || {
        let neighbours = neighbours();
        let mut remembered = String::new();
        for (number, name) in ["one", "two", "three"].into_iter().enumerate() {
            let mac = format!("02:00:00:00:00:0{number}");
            linkspan(&format!("sandbox create --net lab --ip {V4} --ip6 {V6} --mac-address {mac} {name}"));
            all_find(&neighbours, name);
            all_remember(&neighbours, &mac);
            linkspan(&format!("sandbox rm {name}"));
            remembered = mac;
        }
        // To one that lives already.
        linkspan("sandbox create --net none late");
        assert!(sh(&format!("ip neighbour show {V4}")).contains(&remembered));
        linkspan(&format!("network connect --ip {V4} --ip6 {V6} lab late"));
        all_find(&neighbours, "late");
        // To the same one with another MAC.
        linkspan("network disconnect lab late");
        linkspan(&format!("network connect --ip {V4} --ip6 {V6} --mac-address 02:00:00:00:00:77 lab late"));
        all_reach(&neighbours);
        all_remember(&neighbours, "02:00:00:00:00:77");
    });
}

#[test]
fn an_ipv6_address_that_moves_alone_is_found() {
    run(here!(), || {
        let neighbours = neighbours();
        // The MAC follows the IPv4 address, which is another each time.
        for name in ["one", "two"] {
            linkspan(&format!("sandbox create --net lab --ip6 {V6} {name}"));
            let server = format!("[{V6}]:7000");
            Net::pinned(name).serve_tcp(&server);
            neighbours.iter().for_each(|neighbour| neighbour.reaches(&server));
            linkspan(&format!("sandbox create --net lab keeper-{name}"));
            linkspan(&format!("sandbox rm {name}"));
        }
    });
}

#[test]
fn a_mac_follows_its_address_from_sandbox_to_sandbox() {
    run(here!(), || {
        let neighbours = neighbours();
        linkspan(&format!("sandbox create --net lab --ip {V4} --ip6 {V6} one"));
        let mac = "02:42:0a:07:00:32";
        all_remember(&neighbours, mac);
        linkspan("sandbox rm one");
        linkspan("sandbox create --net lab between");
        linkspan(&format!("sandbox create --net lab --ip {V4} --ip6 {V6} two"));
        assert!(inside("two", "ip link show eth0").contains(mac));
        all_find(&neighbours, "two");
        all_remember(&neighbours, mac);
        // By itself the network gives an address out again only when there is no other.
        assert!(!inside("between", "ip address show eth0").contains(V4));
    });
}

#[test]
fn on_a_lan_even_who_knew_another_machine_there_finds_a_sandbox() {
    run(here!(), || {
        let lan = Lan::new();
        linkspan("network create -o linkspan.uplink=eth1 --ipv6 flat");
        found_behind_another(&lan, &[Net::here()]);
    });
}

#[test]
fn with_a_macvlan_too() {
    run(here!(), || {
        let lan = Lan::new();
        let subnets = "--subnet 192.168.0.0/24 --gateway 192.168.0.254 --ipv6 --subnet 2001:db8::/64";
        linkspan(&format!("network create -d macvlan -o parent=eth1 {subnets} flat"));
        found_behind_another(&lan, &[]);
    });
}

/// That everyone on the LAN, and `more`, finds a sandbox on network flat where they know another machine.
fn found_behind_another(lan: &Lan, more: &[Net]) {
    let (v4, v6) = ("192.168.0.50", "2001:db8::50");
    let old = Net::new("old");
    lan.plug(&old, "lan0", &[&format!("{v4}/24"), &format!("{v6}/64")]);
    let neighbours: Vec<&Net> = [&lan.neighbour, &lan.router].into_iter().chain(more).collect();
    for net in &neighbours {
        [v4, v6].iter().for_each(|address| net.pings(address));
    }
    let mac = old.sh("ip -o link show lan0 | grep -o 'ether [^ ]*' | cut -d' ' -f2");
    old.sh("ip link del lan0");
    for name in ["new", "newer"] {
        for (net, address) in neighbours.iter().flat_map(|net| [(net, v4), (net, v6)]) {
            let known = net.sh(&format!("ip neighbour show {address}"));
            assert!(name == "newer" || known.contains(mac.trim()), "{}: {known}", net.name());
        }
        let mac = if name == "newer" { "--mac-address 02:00:00:00:00:99" } else { "" };
        linkspan(&format!("sandbox create --net flat --ip {v4} --ip6 {v6} {mac} {name}"));
        for server in [format!("{v4}:7000"), format!("[{v6}]:7000")] {
            Net::pinned(name).serve_tcp(&server);
            neighbours.iter().for_each(|net| net.reaches(&server));
        }
        linkspan(&format!("sandbox rm {name}"));
    }
}
