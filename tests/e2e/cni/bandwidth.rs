//! `bandwidth`, behind a veth pair that others made.

use std::time::Duration;

use serde_json::{Value, json};

use super::calling::{Call, Said, install};
use crate::support::{Net, STATE, World, has, here, run, sh};

/// How long traffic is measured.
const WHILE: Duration = Duration::from_secs(1);

/// A container with eth0 and 10.1.0.5, whose other side is host0 with 10.1.0.1.
fn fresh() -> Net {
    install();
    sh("ip netns add box && ip link add host0 type veth peer name eth0 netns box");
    sh("ip addr add 10.1.0.1/16 dev host0 && ip link set host0 up");
    let inside = Net::pinned("box");
    inside.sh("ip addr add 10.1.0.5/16 dev eth0 && ip link set eth0 up");
    inside
}

fn config(more: &Value) -> Value {
    let mut config = more.clone();
    config["cniVersion"] = "1.0.0".into();
    config["name"] = "pods".into();
    config["type"] = "bandwidth".into();
    config["prevResult"] = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "host0" }, { "name": "eth0", "sandbox": "/run/netns/box" }],
        "ips": [{ "address": "10.1.0.5/16", "interface": 1 }],
    });
    config
}

fn call(verb: &str, more: &Value) -> Said {
    Call::new("bandwidth", verb, "/run/netns/box").with(&config(more).to_string())
}

fn queues() -> String {
    sh("tc qdisc; ip -o link | cut -d: -f2")
}

/// What arrives while one sends as fast as it can, in megabits a second, is about the limit.
#[track_caller]
fn is_about(from: &Net, to: &Net, address: &str, limit: f64) {
    let measured = from.send(to, &format!("{address}:5001"), |_, elapsed| elapsed < WHILE).megabits();
    assert!((measured / limit - 1.0).abs() < 0.2, "{measured:.1} mbit instead of {limit}");
}

#[test]
fn a_container_is_as_fast_as_its_limits_each_way() {
    run(here!(), || {
        if !has("tc") {
            return;
        }
        let (world, inside) = (World::new(), fresh());
        let before = queues();
        let limits = json!({ "runtimeConfig": { "bandwidth": {
            "ingressRate": 20_000_000, "ingressBurst": 800_000, "egressRate": 10_000_000, "egressBurst": 400_000,
        }}});
        let result = call("ADD", &limits).result();
        let ifb = &result["interfaces"][2];
        let name = ifb["name"].as_str().unwrap();
        assert!(name.starts_with("bwp") && name.len() == 15, "{result:#}");
        assert_eq!(sh(&format!("cat /sys/class/net/{name}/address")).trim(), ifb["mac"]);
        assert!(ifb["sandbox"].is_null(), "{result:#}");
        is_about(&world.host, &inside, "10.1.0.5", 20.0);
        is_about(&inside, &world.host, "10.1.0.1", 10.0);
        call("CHECK", &limits).is_silent();
        let limited = queues();
        call("ADD", &limits).error(999);
        assert_eq!(queues(), limited, "the limits that are there stay");
        sh("tc qdisc change dev host0 root tbf rate 1mbit burst 10kb limit 10kb");
        call("CHECK", &limits).error(999);
        call("DEL", &limits).is_silent();
        assert_eq!(queues(), before);
        call("DEL", &limits).is_silent();
        // The runtime may not say again what it said.
        call("ADD", &limits).result();
        call("DEL", &json!({})).is_silent();
        assert_eq!(queues(), before);
    });
}

#[test]
fn what_others_put_there_is_left_alone() {
    run(here!(), || {
        if !has("tc") {
            return;
        }
        fresh();
        let limits = json!({ "egressRate": 8000, "egressBurst": 8000 });
        for others in ["clsact", "ingress", "root tbf rate 1mbit burst 10kb limit 10kb"] {
            sh(&format!("tc qdisc add dev host0 {others}"));
            let before = queues();
            let error = call("ADD", &limits).error(999);
            let kind = others.trim_start_matches("root ").split(' ').next().unwrap();
            assert!(error["msg"].as_str().unwrap().contains(kind), "{error:#}");
            assert_eq!(queues(), before);
            sh(&format!("tc qdisc del dev host0 {}", others.split(' ').next().unwrap()));
        }
        assert_eq!(call("ADD", &limits).code, Some(0));
        sh("ip netns del box");
        call("DEL", &limits).is_silent();
        assert!(!queues().contains("bwp"));
    });
}

#[test]
fn without_limits_nothing_is_written_down() {
    run(here!(), || {
        fresh();
        let none = json!({ "ingressRate": 0, "ingressBurst": 0 });
        for nothing in [json!({}), none] {
            assert_eq!(call("ADD", &nothing).result(), config(&nothing)["prevResult"]);
            call("CHECK", &nothing).is_silent();
            call("DEL", &nothing).is_silent();
        }
        call("ADD", &json!({ "ingressRate": 8 })).error(7);
        assert!(!std::path::Path::new(STATE).exists());
    });
}
