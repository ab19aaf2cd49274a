//! Changes of such devices.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{IfName, Mac, Name, Vlan};

use super::{Child, Path, Shim};
use crate::State;

/// One change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpperStep {
    /// Sets a device of the host up.
    SetUp(IfName),
    /// Makes an 802.1Q sub-interface, up.
    CreateVlan(IfName, Vlan),
    /// Removes one.
    DeleteVlan(IfName),
    /// Makes the host's own device among sandboxes.
    CreateShim(IfName, Shim),
    /// Removes it, with its paths.
    DeleteShim(IfName),
    /// Makes a device inside a namespace and configures it.
    CreateChild((Name, IfName), Child),
    /// Removes it, by its mark.
    DeleteChild((Name, IfName), u32),
    /// Adds a host route to an address of a sandbox.
    AddPath(IpAddr, Path),
    /// Removes it.
    DeletePath(IpAddr, Path),
}

impl fmt::Display for UpperStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp(name) => write!(f, "set {name} up"),
            Self::CreateVlan(name, vlan) => write!(f, "create vlan {name} on {} id {}", vlan.link, vlan.id),
            Self::DeleteVlan(name) => write!(f, "delete vlan {name}"),
            Self::CreateShim(name, shim) => {
                write!(f, "create {} {name} on {}", shim.kind, shim.parent)?;
                fmt_device(f, shim.mac, shim.mtu, shim.addresses.iter())
            }
            Self::DeleteShim(name) => write!(f, "delete shim {name}"),
            Self::CreateChild((namespace, name), child) => {
                write!(f, "create {} {name} in {namespace} on {}", child.kind, child.parent)?;
                fmt_device(f, child.mac, child.mtu, child.addresses.iter())?;
                child.neighbours.iter().try_for_each(|(address, mac)| {
                    write!(f, " neighbour {address}")?;
                    mac.map_or(Ok(()), |mac| write!(f, " at {mac}"))
                })
            }
            Self::DeleteChild((namespace, name), _) => write!(f, "delete {name} in {namespace}"),
            Self::AddPath(to, path) => {
                write!(f, "add route to {to} dev {} from {}", path.shim, path.source)?;
                path.mac.map_or(Ok(()), |mac| write!(f, " at {mac}"))
            }
            Self::DeletePath(to, path) => write!(f, "delete route to {to} dev {}", path.shim),
        }
    }
}

fn fmt_device<'a>(
    f: &mut fmt::Formatter<'_>,
    mac: Option<Mac>,
    mtu: Option<u32>,
    mut addresses: impl Iterator<Item = &'a IpNet>,
) -> fmt::Result {
    mac.map_or(Ok(()), |mac| write!(f, " mac {mac}"))?;
    mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))?;
    addresses.try_for_each(|address| write!(f, " address {address}"))
}

impl UpperStep {
    /// What it means: the state after it.
    pub(crate) fn apply(self, state: &mut State) {
        let upper = &mut state.upper;
        match self {
            Self::SetUp(name) => _ = upper.up.insert(name),
            Self::CreateVlan(name, vlan) => {
                upper.up.insert(name.clone());
                upper.vlans.insert(name, vlan);
            }
            Self::DeleteVlan(name) => {
                upper.vlans.remove(&name);
                upper.up.remove(&name);
                upper.shims.retain(|_, shim| shim.parent != name);
                let shims = &upper.shims;
                upper.paths.retain(|_, path| shims.contains_key(&path.shim));
                let on_it = upper.children.iter().filter(|(_, child)| child.parent == name);
                let gone: Vec<_> = on_it.map(|(key, _)| key.clone()).collect();
                gone.iter().for_each(|key| remove_child(state, key));
            }
            Self::CreateShim(name, shim) => _ = upper.shims.insert(name, shim),
            Self::DeleteShim(name) => {
                upper.shims.remove(&name);
                upper.paths.retain(|_, path| path.shim != name);
            }
            Self::CreateChild(key, child) => _ = upper.children.insert(key, child),
            Self::DeleteChild(key, _) => remove_child(state, &key),
            Self::AddPath(to, path) => _ = upper.paths.insert(to, path),
            Self::DeletePath(to, _) => _ = upper.paths.remove(&to),
        }
    }
}

fn remove_child(state: &mut State, key: &(Name, IfName)) {
    state.upper.children.remove(key);
    state.routes.retain(|route| (&route.namespace, &route.ifname) != (&key.0, &key.1));
}
