//! Names of containers on Linkspan's own plugin.

use serde_json::{Value, json};

use super::calling::Call;
use crate::support::*;

/// A call for the container `id`, whose namespace is pinned under that name; gives what is printed.
fn call(verb: &str, id: &str, with: &Value) -> String {
    let mut config = json!({
        "cniVersion": "1.0.0", "name": "lab", "type": "linkspan", "subnet": "10.7.0.0/24",
        "capabilities": { "aliases": true },
    });
    let fields = with.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(fields);
    let said =
        Call::native(verb, &format!("/run/netns/{id}")).env("CNI_CONTAINERID", id).with(&config.to_string());
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out
}

#[test]
fn containers_find_each_other_by_name_if_they_are_to() {
    run(here!(), || {
        if !has("dig") {
            return;
        }
        let containers = ["c1", "c2", "c3"].map(Net::new);
        let named = json!({ "names": true, "runtimeConfig": { "aliases": ["db"] }, "dns": {
            "nameservers": ["192.0.2.53"], "search": ["example.org"]
        } });
        let result: Value = serde_json::from_str(&call("ADD", "c1", &named)).unwrap();
        assert_eq!(result["dns"]["nameservers"], json!(["127.0.0.11"]));
        assert_eq!(result["dns"]["search"], json!(["example.org"]));
        call("ADD", "c2", &json!({ "names": true }));
        let plain: Value = serde_json::from_str(&call("ADD", "c3", &json!({}))).unwrap();
        assert!(plain["dns"]["nameservers"].is_null(), "{plain}");
        let ask = |name: &str| containers[1].sh(&format!("dig @127.0.0.11 +short +time=2 +tries=3 {name}"));
        assert_eq!(ask("db"), "10.7.0.2\n");
        assert_eq!(ask("c1"), "10.7.0.2\n");
        // Sandboxes of ours on the same network know them, and are known.
        linkspan("sandbox create --net lab web");
        assert_eq!(ask("web"), "10.7.0.5\n");
        assert_eq!(Net::pinned("web").sh("dig @127.0.0.11 +short +time=2 +tries=3 db"), "10.7.0.2\n");
        assert_eq!(containers[2].sh("nft list ruleset"), "");
        call("DEL", "c2", &json!({ "names": true }));
        assert_eq!(containers[1].sh("nft list ruleset"), "");
    });
}
