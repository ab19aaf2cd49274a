//! Carrying changes out: step by step, those of a step side by side; all of them, or none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use linkspan_engine::{Engine, Error};
use linkspan_model::Invalid;
use linkspan_plan::Kernel;

use crate::change::{Change, Kind};
use crate::difference::Steps;
use crate::programs::Records;

/// From how many changes on a step is worth more than one thread.
const CROWD: usize = 4;
/// After how many changes an engine is opened anew: it keeps the namespaces open that it has made.
const LIFE: usize = 100;

/// What is told of the work, from any thread.
pub trait Watch: Sync {
    /// A change was made: so many of all.
    fn made(&self, count: usize, of: usize);
    /// Whether the work should stop and be undone.
    fn stops(&self) -> bool;
    /// Something that the user should know.
    fn note(&self, text: &str);
}

/// How changes are carried out.
pub struct Worker<'a, K: Kernel> {
    /// Opens an engine, one for each thread.
    pub open: &'a (dyn Fn() -> Result<Engine<K>, Error> + Sync),
    /// Where the lab's programs are on record.
    pub records: &'a Records,
    /// Who is told.
    pub watch: &'a dyn Watch,
}

impl<K: Kernel> Worker<'_, K> {
    /// Carries out `steps`. If a change fails or it is told to stop, what was done is undone in reverse.
    ///
    /// # Errors
    /// Of the first change that failed, or that it was interrupted.
    pub fn apply(&self, steps: &Steps) -> Result<(), Error> {
        let done = Mutex::new(Vec::new());
        let count = steps.iter().map(Vec::len).sum();
        let result = steps.iter().try_for_each(|step| self.step(step, count, &done));
        if result.is_err() {
            self.undo(done.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        result
    }

    /// Makes the changes of one step, in any order.
    fn step(&self, step: &[Change], count: usize, done: &Mutex<Vec<Change>>) -> Result<(), Error> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            let mut engine = None;
            while let Some(change) = step.get(next.fetch_add(1, Ordering::Relaxed))
                && guard(&failed).is_none()
            {
                match self.due(&mut engine, change) {
                    Ok(()) => {
                        let mut done = guard(done);
                        done.push(change.clone());
                        self.watch.made(done.len(), count);
                    }
                    Err(error) => {
                        guard(&failed).get_or_insert(error);
                    }
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        if step.len() < CROWD || cores == 1 {
            work();
        } else {
            thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
        }
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Makes a change that is due, with the thread's engine and how many changes it has made.
    fn due(&self, engine: &mut Option<(Engine<K>, usize)>, change: &Change) -> Result<(), Error> {
        if self.watch.stops() {
            return Err(interrupted());
        }
        let (mut used, changes) = match engine.take() {
            Some((used, changes)) if changes < LIFE => (used, changes),
            _ => ((self.open)()?, 0),
        };
        let made = self.make(&mut used, change);
        *engine = Some((used, changes + 1));
        made
    }

    fn make(&self, engine: &mut Engine<K>, change: &Change) -> Result<(), Error> {
        match change {
            Change::Stop(program) => Ok(self.records.stop([program])?),
            Change::RemoveSandbox(request) => engine.remove_sandbox(request.name.as_str(), true),
            Change::Disconnect(sandbox, attach) => engine.disconnect(&attach.network, sandbox.as_str(), true),
            Change::RemoveNetwork(request) => engine.remove_network(request.name.as_str()).map(drop),
            Change::CreateNetwork(request, _) => engine.create_network(request.clone()).map(drop),
            Change::CreateSandbox(request, _) => engine.create_sandbox(request).map(drop),
            Change::Connect(sandbox, attach) => engine.connect(attach, sandbox.as_str()).map(drop),
            Change::Revise(requests, _) => engine.revise_sandbox(&requests.0),
            Change::Start(sandbox, command) => {
                let sandbox = engine.sandbox(sandbox.as_str())?.sandbox;
                Ok(self.records.start(engine.files(), &sandbox, command)?)
            }
        }
    }

    /// Undoes changes in reverse, as far as that goes.
    fn undo(&self, mut done: Vec<Change>) {
        while let Some(change) = done.pop() {
            let undone = (self.open)().and_then(|mut engine| self.make(&mut engine, &change.inverse()));
            if let Err(error) = undone {
                let (kind, name) = change.object();
                self.watch.note(&format!("what was done to {kind} {name} could not be undone: {error}"));
            } else if let Change::RemoveSandbox(_) = change {
                let (_, name) = change.object();
                self.watch.note(&format!(
                    "{} {name} was removed and is made again: what was in it is lost",
                    Kind::Sandbox
                ));
            }
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn interrupted() -> Error {
    Invalid::new("interrupted").because("a signal asked to stop; what was done so far is undone").into()
}
