//! Networks with more endpoints than one bridge gets.

use linkspan_engine::FitRequest;
use linkspan_model::{BridgePort, Endpoint, Fixture, Id, IfName, VethFixture};
use linkspan_plan::{ParentDevice, PatchEnd};

use crate::attachments::{self, CONTAINER, FILE, PIN};
use crate::crash::{Command, each_death};
use crate::ground;
use crate::site::{Site, sandbox};

/// `lab`, whose own bridge has all the endpoints that it gets but for `left`: rows of sandboxes that nobody knows.
fn nearly_full(left: u32) -> Site {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("first", &["lab"])).unwrap();
    let known = site.engine().sandbox("first").unwrap().attached.remove(0).0;
    fill(&site, &known, left);
    site
}

fn fill(site: &Site, known: &Endpoint, left: u32) {
    site.store()
        .write(|tx| {
            (1..250 - left).try_for_each(|number| {
                let mut bytes = [0; 32];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                let id = Id::from_bytes(bytes);
                tx.insert_endpoint(&Endpoint { id, sandbox: id, leases: Vec::new(), ..known.clone() })
            })
        })
        .unwrap();
}

/// The network of a runtime's backend, whose own bridge has all the endpoints that it gets: containers that nobody knows.
fn full_of_guests() -> Site {
    let site = attachments::site();
    let (known, ..) = site.engine().fit(&on_port(CONTAINER, FILE)).unwrap();
    site.machine.with(|fake| fake.parents.insert("brone".parse().unwrap(), device(9000)));
    fill(&site, &known, 0);
    site
}

/// A container with a port on the network's own bridge.
fn on_port(container: &str, netns: &str) -> FitRequest {
    let mut request = ground::place("one", container, netns);
    request.part.published.clear();
    let bridge = "brone".parse().unwrap();
    for fixture in &mut request.part.fixtures {
        let Fixture::Veth(veth) = fixture else { continue };
        let (vlan, trunk, keep_default_vlan, open) = (0, Vec::new(), true, false);
        let (hairpin, isolated) = (false, false);
        let bridge = IfName::clone(&bridge);
        veth.port = Some(BridgePort { bridge, hairpin, isolated, vlan, trunk, keep_default_vlan, open });
    }
    request
}

fn device(mtu: u32) -> ParentDevice {
    ParentDevice {
        name: "brone".parse().unwrap(),
        up: true,
        mtu,
        ethernet: true,
        enslaved: false,
        strict: false,
        addresses: Vec::new(),
        gateways: Vec::new(),
    }
}

/// The bridge that what the container's plugin made is plugged into.
fn bridge_of(site: &Site, container: &str) -> String {
    let known = site.engine().attachment(&ground::on("one", container)).unwrap().unwrap().0;
    let port = |fixture: &Fixture| match fixture {
        Fixture::Veth(veth) => Some(veth.port.clone()?.bridge.to_string()),
        _ => None,
    };
    known.parts[0].fixtures.iter().find_map(port).unwrap()
}

#[test]
fn a_container_for_which_the_backends_bridge_has_no_room_goes_to_one_below() {
    let site = full_of_guests();
    site.engine().fit(&on_port("other", PIN)).unwrap();
    let network = site.engine().network("one").unwrap().network;
    let access = network.bridge_numbered(1);
    assert_eq!(bridge_of(&site, "other"), access.to_string());
    assert_eq!(bridge_of(&site, CONTAINER), "brone");
    let state = site.machine.state();
    assert_eq!(state.bridges[&access].mtu, 9000);
    let patch = &state.patches[&network.id.uplink_ifname(1)];
    assert_eq!(
        (&patch.bridge, &patch.to, patch.mtu),
        (&access, &PatchEnd::Bridge("brone".parse().unwrap()), 9000)
    );
    site.assert_in_order();
    site.engine().detach(&ground::on("one", "other")).unwrap();
    let state = site.machine.state();
    assert!(state.patches.is_empty() && !state.bridges.contains_key(&access));
    site.assert_in_order();
}

#[test]
fn a_container_that_is_unlike_others_stays_on_the_backends_bridge() {
    let site = full_of_guests();
    let mut in_vlan = on_port("other", PIN);
    for fixture in &mut in_vlan.part.fixtures {
        if let Fixture::Veth(VethFixture { port: Some(port), .. }) = fixture {
            port.vlan = 7;
        }
    }
    site.engine().fit(&in_vlan).unwrap();
    assert_eq!(bridge_of(&site, "other"), "brone");
    site.assert_in_order();
}

