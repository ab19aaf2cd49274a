//! Names over DNS inside sandboxes, at 127.0.0.11, and the process that answers.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::*;

/// What `dig` gives for a question inside a sandbox: the status, and behind it the answers' data.
fn dig(sandbox: &str, question: &str) -> String {
    let said = Net::pinned(sandbox).sh(&format!("dig @127.0.0.11 +time=2 +tries=3 {question}"));
    let status =
        said.split_once("status: ").and_then(|(_, rest)| rest.split_once(',')).map_or("", |found| found.0);
    let answers = said.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let mut data: Vec<_> = answers.filter_map(|line| line.split_whitespace().last()).collect();
    data.sort_unstable();
    [&[status], data.as_slice()].concat().join(" ")
}

/// The process that answers; none if there is none.
fn agent() -> Option<String> {
    let (found, process) = run_tool("pgrep -f '[l]inkspan agent --given'");
    found.then(|| process.trim().to_owned())
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} in vain");
        sleep(Duration::from_millis(20));
    }
}

/// A server outside, which the host asks: it knows `far.example` and nothing else.
fn upstream(world: &World) {
    dnsmasq(world, "192.0.2.9", "203.0.113.7");
    fs::remove_file("/etc/resolv.conf").ok();
    fs::write("/etc/resolv.conf", "nameserver 192.0.2.9\n").unwrap();
}

/// A server outside that says where `far.example` is.
fn dnsmasq(world: &World, listen: &str, far: &str) {
    world.outside.sh(&format!(
        "dnsmasq --no-daemon --listen-address={listen} --bind-interfaces --no-resolv --no-hosts --pid-file= --local=/#/ \
         --address=/far.example/{far} --conf-file=/dev/null >/dev/null 2>&1 &"
    ));
    let ask = format!("dig @{listen} +time=1 +tries=1 far.example");
    eventually("a server comes", || world.outside.succeeds(&ask));
}

#[test]
fn peers_are_asked_for_by_all_their_names() {
    run(here!(), || {
        if !has("dig") {
            return;
        }
        linkspan("network create --subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 lab");
        linkspan("network create --subnet 10.8.0.0/24 plain");
        linkspan("sandbox create --net lab,ip=10.7.0.5,ip6=fd00:7::5,alias=sql --hostname store db");
        linkspan("sandbox create --net lab --link db:base web");
        let id = json("sandbox inspect db")[0]["Id"].as_str().unwrap()[..12].to_owned();
        for name in ["db", "DB.lab", "sql", "store", "base", &id] {
            assert_eq!(dig("web", name), "NOERROR 10.7.0.5", "{name}");
        }
        assert_eq!(dig("web", "db AAAA"), "NOERROR fd00:7::5");
        assert_eq!(dig("web", "+tcp sql"), "NOERROR 10.7.0.5");
        assert_eq!(dig("web", "-x 10.7.0.5"), "NOERROR db.lab.");
        assert_eq!(dig("db", "db"), "NOERROR 10.7.0.5");
        // A name that is there has no address of a family that its network has not.
        linkspan("sandbox create --net plain,ip=10.8.0.5 four");
        linkspan("network connect plain web");
        assert_eq!(dig("web", "four"), "NOERROR 10.8.0.5");
        assert_eq!(dig("web", "four AAAA"), "NOERROR");
        // As programs ask.
        assert!(inside("web", "getent ahostsv4 sql").contains("10.7.0.5"));
        assert_ne!(dig("db", "base"), "NOERROR 10.7.0.5");
        assert_ne!(dig("db", "four"), "NOERROR 10.8.0.5");
    });
}

