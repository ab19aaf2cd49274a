//! Podman of a user without privileges.

use crate::support::{Podman, here, run_as_root, served, sh};

#[test]
fn a_user_without_privileges_has_networks_ports_and_names() {
    run_as_root(here!(), || {
        let Some(podman) = Podman::of_user("network_backend = \"netavark\"\n") else { return };
        podman.run("network create n1");
        podman.run("run -d --name web --network n1 -p 8088:80 bb httpd -f -p 80");
        assert!(served("127.0.0.1:8088"));
        podman.run("run -d --name other --network n1 bb sleep 1000");
        assert_eq!(podman.looked_up("other", "web").len(), 1);
        podman.run("exec other ping -c 1 -W 2 web");
        podman.run("restart -t 0 web");
        assert!(served("127.0.0.1:8088"));
        podman.run("rm -t 0 -f web other");
        podman.run("network rm n1");
        sh("! test -e /var/lib/linkspan/linkspan.db");
    });
}
