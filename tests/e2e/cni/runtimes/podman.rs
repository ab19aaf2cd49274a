//! Podman 4 with its CNI backend.

use super::{CONFLISTS, PLUGINS, host};
use crate::support::{Podman, Traces, here, run_as_root, served, served_at_once};

#[test]
fn podman_runs_containers_on_a_network_of_its_own() {
    run_as_root(here!(), || {
        let Some(world) = host(&[]) else { return };
        let network = format!(
            "network_backend = \"cni\"\ncni_plugin_dirs = [\"{PLUGINS}\"]\nnetwork_config_dir = \"{CONFLISTS}\"\n"
        );
        let Some(podman) = Podman::of_root(&network) else { return };
        podman.run("network create --subnet 10.30.0.0/24 n1");
        podman.run("run --rm --network n1 -p 8087:80 bb true");
        let before = Traces::find();
        podman.run("run -d --name web --network n1 -p 8088:80 bb httpd -f -p 80");
        podman.run("run -d --name other --network n1 --ip 10.30.0.77 -p 127.0.0.1:8089:80 bb httpd -f -p 80");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        assert!(served("127.0.0.1:8089") && served("10.30.0.77:80"));
        world.outside.enter(|| assert!(!served_at_once("192.0.2.1:8089")));
        assert!(podman.run("exec other ip -4 addr show dev eth0").contains("10.30.0.77/24"));
        podman.run("exec other ping -c 1 -W 2 10.30.0.1");
        podman.run("network reload web");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        podman.run("rm -t 0 -f web other");
        before.are_all();
        podman.run("network rm n1");
    });
}
