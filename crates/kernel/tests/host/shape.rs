//! Taps and limits, seen by the system's tools.

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, sh};
use linkspan_model::Limit;
use linkspan_plan::{Detour, Failure, Kernel, Scope, Shaper, Step, Tap};

use crate::steps::{apply_and_see, bridge, create, device, host, meaning, namespace, port};

fn tap(name: &str, isolated: bool, owner: Option<u32>) -> Step {
    Step::CreateTap(device(name), Tap { bridge: device("br0"), mtu: 1400, isolated, owner })
}

/// 10 mbit to the sandbox, 20 mbit from it.
fn shaper(number: u8) -> Shaper {
    let limit = |rate: &str| Limit::new(rate.parse().unwrap());
    let detour = Detour { ifb: device(&format!("ifb{number}")), limit: limit("20mbit"), fed: true };
    Shaper { ingress: Some(limit("10mbit")), egress: Some(detour) }
}

fn everything() -> String {
    sh("ip -o link | cut -d: -f2; ip -o addr | cut -d: -f2; tc qdisc; bridge link")
}

#[test]
fn taps_are_seen_as_they_were_made() {
    lab::run(lab::here!(), || {
        if !lab::may_open_taps() {
            return;
        }
        let mut host = Host::open().unwrap();
        let steps = [bridge(1400, &[]), tap("tap0", false, None), tap("vm1", true, Some(0))];
        apply_and_see(&mut host, &steps);
        let shown = sh("ip -d link show dev vm1");
        for word in ["type tap", "vnet_hdr on", "persist on", "master br0", "isolated on", "UP"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert_eq!(sh("ip -o -6 addr show dev vm1"), "");
        let error = host.apply(&[tap("vm1", false, None)]).unwrap_err();
        assert_eq!(error.failure, Failure::Exists, "{error:?}");
        host.apply(&[Step::DeleteTap(device("vm1")), Step::DeleteTap(device("vm1"))]).unwrap();
        assert_eq!(sh("ip -o link").matches("vm1").count(), 0);
    });
}

#[test]
fn a_device_of_another_kind_is_no_tap() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        sh("ip link add tap0 type veth peer name other");
        let wanted = meaning(&[bridge(1400, &[]), tap("tap0", false, None)]);
        let error = host.observe(&Scope::of([&wanted])).unwrap_err();
        assert!(error.cause.contains("is no tun but a veth"), "{error:?}");
    });
}

#[test]
fn limits_are_seen_as_they_were_set_and_leave_nothing() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        host.apply(&[bridge(1500, &["10.0.0.1/24"]), namespace("box2"), namespace("box3")]).unwrap();
        let before = everything();
        let (veth, plain) = port(2, &["10.0.0.2/24"]);
        let mut steps = vec![create((veth.clone(), plain)), create(port(3, &["10.0.0.3/24"]))];
        steps.push(Step::Shape(veth.clone(), shaper(2)));
        let half = Shaper { egress: None, ..shaper(3) };
        steps.push(Step::Shape(device("veth3"), half));
        apply_and_see(&mut host, &steps);
        let shown = sh("tc -s qdisc; tc filter show dev veth2 ingress");
        for word in
            ["rate 10Mbit burst 32Kb", "rate 20Mbit burst 50000b", "clsact", "Redirect to device ifb2"]
        {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        sh("ping -c 2 -i 0.01 -W 1 10.0.0.2 && ping -c 1 -W 1 10.0.0.3 && ping -c 1 -s 60000 -W 1 10.0.0.2");
        let gone = ["veth2", "veth3"].map(|name| Step::DeletePort(device(name)));
        host.apply(&[Step::Unshape(veth, Some(device("ifb2"))), Step::Unshape(device("veth3"), None)])
            .unwrap();
        assert!(!sh("tc qdisc; ip link").contains("tbf") && !sh("tc qdisc; ip link").contains("ifb"));
        host.apply(&gone).unwrap();
        assert_eq!(everything(), before);
    });
}

#[test]
fn limits_go_with_their_port() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let veth = device("veth2");
        let make = Step::Shape(veth.clone(), shaper(2));
        host.apply(std::slice::from_ref(&make)).unwrap();
        let scope = Scope::of([&meaning(std::slice::from_ref(&make)), &meaning(&[create(port(2, &[]))])]);
        let state = host.observe(&scope).unwrap();
        assert_eq!(state.shapers[&veth], shaper(2));

        sh("ip link del ifb2");
        let broken = host.observe(&scope).unwrap().shapers[&veth].clone();
        assert!(!broken.egress.unwrap().fed);
        let anew = [Step::Unshape(veth.clone(), Some(device("ifb2"))), make.clone()];
        host.apply(&anew).unwrap();
        assert_eq!(host.observe(&scope).unwrap().shapers[&veth], shaper(2));
        assert_eq!(sh("tc filter show dev veth2 ingress").matches("Redirect").count(), 1);

        sh("tc qdisc del dev veth2 clsact");
        assert!(!host.observe(&scope).unwrap().shapers[&veth].egress.as_ref().unwrap().fed);
        sh("tc qdisc del dev ifb2 root; ip link del veth2");
        let left = host.observe(&scope).unwrap().shapers[&veth].clone();
        assert_eq!((left.ingress, left.egress.unwrap().fed), (None, false));

        host.apply(&[Step::Unshape(veth.clone(), Some(device("ifb2"))), Step::DeletePort(veth)]).unwrap();
        assert!(host.observe(&scope).unwrap().shapers.is_empty());
        let error = host.apply(&[make]).unwrap_err();
        assert_eq!(error.failure, Failure::NotFound, "{error:?}");
    });
}
