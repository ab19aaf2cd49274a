//! Networks with more sandboxes than a bridge has ports, on the real kernel: by traffic, and by the clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use linkspan_engine::{Engine, NetworkRequest, Paths, SandboxRequest};
use linkspan_kernel::Host;
use linkspan_lab::{Net, here, sh};
use linkspan_model::{Driver, IpamRequest, NetAttach, NetSpec, OptionMap};

/// How many of the first and of the last sandboxes are compared.
const SAMPLE: usize = 30;
/// What the last may take in units of the first. Linux 6.18 takes 2.4: whenever a device changes, its IPv6 goes through its
/// routes (fib6_ifdown), and each port on the host has one.
const BOUND: f64 = 1.5;

/// A command's: each is a process of its own in real life.
fn engine() -> Engine<Host> {
    Engine::open(Host::open().unwrap(), Path::new("/run/st"), Paths::of_host("/run/linkspan".into())).unwrap()
}

/// The network lab, 10.7.0.0/16.
fn make_lab(options: &[(&str, &str)]) {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let request = NetworkRequest {
        name: "lab".parse().unwrap(),
        driver: Driver::Bridge,
        ipam: IpamRequest { subnets: vec!["10.7.0.0/16".parse().unwrap()], ..IpamRequest::default() },
        ipam_driver: "default".to_owned(),
        ipam_options: OptionMap::new(),
        options: options.collect(),
        labels: BTreeMap::new(),
        internal: false,
        ipv4: true,
        ipv6: false,
    };
    engine().create_network(request).unwrap();
}

fn request(number: usize) -> SandboxRequest {
    let nets = vec![NetSpec::Attach(NetAttach::to("lab"))];
    SandboxRequest { nets, ..SandboxRequest::new(format!("s{number}").parse().unwrap()) }
}

/// Makes `count` sandboxes, s0 and so on; how long each took.
fn make(count: usize) -> Vec<Duration> {
    let make = |number| {
        let started = Instant::now();
        engine().create_sandbox(&request(number)).unwrap();
        started.elapsed()
    };
    (0..count).map(make).collect()
}

/// Removes all, and checks that nothing is left.
fn remove(count: usize) {
    (0..count).for_each(|number| engine().remove_sandbox(&format!("s{number}"), false).unwrap());
    engine().remove_network("lab").unwrap();
    let repair = engine().repair(true).unwrap();
    assert!(repair.is_empty(), "{repair:?}");
    for command in ["ip -br link | grep -vw lo || true", "ls /run/netns", "nft list ruleset"] {
        assert_eq!(sh(command), "", "left over in `{command}`");
    }
}

/// The address of sandbox `number`: the gateway has the first one.
fn address(number: usize) -> String {
    let [.., high, low] = u32::try_from(number + 2).unwrap().to_be_bytes();
    format!("10.7.{high}.{low}")
}

fn pings(from: usize, to: &str) -> bool {
    Net::pinned(&format!("s{from}")).succeeds(&format!("ping -n -q -c 1 -W 2 {to}"))
}

