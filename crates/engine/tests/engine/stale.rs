//! Leftovers: what nothing holds any more stands in nobody's way; what is somebody else's is left alone.

use linkspan_engine::Error;
use linkspan_plan::{Element, Namespace, State};

use crate::site::{Site, network, publishing, sandbox, to, told};

/// As after `ip netns del NAME`: the kernel takes the veth pairs with the namespace.
fn delete_namespace(site: &Site, name: &str) {
    site.machine.with(|fake| {
        fake.state.namespaces.remove(&name.parse().unwrap());
        fake.state
            .ports
            .retain(|_, port| port.peer.as_ref().is_none_or(|peer| peer.namespace.as_str() != name));
        fake.state.routes.retain(|route| route.namespace.as_str() != name);
    });
}

/// A host whose sandbox `gone` had 10.7.0.9 and port 8080, and has lost its namespace.
fn with_leftover() -> Site {
    let site = Site::with_networks();
    site.engine().create_sandbox(&publishing("gone", &["lab,ip=10.7.0.9"], &["8080:80"])).unwrap();
    delete_namespace(&site, "gone");
    site
}

#[track_caller]
fn assert_only(site: &Site, name: &str) {
    let names: Vec<_> =
        site.engine().sandboxes().unwrap().iter().map(|view| view.sandbox.name.to_string()).collect();
    assert_eq!(names, [name]);
    site.assert_in_order();
}

#[test]
fn a_name_is_free_again_when_its_namespace_is_gone() {
    let site = with_leftover();
    site.engine().create_sandbox(&sandbox("gone", &["wide"])).unwrap();
    assert_only(&site, "gone");
}

#[test]
fn an_address_is_free_again_when_its_namespace_is_gone() {
    let site = with_leftover();
    site.engine().create_sandbox(&sandbox("new", &["lab,ip=10.7.0.9"])).unwrap();
    assert_only(&site, "new");
}

#[test]
fn a_port_is_free_again_when_its_namespace_is_gone() {
    let site = with_leftover();
    site.engine().create_sandbox(&publishing("new", &["wide"], &["8000-8100:8000-8100"])).unwrap();
    assert_only(&site, "new");
}

#[test]
fn a_full_network_has_room_again_when_namespaces_are_gone() {
    let site = Site::new();
    site.engine().create_network(network("tiny", "10.1.0.0/29")).unwrap();
    for n in 0..5 {
        site.engine().create_sandbox(&sandbox(&format!("s{n}"), &["tiny"])).unwrap();
    }
    let error = site.engine().create_sandbox(&sandbox("new", &["tiny"])).unwrap_err();
    assert!(told(&error).starts_with("network 'tiny' is full"), "{}", told(&error));
    (0..5).for_each(|n| delete_namespace(&site, &format!("s{n}")));
    site.engine().create_sandbox(&sandbox("new", &["tiny"])).unwrap();
    assert_only(&site, "new");
}

#[test]
fn what_a_living_sandbox_has_is_refused_by_name() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&publishing("web", &["lab,ip=10.7.0.9"], &["8080:80"])).unwrap();
    let before = site.picture();
    for (request, wanted) in [
        (sandbox("web", &["lab"]), "sandbox 'web' exists already"),
        (sandbox("new", &["lab,ip=10.7.0.9"]), "web"),
        (publishing("new", &["lab"], &["8080:81"]), "taken by sandbox 'web'"),
    ] {
        let error = site.engine().create_sandbox(&request).unwrap_err();
        let text = format!("{} {:?}", told(&error), error.hint());
        assert!(text.contains(wanted), "{text}");
        assert_eq!(site.picture(), before);
    }
}

#[test]
fn an_ephemeral_sandbox_lives_as_long_as_its_process() {
    let site = Site::with_networks();
    let name = "job".parse().unwrap();
    let alive = site.engine().hold_run(&name).unwrap();
    let mut request = sandbox("job", &["lab"]);
    request.ephemeral = true;
    site.engine().create_sandbox(&request).unwrap();
    site.assert_in_order();
    site.engine().create_sandbox(&request).expect_err("its process lives");
    let error = site.engine().hold_run(&name).unwrap_err();
    assert!(told(&error).contains("sandbox 'job' exists already"), "{}", told(&error));
    drop(alive);
    assert_eq!(site.engine().repair(false).unwrap().finished, ["sandbox job is held by nothing"]);
    assert_eq!(site.engine().sandboxes().unwrap().len(), 0);
    site.assert_in_order();
}

