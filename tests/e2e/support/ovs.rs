//! Open vSwitch in the test's own namespaces.

use std::fs::OpenOptions;

use linkspan_lab::{Net, run_tool, sh, skip};

use super::snapshot::has;

/// Where its tools and Linkspan look for its socket. /run is the test's own.
const DIR: &str = "/run/openvswitch";

/// Who moves the packets of its bridges; the name is that of `datapath_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Datapath {
    /// ovs-vswitchd itself.
    Netdev,
    /// The kernel.
    System,
}

impl Datapath {
    /// Whether it works here; if not, the test says that it is skipped.
    fn works(self) -> bool {
        let why = match self {
            Self::Netdev => match OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
                Ok(_) => return true,
                Err(error) => {
                    format!("bridges of Open vSwitch's userspace datapath need /dev/net/tun: {error}")
                }
            },
            Self::System => match run_tool("ovs-dpctl add-dp probe && ovs-dpctl del-dp probe").0 {
                true => return true,
                false => "this kernel has no datapath for Open vSwitch (CONFIG_OPENVSWITCH)".to_owned(),
            },
        };
        skip(&why);
        false
    }

    const fn name(self) -> &'static str {
        if matches!(self, Self::Netdev) { "netdev" } else { "system" }
    }
}

/// The two daemons of Open vSwitch; they end with the test.
pub struct OpenVSwitch(Datapath);

impl OpenVSwitch {
    /// Starts both with an empty database, for bridges of the userspace datapath; none, and the test says that it is
    /// skipped, where that does not go.
    pub fn start() -> Option<Self> {
        Self::with(Datapath::Netdev)
    }

    /// The same for bridges of one datapath.
    pub fn with(datapath: Datapath) -> Option<Self> {
        if !["ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ethtool"].iter().all(|program| has(program))
            || !datapath.works()
        {
            return None;
        }
        sh(&format!(
            "mkdir -p {DIR} && ovsdb-tool create {DIR}/conf.db /usr/share/openvswitch/vswitch.ovsschema"
        ));
        let switch = Self(datapath);
        switch.start_database();
        sh("ovs-vsctl --no-wait init");
        switch.start_daemon();
        Some(switch)
    }

    pub fn start_database(&self) {
        start(&format!("ovsdb-server {DIR}/conf.db --remote=punix:{DIR}/db.sock"), "ovsdb-server");
    }

    pub fn start_daemon(&self) {
        let system = if self.0 == Datapath::Netdev { "--disable-system" } else { "" };
        start(&format!("ovs-vswitchd unix:{DIR}/db.sock {system}"), "ovs-vswitchd");
    }

    /// Kills the database server, which leaves its socket behind.
    pub fn stop_database(&self) {
        kill("ovsdb-server");
    }

    /// Kills the daemon that does what the database says.
    pub fn stop_daemon(&self) {
        kill("ovs-vswitchd");
    }

    /// Has the daemon do nothing, as on a busy machine, while `work` is done; then it goes on.
    pub fn busy<T>(&self, work: impl FnOnce() -> T) -> T {
        let signal = |signal| sh(&format!("kill -{signal} $(cat {DIR}/ovs-vswitchd.pid)"));
        signal("STOP");
        let done = work();
        signal("CONT");
        done
    }

    /// Makes a bridge.
    pub fn bridge(&self, name: &str) -> &Self {
        let datapath = self.0.name();
        sh(&format!("ovs-vsctl -t 10 add-br {name} -- set bridge {name} datapath_type={datapath}"));
        self
    }

    /// A machine at a port of `bridge`, as with a cable: what it sends has its checksums.
    pub fn machine(&self, bridge: &str, name: &str, address: &str) -> Net {
        let machine = Net::new(name);
        sh(&format!("ip link add {name}-0 type veth peer name eth0 netns {name}"));
        // An address that comes up by itself would show in the next snapshot.
        sh(&format!("ip link set {name}-0 addrgenmode none up"));
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

fn start(command: &str, daemon: &str) {
    sh(&format!(
        "{command} -vconsole:off --log-file={DIR}/{daemon}.log --pidfile={DIR}/{daemon}.pid --detach"
    ));
}

fn kill(daemon: &str) {
    sh(&format!(
        "pid=$(cat {DIR}/{daemon}.pid) && kill -9 $pid && rm -f {DIR}/{daemon}.pid && \
         while kill -0 $pid 2>/dev/null; do sleep 0.02; done"
    ));
}
