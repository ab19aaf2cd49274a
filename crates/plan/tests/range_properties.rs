//! Ranges give out every address but the gateway once a round, in turn, and none that is not theirs.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use linkspan_model::Invalid;
use linkspan_plan::ranges::{Range, RangeSet, assign, check_apart};
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn range(subnet: &str) -> Result<Range, Invalid> {
    Range::new(subnet.parse().unwrap(), None, None, None)
}

fn set(subnets: &[&str]) -> RangeSet {
    RangeSet::new(subnets.iter().map(|subnet| range(subnet).unwrap()).collect()).unwrap()
}

fn first(set: &RangeSet, previous: Option<&str>, held: &[&str]) -> Option<String> {
    let mut turn = set.in_turn(previous.map(ip)).map(|(address, _)| address);
    turn.find(|address| held.iter().all(|held| ip(held) != *address)).map(|address| address.to_string())
}

#[test]
fn what_is_left_out_of_a_range_has_a_default() {
    let v4 = range("192.0.2.0/25").unwrap();
    assert_eq!((v4.to_string(), v4.gateway), ("192.0.2.1-192.0.2.126".to_owned(), ip("192.0.2.1")));
    let v6 = range("2001:db8:1::/126").unwrap();
    assert_eq!((v6.to_string(), v6.gateway), ("2001:db8:1::1-2001:db8:1::3".to_owned(), ip("2001:db8:1::1")));
}

#[test]
fn bad_ranges_are_refused_with_the_reason() {
    let refused = |subnet: &str, first: Option<&str>, last: Option<&str>| {
        let made = Range::new(subnet.parse().unwrap(), first.map(ip), last.map(ip), None);
        made.unwrap_err().what
    };
    assert_eq!(refused("192.0.2.0/31", None, None), "Network 192.0.2.0/31 too small to allocate from");
    assert!(refused("fd00::/127", None, None).contains("too small"));
    let host_bits = refused("2001:db8:24:19ff::/63", None, None);
    assert!(host_bits.ends_with("the network address is 2001:db8:24:19fe::"), "{host_bits}");
    let outside = refused("192.0.2.0/24", Some("192.0.3.0"), None);
    assert_eq!(outside, "RangeStart 192.0.3.0 not in network 192.0.2.0/24");
    assert!(refused("192.0.2.0/24", None, Some("192.0.4.0")).starts_with("RangeEnd 192.0.4.0"));
    assert!(refused("192.0.2.0/24", Some("192.0.2.50"), Some("192.0.2.40")).starts_with("RangeStart"));
    assert!(refused("192.0.2.0/24", Some("fd00::1"), None).starts_with("RangeStart"));

    let sets = |subnets: &[&str]| RangeSet::new(subnets.iter().map(|s| range(s).unwrap()).collect());
    assert_eq!(sets(&[]).unwrap_err().what, "empty range set");
    assert_eq!(sets(&["10.0.0.0/24", "fd00::/64"]).unwrap_err().what, "mixed address families");
    let overlap = sets(&["10.1.0.0/22", "10.1.2.0/24"]).unwrap_err().what;
    assert_eq!(overlap, "subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap");
    assert!(check_apart(&[set(&["10.0.0.0/24"]), set(&["10.0.1.0/24"]), set(&["::/24"])]).is_ok());
    let overlap = check_apart(&[set(&["fd00::/64"]), set(&["10.0.0.0/24"]), set(&["10.0.0.0/20"])]);
    assert_eq!(overlap.unwrap_err().what, "range set 1 overlaps with 2");
}

#[test]
fn addresses_are_given_in_turn() {
    let one = set(&["10.0.0.0/29"]);
    for (previous, held, expected) in [
        (None, &[][..], "10.0.0.2"),
        (None, &["10.0.0.2"], "10.0.0.3"),
        (Some("10.0.0.5"), &[], "10.0.0.6"),
        (Some("10.0.0.3"), &["10.0.0.4", "10.0.0.5"], "10.0.0.6"),
        (Some("10.0.0.5"), &["10.0.0.6"], "10.0.0.2"),
        (Some("10.0.0.128"), &["10.0.0.2"], "10.0.0.3"),
        (Some("10.0.0.3"), &["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"], "10.0.0.3"),
    ] {
        assert_eq!(first(&one, previous, held).unwrap(), expected, "{previous:?} {held:?}");
    }
    let several = set(&["10.0.0.0/30", "10.0.1.0/30", "10.0.2.0/30"]);
    assert_eq!(first(&several, Some("10.0.0.2"), &[]).unwrap(), "10.0.1.2");
    assert_eq!(first(&several, Some("10.0.2.2"), &[]).unwrap(), "10.0.0.2");
    assert_eq!(first(&several, Some("10.0.1.2"), &["10.0.2.2", "10.0.0.2", "10.0.1.2"]), None);
    let last = first(&set(&["::/0"]), Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), &[]);
    assert!(last.is_some());
    let wide = set(&["2001:db8::/32"]);
    assert_eq!(first(&wide, Some("2001:db8:ff::ffff"), &[]).unwrap(), "2001:db8:ff::1:0");
}

#[test]
fn wanted_addresses_go_to_the_sets_that_have_them() {
    let sets = [set(&["172.16.1.0/24", "10.1.2.0/24"]), set(&["2001:db8:1::/48"])];
    let all = assign(&sets, &[ip("2001:db8:1::999"), ip("10.1.2.88"), ip("10.1.2.88")]).unwrap();
    assert_eq!(all, [Some(ip("10.1.2.88")), Some(ip("2001:db8:1::999"))]);
    assert_eq!(assign(&sets, &[ip("10.1.2.88")]).unwrap(), [Some(ip("10.1.2.88")), None]);
    let left = assign(&sets, &[ip("10.1.2.88"), ip("10.1.2.77")]).unwrap_err().what;
    assert_eq!(left, "failed to allocate all requested IPs: 10.1.2.77");
    assert!(assign(&sets, &[ip("10.1.2.1")]).unwrap_err().what.contains("gateway"));
}

proptest! {
    #[test]
    fn a_round_has_every_address_once(
        picked in proptest::collection::btree_map(0_u8..16, (26_u8..31, any::<bool>()), 1..5),
        previous in any::<[u8; 2]>(),
    ) {
        let ranges = picked.into_iter().map(|(third, (length, own_gateway))| {
            let subnet = format!("10.9.{third}.0/{length}").parse().unwrap();
            let gateway = own_gateway.then(|| ip(&format!("10.9.{third}.2")));
            Range::new(subnet, None, None, gateway).unwrap()
        });
        let ranges: Vec<Range> = ranges.collect();
        let previous = IpAddr::from([10, 9, previous[0] % 16, previous[1] % 64]);
        let set = RangeSet::new(ranges.clone()).unwrap();
        let round: Vec<IpAddr> = set.in_turn(Some(previous)).map(|(address, _)| address).collect();
        let different: BTreeSet<IpAddr> = round.iter().copied().collect();
        prop_assert_eq!(different.len(), round.len());
        let expected: u32 = ranges.iter().map(|range| (1 << (32 - range.subnet.prefix_len())) - 3).sum();
        prop_assert_eq!(round.len(), expected as usize);
        let of_set = |address: &IpAddr| {
            set.range_of(*address).is_some_and(|range| range.gateway != *address)
        };
        prop_assert!(round.iter().all(of_set));
        if of_set(&previous) {
            prop_assert_eq!(round.last(), Some(&previous));
        }
    }
}
