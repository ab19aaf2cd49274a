//! Whom a sandbox knows by name, and which servers it asks.

use std::fs;
use std::path::Path;

use crate::support::*;

/// The hosts file of a sandbox, as a program inside sees it.
fn hosts(sandbox: &str) -> String {
    let seen = inside(sandbox, "cat /etc/hosts");
    assert_eq!(seen, fs::read_to_string(format!("/etc/netns/{sandbox}/hosts")).unwrap());
    assert_eq!(seen, linkspan(&format!("exec {sandbox} -- cat /etc/hosts")));
    seen
}

/// Whether a hosts file has a line with this address and all of these names.
fn knows(hosts: &str, address: &str, names: &[&str]) -> bool {
    hosts.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(address) && names.iter().all(|name| words.clone().any(|word| word == *name))
    })
}

#[test]
fn a_sandbox_knows_itself_and_what_it_was_told() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan(
            "sandbox create --net lab,alias=db --hostname web.example --add-host nas:192.0.2.77 \
             --add-host host.internal:host-gateway web",
        );
        let seen = hosts("web");
        assert!(knows(&seen, "127.0.0.1", &["localhost"]), "{seen}");
        assert!(knows(&seen, "10.7.0.2", &["web.example", "web", "db"]), "{seen}");
        assert!(knows(&seen, "192.0.2.77", &["nas"]), "{seen}");
        assert!(knows(&seen, "10.7.0.1", &["host.internal"]), "{seen}");
        assert!(inside("web", "ping -c1 -W1 host.internal").contains("1 received"));
        assert_eq!(linkspan("exec web -- uname -n"), "web.example\n");
    });
}

#[test]
fn a_sandbox_knows_those_it_is_linked_to() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab db");
        linkspan("sandbox create --net lab --link db:store --link db web");
        let seen = hosts("web");
        assert!(knows(&seen, "10.7.0.2", &["store"]), "{seen}");
        assert!(inside("web", "ping -c1 -W1 store").contains("10.7.0.2"));
        assert!(inside("web", "ping -c1 -W1 db").contains("10.7.0.2"));
        linkspan("network create --subnet 10.8.0.0/24 other");
        refused("sandbox create --net other --link db:store x")
            .says(&["'db'", "no network in common"])
            .hints("--net");
        assert!(!sh("ip netns list").contains('x') && !Path::new("/etc/netns/x").exists());
    });
}

#[test]
fn peers_of_a_network_come_and_go_in_sight_of_all() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab first");
        // A program that is there before its peer sees it come, too.
        let watch = program("exec first -- sh -c")
            .arg("for i in $(seq 300); do getent hosts later && exit; sleep 0.01; done; exit 1")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        linkspan("sandbox create --net lab,alias=too --hostname l later");
        let output = watch.wait_with_output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("10.7.0.3"));
        for name in ["later", "l", "too"] {
            assert!(inside("first", &format!("ping -c1 -W1 {name}")).contains("10.7.0.3"));
        }
        linkspan("sandbox rm later");
        assert!(!hosts("first").contains("10.7.0.3"));
        assert!(knows(&hosts("first"), "10.7.0.2", &["first"]));
        assert!(!succeeds_inside("first", "getent hosts later"));
    });
}

#[test]
fn names_of_one_network_are_unknown_on_another() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 one");
        linkspan("network create --subnet 10.8.0.0/24 two");
        linkspan("sandbox create --net one a");
        linkspan("sandbox create --net two b");
        linkspan("sandbox create --net one --net two both");
        assert!(!hosts("a").contains("10.8.0.") && !hosts("b").contains("10.7.0."));
        let seen = hosts("both");
        assert!(knows(&seen, "10.7.0.2", &["a"]) && knows(&seen, "10.8.0.2", &["b"]), "{seen}");
        assert!(knows(&seen, "10.7.0.3", &["both"]) && knows(&seen, "10.8.0.3", &["both"]), "{seen}");
        assert!(knows(&hosts("b"), "10.8.0.3", &["both"]));
        linkspan("network disconnect two both");
        assert!(!hosts("b").contains("both"));
        assert!(!hosts("both").contains("10.8.0."));
    });
}

