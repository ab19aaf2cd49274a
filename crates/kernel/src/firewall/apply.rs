//! Steps into transactions: one, unless the socket cannot send so much at once.

use std::borrow::Cow;
use std::collections::BTreeSet;

use linkspan_plan::{Element, Failure, KernelError, Step};
use nix::errno::Errno;

use crate::netlink::{Error, Message};

use super::Firewall;
use super::change::{About, Change, Kind, Request, changes, deleted, outstanding, requests};
use super::element::{Entry, elements};
use super::error::{missing, refused, without_bridges};
use super::nft::Family;
use super::observe::Table;

/// How often the kernel may turn out to be other than it was just seen to be.
const ATTEMPTS: u32 = 4;
/// How often others may change the tables between a look at them and a change that builds on it: a look takes less than a
/// millisecond, and on a busy machine one of several may lose a hundred times in a row.
pub(super) const RACES: u32 = 1000;
/// What a batch's begin and end take (`struct nlmsghdr` and `struct nfgenmsg`, twice, and a generation).
const BRACKETS: usize = 48;

/// A transaction that failed.
struct Failed<'a> {
    error: Error,
    /// The message that was refused, if it was one.
    about: Option<About<'a>>,
    /// The table that it was for.
    family: Option<Family>,
    /// The kinds of expression that are known to work, because messages before it had them.
    known: BTreeSet<&'static str>,
}

impl Firewall {
    /// Makes the firewall's `steps`: the table and its elements in order in one transaction, then the flows are
    /// forgotten. A deletion goes by the key; what is gone already is no error, nor is adding what is there.
    ///
    /// # Errors
    /// At the first step that fails. Nothing of its transaction holds; where there is too much for one
    /// transaction, those before it hold.
    pub fn apply(&mut self, steps: &[Step]) -> Result<(), KernelError> {
        let changes = changes(steps)?;
        if !changes.is_empty() {
            self.change(steps, &changes)?;
        }
        self.flush(steps)
    }

    fn change(&mut self, steps: &[Step], changes: &[Change]) -> Result<(), KernelError> {
        let creates = changes.iter().any(|change| matches!(change.kind, Kind::Create));
        let mut todo = Cow::Borrowed(changes);
        let mut table = Table::Ours;
        if creates {
            table = self.tables()?;
            todo = outstanding(changes, table, deleted(changes)).into();
        }
        let (mut attempt, mut races) = (1, 0);
        let mut lacking = Vec::new();
        let drops = !creates && changes.iter().any(|change| matches!(change.kind, Kind::Drop));
        if drops && !self.has_backend()? {
            // One of that name is another backend's, and stays.
            lacking.push(Family::Backend);
        }
        let mut wants_backend = false;
        loop {
            let (whole, mut generation) = self.merged(&todo)?;
            let makes_backend = makes_all_of_backend(&todo)
                || wants_backend && {
                    // Another process may just have made it, and then has something in it.
                    generation = generation.map_or_else(|| self.generation(), |known| Ok(Some(known)))?;
                    !self.has_backend()?
                };
            let requests = requests(&whole, table, &lacking, makes_backend);
            let Err(failed) = self.commit(requests, generation) else { return Ok(()) };
            if failed.error.errno == Errno::ERESTART && races < RACES {
                races += 1;
                continue;
            }
            if attempt == ATTEMPTS || !failed.may_pass(&todo) {
                return Err(self.explain(steps, *failed, &lacking));
            }
            attempt += 1;
            lacking.extend(failed.lacks());
            wants_backend |= failed.wants_backend();
            table = if creates { self.tables()? } else { self.table()? };
            let there = self.entries(&deleted(changes), true)?.unwrap_or_default();
            todo = outstanding(changes, table, there).into();
        }
    }

