//! containerd, and `ctr run --cni`.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::{CONFLISTS, PLUGINS, conflists, host, use_conflist};
use crate::support::{ROOT, Reach, Traces, here, run_as_root, run_tool, served, sh};

const CONFIG: &str = "/run/containerd.toml";
/// The image that sandboxes of its CRI plugin run.
pub const IMAGE: &str = "docker.io/test/busybox:1";
pub const SOCKET: &str = "/run/containerd.sock";

/// A containerd of the test's own, which ends with the value.
pub struct Containerd(Child);

impl Containerd {
    /// Starts one; it listens when this returns.
    #[allow(clippy::disallowed_methods, reason = "a runtime runs as on any host")]
    pub fn start() -> Self {
        let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
        let text = format!(
            "version = 2\nroot = \"/var/lib/containerd\"\nstate = \"/run/containerd\"\n\
             [grpc]\naddress = \"{SOCKET}\"\n\
             [{cri}]\nsandbox_image = \"{IMAGE}\"\ndisable_apparmor = true\n\
             restrict_oom_score_adj = true\ndisable_cgroup = true\n\
             [{cri}.containerd]\nsnapshotter = \"native\"\n\
             [{cri}.cni]\nbin_dir = \"{PLUGINS}\"\nconf_dir = \"{CONFLISTS}\"\n"
        );
        fs::write(CONFIG, text).expect("write a configuration");
        // What an earlier one listened at.
        _ = fs::remove_file(SOCKET);
        let log = fs::File::create("/run/containerd.log").expect("make a log");
        let mut command = std::process::Command::new("containerd");
        let child = command.args(["--config", CONFIG]).stdout(Stdio::null()).stderr(log).spawn();
        let containerd = Self(child.expect("start containerd"));
        sh(&format!("timeout 20 sh -c 'until [ -S {SOCKET} ]; do sleep 0.02; done'"));
        containerd.ctr("version");
        containerd
    }

    /// Runs `ctr`; gives what it prints.
    pub fn ctr(&self, line: &str) -> String {
        let (done, text) = run_tool(&format!("timeout 60 ctr -a {SOCKET} {line}"));
        assert!(done, "$ ctr {line}\n{text}\n{}", self.log());
        text
    }

    /// What it has said last.
    pub fn log(&self) -> String {
        sh("tail -n 20 /run/containerd.log")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn ctr_runs_a_container_on_a_network() {
    run_as_root(here!(), || {
        let Some(world) = host(&["containerd", "ctr", "runc"]) else { return };
        let containerd = Containerd::start();
        for list in conflists() {
            use_conflist(&list);
            // Without CPU shares, as their controller may be one of the first version of cgroups.
            let run = format!("run --cpu-shares 0 --rm --cni --rootfs {ROOT}");
            let show = "/bin/ip -4 -o addr show dev eth0";
            assert!(containerd.ctr(&format!("{run} first {show}")).contains("inet"));
            let before = Traces::find();
            let serve = format!("/bin/sh -c '{show} >/tmp/address; exec /bin/httpd -f -p 80'");
            thread::scope(|scope| {
                scope.spawn(|| run_tool(&format!("timeout 30 ctr -a {SOCKET} {run} web {serve}")));
                let address = wait_for_address();
                assert!(served(&address), "{list:#}");
                world.host.pings(&address);
                containerd.ctr("task kill -s 9 web");
            });
            before.are_all();
        }
        // What runc has left is empty.
        run_tool("rmdir /sys/fs/cgroup/default");
    });
}

/// What the container has written down of itself.
fn wait_for_address() -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    let file = format!("{ROOT}/tmp/address");
    loop {
        let text = fs::read_to_string(&file).unwrap_or_default();
        if let Some(address) = text.split_whitespace().nth(3) {
            fs::remove_file(file).expect("remove a file");
            return address.split('/').next().unwrap_or_default().to_owned();
        }
        assert!(Instant::now() < deadline, "the container does not come up");
        sleep(Duration::from_millis(20));
    }
}
