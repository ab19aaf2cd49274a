//! Addresses are given out once, in the range, never the reserved ones, and those given back come last.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{Family, Id, IpamRequest, Pool};
use linkspan_plan::ipam::{self, Leases, Refusal};
use proptest::prelude::*;

/// What a store would remember.
#[derive(Default)]
struct Memory {
    held: RefCell<BTreeMap<IpAddr, Id>>,
    released: RefCell<Vec<IpAddr>>,
    cursors: RefCell<BTreeMap<IpNet, IpAddr>>,
}

impl Leases for Memory {
    type Error = Infallible;

    fn holder(&self, address: IpAddr) -> Result<Option<Id>, Infallible> {
        Ok(self.held.borrow().get(&address).copied())
    }

    fn was_used(&self, address: IpAddr) -> Result<bool, Infallible> {
        Ok(self.held.borrow().contains_key(&address) || self.released.borrow().contains(&address))
    }

    fn cursor(&self, subnet: &IpNet) -> Result<Option<IpAddr>, Infallible> {
        Ok(self.cursors.borrow().get(subnet).copied())
    }

    fn oldest_released(&self, first: IpAddr, last: IpAddr) -> Result<Option<IpAddr>, Infallible> {
        Ok(self.released.borrow().iter().copied().find(|a| (first..=last).contains(a)))
    }
}

impl Memory {
    fn choose(&self, pools: &[Pool], wanted: Option<IpAddr>) -> Result<IpAddr, Refusal<Infallible>> {
        let choice = ipam::choose(pools, Family::V4, wanted, self)?;
        self.held.borrow_mut().insert(choice.address, Id::from_bytes([1; 32]));
        self.released.borrow_mut().retain(|a| *a != choice.address);
        if let Some(cursor) = choice.cursor {
            self.cursors.borrow_mut().insert(pools[choice.pool].subnet, cursor);
        }
        Ok(choice.address)
    }

    fn release(&self, address: IpAddr) {
        self.held.borrow_mut().remove(&address);
        self.released.borrow_mut().push(address);
    }
}

fn pools(subnets: &[&str], range: Option<&str>) -> Vec<Pool> {
    let request = IpamRequest {
        subnets: subnets.iter().map(|s| s.parse().unwrap()).collect(),
        ranges: range.iter().map(|r| r.parse().unwrap()).collect(),
        ..IpamRequest::default()
    };
    request.pools().unwrap()
}

#[test]
fn an_address_given_back_comes_after_every_fresh_one() {
    let (pools, memory) = (pools(&["10.0.0.0/29"], None), Memory::default());
    let first = memory.choose(&pools, None).unwrap();
    assert_eq!(first.to_string(), "10.0.0.2");
    let fixed = memory.choose(&pools, Some("10.0.0.5".parse().unwrap())).unwrap();
    memory.release(fixed);
    memory.release(first);
    let next: Vec<_> = (0..5).map(|_| memory.choose(&pools, None).unwrap().to_string()).collect();
    assert_eq!(next, ["10.0.0.3", "10.0.0.4", "10.0.0.6", "10.0.0.5", "10.0.0.2"]);
    assert!(matches!(memory.choose(&pools, None), Err(Refusal::Full { .. })));
}

#[test]
fn small_pools_and_ranges() {
    let memory = Memory::default();
    let two = pools(&["10.0.0.4/31"], None);
    assert_eq!(memory.choose(&two, None).unwrap().to_string(), "10.0.0.5");
    assert!(memory.choose(&two, None).is_err());
    let ranged = pools(&["10.1.0.0/16"], Some("10.1.5.0/30"));
    let given: Vec<_> = (0..4).map(|_| memory.choose(&ranged, None).unwrap().to_string()).collect();
    assert_eq!(given, ["10.1.5.0", "10.1.5.1", "10.1.5.2", "10.1.5.3"]);
    assert!(memory.choose(&ranged, None).is_err());
    assert!(memory.choose(&ranged, Some("10.1.200.7".parse().unwrap())).is_ok());
}

#[test]
fn the_second_subnet_follows_the_first() {
    let (pools, memory) = (pools(&["10.0.0.0/30", "10.0.1.0/30"], None), Memory::default());
    let given: Vec<_> = (0..2).map(|_| memory.choose(&pools, None).unwrap().to_string()).collect();
    assert_eq!(given, ["10.0.0.2", "10.0.1.2"]);
}

#[test]
fn refusals_say_why() {
    let (pools, memory) = (pools(&["10.0.0.0/24"], None), Memory::default());
    let refuse = |a: &str| memory.choose(&pools, Some(a.parse().unwrap())).unwrap_err();
    assert!(matches!(refuse("10.0.1.5"), Refusal::Outside { .. }));
    for reserved in ["10.0.0.0", "10.0.0.255", "10.0.0.1"] {
        assert!(matches!(refuse(reserved), Refusal::Reserved { .. }), "{reserved}");
    }
    memory.choose(&pools, Some("10.0.0.9".parse().unwrap())).unwrap();
    assert!(matches!(refuse("10.0.0.9"), Refusal::Taken { .. }));
    assert!(matches!(ipam::choose(&pools, Family::V6, None, &memory), Err(Refusal::NoPool(Family::V6))));
}

#[test]
fn networks_without_a_subnet_get_one_that_collides_with_nothing() {
    let used =
        |nets: &[&str]| ipam::free_subnet(&nets.iter().map(|n| n.parse().unwrap()).collect::<Vec<_>>());
    assert_eq!(used(&[]).unwrap().to_string(), "172.17.0.0/16");
    assert_eq!(used(&["172.17.5.0/24", "172.18.0.1/32"]).unwrap().to_string(), "172.19.0.0/16");
    assert_eq!(used(&["172.16.0.0/12"]).unwrap().to_string(), "192.168.0.0/20");
    assert_eq!(used(&["172.16.0.0/12", "192.168.0.0/16"]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_shares_an_address(releases in prop::collection::vec(prop::option::of(0..20_usize), 1..200), prefix in 24..31_u8) {
        let pools = pools(&[&format!("10.0.0.0/{prefix}")], None);
        let (memory, mut live) = (Memory::default(), Vec::<IpAddr>::new());
        for release in releases {
            match release {
                Some(index) if index < live.len() => memory.release(live.remove(index)),
                _ => if let Ok(address) = memory.choose(&pools, None) {
                    prop_assert!(pools[0].is_usable(address) && address != pools[0].gateway);
                    live.push(address);
                },
            }
            prop_assert_eq!(live.iter().collect::<BTreeSet<_>>().len(), live.len());
        }
        while memory.choose(&pools, None).is_ok() {}
        let capacity = (1_usize << (32 - prefix)) - if prefix == 31 { 1 } else { 3 };
        prop_assert_eq!(memory.held.borrow().len(), capacity);
    }
}
