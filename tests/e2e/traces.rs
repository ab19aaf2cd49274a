//! What is left behind, and what is spawned: nothing.

use std::fs;

use crate::support::*;

#[test]
fn networks_and_sandboxes_leave_nothing_behind() {
    run(here!(), || {
        let world = World::new();
        let before = Snapshot::take();
        world.network("--subnet 10.7.0.0/24 one");
        world.network("--subnet 10.8.0.0/24 --subnet fd00:8::/64 --ipv6 --internal two");
        world.network("-o com.docker.network.bridge.enable_icc=false --aux-address DefaultGatewayIPv4=10.9.0.9 --subnet 10.9.0.0/24 three");
        world.sandbox("a", "--net one -p 8080:80 -p 8080:80/udp -p 127.0.0.1:9090:80 --add-host x:192.0.2.7");
        world.sandbox("b", "--net one --net two -p 8000-8009:8000-8009 -p 9000-9004:7000-7004 --link a:z");
        world.sandbox("c", "--net three -P --expose 80 --dns 192.0.2.53");
        linkspan("sandbox create default");
        linkspan("sandbox create --net host h");
        linkspan("sandbox create --net container:a d");
        linkspan("network connect three a");
        linkspan("network disconnect one b -f");
        world.outside.reaches("192.0.2.1:8080");
        linkspan("run --net one -p 7070:80 -- true");
        linkspan("sandbox rm d a b c default h");
        linkspan("network rm one two three");
        assert_eq!(linkspan("network prune"), "bridge\n");
        before.is_unchanged();
        assert_eq!(json("--format json sandbox ls"), serde_json::json!([]));
        assert_eq!(linkspan("repair"), "");
    });
}

#[test]
fn a_network_removed_is_as_if_it_had_never_been() {
    run(here!(), || {
        let before = Snapshot::take();
        for _ in 0..2 {
            linkspan("network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br7 lab");
            linkspan("sandbox create --net lab -p 8080:80 web");
            assert!(sh("ip -o -4 address show dev br7").contains("10.7.0.1/24"));
            linkspan("sandbox rm web");
            linkspan("network rm lab");
            before.is_unchanged();
        }
    });
}

#[test]
fn processes_in_a_removed_sandbox_lose_their_network_and_nothing_else() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab -p 8080:80 web");
        let mut server = program("exec web -- sleep 60").spawn().unwrap();
        linkspan("sandbox rm web");
        assert!(!sh("ip -o link").contains("veth"));
        assert!(server.try_wait().unwrap().is_none(), "the process was killed");
        // Everything about it is free again.
        linkspan("sandbox create --net lab,ip=10.7.0.2 -p 8080:80 web");
        assert!(inside("web", "ping -c1 -W1 10.7.0.1").contains("1 received"));
        server.kill().unwrap();
        server.wait().unwrap();
    });
}

#[test]
fn foreign_rules_and_devices_are_left_alone() {
    run(here!(), || {
        let world = World::new();
        sh("nft add table inet mine; nft add chain inet mine c; nft add table ip nat");
        sh("ip link add br0 type bridge; ip link add vethabcdef01234 type veth peer name other");
        sh("ip route add 198.51.100.0/24 via 192.0.2.9; ip netns add theirs");
        let before = Snapshot::take();
        world.network("--subnet 10.7.0.0/24 lab").sandbox("web", "--net lab -p 8080:80");
        linkspan("repair");
        let foreign = ["table inet mine", "table ip nat"];
        let rules = sh("nft list ruleset");
        assert!(foreign.iter().all(|table| rules.contains(table)));
        linkspan("sandbox rm web");
        linkspan("network rm lab");
        before.is_unchanged();
    });
}

#[test]
fn no_program_is_spawned() {
    run(here!(), || {
        if !has("strace") {
            return;
        }
        let world = World::new();
        // But for the agent, which comes with the first sandbox that has names to ask for.
        world.network("--subnet 10.9.0.0/24 first").sandbox("first", "--net first");
        for line in [
            "network create --subnet 10.7.0.0/24 lab",
            "sandbox create --net lab -p 8080:80 -p 8000-8009:8000-8009 web",
            "network create --subnet 10.8.0.0/24 two",
            "network connect two web",
            "network disconnect two web",
            "network inspect lab",
            "repair",
            "sandbox rm web",
            "network rm lab two",
        ] {
            sh(&format!("{ENVIRONMENT} strace -f -e trace=execve,execveat -o /run/trace {BINARY} {line}"));
            let trace = fs::read_to_string("/run/trace").unwrap();
            let spawned: Vec<_> = trace.lines().filter(|line| line.contains("execve")).skip(1).collect();
            assert!(trace.contains("execve"), "strace saw nothing: {trace}");
            assert!(spawned.is_empty(), "$ linkspan {line}\n{spawned:#?}");
        }
    });
}
