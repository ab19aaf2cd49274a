//! Published ports, on every way to them.

use std::path::Path;

use linkspan_lab as lab;
use linkspan_model::Protocol;
use linkspan_plan::{Element, Step};

use crate::net::{
    HOST, at, created, gets_nowhere, has_sctp, lay_out, networks, publish, range, reaches, serve, sh,
};

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Everything on port 8080 of the host, and of a1 on 80.
fn published(protocols: &[Protocol]) -> Vec<Element> {
    let mut elements = networks();
    for protocol in protocols {
        elements.push(publish(*protocol, "0.0.0.0", 8080, "172.18.0.2:80"));
        elements.push(publish(*protocol, "::", 8080, "[fd0a::2]:80"));
        serve(*protocol, "a1", "[::]:80");
    }
    elements
}

/// From where, to which address of the host, and as whom the client is seen.
const WAYS: [(&str, &str, &str); 18] = [
    ("out", "192.0.2.1", "192.0.2.2"),
    ("out", "192.0.2.9", "192.0.2.2"),
    ("out", "172.18.0.1", "192.0.2.2"),
    (HOST, "192.0.2.1", "192.0.2.1"),
    (HOST, "172.18.0.1", "172.18.0.1"),
    (HOST, "127.0.0.1", "172.18.0.1"),
    (HOST, "127.1.2.3", "172.18.0.1"),
    ("a2", "192.0.2.1", "172.18.0.1"),
    ("a2", "172.18.0.1", "172.18.0.1"),
    ("a1", "192.0.2.1", "172.18.0.1"),
    ("b1", "192.0.2.1", "172.19.0.2"),
    ("b1", "172.19.0.1", "172.19.0.2"),
    ("out", "2001:db8::1", "2001:db8::2"),
    (HOST, "2001:db8::1", "2001:db8::1"),
    (HOST, "::1", "fd0a::1"),
    ("a2", "2001:db8::1", "fd0a::1"),
    ("a1", "fd0a::1", "fd0a::1"),
    ("b1", "fd0b::1", "fd0b::2"),
];

fn every_way(protocol: Protocol) {
    for (from, to, seen_as) in WAYS {
        reaches(protocol, from, &at(to, 8080), &format!("a1 {seen_as}"));
    }
}

#[test]
fn a_published_port_answers_on_every_way() {
    lab::run(lab::here!(), || {
        lay_out();
        created(&published(&BOTH));
        BOTH.into_iter().for_each(every_way);
    });
}

#[test]
fn a_published_port_answers_with_bridged_packets_going_through_the_tables() {
    lab::run(lab::here!(), || {
        lay_out();
        if !Path::new("/proc/sys/net/bridge").exists() {
            lab::skip("kernel has no br_netfilter");
            return;
        }
        sh(
            "cd /proc/sys/net/bridge && echo 1 > bridge-nf-call-iptables && echo 1 > bridge-nf-call-ip6tables",
        );
        sh("ip link set v-a1 type bridge_slave hairpin on");
        created(&published(&BOTH));
        BOTH.into_iter().for_each(every_way);
        reaches(Protocol::Tcp, "a2", "172.18.0.2:80", "a1 172.18.0.3");
        gets_nowhere(Protocol::Tcp, "b1", "172.18.0.2:80");
    });
}

#[test]
fn sctp_is_published_where_the_kernel_has_it() {
    lab::run(lab::here!(), || {
        if !has_sctp() {
            lab::skip("kernel has no sctp");
            return;
        }
        lay_out();
        let mut elements = published(&[Protocol::Sctp]);
        elements.push(range(Protocol::Sctp, 8000, 8010, "172.18.0.2"));
        serve(Protocol::Sctp, "a1", "[::]:8010");
        created(&elements);
        every_way(Protocol::Sctp);
        reaches(Protocol::Sctp, "out", "192.0.2.1:8010", "a1 192.0.2.2");
        gets_nowhere(Protocol::Sctp, "out", "192.0.2.1:8011");
        gets_nowhere(Protocol::Sctp, "out", "172.18.0.2:80");
    });
}

