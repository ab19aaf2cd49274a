//! Networks plugged into Open vSwitch.

use linkspan_plan::{Failure, PatchEnd, Step};

use crate::site::{Site, in_ovs, sandbox};

#[test]
fn a_network_is_refused_without_its_switch() {
    let site = Site::with_networks();
    let before = site.picture();
    for (ovs, failure) in
        [(None, Failure::Unsupported), (Some(["other".to_owned()].into()), Failure::NotFound)]
    {
        site.machine.with(|fake| fake.ovs = ovs);
        let error = site.engine().create_network(in_ovs("new", "10.9.0.0/24")).unwrap_err();
        let linkspan_engine::Error::Kernel(kernel) = error else { panic!("{error}") };
        assert_eq!(kernel.failure, failure);
        assert!(site.picture() == before);
    }
}

#[test]
fn a_stopped_switch_keeps_a_port_and_that_is_told() {
    let site = Site::with_networks();
    let before = site.picture();
    site.machine.with(|fake| fake.ovs = Some(["br-int".to_owned()].into()));
    site.engine().create_network(in_ovs("new", "10.9.0.0/24")).unwrap();
    site.machine.with(|fake| fake.ovs = None);
    // What is there already serves new sandboxes.
    site.engine().create_sandbox(&sandbox("x", &["new"])).unwrap();
    site.engine().remove_sandbox("x", false).unwrap();
    site.notes.lock().unwrap().clear();
    site.engine().remove_network("new").unwrap();
    let notes = site.notes.lock().unwrap().clone();
    assert!(
        notes.iter().any(|note| note.contains("`ovs-vsctl --if-exists del-port br-int lsd")),
        "{notes:?}"
    );
    assert!(site.picture() == before);
}

#[test]
fn repair_plugs_in_again() {
    let site = Site::new();
    site.machine.with(|fake| fake.ovs = Some(["br-int".to_owned()].into()));
    site.engine().create_network(in_ovs("new", "10.9.0.0/24")).unwrap();
    let whole = site.machine.state();
    site.machine.with(|fake| {
        // As observed after `ovs-vsctl del-port`.
        fake.state.patches.values_mut().for_each(|patch| patch.to = PatchEnd::Bridge("-".parse().unwrap()));
    });
    let steps = site.engine().repair(false).unwrap().steps;
    assert!(matches!(steps[..], [Step::DeletePatch(..), Step::CreatePatch(..)]), "{steps:?}");
    assert_eq!(site.machine.state(), whole);
}
