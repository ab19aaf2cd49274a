//! Networks of a runtime that have made something for all of their containers, and ports that wait for their turn.

use linkspan_engine::{Engine, Error, FitRequest, Footing};
use linkspan_model::{
    Attachment, Fixture, Guests, Lease, OwnBridge, Part, PortRange, Protocol, Published, Side, VethFixture,
};
use linkspan_plan::Element;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::attachments::{self, CONTAINER, FILE};
use crate::machine::Machine;
use crate::site::Site;

pub fn on(network: &str, container: &str) -> Attachment {
    let ifname = if network == "one" { "eth0" } else { "eth1" };
    Attachment {
        network: network.parse().unwrap(),
        container: container.to_owned(),
        ifname: ifname.parse().unwrap(),
    }
}

fn address(network: &str) -> IpAddr {
    if network == "one" { [10, 81, 0, 2].into() } else { [10, 82, 0, 2].into() }
}

/// A container's place on a network with a bridge of its own, and a port that it publishes.
pub fn place(network: &str, container: &str, netns: &str) -> FitRequest {
    let attachment = on(network, container);
    let bridge = OwnBridge {
        name: format!("br{network}").parse().unwrap(),
        mtu: None,
        vlan_filtering: false,
        vrf: None,
        gateways: Vec::new(),
        forwards: true,
    };
    let veth = VethFixture {
        host: format!("ve{network}{}", &container[..4]).parse().unwrap(),
        ifname: attachment.ifname.clone(),
        mac: None,
        mtu: None,
        port: None,
        down: false,
        ipv6: false,
        loose: true,
    };
    let published = Published {
        protocol: Protocol::Tcp,
        host_ip: Ipv4Addr::UNSPECIFIED.into(),
        host: PortRange::single(8085),
        target: PortRange::single(80),
    };
    let forward =
        Fixture::Sysctl { side: Side::Host, key: "net/ipv4/ip_forward".to_owned(), value: "1".to_owned() };
    let address = address(network);
    let lease = Lease {
        subnet: ipnet::IpNet::new(address, 24).unwrap().trunc(),
        address,
        gateway: None,
        reused: false,
    };
    FitRequest {
        netns: netns.into(),
        footing: Footing { mac: None, host: Some(veth.host.clone()), leases: vec![lease] },
        is_main: true,
        part: Part {
            owner: "netavark".to_owned(),
            fixtures: vec![Fixture::Veth(veth)],
            published: vec![published],
            ..Part::default()
        },
        guests: Guests {
            bridges: [bridge.name.clone()].into(),
            ground: vec![Fixture::OwnBridge(bridge), forward],
            ..Guests::default()
        },
        attachment,
        labels: BTreeMap::new(),
    }
}

/// A container on two networks, the first of which publishes its port.
pub fn on_both() -> Site {
    let site = attachments::site();
    for network in ["one", "two"] {
        site.engine().fit(&place(network, CONTAINER, FILE)).unwrap();
    }
    site
}

pub fn leave_one(engine: &mut Engine<Machine>) -> Result<(), Error> {
    engine.detach(&on("one", CONTAINER)).map(drop)
}

/// Where the port leads.
pub fn leads_to(site: &Site) -> Vec<IpAddr> {
    let elements = site.machine.state().firewall.unwrap_or_default();
    let target = |element: &Element| match element {
        Element::Publish { port: 8085, to, .. } => Some(to.ip()),
        _ => None,
    };
    elements.iter().filter_map(target).collect()
}

fn bridges(site: &Site) -> Vec<String> {
    let own = |fixture: &Fixture| match fixture {
        Fixture::OwnBridge(bridge) => Some(bridge.name.to_string()),
        _ => None,
    };
    let mut bridges: Vec<_> =
        site.machine.state().fixtures.iter().filter_map(|(_, fixture)| own(fixture)).collect();
    bridges.dedup();
    bridges
}

#[test]
fn a_bridge_comes_with_the_first_container_and_goes_with_the_last() {
    let site = attachments::site();
    let before = site.picture();
    let mut other = place("one", "other", attachments::PIN);
    other.part.published.clear();
    site.engine().fit(&place("one", CONTAINER, FILE)).unwrap();
    site.engine().fit(&other).unwrap();
    assert_eq!(bridges(&site), ["brone"]);
    site.engine().detach(&on("one", CONTAINER)).unwrap();
    assert_eq!(bridges(&site), ["brone"]);
    assert!(site.engine().find_network("one").unwrap().is_some());
    site.engine().detach(&on("one", "other")).unwrap();
    assert!(bridges(&site).is_empty());
    assert!(site.engine().find_network("one").unwrap().is_none());
    assert_eq!(site.picture(), before);
    site.assert_in_order();
}

#[test]
fn a_container_that_is_refused_leaves_no_bridge() {
    let site = attachments::site();
    site.engine().fit(&place("one", "other", attachments::PIN)).unwrap();
    let before = site.picture();
    let error = site.engine().fit(&place("two", CONTAINER, FILE)).unwrap_err();
    assert!(error.causes()[0].contains("taken by"), "{error}: {:?}", error.causes());
    assert_eq!(site.picture(), before);
}

#[test]
fn a_port_goes_on_to_the_next_network_of_its_container() {
    let site = on_both();
    assert_eq!(leads_to(&site), [address("one")]);
    site.assert_in_order();
    leave_one(&mut site.engine()).unwrap();
    assert_eq!(leads_to(&site), [address("two")]);
    site.assert_in_order();
    // It waits there for its turn now.
    site.engine().fit(&place("one", CONTAINER, FILE)).unwrap();
    assert_eq!(leads_to(&site), [address("two")]);
    site.engine().detach(&on("two", CONTAINER)).unwrap();
    assert_eq!(leads_to(&site), [address("one")]);
    site.engine().detach(&on("one", CONTAINER)).unwrap();
    assert!(leads_to(&site).is_empty() && bridges(&site).is_empty());
    site.assert_in_order();
}

#[test]
fn a_boot_ends_what_a_network_has_made() {
    let mut site = attachments::site();
    site.engine().fit(&place("one", CONTAINER, FILE)).unwrap();
    site.reboot();
    assert!(site.engine().find_network("one").unwrap().is_none());
}

#[test]
fn a_network_may_have_the_longest_name_there_is() {
    let site = attachments::site();
    let mut place = place("one", CONTAINER, FILE);
    place.attachment.network = "n".repeat(63).parse().unwrap();
    site.engine().fit(&place).unwrap();
    assert!(site.engine().detach(&place.attachment).unwrap());
    site.assert_in_order();
}
