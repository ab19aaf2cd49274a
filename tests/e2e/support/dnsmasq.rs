//! A DHCP server on a LAN of its own, and containers on it.
#![allow(clippy::disallowed_methods, reason = "servers run as their administrators run them")]

use std::fs::{self, File};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_lab::{Net, run_tool, sh, skip};

/// Who waits longer waits in vain.
const PATIENCE: Duration = Duration::from_secs(40);
const LEASES: &str = "/run/dnsmasq.leases";
const LOG: &str = "/run/dnsmasq.log";

/// Waits until `is` holds.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", log());
        sleep(Duration::from_millis(50));
    }
}

fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

/// dnsmasq in a namespace called `server`, at bridge br0 with 10.77.0.1.
pub struct Dnsmasq {
    /// Where it is.
    pub net: Net,
    program: String,
    child: Option<Child>,
}

impl Dnsmasq {
    /// One that leases 10.77.0.50 to .59 for two minutes, renewed after about two seconds. None if it is not installed.
    pub fn start() -> Option<Self> {
        // Debian keeps it where only root's PATH looks.
        let (found, program) = run_tool("PATH=$PATH:/usr/sbin command -v dnsmasq");
        if !found {
            skip("dnsmasq is not installed");
            return None;
        }
        let net = Net::new("server");
        net.sh("ip link add br0 type bridge && ip address add 10.77.0.1/24 dev br0 && ip link set br0 up");
        let mut server = Self { net, program: program.trim().to_owned(), child: None };
        server.serve("10.77.0.50,10.77.0.59", "");
        Some(server)
    }

    /// The same on a LAN of the host, whose bridge there is `lan`.
    pub fn of_host() -> Option<Self> {
        let server = Self::start()?;
        sh("ip link add lan address 02:00:00:00:77:02 type bridge && ip link set lan addrgenmode none up");
        sh("ip link add tolan type veth peer name tohost netns server");
        sh("ip link set tolan addrgenmode none && ip link set tolan master lan up");
        server.net.sh("ip link set tohost master br0 up");
        Some(server)
    }

    /// Serves addresses from `range`, with further options. What it leased before it knows from its file.
    pub fn serve(&mut self, range: &str, more: &str) {
        self.stop();
        let line = format!(
            "netns exec server {} --no-daemon --conf-file=/dev/null --port=0 --interface=br0 --bind-interfaces \
             --dhcp-range={range},255.255.255.0,2m --dhcp-option=3,10.77.0.1 --dhcp-option=6,10.77.0.53 \
             --dhcp-option=15,example.org --dhcp-option-force=58,2 --dhcp-option-force=59,5 \
             --dhcp-leasefile={LEASES} --dhcp-authoritative --no-ping --pid-file= --log-dhcp {more}",
            self.program
        );
        let log = File::options().create(true).append(true).open(LOG).expect("a log");
        let mut command = Command::new("ip");
        let starts = self.said("sockets bound");
        self.child = Some(command.args(line.split_whitespace()).stderr(log).spawn().expect("start dnsmasq"));
        until("dnsmasq starts", || self.said("sockets bound") > starts);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill dnsmasq");
            child.wait().expect("wait for dnsmasq");
        }
    }

    /// A container on the LAN, and the MAC of its eth0, which has no address.
    pub fn container(&self, name: &str) -> (Net, String) {
        let net = Net::new(name);
        self.net.sh(&format!(
            "ip link add {name} type veth peer name eth0 netns {name} && ip link set {name} master br0 up"
        ));
        net.sh("ip link set eth0 up");
        let shown = net.sh("ip -o link show eth0");
        let mac = shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a MAC");
        let mac = mac.to_owned();
        (net, mac)
    }

    /// How often its log has a text.
    pub fn said(&self, text: &str) -> usize {
        log().matches(text).count()
    }

    /// The addresses that it has leased, each with the host name and client identifier.
    pub fn leased(&self) -> Vec<String> {
        let text = fs::read_to_string(LEASES).unwrap_or_default();
        let fields = |line: &str| line.split(' ').skip(2).map(str::to_owned).collect::<Vec<_>>().join(" ");
        text.lines().map(fields).collect()
    }

    /// Has it forget its leases at its next start.
    pub fn forget(&mut self) {
        self.stop();
        sh(&format!("rm -f {LEASES}"));
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.stop();
    }
}
