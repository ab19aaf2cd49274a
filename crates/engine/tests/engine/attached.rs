//! What plugins of runtimes make for containers.

use std::collections::BTreeMap;

use linkspan_engine::{FitRequest, Footing};
use linkspan_model::{Attachment, Fixture, Guests, Part, Side};
use linkspan_plan::{Inside, desired};

use crate::site::Site;

/// A host with two namespaces that are nobody's.
fn site() -> Site {
    let site = Site::with_networks();
    for file in ["/proc/77/ns/net", "/proc/78/ns/net"] {
        site.machine.with(|fake| fake.foreign.insert(file.into(), Inside::default()));
    }
    site
}

/// What a plugin asks for that comes after another.
fn chained(netns: &str) -> FitRequest {
    FitRequest {
        attachment: Attachment {
            network: "runtime".parse().unwrap(),
            container: "c1".to_owned(),
            ifname: "eth0".parse().unwrap(),
        },
        netns: netns.into(),
        footing: Footing::default(),
        is_main: false,
        part: Part { owner: "bandwidth".to_owned(), ..Part::default() },
        guests: Guests::default(),
        labels: BTreeMap::new(),
    }
}

#[test]
fn a_container_that_comes_back_in_another_namespace_is_another_one() {
    let site = site();
    let (first, former, _) = site.engine().fit(&chained("/proc/77/ns/net")).unwrap();
    let (second, sandbox, _) = site.engine().fit(&chained("/proc/78/ns/net")).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(second.sandbox, sandbox.id);
    assert_eq!(second.parts.len(), 1);
    let sandboxes = site.engine().sandboxes().unwrap();
    assert!(sandboxes.iter().all(|view| view.sandbox.id != former.id));
}

#[test]
fn containers_whose_identities_begin_alike_are_told_apart_by_the_ends() {
    let site = site();
    let identity = |number: u8| format!("{number:064x}");
    let names = [(1, "/proc/77/ns/net"), (2, "/proc/78/ns/net")].map(|(number, netns)| {
        let mut request = chained(netns);
        request.attachment.container = identity(number);
        site.engine().fit(&request).unwrap().1.name.to_string()
    });
    assert_eq!(names, ["000000000000", "000000000000-000000000002"]);
}

/// What a plugin asks for that makes a container of `network` a guest of the bridge cni0.
fn guest(network: &str, netns: &str, address: &str) -> FitRequest {
    let mut request = chained(netns);
    request.attachment.network = network.parse().unwrap();
    request.is_main = true;
    request.part = Part {
        owner: "bridge".to_owned(),
        fixtures: vec![Fixture::Sysctl {
            side: Side::Host,
            key: desired::FORWARD_V4.to_owned(),
            value: "1".to_owned(),
        }],
        masquerade_from: vec![address.parse().unwrap()],
        ..Part::default()
    };
    request.guests = Guests { bridges: ["cni0".parse().unwrap()].into(), ..Guests::default() };
    request
}

fn elements(site: &Site) -> Vec<String> {
    let firewall = site.machine.with(|fake| fake.state.firewall.clone());
    firewall.unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn networks_that_share_a_bridge_go_one_by_one() {
    let site = site();
    let (one, two) =
        (guest("one", "/proc/77/ns/net", "10.0.0.2"), guest("two", "/proc/78/ns/net", "10.0.0.3"));
    let before = elements(&site);
    for request in [&one, &two] {
        site.engine().fit(request).unwrap();
    }
    let added: Vec<_> = elements(&site).into_iter().filter(|element| !before.contains(element)).collect();
    assert_eq!(added, ["guests { cni0 }", "masquerade4 { 10.0.0.2 }", "masquerade4 { 10.0.0.3 }"]);
    assert!(site.engine().unfit(&one.attachment, "bridge").unwrap());
    site.engine().remove_network("one").unwrap();
    let added: Vec<_> = elements(&site).into_iter().filter(|element| !before.contains(element)).collect();
    assert_eq!(added, ["guests { cni0 }", "masquerade4 { 10.0.0.3 }"]);
    assert!(site.engine().unfit(&two.attachment, "bridge").unwrap());
    site.engine().remove_network("two").unwrap();
    assert_eq!(elements(&site), before);
}

#[test]
fn a_sysctl_of_the_host_that_a_plugin_changes_is_on_record() {
    let site = site();
    site.machine.with(|fake| fake.state.sysctls.insert(desired::FORWARD_V4.to_owned(), "0".to_owned()));
    site.engine().fit(&guest("one", "/proc/77/ns/net", "10.0.0.2")).unwrap();
    let value = site.machine.with(|fake| fake.state.sysctls.get(desired::FORWARD_V4).cloned());
    assert_eq!(value.as_deref(), Some("1"));
    let notes = site.notes.lock().unwrap();
    assert!(notes.iter().any(|note| note.contains("ip_forward is set to 1 (it was 0)")), "{notes:?}");
}
