//! Questions about the host that are no part of a plan's state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linkspan_model::{IfName, Name};
use linkspan_plan::{HostPrefix, Inside, LinkFacts};

use super::{find_link, find_links};
use crate::error::Result;
use crate::netlink::{Family, Socket};
use crate::netns::{self, Namespace, Pin};
use crate::rtnl::address::{self, Address};
use crate::rtnl::link::{self, Link};
use crate::rtnl::route::{self, Route};
use crate::sysctl;

/// The prefixes of the host's addresses, and of its routes in the main table.
pub(super) fn host_prefixes(socket: &mut Socket) -> Result<Vec<HostPrefix>> {
    let mut found = BTreeSet::new();
    for answer in socket.dump(|| address::dump(0))? {
        found.extend(Address::parse(&answer.body).map(|address| (address.net.trunc(), address.index)));
    }
    for answer in socket.dump(route::dump)? {
        let route = Route::parse(&answer.body);
        found.extend(route.and_then(|route| Some((route.destination?.trunc(), route.index?))));
    }
    found.retain(|(prefix, _)| !is_everywhere(*prefix));
    let indexes: BTreeSet<u32> = found.iter().map(|(_, index)| *index).collect();
    let links = find_links(socket, indexes.iter().map(|index| link::get_by_index(*index)).collect())?;
    let names: BTreeMap<u32, String> =
        links.into_iter().flatten().map(|link| (link.index, link.name)).collect();
    let named = found
        .into_iter()
        .filter_map(|(prefix, index)| Some(HostPrefix { prefix, device: names.get(&index)?.clone() }));
    Ok(named.collect())
}

/// Loopback, link-local and multicast prefixes, which every host has.
fn is_everywhere(prefix: IpNet) -> bool {
    const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
    const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
    match prefix {
        IpNet::V4(net) => net.prefix_len() == 0 || LOOPBACK.contains(&net) || net.addr().is_multicast(),
        IpNet::V6(net) => {
            net.prefix_len() == 0
                || net.addr().is_loopback()
                || LINK_LOCAL.contains(&net)
                || net.addr().is_multicast()
        }
    }
}

/// The interface numbers of pairs, as the host side knows them: veth gives the other side's.
pub(super) fn link_facts(
    socket: &mut Socket,
    pairs: &[(IfName, Name, IfName)],
) -> Result<Vec<Option<LinkFacts>>> {
    let links = find_links(socket, pairs.iter().map(|(host, ..)| link::get(host)).collect())?;
    let facts = |link: Link| Some(LinkFacts { host_index: Some(link.index), sandbox_index: link.peer });
    Ok(links.into_iter().map(|link| link.and_then(facts)).collect())
}

/// What is in the namespace that `path` stands for.
pub(super) fn look_into(path: &Path, home: &Namespace) -> Result<Inside> {
    let namespace = netns::at(path)?;
    let mut socket = namespace.within(home, || Socket::open(Family::Route))??;
    let mut devices = BTreeMap::new();
    for answer in socket.dump(link::dump)? {
        let name =
            Link::parse(&answer.body).and_then(|link| Some((link.index, link.name.parse::<IfName>().ok()?)));
        devices.extend(name);
    }
    let default = |route: Route| {
        let device = route.index.and_then(|index| devices.get(&index));
        device.filter(|_| route.destination.is_none()).map(|device| (route.family, device.clone()))
    };
    let routes = socket.dump(route::dump)?;
    let routes = routes.iter().filter_map(|answer| Route::parse(&answer.body));
    let default_routes = routes.filter_map(default).collect();
    Ok(Inside { devices: devices.into_values().collect(), default_routes, is_host: namespace.is(home) })
}

/// Whether the namespace pinned under `name` is held by that pin alone, now that `source` may stand for it no more.
pub(super) fn is_deserted(name: &Name, source: &Path) -> Result<bool> {
    Ok(match Pin::look(name)? {
        Pin::Alive(namespace) => !namespace.is_at(source) && !namespace.is_inhabited(),
        Pin::Absent | Pin::Stale => false,
    })
}

/// The ports of a bridge that are of our make; none if it is not there.
pub(super) fn bridge_ports(socket: &mut Socket, bridge: &IfName) -> Result<Vec<IfName>> {
    let Some(bridge) = find_link(socket, bridge)? else { return Ok(Vec::new()) };
    let answers = socket.dump(|| link::dump_ports(bridge.index))?;
    let ports = answers.iter().filter_map(|answer| Link::parse(&answer.body));
    let ours = ports.filter(|port| port.group == link::PORTS);
    Ok(ours.filter_map(|port| port.name.parse().ok()).collect())
}

/// The sysctls `accept_ra` that are 1, of devices that are no port of a bridge: what comes in at those is the bridge's.
pub(super) fn learning(socket: &mut Socket) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for answer in socket.dump(link::dump)? {
        let Some(link) = Link::parse(&answer.body).filter(|link| link.master.is_none() && link.name != "lo")
        else {
            continue;
        };
        let key = format!("net/ipv6/conf/{}/accept_ra", link.name);
        if sysctl::read(&key)?.as_deref() == Some("1") {
            keys.push(key);
        }
    }
    Ok(keys)
}
