//! Whatever Podman sends, nothing falls over it; and what `create` has completed, it leaves as it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ipnet::IpNet;
use linkspan_netavark::{CreateRequest, Error, Facts, Network, NetworkOptions, create};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A host with one device, one route and a third party's driver.
struct Somewhere;

impl Facts for Somewhere {
    fn has_device(&mut self, name: &str) -> Result<bool, Error> {
        Ok(name == "lan0")
    }

    fn prefixes(&mut self) -> Result<Vec<IpNet>, Error> {
        Ok(vec!["10.89.0.0/24".parse().unwrap()])
    }

    fn chance(&mut self) -> Result<[u8; 7], Error> {
        Ok([7; 7])
    }

    fn ask(&mut self, network: &Network) -> Result<Network, Error> {
        Ok(network.clone())
    }

    fn now(&self) -> String {
        "2026-01-01T00:00:00Z".to_owned()
    }
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(words).prop_map(|word| json!(word))
}

fn subnet() -> impl Strategy<Value = Value> {
    const NETS: &[&str] =
        &["10.1.0.0/24", "10.1.0.0/16", "10.2.3.4/31", "fd00::/64", "fd00::/128", "0.0.0.0/0"];
    const ADDRESSES: &[&str] = &["10.1.0.1", "10.1.0.200", "fd00::1", "255.255.255.255"];
    let range = (word(ADDRESSES), word(ADDRESSES));
    let range = range.prop_map(|(start, end)| json!({"start_ip": start, "end_ip": end}));
    let parts = (word(NETS), prop::option::of(word(ADDRESSES)), prop::option::weighted(0.2, range));
    parts.prop_map(|(net, gateway, range)| json!({"subnet": net, "gateway": gateway, "lease_range": range}))
}

fn options() -> impl Strategy<Value = Value> {
    const KEYS: &[&str] =
        &["mtu", "vlan", "mode", "isolate", "metric", "com.docker.network.bridge.name", "bclim", "other"];
    const VALUES: &[&str] = &["", "0", "1500", "99999999999", "true", "strict", "managed", "unmanaged", "l2"];
    let pairs = prop::collection::btree_map(prop::sample::select(KEYS), prop::sample::select(VALUES), 0..3);
    pairs.prop_map(|pairs| json!(pairs))
}

prop_compose! {
    fn network()(
        driver in word(&["bridge", "bridge", "macvlan", "ipvlan", "other", ""]),
        interface in prop::option::of(word(&["lan0", "br0", "podman1", "", "a b", "..", "longer-than-any-name"])),
        ipam in prop::option::of(word(&["host-local", "dhcp", "none", "", "x"])),
        subnets in prop::option::of(prop::collection::vec(subnet(), 0..3)),
        options in prop::option::of(options()),
        flags in any::<[bool; 3]>(),
    ) -> Value {
        json!({
            "name": "n1", "id": "a".repeat(64), "driver": driver, "network_interface": interface,
            "ipam_options": ipam.map(|ipam| json!({"driver": ipam})), "subnets": subnets, "options": options,
            "internal": flags[0], "dns_enabled": flags[1], "ipv6_enabled": flags[2],
        })
    }
}

fn request(network: &Value, size: u8, used: &[&str]) -> Option<CreateRequest> {
    let pools = json!([{"base": "10.89.0.0/16", "size": size}, {"base": "0.0.0.0/0", "size": 32}]);
    let options =
        json!({"subnet_pools": pools, "default_interface_name": "podman", "check_used_subnets": true});
    let whole = json!({"network": network, "used": {"subnets": used}, "options": options});
    serde_json::from_value(whole).ok()
}

proptest! {
    #[test]
    fn what_is_complete_stays_as_it_is(network in network(), size in 0..40_u8, is_used: bool) {
        let used: &[&str] = if is_used { &["10.0.0.0/9", "::/1"] } else { &[] };
        let Some(asked) = request(&network, size, used) else { return Ok(()) };
        let Ok(made) = create(asked, &mut Somewhere) else { return Ok(()) };
        // One that has IPv6 alone is given IPv4 too if it says that it is to have IPv6, as it does now.
        let mut subnets = made.subnets.iter().flatten().peekable();
        prop_assume!(subnets.peek().is_none() || subnets.any(|subnet| subnet.subnet.addr().is_ipv4()));
        let again = request(&serde_json::to_value(&made).unwrap(), size, used).unwrap();
        prop_assert_eq!(create(again, &mut Somewhere), Ok(made));
    }

    #[test]
    fn no_text_is_too_strange_to_be_read(text in "[\\[\\]{}:,\"a-z0-9./]{0,60}") {
        _ = serde_json::from_str::<CreateRequest>(&text);
        _ = serde_json::from_str::<NetworkOptions>(&text);
    }
}
