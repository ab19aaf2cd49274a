//! Shapers: what slows an endpoint down.

use std::fmt;

use linkspan_model::{IfName, Limit};

use crate::{State, Step, diff, tap};

/// The limits of a port or tap, at its device on the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shaper {
    /// The limit of what the device sends, which is what comes to the sandbox: a token bucket as its queue.
    pub ingress: Option<Limit>,
    /// The limit of what comes from the sandbox.
    pub egress: Option<Detour>,
}

/// What comes in at a device waits in the queue of another, where it can be slowed down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detour {
    /// The device for that, an ifb of its own.
    pub ifb: IfName,
    /// The limit.
    pub limit: Limit,
    /// Whether what comes in is led there. Always, as desired; not, as observed of one that lost its filter or device.
    pub fed: bool,
}

impl Shaper {
    /// The ifb, if it has one.
    pub fn ifb(&self) -> Option<&IfName> {
        self.egress.as_ref().map(|detour| &detour.ifb)
    }

    /// Whether it does the same as `other`, be it at another rate.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let way = |shaper: &Self| shaper.egress.as_ref().map(|detour| (detour.ifb.clone(), detour.fed));
        self.ingress.is_some() == other.ingress.is_some() && way(self) == way(other)
    }

    /// What is left when the device is gone: an ifb that nothing feeds.
    pub(crate) fn without_device(self) -> Option<Self> {
        let egress = self.egress.map(|detour| Detour { fed: false, ..detour })?;
        Some(Self { ingress: None, egress: Some(egress) })
    }
}

impl fmt::Display for Shaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(limit) = &self.ingress {
            write!(f, " ingress {limit}")?;
        }
        match &self.egress {
            Some(Detour { ifb, limit, .. }) => write!(f, " egress {limit} by {ifb}"),
            None => Ok(()),
        }
    }
}

/// Whether the shaper of `device` cannot stay as it is, because the device comes, goes or is made anew.
fn device_changes(desired: &State, observed: &State, device: &IfName) -> bool {
    let known = |state: &State| state.ports.contains_key(device) || state.taps.contains_key(device);
    known(desired) != known(observed)
        || diff::port_goes(desired, observed, device)
        || tap::goes(desired, observed, device)
}

/// The shapers that go.
pub(crate) fn removals<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = Step> {
    let goes = |device: &IfName, shaper: &Shaper| {
        desired.shapers.get(device) != Some(shaper) || device_changes(desired, observed, device)
    };
    observed
        .shapers
        .iter()
        .filter(move |(device, shaper)| goes(device, shaper))
        .map(|(device, shaper)| Step::Unshape(device.clone(), shaper.ifb().cloned()))
}

/// The shapers that come.
pub(crate) fn additions<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = Step> {
    let comes = |device: &IfName, shaper: &Shaper| {
        observed.shapers.get(device) != Some(shaper) || device_changes(desired, observed, device)
    };
    desired
        .shapers
        .iter()
        .filter(move |(device, shaper)| comes(device, shaper))
        .map(|(device, shaper)| Step::Shape(device.clone(), shaper.clone()))
}
