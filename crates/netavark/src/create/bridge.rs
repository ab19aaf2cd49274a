//! What bridge networks leave open: the bridge's name, and subnets.

use std::collections::HashSet;

use ipnet::IpNet;

use super::{BRIDGE, DHCP, Facts, HOST_LOCAL, has_subnets, interface_name, ipam, is_word, set_ipam, subnets};
use crate::options::{BridgeMode, BridgeOptions};
use crate::{CreateOptions, Error, Network, Subnet, Used};

/// Docker's names of what Podman calls otherwise.
const DOCKERS_MTU: &str = "com.docker.network.driver.mtu";
const DOCKERS_BRIDGE: &str = "com.docker.network.bridge.name";

/// How many names of bridges are tried.
const NAMES: u32 = 1_000_000;

/// Gives options that have Docker's names those of Podman.
pub(super) fn rename(network: &mut Network) {
    let Some(options) = network.options.as_mut().filter(|_| network.driver == BRIDGE) else { return };
    if let Some(mtu) = options.remove(DOCKERS_MTU) {
        options.insert("mtu".to_owned(), mtu);
    }
    if let Some(name) = options.remove(DOCKERS_BRIDGE) {
        network.network_interface = Some(name);
    }
}

/// Whether the network has its bridge and subnets for itself. Those of a VLAN share the bridge; somebody else's bridge has
/// the subnets of a LAN.
pub(super) fn is_own(options: &BridgeOptions) -> bool {
    options.vlan.is_none() && options.mode == BridgeMode::Managed
}

/// Chooses a name for the bridge, and subnets.
pub(super) fn complete(
    network: &mut Network,
    read: &BridgeOptions,
    (used, options): (&Used, &CreateOptions),
    host: &mut impl Facts,
) -> Result<(), Error> {
    match &network.network_interface {
        Some(name) if is_own(read) && used.interfaces.contains(name) => {
            return Err(Error::new(format!("bridge name {name} already in use")));
        }
        Some(name) if !is_word(name) => return Err(Error::new(format!("bridge name {name} is invalid"))),
        Some(_) => {}
        None => network.network_interface = Some(free_name(used, options, host)?),
    }
    match ipam(network) {
        None | Some(HOST_LOCAL) => {}
        Some(DHCP) if read.mode == BridgeMode::Managed => {
            return Err(Error::new("cannot use dhcp ipam driver without using the option mode=unmanaged"));
        }
        Some(_) => return Ok(()),
    }
    let check = options.check_used_subnets && is_own(read);
    let taken = if check { used.subnets.as_slice() } else { &[] };
    let is_empty = !has_subnets(network);
    let chosen = network.subnets.get_or_insert_default();
    let lacks = |chosen: &[Subnet], v6: bool| !chosen.iter().any(|known| is_v6(&known.subnet) == v6);
    if is_empty || network.ipv6_enabled && lacks(chosen, false) {
        let of_host = if check { host.prefixes()? } else { Vec::new() };
        chosen.push(open(subnets::free_v4(&options.subnet_pools, taken, &of_host)?));
    }
    if network.ipv6_enabled && lacks(chosen, true) {
        chosen.push(open(subnets::free_v6(&used.subnets, host)?));
    }
    set_ipam(network, HOST_LOCAL);
    Ok(())
}

const fn is_v6(subnet: &IpNet) -> bool {
    matches!(subnet, IpNet::V6(_))
}

const fn open(subnet: IpNet) -> Subnet {
    Subnet { gateway: None, lease_range: None, subnet }
}

fn free_name(used: &Used, options: &CreateOptions, host: &mut impl Facts) -> Result<String, Error> {
    let prefix = options.default_interface_name.as_deref();
    let prefix = prefix.ok_or_else(|| Error::new("default interface name is not set"))?;
    let taken: HashSet<&String> = used.interfaces.iter().chain(used.names.keys()).collect();
    for number in 1..NAMES {
        let name = format!("{prefix}{number}");
        if taken.contains(&name) {
            continue;
        }
        interface_name(&name)?;
        if !host.has_device(&name)? {
            return Ok(name);
        }
    }
    Err(Error::new("could not find a free device name"))
}
