//! What is bound to, or published on, 127.0.0.1 is for the host alone.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use linkspan_lab as lab;
use linkspan_model::Protocol;
use linkspan_plan::Element;

use crate::net::{HOST, ask, created, gets_nowhere, inside, lay_out, networks, publish, reaches, serve, sh};

/// Makes a namespace send 127.0.0.1 over the wire, to the host's address there.
fn forge(namespace: &str, host: &str, own: &str) {
    sh(&format!(
        "ip netns exec {namespace} sh -c 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet'
         ip -n {namespace} addr del 127.0.0.1/8 dev lo
         ip -n {namespace} route add 127.0.0.1 via {host} src {own}"
    ));
}

fn on_loopback() -> Vec<Element> {
    let mut elements = networks();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        elements.push(publish(protocol, "127.0.0.1", 8080, "172.18.0.2:80"));
        elements.push(publish(protocol, "0.0.0.0", 8081, "172.18.0.2:80"));
        serve(protocol, "a1", "[::]:80");
        serve(protocol, HOST, "127.0.0.1:9090");
    }
    elements
}

#[test]
fn a_port_of_127_0_0_1_is_for_the_host_alone() {
    lab::run(lab::here!(), || {
        lay_out();
        created(&on_loopback());
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            reaches(protocol, HOST, "127.0.0.1:8080", "a1 172.18.0.1");
            reaches(protocol, HOST, "127.0.0.1:9090", " 127.0.0.1");
            for address in ["192.0.2.1:8080", "172.18.0.1:8080"] {
                for from in [HOST, "out", "a2", "b1"] {
                    gets_nowhere(protocol, from, address);
                }
            }
        }
    });
}

#[test]
fn a_neighbour_cannot_forge_the_loopback_address() {
    lab::run(lab::here!(), || {
        lay_out();
        let elements = on_loopback();
        forge("out", "192.0.2.1", "192.0.2.2");
        // Others may have opened it, as kube-proxy does: then only the firewall is left.
        sh("echo 1 > /proc/sys/net/ipv4/conf/ext-out/route_localnet");
        reaches(Protocol::Tcp, "out", "127.0.0.1:9090", " 192.0.2.2");
        created(&elements);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for port in [8080, 8081] {
                gets_nowhere(protocol, "out", &format!("127.0.0.1:{port}"));
            }
            reaches(protocol, "out", "192.0.2.1:8081", "a1 192.0.2.2");
        }
    });
}

#[test]
fn a_sandbox_cannot_reach_the_hosts_loopback() {
    lab::run(lab::here!(), || {
        lay_out();
        let elements = on_loopback();
        forge("b1", "172.19.0.1", "172.19.0.2");
        forge("a2", "172.18.0.1", "172.18.0.3");
        for (from, seen_as) in [("b1", "172.19.0.2"), ("a2", "172.18.0.3")] {
            reaches(Protocol::Tcp, from, "127.0.0.1:9090", &format!(" {seen_as}"));
        }
        created(&elements);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for from in ["b1", "a2"] {
                for port in [8080, 8081, 9090] {
                    gets_nowhere(protocol, from, &format!("127.0.0.1:{port}"));
                }
            }
        }
    });
}

#[test]
fn a_sandbox_cannot_pass_for_the_hosts_loopback() {
    lab::run(lab::here!(), || {
        lay_out();
        sh("ip netns exec b1 sh -c 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet'");
        let server = UdpSocket::bind("172.19.0.1:53").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        let forge = || {
            inside("b1", || {
                let client = UdpSocket::bind("127.0.0.2:0").unwrap();
                client.send_to(b"believe me", "172.19.0.1:53").unwrap();
            });
        };
        forge();
        let (_, from) = server.recv_from(&mut [0; 16]).expect("it arrives without the firewall");
        assert!(from.ip().is_loopback());
        created(&networks());
        forge();
        assert!(server.recv_from(&mut [0; 16]).is_err());
        gets_nowhere(Protocol::Udp, "b1", "172.19.0.1:54");
    });
}

