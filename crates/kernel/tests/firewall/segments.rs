//! Segments that are kept from each other: two of each isolation, `o` open, `i` isolated, `s` strict.
//!
//! | namespace | is | addresses |
//! |---|---|---|
//! | o1, o2, i1, i2, s1, s2 | containers, each alone on the bridge `seg-` and its name | 10.N.0.2, fdN::2; N from 60 on |

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use linkspan_lab as lab;
use linkspan_model::Protocol;
use linkspan_plan::{Element, Step};

use crate::net::{
    HOST, NO_DAD, ask, at, bridge, created, gets_nowhere, guest, inside, lay_out, publish, reaches, serve,
    sh, wired,
};

const ALL: [&str; 6] = ["o1", "o2", "i1", "i2", "s1", "s2"];

fn number(name: &str) -> usize {
    60 + ALL.iter().position(|other| *other == name).unwrap()
}

/// Its addresses of both families.
fn addresses(name: &str) -> [String; 2] {
    let number = number(name);
    [format!("10.{number}.0.2"), format!("fd{number}::2")]
}

fn lay_out_segments() {
    lay_out();
    for name in ALL {
        let (bridge, number) = (format!("seg-{name}"), number(name));
        sh(&format!(
            "ip link add {bridge} up type bridge
             echo 1 > /proc/sys/net/ipv4/conf/{bridge}/route_localnet
             ip addr add 10.{number}.0.1/24 dev {bridge}; ip addr add fd{number}::1/64 dev {bridge} nodad
             ip -n out route add 10.{number}.0.0/24 via 192.0.2.1
             ip -n out route add fd{number}::/64 via 2001:db8::1
             ip netns add {name}; ip netns exec {name} sh -c '{NO_DAD}'
             ip -n {name} link set lo up
             ip link add v-{name} up master {bridge} type veth peer eth0 netns {name}
             ip link set v-{name} type bridge_slave hairpin on
             ip -n {name} link set eth0 up
             ip -n {name} addr add 10.{number}.0.2/24 dev eth0
             ip -n {name} addr add fd{number}::2/64 dev eth0 nodad
             ip -n {name} route add default via 10.{number}.0.1
             ip -n {name} route add default via fd{number}::1"
        ));
        serve(Protocol::Tcp, name, "[::]:80");
        serve(Protocol::Udp, name, "[::]:80");
    }
    wired();
}

fn of(name: &str, element: impl Fn(linkspan_model::IfName) -> Element) -> Element {
    element(format!("seg-{name}").parse().unwrap())
}

fn elements() -> Vec<Element> {
    let mut elements: Vec<_> = ALL.iter().map(|name| guest(&format!("seg-{name}"))).collect();
    elements.extend(ALL.map(|name| of(name, Element::Segment)));
    elements.extend(["i1", "i2"].map(|name| of(name, Element::Isolated)));
    elements.extend(["s1", "s2"].map(|name| of(name, Element::Strict)));
    elements
}

/// Whether they meet, by what stands in the first letters of their names.
fn meet(one: &str, other: &str) -> bool {
    !matches!((&one[..1], &other[..1]), ("s", _) | (_, "s") | ("i", "i"))
}

fn pings(from: &'static str, address: &str) -> bool {
    let ping =
        format!("ip netns exec {from} ping -c 1 -w 1 -i 0.1 {address} > /dev/null && echo yes || echo no");
    sh(&ping).trim() == "yes"
}

#[test]
fn segments_meet_as_far_as_both_want_it() {
    lab::run(lab::here!(), || {
        lay_out_segments();
        created(&elements());
        for (from, to) in ALL.iter().flat_map(|from| ALL.iter().map(move |to| (*from, *to))) {
            if from == to {
                continue;
            }
            for (address, source) in addresses(to).iter().zip(addresses(from)) {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    if meet(from, to) {
                        reaches(protocol, from, &at(address, 80), &format!("{to} {source}"));
                    } else {
                        gets_nowhere(protocol, from, &at(address, 80));
                    }
                }
            }
        }
        assert!(pings("o1", "10.62.0.2") && pings("i1", "fd60::2"));
        assert!(!pings("o1", "10.64.0.2") && !pings("s1", "fd60::2"));
    });
}

