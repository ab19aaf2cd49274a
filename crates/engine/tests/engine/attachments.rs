//! What runtimes attach.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use linkspan_engine::{AttachRequest, Engine, Error, FitRequest, Footing};
use linkspan_model::{
    Attachment, BridgeFixture, Fixture, Guests, Lease, Part, PortRange, Protocol, Published, Setting,
    VethFixture,
};
use linkspan_plan::Inside;

use crate::machine::Machine;
use crate::site::{Site, sandbox, to, told};

pub const FILE: &str = "/proc/77/ns/net";
pub const PIN: &str = "/run/netns/cni-1";
/// As long as those of runtimes.
pub const CONTAINER: &str = "0f2c6b3a9d6e4c0f8a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef";

/// A host with two networks, a sandbox, and two namespaces of a runtime's.
pub fn site() -> Site {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("keep", &["lab"])).unwrap();
    for file in [FILE, PIN] {
        site.machine.with(|fake| fake.foreign.insert(file.into(), Inside::default()));
    }
    site
}

pub fn attachment(container: &str, ifname: &str) -> Attachment {
    Attachment {
        network: "pods".parse().unwrap(),
        container: container.to_owned(),
        ifname: ifname.parse().unwrap(),
    }
}

/// A container on the network `lab` of ours, with a published port.
pub fn native(container: &str, netns: &str) -> AttachRequest {
    let attachment = attachment(container, "eth0");
    let mut net = to("lab");
    net.ifname = Some(attachment.ifname.clone());
    let part = Part { owner: "linkspan".to_owned(), fixtures: vec![queue()], ..Part::default() };
    AttachRequest {
        attachment,
        netns: netns.into(),
        net,
        publish: vec!["8081:80".parse().unwrap()],
        part: Some(part),
        named: true,
        dns: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn queue() -> Fixture {
    Fixture::Setting {
        device: "eth0".parse().unwrap(),
        to: Setting::TxQueue(500),
        before: Some(Setting::TxQueue(1000)),
    }
}

/// What a plugin that makes interfaces wants for `eth0`.
pub fn main_part(container: &str, netns: &str) -> FitRequest {
    let bridge =
        BridgeFixture { name: "cni0".parse().unwrap(), mtu: None, promisc: false, vlan_filtering: false };
    let veth = VethFixture {
        host: "veth0a1b2c3d".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
        mac: None,
        mtu: None,
        port: None,
        down: false,
        ipv6: false,
        loose: false,
    };
    let lease = Lease {
        subnet: "10.88.0.0/16".parse().unwrap(),
        address: "10.88.0.2".parse().unwrap(),
        gateway: None,
        reused: false,
    };
    FitRequest {
        attachment: attachment(container, "eth0"),
        netns: netns.into(),
        footing: Footing { mac: None, host: Some(veth.host.clone()), leases: vec![lease] },
        is_main: true,
        part: Part {
            owner: "bridge".to_owned(),
            fixtures: vec![Fixture::Bridge(bridge), Fixture::Veth(veth)],
            ..Part::default()
        },
        guests: Guests::default(),
        labels: BTreeMap::new(),
    }
}

/// What a plugin wants that comes after it.
pub fn chained_part(container: &str, netns: &str) -> FitRequest {
    let published = Published {
        protocol: Protocol::Tcp,
        host_ip: Ipv4Addr::UNSPECIFIED.into(),
        host: PortRange::single(8082),
        target: PortRange::single(80),
    };
    FitRequest {
        is_main: false,
        part: Part {
            owner: "portmap".to_owned(),
            fixtures: vec![queue()],
            published: vec![published],
            ..Part::default()
        },
        ..main_part(container, netns)
    }
}

/// A host where the network is on record.
pub fn with_record() -> Site {
    let site = site();
    let mut other = main_part("other", PIN);
    other.part.fixtures.truncate(1);
    site.engine().fit(&other).unwrap();
    site
}

pub fn with_main() -> Site {
    let site = with_record();
    site.engine().fit(&main_part(CONTAINER, FILE)).unwrap();
    site
}

pub fn unfit(engine: &mut Engine<Machine>, owner: &str) -> Result<(), Error> {
    assert!(engine.unfit(&attachment(CONTAINER, "eth0"), owner)?);
    Ok(())
}

#[test]
fn a_container_on_a_network_of_ours_is_a_sandbox_like_others() {
    let site = site();
    let before = site.picture();
    let (endpoint, sandbox, network) = site.engine().attach(&native(CONTAINER, FILE)).unwrap();
    assert_eq!((sandbox.name.as_str(), network.name.as_str()), ("0f2c6b3a9d6e", "lab"));
    assert_eq!(endpoint.published[0].host.first, 8081);
    let view = site.engine().sandbox("0f2c6b3a9d6e").unwrap();
    assert_eq!(view.attached.len(), 1);
    site.assert_in_order();
    assert!(site.engine().detach(&attachment(CONTAINER, "eth0")).unwrap());
    assert!(!site.engine().detach(&attachment(CONTAINER, "eth0")).unwrap());
    assert_eq!(site.picture(), before);
}

#[test]
fn a_namespace_that_is_pinned_already_gets_no_other_pin() {
    let site = site();
    site.engine().attach(&native("c1", PIN)).unwrap();
    let state = site.machine.state();
    assert!(!state.namespaces.contains_key(&"c1".parse().unwrap()));
    assert!(state.ports.values().any(|port| port.peer.as_ref().unwrap().namespace.as_str() == "cni-1"));
    site.assert_in_order();
    site.engine().detach(&attachment("c1", "eth0")).unwrap();
    site.assert_in_order();
}

#[test]
fn parts_come_and_go_in_any_order() {
    for order in [["portmap", "bridge"], ["bridge", "portmap"]] {
        let site = with_record();
        let before = site.picture();
        let (main, ..) = site.engine().fit(&main_part(CONTAINER, FILE)).unwrap();
        let (chained, _, network) = site.engine().fit(&chained_part(CONTAINER, FILE)).unwrap();
        assert_eq!((main.id, network.name.as_str()), (chained.id, "pods"));
        assert_eq!(chained.published.len(), 1);
        assert_eq!(
            site.engine().lacking(&attachment(CONTAINER, "eth0"), "portmap", None).unwrap(),
            Vec::<String>::new()
        );
        site.assert_in_order();
        for owner in order {
            unfit(&mut site.engine(), owner).unwrap();
            site.assert_in_order();
        }
        assert!(!site.engine().unfit(&attachment(CONTAINER, "eth0"), "bridge").unwrap());
        assert_eq!(site.picture(), before);
    }
}

#[test]
fn what_is_there_already_is_refused() {
    let site = with_main();
    let before = site.picture();
    let inside = || Inside { devices: ["eth0".parse().unwrap()].into(), ..Inside::default() };
    site.machine.with(|fake| fake.foreign.insert(FILE.into(), inside()));
    let error = site.engine().fit(&main_part(CONTAINER, FILE)).unwrap_err();
    assert!(told(&error).contains("eth0 already"), "{}", told(&error));
    let mut taken = chained_part("other", PIN);
    taken.part.fixtures.clear();
    site.engine().fit(&chained_part(CONTAINER, FILE)).unwrap();
    let error = site.engine().fit(&taken).unwrap_err();
    assert!(told(&error).contains("taken by sandbox '0f2c6b3a9d6e'"), "{}", told(&error));
    unfit(&mut site.engine(), "portmap").unwrap();
    assert_eq!(site.picture(), before);
}

#[test]
fn what_nobody_took_away_makes_way_when_its_interface_is_gone() {
    let site = with_main();
    let (again, ..) = site.engine().fit(&main_part(CONTAINER, FILE)).unwrap();
    assert_eq!(again.parts.len(), 1);
    site.assert_in_order();
    site.engine().attach(&native("c2", FILE)).unwrap();
    let error = site.engine().attach(&native("c3", FILE)).unwrap_err();
    assert!(told(&error).contains("8081"), "{}", told(&error));
}

#[test]
fn a_boot_forgets_what_was_attached() {
    let mut site = with_main();
    site.engine().attach(&native("c2", FILE)).unwrap();
    site.reboot();
    let network = "pods".parse().unwrap();
    assert_eq!(site.engine().attachments_on(&network).unwrap(), []);
    assert_eq!(site.engine().sandboxes().unwrap().len(), 0);
}
