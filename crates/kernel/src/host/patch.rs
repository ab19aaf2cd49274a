//! Patches: veth pairs with both sides here, each a port of another bridge.

use std::collections::BTreeMap;

use linkspan_model::IfName;
use linkspan_plan::{Patch, PatchEnd, Scope, State};
use nix::errno::Errno;

use super::apply::IPV6_MINIMUM_MTU;
use super::observe::{by_index, mac, unplugged};
use super::port::full_bridge;
use super::{Host, find_links, live_bridge, ovs, send_tolerant, settle};
use crate::error::Result;
use crate::rtnl::link::{self, Link};
use crate::rtnl::qdisc;

impl Host {
    /// Joins two bridges. Both answer ARP for their own addresses only from then on.
    pub(super) fn create_patch(&mut self, name: &IfName, patch: &Patch) -> Result<()> {
        let above = match &patch.to {
            PatchEnd::Bridge(above) => above,
            PatchEnd::Ovs { bridge, network } => {
                return self.create_ovs_patch(name, patch, bridge, *network);
            }
        };
        let below = live_bridge(&mut self.route, &patch.bridge)?;
        let above = live_bridge(&mut self.route, above)?;
        let no_link_local = self.ipv6 && patch.mtu >= IPV6_MINIMUM_MTU;
        let port = |name, isolated| link::configure_port(name, isolated, false, no_link_local);
        let create = link::create_patch(name, below.index, &patch.peer, patch.mtu);
        self.route.batch(vec![create]).map_err(|error| full_bridge(error, &patch.bridge))?;
        self.route
            .batch(vec![link::enslave(&patch.peer, above.index, mac(&above))])
            .map_err(|error| full_bridge(error, &above.name))?;
        let answers = self.route.batch(vec![
            link::answer_for_own(below.index),
            link::answer_for_own(above.index),
            port(name, false),
            port(&patch.peer, patch.isolated),
            link::get(name),
            link::get(&patch.peer),
        ])?;
        let sides = answers.iter().filter_map(|answer| Link::parse(&answer.body));
        let sides: Vec<u32> = sides.map(|side| side.index).collect();
        if let [_, peer] = sides[..]
            && !above.is_without_arp()
        {
            self.shorten_way_to_host(peer, &above)?;
        }
        settle::links(&mut self.route, &[&sides[..], &[below.index, above.index]].concat())?;
        if below.stp || above.stp {
            settle::forwarding(&mut self.route, &sides)?;
        }
        Ok(())
    }

    /// What comes up for the host leaves the bridge `above` out. Where netfilter sees what bridges forward
    /// (net.bridge.bridge-nf-call-iptables), a packet to a published port would else be sent on by the bridge, past the
    /// host, and never out of the port that it came in at: two sandboxes below one patch would not reach what they
    /// publish. The rest, as ARP, goes through the bridge, which so learns who is below. A kernel without filters goes
    /// without that.
    fn shorten_way_to_host(&mut self, port: u32, above: &Link) -> Result<()> {
        let mut messages = vec![qdisc::create_clsact(port)];
        messages.extend(qdisc::divert(port, mac(above), above.index));
        send_tolerant(&mut self.route, messages, &[Errno::ENOENT, Errno::EOPNOTSUPP, Errno::EINVAL])
    }

    /// The patches of `scope` that are there; one whose other side is plugged in elsewhere leads there.
    pub(super) fn observe_patches(
        &mut self,
        scope: &Scope,
        devices: &BTreeMap<IfName, Link>,
        state: &mut State,
    ) -> Result<()> {
        let mut bridges = by_index(devices);
        for (name, wanted) in &scope.patches {
            let pair = match devices.get(name) {
                Some(link) => Some(self.pair(link, wanted, &mut bridges)?),
                None => None,
            };
            let found = ovs::observe(wanted, pair)?;
            state.patches.extend(found.map(|found| (name.clone(), found)));
        }
        Ok(())
    }

    /// A pair as the kernel has it, from its side `link`.
    fn pair(&mut self, link: &Link, wanted: &Patch, bridges: &mut BTreeMap<u32, IfName>) -> Result<Patch> {
        let bridge = self.master(link, bridges)?;
        let peer = find_links(&mut self.route, vec![link::get(&wanted.peer)])?.into_iter().flatten().next();
        let ours = |peer: &Link| link.peer == Some(peer.index) && peer.peer == Some(link.index);
        let peer = peer.filter(ours);
        let to = PatchEnd::Bridge(match &peer {
            Some(peer) => self.master(peer, bridges)?,
            None => unplugged()?,
        });
        let isolated = peer.is_some_and(|peer| peer.isolated);
        Ok(Patch { bridge, to, peer: wanted.peer.clone(), mtu: link.mtu, isolated })
    }
}
