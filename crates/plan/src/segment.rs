//! Bridges that are one segment with another: what joins them, and what the firewall is told of them.

use std::collections::BTreeSet;

use linkspan_model::{IfName, Mac, Network};

use crate::{Bridge, Element, Patch, PatchEnd, State};

/// What a network's bridge `number` needs to be one segment with the bridge above it.
struct Link<'a> {
    network: &'a Network,
    number: u16,
    bridge: IfName,
    above: IfName,
    isolated: bool,
}

impl Link<'_> {
    fn patch(self) -> (IfName, Patch) {
        let Self { network: Network { id, bridge: options, .. }, number, bridge, above, isolated } = self;
        let peer = id.downlink_ifname(number);
        let to = PatchEnd::Bridge(above);
        (id.uplink_ifname(number), Patch { bridge, to, peer, mtu: options.mtu, isolated })
    }
}

/// Adds to what `network` needs how it is plugged into the network above, if it is into one.
pub(crate) fn plug(network: &Network, state: &mut State) {
    let Some(core) = &network.core else { return };
    let (bridge, above) = (network.bridge_name(), core.bridge.clone());
    state.patches.extend([Link { network, number: 0, bridge, above, isolated: !core.icc }.patch()]);
}

/// Access bridge `number` of `network`. Without icc its ports are isolated as all are, and so is what leads to it on the
/// network's own bridge; what leads up from it is not.
pub(crate) fn access(network: &Network, number: u16) -> State {
    let bridge = network.bridge_numbered(number);
    let mut state = switch(network, bridge.clone(), network.id.switch_mac(number));
    let (above, isolated) = (network.bridge_name(), !network.bridge.icc);
    state.patches.extend([Link { network, number, bridge, above, isolated }.patch()]);
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
