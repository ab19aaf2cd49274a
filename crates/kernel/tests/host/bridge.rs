//! Bridges.

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, Net, sh};
use linkspan_plan::{Kernel, Scope, State, Step};

use crate::steps::{apply_and_see, bridge, create, device, host, namespace, port};

#[test]
fn a_bridge_is_what_was_asked_for() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        apply_and_see(
            &mut host,
            &[bridge(1450, &["10.0.0.1/24", "10.9.0.0/31", "10.8.0.1/32", "fd00::1/64"])],
        );
        let link = sh("ip -d link show br0");
        assert!(
            link.contains("mtu 1450")
                && link.contains("link/ether 02:42:0a:00:00:01")
                && link.contains(",UP"),
            "{link}"
        );
        let addresses = sh("ip address show br0");
        for part in [
            "inet 10.0.0.1/24 brd 10.0.0.255 scope global",
            "inet 10.9.0.0/31 scope global",
            "inet 10.8.0.1/32 scope global",
            "inet6 fd00::1/64 scope global",
        ] {
            assert!(addresses.contains(part), "{part} is not in {addresses}");
        }
        assert_eq!(
            sh("cat /proc/sys/net/ipv4/conf/br0/route_localnet /proc/sys/net/ipv6/conf/br0/accept_ra"),
            "1\n0\n"
        );
    });
}

#[test]
fn its_addresses_work_before_it_has_a_port() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        host.apply(&[bridge(1500, &["10.0.0.1/24", "fd00::1/64"])]).unwrap();
        let here = Net::here();
        for address in ["10.0.0.1:80", "[fd00::1]:80"] {
            here.serve_tcp(address);
            here.ask_tcp(address).unwrap();
        }
    });
}

#[test]
fn without_ipv6_addresses_it_makes_none() {
    lab::run(lab::here!(), || {
        host(&[2]);
        assert_eq!(sh("ip -6 address show br0; ip -6 address show veth2"), "");
    });
}

#[test]
fn its_mtu_is_its_own() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let (veth, mut small) = port(2, &["10.0.0.2/24"]);
        small.mtu = 1200;
        host.apply(&[bridge(9000, &["10.0.0.1/24"]), namespace("box2"), create((veth, small))]).unwrap();
        assert!(sh("ip link show br0").contains("mtu 9000"));
        assert!(
            sh("ip link show veth2").contains("mtu 1200")
                && sh("ip -n box2 link show eth0").contains("mtu 1200")
        );
        host.apply(&[Step::DeletePort(device("veth2"))]).unwrap();
        assert!(sh("ip link show br0").contains("mtu 9000"));
    });
}

#[test]
fn ipv6_that_the_host_switched_off_for_new_devices_is_switched_on() {
    lab::run(lab::here!(), || {
        sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
        let mut host = host(&[]);
        host.apply(&[Step::AddAddress(device("br0"), "fd00::1/64".parse().unwrap())]).unwrap();
        Net::here().serve_tcp("[fd00::1]:80");
    });
}

#[test]
fn addresses_come_and_go() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        let added = "fd00::1/64".parse().unwrap();
        host.apply(&[Step::AddAddress(device("br0"), added)]).unwrap();
        assert!(sh("ip address show br0").contains("inet6 fd00::1/64 scope global"));
        let gone = [Step::DeleteAddress(device("br0"), added), Step::DeleteAddress(device("none"), added)];
        host.apply(&gone).unwrap();
        host.apply(&gone).unwrap();
        assert!(!sh("ip address show br0").contains("fd00"));
    });
}

#[test]
fn a_bridge_goes_with_foreign_ports_left_alone() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        sh("ip link add uplink type veth peer name other && ip link set uplink master br0 up");
        let steps = [Step::DeletePort(device("veth2")), Step::DeleteBridge(device("br0"))];
        host.apply(&steps).unwrap();
        assert!(!lab::run_tool("ip link show br0").0 && lab::run_tool("ip link show uplink").0);
        host.apply(&steps).unwrap();
    });
}

#[test]
fn what_is_not_there_is_not_seen() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let scope = Scope {
            bridges: [device("br0")].into(),
            namespaces: ["box".parse().unwrap()].into(),
            ports: [(device("veth2"), ("box".parse().unwrap(), device("eth0")))].into(),
            sysctls: ["net/no_such_key".to_owned()].into(),
            ..Scope::default()
        };
        assert_eq!(host.observe(&scope).unwrap(), State::default());
    });
}
