//! `repair` does what its dry run says, and is done after that.

use linkspan_plan::{Element, Step};

use crate::site::{Site, network, publishing, sandbox};

/// A host on which much has come apart.
fn shambles() -> Site {
    let site = Site::with_networks();
    for name in ["web", "db", "lost"] {
        let ports = ["80", "53-55/udp"];
        site.engine().create_sandbox(&publishing(name, &["lab", "wide"], &ports)).unwrap();
    }
    let lab = site.engine().network("lab").unwrap().network.bridge_name();
    site.machine.with(|fake| {
        let state = &mut fake.state;
        state.namespaces.remove(&"lost".parse().unwrap());
        state.ports.retain(|_, port| port.peer.as_ref().unwrap().namespace.as_str() != "lost");
        state.routes.clear();
        state.bridges.get_mut(&lab).unwrap().addresses.clear();
        let firewall = state.firewall.as_mut().unwrap();
        let first = firewall.first().unwrap().clone();
        firewall.remove(&first);
        firewall.insert(Element::Bridge("stranger".parse().unwrap()));
        let mut orphan = state.ports.values().next().unwrap().clone();
        orphan.peer = None;
        state.ports.insert("veth0123456789a".parse().unwrap(), orphan.clone());
        state.ports.insert("veth-by-hand".parse().unwrap(), orphan);
        state.sysctls.insert("net/ipv4/ip_forward".to_owned(), "0".to_owned());
    });
    std::fs::create_dir_all(site.run_directory().join("sandboxes/nobody")).unwrap();
    std::os::unix::fs::symlink(
        site.run_directory().join("sandboxes/nobody"),
        site.etc_netns().join("nobody"),
    )
    .unwrap();
    std::os::unix::fs::symlink("/elsewhere", site.etc_netns().join("theirs")).unwrap();
    site
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_will_be_done() {
    let site = shambles();
    let before = site.picture();
    let dry = site.engine().repair(true).unwrap();
    assert!(site.picture() == before, "a dry run changed something");
    let wet = site.engine().repair(false).unwrap();
    assert_eq!((&dry.finished, &dry.files), (&wet.finished, &wet.files));
    assert_eq!(lines(&dry.steps), lines(&wet.steps));
    assert!(site.engine().repair(false).unwrap().is_empty(), "a second repair has work");
    site.assert_in_order();
}

fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn repair_restores_what_is_ours_and_touches_nothing_else() {
    let site = shambles();
    let repair = site.engine().repair(false).unwrap();
    assert_eq!(repair.finished, ["sandbox lost is held by nothing"]);
    assert!(lines(&repair.steps).contains(&"delete port veth0123456789a".to_owned()));
    let state = site.machine.state();
    assert!(state.ports.keys().any(|name| name.as_str() == "veth-by-hand"), "it is not ours");
    assert!(!state.firewall.unwrap().contains(&Element::Bridge("stranger".parse().unwrap())));
    assert!(site.etc_netns().join("theirs").is_symlink(), "it is not ours");
    assert!(!site.etc_netns().join("nobody").is_symlink());
    let names: Vec<_> =
        site.engine().sandboxes().unwrap().iter().map(|view| view.sandbox.name.to_string()).collect();
    assert_eq!(names, ["db", "web"]);
    assert_eq!(state.routes.len(), 2);
}

#[test]
fn a_table_that_no_network_needs_goes() {
    let site = Site::new();
    site.engine().create_network(network("lab", "10.7.0.0/24")).unwrap();
    site.engine().remove_network("lab").unwrap();
    site.machine.with(|fake| fake.state.firewall = Some([].into()));
    assert_eq!(lines(&site.engine().repair(false).unwrap().steps), ["delete firewall table inet linkspan"]);
    site.assert_in_order();
}

#[test]
fn nothing_is_told_of_a_host_in_order() {
    let site = Site::new();
    assert!(site.engine().repair(false).unwrap().is_empty());
    site.engine().create_sandbox(&sandbox("web", &[])).unwrap();
    assert!(site.engine().repair(false).unwrap().is_empty());
}
