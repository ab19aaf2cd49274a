//! Conflists run as runtimes do.

use linkspan_lab::{Attachment, Runtime};
use serde_json::{Value, json};

use crate::support::{Net, Protocol, Reach, World, has, here, run, serve, source};

/// Where Debian has the reference plugins.
pub const REFERENCE: &str = "/usr/lib/cni";

/// The conflist that most hosts have: a bridge with published ports, a firewall and settings.
pub fn usual(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": "10.22.0.0/16" }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": "/run/cni/networks",
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
            { "type": "firewall" },
            { "type": "tuning", "sysctl": { "net.core.somaxconn": "500" } },
        ],
    })
}

#[test]
fn the_reference_chain_publishes_a_port() {
    run(here!(), || {
        if !has(&format!("{REFERENCE}/bridge")) || !has("iptables") {
            return;
        }
        let world = World::new();
        let runtime = Runtime::new([REFERENCE], usual("1.0.0"));
        let (web, eth0) = (Net::new("web"), Attachment::of("web").port(8080, 80));
        let result = runtime.add(&eth0).unwrap();
        assert_eq!(result["ips"][0]["address"], "10.22.0.2/16", "{result:#}");
        serve(&web, &[80]);
        world.outside.reaches("192.0.2.1:8080");
        assert_eq!(source(&web, Protocol::Tcp, "192.0.2.1:8080"), "10.22.0.1");
        runtime.del(&eth0).unwrap();
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
        assert_eq!(web.sh("ip -br link").lines().count(), 1);
        runtime.del(&eth0).unwrap();
    });
}
