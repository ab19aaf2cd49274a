//! Questions beside the state.

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, sh};
use linkspan_plan::{HostPrefix, Kernel, LinkFacts};

use crate::steps::{device, host, name};

#[test]
fn the_hosts_prefixes_are_those_of_addresses_and_routes() {
    lab::run(lab::here!(), || {
        sh("ip link add wire type veth peer name other && ip link set wire up && ip link set other up");
        sh(
            "ip address add 192.0.2.7/24 dev wire && ip address add 2001:db8::7/64 dev wire nodad && ip address add 198.51.100.1 peer 198.51.100.2 dev wire",
        );
        sh(
            "ip route add 10.20.0.0/16 via 192.0.2.1 && ip route add default via 192.0.2.1 && ip route add 10.30.0.0/16 nexthop via 192.0.2.1 nexthop via 192.0.2.2 && ip -6 route add 2001:db8:1::/48 via 2001:db8::1 && ip -6 route add default via 2001:db8::1",
        );
        sh("ip route add 172.31.0.0/16 via 192.0.2.1 table 77; ip route add blackhole 10.40.0.0/16");
        let prefixes = Host::open().unwrap().host_prefixes().unwrap();
        let wanted = [
            "10.20.0.0/16",
            "10.30.0.0/16",
            "192.0.2.0/24",
            "198.51.100.1/32",
            "198.51.100.2/32",
            "2001:db8::/64",
            "2001:db8:1::/48",
        ];
        let device = "wire".to_owned();
        assert_eq!(
            prefixes,
            wanted.map(|prefix| HostPrefix { prefix: prefix.parse().unwrap(), device: device.clone() })
        );
    });
}

#[test]
fn numbers_are_those_that_ip_shows() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2, 3]);
        let number = |command: &str| sh(&format!("{command} | cut -d: -f1")).trim().parse().unwrap();
        let pair = |text: &str| (device(text), name("box3"), device("eth0"));
        let facts = host.link_facts(&[pair("veth3"), pair("veth9")]).unwrap();
        let wanted = LinkFacts {
            host_index: Some(number("ip -o link show veth3")),
            sandbox_index: Some(number("ip -n box3 -o link show eth0")),
        };
        assert_eq!(facts, [Some(wanted), None]);
    });
}

#[test]
fn the_ports_of_a_bridge_are_its_own() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2, 3]);
        sh(
            "ip link add br1 type bridge && ip link add foreign type veth peer name other && ip link set foreign master br1",
        );
        // Somebody else's may have a name like ours.
        sh("ip link add veth0123456789a type veth peer name it && ip link set veth0123456789a master br0");
        assert_eq!(host.bridge_ports(&device("br0")).unwrap(), [device("veth2"), device("veth3")]);
        assert_eq!(host.bridge_ports(&device("none")).unwrap(), []);
    });
}
