//! Whatever two states there are, the steps between them lead from one to the other, and from a state to itself
//! there are none.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use linkspan_model::{Card, IfName, Limit, Mac, Name, PortRange, Protocol, Rate};
use linkspan_plan::{
    Bridge, Detour, Element, Namespace, Patch, PatchEnd, Peer, Port, Route, Scope, Shaper, State, Step, Tap,
    Uplink, diff,
};
use proptest::prelude::*;

fn name(index: u8) -> Name {
    format!("ns{index}").parse().unwrap()
}

fn ifname(prefix: &str, index: u8) -> IfName {
    format!("{prefix}{index}").parse().unwrap()
}

fn mac(index: u8) -> Mac {
    Mac::from_bytes([2, 0x42, 0, 0, 0, index])
}

fn address(index: u8) -> IpNet {
    IpNet::new_assert(Ipv4Addr::new(10, 0, index, 1).into(), 24)
}

fn bridges() -> impl Strategy<Value = BTreeMap<IfName, Bridge>> {
    let bridge = (0..2_u8, 0..2_u32, prop::collection::btree_set((0..3_u8).prop_map(address), 0..3));
    prop::collection::btree_map(
        (0..3_u8).prop_map(|i| ifname("br", i)),
        bridge.prop_map(|(m, mtu, addresses)| Bridge {
            mac: mac(m),
            mtu: 1400,
            addresses,
            switch: mtu == 1,
            stp: false,
        }),
        0..4,
    )
}

fn namespaces() -> impl Strategy<Value = BTreeMap<Name, Namespace>> {
    let namespace = prop_oneof![Just(Namespace::New), Just(Namespace::Host)];
    prop::collection::btree_map((0..3_u8).prop_map(name), namespace, 0..4)
}

fn elements() -> impl Strategy<Value = Option<BTreeSet<Element>>> {
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 80);
    let publish = move |port| Element::Publish {
        protocol: Protocol::Udp,
        host: Ipv4Addr::UNSPECIFIED.into(),
        port,
        to,
    };
    let element = prop_oneof![
        (0..3_u8).prop_map(|i| Element::Bridge(ifname("br", i))),
        (0..3_u8).prop_map(|i| Element::Masquerade(ifname("br", i))),
        (0..3_u8).prop_map(|i| Element::Guest(ifname("br", i))),
        (8..10_u8)
            .prop_map(|length| Element::Home(IpNet::new_assert(Ipv4Addr::new(10, 0, 0, 0).into(), length))),
        (0..2_u8).prop_map(|i| Element::MasqueradeFrom(address(i).addr())),
        (0..2_u8).prop_map(|i| Element::MasqueradeTo(address(i).addr())),
        (0..2_u8).prop_map(|i| Element::Closed(ifname("br", i))),
        (0..2_u8).prop_map(|i| Element::Sealed(ifname("br", i))),
        (0..2_u8).prop_map(|i| Element::Segment(ifname("br", i))),
        (0..2_u8).prop_map(|i| Element::Strict(ifname("br", i))),
        (0..2_u8).prop_map(|i| Element::Spoof { port: ifname("v", i), mac: mac(i) }),
        (0..3_u16).prop_map(publish),
        (1..3_u16).prop_map(move |last| Element::PublishRange {
            protocol: Protocol::Tcp,
            ports: PortRange { first: 1, last },
            to: to.ip()
        }),
    ];
    prop::option::of(prop::collection::btree_set(element, 0..5))
}

/// Taps by the index of their bridge, and shapers of them and of ports.
fn taps() -> impl Strategy<Value = BTreeMap<u8, (prop::sample::Index, bool)>> {
    prop::collection::btree_map(0..3_u8, (any::<prop::sample::Index>(), any::<bool>()), 0..3)
}

fn shaper() -> impl Strategy<Value = Shaper> {
    let limit = || (1..3_u64).prop_map(|n| Limit::new(Rate::from_bytes(n * 10_000)));
    let detour = (0..2_u8, limit(), any::<bool>());
    let detour = detour.prop_map(|(i, limit, fed)| Detour { ifb: ifname("ifb", i), limit, fed });
    (prop::option::of(limit()), prop::option::of(detour))
        .prop_map(|(ingress, egress)| Shaper { ingress, egress })
}

