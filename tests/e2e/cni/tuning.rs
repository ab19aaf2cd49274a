//! `tuning`, behind an interface that others made.

use serde_json::{Value, json};

use super::calling::{Call, Said, install};
use crate::support::{Net, STATE, here, run, sh};

const BACKUP: &str = "/run/cni/tuning/c1_eth0.json";

/// A container with eth0, whose other side is host0.
fn fresh() -> Net {
    install();
    sh("ip netns add box && ip link add host0 type veth peer name eth0 netns box");
    Net::pinned("box")
}

fn config(more: &Value) -> String {
    let mut config = more.clone();
    config["cniVersion"] = "1.0.0".into();
    config["name"] = "pods".into();
    config["type"] = "tuning".into();
    config["prevResult"] = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "host0" }, { "name": "eth0", "sandbox": "/run/netns/box" }],
        "ips": [{ "address": "10.1.0.5/16", "interface": 1 }],
        "dns": {},
    });
    config.to_string()
}

fn call(verb: &str, more: &Value) -> Said {
    Call::new("tuning", verb, "/run/netns/box").with(&config(more))
}

/// MAC, MTU, queue and switches of eth0.
fn state(inside: &Net) -> String {
    let links: Value = serde_json::from_str(&inside.sh("ip -j link show eth0")).unwrap();
    let link = &links[0];
    let flags = link["flags"].as_array().unwrap().iter().filter_map(Value::as_str);
    let flags: Vec<&str> = flags.filter(|flag| ["PROMISC", "ALLMULTI"].contains(flag)).collect();
    format!("{} {} {} {flags:?}", link["address"], link["mtu"], link["txqlen"])
}

#[test]
fn settings_come_and_go() {
    run(here!(), || {
        let inside = fresh();
        inside.sh("ip link set eth0 address 02:00:00:00:00:01 txqueuelen 500 allmulticast on");
        let before = state(&inside);
        let tuned = json!({
            "mac": "02:00:00:00:00:02", "mtu": 1400, "promisc": true, "allmulti": false, "txQLen": 20000,
            "sysctl": { "net.ipv4.conf.IFNAME.log_martians": "1" },
        });
        call("CHECK", &tuned).error(999);
        let result = call("ADD", &tuned).result();
        assert_eq!(result["interfaces"][1]["mac"], "02:00:00:00:00:02");
        assert!(result["interfaces"][0]["mac"].is_null(), "{result:#}");
        assert_eq!(state(&inside), r#""02:00:00:00:00:02" 1400 20000 ["PROMISC"]"#);
        assert_eq!(inside.sh("cat /proc/sys/net/ipv4/conf/eth0/log_martians").trim(), "1");
        let backup: Value = serde_json::from_str(&sh(&format!("cat {BACKUP}"))).unwrap();
        let kept = json!({
            "mac": "02:00:00:00:00:01", "promisc": false, "mtu": 1500, "allmulti": true, "txQLen": 500,
        });
        assert_eq!(backup, kept);
        call("CHECK", &tuned).is_silent();
        // What it was not asked for is compared too.
        let error = call("CHECK", &json!({})).error(999);
        assert!(error["msg"].as_str().unwrap().contains("promisc off"), "{error:#}");
        for changed in ["mtu 1300", "address 02:00:00:00:00:03", "txqueuelen 1", "allmulticast on"] {
            let tuned_again = || assert_eq!(call("ADD", &tuned).code, Some(0));
            inside.sh(&format!("ip link set eth0 {changed}"));
            call("CHECK", &tuned).error(999);
            tuned_again();
        }
        call("DEL", &tuned).is_silent();
        assert_eq!(state(&inside), before);
        call("DEL", &tuned).is_silent();
        assert!(!std::path::Path::new(BACKUP).exists());
    });
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    run(here!(), || {
        let inside = fresh();
        let before = state(&inside);
        let refused = [
            json!({ "mtu": 1400, "sysctl": { "kernel.hostname": "x" } }),
            json!({ "mtu": 1400, "sysctl": { "net.ipv4.no_such_thing": "1" } }),
            json!({ "mtu": 1400, "txQLen": 7, "mac": "01:00:00:00:00:01" }),
            json!({ "txQLen": 7, "mtu": 10_000_000 }),
        ];
        for refused in refused {
            let said = call("ADD", &refused);
            assert_eq!(said.code, Some(1), "{refused} {said:?}");
            assert_eq!(state(&inside), before, "{refused}");
            assert!(!std::path::Path::new(BACKUP).exists());
        }
        let absent = Call::new("tuning", "ADD", "/run/netns/box").env("CNI_IFNAME", "net9");
        absent.with(&config(&json!({ "mtu": 1400 }))).error(999);
    });
}

#[test]
fn nothing_to_do_takes_no_store_and_what_is_gone_is_no_error() {
    run(here!(), || {
        let inside = fresh();
        let result = call("ADD", &json!({ "promisc": false, "sysctl": {} })).result();
        assert_eq!(result["interfaces"][1], json!({ "name": "eth0", "sandbox": "/run/netns/box" }));
        call("DEL", &json!({})).is_silent();
        assert!(!std::path::Path::new(STATE).exists());
        let mtu = json!({ "mtu": 1400 });
        assert_eq!(call("ADD", &mtu).code, Some(0));
        inside.sh("ip link del eth0");
        call("DEL", &mtu).is_silent();
        assert_eq!(call("ADD", &mtu).code, Some(1));
        sh("ip netns del box");
        call("DEL", &mtu).is_silent();
        Call::new("tuning", "DEL", "").with(&config(&mtu)).is_silent();
    });
}
