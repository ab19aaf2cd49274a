//! Devices that sit on a device of the host: VLAN sub-interfaces, macvlan and ipvlan.

pub(crate) mod desired;
mod diff;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{ChildKind, IfName, Mac, Name, Vlan};

pub(crate) use diff::{additions, created, dies, finish, preparations, removals, withdrawals};
pub use step::UpperStep;

/// Such devices of one host, its sandboxes included.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Upper {
    /// Devices of the host that carry others and so must be up; none is ever set down.
    pub up: BTreeSet<IfName>,
    /// 802.1Q sub-interfaces that are Linkspan's.
    pub vlans: BTreeMap<IfName, Vlan>,
    /// The host's own devices among sandboxes.
    pub shims: BTreeMap<IfName, Shim>,
    /// The devices inside sandboxes, by namespace and name there.
    pub children: BTreeMap<(Name, IfName), Child>,
    /// How the host reaches sandboxes over its shims, by address.
    pub paths: BTreeMap<IpAddr, Path>,
}

/// A macvlan or ipvlan device of the host's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shim {
    /// The device that it sits on.
    pub parent: IfName,
    /// What it is.
    pub kind: ChildKind,
    /// Its MTU in bytes; none for the parent's.
    pub mtu: Option<u32>,
    /// Its MAC, where the kind has one.
    pub mac: Option<Mac>,
    /// Addresses that the host has only here. It needs none to be reached: it answers for the host's other addresses,
    /// but only to whom the host has a path.
    pub addresses: BTreeSet<IpNet>,
}

/// A macvlan or ipvlan device inside a sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// The device of the host that it sits on.
    pub parent: IfName,
    /// What it is.
    pub kind: ChildKind,
    /// Its MTU in bytes; none for the parent's.
    pub mtu: Option<u32>,
    /// Its MAC, where the kind has one.
    pub mac: Option<Mac>,
    /// What it is known by, whatever it is called: the device group (IFLA_GROUP).
    pub mark: u32,
    /// Its addresses, link-local ones left out.
    pub addresses: BTreeSet<IpNet>,
    /// Addresses of the host, and the MAC that they have for it; none for its own, as ipvlan has it. They are not
    /// asked for, as who asks the LAN for the host gets its other device. Not to be observed.
    pub neighbours: BTreeMap<IpAddr, Option<Mac>>,
}

/// A host route to one address of a sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// The shim that it leads through.
    pub shim: IfName,
    /// The host's address that it is used from.
    pub source: IpAddr,
    /// The MAC there, which is not asked for, so that the LAN learns nothing of the shim. None for the shim's own.
    pub mac: Option<Mac>,
}

impl Upper {
    /// Whether nothing of it is there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds everything of `other`.
    pub fn merge(&mut self, other: Self) {
        self.up.extend(other.up);
        self.vlans.extend(other.vlans);
        self.shims.extend(other.shims);
        self.children.extend(other.children);
        self.paths.extend(other.paths);
    }

    /// Leaves of what sandboxes have only what belongs to the child known by `mark`.
    pub fn retain_child(&mut self, mark: u32) {
        self.children.retain(|_, child| child.mark == mark);
        let addresses: BTreeSet<_> =
            self.children.values().flat_map(|child| &child.addresses).map(IpNet::addr).collect();
        self.paths.retain(|to, _| addresses.contains(to));
    }

    /// Takes as wanted what people changed by hand on living devices.
    pub(crate) fn forgive(&mut self, wanted: &Self) {
        for (name, shim) in &mut self.shims {
            if let Some(wanted) = wanted.shims.get(name).filter(|wanted| wanted.parent == shim.parent) {
                shim.clone_from(wanted);
            }
        }
        for (key, child) in &mut self.children {
            let alike = |wanted: &&Child| (&wanted.parent, wanted.mark) == (&child.parent, child.mark);
            if let Some(wanted) = wanted.children.get(key).filter(alike) {
                child.clone_from(wanted);
            }
        }
        for (to, path) in &mut self.paths {
            if let Some(wanted) = wanted.paths.get(to).filter(|wanted| wanted.shim == path.shim) {
                path.clone_from(wanted);
            }
        }
    }
}