prop_compose! {
    fn states()(
        taps in taps(),
        shapers in prop::collection::vec((any::<prop::sample::Index>(), shaper()), 0..4),
        bridges in bridges(),
        namespaces in namespaces(),
        firewall in elements(),
        forwarding in prop::option::of(0..2_u8),
        patches in prop::collection::vec((0..3_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..4),
        cards in prop::collection::btree_map(0..2_u8, any::<prop::sample::Index>(), 0..3),
        wires in prop::collection::vec((0..4_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..2_u8, any::<bool>(), any::<bool>()), 0..5),
    ) -> State {
        let patches = patches.into_iter().filter(|_| !bridges.is_empty()).map(|(index, low, high, isolated)| {
            let names: Vec<_> = bridges.keys().cloned().collect();
            let to = PatchEnd::Bridge(high.get(&names).clone());
            let patch = Patch { bridge: low.get(&names).clone(), to, peer: ifname("lsd", index), mtu: 1500, isolated };
            (ifname("lsu", index), patch)
        }).collect();
        let cards = cards.into_iter().filter(|_| !bridges.is_empty()).map(|(index, bridge)| {
            let names: Vec<_> = bridges.keys().cloned().collect();
            let (card, own) = (Card::default(), BTreeSet::new());
            (ifname("card", index), Uplink { bridge: bridge.get(&names).clone(), plugged: true, card, own })
        });
        let uplinks = cards.collect();
        let mut state = State { uplinks, patches, bridges, namespaces, firewall, ..State::default() };
        state.sysctls.extend(forwarding.map(|value| ("net/ipv4/ip_forward".to_owned(), value.to_string())));
        let (bridges, namespaces): (Vec<_>, Vec<_>) = (state.bridges.keys().cloned().collect(), state.namespaces.keys().cloned().collect());
        for (index, bridge, namespace, kind, isolated, routed) in wires {
            if bridges.is_empty() || namespaces.is_empty() {
                break;
            }
            let peer = Peer {
                namespace: namespace.get(&namespaces).clone(),
                ifname: ifname("eth", index),
                mac: mac(kind),
                addresses: [address(kind)].into(),
                announce: false,
            };
            if routed {
                state.routes.insert(Route { namespace: peer.namespace.clone(), via: address(0).addr(), ifname: peer.ifname.clone() });
            }
            let port = Port { bridge: bridge.get(&bridges).clone(), mtu: 1500, isolated, hairpin: false, peer: Some(peer) };
            if let Some(Port { peer: Some(old), .. }) = state.ports.insert(ifname("veth", index), port) {
                let new = state.ports[&ifname("veth", index)].peer.clone().unwrap();
                state.routes.retain(|r| (&r.namespace, &r.ifname) != (&old.namespace, &old.ifname) || old.namespace == new.namespace);
            }
        }
        for (index, (bridge, isolated)) in taps.into_iter().filter(|_| !bridges.is_empty()) {
            let tap = Tap { bridge: bridge.get(&bridges).clone(), mtu: 1500, isolated, owner: None };
            state.taps.insert(ifname("tap", index), tap);
        }
        let devices: Vec<_> = state.ports.keys().chain(state.taps.keys()).cloned().collect();
        for (device, shaper) in shapers.into_iter().filter(|_| !devices.is_empty()) {
            state.shapers.insert(device.get(&devices).clone(), shaper);
        }
        state
    }
}

fn after(mut state: State, steps: &[Step]) -> State {
    steps.iter().for_each(|step| state.apply(step));
    state
}

/// Sysctls that are only observed are left as they are, so they stay.
fn with_observed_sysctls(desired: &State, observed: &State) -> State {
    let mut expected = desired.clone();
    for (key, value) in &observed.sysctls {
        expected.sysctls.entry(key.clone()).or_insert_with(|| value.clone());
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_steps_lead_from_one_state_to_the_other(desired in states(), observed in states()) {
        let steps = diff(&desired, &observed);
        prop_assert_eq!(after(observed.clone(), &steps), with_observed_sysctls(&desired, &observed), "{:#?}", steps);
    }

    #[test]
    fn from_a_state_to_itself_there_are_no_steps(state in states()) {
        prop_assert_eq!(diff(&state, &state), Vec::new());
    }

    #[test]
    fn a_second_time_there_is_nothing_to_do(desired in states(), observed in states()) {
        let reached = after(observed.clone(), &diff(&desired, &observed));
        prop_assert_eq!(diff(&desired, &reached), Vec::new());
    }

    #[test]
    fn nothing_is_plugged_in_before_it_is_isolated(desired in states(), observed in states()) {
        let steps = diff(&desired, &observed);
        let last_policy = steps.iter().rposition(|s| matches!(s, Step::AddElement(e) if e.is_policy()));
        let is_plugged = |s: &Step| matches!(s, Step::CreatePort(..) | Step::CreatePatch(..) | Step::CreateTap(..));
        let first_port = steps.iter().position(is_plugged);
        let first_publish = steps.iter().position(|s| matches!(s, Step::AddElement(e) if !e.is_policy()));
        let last_port = steps.iter().rposition(|s| matches!(s, Step::CreatePort(..)));
        prop_assert!(last_policy.is_none() || first_port.is_none() || last_policy < first_port);
        prop_assert!(last_port.is_none() || first_publish.is_none() || last_port < first_publish);
    }

    #[test]
    fn the_scope_of_two_states_covers_both(desired in states(), observed in states()) {
        let scope = Scope::of([&desired, &observed]);
        for state in [&desired, &observed] {
            prop_assert!(state.bridges.keys().all(|k| scope.bridges.contains(k)));
            prop_assert!(state.ports.keys().all(|k| scope.ports.contains_key(k)));
            prop_assert!(state.uplinks.keys().all(|k| scope.uplinks.contains_key(k)));
            prop_assert!(state.patches.keys().all(|k| scope.patches.contains_key(k)));
            prop_assert!(state.taps.keys().all(|k| scope.taps.contains(k)));
            prop_assert!(state.shapers.keys().all(|k| scope.shapers.contains_key(k)));
        }
    }
}
