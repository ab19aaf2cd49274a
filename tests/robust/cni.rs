//! Attachments by CNI: many at once, killed at random instants, and swept up.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use linkspan_lab::{Attachment, Net, Random, Runtime, from_env, here, run_tool, sh};
use serde_json::{Value, json};

use crate::host::{RUN, STATE, assert_in_order, has, linkspan};
use crate::snapshot::Snapshot;

/// Attachments made at once.
const CROWD: usize = 200;
/// Rounds of each test of kills; LINKSPAN_KILLS says otherwise.
const ROUNDS: u64 = 20;
const PLUGINS: &str = "/run/plugins";
const DATA: &str = "/run/addresses";
/// Where the container that nothing may happen to is reached.
const KEPT: &str = "127.0.0.1:7000";

/// The chain that most hosts have, under the reference plugins' names.
fn usual() -> Value {
    json!({ "cniVersion": "1.1.0", "name": "pods", "plugins": [
        { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
          "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.22.0.0/16" }]], "dataDir": DATA,
                    "routes": [{ "dst": "0.0.0.0/0" }] } },
        { "type": "portmap", "capabilities": { "portMappings": true } },
        { "type": "firewall" },
        { "type": "tuning", "mtu": 1400, "sysctl": { "net.core.somaxconn": "500" } },
    ] })
}

/// The same by Linkspan's own plugin.
fn native() -> Value {
    let plugin = json!({ "type": "linkspan", "network": "lab", "capabilities": { "portMappings": true } });
    json!({ "cniVersion": "1.1.0", "name": "native", "plugins": [plugin] })
}

/// A runtime whose plugins are all Linkspan's, on a host where attachments have come and gone before.
fn runtime(list: Value) -> Runtime {
    fs::create_dir(PLUGINS).unwrap();
    for plugin in ["linkspan", "bridge", "host-local", "portmap", "firewall", "tuning"] {
        symlink(env!("CARGO_BIN_EXE_linkspan"), format!("{PLUGINS}/{plugin}")).unwrap();
    }
    linkspan("network create --subnet 10.7.0.0/16 lab");
    let runtime = Runtime::new([PLUGINS], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN);
    let warm = container("warm", 7999);
    runtime.add(&warm).unwrap();
    runtime.del(&warm).unwrap();
    sh("ip netns del warm");
    runtime
}

/// A namespace for a container, and `eth0` of it with a published port.
fn container(name: &str, port: u16) -> Attachment {
    sh(&format!("ip netns add {name}"));
    Attachment::of(name).port(port, 80)
}

/// The host, and the addresses that are taken.
fn whole() -> (Snapshot, String) {
    let taken = format!("find {DATA} -type f ! -name 'last_reserved_ip.*' ! -name lock 2>/dev/null | sort");
    (Snapshot::take(), run_tool(&taken).1)
}

fn assert_restored((snapshot, taken): &(Snapshot, String), when: &str) {
    snapshot.assert_restored(when);
    assert_eq!(whole().1, *taken, "{when}");
    assert_in_order(when);
}

#[test]
fn two_hundred_processes_attach_by_cni_at_once() {
    linkspan_lab::run(here!(), || crowd(native()));
}

#[test]
fn two_hundred_chains_attach_by_cni_at_once() {
    linkspan_lab::run(here!(), || crowd(usual()));
}

fn crowd(list: Value) {
    let runtime = runtime(list);
    let before = whole();
    let containers: Vec<_> =
        (0..CROWD).map(|number| container(&format!("pod{number}"), 8000 + number as u16)).collect();
    let results: Vec<_> = thread::scope(|scope| {
        let adding: Vec<_> = containers.iter().map(|one| scope.spawn(|| runtime.add(one))).collect();
        adding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let address = |result: &Value| result["ips"][0]["address"].as_str().unwrap().to_owned();
    let addresses: BTreeSet<_> = results
        .iter()
        .map(|result| address(result.as_ref().unwrap_or_else(|failure| panic!("{failure}"))))
        .collect();
    assert_eq!(addresses.len(), CROWD, "an address was given out twice");
    for number in [0, CROWD / 2, CROWD - 1] {
        Net::pinned(&format!("pod{number}")).serve_tcp("0.0.0.0:80");
        Net::here().ask_tcp(&format!("127.0.0.1:{}", 8000 + number)).expect("a published port answers");
    }
    thread::scope(|scope| {
        let removing: Vec<_> = containers.iter().map(|one| scope.spawn(|| runtime.del(one))).collect();
        removing
            .into_iter()
            .for_each(|thread| thread.join().unwrap().unwrap_or_else(|failure| panic!("{failure}")));
    });
    for number in 0..CROWD {
        sh(&format!("ip netns del pod{number}"));
    }
    assert_restored(&before, "after a crowd came and went");
}

#[test]
fn what_a_killed_plugin_leaves_goes_with_del_or_gc() {
    linkspan_lab::run(here!(), || rounds(native()));
}

#[test]
fn what_a_killed_chain_leaves_goes_with_del_or_gc() {
    linkspan_lab::run(here!(), || rounds(usual()));
}

fn rounds(list: Value) {
    if !has("nft") {
        return;
    }
    let mut runtime = runtime(list);
    let kept = container("keep", 7000);
    runtime.add(&kept).unwrap();
    Net::pinned("keep").serve_tcp("0.0.0.0:80");
    let usual = usual_durations(&runtime);
    let before = whole();
    let mut random = Random::from_environment();
    for round in 0..from_env("LINKSPAN_KILLS").unwrap_or(ROUNDS) {
        let eth0 = container("x", 8080);
        let verb = usize::try_from(random.below(2)).unwrap();
        if verb == 1 {
            runtime.add(&eth0).unwrap();
        }
        let limit = u64::try_from(usual[verb].mul_f64(1.1).as_micros()).unwrap();
        let instant = Instant::now() + Duration::from_micros(random.below(limit));
        let ended = runtime.killed_at(instant, |runtime| match verb {
            0 => runtime.add(&eth0).is_ok(),
            _ => runtime.del(&eth0).is_ok(),
        });
        let swept = sweep(&runtime, &eth0, &kept, random.below(4));
        println!("round {round}: {} killed, ended: {ended}, then {swept}", ["ADD", "DEL"][verb]);
        assert_restored(&before, "after a killed plugin was cleaned up behind");
        Net::here().ask_tcp(KEPT).expect("the container that lives answers through its published port");
    }
}

/// Cleans up as runtimes may: with and without the namespace, with and without a cache.
fn sweep(runtime: &Runtime, eth0: &Attachment, kept: &Attachment, way: u64) -> &'static str {
    let gone = || drop(sh("ip netns del x"));
    match way {
        0 => {
            runtime.del(eth0).unwrap();
            gone();
            "DEL"
        }
        1 => {
            gone();
            runtime.del(eth0).unwrap();
            "DEL without its namespace"
        }
        2 => {
            gone();
            let unknown = Attachment { netns: String::new(), ..eth0.clone() };
            runtime.del(&unknown).unwrap();
            "DEL without the name of its namespace"
        }
        _ => {
            gone();
            runtime.forget(eth0);
            runtime.gc(&[kept]).unwrap();
            "GC"
        }
    }
}

/// How long ADD and DEL usually take.
fn usual_durations(runtime: &Runtime) -> [Duration; 2] {
    let eth0 = container("x", 8080);
    let start = Instant::now();
    runtime.add(&eth0).unwrap();
    let added = start.elapsed();
    let start = Instant::now();
    runtime.del(&eth0).unwrap();
    let removed = start.elapsed();
    sh("ip netns del x");
    [added, removed]
}
