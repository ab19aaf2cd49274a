//! What macvlan and ipvlan networks leave open: who gives out their addresses.

use super::{DHCP, Facts, HOST_LOCAL, IPVLAN, has_subnets, ipam, set_ipam};
use crate::options::DeviceOptions;
use crate::{Error, Network};

/// Checks the parent and the options, and says who gives out addresses.
pub(super) fn complete(network: &mut Network, host: &mut impl Facts) -> Result<(), Error> {
    if let Some(parent) = &network.network_interface
        && !host.has_device(parent)?
    {
        return Err(Error::new(format!("parent interface {parent} does not exist")));
    }
    // What answers on a bridge's own address has no place here.
    network.dns_enabled = false;
    let is_ipvlan = network.driver == IPVLAN;
    let has_subnets = has_subnets(network);
    let by_default = if has_subnets { HOST_LOCAL } else { DHCP };
    let driver = ipam(network).unwrap_or(by_default).to_owned();
    match driver.as_str() {
        DHCP if is_ipvlan => return Err(Error::new("ipam driver dhcp is not supported with ipvlan")),
        DHCP if has_subnets => return Err(Error::new("ipam driver dhcp set but subnets are set")),
        HOST_LOCAL if !has_subnets => {
            return Err(Error::new(format!(
                "{} driver needs at least one subnet specified when the host-local ipam driver is set",
                network.driver
            )));
        }
        _ => {}
    }
    set_ipam(network, &driver);
    let options = DeviceOptions::read(network.options.as_ref())?;
    if !is_ipvlan {
        return options.macvlan_mode().map(drop);
    }
    options.ipvlan_mode()?;
    match options.broadcast_cutoff {
        Some(_) => Err(Error::new("unsupported ipvlan network option bclim")),
        None => Ok(()),
    }
}
