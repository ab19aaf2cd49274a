//! Names of containers.

use super::host;
use crate::support::{Traces, here, run_as_root, run_tool, sh};

#[test]
fn containers_find_each_other_by_name() {
    run_as_root(here!(), || {
        let Some((_world, podman)) = host() else { return };
        podman.run("network create --subnet 10.30.0.0/24 n1");
        podman.run("network create --subnet 10.31.0.0/24 n2");
        let before = Traces::find();
        podman.run("run -d --name a --network n1 --ip 10.30.0.11 --network-alias web bb sleep 1000");
        podman.run(
            "run -d --name b --network n1:ip=10.30.0.12 --network n2:ip=10.31.0.12,alias=bee bb sleep 1000",
        );
        podman.run("run -d --name c --network n2 --ip 10.31.0.13 bb sleep 1000");
        assert_eq!(podman.looked_up("b", "a"), ["10.30.0.11"]);
        assert_eq!(podman.looked_up("b", "WEB.dns.podman"), ["10.30.0.11"]);
        assert_eq!(podman.looked_up("a", "b"), ["10.30.0.12"]);
        assert_eq!(podman.looked_up("c", "bee"), ["10.31.0.12"]);
        assert_eq!(podman.looked_up("a", "c"), [""; 0]);
        let id = podman.run("ps -q --filter name=^a$");
        assert_eq!(podman.looked_up("b", id.trim()), ["10.30.0.11"]);
        assert!(podman.run("exec b nslookup 10.30.0.11").contains("name = a"));
        podman.run("network connect --ip 10.30.0.13 n1 c");
        assert_eq!(podman.looked_up("a", "c"), ["10.30.0.13"]);
        podman.run("exec c ping -c 1 -W 2 a");
        podman.run("network disconnect n1 c");
        assert_eq!(podman.looked_up("a", "c"), [""; 0]);
        podman.run("rm -t 0 -f a b c");
        before.are_all();
        let (_, servers) = run_tool("ls /run/containers/networks/aardvark-dns");
        assert_eq!(servers.trim(), "", "nobody needs a DNS server any more");
    });
}

#[test]
fn names_of_an_internal_network_stay_and_others_are_unknown() {
    run_as_root(here!(), || {
        let Some((world, podman)) = host() else { return };
        podman.run("network create --internal --subnet 10.30.0.0/24 n1");
        podman.run("run -d --name a --network n1 bb sleep 1000");
        podman.run("run -d --name b --network n1 bb sleep 1000");
        podman.run("exec a ping -c 1 -W 2 b");
        podman.fails("exec a ping -c 1 -W 1 192.0.2.9");
        assert!(podman.fails("exec a nslookup outside.example").contains("NXDOMAIN"));
        world.outside.sh("! ping -c 1 -W 1 10.30.0.2");
        podman.run("rm -t 0 -f a b");
        sh("true");
    });
}
