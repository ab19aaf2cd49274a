//! Steps as changes of the table, and the messages that make them.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_plan::{Failure, KernelError, Step};

use crate::error::Refusal;
use crate::netlink::Message;

use super::element::{Entry, entries};
use super::nft::{Family, add_elements, add_table, create_table, delete_elements, delete_table, flush_set};
use super::observe::Table;
use super::table::{OPTIONAL, VERSION, comment, parts};
use super::userdata;

/// What a message's list of elements may take: an attribute's length is 16 bits wide.
const LIST: usize = 60_000;

/// One change, with the number of the step that it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) step: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Create,
    Drop,
    Add(Entry),
    Delete(Entry),
    /// All that is in a set of the table of inet.
    Flush(&'static str),
}

/// A message with what it is about, for the error that may come of it.
pub(super) struct Request<'a> {
    pub(super) message: Message,
    pub(super) about: About<'a>,
    /// The table without which it is of no use.
    pub(super) family: Family,
}

pub(super) enum About<'a> {
    /// A table itself.
    Table { step: usize },
    /// A part of a table.
    Part { step: usize, what: String, needs: Vec<&'static str> },
    /// Elements of one set.
    Elements { changes: Vec<(usize, &'a Entry)> },
}

/// The changes that `steps` are made of; those of other parts of the kernel are refused.
pub(super) fn changes(steps: &[Step]) -> Result<Vec<Change>, KernelError> {
    let mut changes = Vec::new();
    for (step, kind) in steps.iter().enumerate() {
        let (element, change): (_, fn(Entry) -> Kind) = match kind {
            Step::CreateFirewall => {
                changes.push(Change { step, kind: Kind::Create });
                continue;
            }
            Step::DeleteFirewall => {
                changes.push(Change { step, kind: Kind::Drop });
                continue;
            }
            Step::FlushFlows { .. } => continue,
            Step::AddElement(element) => (element, Kind::Add),
            Step::DeleteElement(element) => (element, Kind::Delete),
            other => return Err(impossible(other, "this is no step of the firewall")),
        };
        let Some(entries) = entries(element) else {
            return Err(impossible(kind, "a port cannot be published from one address family to the other"));
        };
        changes.extend(entries.into_iter().map(|entry| Change { step, kind: change(entry) }));
    }
    Ok(changes)
}

fn impossible(step: &Step, why: &str) -> KernelError {
    Refusal::new(Failure::Other, why).of(step)
}

/// The keys that are to be deleted.
pub(super) fn deleted(changes: &[Change]) -> BTreeSet<Entry> {
    let key = |change: &Change| match &change.kind {
        Kind::Delete(entry) => Some(entry.clone()),
        _ => None,
    };
    changes.iter().filter_map(key).collect()
}

/// Leaves out what is done already, in a kernel that has `table` with the elements `there`: making our table
/// where it is, and deleting what is not there.
pub(super) fn outstanding(changes: &[Change], mut table: Table, mut there: BTreeSet<Entry>) -> Vec<Change> {
    let deletes = changes.iter().any(|change| matches!(change.kind, Kind::Delete(_)));
    let mut needed = |change: &&Change| match &change.kind {
        Kind::Create => {
            let needed = table != Table::Ours;
            table = Table::Ours;
            if needed {
                there.clear();
            }
            needed
        }
        Kind::Drop => {
            there.clear();
            std::mem::replace(&mut table, Table::Absent) != Table::Absent
        }
        Kind::Add(entry) => {
            if deletes {
                there.insert(entry.clone());
            }
            true
        }
        Kind::Delete(entry) => there.remove(entry),
        Kind::Flush(_) => true,
    };
    changes.iter().filter(|change| needed(change)).cloned().collect()
}

/// The messages that make `changes` in order, in a kernel that has `table` and no tables of the families `lacking`. With
/// `makes_backend`, they make the table of a runtime's backend anew first.
pub(super) fn requests<'a>(
    changes: &'a [Change],
    mut table: Table,
    lacking: &[Family],
    makes_backend: bool,
) -> Vec<Request<'a>> {
    let mut requests = Vec::new();
    if let Some(Change { step, .. }) = changes.first().filter(|_| makes_backend) {
        // One that another backend made has the name, but not the maps.
        clear(*step, Family::Backend, &mut requests);
        make(*step, Family::Backend, VERSION, &mut requests);
    }
    let mut run = Run::default();
    for Change { step, kind } in changes {
        match kind {
            Kind::Add(entry) => run.push(false, *step, entry, &mut requests),
            Kind::Delete(entry) => run.push(true, *step, entry, &mut requests),
            Kind::Flush(set) => {
                run.finish(&mut requests);
                requests.push(of_table(*step, Family::Inet, flush_set(Family::Inet, set)));
            }
            Kind::Create => {
                run.finish(&mut requests);
                create(*step, table, lacking, &mut requests);
                table = Table::Ours;
            }
            Kind::Drop => {
                run.finish(&mut requests);
                let inet = Family::Inet;
                requests.push(of_table(*step, inet, delete_table(inet)));
                delete_others(*step, &mut requests);
                if !changes.iter().any(|change| matches!(change.kind, Kind::Create)) {
                    clear(*step, Family::Backend, &mut requests);
                }
                table = Table::Absent;
            }
        }
    }
    run.finish(&mut requests);
    // An element without its table is not to go unnoticed.
    let of_elements = |about: &About<'_>| matches!(about, About::Elements { .. });
    requests.retain(|request| !lacking.contains(&request.family) || of_elements(&request.about));
    requests
}

