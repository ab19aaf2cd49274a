//! Podman on the test's host, with storage of its own and an image of busybox called `bb`.

use std::collections::BTreeSet;
use std::fs;

use linkspan_lab::{Net, run_tool, sh};

use super::containers::{ROOT, root_file_system};
use super::program::BINARY;

/// What every machine can do: no cgroups of its own, no limits to raise.
const CONFIG: &str = "[containers]
default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]
cgroups = \"disabled\"
[engine]
cgroup_manager = \"cgroupfs\"
runtime = \"crun\"
events_logger = \"file\"
helper_binaries_dir = [\"/opt/helpers\", \"/usr/lib/podman\", \"/usr/bin\"]
[network]
";
const POLICY: &str = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}";
/// A user with identities of others to give to containers; the home is not below /run, which Podman hides.
const USER: &str = "for f in resolv.conf passwd group subuid subgid; do
    cat /etc/$f >/run/$f 2>/dev/null || true; rm -f /etc/$f; cp /run/$f /etc/$f
done
echo 'tester:x:1234:1234::/opt/home:/bin/sh' >>/etc/passwd
echo 'tester:x:1234:' >>/etc/group
echo 'tester:200000:65536' >/etc/subuid
echo 'tester:200000:65536' >/etc/subgid
mkdir -p /opt/home /run/user/1234
chown 1234:1234 /opt/home /run/user/1234
chmod 700 /run/user/1234
mknod /run/tun c 10 200
chmod 666 /run/tun
mount --bind /run/tun /dev/net/tun";

/// Podman of some user.
pub struct Podman {
    /// What a shell starts it with.
    command: String,
}

impl Podman {
    /// Root's, with these lines as the configuration of its networks. None if a program that it needs is missing.
    pub fn of_root(network: &str) -> Option<Self> {
        if !root_file_system(&["podman", "crun"]) {
            return None;
        }
        let storage = "graphroot = \"/var/lib/containers/storage\"\nrunroot = \"/run/containers/storage\"\n";
        // Podman keeps its environment from who cleans up behind a container, so Linkspan is where it usually is.
        Some(Self::configured("", network, storage))
    }

    /// That of a user without privileges.
    pub fn of_user(network: &str) -> Option<Self> {
        if !root_file_system(&["podman", "crun", "slirp4netns", "newuidmap"]) {
            return None;
        }
        sh(USER);
        let user = "cd /opt/home; setpriv --reuid 1234 --regid 1234 --clear-groups env -i PATH=$PATH \
                    HOME=/opt/home XDG_RUNTIME_DIR=/run/user/1234";
        Some(Self::configured(user, network, ""))
    }

    fn configured(start: &str, network: &str, storage: &str) -> Self {
        sh("mkdir -p /opt/helpers /etc/containers");
        for name in ["netavark", "aardvark-dns"] {
            sh(&format!("ln -sf {BINARY} /opt/helpers/{name}"));
        }
        let write = |file, text: String| fs::write(file, text).expect("write a configuration");
        write("/run/containers.conf", format!("{CONFIG}{network}"));
        write("/run/storage.conf", format!("[storage]\ndriver = \"vfs\"\n{storage}"));
        write("/etc/containers/policy.json", POLICY.to_owned());
        sh(&format!("tar -C {ROOT} -c . >/run/root.tar"));
        let command = format!(
            "{start} CONTAINERS_CONF=/run/containers.conf CONTAINERS_STORAGE_CONF=/run/storage.conf timeout 60 podman"
        );
        let podman = Self { command };
        podman.run("import -q /run/root.tar bb");
        podman
    }

    /// Runs it; gives what it prints. It has to succeed.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let (done, text) = self.tried(line);
        assert!(done, "$ podman {line}\n{text}");
        text
    }

    /// Runs it; gives what it prints. It has to fail.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        let (done, text) = self.tried(line);
        assert!(!done, "$ podman {line}\n{text}");
        text
    }

    /// Runs it; gives whether it succeeded, and what it printed.
    pub fn tried(&self, line: &str) -> (bool, String) {
        run_tool(&format!("{} {line}", self.command))
    }

    /// A container's namespace.
    pub fn net(&self, container: &str) -> Net {
        let pid = self.run(&format!("inspect -f '{{{{.State.Pid}}}}' {container}"));
        Net::of_process(container, pid.trim().parse().expect("a process"))
    }

    /// The addresses that a name leads to in their order, as a container sees it; none if there is no such name.
    pub fn looked_up(&self, container: &str, name: &str) -> Vec<String> {
        let (_, text) = self.tried(&format!("exec {container} nslookup {name}"));
        let answer = text.lines().skip_while(|line| !line.starts_with("Name:"));
        let address = |line: &str| Some(line.strip_prefix("Address")?.split_once(": ")?.1.trim().to_owned());
        // Two name servers may both be asked.
        let addresses: BTreeSet<String> = answer.filter_map(address).collect();
        addresses.into_iter().collect()
    }
}
