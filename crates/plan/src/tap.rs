//! Taps: ports of a bridge that a virtual machine opens.

use std::fmt;

use linkspan_model::IfName;

use crate::diff::bridge_moves;
use crate::{State, Step};

/// A persistent tap that is a port of a bridge. The machine that opens it has the addresses; the kernel knows nothing
/// of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tap {
    /// The bridge it is plugged into.
    pub bridge: IfName,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is kept from other isolated ports of the bridge (IFLA_BRPORT_ISOLATED).
    pub isolated: bool,
    /// The user who may open it without privileges, by number.
    pub owner: Option<u32>,
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} mtu {}", self.bridge, self.mtu)?;
        if self.isolated {
            f.write_str(" isolated")?;
        }
        self.owner.iter().try_for_each(|owner| write!(f, " owner {owner}"))
    }
}

/// Whether the observed tap `name` has to go: it is not as desired, or its bridge goes.
pub(crate) fn goes(desired: &State, observed: &State, name: &IfName) -> bool {
    observed.taps.get(name).is_some_and(|tap| {
        desired.taps.get(name) != Some(tap) || bridge_moves(desired, observed, &tap.bridge)
    })
}

/// The taps that go.
pub(crate) fn removals<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = Step> {
    observed
        .taps
        .keys()
        .filter(|name| goes(desired, observed, name))
        .map(|name| Step::DeleteTap(name.clone()))
}

/// The taps that come.
pub(crate) fn additions<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = Step> {
    desired
        .taps
        .iter()
        .filter(|(name, _)| !observed.taps.contains_key(*name) || goes(desired, observed, name))
        .map(|(name, tap)| Step::CreateTap(name.clone(), tap.clone()))
}