fn create(step: usize, table: Table, lacking: &[Family], requests: &mut Vec<Request<'_>>) {
    if table != Table::Absent {
        requests.push(of_table(step, Family::Inet, delete_table(Family::Inet)));
    }
    delete_others(step, requests);
    for family in [Family::Inet].into_iter().chain(OPTIONAL) {
        let comment = if family == Family::Inet { comment(lacking) } else { VERSION.to_owned() };
        make(step, family, &comment, requests);
    }
}

fn make(step: usize, family: Family, comment: &str, requests: &mut Vec<Request<'_>>) {
    requests.push(of_table(step, family, create_table(family, &userdata::of_table(comment))));
    requests.extend(parts(family).into_iter().map(|part| Request {
        message: part.message,
        about: About::Part { step, what: part.what, needs: part.needs },
        family,
    }));
}

fn delete_others(step: usize, requests: &mut Vec<Request<'_>>) {
    for family in OPTIONAL {
        clear(step, family, requests);
    }
}

/// Whether it is there is not asked; that one that is not there may be deleted is new in Linux 6.3.
fn clear(step: usize, family: Family, requests: &mut Vec<Request<'_>>) {
    let messages = [add_table(family), delete_table(family)];
    requests.extend(messages.map(|message| of_table(step, family, message)));
}

const fn of_table<'a>(step: usize, family: Family, message: Message) -> Request<'a> {
    Request { message, about: About::Table { step }, family }
}

/// Elements in a row that are all added or all deleted: their order among themselves is free, so those of a set
/// share messages.
#[derive(Default)]
struct Run<'a> {
    deletes: bool,
    sets: BTreeMap<&'static str, Vec<(usize, &'a Entry)>>,
}

impl<'a> Run<'a> {
    fn push(&mut self, deletes: bool, step: usize, entry: &'a Entry, requests: &mut Vec<Request<'a>>) {
        if deletes != self.deletes {
            self.finish(requests);
            self.deletes = deletes;
        }
        self.sets.entry(entry.set).or_default().push((step, entry));
    }

    fn finish(&mut self, requests: &mut Vec<Request<'a>>) {
        for (set, mut changes) in std::mem::take(&mut self.sets) {
            while !changes.is_empty() {
                let rest = changes.split_off(fitting(&changes));
                let family = changes.first().map_or(Family::Inet, |(_, entry)| entry.family());
                let build = |list: &mut Message| {
                    changes.iter().for_each(|(_, entry)| entry.write(list, !self.deletes));
                };
                let message = if self.deletes {
                    delete_elements(family, set, build)
                } else {
                    add_elements(family, set, build)
                };
                requests.push(Request { message, about: About::Elements { changes }, family });
                changes = rest;
            }
        }
    }
}

/// How many of the first of `changes` fit one message.
fn fitting(changes: &[(usize, &Entry)]) -> usize {
    let mut size = 0;
    let too_many = |(_, entry): &(usize, &Entry)| {
        size += entry.size();
        size > LIST
    };
    changes.iter().position(too_many).unwrap_or(changes.len()).max(1)
}
