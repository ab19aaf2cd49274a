//! What is in the table: asked for by key where that is cheap, by dumping a set where it is not.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_plan::{Element, Elements, KernelError};
use nix::errno::Errno;

use crate::netlink::{Answer, Attrs, Error};

use super::element::{Entry, elements, entries};
use super::error::refused;
use super::nft::{
    ELEM_LIST_ELEMENTS, Family, TABLE_USERDATA, dump_elements, dump_rules, get_elements, get_table,
};
use super::set::{SETS, Set};
use super::table::{OPTIONAL, VERSION, comment, rules};
use super::{Firewall, userdata};

/// Beyond this many entries of one set, a dump of it is cheaper than asking for each.
const ASKED: usize = 64;
/// How many questions go out together: the receive queue holds the answers to more than twice as many.
const BATCH: usize = 64;
/// `struct nfgenmsg`, before the attributes.
pub(super) const HEADER: usize = 4;

/// Whether the table is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    Absent,
    /// One of another version.
    Other,
    Ours,
}

impl Firewall {
    /// The elements that are there, of all or of those that are named; none if the table is not there, or
    /// is of another version, or if all are asked for and one that belongs to it is missing, or rules are. One with the same
    /// key that leads elsewhere is not the same element.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn observe(&mut self, wanted: &Elements) -> Result<Option<BTreeSet<Element>>, KernelError> {
        match wanted {
            Elements::All => {
                if self.tables()? != Table::Ours {
                    return Ok(None);
                }
                let mut found = BTreeSet::new();
                for set in &SETS {
                    found.extend(self.dump(set.name)?);
                }
                Ok(Some(elements(&found)))
            }
            Elements::These(wanted) => {
                let parts: Vec<_> =
                    wanted.iter().filter_map(|element| Some((element, entries(element)?))).collect();
                let keys = parts.iter().flat_map(|(_, parts)| parts).cloned().collect();
                let Some(mut found) = self.entries(&keys, false)? else { return Ok(None) };
                for set in unsure(&parts, &found) {
                    found.extend(self.dump(set)?);
                }
                let there = parts.iter().filter(|(_, parts)| parts.iter().all(|part| found.contains(part)));
                Ok(Some(there.map(|(element, _)| (*element).clone()).collect()))
            }
        }
    }

    /// Which table there is.
    pub(super) fn table(&mut self) -> Result<Table, KernelError> {
        let question = vec![get_table(Family::Inet)];
        let (answers, errors) = self.socket.attempt(question).map_err(|e| refused(ASKING, &e))?;
        table(&answers, &errors)
    }

    /// The same, where ours is of another version too if a table that belongs to it, or a rule, is not there.
    pub(super) fn tables(&mut self) -> Result<Table, KernelError> {
        let questions = [Family::Inet].into_iter().chain(OPTIONAL).map(get_table).collect();
        let (answers, errors) = self.socket.attempt(questions).map_err(|e| refused(ASKING, &e))?;
        let table = table(&answers, &errors)?;
        let ours = userdata::of_table(VERSION);
        let missing: Vec<_> = OPTIONAL
            .into_iter()
            .zip(1..)
            .filter(|(_, index)| comment_of(&answers, *index) != Some(&ours))
            .map(|(family, _)| family)
            .collect();
        let known = comment_of(&answers, 0) == Some(&userdata::of_table(&comment(&missing)));
        let whole = table != Table::Ours || known && self.has_rules(&missing)?;
        Ok(if whole { table } else { Table::Other })
    }

    /// Whether the tables have all their rules, those of the families `missing` apart; that of a backend may not be there.
    fn has_rules(&mut self, missing: &[Family]) -> Result<bool, KernelError> {
        let backend = self.has_backend()?.then_some(Family::Backend);
        let optional = OPTIONAL.into_iter().filter(|family| !missing.contains(family));
        for family in [Family::Inet].into_iter().chain(optional).chain(backend) {
            let found = self.socket.dump(|| dump_rules(family)).map_err(|error| refused(ASKING, &error))?;
            if found.len() < rules(family) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the table of a runtime's backend is there, as this version makes it.
    pub(super) fn has_backend(&mut self) -> Result<bool, KernelError> {
        let question = vec![get_table(Family::Backend)];
        let (answers, _) = self.socket.attempt(question).map_err(|error| refused(ASKING, &error))?;
        Ok(comment_of(&answers, 0) == Some(&userdata::of_table(VERSION)))
    }

    /// Whether there is a table of `family`, of whatever version.
    pub(super) fn has_table(&mut self, family: Family) -> Result<bool, KernelError> {
        let (_, errors) =
            self.socket.attempt(vec![get_table(family)]).map_err(|error| refused(ASKING, &error))?;
        Ok(errors.is_empty())
    }

    /// What is there under the keys of `wanted`, with the data it has, and perhaps more of the same sets;
    /// none if our table is not there. With `ranges`, all there is in maps of ranges that are asked for.
    pub(super) fn entries(
        &mut self,
        wanted: &BTreeSet<Entry>,
        ranges: bool,
    ) -> Result<Option<BTreeSet<Entry>>, KernelError> {
        let mut by_set: BTreeMap<&'static str, Vec<&Entry>> = BTreeMap::new();
        for entry in wanted {
            by_set.entry(entry.set).or_default().push(entry);
        }
        let dumped = |(set, entries): &(&'static str, Vec<&Entry>)| {
            entries.len() > ASKED || ranges && Set::named(set).is_some_and(|set| set.interval)
        };
        let (dumped, asked): (Vec<_>, Vec<_>) = by_set.into_iter().partition(dumped);
        let asked: Vec<&Entry> = asked.into_iter().flat_map(|(_, entries)| entries).collect();
        let mut batches: Vec<&[&Entry]> = asked.chunks(BATCH).collect();
        if batches.is_empty() {
            // The table is asked for all the same.
            batches.push(&[]);
        }
        let mut found = BTreeSet::new();
        for batch in batches {
            let Some(answers) = self.ask(batch)? else { return Ok(None) };
            found.extend(answers);
        }
        for (set, _) in dumped {
            found.extend(self.dump(set)?);
        }
        Ok(Some(found))
    }

    /// Asks for the table and for each of `keys`.
    fn ask(&mut self, keys: &[&Entry]) -> Result<Option<Vec<Entry>>, KernelError> {
        let questions =
            keys.iter().map(|key| get_elements(key.family(), key.set, |list| key.write(list, false)));
        let messages = [get_table(Family::Inet)].into_iter().chain(questions).collect();
        let (answers, errors) = self.socket.attempt(messages).map_err(|e| refused(ASKING, &e))?;
        if table(&answers, &errors)? != Table::Ours {
            return Ok(None);
        }
        if let Some(error) = errors.iter().find(|error| error.errno != Errno::ENOENT) {
            return Err(refused(ASKING, error));
        }
        let set_of = |answer: &Answer| keys.get(answer.index.checked_sub(1)?).map(|key| key.set);
        let found = answers.iter().filter_map(|answer| Some((set_of(answer)?, answer)));
        Ok(Some(found.flat_map(|(set, answer)| listed(set, answer)).collect()))
    }

    /// All that is in `set`; nothing if the table has just gone.
    pub(super) fn dump(&mut self, set: &'static str) -> Result<Vec<Entry>, KernelError> {
        let family = Set::named(set).map_or(Family::Inet, |set| set.family);
        match self.socket.dump(|| dump_elements(family, set)) {
            Ok(answers) => Ok(answers.iter().flat_map(|answer| listed(set, answer)).collect()),
            Err(error) if error.errno == Errno::ENOENT => Ok(Vec::new()),
            Err(error) => Err(refused(ASKING, &error)),
        }
    }
}

pub(super) const ASKING: &str = "look at firewall table inet linkspan";

/// The maps in which a range was found to begin, but not to end: asked for the end, the kernel gives the
/// beginning of the next range if there is one right behind it.
fn unsure(parts: &[(&Element, Vec<Entry>)], found: &BTreeSet<Entry>) -> BTreeSet<&'static str> {
    let half = |parts: &[Entry]| {
        let there = parts.iter().filter(|part| found.contains(part)).count();
        there > 0 && there < parts.len()
    };
    let ranges = parts.iter().filter(|(element, _)| matches!(element, Element::PublishRange { .. }));
    ranges.filter(|(_, parts)| half(parts)).map(|(element, _)| element.set()).collect()
}