#[test]
fn peers_come_and_go_while_one_asks() {
    run(here!(), || {
        if !has("dig") {
            return;
        }
        let world = World::new();
        upstream(&world);
        world.network("--subnet 10.7.0.0/24 one").network("--subnet 10.8.0.0/24 two");
        linkspan("sandbox create --net one web");
        linkspan("sandbox create --net one,ip=10.7.0.5 db");
        assert_eq!(dig("web", "db"), "NOERROR 10.7.0.5");
        linkspan("network connect --ip 10.8.0.5 --alias sql two db");
        linkspan("network connect two web");
        // Of the networks that both are on, the first that the asker came to counts.
        assert_eq!(dig("web", "db"), "NOERROR 10.7.0.5");
        assert_eq!(dig("web", "sql"), "NOERROR 10.8.0.5");
        linkspan("network disconnect one db");
        assert_eq!(dig("web", "db"), "NOERROR 10.8.0.5");
        linkspan("network disconnect two web");
        assert_eq!(dig("web", "db"), "NXDOMAIN");
        // On no network with names it asks nobody here.
        linkspan("network disconnect one web");
        assert!(!Net::pinned("web").succeeds("dig @127.0.0.11 +time=1 +tries=1 web"));
        assert_eq!(Net::pinned("web").sh("nft list ruleset"), "");
        linkspan("network connect --ip 10.7.0.9 one web");
        assert_eq!(dig("web", "web"), "NOERROR 10.7.0.9");
    });
}

#[test]
fn others_are_asked_for_what_is_not_ours() {
    run(here!(), || {
        if !has("dig") || !has("dnsmasq") {
            return;
        }
        let world = World::new();
        upstream(&world);
        world.network("--subnet 10.7.0.0/24 lab").network("--internal --subnet 10.8.0.0/24 inner");
        linkspan("sandbox create --net lab web");
        linkspan("sandbox create --net inner hidden");
        assert_eq!(dig("web", "far.example"), "NOERROR 203.0.113.7");
        assert_eq!(dig("web", "+tcp far.example"), "NOERROR 203.0.113.7");
        assert_eq!(dig("web", "hidden"), "NXDOMAIN");
        assert_eq!(dig("hidden", "hidden"), "NOERROR 10.8.0.2");
        assert_eq!(dig("hidden", "far.example"), "NXDOMAIN");
        // A sandbox may have servers of its own; they are asked by the host too.
        world.outside.sh("ip address add 192.0.2.8/24 dev lan0");
        dnsmasq(&world, "192.0.2.8", "203.0.113.8");
        linkspan("sandbox create --net lab --dns 192.0.2.8 own");
        assert_eq!(dig("own", "far.example"), "NOERROR 203.0.113.8");
        assert_eq!(dig("own", "web"), "NOERROR 10.7.0.2");
        assert!(inside("own", "cat /etc/resolv.conf").contains("nameserver 127.0.0.11\n"));
        assert_eq!(dig("web", "far.example"), "NOERROR 203.0.113.7");
    });
}

#[test]
fn a_program_inside_serves_names_of_its_own() {
    run(here!(), || {
        if !has("dig") {
            return;
        }
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab web");
        linkspan("sandbox create --net lab peer");
        let web = Net::pinned("web");
        serve(&web, &[53]);
        for address in ["10.7.0.2:53", "127.0.0.1:53"] {
            assert!(web.ask_udp(address).is_ok(), "{address}");
            web.reaches(address);
        }
        Net::pinned("peer").reaches("10.7.0.2:53");
        assert_eq!(dig("web", "peer"), "NOERROR 10.7.0.3");
        assert_eq!(dig("web", "+tcp peer"), "NOERROR 10.7.0.3");
    });
}

#[test]
fn who_answers_is_there_as_long_as_somebody_asks() {
    run(here!(), || {
        if !has("dig") {
            return;
        }
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create plain");
        linkspan("sandbox create --net none alone");
        assert_eq!(agent(), None);
        linkspan("sandbox create --net lab web");
        let first = agent().unwrap();
        linkspan("sandbox create --net lab db");
        assert_eq!(agent(), Some(first.clone()));
        // One that dies is replaced by the next command that needs it, and everybody is answered again.
        sh(&format!("kill -9 {first}"));
        eventually("the agent dies", || agent().is_none());
        linkspan("sandbox create --net lab third");
        assert_eq!(dig("web", "db"), "NOERROR 10.7.0.3");
        let second = agent().unwrap();
        sh(&format!("kill -9 {second}"));
        // So does a repair, which also puts right what somebody has removed inside.
        eventually("the agent dies", || agent().is_none());
        linkspan("repair");
        assert_eq!(dig("db", "web"), "NOERROR 10.7.0.2");
        Net::pinned("db").sh("nft flush ruleset");
        linkspan("repair");
        assert_eq!(dig("db", "web"), "NOERROR 10.7.0.2");
        linkspan("sandbox rm web db");
        sleep(Duration::from_secs(4));
        assert!(agent().is_some());
        linkspan("sandbox rm third");
        eventually("the agent goes", || agent().is_none());
        assert!(!Path::new(RUN).join("agent.sock").exists());
    });
}

