//! Containers of a runtime, behind devices that are no bridges of ours.
//!
//! | namespace | is | addresses |
//! |---|---|---|
//! | g1, g2 | containers on somebody's bridge cni0 | 10.88.0.2, .3, fd88::2, ::3 |
//! | g3 | one on another, cni1 | 10.90.0.2, fd90::2 |
//! | p1, p2 | containers behind routed veth pairs, h-p1 and h-p2 on the host | 10.89.0.2, .3, fd89::2, ::3 |

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use linkspan_kernel::firewall::Firewall;
use linkspan_lab as lab;
use linkspan_model::Protocol;
use linkspan_plan::{Element, Step};

use crate::net::{
    HOST, NO_DAD, ask, at, created, gets_nowhere, guest, home, inside, lay_out, networks, publish, reaches,
    serve, sh, spoof, wired,
};

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Adds them to the host, without their place in the firewall.
fn lay_out_guests() {
    lay_out();
    for (bridge, third, names) in [("cni0", 88, vec!["g1", "g2"]), ("cni1", 90, vec!["g3"])] {
        sh(&format!(
            "ip link add {bridge} up type bridge
             echo 1 > /proc/sys/net/ipv4/conf/{bridge}/route_localnet
             ip addr add 10.{third}.0.1/16 dev {bridge}; ip addr add fd{third}::1/64 dev {bridge} nodad
             ip -n out route add 10.{third}.0.0/16 via 192.0.2.1
             ip -n out route add fd{third}::/64 via 2001:db8::1"
        ));
        for (name, last) in names.iter().zip(2..) {
            container(name, &format!("v-{name} up master {bridge}"));
            sh(&format!(
                "ip link set v-{name} type bridge_slave hairpin on
                 ip -n {name} addr add 10.{third}.0.{last}/16 dev eth0
                 ip -n {name} addr add fd{third}::{last}/64 dev eth0 nodad
                 ip -n {name} route add default via 10.{third}.0.1
                 ip -n {name} route add default via fd{third}::1"
            ));
        }
    }
    for (name, last) in [("p1", 2), ("p2", 3)] {
        container(name, &format!("h-{name} up"));
        sh(&format!(
            "echo 1 > /proc/sys/net/ipv4/conf/h-{name}/route_localnet
             ip addr add 10.89.0.1/32 dev h-{name}; ip addr add fd89::1/128 dev h-{name} nodad
             ip route add 10.89.0.{last} dev h-{name}; ip route add fd89::{last} dev h-{name}
             ip -n out route replace 10.89.0.0/24 via 192.0.2.1
             ip -n out route replace fd89::/64 via 2001:db8::1
             ip -n {name} addr add 10.89.0.{last}/32 dev eth0
             ip -n {name} addr add fd89::{last}/128 dev eth0 nodad
             ip -n {name} route add 10.89.0.1 dev eth0; ip -n {name} route add fd89::1 dev eth0
             ip -n {name} route add default via 10.89.0.1; ip -n {name} route add default via fd89::1"
        ));
    }
    wired();
}

fn container(name: &str, host_side: &str) {
    sh(&format!(
        "ip netns add {name}; ip netns exec {name} sh -c '{NO_DAD}'
         ip -n {name} link set lo up
         ip link add {host_side} type veth peer eth0 netns {name}
         ip -n {name} link set eth0 up"
    ));
}

/// What is in the firewall of all of them.
fn elements() -> Vec<Element> {
    let mut elements = networks();
    elements.extend(["cni0", "cni1", "h-p1", "h-p2"].map(guest));
    elements.extend(["10.88.0.0/16", "10.89.0.0/24", "fd88::/64", "fd89::/64"].map(home));
    let masqueraded = ["10.88.0.2", "fd88::2", "10.89.0.2", "fd89::2"];
    elements.extend(masqueraded.map(|address| Element::MasqueradeFrom(address.parse().unwrap())));
    elements
}

/// Lets bridged packets go through the tables, or not; false where the kernel cannot.
fn bridged_packets_pass(value: u8) -> bool {
    let there = Path::new("/proc/sys/net/bridge").exists();
    if there {
        sh(&format!(
            "cd /proc/sys/net/bridge; echo {value} > bridge-nf-call-iptables; echo {value} > bridge-nf-call-ip6tables"
        ));
    }
    there || value == 0
}

fn add(firewall: &mut Firewall, element: Element) {
    firewall.apply(&[Step::AddElement(element)]).unwrap();
}

