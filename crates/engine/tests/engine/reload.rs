//! The firewall is put back, whatever is left of it.

use linkspan_model::{Admission, Fixture, Guests, Isolation};
use linkspan_plan::{Element, Step};

use crate::attachments::{CONTAINER, FILE, PIN, chained_part, main_part, with_record};
use crate::machine::Death;
use crate::site::{Site, publishing};

/// A host with networks of ours, and a runtime's that are strictly isolated and let pass through another's chain.
fn busy() -> Site {
    let site = with_record();
    site.engine().create_sandbox(&publishing("web", &["lab", "wide"], &["80", "53-55/udp"])).unwrap();
    let mut main = main_part(CONTAINER, FILE);
    let bridge = || "cni0".parse().unwrap();
    let admission = Admission {
        device: bridge(),
        ipv6: false,
        chain: "CNI-FORWARD".to_owned(),
        admin: Some("CNI-ADMIN".to_owned()),
        service: None,
    };
    main.guests = Guests {
        bridges: [bridge()].into(),
        isolation: [(bridge(), Isolation::Strict)].into(),
        outbound: [(bridge(), "192.0.2.1".parse().unwrap())].into(),
        admitted: [admission].into(),
        ..Guests::default()
    };
    site.engine().fit(&main).unwrap();
    site.engine().fit(&chained_part(CONTAINER, FILE)).unwrap();
    site
}

#[test]
fn all_of_it_comes_back_in_one_transaction() {
    let site = busy();
    let whole = site.machine.state();
    assert!(whole.firewall.iter().flatten().any(|element| matches!(element, Element::Strict(_))));
    for left in [
        None,
        Some([].into()),
        Some([Element::Bridge("stranger".parse().unwrap())].into()),
        whole.firewall.clone(),
    ] {
        site.machine.with(|fake| {
            fake.state.firewall = left;
            fake.made.clear();
        });
        site.engine().reload_firewall().unwrap();
        assert_eq!(site.machine.state(), whole);
        let at_once = |step: &Step| {
            matches!(
                step,
                Step::DeleteFirewall | Step::CreateFirewall | Step::AddElement(_) | Step::FlushFlows { .. }
            )
        };
        assert!(site.machine.with(|fake| fake.made.iter().all(at_once)));
    }
}

#[test]
fn ways_through_others_chains_come_back() {
    let site = busy();
    let whole = site.machine.state();
    site.machine.with(|fake| {
        fake.state.firewall = None;
        fake.state.fixtures.retain(|(_, fixture)| !matches!(fixture, Fixture::Admitted(_)));
    });
    site.engine().reload_firewall().unwrap();
    let there = site.machine.state();
    assert_eq!(there.firewall, whole.firewall);
    let all = |fixtures: &[(_, Fixture)]| {
        let mut lines: Vec<_> = fixtures.iter().map(|(_, fixture)| fixture.to_string()).collect();
        lines.sort();
        lines.dedup();
        lines
    };
    assert_eq!(all(&there.fixtures), all(&whole.fixtures));
}

#[test]
fn where_nothing_needs_a_firewall_none_is_made() {
    let site = Site::new();
    site.engine().reload_firewall().unwrap();
    assert_eq!(site.machine.state().firewall, None);
}

#[test]
fn a_reload_that_is_killed_is_made_up_for_by_the_next() {
    let site = busy();
    let whole = site.machine.state();
    for death in (0..3).flat_map(|call| [Death::Before(call), Death::After(call)]) {
        site.machine.with(|fake| fake.state.firewall = Some([].into()));
        site.machine.doom(Some(death));
        let engine = std::panic::AssertUnwindSafe(|| site.engine().reload_firewall());
        _ = std::panic::catch_unwind(engine);
        site.machine.doom(None);
        site.engine().reload_firewall().unwrap();
        assert_eq!(site.machine.state(), whole, "{death:?}");
    }
}

#[test]
fn what_a_network_is_given_anew_takes_the_place_of_what_it_had() {
    let site = busy();
    let mut other = main_part("other", PIN);
    other.guests = Guests {
        isolation: [("cni0".parse().unwrap(), Isolation::Open)].into(),
        outbound: [("cni0".parse().unwrap(), "192.0.2.2".parse().unwrap())].into(),
        ..Guests::default()
    };
    site.engine().fit(&other).unwrap();
    let whole = site.machine.state();
    let of_network = |element: &&Element| matches!(element, Element::Strict(_) | Element::Outbound { .. });
    let there: Vec<_> = whole.firewall.iter().flatten().filter(of_network).map(ToString::to_string).collect();
    assert_eq!(there, ["outbound4 { cni0 : 192.0.2.2 }"]);
    site.machine.with(|fake| fake.state.firewall = None);
    site.engine().reload_firewall().unwrap();
    assert_eq!(site.machine.state(), whole);
    site.assert_in_order();
}
