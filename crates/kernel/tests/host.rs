//! Each step, judged by what `ip` shows and by traffic.
#![allow(clippy::unwrap_used)]

use linkspan_kernel::Host;
use linkspan_lab as lab;
use linkspan_plan::{Bridge, Kernel, Namespace, Peer, Port, Route, Scope, State, Step};

fn bridge() -> Step {
    let bridge = Bridge {
        mac: "02:42:0a:00:00:01".parse().unwrap(),
        mtu: 1500,
        addresses: ["10.0.0.1/24".parse().unwrap()].into(),
    };
    Step::CreateBridge("br0".parse().unwrap(), bridge)
}

fn port(number: u8) -> Vec<Step> {
    let namespace: linkspan_model::Name = format!("box{number}").parse().unwrap();
    let address = format!("10.0.0.{number}");
    let peer = Peer {
        namespace: namespace.clone(),
        ifname: "eth0".parse().unwrap(),
        mac: linkspan_model::Mac::for_ip(address.parse().unwrap()),
        addresses: [format!("{address}/24").parse().unwrap()].into(),
    };
    let port =
        Port { bridge: "br0".parse().unwrap(), mtu: 1500, isolated: false, hairpin: false, peer: Some(peer) };
    let route = Route {
        namespace: namespace.clone(),
        via: "10.0.0.1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    vec![
        Step::CreateNamespace(namespace, Namespace::New),
        Step::CreatePort(format!("veth{number}").parse().unwrap(), port),
        Step::AddRoute(route),
    ]
}

#[test]
fn what_was_made_is_seen() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let mut steps = vec![bridge()];
        steps.extend(port(2));
        let mut wanted = State::default();
        steps.iter().for_each(|step| wanted.apply(step));
        host.apply(&steps).unwrap();
        assert_eq!(host.observe(&Scope::of([&wanted])).unwrap(), wanted);
    });
}
