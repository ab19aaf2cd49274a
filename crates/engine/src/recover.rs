//! Putting right what was interrupted or came apart.

use std::path::Path;
use std::time::Duration;

use linkspan_model::{Id, Name, NamespaceSource, Sandbox};
use linkspan_plan::{Kernel, Namespace, Scope, Step};
use linkspan_store::{JournalEntry, Lock, Mode, Object, StoreError};

use crate::attachments::FIT;
use crate::error::Obstacle;
use crate::flat::{CONFIRM, PLUG, is_waiting};
use crate::ground::LEAVE;
use crate::heirs::INHERIT;
use crate::networks::end_all;
use crate::revise::REVISE;
use crate::{Engine, Error, Files, PATIENCE};

/// How long `repair` waits for what a killed process left running: a child that sees devices go.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Longer than anybody has a lock only to see whether it is free.
const GLANCE: Duration = Duration::from_millis(500);

/// What `repair` found, in words, and the steps that it took or would take.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Changes whose process died, and sandboxes that nothing holds any more.
    pub finished: Vec<String>,
    /// Steps between what the kernel held and what it should hold.
    pub steps: Vec<Step>,
    /// Files of sandboxes that are not there.
    pub files: Vec<std::path::PathBuf>,
}

impl Repair {
    /// Whether everything was as it should be.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.steps.is_empty() && self.files.is_empty()
    }
}

