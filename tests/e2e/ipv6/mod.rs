//! IPv6. On the wire the host is 2001:db8::1/64, and outside is 2001:db8::9, whose default route is the host.

mod addresses;
mod host;
mod publish;
mod traffic;

use std::fs;
use std::path::Path;

use crate::support::*;

/// The subnets of the network that most stories are about.
const LAB: &str = "--ipv6 --subnet 10.7.0.0/24 --subnet fd00:7::/64 lab";
/// Those of another.
const TWO: &str = "--ipv6 --subnet 10.8.0.0/24 --subnet fd00:8::/64 two";
const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn world() -> World {
    // Until the link-local address of a device is found to be unique, it asks for no neighbour of what is forwarded.
    sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
    let world = World::new();
    sh("sysctl -qw net.ipv6.conf.default.accept_dad=1");
    sh("ip address add 2001:db8::1/64 dev lan0 nodad");
    world.outside.sh("ip address add 2001:db8::9/64 dev lan0 nodad; ip route add default via 2001:db8::1");
    world
}

/// Serves both protocols at port 80, IPv6 and IPv4.
fn serving(net: Net) -> Net {
    net.serve_tcp("[::]:80");
    net.serve_udp("[::]:80");
    net
}

/// Makes a sandbox with these flags, which serves at port 80.
fn sandbox(name: &str, flags: &str) -> Net {
    linkspan(&format!("sandbox create {flags} {name}"));
    serving(Net::pinned(name))
}

/// As [`bridge_netfilter`], for IPv6.
fn bridge_netfilter_v6(value: &str) {
    let setting = Path::new("/proc/sys/net/bridge/bridge-nf-call-ip6tables");
    if setting.exists() {
        fs::write(setting, value).expect("a sysctl of this namespace");
    }
}
