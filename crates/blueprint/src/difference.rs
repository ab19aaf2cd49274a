//! The changes between what there is and what a file describes.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_engine::{NetworkRequest, SandboxView};
use linkspan_model::{Invalid, Name, NamespaceSource, Network, nearest};

use crate::alike;
use crate::change::Change;
use crate::former;
use crate::found::Found;
use crate::lab::{Lab, Member, uplink};
use crate::order::levels;

/// Changes in the order of their turns. Those within one step are independent of each other.
pub type Steps = Vec<Vec<Change>>;

/// What `apply` would do.
///
/// # Errors
/// If something of the same name is not the lab's, or a network that must go has other sandboxes on it.
pub fn between(lab: &Lab, found: &Found) -> Result<Steps, Invalid> {
    refuse_foreign(lab, found)?;
    let mut changes = Collector::new(lab, found);
    changes.refuse_unknown(lab)?;
    changes.networks()?;
    for (level, members) in lab.sandboxes.iter().enumerate() {
        members.iter().for_each(|member| changes.member(level, lab.sandboxes.len() - level, member));
    }
    let wanted: BTreeSet<_> = lab.members().map(|member| &member.request.name).collect();
    changes.remove_members(|view| !wanted.contains(&view.sandbox.name))?;
    changes.programs(lab);
    Ok(changes.steps())
}

/// What `delete` would do.
///
/// # Errors
/// If one of the lab's networks has other sandboxes on it.
pub fn removal(lab: &Lab, found: &Found) -> Result<Steps, Invalid> {
    let mut changes = Collector::new(lab, found);
    changes.replaced = found.own_networks().map(|network| (network.name.clone(), Vec::new())).collect();
    changes.refuse_strangers()?;
    changes.remove_networks()?;
    changes.remove_members(|_| true)?;
    let programs = found.programs.iter().map(|program| Change::Stop(program.clone()));
    changes.all.extend(programs.map(|change| (0, change)));
    Ok(changes.steps())
}

struct Collector<'a> {
    found: &'a Found,
    wanted: BTreeMap<&'a Name, (usize, &'a NetworkRequest)>,
    /// The lab's networks that go, or are made anew with the reasons.
    replaced: BTreeMap<Name, Vec<String>>,
    /// Sandboxes that are made anew.
    remade: BTreeSet<Name>,
    /// Each with its level.
    all: Vec<(usize, Change)>,
}

impl<'a> Collector<'a> {
    fn new(lab: &'a Lab, found: &'a Found) -> Self {
        let level = |(level, requests): (usize, &'a Vec<NetworkRequest>)| {
            requests.iter().map(move |request| (&request.name, (level, request)))
        };
        let wanted = lab.networks.iter().enumerate().flat_map(level).collect();
        Self { found, wanted, replaced: BTreeMap::new(), remade: BTreeSet::new(), all: Vec::new() }
    }

    fn refuse_unknown(&self, lab: &Lab) -> Result<(), Invalid> {
        for member in lab.members() {
            for attach in member.attachments() {
                refuse_unknown(&attach.network, &member.request.name, &self.wanted, self.found)?;
            }
        }
        Ok(())
    }

    fn networks(&mut self) -> Result<(), Invalid> {
        for network in self.found.own_networks() {
            let differences = match self.wanted.get(&network.name) {
                Some((_, request)) => alike::network(request, network),
                None => vec!["is not in the file".to_owned()],
            };
            if !differences.is_empty() {
                self.replaced.insert(network.name.clone(), differences);
            }
        }
        self.replace_what_is_plugged_in();
        self.refuse_strangers()?;
        self.remove_networks()?;
        for (level, request) in self.wanted.values() {
            let words = match self.replaced.get(&request.name) {
                Some(differences) => differences.clone(),
                None if self.found.networks.contains_key(&request.name) => continue,
                None => alike::described(request),
            };
            self.all.push((*level, Change::CreateNetwork((*request).clone(), words)));
        }
        Ok(())
    }

