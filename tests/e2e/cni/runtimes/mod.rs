//! Container runtimes themselves, on a host where the plugins in /opt/cni/bin are links to Linkspan.
//!
//! They are the machine's own root's, with directories, networks and cgroups of their own. No image is pulled: their
//! containers are made of busybox.

mod containerd;
mod cri;
mod podman;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{BINARY, World, root_file_system, sh};

const PLUGINS: &str = "/opt/cni/bin";
const CONFLISTS: &str = "/etc/cni/net.d";

/// The host with its plugins and a root file system, if all of these programs are installed.
fn host(programs: &[&str]) -> Option<World> {
    if !root_file_system(programs) {
        return None;
    }
    sh(&format!("mkdir -p {PLUGINS} {CONFLISTS}"));
    for plugin in ["linkspan", "bridge", "host-local", "portmap", "firewall", "tuning", "loopback"] {
        sh(&format!("ln -s {BINARY} {PLUGINS}/{plugin}"));
    }
    Some(World::new())
}

/// Makes a conflist the only one of the host.
fn use_conflist(list: &Value) {
    sh(&format!("rm -f {CONFLISTS}/*"));
    fs::write(Path::new(CONFLISTS).join("10-test.conflist"), list.to_string()).expect("write a conflist");
}

/// The two ways to have Linkspan as the plugin: natively, and under the reference plugins' names.
fn conflists() -> [Value; 2] {
    let mut usual = super::chain::usual("1.0.0");
    usual["plugins"][0]["ipam"].as_object_mut().expect("an object").remove("dataDir");
    let native = json!({ "type": "linkspan", "network": "bridge", "capabilities": { "portMappings": true } });
    [usual, json!({ "cniVersion": "1.0.0", "name": "native", "plugins": [native] })]
}
