//! `bridge`, by traffic where its keys show in traffic.

use std::fs;
use std::path::Path;

use linkspan_lab::{Attachment, Runtime};
use serde_json::{Value, json};

use super::calling::{Call, LINKS, install};
use crate::support::{Net, Protocol, RUN, Reach, STATE, World, here, run, run_tool, serve, sh, source};

/// Where host-local keeps its files in these tests.
const RESERVED: &str = "/run/cni/networks";

/// A runtime whose only plugin is `plugin`.
pub fn runtime(plugin: &Value) -> Runtime {
    install();
    let list = json!({ "cniVersion": "1.1.0", "name": "pods", "plugins": [plugin] });
    Runtime::new([LINKS], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN)
}

/// Its configuration with `more`: a gateway on 10.22.0.0/16.
fn bridge(more: Value) -> Value {
    let ranges = json!([[{ "subnet": "10.22.0.0/16" }]]);
    let ipam = json!({ "type": "host-local", "ranges": ranges, "dataDir": RESERVED });
    let mut config = json!({ "type": "bridge", "isDefaultGateway": true, "ipam": ipam });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// The host's side of the pair in a result.
fn veth(result: &Value) -> &str {
    result["interfaces"][1]["name"].as_str().unwrap()
}

/// How many addresses are reserved.
pub fn reserved() -> usize {
    let Ok(files) = fs::read_dir(format!("{RESERVED}/pods")) else { return 0 };
    files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with(['1', 'f'])).count()
}

/// What of the host is the plugin's.
pub fn devices() -> Vec<String> {
    sh("ip -o link")
        .lines()
        .filter_map(|line| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned()))
        .collect()
}

