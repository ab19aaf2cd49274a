//! Putting right what was interrupted or came apart.

use linkspan_model::{Id, Name, Sandbox};
use linkspan_plan::{Kernel, Scope, Step};
use linkspan_store::{JournalEntry, Lock, Mode, Object};

use crate::error::Obstacle;
use crate::networks::end_all;
use crate::{Engine, Error};

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
    /// Finishes or undoes every change whose process died.
    ///
    /// # Errors
    /// If one cannot be; it stays in the journal.
    pub(crate) fn settle(&mut self) -> Result<Vec<String>, Error> {
        let mut settled = Vec::new();
        for entry in self.store.read(|tx| tx.journal())? {
            if let Some(_lock) = self.dead(&entry)? {
                settled.push(format!("{} of {} was interrupted", entry.verb, entry.object));
                self.finish(&entry)?;
            }
        }
        Ok(settled)
    }

    /// The lock of an entry's object, if the process that wrote the entry is gone and it was not settled meanwhile.
    fn dead(&mut self, entry: &JournalEntry) -> Result<Option<Lock>, Error> {
        let Some(lock) = self.store.try_lock(&entry.object, Mode::Exclusive)? else { return Ok(None) };
        let still_there = self.store.read(|tx| tx.journal())?.iter().any(|other| other.id == entry.id);
        Ok(still_there.then_some(lock))
    }

    fn finish(&mut self, entry: &JournalEntry) -> Result<(), Error> {
        match &entry.object {
            Object::Network(name) => {
                if let Some(network) = self.store.read(|tx| tx.network(name.as_str()))? {
                    return self.erase_network(&network);
                }
            }
            Object::Sandbox(name) => {
                if let Some(sandbox) = self.store.read(|tx| tx.sandbox(name.as_str()))? {
                    return match entry.detail.parse::<Id>() {
                        Ok(endpoint) => self.erase_endpoint(&sandbox, endpoint),
                        Err(_) => self.erase_sandbox(&sandbox),
                    };
                }
            }
            Object::Host | Object::Run(_) => {}
        }
        self.store.write(|tx| end_all(tx, &entry.object))
    }

    /// The lock that says that the process of an ephemeral sandbox lives.
    ///
    /// # Errors
    /// If another process has it.
    pub fn hold_run(&self, name: &Name) -> Result<Lock, Error> {
        Ok(self.store.lock(&Object::Run(name.clone()), Mode::Exclusive, crate::PATIENCE)?)
    }

    /// Whether nothing holds a sandbox any more: its namespace is gone, or the process that it lived for.
    fn is_stale(&mut self, sandbox: &Sandbox) -> Result<bool, Error> {
        if sandbox.ephemeral
            && self.store.try_lock(&Object::Run(sandbox.name.clone()), Mode::Exclusive)?.is_some()
        {
            return Ok(true);
        }
        let scope = Scope { namespaces: [sandbox.name.clone()].into(), ..Scope::default() };
        Ok(self.kernel.observe(&scope)?.namespaces.is_empty())
    }

    /// Removes `sandbox` if nothing holds it any more and nobody is at work on it.
    fn reclaim(&mut self, sandbox: &Sandbox) -> Result<bool, Error> {
        let object = Object::Sandbox(sandbox.name.clone());
        let Some(_lock) = self.store.try_lock(&object, Mode::Exclusive)? else { return Ok(false) };
        let there = self.store.read(|tx| tx.sandbox_by_id(sandbox.id))?.is_some();
        if !there || !self.is_stale(sandbox)? {
            return Ok(false);
        }
        self.store.write(|tx| tx.begin(&object, "remove", ""))?;
        self.erase_sandbox(sandbox)?;
        Ok(true)
    }

    /// Whether the way is free now that `error` barred from making `name`: a leftover stood in it and is gone.
    pub(crate) fn reclaim_behind(&mut self, error: &Error, name: &Name) -> Result<bool, Error> {
        let obstacle = match error {
            Error::Overtaken => {
                self.settle()?;
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
        let mut repair = Repair::default();
        if dry_run {
            for entry in self.store.read(|tx| tx.journal())? {
                if self.dead(&entry)?.is_some() {
                    repair.finished.push(format!("{} of {} was interrupted", entry.verb, entry.object));
                }
            }
        } else {
            repair.finished = self.settle()?;
        }
        for sandbox in self.store.read(|tx| tx.sandboxes())? {
            let gone = if dry_run { self.is_stale(&sandbox)? } else { self.reclaim(&sandbox)? };
            if gone {
                repair.finished.push(format!("sandbox {} is held by nothing", sandbox.name));
            }
        }
        repair.steps = self.drift()?;
        let names: Vec<_> =
            self.store.read(|tx| tx.sandboxes())?.into_iter().map(|sandbox| sandbox.name).collect();
        repair.files = self.files.strays(&names)?;
        if !dry_run {
            self.apply(&repair.steps)?;
            self.files.discard(&repair.files)?;
        }
        Ok(repair)
    }
}