#[test]
fn a_program_on_two_networks_sees_peers_of_both_come_and_go() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 one");
        linkspan("network create --subnet 10.8.0.0/24 two");
        linkspan("sandbox create --net one --net two both");
        // It has the file that was there when it started.
        let mut started = program("exec both -- sh -c");
        let mut watch = started
            .arg("until grep -q later /etc/hosts; do sleep 0.01; done; while grep later /etc/hosts; do sleep 0.01; done")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        linkspan("sandbox create --net two,alias=db later");
        assert!(inside("both", "ping -c1 -W1 db").contains("10.8.0.3"));
        std::thread::sleep(std::time::Duration::from_millis(100));
        linkspan("sandbox rm later");
        assert!(watch.wait().unwrap().success());
        assert!(!succeeds_inside("both", "getent hosts db"));
    });
}

#[test]
fn servers_on_the_hosts_loopback_are_left_out() {
    run(here!(), || {
        fs::remove_file("/etc/resolv.conf").ok();
        let text = "search example.org\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\n";
        fs::write("/etc/resolv.conf", format!("{text}options ndots:2\n")).unwrap();
        linkspan("sandbox create --net none web");
        let servers = |sandbox: &str| inside(sandbox, "cat /etc/resolv.conf");
        assert_eq!(servers("web"), "search example.org\nnameserver 192.0.2.53\noptions ndots:2\n");
        assert_eq!(linkspan("exec web -- cat /etc/resolv.conf"), servers("web"));
        linkspan("sandbox create --net none --dns 198.51.100.1 --dns 2001:db8::53 own");
        let own = servers("own");
        assert!(own.contains("nameserver 198.51.100.1\nnameserver 2001:db8::53\n"), "{own}");
        assert!(own.contains("search example.org") && !own.contains("192.0.2.53"), "{own}");
        // A stub of systemd-resolved has its servers elsewhere.
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\n").unwrap();
        fs::create_dir_all("/run/systemd/resolve").unwrap();
        fs::write("/run/systemd/resolve/resolv.conf", "nameserver 203.0.113.53\n").unwrap();
        linkspan("sandbox create --net none stub");
        assert_eq!(servers("stub"), "nameserver 203.0.113.53\n");
    });
}

#[test]
fn files_of_names_go_with_their_sandbox() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab a");
        let before = Snapshot::take();
        linkspan("sandbox create --net lab --link a:x --dns 192.0.2.53 b");
        assert!(Path::new("/etc/netns/b/hosts").exists() && Path::new("/etc/netns/b/resolv.conf").exists());
        linkspan("sandbox rm b");
        before.is_unchanged();
        assert!(Path::new("/etc/netns/b").symlink_metadata().is_err());
        assert!(!hosts("a").contains("10.7.0.3"));
    });
}

#[test]
fn what_others_keep_in_etc_netns_is_left_alone() {
    run(here!(), || {
        fs::create_dir_all("/etc/netns/mine").unwrap();
        fs::write("/etc/netns/mine/hosts", "192.0.2.7 mine\n").unwrap();
        let made = run_program("sandbox create --net none mine");
        assert_eq!(fs::read_to_string("/etc/netns/mine/hosts").unwrap(), "192.0.2.7 mine\n");
        if made.status.success() {
            linkspan("sandbox rm mine");
        } else {
            refused("sandbox create --net none mine").says(&["/etc/netns/mine"]);
            assert!(!sh("ip netns list").contains("mine"));
        }
        assert_eq!(fs::read_to_string("/etc/netns/mine/hosts").unwrap(), "192.0.2.7 mine\n");
    });
}

#[test]
fn the_hosts_own_names_stay() {
    run(here!(), || {
        let before = (fs::read_to_string("/etc/hosts"), fs::read_to_string("/etc/resolv.conf").ok());
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("run --net lab --add-host h:192.0.2.5 --hostname other -- true");
        assert_eq!(
            (fs::read_to_string("/etc/hosts").unwrap(), fs::read_to_string("/etc/resolv.conf").ok()),
            (before.0.unwrap(), before.1)
        );
        assert_ne!(sh("uname -n"), "other\n");
    });
}
