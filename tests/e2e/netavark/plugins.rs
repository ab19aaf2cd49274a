//! Drivers of third parties, and what needs no driver.

use serde_json::json;

use super::calling::{Backend, Container};
use crate::support::*;

const DRIVERS: &str = "/run/drivers";

/// A shell script as the driver `name`.
fn driver(name: &str, script: &str) {
    sh(&format!("mkdir -p {DRIVERS}"));
    std::fs::write(format!("{DRIVERS}/{name}"), format!("#!/bin/sh\n{script}\n")).unwrap();
    sh(&format!("chmod +x {DRIVERS}/{name}"));
}

#[test]
fn a_driver_moves_a_device_and_gives_it_back() {
    run(here!(), || {
        driver(
            "host-device",
            r#"case $1 in
            setup) ip link set spare0 netns "${2##*/}" && ip -n "${2##*/}" link set spare0 up &&
                echo '{"interfaces":{"spare0":{"mac_address":"02:00:00:00:00:01"}}}' ;;
            teardown) echo "given back" >&2; ip -n "${2##*/}" link set spare0 netns $PPID ;;
            esac"#,
        );
        sh("ip link add spare0 type veth peer name spare1");
        let a = Net::new("a");
        let container = Container::new("a", &json!({"driver": "host-device"}), &json!({}));
        let call = |command: &str| {
            let line =
                format!("--plugin-directory /nowhere --plugin-directory {DRIVERS} {command} /run/netns/a");
            Backend::new().args(&line).with(&container.input())
        };
        let status = call("setup").result();
        assert!(status["n1"]["interfaces"]["spare0"].is_object(), "{status:#}");
        assert!(a.sh("ip -br link show lo").contains("LOWER_UP"));
        assert!(a.sh("ip -br link").contains("spare0"));
        let gone = call("teardown");
        assert_eq!((gone.code, gone.out.as_str(), gone.err.as_str()), (Some(0), "", "given back\n"));
        assert!(!a.sh("ip -br link").contains("spare0"));
    });
}

#[test]
fn what_a_driver_says_is_passed_on() {
    run(here!(), || {
        driver("fails", r#"echo "to the log" >&2; echo "{\"error\":\"$1 error\"}"; exit 1"#);
        let _a = Net::new("a");
        let container = Container::new("a", &json!({"driver": "fails"}), &json!({}));
        let call = |line: &str| {
            let line = format!("--plugin-directory {DRIVERS} {line}");
            Backend::new().args(&line).with(&container.input())
        };
        for command in ["setup", "teardown"] {
            let said = call(&format!("{command} /run/netns/a"));
            let expected = format!("plugin \"fails\" failed: exit code 1, message: {command} error");
            assert_eq!((said.error(), said.err.as_str()), (expected, "to the log\n"));
        }
        assert!(call("teardown /proc/does-not-exist/ns/net").err.contains("to the log"));
    });
}

#[test]
fn a_driver_completes_networks() {
    run(here!(), || {
        driver("completes", r#"sed 's/"driver":"completes"/&,"network_interface":"x0"/'"#);
        let request = json!({
            "network": {"name": "n1", "id": "a".repeat(64), "driver": "completes"},
            "used": {"interfaces": [], "names": {}, "subnets": []},
            "options": {"subnet_pools": [], "default_interface_name": null, "check_used_subnets": true}
        });
        let line = format!("--plugin-directory {DRIVERS} create");
        let made = Backend::new().args(&line).with(&request).result();
        assert_eq!(made["network_interface"], "x0");
        let missing = Backend::new().args("create").with(&request).error();
        assert_eq!(missing, "plugin directory not provided");
    });
}

#[test]
fn networks_are_completed_with_what_the_host_does_not_have() {
    run(here!(), || {
        sh(
            "ip link add podman1 type bridge && ip link set podman1 up && ip addr add 10.89.0.1/24 dev podman1",
        );
        let request = json!({
            "network": {"name": "n1", "id": "a".repeat(64), "driver": "bridge", "ipv6_enabled": true},
            "used": {"interfaces": [], "names": {"podman2": "x"}, "subnets": []},
            "options": {
                "subnet_pools": [{"base": "10.89.0.0/16", "size": 24}],
                "default_interface_name": "podman",
                "check_used_subnets": true
            }
        });
        let made = Backend::new().args("create").with(&request).result();
        assert_eq!(made["network_interface"], "podman3", "{made:#}");
        assert_eq!(made["subnets"][0], json!({"subnet": "10.89.1.0/24", "gateway": "10.89.1.1"}));
        assert!(made["subnets"][1]["subnet"].as_str().unwrap().starts_with("fd"), "{made:#}");
        let again = json!({"network": made, "used": request["used"], "options": request["options"]});
        let mut second = Backend::new().args("create").with(&again).result();
        second["created"] = made["created"].clone();
        assert_eq!(second, made);
    });
}

#[test]
fn the_contracts_version_is_told() {
    run(here!(), || {
        let version = Backend::new().args("version").with(&json!(null)).result();
        assert_eq!(version["version"], "2.1.0");
        let line = Backend::new().args("--version").with(&json!(null)).out;
        assert_eq!(line, "netavark 2.1.0\n");
    });
}

#[test]
fn links_make_the_program_podmans_backend_and_its_name_server() {
    run(here!(), || {
        let made = linkspan("netavark install /run/podman-helpers");
        assert!(made.contains("/run/podman-helpers/netavark") && made.contains("created"), "{made}");
        assert_eq!(sh("/run/podman-helpers/netavark --version"), "netavark 2.1.0\n");
        assert!(sh("/run/podman-helpers/aardvark-dns --version").starts_with("aardvark-dns 2."));
        assert!(linkspan("netavark install /run/podman-helpers").contains("unchanged"));
        sh("rm /run/podman-helpers/netavark && echo theirs > /run/podman-helpers/netavark");
        refused("netavark install /run/podman-helpers").says(&["will not replace"]).hints("--force");
        assert!(linkspan("netavark install --force /run/podman-helpers").contains("replaced"));
        // Without a link too.
        assert_eq!(linkspan("netavark --config /run/x --version"), "netavark 2.1.0\n");
        assert!(linkspan("netavark --help").contains("install"));
        assert!(sh("/run/podman-helpers/netavark --help").contains("firewall-reload"));
    });
}

#[test]
fn a_teardown_goes_on_to_its_end_whoever_asks_it_to_stop() {
    run(here!(), || {
        driver(
            "asks",
            r#"[ $1 = setup ] && echo {} || { kill -TERM $PPID; kill -INT $PPID; sleep 0.1; echo end >&2; }"#,
        );
        let _a = Net::new("a");
        let container = Container::new("a", &json!({"driver": "asks"}), &json!({}));
        let call = |command: &str| {
            let line = format!("--plugin-directory {DRIVERS} {command} /run/netns/a");
            Backend::new().args(&line).with(&container.input())
        };
        call("setup").result();
        let gone = call("teardown");
        assert_eq!((gone.code, gone.out.as_str(), gone.err.as_str()), (Some(0), "", "end\n"));
    });
}
