//! What plugins of runtimes make for containers.

use std::collections::BTreeMap;

use linkspan_engine::{FitRequest, Footing};
use linkspan_model::{Attachment, Guests, Part};
use linkspan_plan::Inside;

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
