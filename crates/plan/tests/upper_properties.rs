//! Steps between states of devices on devices, whatever they are.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use linkspan_model::{ChildKind, IfName, MacvlanMode, Name, Vlan};
use linkspan_plan::{Child, Namespace, Path, Route, Shim, State, Step, UpperStep, diff};
use proptest::prelude::*;

fn ifname(prefix: &str, index: u8) -> IfName {
    format!("{prefix}{index}").parse().unwrap()
}

fn name(index: u8) -> Name {
    format!("box{index}").parse().unwrap()
}

fn mode(index: u8) -> ChildKind {
    ChildKind::Macvlan([MacvlanMode::Bridge, MacvlanMode::Vepa][usize::from(index)])
}

/// Cards are eth0 and eth1, sub-interfaces vlan0 and vlan1.
fn parent(index: u8, vlans: &BTreeMap<IfName, Vlan>) -> IfName {
    let vlan = ifname("vlan", index % 2);
    if index > 1 && vlans.contains_key(&vlan) { vlan } else { ifname("eth", index % 2) }
}

prop_compose! {
    fn states()(
        vlans in prop::collection::btree_map(0..2_u8, 1..3_u16, 0..3),
        shims in prop::collection::btree_map(0..2_u8, (0..4_u8, 0..2_u8), 0..3),
        children in prop::collection::btree_map((0..2_u8, 0..2_u8), (0..4_u8, 0..2_u8, 1..3_u32, any::<bool>()), 0..4),
        paths in prop::collection::btree_map(0..3_u8, (0..2_u8, 0..2_u8), 0..4),
        namespaces in prop::collection::btree_set(0..2_u8, 0..3),
        up in prop::collection::btree_set((0..2_u8).prop_map(|i| ifname("eth", i)), 0..3),
    ) -> State {
        let mut state = State::default();
        let upper = &mut state.upper;
        upper.up = up;
        for (index, id) in vlans {
            upper.up.insert(ifname("vlan", index));
            upper.vlans.insert(ifname("vlan", index), Vlan { link: ifname("eth", index), id });
        }
        for (index, (on, kind)) in shims {
            let (parent, kind) = (parent(on, &upper.vlans), mode(kind));
            let shim = Shim { parent, kind, mtu: None, mac: None, addresses: [].into() };
            upper.shims.insert(ifname("shim", index), shim);
        }
        for (to, (shim, source)) in paths {
            let path = Path { shim: ifname("shim", shim), source: Ipv4Addr::new(10, 0, 0, source).into(), mac: None };
            if upper.shims.contains_key(&path.shim) {
                upper.paths.insert(Ipv4Addr::new(10, 1, 0, to).into(), path);
            }
        }
        for ((inside, index), (on, kind, mark, routed)) in children {
            if !namespaces.contains(&inside) {
                continue;
            }
            let (parent, kind) = (parent(on, &upper.vlans), mode(kind));
            let (addresses, neighbours) = ([].into(), [].into());
            let child = Child { parent, kind, mtu: None, mac: None, mark, addresses, neighbours };
            upper.children.insert((name(inside), ifname("eth", index)), child);
            if routed {
                let via = Ipv4Addr::UNSPECIFIED.into();
                state.routes.insert(Route { namespace: name(inside), via, ifname: ifname("eth", index) });
            }
        }
        state.namespaces = namespaces.into_iter().map(|index| (name(index), Namespace::New)).collect();
        state
    }
}

fn after(mut state: State, steps: &[Step]) -> State {
    steps.iter().for_each(|step| state.apply(step));
    state
}

/// What carries something is set up, and nothing is set down.
fn without_up(mut state: State) -> (State, BTreeSet<IfName>) {
    let up = std::mem::take(&mut state.upper.up);
    (state, up)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_steps_lead_from_one_state_to_the_other(desired in states(), observed in states()) {
        let steps = diff(&desired, &observed);
        let reached = after(observed, &steps);
        prop_assert_eq!(diff(&desired, &reached), Vec::new());
        let ((reached, is_up), (desired, needs_up)) = (without_up(reached), without_up(desired));
        prop_assert_eq!(reached, desired, "{:#?}", steps);
        prop_assert!(needs_up.is_subset(&is_up));
    }

    #[test]
    fn from_a_state_to_itself_there_are_no_steps(state in states()) {
        prop_assert_eq!(diff(&state, &state), Vec::new());
    }

    #[test]
    fn nothing_sits_on_what_is_not_there_or_down(desired in states(), observed in states()) {
        let mut desired = desired;
        let on: Vec<_> = desired.upper.children.values().map(|child| child.parent.clone()).collect();
        desired.upper.up.extend(on);
        let mut state = observed.clone();
        for step in diff(&desired, &observed) {
            if let Step::Upper(UpperStep::CreateChild((namespace, _), child)) = &step {
                prop_assert!(state.upper.up.contains(&child.parent), "{step}");
                prop_assert!(state.namespaces.contains_key(namespace), "{step}");
            }
            if let Step::Upper(UpperStep::AddPath(_, path)) = &step {
                prop_assert!(state.upper.shims.contains_key(&path.shim), "{step}");
            }
            state.apply(&step);
        }
    }
}
