//! The README's topologies, as somebody pastes them.

use std::fs;
use std::path::Path;

use crate::support::*;

/// The commands of a section, and the title that it has.
fn section(title: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, text) = readme.split_once(&format!("\n### {title}\n")).unwrap_or_else(|| panic!("no {title}"));
    let text = text.split("\n#").next().unwrap();
    // Pictures are set off by more than the four blanks of commands.
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    let commands: Vec<&str> = lines.filter(|line| !line.starts_with(' ')).collect();
    assert!(commands.iter().any(|line| line.starts_with("linkspan ")), "no commands in {title}");
    commands.join("\n")
}

/// Pastes a section; what it made can be taken away as the README says.
fn paste(title: &str, before: &str) {
    let directory = Path::new(BINARY).parent().unwrap().display();
    let host = Snapshot::take();
    let script = format!("set -e\nPATH={directory}:$PATH\ncd /run\n{before}\n{}\n", section(title));
    fs::write("/run/pasted", script).unwrap();
    sh(&format!("export {ENVIRONMENT}; bash -x /run/pasted"));
    fs::remove_file("/run/pasted").unwrap();
    for (list, remove) in [("sandbox ls", "sandbox rm"), ("network ls", "network rm")] {
        // Backwards: a network that another is plugged into goes after that.
        for object in json(&format!("--format json {list}")).as_array().unwrap().iter().rev() {
            let name = object["Name"].as_str().unwrap();
            if !["bridge", "host", "none"].contains(&name) {
                linkspan(&format!("{remove} {name}"));
            }
        }
    }
    linkspan("network prune");
    host.is_unchanged();
}

#[test]
fn tiers() {
    run(here!(), || paste("Two tiers, apart from each other", ""));
}

#[test]
fn containers_of_a_cni_runtime() {
    run(here!(), || paste("Containers of a CNI runtime", ""));
}

#[test]
fn ipv6() {
    run(here!(), || paste("IPv6", ""));
}

#[test]
fn the_lan() {
    run(here!(), || {
        let _lan = Lan::new();
        paste("On the LAN itself", "");
    });
}

#[test]
fn on_the_lan_by_themselves() {
    run(here!(), || {
        let _lan = Lan::new();
        paste("Each on the LAN by itself: macvlan, ipvlan", "");
    });
}

#[test]
fn bridges_below_a_bridge() {
    run(here!(), || paste("Bridges below a bridge", ""));
}

#[test]
fn containers_of_others() {
    run(here!(), || {
        let process = sh("unshare -n sleep 300 >/dev/null 2>&1 & echo $!");
        // Until it has entered its namespace, it is still in ours.
        let own = "$(readlink /proc/self/ns/net)";
        let before =
            format!("PID={process}while test $(readlink /proc/$PID/ns/net) = {own}; do sleep 0.01; done");
        paste("Containers that something else runs", &before);
    });
}

#[test]
fn virtual_machines() {
    run(here!(), || {
        if may_open_taps() {
            paste("Virtual machines", "");
        }
    });
}

#[test]
fn slow_links() {
    run(here!(), || paste("Slow links", ""));
}

#[test]
fn open_vswitch() {
    run(here!(), || {
        if let Some(switch) = OpenVSwitch::start() {
            switch.bridge("br-eth1");
            paste("Open vSwitch", "");
        }
    });
}

#[test]
fn labs() {
    run(here!(), || paste("A whole lab in a file", ""));
}