/// From where, to which address of the host, and as whom the client is seen by g1 and by p1.
const WAYS: [(&str, &str, &str, &str); 14] = [
    ("out", "192.0.2.1", "192.0.2.2", "192.0.2.2"),
    (HOST, "192.0.2.1", "192.0.2.1", "192.0.2.1"),
    (HOST, "127.0.0.1", "10.88.0.1", "10.89.0.1"),
    ("a2", "192.0.2.1", "10.88.0.1", "10.89.0.1"),
    ("b1", "192.0.2.1", "172.19.0.2", "172.19.0.2"),
    ("g1", "192.0.2.1", "10.88.0.1", "10.88.0.2"),
    ("g2", "10.88.0.1", "10.88.0.1", "10.88.0.3"),
    ("p1", "192.0.2.1", "10.89.0.2", "10.89.0.1"),
    ("p2", "10.89.0.1", "10.89.0.3", "10.89.0.3"),
    ("out", "2001:db8::1", "2001:db8::2", "2001:db8::2"),
    (HOST, "::1", "fd88::1", "fd89::1"),
    ("g1", "2001:db8::1", "fd88::1", "fd88::2"),
    ("g2", "fd88::1", "fd88::1", "fd88::3"),
    ("p1", "2001:db8::1", "fd89::2", "fd89::1"),
];

#[test]
fn a_published_port_of_a_guest_answers_on_every_way() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        let mut elements = elements();
        for protocol in BOTH {
            elements.push(publish(protocol, "0.0.0.0", 8080, "10.88.0.2:80"));
            elements.push(publish(protocol, "::", 8080, "[fd88::2]:80"));
            elements.push(publish(protocol, "0.0.0.0", 8081, "10.89.0.2:80"));
            elements.push(publish(protocol, "::", 8081, "[fd89::2]:80"));
            serve(protocol, "g1", "[::]:80");
            serve(protocol, "p1", "[::]:80");
        }
        created(&elements);
        for passes in [0, 1] {
            if !bridged_packets_pass(passes) {
                lab::skip("kernel has no br_netfilter");
                return;
            }
            for protocol in BOTH {
                for (from, to, seen_by_g1, seen_by_p1) in WAYS {
                    reaches(protocol, from, &at(to, 8080), &format!("g1 {seen_by_g1}"));
                    reaches(protocol, from, &at(to, 8081), &format!("p1 {seen_by_p1}"));
                }
            }
        }
    });
}

#[test]
fn what_leaves_takes_the_hosts_address_and_what_stays_does_not() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        let mut firewall = created(&elements());
        for name in ["out", "g1", "g2", "p1"] {
            BOTH.into_iter().for_each(|protocol| serve(protocol, name, "[::]:80"));
        }
        for (passes, protocol) in [(0, Protocol::Tcp), (0, Protocol::Udp), (1, Protocol::Tcp)] {
            bridged_packets_pass(passes);
            reaches(protocol, "g1", "192.0.2.2:80", "out 192.0.2.1");
            reaches(protocol, "g1", "[2001:db8::2]:80", "out 2001:db8::1");
            reaches(protocol, "p1", "192.0.2.2:80", "out 192.0.2.1");
            reaches(protocol, "g2", "192.0.2.2:80", "out 10.88.0.3");
            reaches(protocol, "g2", "[2001:db8::2]:80", "out fd88::3");
            reaches(protocol, "out", "10.88.0.2:80", "g1 192.0.2.2");
            reaches(protocol, "g1", "10.88.0.3:80", "g2 10.88.0.2");
            reaches(protocol, "g1", "[fd88::3]:80", "g2 fd88::2");
            reaches(protocol, "g1", "10.89.0.2:80", "p1 10.88.0.2");
            reaches(protocol, "p1", "10.88.0.2:80", "g1 10.89.0.2");
            reaches(protocol, "p1", "[fd88::2]:80", "g1 fd89::2");
        }
        firewall.apply(&["10.89.0.0/24", "fd88::/64"].map(|net| Step::DeleteElement(home(net)))).unwrap();
        reaches(Protocol::Tcp, "g1", "10.89.0.2:80", "p1 10.89.0.1");
        reaches(Protocol::Tcp, "p1", "10.88.0.2:80", "g1 10.89.0.2");
        reaches(Protocol::Tcp, "p1", "[fd88::2]:80", "g1 fd88::1");
    });
}

