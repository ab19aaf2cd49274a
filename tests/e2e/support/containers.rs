//! What tests of container runtimes have in common: a root file system of busybox, and pages that containers serve.

use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_lab::{run_tool, sh};

use super::has;
use super::program::BINARY;

/// A container's root file system.
pub const ROOT: &str = "/run/root";

/// Makes the root file system, if busybox, curl and all of these programs are installed; whether they are.
pub fn root_file_system(programs: &[&str]) -> bool {
    if !["busybox", "curl"].iter().chain(programs).all(|program| has(program)) {
        return false;
    }
    sh(&format!("mkdir -p {ROOT}/bin && cd {ROOT} && mkdir -p proc sys dev tmp etc"));
    sh(&format!(
        "cp \"$(command -v busybox)\" {ROOT}/bin/ && echo 'root:x:0:0::/:/bin/sh' >{ROOT}/etc/passwd"
    ));
    let applets = "sh httpd ip ping true sleep nslookup nc cat";
    sh(&format!("for name in {applets}; do ln -sf busybox {ROOT}/bin/$name; done"));
    true
}

/// Whether a web server answers there, whatever it says; it may still be starting.
pub fn served(address: &str) -> bool {
    (0..20).any(|_| served_at_once(address) || run_tool("sleep 0.2; false").0)
}

/// Whether a web server answers there now.
pub fn served_at_once(address: &str) -> bool {
    run_tool(&format!("curl -gsS -m 2 -o /dev/null http://{address}/")).0
}

/// What containers could leave behind on the host.
#[derive(PartialEq, Eq, Debug)]
pub struct Traces(String);

impl Traces {
    /// What there is.
    pub fn find() -> Self {
        let links = "ip -br link | sed 's,[@ ].*,,'; ls /run/netns";
        let files = "find /var/lib/cni -type f ! -name 'last_reserved_ip.*' ! -name lock 2>/dev/null";
        Self(sh(&format!("{links}; nft -s list ruleset; {BINARY} sandbox ls; {files} || true")))
    }

    /// That there are no more by now, or soon.
    #[track_caller]
    pub fn are_all(&self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        while Self::find() != *self && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
        }
        let now = Self::find();
        assert!(now == *self, "before:\n{}\nafter:\n{}", self.0, now.0);
    }
}
