//! Networks plugged into a bridge of Open vSwitch.

use linkspan_model::{Network, Uplink};
use linkspan_plan::{Failure, Kernel};

use crate::{Engine, Error};

impl<K: Kernel> Engine<K> {
    /// Refuses a network whose bridge of Open vSwitch is not there, before anything is made of it.
    pub(crate) fn refuse_missing_switch(&mut self, network: &Network) -> Result<(), Error> {
        match &network.bridge.uplink {
            Some(Uplink::Ovs(bridge)) => Ok(self.kernel.find_ovs_bridge(bridge)?),
            _ => Ok(()),
        }
    }

    /// Tells what stays of a network that goes while Open vSwitch does not run.
    pub(crate) fn tell_of_port_left(&mut self, network: &Network) {
        let Some(Uplink::Ovs(bridge)) = &network.bridge.uplink else { return };
        if let Err(error) = self.kernel.find_ovs_bridge(bridge)
            && error.failure == Failure::Unsupported
        {
            let port = network.id.downlink_ifname(0);
            self.note(format!(
                "Open vSwitch does not run and keeps the port {port} of network '{}', which leads nowhere now: once it \
                 runs, `ovs-vsctl --if-exists del-port {bridge} {port}` removes it",
                network.name
            ));
        }
    }
}