/// The sandboxes at both ends of each bridge.
fn ends(count: usize) -> Vec<usize> {
    let bridge = |number: usize| {
        let view = engine().sandbox(&format!("s{number}")).unwrap();
        view.attached[0].0.access
    };
    let bridges: Vec<u16> = (0..count).map(bridge).collect();
    let is_end = |n: &usize| {
        *n == 0 || *n == count - 1 || bridges[*n - 1] != bridges[*n] || bridges[*n + 1] != bridges[*n]
    };
    (0..count).filter(is_end).collect()
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

/// That any two of `sample` reach each other, and all of them the gateway.
fn all_meet(sample: &[usize]) {
    for from in sample {
        assert!(pings(*from, "10.7.0.1"), "s{from} does not reach the gateway");
        for to in sample.iter().filter(|to| *to != from) {
            assert!(pings(*from, &address(*to)), "s{from} does not reach s{to}");
        }
    }
}

#[test]
fn a_network_has_room_for_more_sandboxes_than_a_bridge_has_ports() {
    linkspan_lab::run(here!(), || {
        const COUNT: usize = 1100;
        make_lab(&[]);
        make(COUNT);
        let sample = ends(COUNT);
        assert!(sample.len() >= 8, "{sample:?}");
        all_meet(&sample);
        // A port published on an access bridge, asked for from there, from elsewhere and from the host.
        let mut web = request(COUNT);
        web.publish = vec!["8080:80".parse().unwrap()];
        engine().create_sandbox(&web).unwrap();
        Net::pinned(&format!("s{COUNT}")).serve_tcp("0.0.0.0:80");
        for from in [0, COUNT - 1, COUNT] {
            Net::pinned(&format!("s{from}")).ask_tcp("10.7.0.1:8080").unwrap();
        }
        Net::here().ask_tcp("127.0.0.1:8080").unwrap();
        let repair = engine().repair(true).unwrap();
        assert!(repair.is_empty(), "{repair:?}");
        restores();
        remove(COUNT + 1);
    });
}

/// A bridge that was deleted comes back with all that was on it.
fn restores() {
    let network = engine().network("lab").unwrap().network;
    let access = network.bridge_numbered(1);
    sh(&format!("ip link del {access}"));
    engine().repair(false).unwrap();
    let sample = [0, 255, 1099];
    all_meet(&sample);
    let view = engine().sandbox("s255").unwrap();
    assert_eq!((view.attached[0].0.access, view.links[0].is_some()), (1, true));
    assert_eq!(engine().network("lab").unwrap().endpoints.len(), 1101);
}

#[test]
fn without_icc_no_two_meet_across_bridges() {
    linkspan_lab::run(here!(), || {
        const COUNT: usize = 260;
        make_lab(&[("com.docker.network.bridge.enable_icc", "false")]);
        make(COUNT);
        let sample = ends(COUNT);
        assert!(sample.len() >= 4, "{sample:?}");
        for from in &sample {
            assert!(pings(*from, "10.7.0.1"), "s{from} does not reach the gateway");
        }
        std::thread::scope(|scope| {
            let sample = &sample;
            for from in sample {
                scope.spawn(move || {
                    for to in sample.iter().filter(|to| *to != from) {
                        let ping = format!("ping -n -q -c 1 -W 0.3 {}", address(*to));
                        assert!(!Net::pinned(&format!("s{from}")).succeeds(&ping), "s{from} reaches s{to}");
                    }
                });
            }
        });
        remove(COUNT);
    });
}

/// Takes a minute or two, and times that say something only on a machine with nothing else to do:
/// `cargo test --release -p linkspan-engine --test large -- --ignored --nocapture`.
#[test]
#[ignore = "three thousand sandboxes: CONTRIBUTING.md tells how to run it"]
fn three_thousand_sandboxes_on_one_network() {
    linkspan_lab::run(here!(), || {
        const COUNT: usize = 3000;
        make_lab(&[]);
        let times = make(COUNT);
        let (first, last) = (median(&times[..SAMPLE]), median(&times[COUNT - SAMPLE..]));
        let ratio = last.as_secs_f64() / first.as_secs_f64();
        for slice in times.chunks(COUNT / 12) {
            println!("attach: median {:?}, slowest {:?}", median(slice), slice.iter().max().unwrap());
        }
        println!("first {SAMPLE} {first:?}, last {SAMPLE} of {COUNT} {last:?}, ratio {ratio:.2}");
        let sample = ends(COUNT);
        let started = Instant::now();
        all_meet(&sample);
        println!("any two of {} sandboxes, two of each bridge, meet: {:?}", sample.len(), started.elapsed());
        // Each with one far away, so that every one has sent and received.
        let reaches = |n: &usize| pings(*n, &address((*n + COUNT / 2) % COUNT));
        let late: Vec<_> = (0..COUNT).filter(|n| !reaches(n)).collect();
        // The neighbour table of the whole machine has 1,024 entries, of which none is given up within five seconds
        // (neigh_forced_gc): two entries a ping fill it again and again. Later there is room.
        let mut lost = late.clone();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_secs(6));
            lost.retain(|n| !reaches(n));
        }
        println!("each with the one {} further on: not at once {late:?}, not at all {lost:?}", COUNT / 2);
        assert!(lost.is_empty(), "some did not reach the one half-way round");
        let started = Instant::now();
        remove(COUNT);
        println!("all removed in {:?}", started.elapsed());
        assert!(ratio < BOUND, "attaching gets slower: {first:?} to {last:?}");
    });
}
