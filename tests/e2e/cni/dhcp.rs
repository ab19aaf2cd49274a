//! `dhcp` as an IPAM plugin, with its daemon and dnsmasq.
#![allow(clippy::disallowed_methods, reason = "an administrator starts the daemon")]

use std::process::{Child, Command};

use linkspan_lab::{Attachment, Runtime};
use serde_json::{Value, json};

use super::bridge::runtime;
use super::calling::{Call, LINKS, install};
use crate::support::{Dnsmasq, Net, here, run, run_tool, sh, until};

const SOCKET: &str = "/run/cni/dhcp.sock";

struct Daemon(Child);

impl Daemon {
    fn start(more: &str) -> Self {
        install();
        let mut command = Command::new(format!("{LINKS}/dhcp"));
        command.arg("daemon").args(more.split_whitespace());
        let daemon = Self(command.spawn().expect("start the daemon"));
        until("the daemon listens", || std::os::unix::net::UnixStream::connect(SOCKET).is_ok());
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn on_lan(kind: &str) -> Runtime {
    let ipam =
        json!({ "type": "dhcp", "provide": [{ "option": "host-name", "value": "pod" }], "priority": 42 });
    runtime(&match kind {
        "bridge" => json!({ "type": "bridge", "bridge": "lan", "ipam": ipam }),
        _ => json!({ "type": "macvlan", "master": "lan", "ipam": ipam }),
    })
}

fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().unwrap().to_owned()
}

#[test]
fn containers_have_leases_on_bridge_and_macvlan() {
    run(here!(), || {
        let Some(server) = Dnsmasq::of_host() else { return };
        let _daemon = Daemon::start("-pidfile /run/dhcp.pid");
        for kind in ["bridge", "macvlan"] {
            let runtime = on_lan(kind);
            runtime.status().unwrap();
            let (net, pod) = (Net::new("pod"), Attachment::of("pod"));
            let result = runtime.add(&pod).unwrap_or_else(|error| panic!("{kind}: {error:?}"));
            let address = address(&result);
            assert!(address.starts_with("10.77.0.5") && address.ends_with("/24"), "{address}");
            assert!(net.sh("ip address show eth0").contains(&address));
            assert!(
                net.sh("ip route").contains("default via 10.77.0.1 dev eth0 proto static metric 42"),
                "{}",
                net.sh("ip route")
            );
            net.sh("ping -c 1 -W 2 10.77.0.1");
            let plain = address.trim_end_matches("/24");
            let id: Vec<String> = b"\0pod/pods/eth0".iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(server.leased(), [format!("{plain} pod {}", id.join(":"))], "{kind}");
            runtime.check(&pod).unwrap();
            let acks = server.said("DHCPACK");
            until("it is renewed", || server.said("DHCPACK") > acks);
            runtime.del(&pod).unwrap();
            until("the lease is given back", || server.leased().is_empty());
            runtime.del(&pod).unwrap();
            sh("ip netns delete pod");
        }
        sh("kill -TERM $(cat /run/dhcp.pid)");
        until("the daemon ends", || !std::path::Path::new("/run/dhcp.pid").exists());
        assert!(on_lan("bridge").status().is_err());
    });
}

#[test]
fn what_the_runtime_knows_no_more_is_given_back_and_a_new_daemon_goes_on() {
    run(here!(), || {
        let Some(server) = Dnsmasq::of_host() else { return };
        let daemon = Daemon::start("");
        let runtime = on_lan("bridge");
        let (one, other) = (Attachment::of("one"), Attachment::of("other"));
        let _nets = (Net::new("one"), Net::new("other"));
        runtime.add(&one).unwrap();
        let kept = address(&runtime.add(&other).unwrap());
        drop(daemon);
        let acks = server.said("DHCPACK");
        let _daemon = Daemon::start("");
        until("both ask again", || server.said("DHCPACK") >= acks + 2);
        runtime.check(&other).unwrap();
        runtime.gc(&[&other]).unwrap();
        until("one lease is given back", || server.leased().len() == 1);
        assert!(kept.starts_with(server.leased()[0].split(' ').next().unwrap()));
        runtime.check(&other).unwrap();
    });
}

#[test]
fn a_lease_that_is_refused_takes_the_interface_down() {
    run(here!(), || {
        let Some(mut server) = Dnsmasq::of_host() else { return };
        let _daemon = Daemon::start("-resendtimeout 2s");
        let runtime = on_lan("bridge");
        let (net, pod) = (Net::new("pod"), Attachment::of("pod"));
        runtime.add(&pod).unwrap();
        server.forget();
        server.serve("10.77.0.70,10.77.0.79", "");
        until("the interface is down", || net.succeeds("ip -o link show eth0 | grep -q 'state DOWN'"));
        assert!(runtime.check(&pod).is_err());
        runtime.del(&pod).unwrap();
        // Nobody leases, so nothing is left.
        server.stop();
        let late = Attachment::of("late");
        let _net = Net::new("late");
        assert!(runtime.add(&late).is_err());
        assert!(!run_tool("ip -n late link show eth0").0);
    });
}

#[test]
fn without_a_daemon_it_says_so() {
    run(here!(), || {
        install();
        let config =
            json!({ "cniVersion": "1.1.0", "name": "pods", "type": "dhcp", "ipam": { "type": "dhcp" } });
        let said = Call::new("dhcp", "STATUS", "").without("CNI_NETNS").with(&config.to_string());
        assert!(
            said.out.contains("error dialing DHCP daemon") && said.out.contains("\"code\": 50"),
            "{said:?}"
        );
    });
}
