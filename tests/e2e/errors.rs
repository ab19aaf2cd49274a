//! Bad input: said clearly, with what to do, and nothing changed.

use std::fs;

use crate::support::*;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
/// No hint is asked for.
const NONE: &str = "";

/// A command line, its exit code, words of its message, and of its hint.
type Case = (&'static str, i32, &'static [&'static str], &'static str);

/// Tries each on a host with a network lab (10.7.0.0/24) and a sandbox web on it, with its port 80 published.
fn try_all(cases: &[Case]) {
    linkspan("network create --subnet 10.7.0.0/24 lab");
    linkspan("sandbox create --net lab -p 8080:80 web");
    let lists = || linkspan("network ls") + &linkspan("sandbox ls") + &linkspan("network inspect lab");
    let (before, listed) = (Snapshot::take(), lists());
    for (line, code, words, hint) in cases {
        let refusal = refused(line).says(words);
        assert_eq!(refusal.code, Some(*code), "{refusal}");
        if *hint != NONE {
            refusal.hints(hint);
        }
    }
    before.is_unchanged();
    assert_eq!(lists(), listed);
}

#[test]
fn words_that_it_does_not_know_are_answered_with_the_nearest() {
    run(here!(), || {
        try_all(&[
            ("frobnicate", USAGE, &["frobnicate"], "--help"),
            ("netwrk ls", USAGE, &["netwrk"], "network"),
            ("network creat x", USAGE, &["creat"], "create"),
            ("network create --subnt 10.9.0.0/24 x", USAGE, &["--subnt"], "--subnet"),
            ("sandbox create --publsh 80 x", USAGE, &["--publsh"], "--publish"),
            ("network create -d brige x", USAGE, &["brige", "bridge"], NONE),
            (
                "network create -o com.docker.network.bridge.enable_ic=true x",
                FAILED,
                &["com.docker.network.bridge.enable_ic"],
                "did you mean com.docker.network.bridge.enable_icc?",
            ),
            ("network create -o foo=1 x", FAILED, &["foo"], "com.docker.network.driver.mtu"),
            ("network create --ipam-driver dhpc x", FAILED, &["dhpc"], "default"),
            ("network create --ipam-opt a=b --subnet 10.9.0.0/24 x", FAILED, &["'a'"], NONE),
            ("sandbox create --net lba x", FAILED, &["no network 'lba'"], "did you mean network 'lab'?"),
            ("sandbox create --net lab,ip=10.7.0.8,ip=10.7.0.9 x", USAGE, &["ip is given twice"], NONE),
            (
                "sandbox create --ip 10.7.0.9 --net lab --net bridge x",
                FAILED,
                &["--ip"],
                "--net NETWORK,ip=A",
            ),
            ("sandbox create --mac-address 02::1 --net host x", USAGE, &["02::1"], NONE),
            ("sandbox create --ip6 fd00::9 --net host x", FAILED, &["--ip6 needs a network"], NONE),
            (
                "sandbox create --ip6 fd00::9 --ip 10.7.0.9 --net lab,ip=10.7.0.9 x",
                FAILED,
                &["--ip says again"],
                "leave it out",
            ),
            ("run --ip 10.7.0.2 --net lab -- true", FAILED, &["10.7.0.2 is in use"], "'web'"),
            ("sandbox create --net lab,alais=x x", USAGE, &["alais", "alias"], NONE),
            ("sandbox rm wbe", FAILED, &["no sandbox 'wbe'"], "did you mean sandbox 'web'?"),
            ("sandbox inspect zzz", FAILED, &["no sandbox 'zzz'"], "linkspan sandbox ls"),
            ("network inspect zzz", FAILED, &["no network 'zzz'"], "linkspan network ls"),
            ("network rm zzz", FAILED, &["no network 'zzz'"], "linkspan network ls"),
            ("network connect lab wbe", FAILED, &["no sandbox 'wbe'"], "'web'"),
            ("network disconnect lba web", FAILED, &["no network 'lba'"], "'lab'"),
            ("port wbe", FAILED, &["no sandbox 'wbe'"], "'web'"),
            ("exec wbe -- true", FAILED, &["no sandbox 'wbe'"], "'web'"),
            ("sandbox create --net container:wbe x", FAILED, &["no sandbox 'wbe'"], "'web'"),
            ("sandbox create --net lab --link wbe:w x", FAILED, &["no sandbox 'wbe'"], "'web'"),
            ("completion tcsh", USAGE, &["tcsh"], NONE),
            ("exec web", USAGE, &["CMD"], "--help"),
            ("network inspect", USAGE, &["NAME"], "--help"),
            ("--format yaml network ls", USAGE, &["yaml"], NONE),
        ]);
    });
}

#[test]
fn subnets_that_cannot_be_are_refused() {
    run(here!(), || {
        try_all(&[
            ("network create --subnet 10.9.0.0/33 x", USAGE, &["10.9.0.0/33"], NONE),
            ("network create --subnet 10.9.0.0 x", USAGE, &["10.9.0.0", "prefix length"], NONE),
            ("network create --subnet ten x", USAGE, &["ten"], NONE),
            (
                "network create --subnet 10.9.0.0/24 --gateway 10.8.0.1 x",
                FAILED,
                &["gateway 10.8.0.1", "no subnet"],
                "--subnet",
            ),
            (
                "network create --subnet 10.9.0.0/24 --gateway 10.9.0.0 x",
                FAILED,
                &["network or broadcast"],
                NONE,
            ),
            ("network create --subnet 10.9.0.0/24 --gateway 10.9.0.300 x", USAGE, &["10.9.0.300"], NONE),
            (
                "network create --subnet 10.9.0.0/24 --ip-range 10.8.0.0/25 x",
                FAILED,
                &["10.8.0.0/25"],
                "--subnet",
            ),
            (
                "network create --subnet 10.9.0.0/24 --aux-address a=10.8.0.7 x",
                FAILED,
                &["a=10.8.0.7"],
                "--subnet",
            ),
            ("network create --gateway 10.9.0.1 x", FAILED, &["--subnet"], NONE),
            ("network create --subnet 10.9.0.0/24 --subnet 10.9.0.0/25 x", FAILED, &["10.9.0.0/25"], NONE),
            ("network create --subnet 10.9.0.4/32 x", FAILED, &["10.9.0.4/32"], "/31"),
            ("network create --subnet 127.0.9.0/24 x", FAILED, &["127.0.9.0/24", "loopback"], "10.0.0.0/8"),
            ("network create --subnet 224.9.0.0/24 x", FAILED, &["224.9.0.0/24", "multicast"], "10.0.0.0/8"),
            ("network create --subnet 0.0.0.0/0 x", FAILED, &["0.0.0.0/0"], "10.0.0.0/8"),
            ("network create --subnet fd00:9::/64 x", FAILED, &["fd00:9::/64"], "--ipv6"),
            (
                "network create --subnet 10.7.0.128/25 x",
                FAILED,
                &["10.7.0.128/25", "overlaps network 'lab'", "10.7.0.0/24"],
                "--subnet",
            ),
        ]);
    });
}

#[test]
fn networks_that_cannot_be_are_refused() {
    run(here!(), || {
        try_all(&[
            ("network create lab", FAILED, &["'lab' exists already"], "linkspan network rm lab"),
            ("network create bridge", FAILED, &["'bridge' always exists"], "another name"),
            ("network create a/b", USAGE, &["a/b"], NONE),
            (
                "network create -o com.docker.network.bridge.name=sixteen-letters! x",
                FAILED,
                &["com.docker.network.bridge.name", "sixteen-letters!", "16 characters", "15"],
                NONE,
            ),
            ("network create -o com.docker.network.bridge.name=all x", FAILED, &["'all'", "reserves"], NONE),
            ("network create -o com.docker.network.driver.mtu=10 x", FAILED, &["mtu", "'10'", "68"], NONE),
            (
                "network create -o com.docker.network.bridge.enable_icc=maybe x",
                FAILED,
                &["maybe", "true or false"],
                NONE,
            ),
            ("network create --label =x y", USAGE, &["KEY=VALUE"], NONE),
            ("network rm bridge", FAILED, &["'bridge'", "always exists"], "prune"),
            ("network rm host", FAILED, &["'host'", "always exists"], NONE),
            ("network rm lab", FAILED, &["'lab' is in use", "web"], "disconnect"),
        ]);
    });
}

#[test]
fn sandboxes_that_cannot_be_are_refused() {
    run(here!(), || {
        sh("ip netns add theirs");
        try_all(&[
            ("sandbox create --net lab web", FAILED, &["'web' exists already"], "linkspan sandbox rm web"),
            (
                "sandbox create --net lab theirs",
                FAILED,
                &["'theirs' exists already"],
                "--netns /run/netns/theirs",
            ),
            ("sandbox create a/b", USAGE, &["a/b"], NONE),
            ("sandbox create -x", USAGE, &["-x"], NONE),
            ("sandbox create --net lab,ip=10.8.0.9 x", FAILED, &["10.8.0.9", "10.7.0.0/24"], NONE),
            ("sandbox create --net lab,ip=10.7.0.1 x", FAILED, &["10.7.0.1", "gateway"], NONE),
            ("sandbox create --net lab,ip=10.7.0.255 x", FAILED, &["10.7.0.255", "broadcast"], NONE),
            ("sandbox create --net lab,ip=10.7.0.2 x", FAILED, &["10.7.0.2"], "sandbox 'web'"),
            ("sandbox create --net lab,ip6=fd00::9 x", FAILED, &["IPv6"], "--ipv6"),
            ("sandbox create --net lab,ip=ten x", USAGE, &["ten"], NONE),
            ("sandbox create --net lab,mac=02:42 x", USAGE, &["02:42"], NONE),
            ("sandbox create --net lab,mac=01:00:5e:00:00:01 x", USAGE, &["01:00:5e:00:00:01"], NONE),
            ("sandbox create --net lab,ifname=sixteen-letters! x", USAGE, &["16 characters"], NONE),
            ("sandbox create --net lab,ifname=default x", USAGE, &["'default'", "reserves"], NONE),
            ("sandbox create --net lab,ifname=lo x", FAILED, &["lo already"], NONE),
            (
                "sandbox create --net lab,mac=02:42:0a:07:00:01 x",
                FAILED,
                &["02:42:0a:07:00:01", "bridge"],
                NONE,
            ),
            ("sandbox create --net lab,mac=02:42:0a:07:00:02 x", FAILED, &["sandbox 'web' has it"], NONE),
            ("sandbox create --net lab --net lab x", FAILED, &["'lab' already"], NONE),
            ("sandbox create --net host --net lab x", FAILED, &["stand alone"], NONE),
            ("sandbox create --net none --net lab x", FAILED, &["stand alone"], NONE),
            ("sandbox create --net host -p 80:80 x", FAILED, &["no port can be published"], "as they are"),
            ("sandbox create --net none -p 80:80 x", FAILED, &["no port can be published"], "network"),
            ("sandbox create --net container:web -p 80:80 x", FAILED, &["no port can be published"], NONE),
            ("sandbox create --net host --netns /run/netns/theirs x", FAILED, &["--netns"], NONE),
            ("sandbox create --net lab --netns /run/nothing x", FAILED, &["/run/nothing"], NONE),
            ("sandbox create --net lab --netns /etc/passwd x", FAILED, &["/etc/passwd"], NONE),
            ("sandbox create --net lab --netns /proc/self/ns/net x", FAILED, &["host's own"], "--net host"),
            ("sandbox create --net lab --pid 999999 x", FAILED, &["999999"], NONE),
            ("sandbox create --pid 1 --netns /x x", USAGE, &["--pid", "--netns"], NONE),
            ("sandbox create --dns 1.2.3 x", USAGE, &["1.2.3"], NONE),
            ("sandbox create --hostname=-x- x", USAGE, &["--hostname"], NONE),
            ("sandbox create --add-host db x", USAGE, &["db", "NAME:ADDRESS"], NONE),
            ("sandbox create --net none --add-host h:host-gateway x", FAILED, &["host-gateway"], NONE),
            ("network connect lab web", FAILED, &["'lab' already"], NONE),
            ("network disconnect bridge web", FAILED, &["not on network 'bridge'"], NONE),
            ("network disconnect lab web", FAILED, &["published ports"], "-f"),
        ]);
    });
}

#[test]
fn ports_that_cannot_be_are_refused() {
    run(here!(), || {
        try_all(&[
            ("sandbox create --net lab -p 80:80:80:80 x", USAGE, &["80:80:80:80"], NONE),
            ("sandbox create --net lab -p 70000:80 x", USAGE, &["70000", "65535"], NONE),
            ("sandbox create --net lab -p 8080:0 x", USAGE, &["8080:0"], NONE),
            ("sandbox create --net lab -p 80/icmp x", USAGE, &["icmp", "tcp, udp or sctp"], NONE),
            (
                "sandbox create --net lab -p 8000-8001:80-82 x",
                USAGE,
                &["2 host ports", "3 sandbox ports"],
                NONE,
            ),
            ("sandbox create --net lab -p 9-8:9-8 x", USAGE, &["ends before it begins"], NONE),
            ("sandbox create --net lab -p ::1:80:80 x", USAGE, &["brackets"], NONE),
            ("sandbox create --net lab -p [::1]:80:80 x", FAILED, &["IPv6"], "--ipv6"),
            ("sandbox create --net lab -p 8080:81 x", FAILED, &["sandbox 'web'"], "another host port"),
            ("sandbox create --net lab --expose 0 -P x", USAGE, &["port 0"], NONE),
        ]);
    });
}

#[test]
fn devices_that_are_there_are_left_alone() {
    run(here!(), || {
        let _world = World::new();
        sh("ip link add br0 type bridge && ip address add 10.1.0.1/24 dev br0");
        let before = Snapshot::take();
        for device in ["br0", "lan0", "lo"] {
            let option = format!("-o com.docker.network.bridge.name={device}");
            let line = format!("network create --subnet 10.7.0.0/24 {option} lab");
            refused(&line).says(&[device, "exists"]).hints("another name");
            before.is_unchanged();
        }
        assert!(!linkspan("network ls").contains("lab"));
    });
}

#[test]
fn privileges_that_are_missing_are_named() {
    run(here!(), || {
        if !has("setpriv") {
            return;
        }
        linkspan("network create --subnet 10.7.0.0/24 lab");
        let before = Snapshot::take();
        let lines =
            ["network create x", "sandbox create x", "network rm lab", "exec x -- true", "run -- true"];
        for line in lines {
            let without = |capabilities| with(&format!("setpriv --bounding-set {capabilities}"), line);
            without("-net_admin").says(&["CAP_NET_ADMIN"]).hints("root");
            without("-net_admin,-sys_admin").says(&["CAP_NET_ADMIN and CAP_SYS_ADMIN"]).hints("unshare");
        }
        before.is_unchanged();
    });
}

/// Runs the program by way of another; it has to be refused.
fn with(wrapper: &str, line: &str) -> Refusal {
    let command = format!("{wrapper} {BINARY} {line}");
    let (success, text) = run_tool(&format!("{ENVIRONMENT} {command} 2>&1 >/dev/null"));
    assert!(!success && text.starts_with("error: "), "$ {command}\n{text}");
    Refusal { line: command, code: Some(FAILED), text }
}

#[test]
fn state_that_cannot_be_read_is_refused_and_kept() {
    run(here!(), || {
        let database = format!("{STATE}/linkspan.db");
        fs::create_dir_all(STATE).unwrap();
        for garbage in
            ["this is no database, though it is long enough to be one".repeat(40).as_str(), "short"]
        {
            fs::write(&database, garbage).unwrap();
            for line in ["network ls", "network create --subnet 10.7.0.0/24 lab", "sandbox rm x", "repair"] {
                let refusal = refused(line).says(&[&database]).hints("");
                assert_eq!(refusal.code, Some(FAILED));
            }
            assert_eq!(fs::read_to_string(&database).unwrap(), garbage);
        }
    });
}

#[test]
fn state_of_a_newer_version_is_refused_and_kept() {
    run(here!(), || {
        if !has("python3") {
            return;
        }
        linkspan("network create --subnet 10.7.0.0/24 lab");
        let version = |version| {
            let database = format!("sqlite3.connect(\"{STATE}/linkspan.db\", isolation_level=None)");
            sh(&format!(
                "python3 -c 'import sqlite3; {database}.execute(\"pragma user_version={version}\")'"
            ));
        };
        let before = Snapshot::take();
        version(999);
        for line in ["network ls", "network rm lab", "sandbox create --net lab a"] {
            refused(line).says(&["newer", STATE]).hints("");
        }
        before.is_unchanged();
    });
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    run(here!(), || {
        refused("--state-dir /proc/nowhere network create x").says(&["/proc/nowhere"]);
        fs::write("/run/file", "").unwrap();
        refused("--state-dir /run/file network ls").says(&["/run/file"]);
        refused("--run-dir /run/file sandbox create --net none x").says(&["/run/file"]);
        assert!(!sh("ip netns list").contains('x'));
    });
}

#[test]
fn one_bad_name_of_several_does_not_stop_the_others() {
    run(here!(), || {
        linkspan("sandbox create --net none a");
        linkspan("sandbox create --net none b");
        refused("sandbox rm a nobody b").says(&["nobody"]);
        assert_eq!(linkspan("sandbox ls").lines().count(), 1);
        linkspan("sandbox rm -f nobody");
    });
}
