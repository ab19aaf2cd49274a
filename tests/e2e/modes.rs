//! Where a sandbox's namespace comes from: a new one, the host's, another sandbox's, a process's, a file's.

use std::io::Read;
use std::process::Stdio;

use crate::support::*;

#[test]
fn a_sandbox_in_the_network_of_the_host_sees_its_devices() {
    run(here!(), || {
        let world = World::new();
        linkspan("sandbox create --net host web");
        let before = Snapshot::take();
        assert_eq!(sh("ip netns exec web ip -br link"), sh("ip -br link"));
        Net::pinned("web").serve_tcp("0.0.0.0:80");
        world.outside.reaches("192.0.2.1:80");
        before.is_unchanged();
        linkspan("sandbox rm web");
        world.outside.pings("192.0.2.1");
    });
}

#[test]
fn a_sandbox_without_network_has_only_lo() {
    run(here!(), || {
        linkspan("sandbox create --net none web");
        assert_eq!(inside("web", "ip -br link").lines().count(), 1);
        inside("web", "ping -c1 -W1 127.0.0.1");
        assert!(!succeeds_inside("web", "ping -c1 -W1 192.0.2.1"));
        assert_eq!(json("sandbox inspect web")[0]["NetworkSettings"]["Networks"], serde_json::json!({}));
    });
}

#[test]
fn sandboxes_share_a_network_namespace() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab");
        let web = world.sandbox("web", "--net lab -p 8080:80");
        linkspan("sandbox create --net container:web debug");
        assert_eq!(sh("ip netns exec debug ip -br address"), sh("ip netns exec web ip -br address"));
        // They share localhost and names too.
        web.serve_tcp("127.0.0.1:7000");
        Net::pinned("debug").reaches("127.0.0.1:7000");
        assert!(inside("debug", "getent hosts web").contains("10.7.0.2"));
        let before = Snapshot::take();
        refused("sandbox rm web").says(&["'web'", "debug"]).hints("first");
        before.is_unchanged();
        linkspan("sandbox rm debug");
        world.outside.reaches("192.0.2.1:8080");
        linkspan("sandbox rm web");
        assert!(!sh("ip netns list").contains("web"));
    });
}

#[test]
fn whoever_joins_a_guest_joins_its_host() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab").sandbox("web", "--net lab");
        linkspan("sandbox create --net container:web guest");
        linkspan("sandbox create --net container:guest friend");
        assert!(linkspan("exec friend -- getent hosts web").contains("10.7.0.2"));
        refused("sandbox rm web").says(&["guest", "friend"]);
        linkspan("sandbox rm guest");
        assert_eq!(sh("ip netns exec friend ip -br address"), sh("ip netns exec web ip -br address"));
        linkspan("sandbox create --net host bare");
        linkspan("sandbox create --net container:bare barer");
        assert_eq!(sh("ip netns exec barer ip -br address"), sh("ip -br address"));
    });
}

#[test]
fn a_sandbox_takes_a_namespace_that_ip_made() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab").sandbox("first", "--net lab");
        let theirs = Net::new("theirs");
        refused("sandbox create --net lab theirs")
            .says(&["'theirs' exists already"])
            .hints("--netns /run/netns/theirs");
        let before = Snapshot::take();
        let web = world.sandbox("web", "--net lab -p 8080:80 --netns /run/netns/theirs");
        world.outside.reaches("192.0.2.1:8080");
        assert_eq!(web.sh("ip -br address"), theirs.sh("ip -br address"));
        linkspan("sandbox rm web");
        before.is_unchanged();
        assert_eq!(theirs.sh("ip -br link").lines().count(), 1);
        theirs.pings("127.0.0.1");
    });
}

#[test]
fn a_sandbox_takes_a_namespace_by_its_own_name() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab").sandbox("first", "--net lab");
        sh("ip netns add web && ip -n web link set lo up");
        let before = Snapshot::take();
        world.sandbox("web", "--net lab -p 8080:80 --netns /run/netns/web");
        world.outside.reaches("192.0.2.1:8080");
        linkspan("sandbox rm web");
        before.is_unchanged();
    });
}