#[test]
fn everyone_reaches_the_host_the_outside_and_published_ports() {
    lab::run(lab::here!(), || {
        lay_out_segments();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            serve(protocol, "out", "[::]:80");
            serve(protocol, HOST, "192.0.2.1:90");
        }
        let mut elements = elements();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (name, port) in ALL.iter().zip(8000..) {
                let [v4, v6] = addresses(name);
                elements.push(publish(protocol, "0.0.0.0", port, &at(&v4, 80)));
                elements.push(publish(protocol, "::", port, &at(&v6, 80)));
            }
        }
        created(&elements);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for from in ALL {
                let [v4, v6] = addresses(from);
                reaches(protocol, from, "192.0.2.2:80", &format!("out {v4}"));
                reaches(protocol, from, "[2001:db8::2]:80", &format!("out {v6}"));
                assert!(ask(protocol, from, "192.0.2.1:90").is_ok());
                reaches(protocol, "out", &at(&v6, 80), &format!("{from} 2001:db8::2"));
                assert!(ask(protocol, HOST, &at(&v4, 80)).is_ok());
                for (to, port) in ALL.iter().zip(8000..) {
                    let source = if from == *to { format!("10.{}.0.1", number(to)) } else { v4.clone() };
                    reaches(protocol, from, &at("192.0.2.1", port), &format!("{to} {source}"));
                    assert!(ask(protocol, from, &at("2001:db8::1", port)).is_ok());
                }
            }
        }
    });
}

#[test]
fn a_bridge_that_is_two_networks_is_as_strict_as_the_stricter() {
    lab::run(lab::here!(), || {
        lay_out_segments();
        let mut elements = elements();
        elements.push(of("i1", Element::Strict));
        let mut firewall = created(&elements);
        gets_nowhere(Protocol::Tcp, "o1", "10.62.0.2:80");
        gets_nowhere(Protocol::Tcp, "i1", "10.60.0.2:80");
        firewall.apply(&[Step::DeleteElement(of("i1", Element::Strict))]).unwrap();
        reaches(Protocol::Tcp, "o1", "10.62.0.2:80", "i1 10.60.0.2");
        gets_nowhere(Protocol::Tcp, "i2", "10.62.0.2:80");
    });
}

#[test]
fn nothing_else_is_kept_from_segments() {
    lab::run(lab::here!(), || {
        lay_out_segments();
        let mut elements = elements();
        elements.extend(["br-a", "br-b"].map(bridge));
        created(&elements);
        reaches(Protocol::Tcp, "a1", "10.64.0.2:80", "s1 172.18.0.2");
        serve(Protocol::Tcp, "a1", "[::]:80");
        gets_nowhere(Protocol::Tcp, "o1", "172.18.0.2:80");
    });
}

#[test]
fn what_goes_out_takes_the_address_that_is_wanted() {
    lab::run(lab::here!(), || {
        lay_out_segments();
        sh(
            "ip addr add 192.0.2.77/24 dev ext-out; ip addr add 2001:db8::77/64 dev ext-out nodad preferred_lft 0",
        );
        let outbound = |name: &str, address: &str| {
            of(name, |bridge| Element::Outbound { bridge, address: address.parse().unwrap() })
        };
        let mut elements = elements();
        elements.extend(["o1", "o2", "s1", "s2"].map(|name| of(name, Element::Masquerade)));
        elements.extend([outbound("o1", "192.0.2.77"), outbound("s1", "2001:db8::77")]);
        elements.push(outbound("i1", "192.0.2.77"));
        created(&elements);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            serve(protocol, "out", "[::]:80");
            let sources = [
                ("o1", "192.0.2.77", "2001:db8::1"),
                ("o2", "192.0.2.1", "2001:db8::1"),
                ("i1", "192.0.2.77", "fd62::2"),
                ("s1", "192.0.2.1", "2001:db8::77"),
            ];
            for (from, v4, v6) in sources {
                reaches(protocol, from, "192.0.2.2:80", &format!("out {v4}"));
                reaches(protocol, from, "[2001:db8::2]:80", &format!("out {v6}"));
            }
        }
        let own = "ip -n o1 addr add 10.60.0.3/24 dev eth0; ip -n o1 route add 10.60.0.9 via 10.60.0.1
                   ip netns add other; ip -n other link set lo up
                   ip link add v-other up master seg-o1 type veth peer eth0 netns other
                   ip -n other link set eth0 up; ip -n other addr add 10.60.0.9/24 dev eth0";
        sh(own);
        wired();
        serve(Protocol::Tcp, "other", "[::]:80");
        reaches(Protocol::Tcp, "o1", "10.60.0.9:80", "other 10.60.0.2");
    });
}

#[test]
fn a_connection_goes_on_while_the_table_is_made_anew() {
    lab::run(lab::here!(), || {
        lay_out_segments();
        let mut elements = elements();
        elements.push(of("s1", Element::Masquerade));
        let mut firewall = created(&elements);
        let listener = inside("out", || std::net::TcpListener::bind("192.0.2.2:90").unwrap());
        let to: SocketAddr = "192.0.2.2:90".parse().unwrap();
        let mut client =
            inside("s1", move || TcpStream::connect_timeout(&to, Duration::from_secs(1)).unwrap());
        let (mut server, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), "192.0.2.1");
        let mut goes_on = || {
            use std::io::{Read, Write};
            client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            server.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        };
        goes_on();
        sh("nft flush ruleset");
        let again: Vec<_> =
            [Step::CreateFirewall].into_iter().chain(elements.into_iter().map(Step::AddElement)).collect();
        firewall.apply(&again).unwrap();
        goes_on();
    });
}
