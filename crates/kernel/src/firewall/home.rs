//! Subnets may lie in one another; intervals of a set may not. So each subnet is on record in a set of its own, and
//! the intervals are made anew of all records whenever one comes or goes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_plan::KernelError;

use crate::netlink::Attrs;

use super::Firewall;
use super::change::{Change, Kind};
use super::element::{Entry, address, octets};
use super::error::refused;
use super::nft::{GEN_ID, get_generation};
use super::observe::{ASKING, HEADER};

/// The sets of records, each with that of the intervals.
const SETS: [(&str, &str); 2] = [("homes4", "home4"), ("homes6", "home6")];

/// The subnet that a record's key is about: its first address and its last.
pub(super) fn subnet(key: &[u8]) -> Option<IpNet> {
    let (first, last) = key.split_at_checked(key.len() / 2)?;
    let same = first.iter().zip(last).map(|(a, b)| (a ^ b).leading_zeros()).take_while(|same| *same == 8);
    let whole = u8::try_from(same.count()).ok()?;
    let differing = first.get(usize::from(whole)).zip(last.get(usize::from(whole)));
    let part = differing.map_or(0, |(a, b)| (a ^ b).leading_zeros());
    let net = IpNet::new(address(first)?, whole * 8 + u8::try_from(part).ok()?).ok()?;
    (octets(net.network()) == first && octets(net.broadcast()) == last).then_some(net)
}

/// Whether the intervals among `entries` are those that the records among them make.
pub(super) fn is_whole(entries: &BTreeSet<Entry>) -> bool {
    fn bound(entry: &Entry) -> (&[u8], bool) {
        (&entry.key, entry.end)
    }
    SETS.into_iter().all(|(records, merged)| {
        let of = |set| entries.iter().filter(move |entry| entry.set == set);
        let wanted = intervals(merged, of(records));
        let wanted: BTreeSet<_> = wanted.iter().map(bound).collect();
        // `nft` begins with an end of its own.
        let found = of(merged).map(bound).filter(|(key, end)| !end || key.iter().any(|byte| *byte != 0));
        found.collect::<BTreeSet<_>>() == wanted
    })
}

/// The entries of set `merged` that `records` make.
fn intervals<'a>(merged: &'static str, records: impl Iterator<Item = &'a Entry>) -> Vec<Entry> {
    let subnets: Vec<IpNet> = records.filter_map(|record| subnet(&record.key)).collect();
    IpNet::aggregate(&subnets).into_iter().flat_map(|net| interval(merged, net)).collect()
}

fn interval(set: &'static str, net: IpNet) -> Vec<Entry> {
    let behind = match net.broadcast() {
        IpAddr::V4(last) => last.to_bits().checked_add(1).map(|behind| behind.to_be_bytes().to_vec()),
        IpAddr::V6(last) => last.to_bits().checked_add(1).map(|behind| behind.to_be_bytes().to_vec()),
    };
    let entry = |key, end, open| Entry { set, key, data: Vec::new(), end, open };
    let start = entry(octets(net.network()), false, behind.is_none());
    [start].into_iter().chain(behind.map(|behind| entry(behind, true, false))).collect()
}

