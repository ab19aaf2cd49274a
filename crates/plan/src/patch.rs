//! Patches: veth pairs between a bridge of ours and another one.

use std::fmt;

use linkspan_model::{Id, IfName};

use crate::diff::bridge_moves;
use crate::{State, Step};

/// A veth pair with both sides in the host's namespace: one is a port of a bridge of ours, the other of another bridge.
/// In a [`State`] it goes by the name of the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patch {
    /// The bridge of ours that it leads up from.
    pub bridge: IfName,
    /// Where it leads.
    pub to: PatchEnd,
    /// The device there.
    pub peer: IfName,
    /// The MTU of both sides in bytes.
    pub mtu: u32,
    /// Whether the side there is kept from other isolated ports of that bridge; for a Linux bridge only.
    pub isolated: bool,
}

/// The bridge that a patch leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PatchEnd {
    /// A Linux bridge.
    Bridge(IfName),
    /// A bridge of Open vSwitch.
    Ovs {
        /// Its name, which need not be a device's.
        bridge: String,
        /// The network that the port there is marked with.
        network: Id,
    },
}

impl fmt::Display for PatchEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(name) => write!(f, "{name}"),
            Self::Ovs { bridge, .. } => write!(f, "ovs:{bridge}"),
        }
    }
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} to {} on {} mtu {}", self.bridge, self.peer, self.to, self.mtu)?;
        f.write_str(if self.isolated { " isolated" } else { "" })
    }
}

impl Patch {
    /// One that nobody knows, by one of its sides and the bridge that this is a port of. It can only be removed.
    pub fn stray(side: IfName, bridge: IfName) -> Self {
        Self { to: PatchEnd::Bridge(bridge.clone()), bridge, peer: side, mtu: 0, isolated: false }
    }

    /// Takes as wanted what people changed by hand, as long as it joins what it should join.
    pub(crate) fn forgive(&mut self, wanted: Option<&Self>) {
        if let Some(wanted) = wanted
            && (&wanted.bridge, &wanted.to) == (&self.bridge, &self.to)
        {
            self.clone_from(wanted);
        }
    }

    /// Whether a bridge at an end of it goes or is made anew, so that the patch goes with it.
    fn ends_move(&self, desired: &State, observed: &State) -> bool {
        let above = match &self.to {
            PatchEnd::Bridge(name) => bridge_moves(desired, observed, name),
            PatchEnd::Ovs { .. } => false,
        };
        above || bridge_moves(desired, observed, &self.bridge)
    }
}

pub(crate) fn removals(desired: &State, observed: &State) -> Vec<Step> {
    let goes = |(name, patch): &(&IfName, &Patch)| {
        desired.patches.get(*name) != Some(*patch) || patch.ends_move(desired, observed)
    };
    let gone = observed.patches.iter().filter(goes);
    gone.map(|(name, patch)| Step::DeletePatch(name.clone(), patch.clone())).collect()
}

pub(crate) fn additions(desired: &State, observed: &State) -> Vec<Step> {
    let comes = |(name, patch): &(&IfName, &Patch)| {
        observed.patches.get(*name) != Some(*patch) || patch.ends_move(desired, observed)
    };
    let new = desired.patches.iter().filter(comes);
    new.map(|(name, patch)| Step::CreatePatch(name.clone(), patch.clone())).collect()
}