#[test]
fn a_port_of_one_address_answers_only_there() {
    lab::run(lab::here!(), || {
        lay_out();
        let mut elements = networks();
        for protocol in BOTH {
            elements.push(publish(protocol, "192.0.2.9", 8080, "172.18.0.2:80"));
            elements.push(publish(protocol, "0.0.0.0", 8081, "172.18.0.2:80"));
            elements.push(publish(protocol, "192.0.2.9", 8081, "172.19.0.2:80"));
            serve(protocol, "a1", "[::]:80");
            serve(protocol, "b1", "[::]:80");
        }
        created(&elements);
        for protocol in BOTH {
            for from in ["out", HOST, "b1"] {
                gets_nowhere(protocol, from, "192.0.2.1:8080");
            }
            reaches(protocol, "out", "192.0.2.9:8080", "a1 192.0.2.2");
            reaches(protocol, "a1", "192.0.2.9:8080", "a1 172.18.0.1");
            reaches(protocol, "out", "192.0.2.1:8081", "a1 192.0.2.2");
            reaches(protocol, "out", "192.0.2.9:8081", "b1 192.0.2.2");
        }
    });
}

#[test]
fn what_is_not_sent_to_the_host_is_not_redirected() {
    lab::run(lab::here!(), || {
        lay_out();
        sh("ip -n far route add default via 198.51.100.1");
        let mut elements = published(&[Protocol::Tcp]);
        elements.push(publish(Protocol::Tcp, "198.51.100.2", 8080, "172.18.0.2:80"));
        created(&elements);
        serve(Protocol::Tcp, "far", "[::]:8080");
        reaches(Protocol::Tcp, "b1", "198.51.100.2:8080", "far 172.19.0.2");
        reaches(Protocol::Tcp, HOST, "198.51.100.2:8080", "far 198.51.100.1");
    });
}

#[test]
fn ranges_answer_from_the_first_to_the_last() {
    lab::run(lab::here!(), || {
        lay_out();
        let mut elements = networks();
        for protocol in BOTH {
            elements.push(range(protocol, 8000, 8010, "172.18.0.2"));
            elements.push(range(protocol, 8011, 8020, "172.19.0.2"));
            elements.push(range(protocol, 60000, 65535, "172.18.0.2"));
            elements.push(range(protocol, 8000, 8010, "fd0a::2"));
            for port in [7999, 8000, 8005, 8010, 8021, 59999, 60000, 65535] {
                serve(protocol, "a1", &at("::", port));
            }
            for port in [8011, 8020] {
                serve(protocol, "b1", &at("::", port));
            }
        }
        created(&elements);
        for protocol in BOTH {
            for port in [8000, 8005, 8010, 60000, 65535] {
                reaches(protocol, "out", &at("192.0.2.1", port), "a1 192.0.2.2");
            }
            for port in [8011, 8020] {
                reaches(protocol, "out", &at("192.0.2.1", port), "b1 192.0.2.2");
            }
            for port in [7999, 8021, 59999] {
                gets_nowhere(protocol, "out", &at("192.0.2.1", port));
            }
            reaches(protocol, "out", "[2001:db8::1]:8010", "a1 2001:db8::2");
            reaches(protocol, HOST, "127.0.0.1:8010", "a1 172.18.0.1");
        }
    });
}

#[test]
fn a_sandbox_with_another_gateway_can_still_reply() {
    lab::run(lab::here!(), || {
        lay_out();
        let mut elements = networks();
        elements.push(publish(Protocol::Tcp, "0.0.0.0", 8080, "172.21.0.2:80"));
        elements.push(publish(Protocol::Tcp, "::", 8080, "[fd0d::2]:80"));
        serve(Protocol::Tcp, "d1", "[::]:80");
        let mut firewall = created(&elements);
        gets_nowhere(Protocol::Tcp, "out", "192.0.2.1:8080");
        let foreign = Element::ForeignGateway("br-d".parse().unwrap());
        firewall.apply(&[Step::AddElement(foreign)]).unwrap();
        reaches(Protocol::Tcp, "out", "192.0.2.1:8080", "d1 172.21.0.1");
        reaches(Protocol::Tcp, "out", "[2001:db8::1]:8080", "d1 fd0d::1");
        reaches(Protocol::Tcp, HOST, "192.0.2.1:8080", "d1 172.21.0.1");
        reaches(Protocol::Tcp, HOST, "127.0.0.1:8080", "d1 172.21.0.1");
    });
}
