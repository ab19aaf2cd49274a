//! Container runtimes themselves, on a host where the plugins in /opt/cni/bin are links to Linkspan.
//!
//! They are the machine's own root's, with directories, networks and cgroups of their own. No image is pulled: their
//! containers are made of busybox.

mod containerd;
mod cri;
mod podman;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{BINARY, World, has, run_tool, sh};

/// A container's root file system.
const ROOT: &str = "/run/root";
const PLUGINS: &str = "/opt/cni/bin";
const CONFLISTS: &str = "/etc/cni/net.d";

/// The host with its plugins and a root file system, if all of these programs are installed.
fn host(programs: &[&str]) -> Option<World> {
    let needed = ["busybox", "curl"].iter().chain(programs);
    if !needed.into_iter().all(|program| has(program)) {
        return None;
    }
    sh(&format!("mkdir -p {PLUGINS} {CONFLISTS} {ROOT}/bin && cd {ROOT} && mkdir proc sys dev tmp etc"));
    sh(&format!(
        "cp \"$(command -v busybox)\" {ROOT}/bin/ && echo 'root:x:0:0::/:/bin/sh' >{ROOT}/etc/passwd"
    ));
    sh(&format!("for name in sh httpd ip ping true; do ln -s busybox {ROOT}/bin/$name; done"));
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

/// Whether a web server answers there, whatever it says; it may still be starting.
fn served(address: &str) -> bool {
    (0..20).any(|_| served_at_once(address) || run_tool("sleep 0.2; false").0)
}

fn served_at_once(address: &str) -> bool {
    run_tool(&format!("curl -sS -m 2 -o /dev/null http://{address}/")).0
}

/// What attachments could leave behind.
#[derive(PartialEq, Eq, Debug)]
struct Traces(String);

impl Traces {
    fn find() -> Self {
        let links = "ip -br link | sed 's,[@ ].*,,'; ls /run/netns";
        let files = "find /var/lib/cni -type f ! -name 'last_reserved_ip.*' ! -name lock 2>/dev/null";
        Self(sh(&format!("{links}; nft -s list ruleset; {BINARY} sandbox ls; {files} || true")))
    }

    /// That there are no more by now, or soon.
    #[track_caller]
    fn are_all(&self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        while Self::find() != *self && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
        }
        let now = Self::find();
        assert!(now == *self, "before:\n{}\nafter:\n{}", self.0, now.0);
    }
}