    /// What is plugged into a network that is made anew is made anew with it.
    fn replace_what_is_plugged_in(&mut self) {
        loop {
            let plugged = |network: &&Network| {
                let core = uplink(&former::network(network));
                core.filter(|core| {
                    self.replaced.contains_key(core) && !self.replaced.contains_key(&network.name)
                })
                .is_some()
            };
            let Some(next) = self.found.own_networks().find(plugged) else { return };
            self.replaced.insert(next.name.clone(), vec!["its uplink is made anew".to_owned()]);
        }
    }

    /// A network goes only if all on it are the lab's.
    fn refuse_strangers(&self) -> Result<(), Invalid> {
        for name in self.replaced.keys() {
            let stranger = self.found.on(name).find(|view| !self.found.is_ours(&view.sandbox.labels));
            if let Some(stranger) = stranger {
                let sandbox = &stranger.sandbox.name;
                return Err(Invalid::new(format!("network '{name}' would have to go"))
                    .because(format!(
                        "sandbox '{sandbox}' is on it and does not belong to lab '{}'",
                        self.found.lab
                    ))
                    .hint(format!(
                        "`linkspan network disconnect {name} {sandbox}`, or remove that sandbox"
                    )));
            }
        }
        Ok(())
    }

    fn remove_networks(&mut self) -> Result<(), Invalid> {
        let gone = |name: &Name| self.found.networks.get(name).map(former::network);
        let needs = |name: &Name| gone(name).as_ref().and_then(uplink).into_iter().collect();
        let needs = self.replaced.keys().map(|name| (name.clone(), needs(name))).collect();
        for (level, names) in levels("network", &needs)?.iter().rev().enumerate() {
            let changes =
                names.iter().filter_map(gone).map(|network| (level, Change::RemoveNetwork(network)));
            self.all.extend(changes);
        }
        Ok(())
    }

    /// Removes the lab's sandboxes that `goes` names; those that share another's namespace before that.
    fn remove_members(&mut self, goes: impl Fn(&SandboxView) -> bool) -> Result<(), Invalid> {
        let gone: Vec<_> = self.found.members().filter(|view| goes(view)).collect();
        let needs = |view: &SandboxView| match &view.sandbox.namespace {
            NamespaceSource::Sandbox(other) => [other.clone()].into(),
            _ => BTreeSet::new(),
        };
        let needs = gone.iter().map(|view| (view.sandbox.name.clone(), needs(view))).collect();
        for (level, names) in levels("sandbox", &needs)?.iter().rev().enumerate() {
            for view in gone.iter().filter(|view| names.contains(&view.sandbox.name)) {
                self.all.push((level, Change::RemoveSandbox(former::sandbox(view))));
            }
        }
        Ok(())
    }

    /// A sandbox of the file, made in its turn `level`; if it must be made anew, it goes in the turn `last`.
    fn member(&mut self, level: usize, last: usize, member: &Member) {
        let request = &member.request;
        let Some(view) = self.found.sandboxes.get(&request.name) else {
            let words = alike::member(member);
            return self.all.push((level, Change::CreateSandbox(request.clone(), words)));
        };
        let shares_what_goes = |owner: &NamespaceSource| match owner {
            NamespaceSource::Sandbox(owner) => self.remade.contains(owner),
            _ => false,
        };
        let reason = if self.found.abandoned.contains(&request.name) {
            "its namespace is gone"
        } else if !alike::namespace(request, view, self.found) {
            "another namespace"
        } else if shares_what_goes(&view.sandbox.namespace) {
            "the namespace that it shares is made anew"
        } else {
            return self.attachments(level, member, view);
        };
        self.remade.insert(request.name.clone());
        self.all.push((last, Change::RemoveSandbox(former::sandbox(view))));
        self.all.push((level, Change::CreateSandbox(request.clone(), vec![format!("made anew: {reason}")])));
    }