impl Firewall {
    /// Completes `changes` by what becomes of intervals, if they touch records. That holds in the generation of the tables
    /// that comes with them.
    pub(super) fn merged<'a>(
        &mut self,
        changes: &'a [Change],
    ) -> Result<(Cow<'a, [Change]>, Option<u32>), KernelError> {
        let mut whole = Cow::Borrowed(changes);
        if !changes.iter().any(|change| record(&change.kind).is_some()) {
            return Ok((whole, None));
        }
        let generation = self.generation()?;
        let mut gone = false;
        for (records, merged) in SETS {
            let of_these = |change: &&Change| record(&change.kind).is_some_and(|entry| entry.set == records);
            let Some(last) = changes.iter().rfind(of_these) else { continue };
            let mut there: BTreeSet<Entry> = self.dump(records)?.into_iter().collect();
            for change in changes {
                match &change.kind {
                    Kind::Create | Kind::Drop => {
                        there.clear();
                        gone = matches!(change.kind, Kind::Drop);
                    }
                    Kind::Add(entry) if entry.set == records => _ = there.insert(entry.clone()),
                    Kind::Delete(entry) if entry.set == records => _ = there.remove(entry),
                    Kind::Add(_) | Kind::Delete(_) | Kind::Flush(_) => {}
                }
            }
            let kinds = intervals(merged, there.iter()).into_iter().map(Kind::Add);
            let kinds = [Kind::Flush(merged)].into_iter().chain(kinds).filter(|_| !gone);
            whole.to_mut().extend(kinds.map(|kind| Change { step: last.step, kind }));
        }
        Ok((whole, generation))
    }

    /// How often the tables have changed.
    pub(super) fn generation(&mut self) -> Result<Option<u32>, KernelError> {
        let answers = self.socket.batch(vec![get_generation()]).map_err(|error| refused(ASKING, &error))?;
        let number = |body: &[u8]| Attrs::new(body.get(HEADER..)?).be32(GEN_ID);
        Ok(answers.iter().find_map(|answer| number(&answer.body)))
    }
}

/// The record that a change adds or deletes.
fn record(kind: &Kind) -> Option<&Entry> {
    let (Kind::Add(entry) | Kind::Delete(entry)) = kind else { return None };
    SETS.iter().any(|(records, _)| *records == entry.set).then_some(entry)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipnet::IpNet;
    use linkspan_plan::Element;
    use proptest::prelude::*;

    use super::super::element::{Entry, elements, entries};
    use super::{SETS, intervals};

    fn records(nets: &[IpNet]) -> Vec<Entry> {
        nets.iter().flat_map(|net| entries(&Element::Home(*net)).unwrap()).collect()
    }

    fn merged(nets: &[IpNet]) -> Vec<Entry> {
        let records = records(nets);
        SETS.iter()
            .flat_map(|(set, merged)| intervals(merged, records.iter().filter(|entry| entry.set == *set)))
            .collect()
    }

    fn net() -> impl Strategy<Value = IpNet> {
        let v4 = (any::<u8>(), 0..=32_u8)
            .prop_map(|(n, length)| IpNet::new_assert([10, n, n, n].into(), length).trunc());
        let v6 = (any::<u8>(), 0..=128_u8).prop_map(|(n, length)| {
            IpNet::new_assert([0xfd00, 0, 0, 0, 0, 0, 0, n.into()].into(), length).trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn subnets_come_back_from_their_records_and_not_without_their_intervals(
            nets in prop::collection::btree_set(net(), 1..8)
        ) {
            let all: Vec<IpNet> = nets.iter().copied().collect();
            let mut stored: BTreeSet<Entry> = records(&all).into_iter().chain(merged(&all)).collect();
            prop_assert_eq!(elements(&stored), nets.iter().copied().map(Element::Home).collect());
            stored.remove(&merged(&all)[0]);
            prop_assert!(elements(&stored).is_empty());
        }

        #[test]
        fn intervals_hold_what_the_subnets_do_and_are_not_in_one_another(nets in prop::collection::vec(net(), 0..8)) {
            let starts: Vec<Entry> = merged(&nets).into_iter().filter(|entry| !entry.end).collect();
            let ends: Vec<Entry> = merged(&nets).into_iter().filter(|entry| entry.end).collect();
            for pair in starts.windows(2).filter(|pair| pair[0].set == pair[1].set) {
                prop_assert!(ends.iter().any(|end| end.set == pair[0].set && end.key > pair[0].key && end.key <= pair[1].key));
            }
            for record in records(&nets) {
                let (first, last) = record.key.split_at(record.key.len() / 2);
                let merged = if first.len() == 4 { "home4" } else { "home6" };
                let start = starts.iter().rfind(|start| start.set == merged && start.key.as_slice() <= first);
                let Some(start) = start else { return Err(TestCaseError::fail("no interval begins before it")) };
                let end = ends.iter().find(|end| end.set == merged && end.key > start.key);
                let covered = end.map_or(start.open, |end| end.key.as_slice() > last);
                prop_assert!(covered);
            }
        }
    }
}
