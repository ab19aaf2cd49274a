//! The laboratory itself.

use linkspan_lab::{self as lab, Capture, Net, wire};

#[test]
fn two_hosts_on_a_wire_see_each_other() {
    lab::run(lab::here!(), || {
        let (a, b) = (Net::new("a"), Net::new("b"));
        wire((&a, "wire0", "192.0.2.1/24"), (&b, "wire0", "192.0.2.2/24"));
        b.serve_tcp("0.0.0.0:80");
        b.serve_udp("192.0.2.2:700");
        let capture = Capture::start(&b, "wire0");
        assert_eq!(a.ask_tcp("192.0.2.2:80").unwrap().ip().to_string(), "192.0.2.1");
        assert_eq!(a.ask_udp("192.0.2.2:700").unwrap().ip().to_string(), "192.0.2.1");
        assert!(a.succeeds("ping -c 1 -W 1 192.0.2.2") && !a.succeeds("ping -c 1 -W 1 192.0.2.3"));
        let packets = capture.packets("udp");
        assert!(packets.len() == 2 && packets[0].contains("192.0.2.2.700: UDP, length 1"), "{packets:?}");
        a.ask_tcp("192.0.2.2:81").unwrap_err();
    });
}

#[test]
fn a_test_says_why_it_is_skipped() {
    lab::run(lab::here!(), || lab::skip("this one only shows how"));
}

#[test]
#[should_panic(expected = "failed in its namespaces")]
fn a_failure_inside_is_a_failure() {
    lab::run(lab::here!(), || panic!("as it should"));
}
