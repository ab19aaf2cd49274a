//! Subnets that are free, and what is to be said of each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Facts;
use crate::addresses::refuse_overlaps;
use crate::{Error, LeaseRange, Network, Subnet, SubnetPool};

/// How often a subnet is drawn.
const DRAWS: usize = 10_000;

/// The first subnet of the pools that overlaps none of `taken`, and of those rather one that the host has nothing to do with:
/// a route that covers all pools, as that of a VPN may, does not keep networks from being made.
pub(super) fn free_v4(pools: &[SubnetPool], taken: &[IpNet], of_host: &[IpNet]) -> Result<IpNet, Error> {
    let both = [taken, of_host].concat();
    let found = pools.iter().find_map(|pool| free_in(pool, &both));
    let found = found.or_else(|| pools.iter().find_map(|pool| free_in(pool, taken)));
    found.map(IpNet::V4).ok_or_else(|| Error::new("could not find free subnet from subnet pools"))
}

fn free_in(pool: &SubnetPool, taken: &[IpNet]) -> Option<Ipv4Net> {
    let IpNet::V4(base) = pool.base else { return None };
    if !(base.prefix_len()..=base.max_prefix_len()).contains(&pool.size) {
        return None;
    }
    let number = |address: Ipv4Addr| u64::from(u32::from(address));
    let step = 1 << (base.max_prefix_len() - pool.size);
    let mut at = number(base.network());
    while at <= number(base.broadcast()) {
        let candidate = Ipv4Net::new(u32::try_from(at).ok()?.into(), pool.size).ok()?;
        let in_the_way = taken.iter().filter_map(|net| match net {
            IpNet::V4(net) if overlap(&IpNet::V4(*net), &IpNet::V4(candidate)) => {
                Some(number(net.broadcast()))
            }
            _ => None,
        });
        match in_the_way.max() {
            None => return Some(candidate),
            Some(last) => at = (last / step + 1) * step,
        }
    }
    None
}

/// A subnet of 64 bits drawn from fd00::/8 (RFC 4193) that overlaps none of `taken`.
pub(super) fn free_v6(taken: &[IpNet], host: &mut impl Facts) -> Result<IpNet, Error> {
    for _ in 0..DRAWS {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..8].copy_from_slice(&host.chance()?);
        let drawn = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(octets), 64));
        if !taken.iter().any(|net| overlap(net, &drawn)) {
            return Ok(drawn);
        }
    }
    Err(Error::new("failed to get random ipv6 subnet"))
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Checks the subnets, and gives each a gateway if the network has such.
pub(super) fn settle(network: &mut Network, taken: &[IpNet]) -> Result<(), Error> {
    let Some(subnets) = &mut network.subnets else { return Ok(()) };
    refuse_overlaps(subnets)?;
    for Subnet { gateway, lease_range, subnet } in subnets {
        if taken.iter().any(|net| overlap(net, subnet)) {
            return Err(Error::new(format!(
                "subnet {subnet} is already used on the host or by another config"
            )));
        }
        match gateway {
            Some(given) if !subnet.contains(&*given) => {
                return Err(Error::new(format!("gateway {given} not in subnet {subnet}")));
            }
            Some(_) => {}
            None if network.internal && !network.dns_enabled => {}
            None => *gateway = Some(first_address(subnet)?),
        }
        if let Some(range) = lease_range {
            contained(range, subnet)?;
        }
        network.ipv6_enabled |= subnet.addr().is_ipv6();
    }
    Ok(())
}

/// The first address behind that of the subnet itself.
fn first_address(subnet: &IpNet) -> Result<IpAddr, Error> {
    // The last address of an IPv4 subnet is none to be given out either.
    let too_long =
        if subnet.addr().is_ipv4() { subnet.max_prefix_len() - 1 } else { subnet.max_prefix_len() };
    if subnet.prefix_len() >= too_long {
        return Err(Error::new(format!(
            "could not create gateway for subnet {subnet} because it has a {too_long} or greater subnet prefix"
        )));
    }
    Ok(match subnet.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + 1).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + 1).into()),
    })
}

fn contained(range: &LeaseRange, subnet: &IpNet) -> Result<(), Error> {
    let end = |name: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let address: IpAddr = text.parse().map_err(|error| Error::new(format!("invalid {name}: {error}")))?;
        if subnet.contains(&address) {
            return Ok(Some(address));
        }
        Err(Error::new(format!("lease range {name} {address} not in subnet {subnet}")))
    };
    let (start, end) = (end("start_ip", &range.start_ip)?, end("end_ip", &range.end_ip)?);
    match start.zip(end) {
        Some((start, end)) if start > end => Err(Error::new(format!(
            "lease range start_ip {start} must be less than or equal to end_ip {end}"
        ))),
        _ => Ok(()),
    }
}