#[test]
fn containers_reach_each_other_the_host_and_the_world() {
    run(here!(), || {
        let world = World::new();
        let runtime = runtime(&bridge(json!({ "ipMasq": true })));
        let (web, db) = (Net::new("web"), Net::new("db"));
        let (first, second) = (Attachment::of("web"), Attachment::of("db"));
        let before = devices();
        let result = runtime.add(&first).unwrap();
        assert_eq!(runtime.add(&second).unwrap()["ips"][0]["address"], "10.22.0.3/16");
        assert_eq!(
            result["ips"][0],
            json!({"address": "10.22.0.2/16", "gateway": "10.22.0.1", "interface": 2})
        );
        serve(&web, &[80]);
        serve(&world.outside, &[80]);
        assert_eq!(source(&db, Protocol::Tcp, "10.22.0.2:80"), "10.22.0.3");
        world.host.reaches("10.22.0.2:80");
        db.pings("10.22.0.1");
        assert_eq!(source(&db, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
        runtime.check(&first).unwrap();
        runtime.status().unwrap();
        for _ in 0..2 {
            runtime.del(&first).unwrap();
        }
        assert!(!web.succeeds("ip link show eth0"));
        db.pings_in_vain("10.22.0.2");
        // The namespace is gone, and whoever knew of it.
        sh("ip netns del db");
        runtime.forget(&second);
        runtime.del(&second).unwrap();
        assert_eq!(devices(), [before, vec!["cni0".to_owned()]].concat());
        assert_eq!(reserved(), 0);
    });
}

#[test]
fn without_masquerading_the_world_sees_the_container() {
    run(here!(), || {
        let world = World::new();
        let runtime = runtime(&bridge(json!({})));
        let web = Net::new("web");
        runtime.add(&Attachment::of("web")).unwrap();
        serve(&world.outside, &[80]);
        assert_eq!(source(&web, Protocol::Udp, "192.0.2.9:80"), "10.22.0.2");
    });
}

#[test]
fn both_families_work_at_once() {
    run(here!(), || {
        World::new();
        let ranges = json!([[{ "subnet": "10.22.0.0/16" }], [{ "subnet": "fd00:22::/64" }]]);
        let ipam = json!({ "type": "host-local", "ranges": ranges, "dataDir": RESERVED });
        let runtime = runtime(&bridge(json!({ "ipam": ipam })));
        let (web, db) = (Net::new("web"), Net::new("db"));
        runtime.add(&Attachment::of("web")).unwrap();
        web.pings("fd00:22::1");
        runtime.add(&Attachment::of("db")).unwrap();
        for address in ["10.22.0.1", "10.22.0.2", "fd00:22::1", "fd00:22::2"] {
            db.pings(address);
        }
        runtime.check(&Attachment::of("web")).unwrap();
        runtime.check(&Attachment::of("db")).unwrap();
        // As for IPv4, addresses survive the device being down.
        db.sh("ip link set eth0 down && ip link set eth0 up");
        assert!(db.sh("ip -6 address show dev eth0").contains("fd00:22::3/64"));
    });
}

#[test]
fn keys_of_the_port_show_on_the_host() {
    run(here!(), || {
        World::new();
        let keys = json!({ "hairpinMode": true, "portIsolation": true, "mtu": 1400, "bridge": "br7" });
        let runtime = runtime(&bridge(keys));
        let (web, db) = (Net::new("web"), Net::new("db"));
        let result = runtime.add(&Attachment::of("web")).unwrap();
        runtime.add(&Attachment::of("db")).unwrap();
        let port = sh(&format!("ip -d link show {}", veth(&result)));
        for setting in ["mtu 1400", "hairpin on", "isolated on", "master br7"] {
            assert!(port.contains(setting), "{setting}: {port}");
        }
        assert!(web.sh("ip link show eth0").contains("mtu 1400"));
        assert!(sh("ip link show br7").contains("mtu 1400"));
        db.pings("10.22.0.1");
        db.pings_in_vain("10.22.0.2");
    });
}

#[test]
fn a_bridge_may_listen_to_everything() {
    run(here!(), || {
        World::new();
        let runtime = runtime(&bridge(json!({ "promiscMode": true })));
        let _web = Net::new("web");
        runtime.add(&Attachment::of("web")).unwrap();
        assert!(sh("ip -d link show cni0").contains("PROMISC"));
        runtime.check(&Attachment::of("web")).unwrap();
        sh("ip link set cni0 promisc off");
        runtime.check(&Attachment::of("web")).unwrap_err();
    });
}

#[test]
fn an_interface_may_stay_down_or_without_addresses() {
    run(here!(), || {
        let web = Net::new("web");
        for (down, state) in [(true, false), (false, true)] {
            let config = json!({ "type": "bridge", "disableContainerInterface": down, "ipam": {} });
            let runtime = runtime(&config);
            let result = runtime.add(&Attachment::of("web")).unwrap();
            assert_eq!(result["ips"], Value::Null);
            assert_eq!(web.sh("ip -o link show eth0").contains("state UP"), state);
            runtime.check(&Attachment::of("web")).unwrap();
            runtime.del(&Attachment::of("web")).unwrap();
        }
    });
}

#[test]
fn a_spoofed_mac_gets_nowhere() {
    run(here!(), || {
        World::new();
        let runtime = runtime(&bridge(json!({ "macspoofchk": true, "capabilities": { "mac": true } })));
        let web = Net::new("web");
        let attachment = Attachment::of("web").with("mac", "02:00:00:00:00:07".into());
        let result = runtime.add(&attachment).unwrap();
        assert_eq!(result["interfaces"][2]["mac"], "02:00:00:00:00:07");
        assert!(web.sh("ip link show eth0").contains("02:00:00:00:00:07"));
        web.pings("10.22.0.1");
        web.sh("ip link set eth0 address 02:00:00:00:00:08");
        web.pings_in_vain("10.22.0.1");
        runtime.check(&attachment).unwrap_err();
    });
}

#[test]
fn check_finds_what_was_tampered_with() {
    run(here!(), || {
        World::new();
        let runtime = runtime(&bridge(json!({ "ipMasq": true })));
        let (web, attachment) = (Net::new("web"), Attachment::of("web"));
        for harm in [
            "inside: ip address del 10.22.0.2/16 dev eth0",
            "inside: ip route del default",
            "inside: ip link set eth0 down",
            "inside: ip link set eth0 address 02:00:00:00:00:08",
            "ip link set VETH nomaster",
            "ip link set VETH address 02:00:00:00:00:08",
            "ip link set cni0 address 02:00:00:00:00:08",
            "ip address flush dev cni0",
            "ip link del VETH",
            "ip link del cni0",
        ] {
            let result = runtime.add(&attachment).unwrap();
            runtime.check(&attachment).unwrap_or_else(|error| panic!("before {harm}: {error}"));
            match harm.strip_prefix("inside: ") {
                Some(command) => web.sh(command),
                None => sh(&harm.replace("VETH", veth(&result))),
            };
            assert!(runtime.check(&attachment).is_err(), "{harm}");
            runtime.del(&attachment).unwrap();
            assert!(!web.succeeds("ip link show eth0"), "{harm}");
            fs::remove_file(format!("{RESERVED}/pods/last_reserved_ip.0")).unwrap();
        }
    });
}

#[test]
fn what_is_in_the_way_is_told_and_nothing_is_left() {
    run(here!(), || {
        World::new();
        let web = Net::new("web");
        sh("ip link add cni0 type bridge && ip address add 10.22.9.9/16 dev cni0");
        let before = devices();
        let error = runtime(&bridge(json!({}))).add(&Attachment::of("web")).unwrap_err();
        assert!(error.text.contains("10.22.9.9/16"), "{error}");
        sh("ip link add taken type veth peer name other");
        let error = runtime(&bridge(json!({ "bridge": "taken" }))).add(&Attachment::of("web")).unwrap_err();
        assert!(error.text.contains("taken"), "{error}");
        sh("ip link del taken");
        assert_eq!((devices(), reserved()), (before.clone(), 0));
        assert!(!web.succeeds("ip link show eth0"));
        runtime(&bridge(json!({ "forceAddress": true }))).add(&Attachment::of("web")).unwrap();
        let addresses = sh("ip -4 -o address show dev cni0");
        assert!(addresses.contains("10.22.0.1/16") && !addresses.contains("10.22.9.9"), "{addresses}");
        web.pings("10.22.0.1");
    });
}

#[test]
fn an_attachment_is_made_once() {
    run(here!(), || {
        World::new();
        let runtime = runtime(&bridge(json!({})));
        let (web, attachment) = (Net::new("web"), Attachment::of("web"));
        runtime.add(&attachment).unwrap();
        runtime.add(&attachment).unwrap_err();
        web.pings("10.22.0.1");
        runtime.add(&attachment.clone().at("net1")).unwrap();
        assert_eq!(reserved(), 2);
        runtime.del(&attachment).unwrap();
        web.pings("10.22.0.1");
        // Somebody else's interface is not touched either.
        web.sh("ip link add eth0 type veth peer name other0");
        let error = runtime.add(&attachment).unwrap_err();
        assert!(error.text.contains("eth0"), "{error}");
        assert!(web.succeeds("ip link show eth0"));
        assert_eq!(reserved(), 1);
    });
}

#[test]
fn every_version_has_its_result() {
    run(here!(), || {
        install();
        World::new();
        let _web = Net::new("web");
        for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let mut config = bridge(json!({ "cniVersion": version, "name": "pods" }));
            let call = |verb: &str| Call::new("bridge", verb, "/run/netns/web");
            let result = call("ADD").with(&config.to_string()).result();
            assert_eq!(result["cniVersion"], version);
            if version < "0.3.0" {
                assert!(result["ip4"]["ip"].as_str().unwrap().starts_with("10.22.0."), "{result:#}");
                assert_eq!(result["ip4"]["routes"], json!([{ "dst": "0.0.0.0/0", "gw": "10.22.0.1" }]));
            } else {
                assert_eq!(result["interfaces"].as_array().unwrap().len(), 3, "{result:#}");
                let expected = if version < "1.0.0" { json!("4") } else { Value::Null };
                assert_eq!(result["ips"][0]["version"], expected);
            }
            config["prevResult"] = result;
            if version >= "0.4.0" {
                call("CHECK").with(&config.to_string()).is_silent();
            }
            call("DEL").with(&config.to_string()).is_silent();
        }
        assert_eq!(reserved(), 0);
    });
}

#[test]
fn what_the_runtime_forgot_is_collected() {
    run(here!(), || {
        World::new();
        let runtime = runtime(&bridge(json!({ "ipMasq": true })));
        let (web, db) = (Net::new("web"), Net::new("db"));
        for name in ["web", "db"] {
            runtime.add(&Attachment::of(name)).unwrap();
        }
        runtime.forget(&Attachment::of("db"));
        runtime.gc(&[&Attachment::of("web")]).unwrap();
        web.pings("10.22.0.1");
        assert!(!db.succeeds("ip link show eth0"));
        assert_eq!(reserved(), 1);
        runtime.gc(&[]).unwrap();
        assert_eq!(reserved(), 0);
    });
}

#[test]
fn what_another_program_attached_is_detached() {
    run(here!(), || {
        let runtime = runtime(&bridge(json!({})));
        let web = Net::new("web");
        fs::create_dir_all(format!("{RESERVED}/pods")).unwrap();
        fs::write(format!("{RESERVED}/pods/10.22.0.9"), "web\r\neth0").unwrap();
        web.sh("ip link add eth0 type veth peer name other0");
        runtime.del(&Attachment::of("web")).unwrap();
        assert!(!web.succeeds("ip link show eth0"));
        assert!(!Path::new(RESERVED).join("pods/10.22.0.9").exists());
    });
}

#[test]
fn vm_a_vlan_parts_containers_and_has_a_gateway() {
    run(here!(), || {
        World::new();
        let (red, blue, more) = (Net::new("red"), Net::new("blue"), Net::new("more"));
        let of = |vlan: u16, subnet: &str, name: &str| {
            let ipam = json!({ "type": "host-local", "subnet": subnet, "dataDir": RESERVED });
            let config = bridge(json!({ "vlan": vlan, "ipam": ipam }));
            let list = json!({ "cniVersion": "1.1.0", "name": name, "plugins": [config] });
            Runtime::new([LINKS], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN)
        };
        install();
        if !run_tool("ip link add vlans type bridge vlan_filtering 1").0 {
            crate::support::skip("this kernel has no bridges that tell VLANs apart");
            return;
        }
        sh("ip link del vlans");
        let (reds, blues) = (of(100, "10.22.1.0/24", "reds"), of(200, "10.22.1.0/24", "blues"));
        let result = reds.add(&Attachment::of("red")).unwrap();
        assert_eq!(result["interfaces"][3]["name"], "cni0.100");
        reds.add(&Attachment::of("more")).unwrap();
        blues.add(&Attachment::of("blue")).unwrap();
        red.pings("10.22.1.1");
        more.pings("10.22.1.2");
        more.sh("ip neigh flush all");
        // The same address elsewhere is somebody else.
        assert!(sh("bridge vlan show").contains("100"));
        blue.sh("ip address flush dev eth0; ip address add 10.22.1.9/24 dev eth0");
        blue.pings_in_vain("10.22.1.3");
        reds.check(&Attachment::of("red")).unwrap();
        reds.del(&Attachment::of("red")).unwrap();
        more.pings("10.22.1.1");
    });
}
