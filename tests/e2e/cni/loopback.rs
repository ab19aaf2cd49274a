//! `loopback`.

use serde_json::json;

use super::calling::{Call, install};
use crate::support::{Net, STATE, here, run, sh};

fn config(version: &str) -> String {
    json!({ "cniVersion": version, "name": "lo", "type": "loopback" }).to_string()
}

fn call(verb: &str) -> Call {
    // Arguments are none of its business.
    Call::new("loopback", verb, "/run/netns/box").env("CNI_ARGS", "none")
}

/// A namespace whose lo is down, as runtimes make them.
fn fresh() -> Net {
    sh("ip netns add box");
    Net::pinned("box")
}

#[test]
fn lo_comes_up_and_goes_down_in_every_version() {
    run(here!(), || {
        install();
        let inside = fresh();
        for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            assert!(!inside.succeeds("ping -c1 -W1 127.0.0.1"), "{version}");
            let result = call("ADD").with(&config(version)).result();
            assert_eq!(result["cniVersion"], version);
            assert!(inside.succeeds("ping -c1 -W1 127.0.0.1"), "{version}");
            if version.starts_with("0.1") || version.starts_with("0.2") {
                assert_eq!(result["ip4"]["ip"], "127.0.0.1/8");
            } else {
                let interface =
                    json!({"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/run/netns/box"});
                assert_eq!(result["interfaces"], json!([interface]));
                assert_eq!(result["ips"][0]["address"], "127.0.0.1/8");
            }
            call("DEL").with(&config(version)).is_silent();
        }
        assert!(!inside.succeeds("ping -c1 -W1 127.0.0.1"));
        assert!(!std::path::Path::new(STATE).exists(), "it has nothing to remember");
    });
}

#[test]
fn a_former_result_is_passed_on() {
    run(here!(), || {
        install();
        fresh();
        let former = json!({
            "cniVersion": "0.4.0",
            "interfaces": [{ "name": "eth0", "sandbox": "/run/netns/box" }],
            "ips": [{ "version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0 }],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dns": { "nameservers": ["10.1.0.1"] },
        });
        let config = json!({ "cniVersion": "0.4.0", "name": "lo", "prevResult": former });
        assert_eq!(call("ADD").with(&config.to_string()).result(), former);
    });
}

#[test]
fn what_cannot_be_told_is_there_until_it_is_deleted() {
    run(here!(), || {
        install();
        let inside = fresh();
        // Up to 0.2.0 a result has an address.
        let config = json!({ "cniVersion": "0.2.0", "name": "lo", "prevResult": {} });
        let error = call("ADD").with(&config.to_string()).error(999);
        assert_eq!(error["cniVersion"], "0.2.0");
        assert!(inside.succeeds("ping -c1 -W1 127.0.0.1"));
        call("DEL").with(&config.to_string()).is_silent();
        assert!(!inside.succeeds("ping -c1 -W1 127.0.0.1"));
    });
}

#[test]
fn lo_is_checked() {
    run(here!(), || {
        install();
        let inside = fresh();
        call("CHECK").with(&config("1.0.0")).error(999);
        inside.sh("ip link set lo up");
        call("CHECK").with(&config("1.0.0")).is_silent();
    });
}

#[test]
fn an_address_that_is_not_loopback_s_is_refused() {
    run(here!(), || {
        install();
        fresh().sh("ip address add 10.0.0.1/32 dev lo");
        let error = call("ADD").with(&config("1.0.0")).error(999);
        assert!(error["msg"].as_str().unwrap().contains("10.0.0.1"), "{error:#}");
    });
}

#[test]
fn what_is_gone_needs_no_detaching() {
    run(here!(), || {
        install();
        sh("mkdir -p /run/netns && touch /run/netns/stale");
        for netns in ["", "/run/netns/none", "/proc/4194304/ns/net", "/run/netns/stale"] {
            call("DEL").env("CNI_NETNS", netns).with(&config("1.0.0")).is_silent();
        }
        call("DEL").without("CNI_NETNS").with(&config("1.0.0")).is_silent();
    });
}