#[test]
fn a_subnet_within_another_is_one_and_goes_by_itself() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        serve(Protocol::Tcp, "p1", "[::]:80");
        let mut firewall = created(&elements());
        let mut change = |step: fn(Element) -> Step, net: &str, seen_as: &str| {
            firewall.apply(&[step(home(net))]).unwrap();
            reaches(Protocol::Tcp, "g1", "10.89.0.2:80", &format!("p1 {seen_as}"));
        };
        // One that begins where another ends.
        change(Step::AddElement, "10.88.255.0/24", "10.88.0.2");
        change(Step::DeleteElement, "10.88.255.0/24", "10.88.0.2");
        change(Step::AddElement, "10.88.0.0/15", "10.88.0.2");
        change(Step::AddElement, "10.89.0.0/28", "10.88.0.2");
        change(Step::DeleteElement, "10.89.0.0/24", "10.88.0.2");
        change(Step::DeleteElement, "10.88.0.0/15", "10.88.0.2");
        change(Step::DeleteElement, "10.89.0.0/28", "10.89.0.1");
        change(Step::AddElement, "0.0.0.0/0", "10.88.0.2");
    });
}

#[test]
fn what_is_for_all_keeps_its_sender() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        if !bridged_packets_pass(1) {
            lab::skip("kernel has no br_netfilter");
            return;
        }
        created(&elements());
        let hears = inside("g2", || {
            let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
            socket.join_multicast_v4(&[224, 0, 0, 251].into(), &[10, 88, 0, 3].into()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            socket
        });
        for group in ["224.0.0.251:5353", "255.255.255.255:5353"] {
            inside("g1", move || {
                let socket = UdpSocket::bind("10.88.0.2:0").unwrap();
                socket.set_broadcast(true).unwrap();
                socket.send_to(b"who?", group).unwrap();
            });
            let (_, from) = hears.recv_from(&mut [0; 16]).unwrap();
            assert_eq!(from.ip().to_string(), "10.88.0.2", "{group}");
        }
    });
}

#[test]
fn published_flows_come_from_the_host_where_that_is_wanted() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        let mut elements = elements();
        elements.push(publish(Protocol::Tcp, "0.0.0.0", 8080, "10.88.0.2:80"));
        elements.push(publish(Protocol::Tcp, "::", 8080, "[fd88::2]:80"));
        serve(Protocol::Tcp, "g1", "[::]:80");
        let mut firewall = created(&elements);
        reaches(Protocol::Tcp, "out", "192.0.2.1:8080", "g1 192.0.2.2");
        for address in ["10.88.0.2", "fd88::2"] {
            add(&mut firewall, Element::MasqueradeTo(address.parse().unwrap()));
        }
        reaches(Protocol::Tcp, "out", "192.0.2.1:8080", "g1 10.88.0.1");
        reaches(Protocol::Tcp, "out", "[2001:db8::1]:8080", "g1 fd88::1");
        reaches(Protocol::Tcp, "out", "10.88.0.2:80", "g1 192.0.2.2");
    });
}

#[test]
fn closed_bridges_are_closed_to_each_other_only() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        let mut elements = elements();
        elements.push(publish(Protocol::Tcp, "0.0.0.0", 8080, "10.90.0.2:80"));
        for name in ["out", "g1", "g2", "g3", "p1"] {
            serve(Protocol::Tcp, name, "[::]:80");
        }
        serve(Protocol::Udp, "g3", "[::]:80");
        let mut firewall = created(&elements);
        add(&mut firewall, Element::Closed("cni0".parse().unwrap()));
        reaches(Protocol::Tcp, "g2", "10.90.0.2:80", "g3 10.88.0.3");
        reaches(Protocol::Tcp, "g2", "192.0.2.1:8080", "g3 10.88.0.3");
        let begun = inside("g2", || UdpSocket::bind("10.88.0.3:0").unwrap());
        begun.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        let goes_on = || {
            begun.send_to(b"who?", "10.90.0.2:80").unwrap();
            begun.recv(&mut [0; 64]).is_ok()
        };
        assert!(goes_on());
        add(&mut firewall, Element::Closed("cni1".parse().unwrap()));
        assert!(!goes_on());
        for address in ["10.90.0.2:80", "[fd90::2]:80", "192.0.2.1:8080"] {
            gets_nowhere(Protocol::Tcp, "g2", address);
        }
        gets_nowhere(Protocol::Tcp, "g3", "10.88.0.2:80");
        reaches(Protocol::Tcp, "g3", "192.0.2.1:8080", "g3 10.90.0.1");
        reaches(Protocol::Tcp, "out", "192.0.2.1:8080", "g3 192.0.2.2");
        reaches(Protocol::Tcp, "p1", "10.88.0.2:80", "g1 10.89.0.2");
        reaches(Protocol::Tcp, "g2", "10.89.0.2:80", "p1 10.88.0.3");
        reaches(Protocol::Tcp, "g2", "192.0.2.2:80", "out 10.88.0.3");
        assert!(ask(Protocol::Tcp, HOST, "10.88.0.2:80").is_ok());
    });
}

