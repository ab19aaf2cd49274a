//! Patches whose other side is a port of an Open vSwitch bridge: a row in its database.

use linkspan_model::{Id, IfName};
use linkspan_plan::{KernelError, Patch, PatchEnd, Step};

use super::apply::IPV6_MINIMUM_MTU;
use super::observe::unplugged;
use super::port::full_bridge;
use super::{Host, live_bridge, settle};
use crate::error::Result;
use crate::ethtool;
use crate::ovsdb::Switch;
use crate::rtnl::link::{self, Link};

/// `datapath_type` of bridges whose packets ovs-vswitchd moves by itself.
const USERSPACE: &str = "netdev";

impl Host {
    /// Joins a bridge of ours to one of Open vSwitch. The pair comes first: a port without a device is an error there.
    pub(super) fn create_ovs_patch(
        &mut self,
        name: &IfName,
        patch: &Patch,
        bridge: &str,
        network: Id,
    ) -> Result<()> {
        let below = live_bridge(&mut self.route, &patch.bridge)?;
        let mut switch = Switch::open()?;
        let kind = switch.bridge_kind(bridge)?;
        switch.catch_up(patch.peer.as_str())?;
        let create = link::create_patch(name, below.index, &patch.peer, patch.mtu);
        self.route.batch(vec![create]).map_err(|error| full_bridge(error, &patch.bridge))?;
        if kind == USERSPACE {
            // ovs-vswitchd reads what arrives at the other side from a packet socket.
            ethtool::finish_packets(name)?;
        }
        let no_link_local = self.ipv6 && patch.mtu >= IPV6_MINIMUM_MTU;
        let up = |name| link::configure_port(name, false, false, no_link_local);
        let answers = self.route.batch(vec![
            link::answer_for_own(below.index),
            up(name),
            up(&patch.peer),
            link::get(name),
            link::get(&patch.peer),
        ])?;
        let sides = answers.iter().filter_map(|answer| Link::parse(&answer.body));
        let sides: Vec<u32> = sides.map(|side| side.index).collect();
        switch.add_port(bridge, patch.peer.as_str(), &network.to_string())?;
        settle::links(&mut self.route, &[&sides[..], &[below.index]].concat())?;
        if below.stp {
            settle::forwarding(&mut self.route, sides.get(..1).unwrap_or_default())
        } else {
            Ok(())
        }
    }
}

/// What there is of a patch, if it is to lead to Open vSwitch: the `pair` that the kernel has, and the port. While Open
/// vSwitch does not run, the port is taken to be where it should be: its database outlives it.
pub(super) fn observe(wanted: &Patch, pair: Option<Patch>) -> Result<Option<Patch>> {
    let PatchEnd::Ovs { network, .. } = &wanted.to else { return Ok(pair) };
    let Some(mut switch) = Switch::find()? else {
        return Ok(pair.map(|pair| Patch { to: wanted.to.clone(), ..pair }));
    };
    let Some(bridge) = switch.bridge_of(wanted.peer.as_str())? else { return Ok(pair) };
    let to = PatchEnd::Ovs { bridge, network: *network };
    Ok(Some(match pair {
        Some(pair) => Patch { to, ..pair },
        // A port whose device is gone, as after a boot.
        None => Patch { to, bridge: unplugged()?, ..wanted.clone() },
    }))
}

/// Takes the ports of patches that go out of Open vSwitch. One that does not run keeps them: who removes a network tells
/// that.
pub(super) fn unplug(steps: &[Step]) -> std::result::Result<(), KernelError> {
    for step in steps {
        if let Step::DeletePatch(_, Patch { to: PatchEnd::Ovs { .. }, peer, .. }) = step {
            let found = Switch::find().map_err(|refusal| refusal.of(step))?;
            if let Some(mut switch) = found {
                switch.remove_port(peer.as_str()).map_err(|refusal| refusal.of(step))?;
            }
        }
    }
    Ok(())
}