/// Whether bridged frames pass the firewall too, where the kernel can do that.
fn bridged_frames_pass_the_firewall(value: &str) {
    sh(&format!("cd /proc/sys/net/bridge 2>/dev/null && echo {value} > bridge-nf-call-ip6tables || true"));
}

#[test]
fn ipv6_loopback_reaches_what_is_published_there_and_nobody_else_does() {
    lab::run(lab::here!(), || {
        lay_out();
        let mut elements = networks();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            elements.push(publish(protocol, "::1", 8080, "[fd0a::2]:80"));
            serve(protocol, "a1", "[::]:80");
            serve(protocol, HOST, "[::1]:9090");
        }
        created(&elements);
        for passes in ["1", "0"] {
            bridged_frames_pass_the_firewall(passes);
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                reaches(protocol, HOST, "[::1]:8080", "a1 fd0a::1");
                reaches(protocol, HOST, "[::1]:9090", " ::1");
            }
        }
        for from in [HOST, "out", "a2", "b1"] {
            gets_nowhere(Protocol::Tcp, from, "[2001:db8::1]:8080");
            gets_nowhere(Protocol::Udp, from, "[2001:db8::1]:8080");
        }
    });
}

#[test]
fn ipv6_loopback_is_refused_at_once_where_nobody_listens_inside() {
    lab::run(lab::here!(), || {
        lay_out();
        let mut elements = networks();
        elements.push(publish(Protocol::Tcp, "::", 8080, "[fd0a::2]:80"));
        created(&elements);
        let refused = ask(Protocol::Tcp, HOST, "[::1]:8080").unwrap_err().kind();
        assert_eq!(refused, ErrorKind::ConnectionRefused);
    });
}

#[test]
fn ipv6_loopback_cannot_be_forged() {
    lab::run(lab::here!(), || {
        lay_out();
        for (from, host) in [("a2", "fd0a::1"), ("b1", "fd0b::1"), ("out", "2001:db8::1")] {
            sh(&format!("ip -n {from} -6 addr del ::1/128 dev lo; ip -n {from} -6 route add ::1 via {host}"));
        }
        let mut elements = networks();
        elements.push(publish(Protocol::Udp, "::", 8080, "[fd0a::2]:80"));
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            serve(protocol, "a1", "[::]:80");
            serve(protocol, HOST, "[::1]:9090");
        }
        created(&elements);
        for passes in ["1", "0"] {
            bridged_frames_pass_the_firewall(passes);
            for from in ["a2", "b1", "out"] {
                gets_nowhere(Protocol::Tcp, from, "[::1]:9090");
                gets_nowhere(Protocol::Udp, from, "[::1]:9090");
                gets_nowhere(Protocol::Udp, from, "[::1]:8080");
            }
        }
    });
}

#[test]
fn no_answer_is_led_to_ipv6_loopback_that_it_did_not_ask_for() {
    lab::run(lab::here!(), || {
        lay_out();
        let mut elements = networks();
        elements.push(publish(Protocol::Udp, "::", 8080, "[fd0a::2]:80"));
        serve(Protocol::Udp, "a1", "[::]:80");
        created(&elements);
        let victim = UdpSocket::bind("[::1]:5353").unwrap();
        victim.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        // A sandbox asks a published port in the host's name, so that the answer goes to the host's ::1.
        let forge = |from: &str, host: &'static str| {
            inside(from, move || {
                let socket = UdpSocket::bind("[::1]:5353").unwrap();
                socket.send_to(b"who?", (host, 8080)).unwrap();
            });
            victim.recv_from(&mut [0; 64]).is_ok()
        };
        let ways = [("a2", "fd0a::1"), ("a2", "2001:db8::1"), ("b1", "fd0b::1"), ("out", "2001:db8::1")];
        for passes in ["1", "0"] {
            bridged_frames_pass_the_firewall(passes);
            for (from, host) in ways {
                assert!(!forge(from, host), "{from} by way of {host}");
            }
        }
        if std::path::Path::new("/proc/sys/net/bridge").exists() {
            bridged_frames_pass_the_firewall("1");
            sh("nft flush chain inet linkspan guard");
            assert!(forge("a2", "fd0a::1"), "nothing but the guard keeps it away");
        }
    });
}
