//! Networks: several at once, live changes, drivers.

use super::host;
use crate::support::{BINARY, Net, Reach, Traces, here, run_as_root, run_tool, served, sh};

#[test]
fn ports_and_default_routes_follow_the_networks_that_a_container_is_on() {
    run_as_root(here!(), || {
        let Some((world, podman)) = host() else { return };
        podman.run("network create --subnet 10.30.0.0/24 n1");
        podman.run("network create --subnet 10.31.0.0/24 n2");
        let before = Traces::find();
        podman.run("run -d --name web --network n1 -p 8088:80 bb httpd -f -p 80");
        let web = podman.net("web");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        podman.run("network connect n2 web");
        assert!(web.sh("ip -4 -o addr").contains("10.31.0."));
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        podman.run("network disconnect n1 web");
        world.outside.enter(|| assert!(served("192.0.2.1:8088"), "by the network that is left"));
        web.pings("192.0.2.9");
        podman.run("network disconnect n2 web");
        podman.run("network connect n1 web");
        web.pings("192.0.2.9");
        podman.run("rm -t 0 -f web");
        before.are_all();
    });
}

#[test]
fn networks_are_isolated_as_they_were_asked_to_be() {
    run_as_root(here!(), || {
        let Some((_world, podman)) = host() else { return };
        for (number, isolate) in [(30, "false"), (31, "true"), (32, "true"), (33, "strict")] {
            podman.run(&format!("network create --subnet 10.{number}.0.0/24 -o isolate=true n{number}"));
            // Podman 4 would refuse `strict`, but passes it on.
            sh(&format!("sed -i 's/\"true\"/\"{isolate}\"/' /etc/containers/networks/n{number}.json"));
            podman.run(&format!(
                "run -d --name c{number} --network n{number} -p 80{number}:80 bb httpd -f -p 80"
            ));
        }
        let pings = |from: u8, to: u8| podman.tried(&format!("exec c{from} ping -c 1 -W 1 10.{to}.0.2")).0;
        assert!(pings(30, 31) && pings(31, 30), "false and true");
        assert!(!pings(31, 32) && !pings(32, 31), "true and true");
        assert!(!pings(30, 33) && !pings(33, 30) && !pings(31, 33), "strict");
        // By the host's port, from anywhere.
        podman.net("c31").enter(|| assert!(served("192.0.2.1:8033")));
        podman.run("rm -t 0 -f c30 c31 c32 c33");
    });
}

#[test]
fn macvlan_containers_are_on_the_lan() {
    run_as_root(here!(), || {
        let Some((world, podman)) = host() else { return };
        podman.run("network create -d macvlan -o parent=lan0 --subnet 192.0.2.0/24 --gateway 192.0.2.9 lan");
        let before = Traces::find();
        podman.run("run -d --name a --network lan --ip 192.0.2.77 bb httpd -f -p 80");
        world.outside.enter(|| assert!(served("192.0.2.77:80")));
        podman.net("a").pings("192.0.2.9");
        assert!(podman.net("a").sh("ip route").contains("default via 192.0.2.9"));
        podman.run("rm -t 0 -f a");
        before.are_all();
        podman.run("network rm lan");
    });
}

#[test]
fn linkspan_shows_podmans_containers_and_entering_their_namespaces_works() {
    run_as_root(here!(), || {
        let Some((_world, podman)) = host() else { return };
        podman.run("run -d --name web -p 8088:80 bb httpd -f -p 80");
        let id = podman.run("ps -q");
        let listed = sh(&format!("{BINARY} sandbox ls"));
        assert!(listed.contains(id.trim()), "{listed}");
        let ports = sh(&format!("{BINARY} port {}", id.trim()));
        assert!(ports.contains("8088"), "{ports}");
        let name = sh("ls /run/netns | grep ^netns-");
        Net::pinned(name.trim()).sh("ip addr show dev eth0");
        let (done, refusal) = run_tool(&format!("{BINARY} sandbox create --net podman mine"));
        assert!(!done && refusal.contains("'podman' is a container runtime's"), "{refusal}");
        podman.run("rm -t 0 -f web");
        assert!(!sh(&format!("{BINARY} sandbox ls")).contains(id.trim()));
    });
}
