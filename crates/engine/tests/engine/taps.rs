//! Virtual machines come with their first tap and go with their last.

use linkspan_model::NetAttach;
use linkspan_plan::Step;

use crate::site::{Site, limited, sandbox, tap, to, told};

fn named(network: &str, device: &str) -> NetAttach {
    NetAttach { ifname: Some(device.parse().unwrap()), ..tap(network) }
}

#[test]
fn a_machine_comes_and_goes_with_its_taps() {
    let site = Site::with_networks();
    let before = site.picture();
    let first = site.engine().connect(&tap("lab"), "vm").unwrap();
    assert_eq!(first.host_ifname(), first.id.tap_ifname());
    site.engine().connect(&named("wide", "vm0"), "vm").unwrap();
    let taps = site.machine.state().taps;
    assert_eq!(taps.len(), 2);
    assert!(site.machine.state().namespaces.is_empty() && site.machine.state().ports.is_empty());
    assert_eq!(site.engine().sandbox("vm").unwrap().attached.len(), 2);
    assert!(site.engine().remove_network("lab").is_err());
    site.assert_in_order();

    site.engine().disconnect("lab", "vm", false).unwrap();
    assert_eq!(site.machine.state().taps.keys().map(ToString::to_string).collect::<Vec<_>>(), ["vm0"]);
    site.engine().disconnect("wide", "vm", false).unwrap();
    assert_eq!(site.picture(), before);

    site.engine().connect(&tap("lab"), "vm").unwrap();
    site.engine().remove_sandbox("vm", false).unwrap();
    assert_eq!(site.picture(), before);
}

#[test]
fn peers_know_a_machine_by_name() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
    let endpoint = site.engine().connect(&tap("lab"), "vm").unwrap();
    let line = format!("{}\tvm\n", endpoint.leases[0].address);
    assert!(site.file("web", "hosts").contains(&line));
    site.engine().disconnect("lab", "vm", false).unwrap();
    assert!(!site.file("web", "hosts").contains(&line));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
    site.engine().connect(&named("lab", "vm0"), "vm").unwrap();
    let before = site.picture();
    let foreign = "dummy0".parse().unwrap();
    site.machine.with(|fake| fake.devices.insert(foreign, "dummy".to_owned()));
    let refused = |attach: &NetAttach, sandbox: &str, why: &str| {
        let error = told(&site.engine().connect(attach, sandbox).unwrap_err());
        assert!(error.contains(why), "{error}");
        assert!(site.picture() == before, "{why}");
    };
    refused(&tap("wide"), "web", "takes no tap");
    refused(&to("wide"), "vm", "takes only taps");
    refused(&tap("lab"), "vm", "is on network 'lab' already");
    refused(&named("wide", "vm0"), "other", "a device called vm0 exists already");
    refused(&named("wide", "dummy0"), "other", "is not ours but a dummy");
    refused(&tap("wide"), "not a name", "'not a name'");
    refused(&tap("nowhere"), "other", "nowhere");
    let error = site.engine().create_sandbox(&sandbox("debug", &["container:vm"])).unwrap_err();
    assert!(told(&error).contains("has no namespace to share"), "{error}");
    let error = site.engine().create_sandbox(&sandbox("vm", &["lab"])).unwrap_err();
    assert!(told(&error).contains("exists already"), "{error}");
    assert!(site.picture() == before);
}

#[test]
fn what_is_taken_away_comes_back() {
    let site = Site::with_networks();
    site.engine().connect(&limited(tap("lab")), "vm").unwrap();
    let device = site.machine.state().taps.keys().next().unwrap().clone();
    let whole = site.machine.state();
    site.machine.with(|fake| fake.state.apply(&Step::DeleteTap(device)));
    assert!(!site.engine().repair(false).unwrap().steps.is_empty());
    assert_eq!(site.machine.state(), whole);
    site.assert_in_order();
}

#[test]
fn a_tap_that_nobody_knows_is_removed() {
    let site = Site::with_networks();
    site.engine().connect(&tap("lab"), "vm").unwrap();
    let wanted = site.machine.state();
    let (device, tap) = wanted.taps.iter().next().unwrap();
    let orphan = (format!("tap{}", "0".repeat(11)).parse().unwrap(), tap.clone());
    assert_ne!(orphan.0, *device);
    site.machine.with(|fake| fake.state.taps.extend([orphan]));
    site.engine().repair(false).unwrap();
    assert_eq!(site.machine.state(), wanted);
}

#[test]
fn limits_that_cannot_be_are_refused() {
    let site = Site::with_networks();
    let before = site.picture();
    for (net, why) in [
        ("lab,ingress-burst=64kb", "has no rate"),
        ("lab,egress-rate=10mbit,egress-burst=1kb", "lets no full frame pass"),
    ] {
        let error = told(&site.engine().create_sandbox(&sandbox("x", &[net])).unwrap_err());
        assert!(error.contains(why), "{error}");
        assert!(site.picture() == before);
    }
}
