//! The plugins, each by the name that it is called by.

mod bandwidth;
mod bridge;
mod device;
mod dummy;
#[cfg(test)]
mod example;
mod firewall;
mod host_device;
mod ipvlan;
mod loopback;
mod mac;
mod macvlan;
mod master;
mod native;
mod pair;
mod portmap;
mod ptp;
mod sbr;
mod tap;
mod tuning;
mod vlan;
mod vrf;

use crate::Plugin;
use crate::ipam::{Dhcp, HostLocal, Static};

/// All of them.
pub const ALL: &[&dyn Plugin] = &[
    &bandwidth::Bandwidth,
    &bridge::Bridge,
    &Dhcp,
    &dummy::Dummy,
    &firewall::Firewall,
    &host_device::HostDevice,
    &HostLocal::ALONE,
    &ipvlan::Ipvlan,
    &loopback::Loopback,
    &macvlan::Macvlan,
    &native::Native,
    &portmap::Portmap,
    &ptp::Ptp,
    &sbr::Sbr,
    &Static::ALONE,
    &tap::Tap,
    &tuning::Tuning,
    &vlan::Vlan,
    &vrf::Vrf,
];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static dyn Plugin> {
    ALL.iter().copied().find(|plugin| plugin.name() == name)
}
