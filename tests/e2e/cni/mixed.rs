//! Chains of which some plugins are Linkspan's and some the reference's own, in any position.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_lab::{Attachment, Runtime};
use serde_json::{Value, json};

use super::chain::{REFERENCE, usual};
use crate::support::{
    BINARY, Net, Protocol, RUN, Reach, STATE, World, has, here, linkspan, run, serve, sh, source,
};

/// The plugins of the chain, its IPAM plugin included.
const NAMES: [&str; 6] = ["bridge", "host-local", "portmap", "firewall", "tuning", "bandwidth"];

/// The usual chain with limits, by plugins of which some are the reference's own.
fn chain(name: &str, theirs: &[&str]) -> Runtime {
    let mut list = usual("1.0.0");
    let bandwidth = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
    list["plugins"].as_array_mut().unwrap().push(bandwidth);
    let directory = format!("/run/plugins/{name}");
    sh(&format!("mkdir -p {directory}"));
    for plugin in NAMES {
        let target =
            if theirs.contains(&plugin) { format!("{REFERENCE}/{plugin}") } else { BINARY.to_owned() };
        sh(&format!("ln -s {target} {directory}/{plugin}"));
    }
    Runtime::new([directory], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN)
}

/// What attachments could leave behind, a line each; chains and tables of the reference plugins stay with them.
fn traces() -> BTreeSet<String> {
    let mut lines = sh("ip -br link | sed 's,[@ ].*,,; /cni0/d'")
        + &sh("iptables-save | grep -e CNI-DN -e '10\\.22\\.' || true");
    lines += &sh("nft -s list table inet linkspan 2>/dev/null || true");
    lines += &sh("find /run/cni -type f ! -name 'last_reserved_ip.*' ! -name lock 2>/dev/null || true");
    lines += &linkspan("sandbox ls");
    lines.lines().map(str::to_owned).collect()
}

fn assert_traces(before: &BTreeSet<String>, when: &str) {
    let deadline = Instant::now() + Duration::from_secs(3);
    while traces() != *before && Instant::now() < deadline {
        sleep(Duration::from_millis(50));
    }
    let now = traces();
    let more: Vec<_> = now.difference(before).collect();
    let less: Vec<_> = before.difference(&now).collect();
    assert!(now == *before, "{when}\nnew: {more:#?}\ngone: {less:#?}");
}

/// Attaches by a chain, looks whether everything in it works, and detaches from either end.
fn works(world: &World, name: &str, theirs: &[&str]) {
    let runtime = chain(name, theirs);
    // What the first container of a network makes for all of them is no trace.
    Net::new(&format!("{name}-warm"));
    let warm = Attachment::of(&format!("{name}-warm")).port(8079, 80);
    runtime.add(&warm).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    runtime.del(&warm).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let before = traces();
    for (forwards, port) in [(false, 8080), (true, 8081)] {
        let container = format!("{name}-{port}");
        let net = Net::new(&container);
        let rates = json!({ "ingressRate": 80_000_000, "ingressBurst": 8_000_000, "egressRate": 80_000_000,
                            "egressBurst": 8_000_000 });
        let eth0 = Attachment::of(&container).port(port, 80).with("bandwidth", rates);
        let result = runtime.add(&eth0).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        serve(&net, &[80]);
        looks_right(world, &net, port, &result);
        // The reference portmap looks for rules of IPv6 where there is no IPv6 address.
        if !theirs.contains(&"portmap") {
            runtime.check(&eth0).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        }
        let del = if forwards { runtime.del_forwards(&eth0) } else { runtime.del(&eth0) };
        del.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(net.sh("ip -br link").lines().count(), 1, "{name}");
        sh(&format!("ip netns del {container}"));
        assert_traces(&before, &format!("{name}, forwards: {forwards}"));
        runtime.del(&eth0).unwrap_or_else(|failure| panic!("{name}, once more: {failure}"));
    }
}

fn looks_right(world: &World, net: &Net, port: u16, result: &Value) {
    let address = result["ips"][0]["address"].as_str().unwrap_or_default();
    let address = address.split('/').next().unwrap();
    assert!(address.starts_with("10.22."), "{result:#}");
    // Published: for a neighbour, for the host at 127.0.0.1, for the container itself.
    world.outside.reaches(&format!("192.0.2.1:{port}"));
    world.host.reaches(&format!("127.0.0.1:{port}"));
    net.reaches(&format!("192.0.2.1:{port}"));
    world.host.reaches(&format!("{address}:80"));
    // Behind the host's address.
    assert_eq!(source(net, Protocol::Tcp, "192.0.2.9:7000"), "192.0.2.1");
    assert_eq!(net.sh("cat /proc/sys/net/core/somaxconn").trim(), "500");
    let shaped = sh("tc qdisc");
    assert_eq!(shaped.matches("tbf").count(), 2, "{shaped}");
}

/// Tries chains, each with these plugins being the reference's own, on a host of their own.
fn try_chains(chains: &[(&str, &[&str])]) {
    if !has(&format!("{REFERENCE}/bridge")) || !has("iptables") {
        return;
    }
    let world = World::new();
    serve(&world.outside, &[7000]);
    // What is made once per host is no trace.
    linkspan("sandbox create warm");
    linkspan("sandbox rm warm");
    for (name, theirs) in chains {
        works(&world, name, theirs);
    }
}

/// A plugin that is the only one of theirs, and the only one of ours.
fn alone(plugin: &str) {
    let rest: Vec<_> = NAMES.into_iter().filter(|name| *name != plugin).collect();
    try_chains(&[("theirs", &[plugin]), ("ours", &rest)]);
}

#[test]
fn a_chain_of_ours_works() {
    run(here!(), || try_chains(&[("ours", &[])]));
}

#[test]
fn one_main_plugin_works_with_the_other_plugins() {
    run(here!(), || alone("bridge"));
}

#[test]
fn one_ipam_plugin_works_with_the_other_plugins() {
    run(here!(), || alone("host-local"));
}

#[test]
fn ports_are_published_beside_the_other_plugins() {
    run(here!(), || alone("portmap"));
}

#[test]
fn a_firewall_works_beside_the_other_plugins() {
    run(here!(), || alone("firewall"));
}

#[test]
fn an_interface_is_tuned_beside_the_other_plugins() {
    run(here!(), || alone("tuning"));
}

#[test]
fn an_interface_is_slowed_down_beside_the_other_plugins() {
    run(here!(), || alone("bandwidth"));
}