impl<K: Kernel> Engine<K> {
    /// Finishes or undoes every change whose process died, as far as that goes: what is in the way of one is no
    /// reason to refuse another. What cannot be settled stays in the journal, and is told.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn settle(&mut self) -> Result<(), Error> {
        for entry in self.store.read(|tx| tx.journal())? {
            if let Err(error) = self.settle_entry(&entry, Duration::ZERO) {
                self.note(format!(
                    "{} of {} was interrupted and cannot be settled: {error}",
                    entry.verb, entry.object
                ));
            }
        }
        Ok(())
    }

    /// Settles what stands in the way of a command that saw it only when it held the locks.
    fn settle_or_fail(&mut self) -> Result<(), Error> {
        for entry in self.store.read(|tx| tx.journal())? {
            self.settle_entry(&entry, Duration::ZERO)?;
        }
        Ok(())
    }

    /// Does `work`, again whenever it turns out that a dead process left its object half-way.
    pub(crate) fn persist<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            match work(self) {
                Err(Error::Overtaken) => self.settle_or_fail()?,
                Err(Error::Unasked(unasked)) => self.ask_lan(&unasked)?,
                settled => return settled,
            }
        }
    }

    /// Undoes what has failed. If that fails too, the journal still has it; the first failure is what is reported.
    pub(crate) fn undo(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Error>) {
        if let Err(error) = work(self) {
            self.note(format!("what was begun could not be undone, the next command tries again: {error}"));
        }
    }

    /// Finishes or undoes a change if its process died; whether it did.
    fn settle_entry(&mut self, entry: &JournalEntry, patience: Duration) -> Result<bool, Error> {
        let Some(lock) = self.dead(entry, patience)? else { return Ok(false) };
        self.finish(entry)?;
        drop(lock);
        self.put_left_away()?;
        Ok(true)
    }

    /// The lock of an entry's object, if the process that wrote the entry is gone and it was not settled meanwhile.
    fn dead(&mut self, entry: &JournalEntry, patience: Duration) -> Result<Option<Lock>, Error> {
        if is_waiting(entry) {
            return Ok(None);
        }
        let lock = match self.store.lock(&entry.object, Mode::Exclusive, patience) {
            Err(StoreError::Busy { .. }) => return Ok(None),
            lock => lock?,
        };
        let still_there = self.store.read(|tx| tx.journal())?.iter().any(|other| other.id == entry.id);
        Ok(still_there.then_some(lock))
    }

    fn finish(&mut self, entry: &JournalEntry) -> Result<(), Error> {
        match &entry.object {
            Object::Network(name) => {
                let network = self.store.read(|tx| tx.network(name.as_str()))?;
                if let Some(network) = network.filter(|network| network.name == *name) {
                    return match entry.verb.as_str() {
                        PLUG => self.unplug(&network),
                        LEAVE => self.put_away(&network),
                        _ => self.erase_network(&network),
                    };
                }
            }
            Object::Sandbox(name) => {
                let sandbox = self.store.read(|tx| tx.sandbox(name.as_str()))?;
                if let Some(sandbox) = sandbox.filter(|sandbox| sandbox.name == *name) {
                    if entry.verb == REVISE {
                        return self.finish_revision(&sandbox, &entry.detail);
                    }
                    if entry.verb == INHERIT {
                        return self.publish_inherited(&sandbox);
                    }
                    if entry.verb == FIT {
                        return self.rid_of(&sandbox, &entry.detail);
                    }
                    return match entry.detail.parse::<Id>() {
                        Ok(endpoint) => self.erase_endpoint(&sandbox, endpoint),
                        Err(_) => self.erase_sandbox(&sandbox),
                    };
                }
            }
            Object::Host | Object::Bridges | Object::Run(_) | Object::Lab(_) => {}
        }
        self.store.write(|tx| end_all(tx, &entry.object))
    }

    /// The lock that says that the process of an ephemeral sandbox lives. What a dead one has left of that name goes.
    ///
    /// # Errors
    /// If another process has it.
    pub fn hold_run(&mut self, name: &Name) -> Result<Lock, Error> {
        let alive = self.lock_run(name)?;
        let left = self.store.read(|tx| tx.sandbox(name.as_str()))?;
        let Some(sandbox) = left.filter(|sandbox| sandbox.ephemeral && sandbox.name == *name) else {
            return Ok(alive);
        };
        let object = Object::Sandbox(name.clone());
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        if self.store.read(|tx| tx.sandbox_by_id(sandbox.id))?.is_some() {
            self.store.write(|tx| tx.begin(&object, "remove", ""))?;
            self.erase_sandbox(&sandbox)?;
        }
        // A child that sees the devices go has this lock too, and would keep it a while beyond our death.
        drop(alive);
        self.lock_run(name)
    }

    /// The lock of whoever brings a lab to what its file says: two at once would each make what the other makes.
    ///
    /// # Errors
    /// If another process has it for long.
    pub fn hold_lab(&mut self, lab: &Name) -> Result<Lock, Error> {
        Ok(self.store.lock(&Object::Lab(lab.clone()), Mode::Exclusive, PATIENCE)?)
    }

    fn lock_run(&self, name: &Name) -> Result<Lock, Error> {
        match self.store.lock(&Object::Run(name.clone()), Mode::Exclusive, GLANCE) {
            Err(StoreError::Busy { .. }) => Err(Error::refused(format!("sandbox '{name}' exists already"))
                .because("the process that it was made for is running")
                .hinting("choose another name")),
            lock => Ok(lock?),
        }
    }

    /// Whether nothing holds a sandbox any more: its namespace is gone, or the process that it lived for, or whoever
    /// gave it a namespace.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub fn is_stale(&mut self, sandbox: &Sandbox) -> Result<bool, Error> {
        if sandbox.ephemeral
            && self.store.try_lock(&Object::Run(sandbox.name.clone()), Mode::Exclusive)?.is_some()
        {
            return Ok(true);
        }
        if sandbox.is_machine() {
            return Ok(false);
        }
        let scope = Scope { pins: [sandbox.netns_name().clone()].into(), ..Scope::default() };
        let pinned = self.kernel.observe(&scope)?.namespaces.remove(sandbox.netns_name());
        match pinned {
            None => Ok(true),
            // A path is what the kernel gives for a pin that pins nothing.
            Some(Namespace::Path(_)) => Ok(!self.is_pinned_elsewhere(sandbox)),
            Some(_) => self.is_deserted(sandbox),
        }
    }

    /// Whether a runtime's file still stands for the namespace, so that the pin is only in another mount namespace: without
    /// privileges Podman makes one for each command.
    fn is_pinned_elsewhere(&mut self, sandbox: &Sandbox) -> bool {
        match &sandbox.namespace {
            NamespaceSource::Path(path) if sandbox.of_runtime => self.kernel.look_into(path).is_ok(),
            _ => false,
        }
    }

    /// Removes `sandbox` if nothing holds it any more and nobody is at work on it.
    fn reclaim(&mut self, sandbox: &Sandbox) -> Result<bool, Error> {
        let object = Object::Sandbox(sandbox.name.clone());
        let Some(_lock) = self.store.try_lock(&object, Mode::Exclusive)? else { return Ok(false) };
        self.reclaim_locked(sandbox)
    }

    /// Removes `sandbox` if nothing holds it any more. The caller has its lock.
    pub(crate) fn reclaim_locked(&mut self, sandbox: &Sandbox) -> Result<bool, Error> {
        let there = self.store.read(|tx| tx.sandbox_by_id(sandbox.id))?.is_some();
        if !there || !self.is_stale(sandbox)? {
            return Ok(false);
        }
        self.store.write(|tx| tx.begin(&Object::Sandbox(sandbox.name.clone()), "remove", ""))?;
        self.erase_sandbox(sandbox)?;
        Ok(true)
    }

    /// Whether the way is free now that `error` barred from making `name`: a leftover stood in it and is gone.
    pub(crate) fn reclaim_behind(&mut self, error: &Error, name: &Name) -> Result<bool, Error> {
        let obstacle = match error {
            Error::Overtaken => {
                self.settle_or_fail()?;
                return Ok(true);
            }
            Error::Unasked(unasked) => {
                self.ask_lan(unasked)?;
                return Ok(true);
            }
            Error::Refused { obstacle, .. } => *obstacle,
            _ => return Ok(false),
        };
        let suspects = self.store.read(|tx| {
            let endpoints = match obstacle {
                Obstacle::Lasting => Vec::new(),
                Obstacle::Namesake => return Ok(tx.sandbox(name.as_str())?.into_iter().collect()),
                Obstacle::Endpoint(id) => tx.endpoint(id)?.into_iter().collect(),
                Obstacle::FullNetwork(id) => tx.endpoints_of_network(id)?,
            };
            let sandboxes = endpoints.iter().map(|endpoint| tx.sandbox_by_id(endpoint.sandbox));
            Ok::<Vec<Sandbox>, Error>(
                sandboxes.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
            )
        })?;
        let mut freed = false;
        for sandbox in suspects {
            freed |= self.reclaim(&sandbox)?;
        }
        Ok(freed)
    }

    /// Puts everything right: interrupted changes, leftovers, and what the kernel lost or was given meanwhile. With
    /// `dry_run` only says what it would do.
    ///
    /// # Errors
    /// At the first thing that cannot be put right.
    pub fn repair(&mut self, dry_run: bool) -> Result<Repair, Error> {
        let mut repair = Repair { finished: self.finish_all(dry_run)?, ..Repair::default() };
        let mut gone = Vec::new();
        for sandbox in self.store.read(|tx| tx.sandboxes())? {
            let goes = if dry_run { self.would_reclaim(&sandbox)? } else { self.reclaim(&sandbox)? };
            if goes {
                repair.finished.push(format!("sandbox {} is held by nothing", sandbox.name));
                gone.push(Object::Sandbox(sandbox.name));
            }
        }
        repair.steps = self.straighten(dry_run, &gone)?;
        // Files come after their row and go before it: one that is there now had a row before, or has one now.
        for stray in self.files.of_sandboxes()? {
            if self.is_abandoned(&stray, dry_run)? {
                repair.files.push(stray);
            }
        }
        if !dry_run {
            self.answer_all()?;
        }
        Ok(repair)
    }

    /// Settles the journal, waiting for what a killed process left running; the changes that were interrupted.
    fn finish_all(&mut self, dry_run: bool) -> Result<Vec<String>, Error> {
        let mut finished = Vec::new();
        for entry in self.store.read(|tx| tx.journal())? {
            let died = match dry_run {
                true => self.dead(&entry, AFTERMATH)?.is_some(),
                false => self.settle_entry(&entry, AFTERMATH)?,
            };
            if died {
                finished.push(match entry.verb.as_str() {
                    CONFIRM => format!("{} was not confirmed in time", entry.object),
                    verb => format!("{verb} of {} was interrupted", entry.object),
                });
            }
        }
        Ok(finished)
    }

    fn would_reclaim(&mut self, sandbox: &Sandbox) -> Result<bool, Error> {
        let lock = self.store.try_lock(&Object::Sandbox(sandbox.name.clone()), Mode::Exclusive)?;
        let there = self.store.read(|tx| tx.sandbox_by_id(sandbox.id))?.is_some();
        Ok(lock.is_some() && there && self.is_stale(sandbox)?)
    }

    /// Brings the whole kernel to what it should hold, while nobody else changes it; the steps that this takes.
    fn straighten(&mut self, dry_run: bool, gone: &[Object]) -> Result<Vec<Step>, Error> {
        let _host = self.store.lock(&Object::Host, Mode::Exclusive, PATIENCE)?;
        let steps = self.drift(gone)?;
        if !dry_run {
            self.apply(&steps)?;
        }
        Ok(steps)
    }

    /// Removes files that outlived the boot whose sandboxes they were of.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub(crate) fn clear_former_boot(&mut self) -> Result<(), Error> {
        for file in self.files.of_sandboxes()? {
            self.is_abandoned(&file, false)?;
        }
        for network in self.store.read(|tx| tx.networks())? {
            let lock = self.store.try_lock(&Object::Network(network.name.clone()), Mode::Exclusive)?;
            if lock.is_some() && !self.store.read(|tx| tx.network_in_use(network.id))? {
                self.files.remove_roster(&network.name)?;
                // What it stood on went with the boot.
                if network.goes_with_the_last() {
                    self.store.write(|tx| tx.delete_network(network.id))?;
                }
            }
        }
        self.clear_former_reservations()
    }

    /// Whether no sandbox has the name of a file; without `dry_run` it is removed then.
    fn is_abandoned(&mut self, file: &Path, dry_run: bool) -> Result<bool, Error> {
        let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<Name>().ok());
        let Some(name) = name else { return Ok(false) };
        let Some(_lock) = self.store.try_lock(&Object::Sandbox(name.clone()), Mode::Exclusive)? else {
            return Ok(false);
        };
        if self.store.read(|tx| tx.sandbox(name.as_str()))?.is_some_and(|sandbox| sandbox.name == name) {
            return Ok(false);
        }
        if !dry_run {
            Files::discard(file)?;
        }
        Ok(true)
    }
}
