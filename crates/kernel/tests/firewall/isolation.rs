//! Networks that are apart, from each other and from the outside.

use linkspan_lab as lab;
use linkspan_model::Protocol;
use linkspan_plan::{Element, Step};

use crate::net::{HOST, ask, at, created, gets_nowhere, lay_out, networks, publish, reaches, serve, sh};

#[test]
fn sandboxes_reach_the_outside_as_their_network_says() {
    lab::run(lab::here!(), || {
        lay_out();
        created(&networks());
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            serve(protocol, "out", "[::]:80");
            reaches(protocol, "a1", "192.0.2.2:80", "out 192.0.2.1");
            reaches(protocol, "a1", "[2001:db8::2]:80", "out 2001:db8::1");
            reaches(protocol, "b1", "192.0.2.2:80", "out 172.19.0.2");
            reaches(protocol, "b1", "[2001:db8::2]:80", "out fd0b::2");
            reaches(protocol, HOST, "192.0.2.2:80", "out 192.0.2.1");
        }
    });
}

#[test]
fn nobody_enters_what_is_not_published() {
    lab::run(lab::here!(), || {
        lay_out();
        for (name, _, _) in SANDBOXES {
            serve(Protocol::Tcp, name, "[::]:80");
            serve(Protocol::Udp, name, "[::]:80");
        }
        reaches(Protocol::Tcp, "out", "172.18.0.2:80", "a1 192.0.2.2");
        reaches(Protocol::Tcp, "a1", "172.19.0.2:80", "b1 172.18.0.2");
        let mut elements = networks();
        elements.push(publish(Protocol::Tcp, "0.0.0.0", 8080, "172.18.0.2:80"));
        created(&elements);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (to, address4, address6) in SANDBOXES {
                let network = &to[..1];
                for from in ["out", "a1", "b1", "c1"] {
                    if !from.starts_with(network) {
                        gets_nowhere(protocol, from, &at(address4, 80));
                        gets_nowhere(protocol, from, &at(address6, 80));
                    }
                }
                assert!(ask(protocol, HOST, &at(address4, 80)).is_ok(), "the host reaches {to}");
                assert!(ask(protocol, HOST, &at(address6, 80)).is_ok(), "the host reaches {to}");
            }
            reaches(protocol, "a2", "172.18.0.2:80", "a1 172.18.0.3");
            reaches(protocol, "a2", "[fd0a::2]:80", "a1 fd0a::3");
        }
    });
}

/// One sandbox of each network that has a route to elsewhere.
const SANDBOXES: [(&str, &str, &str); 3] =
    [("a1", "172.18.0.2", "fd0a::2"), ("b1", "172.19.0.2", "fd0b::2"), ("c1", "172.20.0.2", "fd0c::2")];

#[test]
fn an_internal_network_is_shut_in_even_where_it_is_published() {
    lab::run(lab::here!(), || {
        lay_out();
        serve(Protocol::Tcp, "out", "[::]:80");
        serve(Protocol::Tcp, "a1", "[::]:80");
        serve(Protocol::Tcp, "c1", "[::]:80");
        serve(Protocol::Tcp, HOST, "[::]:90");
        reaches(Protocol::Tcp, "c1", "192.0.2.2:80", "out 172.20.0.2");
        let mut elements = networks();
        elements.push(publish(Protocol::Tcp, "0.0.0.0", 8080, "172.20.0.2:80"));
        elements.push(publish(Protocol::Tcp, "0.0.0.0", 8081, "172.18.0.2:80"));
        created(&elements);
        for address in ["192.0.2.2:80", "[2001:db8::2]:80", "192.0.2.1:8081"] {
            gets_nowhere(Protocol::Tcp, "c1", address);
        }
        gets_nowhere(Protocol::Tcp, "out", "192.0.2.1:8080");
        gets_nowhere(Protocol::Tcp, "a1", "192.0.2.1:8080");
        reaches(Protocol::Tcp, "c1", "172.20.0.1:90", " 172.20.0.2");
        reaches(Protocol::Tcp, "c1", "172.20.0.1:8080", "c1 172.20.0.1");
        reaches(Protocol::Tcp, HOST, "127.0.0.1:8080", "c1 172.20.0.1");
    });
}

#[test]
fn sandboxes_that_are_apart_do_not_meet_by_way_of_the_host() {
    lab::run(lab::here!(), || {
        lay_out();
        for name in ["a1", "a2"] {
            sh(&format!("ip link set v-{name} type bridge_slave isolated on"));
            serve(Protocol::Tcp, name, "[::]:80");
        }
        sh("ip -n a2 route add 172.18.0.2 via 172.18.0.1; ip -n a1 route add 172.18.0.3 via 172.18.0.1
            ip -n a2 route add fd0a::2 via fd0a::1; ip -n a1 route add fd0a::3 via fd0a::1");
        let mut elements = networks();
        elements.push(publish(Protocol::Tcp, "0.0.0.0", 8080, "172.18.0.2:80"));
        let mut firewall = created(&elements);
        reaches(Protocol::Tcp, "a2", "172.18.0.2:80", "a1 172.18.0.3");
        reaches(Protocol::Tcp, "a2", "[fd0a::2]:80", "a1 fd0a::3");
        firewall.apply(&[Step::AddElement(Element::Apart("br-a".parse().unwrap()))]).unwrap();
        gets_nowhere(Protocol::Tcp, "a2", "172.18.0.2:80");
        gets_nowhere(Protocol::Tcp, "a2", "[fd0a::2]:80");
        reaches(Protocol::Tcp, "a2", "172.18.0.1:8080", "a1 172.18.0.1");
        reaches(Protocol::Tcp, "b1", "172.18.0.1:8080", "a1 172.19.0.2");
    });
}

#[test]
fn what_the_host_forwards_for_others_is_left_alone() {
    lab::run(lab::here!(), || {
        lay_out();
        sh("ip -n out route add 198.51.100.0/24 via 192.0.2.1
            ip -n far route add 192.0.2.0/24 via 198.51.100.1");
        created(&networks());
        serve(Protocol::Tcp, "far", "[::]:80");
        reaches(Protocol::Tcp, "out", "198.51.100.2:80", "far 192.0.2.2");
    });
}
