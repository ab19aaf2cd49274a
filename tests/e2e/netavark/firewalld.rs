//! A host whose firewall is firewalld, the real one, on a bus of its own.
#![allow(clippy::disallowed_methods, reason = "firewalld and its bus are processes")]

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::calling::Backend;
use super::firewall::{Place, world};
use crate::support::*;

const BUS: &str = "/run/firewalld-bus";
const CONFIG: &str = "/run/firewalld-config";

/// firewalld with its bus; both end with it.
struct Firewalld(Vec<Child>);

impl Firewalld {
    /// Starts it, if it is installed.
    fn start() -> Option<Self> {
        if !has("firewalld") || !has("dbus-daemon") {
            return None;
        }
        let policy = "<busconfig><listen>unix:path=/run/firewalld-bus</listen><auth>EXTERNAL</auth>\
            <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_type=\"method_call\"/>\
            <allow send_type=\"signal\"/><allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
            <allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"method_call\"/>\
            <allow receive_type=\"method_return\"/><allow receive_type=\"error\"/>\
            <allow receive_type=\"signal\"/></policy></busconfig>";
        sh(&format!("mkdir -p {CONFIG}; printf '%s' '{policy}' > /run/firewalld-bus.conf"));
        let mut all = Self(Vec::new());
        all.spawn("dbus-daemon", &["--nofork", "--config-file=/run/firewalld-bus.conf"]);
        Self::wait_until(|| std::path::Path::new(BUS).exists());
        all.spawn("firewalld", &["--nofork", "--nopid", "--system-config", CONFIG]);
        Self::wait_until(|| Self::asked("--state").0);
        Some(all)
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        let mut command = Command::new(program);
        command.args(args).env("DBUS_SYSTEM_BUS_ADDRESS", address());
        let log = std::fs::File::create(format!("/run/{program}.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.0.push(command.spawn().unwrap());
    }

    fn wait_until(mut done: impl FnMut() -> bool) {
        for _ in 0..300 {
            if done() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{}", sh("cat /run/dbus-daemon.log /run/firewalld.log"));
    }

    fn asked(question: &str) -> (bool, String) {
        run_tool(&format!("DBUS_SYSTEM_BUS_ADDRESS={} firewall-cmd {question}", address()))
    }

    fn trusts() -> String {
        Self::asked("--zone=trusted --list-sources").1
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        for child in self.0.iter_mut().rev() {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

fn address() -> String {
    format!("unix:path={BUS}")
}

fn place(number: u8, options: Value) -> Place {
    Place::new(number, options).env("DBUS_SYSTEM_BUS_ADDRESS", &address())
}

#[test]
fn networks_are_trusted_while_somebody_is_on_them_and_after_a_reload() {
    run(here!(), || {
        let world = world(3);
        let Some(mut firewalld) = Firewalld::start() else { return };
        sh("ip link set lo up");
        let web = place(1, json!({})).publishing(8001);
        let net = web.up();
        assert!(Firewalld::trusts().contains("10.89.1.0/24 fd89:1::/64"), "{}", Firewalld::trusts());
        world.outside.reaches("192.0.2.1:8001");
        net.reaches("192.0.2.9:80");
        assert!(Firewalld::asked("--reload").0);
        assert!(!Firewalld::trusts().contains("10.89.1.0/24"));
        let mut service = Command::new("/run/helpers/netavark");
        service.args(["--config", "/run/podman-networks", "firewalld-reload"]);
        service.env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN);
        firewalld.0.push(service.env("DBUS_SYSTEM_BUS_ADDRESS", address()).spawn().unwrap());
        Firewalld::wait_until(|| Firewalld::trusts().contains("10.89.1.0/24"));
        sh("nft flush table inet linkspan");
        assert!(Firewalld::asked("--reload").0);
        Firewalld::wait_until(|| Firewalld::trusts().contains("10.89.1.0/24"));
        Firewalld::wait_until(|| net.succeeds("ping -c 1 -W 1 192.0.2.9"));
        world.outside.reaches("192.0.2.1:8001");
        let inner = place(2, json!({})).with(json!({"internal": true}));
        inner.up();
        assert!(!Firewalld::trusts().contains("10.89.2.0/24"));
        inner.down();
        web.down();
        assert!(!Firewalld::trusts().contains("10.89.1.0/24"), "{}", Firewalld::trusts());
    });
}

#[test]
fn ports_are_not_published_where_firewalld_forwards_only_its_own() {
    run(here!(), || {
        let _world = world(3);
        let Some(_firewalld) = Firewalld::start() else { return };
        // Versions before 2.0 do not know of this, and forward what they are not told of.
        let knows =
            Firewalld::asked("--version").1.trim().split('.').next().is_some_and(|major| major >= "2");
        sh(&format!("echo StrictForwardPorts=yes > {CONFIG}/firewalld.conf"));
        assert!(Firewalld::asked("--reload").0);
        let web = place(1, json!({})).publishing(8001);
        let said = web.call("setup");
        if knows {
            let why = "Port forwarding not possible as firewalld StrictForwardPorts enabled";
            assert_eq!(said.error(), why);
            assert!(!Firewalld::trusts().contains("10.89.1.0/24"));
        } else {
            said.result();
            web.down();
        }
        place(2, json!({})).flags("--firewall-driver firewalld").up();
        assert!(Firewalld::trusts().contains("10.89.2.0/24"));
        assert_eq!(Backend::new().args("firewall-reload").with(&Value::Null).code, Some(0));
    });
}