    fn attachments(&mut self, level: usize, member: &Member, view: &SandboxView) {
        let name = &member.request.name;
        let wanted = member.attachments();
        let mut unpublished = false;
        for (endpoint, network) in &view.attached {
            let as_wanted = wanted.iter().find(|attach| attach.network == network.name.as_str());
            let stays = as_wanted.is_some_and(|attach| alike::attachment(attach, endpoint, network));
            if !stays || self.replaced.contains_key(&network.name) {
                unpublished |= !endpoint.published.is_empty();
                let former = former::attachment(endpoint, network);
                self.all.push((0, Change::Disconnect(name.clone(), former)));
                self.all
                    .extend(as_wanted.map(|attach| (level, Change::Connect(name.clone(), attach.clone()))));
            }
        }
        let is_on = |network: &str| view.attached.iter().any(|(_, on)| on.name.as_str() == network);
        for attach in wanted.into_iter().filter(|attach| !is_on(&attach.network)) {
            self.all.push((level, Change::Connect(name.clone(), attach)));
        }
        let mut words = alike::revision(&member.request, view);
        if unpublished && words.is_empty() && former::published(view).next().is_some() {
            words.push("publish as before".to_owned());
        }
        if !words.is_empty() {
            let requests = Box::new((member.request.clone(), former::sandbox(view)));
            self.all.push((level, Change::Revise(requests, words)));
        }
    }

    /// Programs of which the file knows nothing any more end, those that do not run start.
    fn programs(&mut self, lab: &Lab) {
        let mut missing: Vec<_> = lab
            .members()
            .flat_map(|member| member.programs.iter().map(|command| (&member.request.name, command)))
            .collect();
        for program in &self.found.programs {
            let place = missing.iter().position(|(name, command)| {
                **name == program.sandbox && **command == program.command && !self.remade.contains(*name)
            });
            match place {
                Some(place) if program.runs => drop(missing.remove(place)),
                // Dead, or of no use: in either case its record goes.
                _ => self.all.push((0, Change::Stop(program.clone()))),
            }
        }
        let starts = missing.into_iter().map(|(name, command)| Change::Start(name.clone(), command.clone()));
        self.all.extend(starts.map(|change| (0, change)));
    }

    fn steps(mut self) -> Steps {
        self.all.sort_by_key(|(level, change)| (change.turn(), *level));
        let same = |a: &(usize, Change), b: &(usize, Change)| (a.1.turn(), a.0) == (b.1.turn(), b.0);
        let steps = self.all.chunk_by(same);
        steps.map(|step| step.iter().map(|(_, change)| change.clone()).collect()).collect()
    }
}

fn refuse_unknown(
    network: &str,
    sandbox: &Name,
    wanted: &BTreeMap<&Name, (usize, &NetworkRequest)>,
    found: &Found,
) -> Result<(), Invalid> {
    let in_file = || wanted.keys().map(|name| name.as_str());
    let on_host = || found.networks.values().filter(|other| !found.is_ours(&other.labels));
    if in_file().chain(on_host().map(|other| other.name.as_str())).any(|name| name == network) {
        return Ok(());
    }
    let error = Invalid::new(format!("sandbox '{sandbox}': there is no network '{network}'"))
        .because("neither in the file nor, of another origin, on this host");
    Err(nearest(network, in_file())
        .into_iter()
        .fold(error, |e, like| e.hint(format!("did you mean {like}?"))))
}

/// What exists under a name of the file and is not the lab's is left alone.
fn refuse_foreign(lab: &Lab, found: &Found) -> Result<(), Invalid> {
    let networks = lab.networks().filter_map(|request| found.networks.get(&request.name));
    let networks = networks.map(|network| ("network", &network.name, &network.labels));
    let sandboxes = lab.members().filter_map(|member| found.sandboxes.get(&member.request.name));
    let sandboxes = sandboxes.map(|view| ("sandbox", &view.sandbox.name, &view.sandbox.labels));
    for (kind, name, labels) in networks.chain(sandboxes) {
        if !found.is_ours(labels) {
            let owner = match labels.get(crate::lab::LABEL) {
                Some(other) => format!("it belongs to lab '{other}'"),
                None => format!("it was not made for lab '{}'", lab.name),
            };
            return Err(Invalid::new(format!("{kind} '{name}' exists already"))
                .because(owner)
                .hint(format!("choose another name in the file, or `linkspan {kind} rm {name}`")));
        }
    }
    Ok(())
}