#[test]
fn the_next_process_for_a_name_clears_away_what_the_last_left() {
    let site = Site::with_networks();
    let name = "job".parse().unwrap();
    let mut request = publishing("job", &["lab"], &["8080:80"]);
    request.ephemeral = true;
    for _ in 0..2 {
        let mut engine = site.engine();
        let _alive = engine.hold_run(&name).unwrap();
        engine.create_sandbox(&request).unwrap();
        site.assert_in_order();
    }
}

#[test]
fn a_pin_that_pins_nothing_holds_no_sandbox() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("dead", &["none"])).unwrap();
    site.machine.empty_pin("dead");
    assert_eq!(site.engine().repair(false).unwrap().finished, ["sandbox dead is held by nothing"]);
    assert!(site.machine.state().namespaces.is_empty());
}

#[test]
fn a_sandbox_without_namespace_is_neither_connected_nor_revived() {
    let site = with_leftover();
    let error = site.engine().connect(&to("wide"), "gone").unwrap_err();
    assert!(told(&error).contains("no sandbox 'gone' any more"), "{}", told(&error));
    assert!(site.engine().sandboxes().unwrap().is_empty());
    site.assert_in_order();

    let site = with_leftover();
    site.engine().disconnect("lab", "gone", true).unwrap();
    assert!(site.machine.state().namespaces.is_empty(), "disconnect made the namespace anew");
    site.assert_in_order();
}

#[test]
fn a_boot_empties_everything_but_networks_which_come_back_when_used() {
    let mut site = Site::with_networks();
    site.engine().create_sandbox(&publishing("old", &["lab", "wide"], &["8080:80"])).unwrap();
    let lab = site.machine.state().bridges;
    site.reboot();
    assert!(site.engine().sandboxes().unwrap().is_empty());
    assert!(site.picture_of_files().is_empty(), "files outlived their boot: {:?}", site.picture_of_files());
    site.engine().create_sandbox(&publishing("new", &["lab", "wide"], &["8080:80"])).unwrap();
    assert_eq!(site.machine.state().bridges, lab);
    assert!(!site.file("new", "hosts").contains("old"));
    site.assert_in_order();
}

#[test]
fn a_flushed_ruleset_comes_back_whole_at_the_next_attachment() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&publishing("web", &["lab"], &["8080:80", "9000-9009:9000-9009"])).unwrap();
    site.engine().create_sandbox(&publishing("dns", &["wide"], &["53:53/udp"])).unwrap();
    let whole = site.machine.state().firewall.unwrap();
    site.machine.with(|fake| fake.state.firewall = None);
    site.engine().create_sandbox(&sandbox("new", &["wide"])).unwrap();
    assert_eq!(site.machine.state().firewall.unwrap(), whole);
    site.assert_in_order();
}

#[test]
fn what_is_being_removed_does_not_come_back_with_a_flushed_ruleset() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&publishing("web", &["lab"], &["8080:80"])).unwrap();
    let mut store = site.store();
    let object = linkspan_store::Object::Sandbox("web".parse().unwrap());
    store.write(|tx| tx.begin(&object, "remove", "").map(drop)).unwrap();
    let _at_work = store.try_lock(&object, linkspan_store::Mode::Exclusive).unwrap().unwrap();
    site.machine.with(|fake| fake.state.firewall = None);
    site.engine().create_sandbox(&sandbox("new", &["wide"])).unwrap();
    let elements = site.machine.state().firewall.unwrap();
    assert!(elements.iter().all(Element::is_policy), "{elements:?}");
}

#[test]
fn a_bridge_deleted_by_hand_comes_back_with_the_next_attachment_and_its_ports_with_repair() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
    let before = site.machine.state();
    let lab = site.engine().network("lab").unwrap().network.bridge_name();
    site.machine.with(|fake| {
        fake.state.bridges.remove(&lab);
        fake.state.ports.values_mut().for_each(|port| port.bridge = "-".parse().unwrap());
    });
    site.engine().create_sandbox(&sandbox("new", &["lab"])).unwrap();
    assert_eq!(site.machine.state().bridges, before.bridges);
    let steps: Vec<_> = site.engine().repair(false).unwrap().steps.iter().map(ToString::to_string).collect();
    assert!(
        steps[0].starts_with("delete port veth") && steps[1].starts_with("create port veth"),
        "{steps:?}"
    );
    site.engine().remove_sandbox("new", false).unwrap();
    assert_eq!(site.machine.state(), before);
    site.assert_in_order();
}

