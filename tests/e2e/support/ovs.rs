//! Open vSwitch with its userspace datapath, in the test's own namespaces.

use std::fs::OpenOptions;

use linkspan_lab::{Net, sh};

use super::snapshot::has;

/// Where its tools and Linkspan look for its socket. /run is the test's own.
const DIR: &str = "/run/openvswitch";

/// The two daemons of Open vSwitch; they end with the test.
pub struct OpenVSwitch(());

impl OpenVSwitch {
    /// Starts both with an empty database; none, and the test says that it is skipped, where that does not go.
    pub fn start() -> Option<Self> {
        if !["ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ethtool"].iter().all(|program| has(program)) {
            return None;
        }
        if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
            linkspan_lab::skip(&format!("bridges of the userspace datapath need /dev/net/tun: {error}"));
            return None;
        }
        sh(&format!(
            "mkdir -p {DIR} && ovsdb-tool create {DIR}/conf.db /usr/share/openvswitch/vswitch.ovsschema"
        ));
        let switch = Self(());
        switch.start_database();
        sh("ovs-vsctl --no-wait init");
        switch.start_daemon();
        Some(switch)
    }

    pub fn start_database(&self) {
        let quiet = format!("-vconsole:off --log-file={DIR}/ovsdb-server.log");
        sh(&format!(
            "ovsdb-server {DIR}/conf.db --remote=punix:{DIR}/db.sock {quiet} \
             --pidfile={DIR}/ovsdb-server.pid --detach"
        ));
    }

    pub fn start_daemon(&self) {
        let quiet = format!("-vconsole:off --log-file={DIR}/ovs-vswitchd.log");
        sh(&format!(
            "ovs-vswitchd unix:{DIR}/db.sock {quiet} --disable-system \
             --pidfile={DIR}/ovs-vswitchd.pid --detach"
        ));
    }

    /// Kills the database server, which leaves its socket behind.
    pub fn stop_database(&self) {
        kill("ovsdb-server");
    }

    /// Kills the daemon that has the datapath.
    pub fn stop_daemon(&self) {
        kill("ovs-vswitchd");
    }

    /// Makes a bridge.
    pub fn bridge(&self, name: &str) -> &Self {
        sh(&format!("ovs-vsctl -t 10 add-br {name} -- set bridge {name} datapath_type=netdev"));
        self
    }

    /// A machine at a port of `bridge`, as with a cable: what it sends has its checksums.
    pub fn machine(&self, bridge: &str, name: &str, address: &str) -> Net {
        let machine = Net::new(name);
        sh(&format!("ip link add {name}-0 type veth peer name eth0 netns {name} && ip link set {name}-0 up"));
        machine.sh(&format!(
            "ip address add {address} dev eth0 && ip link set eth0 up && ethtool -K eth0 tx off"
        ));
        sh(&format!("ovs-vsctl -t 10 add-port {bridge} {name}-0"));
        machine
    }

    /// What its own tools show of it.
    pub fn show(&self) -> String {
        sh("ovs-vsctl -t 10 show")
    }
}

fn kill(daemon: &str) {
    sh(&format!(
        "pid=$(cat {DIR}/{daemon}.pid) && kill -9 $pid && rm -f {DIR}/{daemon}.pid && \
         while kill -0 $pid 2>/dev/null; do sleep 0.02; done"
    ));
}
