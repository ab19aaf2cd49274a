//! What is missing, where more than what is wanted is no fault.

use linkspan_model::IfName;

use crate::{Port, State};

/// What of `wanted` is not in `found`, in words. What is there beside it is not told: others may have added it.
pub fn lacking(wanted: &State, found: &State) -> Vec<String> {
    let mut lacking = Vec::new();
    let gone = |what: &str, name: &IfName| format!("{what} {name} is gone");
    for (name, bridge) in &wanted.bridges {
        match found.bridges.get(name) {
            None => lacking.push(gone("bridge", name)),
            Some(there) => {
                let missing = bridge.addresses.difference(&there.addresses);
                lacking.extend(missing.map(|address| format!("bridge {name} lacks {address}")));
            }
        }
    }
    for (name, port) in &wanted.ports {
        match found.ports.get(name) {
            None => lacking.push(gone("port", name)),
            Some(there) => lacking.extend(port_lacks(name, port, there)),
        }
    }
    for (place @ (_, ifname), child) in &wanted.upper.children {
        match found.upper.children.get(place) {
            None => lacking.push(gone("device", ifname)),
            Some(there) => {
                let missing = child.addresses.difference(&there.addresses);
                lacking.extend(missing.map(|address| format!("{ifname} lacks {address}")));
            }
        }
    }
    let routes = wanted.routes.difference(&found.routes);
    lacking.extend(routes.map(|route| format!("the default route via {} is gone", route.via)));
    let shapers = wanted.shapers.keys().filter(|name| !found.shapers.contains_key(*name));
    lacking.extend(shapers.map(|name| format!("the limits of {name} are gone")));
    let there = found.firewall.as_ref();
    let elements = wanted.firewall.iter().flatten();
    let missing = elements.filter(|element| there.is_none_or(|there| !there.contains(element)));
    lacking.extend(missing.map(|element| format!("element {element} is gone")));
    lacking
}

fn port_lacks(name: &IfName, wanted: &Port, found: &Port) -> Vec<String> {
    let mut lacking = Vec::new();
    if wanted.bridge != found.bridge {
        lacking.push(format!("port {name} is on {}, not on {}", found.bridge, wanted.bridge));
    }
    if wanted.isolated && !found.isolated {
        lacking.push(format!("port {name} is not isolated"));
    }
    if wanted.hairpin && !found.hairpin {
        lacking.push(format!("port {name} sends nothing back (hairpin)"));
    }
    match (&wanted.peer, &found.peer) {
        (Some(wanted), None) => lacking.push(format!("{} is gone", wanted.ifname)),
        (Some(wanted), Some(found)) => {
            let missing = wanted.addresses.difference(&found.addresses);
            lacking.extend(missing.map(|address| format!("{} lacks {address}", wanted.ifname)));
        }
        _ => {}
    }
    lacking
}