    /// Where more than one transaction is needed, which is for whoever makes the table, only the first asks for the
    /// `generation`.
    fn commit<'a>(
        &mut self,
        requests: Vec<Request<'a>>,
        mut generation: Option<u32>,
    ) -> Result<(), Box<Failed<'a>>> {
        let mut limit = self.socket.send_limit();
        let size: usize = requests.iter().map(|request| request.message.len()).sum();
        if size + BRACKETS > limit {
            self.socket.enlarge();
            limit = self.socket.send_limit();
        }
        let mut requests = requests.into_iter().peekable();
        let mut known = BTreeSet::new();
        while requests.peek().is_some() {
            let mut size = BRACKETS;
            let mut messages: Vec<Message> = Vec::new();
            let mut abouts = Vec::new();
            while let Some(request) = requests.next_if(|next| {
                size += next.message.len();
                size <= limit || messages.is_empty()
            }) {
                messages.push(request.message);
                abouts.push((request.about, request.family));
            }
            if let Err(error) = self.socket.transaction(messages, generation.take()) {
                let mut failed = abouts.into_iter();
                let before = failed.by_ref().take(error.index.unwrap_or_default());
                known.extend(before.flat_map(|(about, _)| about.needs().to_vec()));
                let (about, family) = error.index.and(failed.next()).unzip();
                return Err(Box::new(Failed { error, about, family, known }));
            }
        }
        Ok(())
    }

    /// The step that failed, in the kernel's words or in better ones.
    fn explain(&mut self, steps: &[Step], failed: Failed<'_>, lacking: &[Family]) -> KernelError {
        let Failed { error, about, known, family } = failed;
        let line = |step: usize| steps.get(step).map(ToString::to_string).unwrap_or_default();
        match about {
            None => refused(line(0), &error),
            Some(About::Table { step }) => refused(line(step), &error),
            Some(About::Part { step, what, needs }) => {
                let mut refused = refused(line(step), &error);
                refused.cause = format!("{what}: {}", refused.cause);
                if matches!(error.errno, Errno::ENOENT | Errno::EOPNOTSUPP) {
                    let unknown: Vec<_> = needs.into_iter().filter(|name| !known.contains(name)).collect();
                    refused.hint = missing(&unknown).or(refused.hint);
                    refused.failure = Failure::Unsupported;
                }
                refused
            }
            Some(About::Elements { changes })
                if family == Some(Family::Bridge) && self.lacks_bridges(lacking) =>
            {
                let first = changes.first().map_or(0, |(step, _)| *step);
                without_bridges(line(first))
            }
            Some(About::Elements { changes }) => {
                let clash = is_clash(error.errno).then(|| self.clash(steps, &changes)).flatten();
                let first = changes.first().map_or(0, |(step, _)| *step);
                let (step, holder) = clash.map_or((first, None), |(step, holder)| (step, Some(holder)));
                let mut refused = refused(line(step), &error);
                if is_clash(error.errno) {
                    refused.failure = Failure::Exists;
                }
                if let Some(holder) = holder {
                    refused.cause = format!("{holder} is there already ({})", refused.cause);
                }
                if error.errno == Errno::ENOENT {
                    refused.hint = Some("the table is gone: `linkspan repair` makes it anew".to_owned());
                }
                refused
            }
        }
    }

    /// Whether the kernel cannot have the table of bridges, as was just found out or when ours was made.
    fn lacks_bridges(&mut self, lacking: &[Family]) -> bool {
        lacking.contains(&Family::Bridge)
            || self.tables() == Ok(Table::Ours) && self.has_table(Family::Bridge) == Ok(false)
    }

    /// The first of the `changes` that something else is in the way of, and what.
    fn clash(&mut self, steps: &[Step], changes: &[(usize, &Entry)]) -> Option<(usize, Element)> {
        let wanted = changes.iter().map(|(_, entry)| (*entry).clone()).collect();
        let there = elements(&self.entries(&wanted, true).ok()??);
        changes.iter().find_map(|(step, _)| {
            let Some(Step::AddElement(element)) = steps.get(*step) else { return None };
            let holder = there.iter().find(|holder| excludes(holder, element))?;
            Some((*step, holder.clone()))
        })
    }
}

/// Whether the changes make all that there is, with something in the table of a runtime's backend.
fn makes_all_of_backend(changes: &[Change]) -> bool {
    let is_of_backend =
        |change: &Change| matches!(&change.kind, Kind::Add(entry) if entry.family() == Family::Backend);
    changes.iter().any(|change| matches!(change.kind, Kind::Create)) && changes.iter().any(is_of_backend)
}

/// Whether the two cannot be there at once.
fn excludes(one: &Element, other: &Element) -> bool {
    one != other
        && one.set() == other.set()
        && match (one, other) {
            (
                Element::Publish { protocol, host, port, .. },
                Element::Publish { protocol: other_protocol, host: other_host, port: other_port, .. },
            ) => (protocol, host, port) == (other_protocol, other_host, other_port),
            (Element::Outbound { bridge, .. }, Element::Outbound { bridge: other_bridge, .. }) => {
                bridge == other_bridge
            }
            (Element::PublishRange { ports, .. }, Element::PublishRange { ports: other_ports, .. }) => {
                ports.overlaps(*other_ports)
            }
            (Element::Backend(one), Element::Backend(other)) => excludes(one, other),
            _ => false,
        }
}

/// That an element is there with other data, or a range that overlaps it.
fn is_clash(errno: Errno) -> bool {
    matches!(errno, Errno::EEXIST | Errno::EBUSY | Errno::ENOTEMPTY)
}

impl Failed<'_> {
    /// The family whose tables the kernel does not have, or not all that is in ours. The rest does not need it.
    fn lacks(&self) -> Option<Family> {
        let unknown = matches!(self.error.errno, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::ENOENT);
        let is_element = matches!(self.about, Some(About::Elements { .. }));
        self.family
            .filter(|family| !matches!(family, Family::Inet | Family::Backend) && unknown && !is_element)
    }

    /// Whether there is no table of a runtime's backend, which is made when something is first published there, and again
    /// when its users have deleted it.
    fn wants_backend(&self) -> bool {
        let is_element = matches!(self.about, Some(About::Elements { .. }));
        is_element && self.family == Some(Family::Backend) && self.error.errno == Errno::ENOENT
    }

    /// Whether looking again may help: something to delete was gone, or another process made the table just now.
    fn may_pass(&self, changes: &[Change]) -> bool {
        match self.about {
            _ if self.lacks().is_some() || self.wants_backend() => true,
            Some(About::Table { .. }) => matches!(self.error.errno, Errno::ENOENT | Errno::EEXIST),
            Some(About::Elements { .. }) => {
                let deletes = changes.iter().any(|change| matches!(change.kind, Kind::Delete(_)));
                deletes && self.error.errno == Errno::ENOENT
            }
            Some(About::Part { .. }) | None => false,
        }
    }
}

impl About<'_> {
    fn needs(&self) -> &[&'static str] {
        match self {
            Self::Part { needs, .. } => needs,
            Self::Table { .. } | Self::Elements { .. } => &[],
        }
    }
}
