//! A host, a machine outside, and traffic between them and the sandboxes.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use linkspan_lab::{Net, run_tool, sh, wire};

use super::program::linkspan;

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// The host with its neighbour.
pub struct World {
    pub host: Net,
    pub outside: Net,
}

impl World {
    /// The host at 192.0.2.1 with outside at 192.0.2.9, for which the host is the way to everywhere else.
    pub fn new() -> Self {
        let (host, outside) = (Net::here(), Net::new("outside"));
        wire((&host, "lan0", "192.0.2.1/24"), (&outside, "lan0", "192.0.2.9/24"));
        outside.sh("ip route add default via 192.0.2.1");
        Self { host, outside }
    }

    /// Makes a network.
    pub fn network(&self, line: &str) -> &Self {
        linkspan(&format!("network create {line}"));
        self
    }

    /// Makes a sandbox with these flags and serves TCP and UDP in it, at ports 80 and 53.
    pub fn sandbox(&self, name: &str, flags: &str) -> Net {
        linkspan(&format!("sandbox create {flags} {name}"));
        let net = Net::pinned(name);
        serve(&net, &[80, 53]);
        net
    }
}

/// Sets whether bridged frames pass the host's firewall too, as on hosts where other container engines run. Where the
/// kernel cannot, they never do; whether it can.
pub fn bridge_netfilter(value: &str) -> bool {
    ["iptables", "ip6tables"].into_iter().all(|tables| {
        let setting = format!("/proc/sys/net/bridge/bridge-nf-call-{tables}");
        Path::new(&setting).exists() && fs::write(setting, value).is_ok()
    })
}

/// Serves both protocols at each of these ports.
pub fn serve(net: &Net, ports: &[u16]) {
    for port in ports {
        net.serve_tcp(&format!("0.0.0.0:{port}"));
        net.serve_udp(&format!("0.0.0.0:{port}"));
    }
}

/// The source address that a server at `address` sees when `from` asks it.
pub fn source(from: &Net, protocol: Protocol, address: &str) -> String {
    match ask(from, protocol, address) {
        Ok(seen) => seen.ip().to_string(),
        Err(error) => panic!("{} got no answer over {protocol:?} from {address}: {error}", from.name()),
    }
}

fn ask(from: &Net, protocol: Protocol, address: &str) -> io::Result<SocketAddr> {
    match protocol {
        Protocol::Tcp => from.ask_tcp(address),
        Protocol::Udp => from.ask_udp(address),
    }
}

/// What a namespace can reach, in the words of a story.
pub trait Reach {
    /// That the TCP server at `address` answers.
    fn reaches(&self, address: &str);
    /// That no server answers at any of `addresses`, over TCP or UDP.
    fn gets_nothing_from(&self, addresses: &[&str]);
    /// That `host` answers to a ping.
    fn pings(&self, host: &str);
    /// That `host` does not.
    fn pings_in_vain(&self, host: &str);
}

impl Reach for Net {
    fn reaches(&self, address: &str) {
        source(self, Protocol::Tcp, address);
    }

    fn gets_nothing_from(&self, addresses: &[&str]) {
        // Silence takes its time, so all of it at once.
        thread::scope(|scope| {
            for address in addresses {
                scope.spawn(|| nothing(self, Protocol::Tcp, address));
                scope.spawn(|| nothing(self, Protocol::Udp, address));
            }
        });
    }

    fn pings(&self, host: &str) {
        self.sh(&format!("ping -n -c 1 -W 1 {host}"));
    }

    fn pings_in_vain(&self, host: &str) {
        let ping = format!("ping -n -c 1 -W 0.5 {host}");
        assert!(!self.succeeds(&ping), "{} reaches {host}", self.name());
    }
}

fn nothing(from: &Net, protocol: Protocol, address: &str) {
    if let Ok(seen) = ask(from, protocol, address) {
        panic!("{} got an answer over {protocol:?} from {address}, which saw {seen}", from.name());
    }
}

/// Runs a shell command inside a sandbox as `ip netns exec` has it, with the sandbox's own hosts and resolv.conf.
pub fn inside(sandbox: &str, command: &str) -> String {
    sh(&inside_line(sandbox, command))
}

/// Whether it succeeds there.
pub fn succeeds_inside(sandbox: &str, command: &str) -> bool {
    run_tool(&inside_line(sandbox, command)).0
}

fn inside_line(sandbox: &str, command: &str) -> String {
    format!("ip netns exec {sandbox} sh -c '{command}'")
}
