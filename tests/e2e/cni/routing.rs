//! Plugins that change how a container routes: sbr, vrf.

use linkspan_lab::{Attachment, Runtime};
use serde_json::{Value, json};

use super::calling::{LINKS, install};
use crate::support::*;

fn runtime(list: &Value) -> Runtime {
    install();
    let list = json!({ "cniVersion": "1.0.0", "name": "lan", "plugins": list });
    Runtime::new([LINKS], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN)
}

/// net1 on the LAN, whose router is 192.0.2.9.
fn on_the_lan() -> Value {
    let addresses = json!([{ "address": "192.0.2.50/24", "gateway": "192.0.2.9" }]);
    json!({ "type": "macvlan", "ipam": { "type": "static", "addresses": addresses } })
}

/// A container whose default route leads nowhere.
fn container() -> Net {
    let net = Net::new("a");
    net.sh("ip link add eth0 type veth peer name eth9 && ip link set eth0 up && ip link set eth9 up");
    net.sh("ip address add 10.0.0.2/24 dev eth0 && ip route add default via 10.0.0.1");
    net
}

/// The outside, whose own address is beyond the LAN.
fn beyond(lan: &Switched) -> bool {
    lan.outside.succeeds("ping -n -c 1 -W 1 -I 198.51.100.9 192.0.2.50")
}

#[test]
fn what_an_interface_sends_goes_by_its_own_routes() {
    run(here!(), || {
        let lan = Switched::new();
        lan.outside.sh("ip address add 198.51.100.9/32 dev lo");
        let a = container();
        let net1 = Attachment::of("a").at("net1");
        let plain = runtime(&json!([on_the_lan()]));
        plain.add(&net1).unwrap();
        assert!(!beyond(&lan));
        plain.del(&net1).unwrap();
        let (rules, routes) = (a.sh("ip rule"), a.sh("ip -4 route show table all"));

        let runtime = runtime(&json!([on_the_lan(), { "type": "sbr" }]));
        let result = runtime.add(&net1).unwrap();
        assert_eq!(result["ips"][0]["address"], "192.0.2.50/24", "{result:#}");
        assert!(beyond(&lan));
        assert!(a.sh("ip rule").contains("from 192.0.2.50 lookup 100"));
        assert!(!a.sh("ip route show").contains("net1"), "{}", a.sh("ip route show"));
        runtime.check(&net1).unwrap();
        a.sh("ip rule delete from 192.0.2.50");
        assert!(runtime.check(&net1).unwrap_err().text.contains("rule from 192.0.2.50/32"));
        for _ in 0..2 {
            runtime.del(&net1).unwrap();
        }
        assert_eq!((a.sh("ip rule"), a.sh("ip -4 route show table all")), (rules, routes));
    });
}

#[test]
fn routes_come_back_if_only_their_rules_go() {
    run(here!(), || {
        let _lan = Switched::new();
        let a = container();
        a.sh("ip link add net1 type veth peer name net9 && ip link set net1 up && ip link set net9 up");
        a.sh("ip address add 192.0.2.50/24 dev net1 && ip route add 203.0.113.0/24 via 192.0.2.9");
        let shown =
            || a.sh("ip rule; ip -4 route show table all | sed 's/ proto [a-z]*//; s/ linkdown//' | sort");
        let before = shown();
        // Somebody else's plugin made net1.
        let config = |gateway: &str| {
            json!({
                "cniVersion": "1.0.0", "name": "lan", "type": "sbr", "gateways": [gateway],
                "prevResult": {
                    "interfaces": [{ "name": "net1", "sandbox": "/run/netns/a" }],
                    "ips": [{ "address": "192.0.2.50/24", "gateway": "192.0.2.9", "interface": 0 }],
                },
            })
            .to_string()
        };
        install();
        let call =
            |verb: &str| super::calling::Call::new("sbr", verb, "/run/netns/a").env("CNI_IFNAME", "net1");
        call("ADD").with(&config("192.0.2.8")).result();
        let table = a.sh("ip route show table 100");
        assert!(
            table.contains("default via 192.0.2.8") && table.contains("203.0.113.0/24 via 192.0.2.9"),
            "{table}"
        );
        call("DEL").with(&config("192.0.2.8")).is_silent();
        assert_eq!(shown(), before);
        // A gateway that is nowhere.
        call("ADD").with(&config("172.16.0.1")).error(999);
        assert_eq!(shown(), before);
    });
}

#[test]
fn vm_an_interface_may_be_in_a_routing_domain() {
    run(here!(), || {
        let lan = Switched::new().ipv6();
        if !run_tool("ip link add probe0 type vrf table 9 && ip link delete probe0").0 {
            skip("this kernel has no VRFs");
            return;
        }
        lan.outside.sh("ip address add 198.51.100.9/32 dev lo");
        let a = container();
        let addresses = json!([
            { "address": "192.0.2.50/24", "gateway": "192.0.2.9" },
            { "address": "2001:db8::50/64" },
        ]);
        let main = json!({ "type": "macvlan", "ipam": {
            "type": "static", "addresses": addresses, "routes": [{ "dst": "198.51.100.0/24" }],
        }});
        let runtime = runtime(&json!([main, { "type": "vrf", "vrfName": "blue" }]));
        let net1 = Attachment::of("a").at("net1");
        runtime.add(&net1).unwrap();
        a.sh("ip vrf exec blue ping -n -c 1 -W 1 192.0.2.9 || ping -n -c 1 -W 1 -I blue 192.0.2.9");
        assert!(beyond(&lan));
        assert!(a.sh("ip -6 address show dev net1").contains("2001:db8::50/64"));
        assert!(a.sh("ip route show vrf blue").contains("198.51.100.0/24 via 192.0.2.9"));
        runtime.check(&net1).unwrap();
        a.sh("ip link set net1 nomaster");
        assert!(runtime.check(&net1).is_err());
        runtime.del(&net1).unwrap();
        runtime.del(&net1).unwrap();
        assert!(!a.sh("ip link").contains("blue"));
    });
}
