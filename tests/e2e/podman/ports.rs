//! Published ports.

use super::host;
use crate::support::{Protocol, Reach, Traces, here, run_as_root, served, served_at_once, sh, source};

#[test]
fn ports_of_every_kind_are_published() {
    run_as_root(here!(), || {
        let Some((world, podman)) = host() else { return };
        podman.run("network create --subnet 10.30.0.0/24 --subnet fd30::/64 n1");
        sh("ip addr add 2001:db8::1/64 dev lan0 nodad");
        world.outside.sh("ip addr add 2001:db8::9/64 dev lan0 nodad");
        let before = Traces::find();
        let ports = "-p 8088:80 -p 127.0.0.1:8089:80 -p 8053:53/udp -p 7000-7004:7100-7104 -p 192.0.2.1:8090:80 \
                     -p [2001:db8::1]:8091:80";
        podman.run(&format!("run -d --name web --network n1 {ports} bb httpd -f -p '[::]:80'"));
        let web = podman.net("web");
        for port in 7100..7105 {
            web.serve_tcp(&format!("0.0.0.0:{port}"));
        }
        web.serve_udp("0.0.0.0:53");
        let outside = &world.outside;
        for address in ["192.0.2.1:8088", "[2001:db8::1]:8088", "192.0.2.1:8090", "[2001:db8::1]:8091"] {
            outside.enter(|| assert!(served(address), "{address}"));
        }
        assert!(served("127.0.0.1:8088") && served("127.0.0.1:8089"));
        outside.enter(|| assert!(!served_at_once("192.0.2.1:8089")));
        assert_eq!(source(outside, Protocol::Udp, "192.0.2.1:8053"), "192.0.2.9");
        for port in 7000..7005 {
            assert_eq!(source(outside, Protocol::Tcp, &format!("192.0.2.1:{port}")), "192.0.2.9");
        }
        // A neighbour on the same network, by the host's address.
        podman.run("run -d --name other --network n1 bb sleep 1000");
        podman.net("other").enter(|| assert!(served("192.0.2.1:8088")));
        podman.net("other").pings("10.30.0.1");
        let taken = podman.fails("run -d --name third --network n1 -p 8088:80 bb sleep 1000");
        assert!(taken.contains("8088"), "{taken}");
        podman.run("rm -t 0 -f web other third");
        before_is_back(&before, &podman);
    });
}

/// Podman takes a bridge away with the last container on it, and so do we.
fn before_is_back(before: &Traces, podman: &crate::support::Podman) {
    before.are_all();
    podman.run("network rm n1");
}

#[test]
fn published_ports_come_back_after_the_firewall_was_flushed() {
    run_as_root(here!(), || {
        let Some((world, podman)) = host() else { return };
        podman.run("run -d --name web -p 8088:80 bb httpd -f -p 80");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        let address =
            podman.run("inspect -f '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.MacAddress}}' web");
        sh("nft flush ruleset");
        world.outside.enter(|| assert!(!served_at_once("192.0.2.1:8088")));
        podman.run("network reload --all");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        let after =
            podman.run("inspect -f '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.MacAddress}}' web");
        assert_eq!(address, after);
        podman.run("restart -t 0 web");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        podman.run("rm -t 0 -f web");
    });
}

#[test]
fn a_pod_shares_its_ports_and_addresses() {
    run_as_root(here!(), || {
        let Some((world, podman)) = host() else { return };
        podman.run("network create n1");
        let before = Traces::find();
        // Without Podman's own pause program, which is not everywhere.
        podman.run(
            "pod create --name pod --network n1 -p 8088:80 --infra-image bb --infra-command 'sleep 1000'",
        );
        podman.run("run -d --pod pod --name web bb httpd -f -p 80");
        podman.run("run -d --pod pod --name other bb sleep 1000");
        world.outside.enter(|| assert!(served("192.0.2.1:8088")));
        podman.net("other").enter(|| assert!(served("127.0.0.1:80")));
        podman.run("run -d --name guest --network n1 bb sleep 1000");
        assert!(!podman.looked_up("guest", "pod").is_empty());
        podman.run("rm -t 0 -f guest");
        podman.run("pod rm -t 0 -f pod");
        before.are_all();
    });
}
