//! Networks whose addresses a DHCP server leases.

use serde_json::json;

use super::calling::{Backend, Container};
use crate::dhcp::Proxy;
use crate::support::*;

fn leased(name: &'static str, driver: &str) -> Container {
    let network = json!({
        "driver": driver,
        "network_interface": "lan",
        "ipam_options": {"driver": "dhcp"},
        "options": {"mode": if driver == "bridge" { "unmanaged" } else { "bridge" }},
    });
    Container::new(name, &network, &json!({}))
}

#[test]
fn macvlan_and_an_unmanaged_bridge_have_leases() {
    run(here!(), || {
        let Some(server) = Dnsmasq::of_host() else { return };
        let net = Net::new("c");
        let before = Snapshot::take();
        let missing = leased("c", "macvlan").refused();
        assert!(
            missing.starts_with("unable to obtain lease: socket \"/run/podman/nv-proxy.sock\""),
            "{missing}"
        );
        assert!(!net.sh("ip -br link").contains("eth0"), "nothing is left");
        before.is_unchanged();
        let _proxy = Proxy::start("");
        for driver in ["macvlan", "bridge"] {
            let container = leased("c", driver);
            let status = container.setup();
            let interface = &status["interfaces"]["eth0"];
            let told = interface["subnets"][0]["ipnet"].as_str().unwrap();
            assert!(told.starts_with("10.77.0.5") && told.ends_with("/24"), "{driver}: {status:#}");
            assert_eq!(interface["subnets"][0]["gateway"], "10.77.0.1");
            assert_eq!(status["dns_server_ips"], json!(["10.77.0.53"]));
            assert_eq!(status["dns_search_domains"], json!(["example.org"]));
            assert!(net.sh("ip address show eth0").contains(told));
            assert!(net.sh("ip route").contains("default via 10.77.0.1"));
            net.sh("ping -c 1 -W 2 10.77.0.1");
            assert_eq!(server.leased().len(), 1);
            container.teardown();
            until("the lease is given back", || server.leased().is_empty());
            assert!(!net.sh("ip -br link").contains("eth0"));
            container.teardown();
        }
        // A namespace that is gone holds nothing up.
        let container = leased("c", "macvlan");
        container.setup();
        drop(net);
        sh("ip netns delete c");
        let gone = Backend::new().args("teardown /run/netns/c").with(&container.input());
        assert_eq!((gone.code, gone.out.as_str()), (Some(0), ""), "{gone:?}");
    });
}
