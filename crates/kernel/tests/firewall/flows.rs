//! Tracked flows that outlive their mapping.

use linkspan_lab as lab;
use linkspan_model::{PortRange, Protocol};
use linkspan_plan::Step;

use crate::net::{ask_udp, client, created, inside, lay_out, networks, publish, serve};

fn flush(host: &str, first: u16, last: u16) -> Step {
    Step::FlushFlows {
        protocol: Protocol::Udp,
        host: host.parse().unwrap(),
        ports: PortRange { first, last },
    }
}

/// A client that goes on sending from one socket is redirected by the mapping it once met, until its flow is
/// forgotten by `steps`.
fn follows(host: &str, published_on: &str, to: [&str; 2], steps: &[Step]) {
    lay_out();
    for name in ["a1", "b1"] {
        serve(Protocol::Udp, name, "[::]:53");
    }
    let [old, new] = to.map(|to| publish(Protocol::Udp, published_on, 5353, to));
    let mut elements = networks();
    elements.push(old.clone());
    let mut firewall = created(&elements);
    let address = format!("{host}:5353").parse().unwrap();
    let socket = inside("out", move || client(address));
    let answerer = || ask_udp(&socket, address).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(answerer(), "a1");
    let mut change = vec![Step::DeleteElement(old), Step::AddElement(new)];
    firewall.apply(&change).unwrap();
    assert_eq!(answerer(), "a1", "the flow is tracked");
    for other in [flush("192.0.2.77", 5353, 5353), flush("0.0.0.0", 5354, 5400), flush("::", 5352, 5352)] {
        firewall.apply(&[other]).unwrap();
        assert_eq!(answerer(), "a1", "the flow of another port or address");
    }
    change.extend(steps.iter().cloned());
    change.splice(..2, []);
    firewall.apply(&change).unwrap();
    assert_eq!(answerer(), "b1");
    firewall.apply(&change).unwrap();
}

#[test]
fn a_flow_follows_a_changed_port() {
    lab::run(lab::here!(), || {
        follows("192.0.2.1", "0.0.0.0", ["172.18.0.2:53", "172.19.0.2:53"], &[flush("0.0.0.0", 5353, 5353)]);
    });
}

#[test]
fn a_flow_follows_a_changed_port_of_one_address() {
    lab::run(lab::here!(), || {
        let steps = [flush("192.0.2.9", 5353, 5353)];
        follows("192.0.2.9", "192.0.2.9", ["172.18.0.2:53", "172.19.0.2:53"], &steps);
    });
}

#[test]
fn a_flow_follows_a_changed_range() {
    lab::run(lab::here!(), || {
        let steps = [flush("192.0.2.1", 1, 7), flush("0.0.0.0", 5300, 5400)];
        follows("192.0.2.1", "0.0.0.0", ["172.18.0.2:53", "172.19.0.2:53"], &steps);
    });
}

#[test]
fn a_flow_follows_a_changed_port_over_ipv6() {
    lab::run(lab::here!(), || {
        let steps = [flush("2001:db8::1", 5353, 5353)];
        follows("[2001:db8::1]", "::", ["[fd0a::2]:53", "[fd0b::2]:53"], &steps);
    });
}
