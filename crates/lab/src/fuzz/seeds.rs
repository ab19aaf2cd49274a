//! Configurations and environments that are right.

use std::path::Path;

use serde_json::{Value, json};

use super::Case;

/// The plugins.
pub const NAMES: [&str; 18] = [
    "linkspan",
    "bridge",
    "ptp",
    "loopback",
    "macvlan",
    "ipvlan",
    "vlan",
    "host-device",
    "dummy",
    "tap",
    "vrf",
    "host-local",
    "static",
    "portmap",
    "firewall",
    "tuning",
    "bandwidth",
    "sbr",
];

/// A call of a plugin that is right, for any verb.
pub fn case(plugin: &str, verb: &str, plugins: &Path) -> Case {
    let chained = is_chained(plugin);
    let netns = if chained { "/run/netns/chained" } else { "/run/netns/bare" };
    let environment = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "fuzz-1"),
        ("CNI_NETNS", netns),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", &plugins.to_string_lossy()),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=fuzz"),
    ];
    let environment = environment.map(|(key, value)| (key.into(), value.into())).to_vec();
    let mut config = json!({ "cniVersion": "1.1.0", "name": "fuzz", "type": plugin });
    let own = own(plugin);
    config
        .as_object_mut()
        .into_iter()
        .for_each(|config| config.extend(own.as_object().cloned().unwrap_or_default()));
    if chained {
        config["prevResult"] = previous();
    }
    if verb == "GC" {
        config["cni.dev/valid-attachments"] = json!([{ "containerID": "other", "ifname": "eth0" }]);
        config["cni.dev/attachments"] = config["cni.dev/valid-attachments"].clone();
    }
    Case { plugin: plugin.to_owned(), environment, stdin: config.to_string().into_bytes() }
}

fn is_chained(plugin: &str) -> bool {
    matches!(plugin, "vrf" | "portmap" | "firewall" | "tuning" | "bandwidth" | "sbr")
}

/// What a plugin before would have given for the interface in namespace `chained`.
fn previous() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": "cni7" }, { "name": "fuzz0" },
            { "name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/chained" },
        ],
        "ips": [{ "address": "10.23.0.5/16", "gateway": "10.23.0.1", "interface": 2 }],
        "routes": [{ "dst": "0.0.0.0/0", "gw": "10.23.0.1", "priority": 5 }],
        "dns": { "nameservers": ["10.23.0.1"] },
    })
}

fn ipam() -> Value {
    json!({
        "type": "host-local", "dataDir": "/run/cni/networks", "routes": [{ "dst": "0.0.0.0/0" }],
        "ranges": [
            [{ "subnet": "10.22.0.0/24", "rangeStart": "10.22.0.10", "rangeEnd": "10.22.0.200", "gateway": "10.22.0.1" }],
            [{ "subnet": "fd00:22::/64" }],
        ],
    })
}

/// A plugin's own keys.
fn own(plugin: &str) -> Value {
    let ports = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "" }]);
    let rates = json!({ "ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 8_000_000, "egressBurst": 800_000 });
    match plugin {
        "linkspan" => {
            json!({ "network": "bridge", "runtimeConfig": { "portMappings": ports, "bandwidth": rates } })
        }
        "bridge" => json!({
            "bridge": "cni1", "isGateway": true, "ipMasq": true, "hairpinMode": true, "mtu": 1400, "macspoofchk": true,
            "enabledad": false, "portIsolation": true, "ipam": ipam(), "runtimeConfig": { "mac": "02:11:22:33:44:55" },
        }),
        "ptp" => {
            json!({ "ipMasq": true, "mtu": 1400, "dns": { "nameservers": ["10.1.1.1"] }, "ipam": ipam() })
        }
        "macvlan" => json!({ "master": "card0", "mode": "bridge", "mtu": 1400, "ipam": ipam() }),
        "ipvlan" => json!({ "master": "card0", "mode": "l2", "ipam": ipam() }),
        "vlan" => json!({ "master": "card0", "vlanId": 7, "ipam": ipam() }),
        "host-device" => json!({ "device": "card1" }),
        "dummy" => json!({ "ipam": ipam() }),
        "tap" => json!({ "multiQueue": true, "mtu": 1400, "owner": 0, "group": 0, "ipam": ipam() }),
        "vrf" => json!({ "vrfname": "blue", "table": 1001 }),
        "host-local" => json!({ "ipam": ipam(), "args": { "cni": { "ips": ["10.22.0.50"] } } }),
        "static" => json!({ "ipam": {
            "type": "static", "addresses": [{ "address": "10.22.0.5/24", "gateway": "10.22.0.1" }],
            "routes": [{ "dst": "0.0.0.0/0" }], "dns": { "nameservers": ["10.1.1.1"] },
        } }),
        "portmap" => {
            json!({ "snat": true, "masqAll": false, "markMasqBit": 13, "runtimeConfig": { "portMappings": ports } })
        }
        "firewall" => json!({ "backend": "iptables", "ingressPolicy": "same-bridge" }),
        "tuning" => json!({
            "sysctl": { "net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1" }, "mtu": 1400,
            "mac": "02:11:22:33:44:55", "promisc": true, "allmulti": true, "txQLen": 500, "dataDir": "/run/cni/tuning",
        }),
        "bandwidth" => json!({ "runtimeConfig": { "bandwidth": rates } }),
        "sbr" => json!({ "table": 200 }),
        _ => json!({}),
    }
}
