//! Sandboxes in namespaces that are somebody else's.

use std::path::Path;

use linkspan_model::{Family, IfName};
use linkspan_plan::Inside;

use crate::site::{Site, publishing, sandbox, to, told};
use linkspan_engine::SandboxRequest;

const FILE: &str = "/proc/77/ns/net";

/// A host with a process whose namespace has these devices, and a default route by the first of them if `leads` so.
fn site(devices: &[&str], leads: bool) -> Site {
    let site = Site::with_networks();
    let devices: Vec<IfName> = devices.iter().map(|device| device.parse().unwrap()).collect();
    let default_routes = devices.iter().take(leads.into()).map(|first| (Family::V4, first.clone())).collect();
    let inside = Inside { devices: devices.into_iter().collect(), default_routes, is_host: false };
    site.machine.with(|fake| fake.foreign.insert(FILE.into(), inside));
    site
}

fn adopting(nets: &[&str]) -> SandboxRequest {
    SandboxRequest { namespace: Some(FILE.into()), ..sandbox("web", nets) }
}

#[test]
fn devices_that_are_there_keep_their_names() {
    let site = site(&["eth0", "eth2"], false);
    let view = site.engine().create_sandbox(&adopting(&["lab"])).unwrap();
    assert_eq!(view.attached[0].0.ifname.as_str(), "eth1");
    assert_eq!(site.engine().connect(&to("wide"), "web").unwrap().ifname.as_str(), "eth3");
    site.assert_in_order();
    let before = site.picture();
    let error = site
        .engine()
        .create_sandbox(&SandboxRequest { name: "other".parse().unwrap(), ..adopting(&["lab,ifname=eth2"]) });
    assert_eq!(told(&error.unwrap_err()), "sandbox 'other' has an interface eth2 already");
    assert_eq!(site.picture(), before);
}

#[test]
fn the_hosts_own_namespace_is_refused() {
    let site = site(&["eth0"], false);
    site.machine.with(|fake| fake.foreign.get_mut(Path::new(FILE)).unwrap().is_host = true);
    let before = site.picture();
    let error = site.engine().create_sandbox(&adopting(&["lab"])).unwrap_err();
    let what = format!("cannot use namespace {FILE}: {FILE} stands for the host's own namespace");
    assert_eq!(told(&error), what);
    assert_eq!(site.picture(), before);
}

#[test]
fn a_default_route_that_is_there_stays_and_is_told() {
    let site = site(&["eth0"], true);
    site.engine().create_sandbox(&sandbox("first", &["lab"])).unwrap();
    site.notes.lock().unwrap().clear();
    let view = site.engine().create_sandbox(&adopting(&["lab"])).unwrap();
    assert_eq!(view.attached[0].0.leases[0].gateway, None);
    site.engine().connect(&to("wide"), "web").unwrap();
    assert!(site.machine.state().routes.iter().all(|route| route.namespace.as_str() == "first"));
    let note = "sandbox 'web' keeps the IPv4 default route that its namespace has, through eth0";
    assert_eq!(*site.notes.lock().unwrap(), [note, note]);
    site.assert_in_order();
    // Answers to what is published would take that route.
    let publishing = publishing("other", &["lab"], &["80"]);
    let error = site.engine().create_sandbox(&SandboxRequest { namespace: Some(FILE.into()), ..publishing });
    assert!(told(&error.unwrap_err()).contains("default route of its own"));
}

#[test]
fn the_default_route_of_ours_is_not_taken_for_theirs() {
    let site = site(&["eth0"], false);
    site.engine().create_sandbox(&adopting(&["wide"])).unwrap();
    let endpoint = site.engine().connect(&to("lab"), "web").unwrap();
    assert!(endpoint.leases[0].gateway.is_some());
    let routes = site.machine.state().routes;
    assert_eq!(routes.iter().map(|route| route.ifname.as_str()).collect::<Vec<_>>(), ["eth2"]);
    site.engine().disconnect("lab", "web", false).unwrap();
    assert_eq!(site.machine.state().routes.first().unwrap().ifname.as_str(), "eth1");
    site.assert_in_order();
}

#[test]
fn a_namespace_that_is_not_there_is_refused_before_anything_is_made() {
    let site = Site::new();
    let before = site.picture();
    let error = site.engine().create_sandbox(&adopting(&[])).unwrap_err();
    assert!(told(&error).starts_with("cannot use namespace /proc/77/ns/net"), "{}", told(&error));
    assert_eq!(site.picture(), before);
}

#[test]
fn a_deserted_namespace_is_given_up_when_somebody_looks() {
    for way in ["repair", "connect", "disconnect", "name"] {
        let site = site(&["lo"], false);
        let before = site.picture();
        site.engine().create_sandbox(&adopting(&["lab"])).unwrap();
        site.machine.with(|fake| fake.deserted.insert("web".parse().unwrap()));
        match way {
            "repair" => {
                let repair = site.engine().repair(false).unwrap();
                assert_eq!(repair.finished, ["sandbox web is held by nothing"]);
            }
            "connect" => {
                let error = site.engine().connect(&to("wide"), "web").unwrap_err();
                assert!(told(&error).contains("no longer that of /proc/77/ns/net"), "{}", told(&error));
            }
            "disconnect" => site.engine().disconnect("lab", "web", true).unwrap(),
            _ => {
                site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
                site.engine().remove_sandbox("web", false).unwrap();
            }
        }
        assert_eq!(site.picture(), before, "{way}");
    }
}

#[test]
fn a_deserted_namespace_that_another_sandbox_shares_is_kept() {
    let site = site(&[], false);
    site.engine().create_sandbox(&adopting(&["lab"])).unwrap();
    site.engine().create_sandbox(&sandbox("guest", &["container:web"])).unwrap();
    site.machine.with(|fake| fake.deserted.insert("web".parse().unwrap()));
    site.assert_in_order();
    site.engine().remove_sandbox("guest", false).unwrap();
    assert_eq!(site.engine().repair(false).unwrap().finished, ["sandbox web is held by nothing"]);
}
