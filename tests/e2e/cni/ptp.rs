//! `ptp`.

use linkspan_lab::Attachment;
use serde_json::{Value, json};

use super::bridge::{devices, reserved, runtime};
use crate::support::{Net, Protocol, Reach, World, here, run, serve, sh, source};

fn ptp(more: Value) -> Value {
    let ranges = json!([[{ "subnet": "10.33.0.0/24" }], [{ "subnet": "fd00:33::/66" }]]);
    let routes = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    let ipam =
        json!({ "type": "host-local", "ranges": ranges, "routes": routes, "dataDir": "/run/cni/networks" });
    let mut config = json!({ "type": "ptp", "ipam": ipam });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[test]
fn the_host_routes_between_containers_and_the_world() {
    run(here!(), || {
        let world = World::new();
        let runtime = runtime(&ptp(json!({ "ipMasq": true, "mtu": 1400, "dns": { "nameservers": [] } })));
        let (web, db) = (Net::new("web"), Net::new("db"));
        let before = devices();
        let result = runtime.add(&Attachment::of("web")).unwrap();
        for gateway in ["10.33.0.1", "fd00:33::1"] {
            web.pings(gateway);
        }
        runtime.add(&Attachment::of("db")).unwrap();
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 2);
        assert!(result["ips"].as_array().unwrap().iter().all(|ip| ip["interface"] == 1));
        serve(&web, &[80]);
        serve(&world.outside, &[80]);
        // The subnet is not on the link: what is for a neighbour goes by way of the host.
        assert_eq!(source(&db, Protocol::Tcp, "10.33.0.2:80"), "10.33.0.3");
        db.pings("fd00:33::2");
        world.host.reaches("10.33.0.2:80");
        assert_eq!(source(&db, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
        assert!(web.sh("ip link show eth0").contains("mtu 1400"));
        runtime.check(&Attachment::of("web")).unwrap();
        runtime.status().unwrap();
        web.sh("ip route del 10.33.0.0/24");
        runtime.check(&Attachment::of("web")).unwrap_err();
        for name in ["web", "db", "web"] {
            runtime.del(&Attachment::of(name)).unwrap();
        }
        assert_eq!((devices(), reserved()), (before, 0));
        assert!(!sh("ip route").contains("10.33.0"));
    });
}

#[test]
fn an_address_without_a_gateway_is_refused_and_given_back() {
    run(here!(), || {
        let _web = Net::new("web");
        let config = json!({ "type": "ptp", "ipam": { "type": "static", "addresses": [{ "address": "10.33.0.2/24" }] } });
        let error = runtime(&config).add(&Attachment::of("web")).unwrap_err();
        assert!(error.text.contains("no gateway for 10.33.0.2/24"), "{error}");
        assert_eq!(devices(), ["lo"]);
    });
}
