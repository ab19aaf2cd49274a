//! Podman 4 with its CNI backend.

use std::fs;

use super::{CONFLISTS, PLUGINS, ROOT, Traces, host, served, served_at_once};
use crate::support::{here, run_as_root, sh};

/// Its own storage and nothing that the machine may lack: no cgroups of its own, no limits to raise.
const CONFIG: &str = "[containers]
default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]
cgroups = \"disabled\"
[engine]
cgroup_manager = \"cgroupfs\"
runtime = \"crun\"
events_logger = \"file\"
[network]
network_backend = \"cni\"
";
const STORAGE: &str = "[storage]
driver = \"vfs\"
graphroot = \"/var/lib/containers/storage\"
runroot = \"/run/containers/storage\"
";

fn podman(line: &str) -> String {
    sh(&format!(
        "CONTAINERS_CONF=/run/containers.conf CONTAINERS_STORAGE_CONF=/run/storage.conf timeout 60 podman {line}"
    ))
}

#[test]
fn podman_runs_containers_on_a_network_of_its_own() {
    run_as_root(here!(), || {
        let Some(world) = host(&["podman", "crun"]) else { return };
        let config =
            format!("{CONFIG}cni_plugin_dirs = [\"{PLUGINS}\"]\nnetwork_config_dir = \"{CONFLISTS}\"\n");
        fs::write("/run/containers.conf", config).expect("write a configuration");
        fs::write("/run/storage.conf", STORAGE).expect("write a configuration");
        fs::create_dir("/etc/containers").expect("make a directory");
        let policy = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}";
        fs::write("/etc/containers/policy.json", policy).expect("write a policy");
        sh(&format!("tar -C {ROOT} -c . >/run/root.tar"));
        podman("import -q /run/root.tar bb");
        podman("network create --subnet 10.30.0.0/24 n1");
        podman("run --rm --network n1 -p 8087:80 bb true");
        let before = Traces::find();
        podman("run -d --name web --network n1 -p 8088:80 bb httpd -f -p 80");
        podman("run -d --name other --network n1 --ip 10.30.0.77 -p 127.0.0.1:8089:80 bb httpd -f -p 80");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        assert!(served("127.0.0.1:8089") && served("10.30.0.77:80"));
        world.outside.enter(|| assert!(!served_at_once("192.0.2.1:8089")));
        assert!(podman("exec other ip -4 addr show dev eth0").contains("10.30.0.77/24"));
        podman("exec other ping -c 1 -W 2 10.30.0.1");
        podman("network reload web");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        podman("rm -t 0 -f web other");
        before.are_all();
        podman("network rm n1");
    });
}
