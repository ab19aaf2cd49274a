//! What a container's interface gets inside, whatever it is.

use std::net::IpAddr;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linkspan_kernel::{DeviceFacts, Host as Kernel};
use linkspan_model::{Bar, Barred, Fixture, IfName, Lease, RouteFixture, Side};

use crate::addresses::{Addresses, StaticRoute, Way};
use crate::{Address, Error};

/// The addresses, as fixtures.
pub fn addresses(ifname: &IfName, addresses: &Addresses) -> Vec<Fixture> {
    let fixture = |address: &Address| Fixture::Address {
        side: Side::Inside,
        device: ifname.clone(),
        address: address.ipnet,
        probed: false,
        no_route: false,
    };
    addresses.container.iter().map(fixture).collect()
}

/// The addresses, as endpoints have them.
pub fn leases(addresses: &Addresses) -> Vec<Lease> {
    let lease = |Address { gateway, ipnet }: &Address| Lease {
        subnet: ipnet.trunc(),
        address: ipnet.addr(),
        gateway: *gateway,
        reused: false,
    };
    addresses.container.iter().map(lease).collect()
}

/// The default routes with `metric`, as fixtures.
pub fn default_routes(ifname: &IfName, addresses: &Addresses, metric: u32) -> Vec<Fixture> {
    let everywhere = |via: IpAddr| match via {
        IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
    };
    let fixture = |via: IpAddr| route(ifname.clone(), everywhere(via), via, Some(metric));
    addresses.default_gateways().into_iter().map(fixture).collect()
}

/// The routes beside the default ones, as fixtures. Each leaves by the interface on whose subnet its next hop is, which may
/// be another than `ifname`.
///
/// # Errors
/// If the devices of the namespace cannot be listed.
pub fn static_routes(
    kernel: &mut Kernel,
    netns: &Path,
    ifname: &IfName,
    addresses: &Addresses,
) -> Result<Vec<Fixture>, Error> {
    let is_ours = |via: &IpAddr| addresses.container.iter().any(|ours| ours.ipnet.contains(via));
    let is_far = |route: &StaticRoute| matches!(&route.way, Way::Via(via) if !is_ours(via));
    let others = match addresses.routes.iter().any(is_far) {
        true => kernel.devices(Some(netns))?,
        false => Vec::new(),
    };
    let device = |via: &IpAddr| {
        let leads = |device: &&DeviceFacts| device.addresses.iter().any(|net| net.contains(via));
        let other = others.iter().filter(|_| !is_ours(via)).find(leads);
        other.map_or(ifname, |device| &device.name).clone()
    };
    let fixture = |StaticRoute { to, way, metric }: &StaticRoute| match way {
        Way::Via(via) => route(device(via), *to, *via, Some(*metric)),
        Way::Blackhole => barred(*to, Bar::Blackhole, Some(*metric)),
        Way::Unreachable => barred(*to, Bar::Unreachable, Some(*metric)),
        Way::Prohibit => barred(*to, Bar::Prohibit, Some(*metric)),
    };
    Ok(addresses.routes.iter().map(fixture).collect())
}

fn barred(to: IpNet, how: Bar, priority: Option<u32>) -> Fixture {
    Fixture::Barred(Barred { to, how, priority })
}

/// It goes beside those that other networks of the container have to the same place.
fn route(device: IfName, to: IpNet, via: IpAddr, priority: Option<u32>) -> Fixture {
    Fixture::Route(RouteFixture {
        side: Side::Inside,
        to: to.trunc(),
        device,
        via: Some(via),
        onlink: false,
        source: None,
        table: None,
        scope: None,
        priority,
        mtu: None,
        advmss: None,
        shared: false,
    })
}
