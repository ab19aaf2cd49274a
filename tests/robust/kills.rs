//! kill -9 at random instants: after `repair` the command has been carried out whole, or not at all.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_lab::{Net, Random, from_env, here, sh};

use crate::host::{address, assert_in_order, command, has, linkspan, listed, make_lab, timed};
use crate::snapshot::Snapshot;

/// Rounds of each test; LINKSPAN_KILLS says otherwise.
const ROUNDS: u64 = 20;
/// Where the sandbox that nothing may happen to is reached from the host.
const KEPT: &str = "10.7.0.1:8080";

/// What gets killed, and what comes before it.
struct Story {
    before: &'static [&'static str],
    killed: &'static str,
    /// Whether what is there afterwards is as it should be.
    check: fn(),
    after: &'static [&'static str],
}

const CREATE: &str = "sandbox create --net lab --net wide -p 8081:80 -p 9000-9020:9000-9020/udp x";
const SANDBOX: [Story; 2] = [
    Story { before: &[], killed: CREATE, check: sandbox_works, after: &["sandbox rm -f x"] },
    Story { before: &[CREATE], killed: "sandbox rm x", check: sandbox_works, after: &["sandbox rm -f x"] },
];
const ADOPT: &str = "sandbox create --netns /run/netns/theirs --net lab --net wide -p 8081:80 \
                     -p 9000-9020:9000-9020/udp x";
const GUEST: [Story; 2] = [
    Story { before: &[], killed: ADOPT, check: guest_as_listed, after: &["sandbox rm -f x"] },
    Story { before: &[ADOPT], killed: "sandbox rm x", check: guest_as_listed, after: &["sandbox rm -f x"] },
];
const ATTACHMENT: [Story; 2] = [
    Story {
        before: &["sandbox create --net lab x"],
        killed: "network connect wide x",
        check: attached_as_listed,
        after: &["sandbox rm x"],
    },
    Story {
        before: &[CREATE],
        killed: "network disconnect wide x",
        check: attached_as_listed,
        after: &["sandbox rm x"],
    },
];
const CONNECT: &str = "network connect --tap --ifname vm0 --ingress-rate 20mbit --egress-rate 10mbit wide vm";
const MACHINE: [Story; 2] = [
    Story { before: &[], killed: CONNECT, check: machine_as_listed, after: &["sandbox rm -f vm"] },
    Story {
        before: &[CONNECT],
        killed: "network disconnect wide vm",
        check: machine_as_listed,
        after: &["sandbox rm -f vm"],
    },
];
const BESIDE: &str = "sandbox create --net lan --net lab x";
const CARD: [Story; 4] = [
    Story { before: &[], killed: BESIDE, check: beside_as_listed, after: &["sandbox rm -f x"] },
    Story { before: &[BESIDE], killed: "sandbox rm x", check: beside_as_listed, after: &["sandbox rm -f x"] },
    Story { before: &[], killed: SPLIT, check: || {}, after: &[] },
    Story { before: &[SPLIT], killed: "network rm new", check: || {}, after: &[] },
];
const SPLIT: &str = "network create -d macvlan --subnet 10.6.0.0/24 -o linkspan.host-access=true -o parent=card0 \
                     --aux-address host=10.6.0.1 new";
const NETWORK: [Story; 2] = [
    Story { before: &[], killed: FOUND, check: network_works, after: &[] },
    Story { before: &[FOUND], killed: "network rm new", check: network_works, after: &[] },
];
const FOUND: &str = "network create --subnet 10.9.0.0/24 -o com.docker.network.bridge.name=br9 new";

const LAN: [Story; 2] = [
    Story { before: &[], killed: PLUG, check: lan_works, after: &[] },
    Story { before: &[PLUG], killed: "network rm new", check: lan_works, after: &[] },
];
const PLUG: &str = "network create -o linkspan.uplink=eth1 -o com.docker.network.bridge.name=br9 new";

#[test]
fn a_card_plugged_in_or_released_by_a_killed_command_is_where_it_is_said_to_be() {
    linkspan_lab::run(here!(), || {
        let lan = Net::new("lan");
        linkspan_lab::wire((&Net::here(), "eth1", "192.168.77.5/24"), (&lan, "eth1", "192.168.77.254/24"));
        sh("ip addr add 192.168.77.6/24 dev eth1 && ip route add default via 192.168.77.254");
        sh("ip route add 10.77.0.0/16 via 192.168.77.254 metric 7");
        sh("while ip addr show dev eth1 tentative | grep inet6; do sleep 0.05; done");
        let addresses = || sh("ip addr show dev eth1");
        let before = addresses();
        rounds(&LAN);
        assert_eq!(addresses(), before);
    });
}

fn lan_works() {
    sh("ping -c1 -W2 192.168.77.254");
    let new = listed("network").contains(&"new".to_owned());
    assert_eq!(sh("ip -br addr show dev eth1").contains("192.168.77.5/24"), !new);
    if new {
        linkspan("sandbox create --net new y");
        Net::pinned("y").sh("ping -c1 -W2 192.168.77.254");
        linkspan("sandbox rm y");
    }
}

#[test]
fn a_sandbox_made_or_removed_by_a_killed_command_is_whole_or_gone() {
    linkspan_lab::run(here!(), || rounds(&SANDBOX));
}

#[test]
fn a_namespace_that_was_given_is_left_as_it_was_by_a_killed_command() {
    linkspan_lab::run(here!(), || {
        sh("ip netns add theirs && ip -n theirs link set lo up");
        let inside = || sh("ip -n theirs -d link; ip -n theirs address; ip -n theirs route show table all");
        let before = inside();
        rounds(&GUEST);
        assert_eq!(inside(), before);
    });
}

