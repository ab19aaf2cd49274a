//! Which address an endpoint gets.

use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{Family, Id, Pool};
use thiserror::Error;

/// How many addresses of a pool are chosen from by themselves; more may be asked for by name. It bounds what is
/// remembered of released addresses, which are reused only when every other of these has been used.
const CHOSEN_FROM: u128 = 1 << 20;

/// What is known of a network's addresses.
pub trait Leases {
    /// Why it could not be found out.
    type Error;

    /// The endpoint that has `address` now.
    ///
    /// # Errors
    /// If it could not be found out.
    fn holder(&self, address: IpAddr) -> Result<Option<Id>, Self::Error>;

    /// Whether `address` was ever given out, now or before.
    ///
    /// # Errors
    /// If it could not be found out.
    fn was_used(&self, address: IpAddr) -> Result<bool, Self::Error>;

    /// Where the search for an address of `subnet` that was never given out goes on.
    ///
    /// # Errors
    /// If it could not be found out.
    fn cursor(&self, subnet: &IpNet) -> Result<Option<IpAddr>, Self::Error>;

    /// Of the addresses from `first` to `last` that were given back, the one that was so first.
    ///
    /// # Errors
    /// If it could not be found out.
    fn oldest_released(&self, first: IpAddr, last: IpAddr) -> Result<Option<IpAddr>, Self::Error>;
}

/// An address that was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The pool's place in the list.
    pub pool: usize,
    /// The address.
    pub address: IpAddr,
    /// Where the next search of that pool goes on, if it moved.
    pub cursor: Option<IpAddr>,
}

/// Why there is no address.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal<E> {
    /// Every address is taken.
    #[error("no free {family} address is left in {pools}")]
    Full {
        /// The family.
        family: Family,
        /// The ranges chosen from.
        pools: String,
    },
    /// The wanted address is in no subnet of the network.
    #[error("address {address} is outside the network's subnets ({subnets})")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The subnets there are.
        subnets: String,
    },
    /// The wanted address is not one that an endpoint can have.
    #[error("address {address} cannot be given out: it is {by}")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// What it is.
        by: String,
    },
    /// The wanted address is in use.
    #[error("address {address} is in use")]
    Taken {
        /// The address.
        address: IpAddr,
        /// The endpoint that has it.
        holder: Id,
    },
    /// The network has no pool of the family asked for.
    #[error("the network has no {0} subnet")]
    NoPool(Family),
    /// The leases could not be read.
    #[error(transparent)]
    Leases(E),
}

/// Chooses an address of `family`: the one `wanted`, or one never given out yet, or the one given back longest ago.
///
/// # Errors
/// If there is none to be had, or `wanted` cannot be.
pub fn choose<L: Leases>(
    pools: &[Pool],
    family: Family,
    wanted: Option<IpAddr>,
    leases: &L,
) -> Result<Choice, Refusal<L::Error>> {
    let of_family = || pools.iter().enumerate().filter(move |(_, pool)| pool.family() == family);
    if of_family().next().is_none() {
        return Err(Refusal::NoPool(family));
    }
    if let Some(address) = wanted {
        return take(of_family(), address, leases);
    }
    for (index, pool) in of_family() {
        if let Some((address, cursor)) = fresh(pool, leases)? {
            return Ok(Choice { pool: index, address, cursor: Some(cursor) });
        }
    }
    for (index, pool) in of_family() {
        let (first, last) = chosen_from(pool);
        if let Some(address) = leases.oldest_released(first, last).map_err(Refusal::Leases)? {
            return Ok(Choice { pool: index, address, cursor: None });
        }
    }
    let ranges = of_family().map(|(_, pool)| pool.range.unwrap_or(pool.subnet));
    Err(Refusal::Full { family, pools: listed(ranges) })
}

fn listed(nets: impl Iterator<Item = IpNet>) -> String {
    nets.map(|net| net.to_string()).collect::<Vec<_>>().join(", ")
}

fn take<'a, L: Leases>(
    pools: impl Iterator<Item = (usize, &'a Pool)> + Clone,
    address: IpAddr,
    leases: &L,
) -> Result<Choice, Refusal<L::Error>> {
    let home = pools.clone().find(|(_, pool)| pool.subnet.contains(&address));
    let Some((index, pool)) = home else {
        return Err(Refusal::Outside { address, subnets: listed(pools.map(|(_, pool)| pool.subnet)) });
    };
    if !pool.is_usable(address) {
        return Err(Refusal::Reserved {
            address,
            by: format!("the network or broadcast address of {}", pool.subnet),
        });
    }
    if let Some(by) = pool.reserved(address) {
        return Err(Refusal::Reserved { address, by });
    }
    if let Some(holder) = leases.holder(address).map_err(Refusal::Leases)? {
        return Err(Refusal::Taken { address, holder });
    }
    Ok(Choice { pool: index, address, cursor: None })
}

/// The first address from the cursor on that was never given out, and where to go on behind it.
fn fresh<L: Leases>(pool: &Pool, leases: &L) -> Result<Option<(IpAddr, IpAddr)>, Refusal<L::Error>> {
    let (first, last) = chosen_from(pool);
    let start = leases.cursor(&pool.subnet).map_err(Refusal::Leases)?.unwrap_or(first).max(first);
    let mut next = Some(start).filter(|start| *start <= last);
    while let Some(address) = next {
        next = successor(address).filter(|next| *next <= last);
        if pool.reserved(address).is_none() && !leases.was_used(address).map_err(Refusal::Leases)? {
            return Ok(Some((address, successor(address).unwrap_or(address))));
        }
    }
    Ok(None)
}

/// The first and last address that is given out by itself.
fn chosen_from(pool: &Pool) -> (IpAddr, IpAddr) {
    let (first, last) = Pool::usable(pool.subnet);
    let (first, last) = match pool.range {
        Some(range) => (first.max(range.network()), last.min(range.broadcast())),
        None => (first, last),
    };
    let limit = number(first).saturating_add(CHOSEN_FROM - 1);
    (first, if number(last) > limit { address(limit, first) } else { last })
}

fn successor(of: IpAddr) -> Option<IpAddr> {
    match of {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

fn number(of: IpAddr) -> u128 {
    match of {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address with this number, of the same family as `like`.
fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

/// The subnets that networks without one of their own get, in the order they are tried: 172.17.0.0/16 to
/// 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20.
pub fn default_subnets() -> impl Iterator<Item = IpNet> {
    let large = (17..32_u8).map(|n| ([172, n, 0, 0], 16));
    let small = (0..16_u8).map(|n| ([192, 168, n * 16, 0], 20));
    large.chain(small).map(|(octets, prefix)| IpNet::new_assert(octets.into(), prefix))
}

/// The first default subnet that overlaps none of `used`.
pub fn free_subnet(used: &[IpNet]) -> Option<IpNet> {
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    default_subnets().find(|candidate| !used.iter().any(|net| overlaps(candidate, net)))
}