#[test]
fn a_backends_bridge_that_somebody_took_away_comes_back_with_the_next_container() {
    let site = full_of_guests();
    site.engine().fit(&on_port("other", PIN)).unwrap();
    let access = site.engine().network("one").unwrap().network.bridge_numbered(1);
    site.machine.with(|fake| {
        fake.parents.clear();
        fake.state.fixtures.retain(|(_, fixture)| !matches!(fixture, Fixture::OwnBridge(_)));
        fake.state.patches.clear();
    });
    site.engine().repair(false).unwrap();
    assert!(site.machine.state().patches.is_empty());
    site.engine().detach(&ground::on("one", "other")).unwrap();
    assert!(!site.machine.state().bridges.contains_key(&access));
    site.machine.with(|fake| fake.parents.insert("brone".parse().unwrap(), device(9000)));
    site.engine().fit(&on_port("other", PIN)).unwrap();
    assert_eq!(site.machine.state().patches.len(), 1);
    site.assert_in_order();
}

#[test]
fn what_has_no_room_on_the_bridge_goes_to_one_below() {
    let site = nearly_full(1);
    for name in ["last", "more", "yet-more"] {
        site.engine().create_sandbox(&sandbox(name, &["lab", "wide"])).unwrap();
    }
    let lab = site.engine().network("lab").unwrap().network;
    let access = lab.bridge_numbered(1);
    let on: Vec<_> = ["last", "more", "yet-more"]
        .map(|name| {
            let view = site.engine().sandbox(name).unwrap();
            view.attached.iter().find(|(_, network)| network.id == lab.id).unwrap().0.access
        })
        .into();
    assert_eq!(on, [0, 1, 1]);
    let state = site.machine.state();
    assert_eq!(state.ports.values().filter(|port| port.bridge == access).count(), 2);
    let patch = &state.patches[&lab.id.uplink_ifname(1)];
    assert_eq!((&patch.bridge, &patch.to), (&access, &PatchEnd::Bridge(lab.bridge_name())));
    site.assert_in_order();

    // The one that leaves makes room; a bridge goes with the last that is on it.
    site.engine().remove_sandbox("last", false).unwrap();
    site.engine().create_sandbox(&sandbox("late", &["lab"])).unwrap();
    assert_eq!(site.engine().sandbox("late").unwrap().attached[0].0.access, 0);
    site.engine().disconnect("lab", "more", false).unwrap();
    assert!(site.machine.state().bridges.contains_key(&access));
    site.engine().disconnect("lab", "yet-more", false).unwrap();
    let state = site.machine.state();
    assert!(!state.bridges.contains_key(&access) && state.patches.is_empty());
    site.assert_in_order();
    for name in ["more", "yet-more", "late", "first"] {
        site.engine().remove_sandbox(name, false).unwrap();
    }
    site.engine().remove_network("lab").unwrap();
    site.assert_in_order();
}

#[test]
fn repair_restores_a_bridge_that_is_used_and_does_not_miss_one_that_is_not() {
    let site = nearly_full(0);
    site.engine().create_sandbox(&sandbox("more", &["lab"])).unwrap();
    let lab = site.engine().network("lab").unwrap().network;
    let access = lab.bridge_numbered(1);
    let lose = || {
        site.machine.with(|fake| {
            fake.state.bridges.remove(&access);
            fake.state.patches.clear();
            fake.state.ports.retain(|_, port| port.bridge != access);
            fake.state.routes.retain(|route| route.namespace.as_str() != "more");
        });
    };
    lose();
    site.engine().repair(false).unwrap();
    assert!(site.machine.state().bridges.contains_key(&access));
    assert_eq!(site.machine.state().ports.len(), 2);
    site.assert_in_order();
    site.engine().remove_sandbox("more", false).unwrap();
    lose();
    site.engine().repair(false).unwrap();
    assert!(!site.machine.state().bridges.contains_key(&access));
    site.assert_in_order();
    site.engine().create_sandbox(&sandbox("more", &["lab"])).unwrap();
    site.assert_in_order();
}

#[test]
fn whoever_dies_while_one_is_begun_leaves_it_whole_or_not_at_all() {
    let make: Command = |engine| engine.create_sandbox(&sandbox("more", &["lab"])).map(drop);
    each_death(
        || nearly_full(0),
        make,
        |site, how| {
            site.engine().repair(false).unwrap();
            site.assert_in_order();
            make(&mut site.engine()).unwrap();
            site.assert_in_order();
            site.engine().remove_sandbox("more", false).unwrap();
            site.engine().remove_sandbox("first", false).unwrap();
            site.engine().remove_network("lab").unwrap();
            let state = site.machine.state();
            assert_eq!((state.bridges.len(), state.patches.len()), (1, 0), "{how}");
        },
    );
}

#[test]
fn whoever_dies_while_one_is_begun_for_a_backend_leaves_it_whole_or_not_at_all() {
    let make: Command = |engine| engine.fit(&on_port("other", PIN)).map(drop);
    each_death(full_of_guests, make, |site, how| {
        site.engine().repair(false).unwrap();
        site.assert_in_order();
        make(&mut site.engine()).unwrap();
        site.assert_in_order();
        site.engine().detach(&ground::on("one", "other")).unwrap();
        assert_eq!(site.machine.state().patches.len(), 0, "{how}");
    });
}
