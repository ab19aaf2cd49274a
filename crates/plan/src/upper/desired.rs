//! What the kernel should hold for networks and endpoints on a parent.

use ipnet::IpNet;
use linkspan_model::{Endpoint, Family, HostAccess, Lease, Name, Network, Parent};

use super::{Child, Path, Shim, Upper};

/// What a network on `parent` needs before anything sits on it.
pub(crate) fn network(network: &Network, parent: &Parent) -> Upper {
    let mut upper = Upper::default();
    upper.up.insert(parent.device.clone());
    if let Some(vlan) = &parent.vlan {
        upper.up.insert(vlan.link.clone());
        upper.vlans.insert(parent.device.clone(), vlan.clone());
    }
    if let Some(access) = &parent.host_access {
        let shim = Shim {
            parent: parent.device.clone(),
            kind: parent.kind,
            mtu: parent.mtu,
            mac: parent.kind.has_own_mac().then(|| network.shim_mac()),
            addresses: access.own.iter().map(|address| IpNet::from(*address)).collect(),
        };
        upper.shims.insert(network.id.shim_ifname(), shim);
    }
    upper
}

/// What an endpoint of a network on `parent` needs.
pub(crate) fn endpoint(namespace: &Name, endpoint: &Endpoint, network: &Network, parent: &Parent) -> Upper {
    let mut upper = Upper::default();
    let own_mac = parent.kind.has_own_mac();
    let mut child = Child {
        parent: parent.device.clone(),
        kind: parent.kind,
        mtu: parent.mtu,
        mac: own_mac.then_some(endpoint.mac),
        mark: endpoint.id.mark(),
        addresses: endpoint.leases.iter().map(Lease::interface_address).collect(),
        neighbours: [].into(),
    };
    if let Some(HostAccess { addresses, .. }) = &parent.host_access {
        for lease in &endpoint.leases {
            let family = Family::of(lease.address);
            let Some(host) = addresses.iter().find(|host| Family::of(**host) == family) else { continue };
            let mac = own_mac.then_some(endpoint.mac);
            let path = Path { shim: network.id.shim_ifname(), source: *host, mac };
            upper.paths.insert(lease.address, path);
            if !parent.kind.is_routed() {
                child.neighbours.insert(*host, own_mac.then(|| network.shim_mac()));
            }
        }
    }
    upper.children.insert((namespace.clone(), endpoint.ifname.clone()), child);
    upper
}