#[test]
fn nothing_goes_back_into_a_sealed_bridge() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        serve(Protocol::Tcp, "g1", "[::]:80");
        serve(Protocol::Tcp, "p1", "[::]:80");
        let mut firewall = created(&elements());
        let by_the_host =
            "ip -n g2 route add 10.88.0.2 via 10.88.0.1; ip -n g1 route add 10.88.0.3 via 10.88.0.1";
        sh(by_the_host);
        add(&mut firewall, Element::Closed("cni0".parse().unwrap()));
        reaches(Protocol::Tcp, "g2", "10.88.0.2:80", "g1 10.88.0.3");
        add(&mut firewall, Element::Sealed("cni0".parse().unwrap()));
        gets_nowhere(Protocol::Tcp, "g2", "10.88.0.2:80");
        reaches(Protocol::Tcp, "g2", "10.89.0.2:80", "p1 10.88.0.3");
        sh(&by_the_host.replace("add", "del"));
        reaches(Protocol::Tcp, "g2", "10.88.0.2:80", "g1 10.88.0.3");
        if bridged_packets_pass(1) {
            gets_nowhere(Protocol::Tcp, "g2", "10.88.0.2:80");
            gets_nowhere(Protocol::Tcp, "g2", "[fd88::2]:80");
        }
    });
}

#[test]
fn a_guarded_port_is_entered_with_its_own_mac_only() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        serve(Protocol::Tcp, "g1", "[::]:80");
        serve(Protocol::Tcp, HOST, "[::]:90");
        let own = "02:42:0a:58:00:03";
        sh(&format!("ip -n g2 link set eth0 address {own}"));
        let mut elements = elements();
        elements.push(spoof("v-g2", own));
        let mut firewall = created(&elements);
        let everyone = ["10.88.0.2:80", "[fd88::2]:80", "10.88.0.1:90"];
        let all_reach = |from| everyone.iter().all(|address| ask(Protocol::Tcp, from, address).is_ok());
        assert!(all_reach("g2") && all_reach("g1"));
        sh("ip -n g2 link set eth0 address 02:42:0a:58:00:99; ip neigh flush all; ip -n g1 neigh flush all
            ip -n g1 link set eth0 address 02:42:0a:58:00:98");
        for address in everyone {
            gets_nowhere(Protocol::Tcp, "g2", address);
        }
        assert!(all_reach("g1"), "another port is not guarded");
        firewall.apply(&[Step::DeleteElement(spoof("v-g2", own))]).unwrap();
        sh("ip -n g2 neigh flush all");
        assert!(all_reach("g2"), "without the guard it may");
    });
}

#[test]
fn a_guest_neither_reaches_the_hosts_loopback_nor_passes_for_it() {
    lab::run(lab::here!(), || {
        lay_out_guests();
        for protocol in BOTH {
            serve(protocol, HOST, "127.0.0.1:9090");
        }
        let server = UdpSocket::bind("0.0.0.0:53").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        let forges = |from: &str, host: &'static str| {
            inside(from, move || {
                let client = UdpSocket::bind("127.0.0.2:0").unwrap();
                client.send_to(b"believe me", (host, 53)).unwrap();
            });
            server.recv_from(&mut [0; 16]).is_ok()
        };
        let from = [("g2", "10.88.0.1", "10.88.0.3"), ("p2", "10.89.0.1", "10.89.0.3")];
        for (name, host, own) in from {
            sh(&format!("ip netns exec {name} sh -c 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet'"));
            assert!(forges(name, host), "it arrives without the firewall");
            sh(&format!(
                "ip -n {name} addr del 127.0.0.1/8 dev lo; ip -n {name} route add 127.0.0.1 via {host} src {own}"
            ));
            reaches(Protocol::Tcp, name, "127.0.0.1:9090", &format!(" {own}"));
        }
        created(&elements());
        for (name, host, _) in from {
            BOTH.into_iter().for_each(|protocol| gets_nowhere(protocol, name, "127.0.0.1:9090"));
            sh(&format!("ip -n {name} addr add 127.0.0.2/32 dev lo"));
            assert!(!forges(name, host), "{name}");
        }
    });
}
