//! Ranges of addresses that are given out in turn, and which of them are asked for by name.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{Family, Invalid};

/// Addresses of one subnet, from `first` to `last`; all but the gateway are given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The subnet.
    pub subnet: IpNet,
    /// The first address.
    pub first: IpAddr,
    /// The last address.
    pub last: IpAddr,
    /// The router's address, which need not be in the subnet.
    pub gateway: IpAddr,
}

impl Range {
    /// The range of `subnet` from `first` to `last`: by default from its first address to its last but the broadcast
    /// address. The default gateway is the first address.
    ///
    /// # Errors
    /// If the subnet has host bits or fewer than four addresses, or `first` or `last` is not in it.
    pub fn new(
        subnet: IpNet,
        first: Option<IpAddr>,
        last: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, Invalid> {
        let bits = subnet.max_prefix_len();
        if subnet.prefix_len() > bits - 2 {
            return Err(Invalid::new(format!("Network {subnet} too small to allocate from")));
        }
        if subnet.addr() != subnet.network() {
            return Err(Invalid::new(format!(
                "Network has host bits set. For a subnet mask of length {} the network address is {}",
                subnet.prefix_len(),
                subnet.network()
            )));
        }
        let lowest = address(number(subnet.network()) + 1, subnet);
        let highest = match subnet {
            IpNet::V4(_) => address(number(subnet.broadcast()) - 1, subnet),
            IpNet::V6(_) => subnet.broadcast(),
        };
        let end = last.unwrap_or_else(|| subnet.broadcast());
        if let Some(first) = first.filter(|first| !subnet.contains(first) || *first > end) {
            return Err(Invalid::new(format!("RangeStart {first} not in network {subnet}")));
        }
        let start = first.unwrap_or(lowest);
        if let Some(last) = last.filter(|last| !subnet.contains(last) || *last < start) {
            return Err(Invalid::new(format!("RangeEnd {last} not in network {subnet}")));
        }
        let (last, gateway) = (last.unwrap_or(highest), gateway.unwrap_or(lowest));
        Ok(Self { subnet, first: start, last, gateway })
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.subnet.contains(&address) && (self.first..=self.last).contains(&address)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    fn family(&self) -> Family {
        Family::of(self.subnet.addr())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Ranges of one family, of which whoever comes gets one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeSet(Vec<Range>);

impl RangeSet {
    /// A set of `ranges`.
    ///
    /// # Errors
    /// If there is none, or they are of two families or overlap.
    pub fn new(ranges: Vec<Range>) -> Result<Self, Invalid> {
        let Some((first, others)) = ranges.split_first() else { return Err(Invalid::new("empty range set")) };
        if others.iter().any(|range| range.family() != first.family()) {
            return Err(Invalid::new("mixed address families"));
        }
        for (number, range) in ranges.iter().enumerate() {
            if let Some(other) = ranges[number + 1..].iter().find(|other| range.overlaps(other)) {
                return Err(Invalid::new(format!("subnets {range} and {other} overlap")));
            }
        }
        Ok(Self(ranges))
    }

    /// The family of all its addresses.
    pub fn family(&self) -> Family {
        self.0.first().map_or(Family::V4, Range::family)
    }

    /// The range that `address` is of.
    pub fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(address))
    }

    /// Every address that may be given out, with its range: in turn, from the one after `previous` round to that itself;
    /// from the very first if `previous` is none of the set's.
    pub fn in_turn(&self, previous: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let home = previous
            .and_then(|previous| Some((self.0.iter().position(|range| range.contains(previous))?, previous)));
        let (before, rest) = self.0.split_at(home.map_or(0, |(index, _)| index));
        let whole = |range: &Range| (number(range.first), number(range.last));
        let after = rest.iter().enumerate().map(move |(place, range)| match home {
            // The first of the rest is the one that the previous address is of.
            Some((_, previous)) if place == 0 => {
                (range, (number(previous).saturating_add(1), number(range.last)))
            }
            _ => (range, whole(range)),
        });
        let round = before.iter().map(move |range| (range, whole(range)));
        let home = rest.iter().take(1).filter_map(move |range| {
            home.map(|(_, previous)| (range, (number(range.first), number(previous))))
        });
        after
            .chain(round)
            .chain(home)
            .flat_map(|(range, (first, last))| {
                (first..=last).map(move |number| (address(number, range.subnet), range))
            })
            .filter(|(address, range)| *address != range.gateway)
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if number > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// Whether no address is of two `sets`.
///
/// # Errors
/// If one is.
pub fn check_apart(sets: &[RangeSet]) -> Result<(), Invalid> {
    for (number, set) in sets.iter().enumerate() {
        for (other_number, other) in sets.iter().enumerate().skip(number + 1) {
            if set.0.iter().any(|range| other.0.iter().any(|other| range.overlaps(other))) {
                return Err(Invalid::new(format!("range set {number} overlaps with {other_number}")));
            }
        }
    }
    Ok(())
}

/// Which of the addresses `wanted` each of `sets` is to give out: the first that it has; the rest choose for themselves.
///
/// # Errors
/// If addresses are left that no set can give, and if one is its range's gateway.
pub fn assign(sets: &[RangeSet], wanted: &[IpAddr]) -> Result<Vec<Option<IpAddr>>, Invalid> {
    let mut left: Vec<IpAddr> = Vec::new();
    for address in wanted {
        if !left.contains(address) {
            left.push(*address);
        }
    }
    let mut assigned = Vec::new();
    for set in sets {
        let found = left.iter().position(|address| set.range_of(*address).is_some());
        let address = found.map(|index| left.remove(index));
        if let Some(gateway) = address.filter(|a| set.range_of(*a).is_some_and(|range| range.gateway == *a)) {
            return Err(Invalid::new(format!("requested ip {gateway} is subnet's gateway")));
        }
        assigned.push(address);
    }
    if left.is_empty() {
        return Ok(assigned);
    }
    let left = left.iter().map(|address| format!(" {address}")).collect::<String>();
    Err(Invalid::new(format!("failed to allocate all requested IPs:{left}")))
}

fn number(of: IpAddr) -> u128 {
    match of {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address with this number, of the family of `subnet`.
fn address(number: u128, subnet: IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpNet::V6(_) => IpAddr::V6(number.into()),
    }
}
