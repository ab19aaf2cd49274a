//! Bridges that are one segment with another: what joins them, and what the firewall is told of them.

use std::collections::BTreeSet;

use linkspan_model::{IfName, Mac, Network, Uplink};

use crate::{Bridge, Element, Patch, PatchEnd, State};

/// What a network's bridge `number` needs to be one segment with another bridge.
struct Link<'a> {
    network: &'a Network,
    number: u16,
    bridge: IfName,
    to: PatchEnd,
    isolated: bool,
}

impl Link<'_> {
    fn patch(self) -> (IfName, Patch) {
        let Self { network: Network { id, bridge: options, .. }, number, bridge, to, isolated } = self;
        let peer = id.downlink_ifname(number);
        (id.uplink_ifname(number), Patch { bridge, to, peer, mtu: options.mtu, isolated })
    }
}

/// Adds to what `network` needs how it is plugged into the network above or into Open vSwitch, if it is into one.
pub(crate) fn plug(network: &Network, state: &mut State) {
    let (to, isolated) = match (&network.core, &network.bridge.uplink) {
        (Some(core), _) => (PatchEnd::Bridge(core.bridge.clone()), !core.icc),
        (None, Some(Uplink::Ovs(bridge))) => {
            (PatchEnd::Ovs { bridge: bridge.clone(), network: network.id }, false)
        }
        _ => return,
    };
    let bridge = network.bridge_name();
    state.patches.extend([Link { network, number: 0, bridge, to, isolated }.patch()]);
}

/// Access bridge `number` of `network`, below the one before it: in a row, and not each below the network's own. The
/// copies of a broadcast wait in one queue of 1,000 (net.core.netdev_max_backlog), and one beside the other the bridges
/// would all put theirs in at once; so they do one after the other.
///
/// Without icc its ports are isolated as all are, and so is what leads to it on the bridge above; what leads up from it is
/// not.
pub(crate) fn access(network: &Network, number: u16) -> State {
    let bridge = network.bridge_numbered(number);
    let mut state = switch(network, bridge.clone(), network.id.switch_mac(number));
    let above = network.bridge_numbered(number.saturating_sub(1));
    let (to, isolated) = (PatchEnd::Bridge(above), !network.bridge.icc);
    state.patches.extend([Link { network, number, bridge, to, isolated }.patch()]);
    state
}

/// A bridge on which the host is nobody. What passes belongs to the bridge above, where the host's address is: there it
/// is routed, translated and kept apart. What a sandbox sends to this bridge itself goes nowhere.
pub(crate) fn switch(network: &Network, name: IfName, mac: Mac) -> State {
    let elements = [Element::Bridge(name.clone()), Element::Internal(name.clone())];
    let (mtu, stp) = (network.bridge.mtu, network.bridge.stp);
    let bridge = Bridge { mac, mtu, addresses: BTreeSet::new(), switch: true, stp };
    State { bridges: [(name, bridge)].into(), firewall: Some(elements.into()), ..State::default() }
}