#[test]
fn an_attachment_made_or_removed_by_a_killed_command_is_whole_or_gone() {
    linkspan_lab::run(here!(), || rounds(&ATTACHMENT));
}

#[test]
fn a_machine_made_or_removed_by_a_killed_command_is_whole_or_gone() {
    linkspan_lab::run(here!(), || {
        if linkspan_lab::may_open_taps() {
            rounds(&MACHINE);
        }
    });
}

#[test]
fn what_is_on_a_card_and_made_or_removed_by_a_killed_command_is_whole_or_gone() {
    linkspan_lab::run(here!(), || {
        sh("ip link add card0 type veth peer name card1 && ip link set card0 up && ip link set card1 up");
        sh("ip address add 10.5.0.1/24 dev card0");
        linkspan("network create -d macvlan -o parent=card0 -o linkspan.host-access=true lan");
        rounds(&CARD);
    });
}

#[test]
fn a_network_made_or_removed_by_a_killed_command_is_whole_or_gone() {
    linkspan_lab::run(here!(), || rounds(&NETWORK));
}

fn rounds(stories: &[Story]) {
    if !has("nft") {
        return;
    }
    make_lab();
    linkspan("network create --subnet 10.8.0.0/16 wide");
    linkspan("sandbox create --net lab -p 8080:80 keep");
    Net::pinned("keep").serve_tcp("0.0.0.0:80");
    let usual: Vec<_> = stories.iter().map(usual_duration).collect();
    let empty = Snapshot::take();
    let mut random = Random::from_environment();
    for round in 0..from_env("LINKSPAN_KILLS").unwrap_or(ROUNDS) {
        let at = usize::try_from(random.below(stories.len() as u64)).unwrap();
        let story = &stories[at];
        story.before.iter().for_each(|line| drop(linkspan(line)));
        let delay = instant_within(usual[at], &mut random);
        let ended = if kill_after(story.killed, delay) { ", was over" } else { "" };
        println!("round {round}: `{}` killed after {delay:?}{ended}", story.killed);
        if random.below(4) == 0 {
            kill_after("repair", instant_within(usual[at], &mut random));
        }
        let time = timed("repair");
        assert!(
            time < Duration::from_secs(4),
            "repair takes {time:?}: it waits for somebody who does not come"
        );
        assert_in_order("after repair");
        (story.check)();
        tidy(story);
        empty.assert_restored("after repair and removal");
        Net::here().ask_tcp(KEPT).expect("the sandbox that lives answers through its published port");
    }
}

fn tidy(story: &Story) {
    story.after.iter().for_each(|line| drop(linkspan(line)));
    if listed("network").contains(&"new".to_owned()) {
        linkspan("network rm new");
    }
}

/// How long the command that is to be killed usually takes.
fn usual_duration(story: &Story) -> Duration {
    let once = || {
        story.before.iter().for_each(|line| drop(linkspan(line)));
        let time = timed(story.killed);
        tidy(story);
        time
    };
    (once() + once()) / 2
}

fn instant_within(usual: Duration, random: &mut Random) -> Duration {
    let limit = u64::try_from(usual.mul_f64(1.1).as_micros()).unwrap();
    Duration::from_micros(random.below(limit))
}

/// Starts a command and kills it; whether it had ended before.
fn kill_after(line: &str, delay: Duration) -> bool {
    let begin = Instant::now();
    let mut child = command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sleep(delay.saturating_sub(begin.elapsed()));
    child.kill().unwrap();
    child.wait().unwrap().code().is_some()
}

fn guest_as_listed() {
    if listed("sandbox").contains(&"x".to_owned()) {
        ["10.7.0.1", "10.8.0.1"]
            .iter()
            .for_each(|gateway| drop(sh(&format!("ip netns exec x ping -c1 -W2 {gateway}"))));
    } else {
        assert_eq!(sh("ip -n theirs -br link").lines().count(), 1);
    }
}

fn sandbox_works() {
    if listed("sandbox").contains(&"x".to_owned()) {
        let x = Net::pinned("x");
        x.sh("ping -c1 -W2 10.7.0.1 && ping -c1 -W2 10.8.0.1");
        x.serve_tcp("0.0.0.0:80");
        Net::here().ask_tcp("10.7.0.1:8081").expect("the published port answers");
    }
}

fn attached_as_listed() {
    let wide = linkspan("network inspect wide").contains("\"x\"");
    let links = sh("ip -br -n x link");
    assert_eq!(links.contains("eth1@"), wide, "{links}");
    let x = Net::pinned("x");
    x.sh("ping -c1 -W2 10.7.0.1");
    if wide {
        x.sh("ping -c1 -W2 10.8.0.1");
    }
}

fn beside_as_listed() {
    let listed = listed("sandbox").contains(&"x".to_owned());
    assert_eq!(sh("ip -4 route").contains(" dev shim-"), listed);
    if listed {
        let x = Net::pinned("x");
        x.sh("ping -c1 -W2 10.5.0.1 && ping -c1 -W2 10.7.0.1");
        sh(&format!("ping -c1 -W2 {}", address("x", "eth0")));
    }
}

fn machine_as_listed() {
    let listed = listed("sandbox").contains(&"vm".to_owned());
    let shown = sh("ip -o link; tc qdisc");
    for what in ["vm0: ", "ifb", "tbf 1: dev vm0", "clsact ffff: dev vm0"] {
        assert_eq!(shown.contains(what), listed, "{what}: {shown}");
    }
}

fn network_works() {
    if listed("network").contains(&"new".to_owned()) {
        linkspan("sandbox create --net new y");
        Net::pinned("y").sh("ping -c1 -W2 10.9.0.1");
        linkspan("sandbox rm y");
    }
}
