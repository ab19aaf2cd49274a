//! Devices on devices of the fake host, as strict as the real kernel is about them.

use linkspan_model::{ChildKind, IfName, Mac, Name};
use linkspan_plan::{Child, Failure, Scope, Upper, UpperStep};

use super::{Fake, absent, select, vacant};
use crate::error::{Refusal, Result};

impl Fake {
    pub(super) fn seen_upper(&self, scope: &Scope) -> Upper {
        let (found, wanted) = (&self.state.upper, &scope.upper);
        let mut children = select(&found.children, |key| {
            let mark = |child: &Child| wanted.children.get(key).is_some_and(|w| w.mark == child.mark);
            found.children.get(key).is_some_and(mark)
        });
        children.values_mut().for_each(|child| child.neighbours.clear());
        Upper {
            up: wanted.up.iter().filter(|name| self.is_up(name)).cloned().collect(),
            vlans: select(&found.vlans, |name| wanted.vlans.contains_key(name)),
            shims: select(&found.shims, |name| wanted.shims.contains_key(name)),
            children,
            paths: select(&found.paths, |to| wanted.paths.contains_key(to)),
        }
    }

    pub(super) fn allow_upper(&self, step: &UpperStep) -> Result<()> {
        let upper = &self.state.upper;
        match step {
            UpperStep::SetUp(name) => self.carries(name),
            UpperStep::CreateVlan(name, vlan) => {
                self.carries(&vlan.link)?;
                vacant(!self.parents.contains_key(name) && !upper.vlans.contains_key(name), name)
            }
            UpperStep::CreateShim(name, shim) => {
                vacant(!upper.shims.contains_key(name), name)?;
                self.allow_on(&shim.parent, shim.kind, shim.mac)
            }
            UpperStep::CreateChild((namespace, ifname), child) => {
                self.pinned(namespace)?;
                vacant(!self.has_device(namespace, ifname), ifname)?;
                self.allow_on(&child.parent, child.kind, child.mac)
            }
            UpperStep::AddPath(to, path) => {
                upper.shims.get(&path.shim).ok_or_else(|| absent(&path.shim))?;
                vacant(!upper.paths.contains_key(to), to)
            }
            _ => Ok(()),
        }
    }

    /// The names of the devices that sit inside a namespace.
    pub(super) fn children_in<'a>(&'a self, namespace: &'a Name) -> impl Iterator<Item = &'a IfName> {
        let keys = self.state.upper.children.keys();
        keys.filter(move |(inside, _)| inside == namespace).map(|(_, ifname)| ifname)
    }

    pub(super) fn is_parent(&self, name: &IfName) -> bool {
        self.parents.contains_key(name) || self.state.upper.vlans.contains_key(name)
    }

    fn carries(&self, name: &IfName) -> Result<()> {
        if self.is_parent(name) { Ok(()) } else { Err(absent(name)) }
    }

    fn is_up(&self, name: &IfName) -> bool {
        self.state.upper.up.contains(name) || self.parents.get(name).is_some_and(|parent| parent.up)
    }

    /// Whether `parent` takes one more device: it is there and up, and those on it are of the same sort.
    fn allow_on(&self, parent: &IfName, kind: ChildKind, mac: Option<Mac>) -> Result<()> {
        self.carries(parent)?;
        if !self.is_up(parent) {
            return Err(Refusal::new(Failure::Other, format!("ENETDOWN: {parent} is down")));
        }
        let upper = &self.state.upper;
        let shims = upper.shims.values().map(|shim| (&shim.parent, shim.kind, shim.mac));
        let children = upper.children.values().map(|child| (&child.parent, child.kind, child.mac));
        for (_, other, others_mac) in shims.chain(children).filter(|(on, ..)| *on == parent) {
            if kind.conflict(other).is_some() || (mac.is_some() && mac == others_mac) {
                return Err(Refusal::new(Failure::Other, format!("EBUSY: {parent} carries {other}")));
            }
        }
        Ok(())
    }
}
