//! firewall: a way through another's, and who is kept from whom.

use linkspan_lab::{Attachment, Runtime};
use serde_json::{Value, json};

use super::calling::{LINKS, install};
use super::chain::usual;
use crate::support::*;

/// The usual chain with these keys for the plugin, or without it.
fn runtime(firewall: Option<Value>) -> Runtime {
    install();
    let mut list = usual("1.0.0");
    let plugins = list["plugins"].as_array_mut().unwrap();
    match firewall {
        None => _ = plugins.remove(2),
        Some(keys) => plugins[2].as_object_mut().unwrap().extend(keys.as_object().unwrap().clone()),
    }
    Runtime::new([LINKS], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN)
}

#[test]
fn containers_pass_a_firewall_that_drops_what_nobody_accepts() {
    run(here!(), || {
        if !has("iptables") {
            return;
        }
        let world = World::new();
        sh("iptables -P FORWARD DROP");
        let before = sh("iptables -S");
        let (web, of_web) = (Net::new("web"), Attachment::of("web").port(8080, 80));
        let without = runtime(None);
        without.add(&of_web).unwrap();
        web.pings_in_vain("192.0.2.9");
        without.del(&of_web).unwrap();

        let runtime = runtime(Some(json!({ "iptablesAdminChainName": "SITE" })));
        runtime.add(&of_web).unwrap();
        serve(&web, &[80]);
        web.pings("192.0.2.9");
        world.outside.reaches("192.0.2.1:8080");
        world.outside.pings_in_vain("10.22.0.3");
        runtime.check(&of_web).unwrap();
        let rules = sh("iptables -S");
        assert!(rules.contains("-A FORWARD -m comment --comment linkspan -j CNI-FORWARD"), "{rules}");
        let (_other, of_other) = (Net::new("other"), Attachment::of("other"));
        runtime.add(&of_other).unwrap();
        assert_eq!(sh("iptables -S"), rules, "a bridge is let pass once");

        sh("iptables -A SITE -d 192.0.2.9 -j DROP");
        web.pings_in_vain("192.0.2.9");
        sh("iptables -F SITE && iptables -F CNI-FORWARD");
        assert!(runtime.check(&of_web).unwrap_err().text.contains("CNI-FORWARD"));
        runtime.del(&of_other).unwrap();
        runtime.add(&of_other).unwrap();
        web.pings("192.0.2.9");
        for attachment in [&of_other, &of_web] {
            runtime.del(attachment).unwrap();
        }
        linkspan("network rm pods");
        assert_eq!(sh("iptables -S"), before);
    });
}

#[test]
fn a_way_of_its_own_goes_with_the_container() {
    run(here!(), || {
        if !has("iptables") {
            return;
        }
        let _world = World::new();
        sh("iptables -P FORWARD DROP");
        let before = sh("iptables -S");
        install();
        let ipam = json!({
            "type": "host-local", "subnet": "10.23.0.0/24", "dataDir": "/run/cni/networks",
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        let plugins = json!([{ "type": "ptp", "ipMasq": true, "ipam": ipam }, { "type": "firewall" }]);
        let list = json!({ "cniVersion": "1.0.0", "name": "routed", "plugins": plugins });
        let runtime =
            Runtime::new([LINKS], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN);
        let (a, of_a) = (Net::new("a"), Attachment::of("a"));
        runtime.add(&of_a).unwrap();
        a.pings("192.0.2.9");
        runtime.check(&of_a).unwrap();
        runtime.del(&of_a).unwrap();
        assert_eq!(sh("iptables -S"), before);
    });
}

#[test]
fn isolated_containers_of_a_bridge_do_not_meet() {
    run(here!(), || {
        let world = World::new();
        let (a, b) = (Net::new("a"), Net::new("b"));
        let attachments = [Attachment::of("a"), Attachment::of("b")];
        for (policy, meet) in [("same-bridge", true), ("isolated", false)] {
            let runtime = runtime(Some(json!({ "ingressPolicy": policy })));
            let results = attachments.each_ref().map(|attachment| runtime.add(attachment).unwrap());
            let address = results[1]["ips"][0]["address"].as_str().unwrap().replace("/16", "");
            if meet {
                a.pings(&address)
            } else {
                a.pings_in_vain(&address)
            }
            b.pings("192.0.2.9");
            world.host.pings(&address);
            attachments.iter().for_each(|attachment| runtime.check(attachment).unwrap());
            attachments.iter().for_each(|attachment| runtime.del(attachment).unwrap());
        }
    });
}