#[test]
fn a_sandbox_takes_the_namespace_of_a_process() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab").sandbox("first", "--net lab");
        let process = sh("unshare -n sleep 60 >/dev/null 2>&1 & echo $!");
        let process = process.trim();
        // Until it has entered its namespace, it is still in ours.
        let entered = format!("test $(readlink /proc/{process}/ns/net) != $(readlink /proc/self/ns/net)");
        sh(&format!("for i in $(seq 100); do {entered} && exit; sleep 0.01; done; exit 1"));
        let before = Snapshot::take();
        world.sandbox("web", &format!("--net lab -p 8080:80 --pid {process}"));
        world.outside.reaches("192.0.2.1:8080");
        let seen = sh(&format!("nsenter -n -t {process} ip -br address show dev eth0"));
        assert!(seen.contains("10.7.0.3/24"), "{seen}");
        linkspan("sandbox rm web");
        before.is_unchanged();
        assert_eq!(sh(&format!("nsenter -n -t {process} ip -br link")).lines().count(), 1);
    });
}

#[test]
fn the_default_network_is_there_when_it_is_first_used() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        let bare = linkspan("network ls");
        assert!(["bridge", "host", "none"].iter().all(|name| bare.contains(name)), "{bare}");
        assert!(!sh("ip link").contains("linkspan0"));
        let web = world.sandbox("web", "-p 8080:80");
        assert_eq!(source(&web, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
        world.outside.reaches("192.0.2.1:8080");
        assert_eq!(json("network inspect bridge")[0]["IPAM"]["Config"][0]["Subnet"], "172.17.0.0/16");
        linkspan("sandbox create b");
        // As with Docker, its sandboxes know no names of each other, but may be linked.
        assert!(!succeeds_inside("b", "getent hosts web"));
        linkspan("sandbox create --link web:w c");
        assert!(inside("c", "ping -c 1 -W 1 w").contains("172.17.0.2"));
        linkspan("sandbox rm web b c");
        assert_eq!(linkspan("network prune"), "bridge\n");
        assert!(!sh("ip link").contains("linkspan0"));
    });
}

#[test]
fn a_program_runs_in_a_sandbox_that_goes_with_it() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab web");
        let before = Snapshot::take();
        assert!(linkspan("run --net lab --name client -- ping -c 1 -W 1 web").contains("10.7.0.2"));
        assert_eq!(linkspan("run --net lab --name client --hostname h -- uname -n"), "h\n");
        assert_eq!(linkspan("run --net lab -- ip -br link").lines().count(), 2);
        for (command, code) in
            [("sh -c exit\u{a0}7", 7), ("/nothing", 127), ("/etc/passwd", 126), ("false", 1)]
        {
            let mut run = program("run --net lab --");
            run.args(command.split(' ').map(|word| word.replace('\u{a0}', " ")));
            assert_eq!(run.output().unwrap().status.code(), Some(code), "{command}");
        }
        before.is_unchanged();
    });
}

#[test]
fn a_program_that_is_told_to_end_takes_its_sandbox_along() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab other");
        let before = Snapshot::take();
        let mut started = program("run --net lab --name web -- sh -c");
        started.arg("echo ready; exec sleep 60").stdout(Stdio::piped());
        let mut running = started.spawn().unwrap();
        let mut ready = [0; 6];
        running.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert!(sh("ip netns list").contains("web"));
        sh(&format!("kill -TERM {}", running.id()));
        assert_eq!(running.wait().unwrap().code(), Some(128 + 15));
        before.is_unchanged();
    });
}

#[test]
fn programs_enter_a_sandbox() {
    run(here!(), || {
        linkspan("sandbox create --net none web");
        assert_eq!(linkspan("exec web -- uname -n"), "web\n");
        assert_eq!(linkspan("sandbox exec web -- ip -br link").lines().count(), 1);
        assert_eq!(sh(&format!("echo hello | {ENVIRONMENT} {BINARY} exec web cat")), "hello\n");
        assert_eq!(run_program("exec web -- false").status.code(), Some(1));
        assert_eq!(run_program("exec web -- /nothing").status.code(), Some(127));
        refused("exec nobody -- true").says(&["nobody"]);
    });
}
