//! The steps that the tests put together.

use linkspan_kernel::Host;
use linkspan_model::{IfName, Mac, Name};
use linkspan_plan::{Bridge, Kernel, Namespace, Peer, Port, Route, Scope, State, Step};

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn device(text: &str) -> IfName {
    text.parse().unwrap()
}

/// The bridge `br0` with its addresses, each with a prefix length.
pub fn bridge(mtu: u32, addresses: &[&str]) -> Step {
    let mac = "02:42:0a:00:00:01".parse().unwrap();
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Step::CreateBridge(device("br0"), Bridge { mac, mtu, addresses, switch: false, stp: false })
}

pub fn namespace(text: &str) -> Step {
    Step::CreateNamespace(name(text), Namespace::New)
}

/// The pair `vethN` on br0 with eth0 in `boxN`, which has these addresses.
pub fn port(number: u8, addresses: &[&str]) -> (IfName, Port) {
    let peer = Peer {
        namespace: name(&format!("box{number}")),
        ifname: device("eth0"),
        mac: Mac::from_bytes([2, 0x42, 10, 0, 0, number]),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        announce: false,
    };
    let port = Port { bridge: device("br0"), mtu: 1500, isolated: false, hairpin: false, peer: Some(peer) };
    (device(&format!("veth{number}")), port)
}

pub fn create((name, port): (IfName, Port)) -> Step {
    Step::CreatePort(name, port)
}

pub fn route(number: u8, via: &str) -> Step {
    let namespace = name(&format!("box{number}"));
    Step::AddRoute(Route { namespace, via: via.parse().unwrap(), ifname: device("eth0") })
}

/// The sandbox `boxN` with 10.0.0.N, all of it.
pub fn sandbox(number: u8) -> Vec<Step> {
    let port = port(number, &[&format!("10.0.0.{number}/24")]);
    vec![namespace(&format!("box{number}")), create(port), route(number, "10.0.0.1")]
}

/// A host with br0 and the sandboxes of these numbers.
pub fn host(numbers: &[u8]) -> Host {
    let mut host = Host::open().unwrap();
    host.apply(&[bridge(1500, &["10.0.0.1/24"])]).unwrap();
    for number in numbers {
        host.apply(&sandbox(*number)).unwrap();
    }
    host
}

/// What the steps mean.
pub fn meaning(steps: &[Step]) -> State {
    let mut state = State::default();
    steps.iter().for_each(|step| state.apply(step));
    state
}

/// Makes the steps and checks that they are seen as what they mean.
pub fn apply_and_see(host: &mut Host, steps: &[Step]) {
    let wanted = meaning(steps);
    host.apply(steps).unwrap();
    assert_eq!(host.observe(&Scope::of([&wanted])).unwrap(), wanted);
}
