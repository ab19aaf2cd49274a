//! Values to store.
#![allow(clippy::unwrap_used, dead_code)]

use std::net::IpAddr;
use std::path::Path;

use linkspan_model::*;
use linkspan_store::{Store, StoreError, Tx};

pub const BOOT: &str = "boot-1";

pub fn open(dir: &Path) -> Store {
    Store::open(dir, BOOT).unwrap()
}

/// Runs `work` in a writing transaction that has to succeed.
pub fn write<T>(store: &mut Store, work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
    store.write(work).unwrap()
}

pub fn id(byte: u8) -> Id {
    Id::from_bytes([byte; 32])
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn network(byte: u8, called: &str) -> Network {
    let request = IpamRequest {
        subnets: vec!["10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
        aux: [("router".to_owned(), ip("10.0.0.9"))].into(),
        ..IpamRequest::default()
    };
    Network {
        id: id(byte),
        name: name(called),
        created: 1_700_000_000,
        driver: Driver::Bridge,
        internal: false,
        ipv6: true,
        ipam_driver: "default".to_owned(),
        ipam_options: [("a".to_owned(), "b".to_owned())].into(),
        pools: request.pools().unwrap(),
        options: OptionMap::new(),
        bridge: BridgeOptions::default(),
        core: None,
        guests: None,
        parent: None,
        labels: [("team".to_owned(), "'quoted' \"so\"".to_owned())].into(),
        card: None,
    }
}

pub fn sandbox(byte: u8, called: &str, namespace: NamespaceSource) -> Sandbox {
    Sandbox {
        id: id(byte),
        name: name(called),
        created: 1_700_000_000,
        namespace,
        hostname: called.to_owned(),
        dns: vec![ip("1.1.1.1")],
        add_hosts: vec!["db:10.0.0.7".parse().unwrap()],
        links: vec!["web:w".parse().unwrap()],
        ephemeral: true,
        labels: [("tier".to_owned(), "web".to_owned())].into(),
        netns: None,
        of_runtime: false,
    }
}

/// An endpoint of network 1 in sandbox 1 that holds `addresses` and publishes nothing.
pub fn endpoint(byte: u8, addresses: &[&str]) -> Endpoint {
    let lease = |address: &&str| Lease {
        subnet: if address.contains(':') { "fd00::/64" } else { "10.0.0.0/24" }.parse().unwrap(),
        address: ip(address),
        gateway: None,
        reused: false,
    };
    Endpoint {
        id: id(byte),
        network: id(1),
        sandbox: id(1),
        ifname: "eth0".parse().unwrap(),
        mac: Mac::from_bytes([2, 0x42, 0, 0, 0, byte]),
        access: 0,
        addresses_of: None,
        leases: addresses.iter().map(lease).collect(),
        aliases: vec![name("alias")],
        named: true,
        gw_priority: -1,
        wire: Wire::Veth,
        shaping: Shaping::default(),
        parts: Vec::new(),
        published: Vec::new(),
    }
}

pub fn published(host_ip: &str, first: u16, last: u16) -> Published {
    let host = PortRange { first, last };
    Published { protocol: Protocol::Tcp, host_ip: ip(host_ip), host, target: host }
}

pub fn reservation(address: &str, container: &str) -> Reservation {
    let holder = Holder { container: container.to_owned(), ifname: "eth0".to_owned() };
    Reservation { address: ip(address), holder }
}