/// Reads the answer to a batch's first message, the question for the table. Where there are no nf_tables, nobody understands it
/// (`nfnetlink_rcv_msg`).
fn table(answers: &[Answer], errors: &[Error]) -> Result<Table, KernelError> {
    match errors.iter().find(|error| error.index == Some(0)) {
        Some(error) if matches!(error.errno, Errno::ENOENT | Errno::EINVAL) => return Ok(Table::Absent),
        Some(error) => return Err(refused(ASKING, error)),
        None => {}
    }
    let found = comment_of(answers, 0);
    let mut comments = LACKING.iter().map(|lacking| userdata::of_table(&comment(lacking)));
    Ok(if comments.any(|ours| found == Some(&ours)) { Table::Ours } else { Table::Other })
}

/// What a kernel may lack.
const LACKING: [&[Family]; 4] = [&[], &[Family::Ip6], &[Family::Bridge], &OPTIONAL];

/// What is written at the table that the question `index` was about, as `nft` keeps comments.
fn comment_of(answers: &[Answer], index: usize) -> Option<&[u8]> {
    let answer = answers.iter().find(|answer| answer.index == index)?;
    Attrs::new(answer.body.get(HEADER..)?).get(TABLE_USERDATA)
}

fn listed(set: &'static str, answer: &Answer) -> Vec<Entry> {
    let attrs = Attrs::new(answer.body.get(HEADER..).unwrap_or_default());
    attrs
        .nested(ELEM_LIST_ELEMENTS)
        .filter_map(|(_, element)| Entry::read(set, Attrs::new(element)))
        .collect()
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{Error, Table, table};

    #[test]
    fn a_kernel_without_nf_tables_has_no_table() {
        let answered = |errno| table(&[], &[Error { index: Some(0), errno, message: None }]);
        for errno in [Errno::ENOENT, Errno::EINVAL] {
            assert_eq!(answered(errno), Ok(Table::Absent));
        }
        assert!(answered(Errno::EPERM).is_err());
    }
}