#[test]
fn changes_by_hand_are_left_alone_by_attachment_connection_and_repair() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
    site.machine.with(|fake| {
        for bridge in fake.state.bridges.values_mut() {
            bridge.mtu = 1400;
            bridge.addresses.insert("192.0.2.1/24".parse().unwrap());
        }
        for port in fake.state.ports.values_mut() {
            (port.mtu, port.hairpin) = (1400, true);
        }
        let mut route = fake.state.routes.first().unwrap().clone();
        route.via = "fd00::1".parse().unwrap();
        fake.state.routes.insert(route);
    });
    let by_hand = site.machine.state();
    assert!(site.engine().repair(false).unwrap().is_empty());
    site.engine().create_sandbox(&sandbox("new", &["lab"])).unwrap();
    site.engine().remove_sandbox("new", false).unwrap();
    site.engine().connect(&to("wide"), "web").unwrap();
    site.engine().disconnect("wide", "web", false).unwrap();
    assert_eq!(site.machine.state(), by_hand);
}

#[test]
fn what_was_there_before_is_refused_before_anything_is_written() {
    let site = Site::with_networks();
    site.machine.with(|fake| {
        fake.state.namespaces.insert("theirs".parse().unwrap(), Namespace::New);
        fake.devices.insert("dummy0".parse().unwrap(), "dummy".to_owned());
        let bridge = fake.state.bridges.values().next().unwrap().clone();
        fake.state.bridges.insert("docker0".parse().unwrap(), bridge);
    });
    std::fs::create_dir_all(site.etc_netns().join("files")).unwrap();
    std::fs::write(site.etc_netns().join("files/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    std::os::unix::fs::symlink("/somewhere/else", site.etc_netns().join("link")).unwrap();
    let before = site.picture();
    let on_bridge = |name: &str| {
        let mut request = network("new", "10.9.0.0/24");
        request.options.insert("com.docker.network.bridge.name".to_owned(), name.to_owned());
        site.engine().create_network(request).map(drop)
    };
    let named = |name: &str| site.engine().create_sandbox(&sandbox(name, &["lab"])).map(drop);
    let refusals: [(Result<(), Error>, &str); 5] = [
        (named("theirs"), "was not made by Linkspan"),
        (named("files"), "was not made by Linkspan"),
        (named("link"), "was not made by Linkspan"),
        (on_bridge("docker0"), "was not made by Linkspan"),
        (on_bridge("dummy0"), "dummy"),
    ];
    for (outcome, why) in refusals {
        let text = told(&outcome.unwrap_err());
        assert!(text.contains(why), "{text}");
        assert_eq!(site.picture(), before, "after: {text}");
    }
}

#[test]
fn a_change_that_cannot_be_settled_keeps_nobody_else_from_theirs() {
    let site = Site::with_networks();
    // The network's bridge was replaced by something else, and its removal was interrupted.
    let lab = site.engine().network("lab").unwrap().network.bridge_name();
    site.machine.with(|fake: &mut linkspan_kernel::Fake| {
        let State { bridges, .. } = &mut fake.state;
        bridges.remove(&lab);
        fake.devices.insert(lab.clone(), "dummy".to_owned());
    });
    site.engine().remove_network("lab").expect_err("something else has the bridge's name");
    site.engine().create_sandbox(&sandbox("other", &["wide"])).unwrap();
    let notes = site.notes.lock().unwrap().join("\n");
    assert!(notes.contains("remove of network lab was interrupted and cannot be settled"), "{notes}");
    let error = site.engine().create_sandbox(&sandbox("new", &["lab"])).unwrap_err();
    assert!(told(&error).contains("dummy"), "{}", told(&error));
    site.machine.with(|fake| fake.devices.clear());
    site.engine().repair(false).unwrap();
    assert!(site.engine().network("lab").is_err());
    site.assert_in_order();
}