#[test]
fn who_does_not_answer_is_in_the_way_of_nothing() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab web");
        let agent = agent().unwrap();
        sh(&format!("kill -STOP {agent}"));
        let made = run_program("sandbox create --net lab db");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(
            made.status.success() && said.contains("names of sandbox 'db' are not answered yet"),
            "{said}"
        );
        linkspan("sandbox rm db");
        sh(&format!("kill -CONT {agent}"));
        if has("dig") {
            assert_ne!(dig("web", "db"), "NOERROR 10.7.0.3");
        }
        // Without a place for its socket there is none.
        sh(&format!("kill -9 {agent}; rm {RUN}/agent.sock; mkdir {RUN}/agent.sock"));
        let made = run_program("sandbox create --net lab db");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success() && said.contains("not answered yet"), "{said}");
    });
}

#[test]
fn many_sandboxes_are_answered_by_one_process() {
    run(here!(), || {
        if !has("dig") {
            return;
        }
        linkspan("network create --subnet 10.7.0.0/16 lab");
        // With fewer files than sandboxes have sockets, until it asks for more.
        let create = format!(
            "ulimit -Sn 64; export {ENVIRONMENT}; for n in $(seq 60); do {BINARY} sandbox create --net lab s$n; done"
        );
        sh(&create);
        for n in [1, 30, 60] {
            assert_eq!(dig(&format!("s{n}"), "s60"), "NOERROR 10.7.0.61");
        }
        sh(&format!("kill -9 {}", agent().unwrap()));
        linkspan("repair");
        for n in [1, 30, 60] {
            assert_eq!(dig(&format!("s{n}"), "s1"), "NOERROR 10.7.0.2");
        }
    });
}

#[test]
fn a_container_of_others_is_answered_until_it_is_left() {
    run(here!(), || {
        if !has("dig") {
            return;
        }
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab peer");
        let theirs = Net::new("theirs");
        linkspan("sandbox create --net lab --netns /run/netns/theirs web");
        assert_eq!(dig("web", "peer"), "NOERROR 10.7.0.2");
        linkspan("sandbox rm web");
        assert_eq!(theirs.sh("nft list ruleset"), "");
        // Also where nobody answers any more.
        linkspan("sandbox create --net lab --netns /run/netns/theirs web");
        sh(&format!("kill -9 {}", agent().unwrap()));
        linkspan("sandbox rm web");
        assert_eq!(theirs.sh("nft list ruleset"), "");
        // Where loopback is down, nobody can ask until it is up.
        sh("ip netns add bare");
        linkspan("sandbox create --net lab --netns /run/netns/bare web");
        let bare = Net::pinned("bare");
        bare.sh("ip link set lo up");
        eventually("it is answered", || bare.succeeds("dig @127.0.0.11 +time=1 +tries=1 peer"));
        linkspan("sandbox rm web");
        assert_eq!(bare.sh("nft list ruleset"), "");
    });
}

#[test]
fn who_answers_goes_with_a_host_that_everybody_has_left() {
    run(here!(), || {
        let create = format!(
            "{BINARY} network create --subnet 10.7.0.0/24 lab && {BINARY} sandbox create --net lab web"
        );
        let host = "mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up";
        sh(&format!("unshare -Urmn sh -c '{host} && export {ENVIRONMENT} && {create}'"));
        assert!(agent().is_some());
        eventually("the agent goes", || agent().is_none());
    });
}
