//! Leases that are kept: a task for each, and a file with all of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linkspan_plan::{Failure, KernelError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::file::{self, Kept, Record};
use crate::keeper::{Event, Keeper, Place};
use crate::lease::Lease;
use crate::message::Identity;

/// After an interface could not be used, it is tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// What somebody asks a lease with.
pub trait Asked: Clone + Debug + Serialize + DeserializeOwned + Send + 'static {
    /// What is told of a lease.
    type Told: Clone + Debug + Serialize + DeserializeOwned + Send;

    /// Whether the interface is given the address and routes here. Else it is set down when the lease ends, and no other
    /// is looked for.
    const GIVES: bool;

    /// The interface.
    fn place(&self) -> Place;
    /// Whom the lease is for.
    fn identity(&self) -> Identity;
    /// What is told of the lease.
    fn told(&self, lease: &Lease) -> Self::Told;
}

/// Leases by what whoever asked for them calls them.
#[derive(Debug)]
pub struct Leases<A: Asked> {
    held: Mutex<BTreeMap<String, Tenant<A>>>,
    file: PathBuf,
    /// How long a server is waited for.
    patience: Duration,
    /// How many calls are being served.
    busy: AtomicUsize,
    active: Notify,
}

/// A lease with the task that keeps it.
#[derive(Debug)]
struct Tenant<A: Asked> {
    record: Record<A, A::Told>,
    /// Told whether to give the lease back.
    stop: oneshot::Sender<bool>,
    task: JoinHandle<()>,
}

/// Why there is no lease.
#[derive(Debug)]
pub enum Lacking {
    /// The interface is not there, or cannot be used.
    Interface(KernelError),
    /// No server has given one.
    Server(Duration),
    /// It is not written down.
    File(io::Error),
}

impl<A: Asked> Leases<A> {
    /// Those of `file`, as far as their interfaces are still there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(file: PathBuf, patience: Duration) -> io::Result<Arc<Self>> {
        let records = file::read(&file).unwrap_or_else(|error| {
            eprintln!("the leases of {} are not known: {error}", file.display());
            file::Records::new()
        });
        let leases = Arc::new(Self {
            held: Mutex::default(),
            file,
            patience,
            busy: AtomicUsize::new(0),
            active: Notify::new(),
        });
        for (key, record) in records {
            match record.kept.clone().map(resume) {
                Some(Ok(keeper)) => leases.put(key, record, keeper),
                Some(Err(error)) => eprintln!("the lease of {key} is let go: {error}: {}", error.cause),
                None => eprintln!("the lease of {key} is another program's"),
            }
        }
        leases.save()?;
        Ok(leases)
    }

    /// Waits until there has been no lease and no call for so long.
    pub async fn idle(&self, time: Duration) {
        loop {
            let quiet = timeout(time, self.active.notified()).await.is_err();
            if quiet && self.busy.load(Ordering::Relaxed) == 0 && self.lock().is_empty() {
                return;
            }
        }
    }

    /// Counts a call until what is given is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy<A> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Gets a lease, has it kept from then on, and gives what is told of it. One that is called the same is no longer kept:
    /// its container was started anew without having been taken down.
    ///
    /// # Errors
    /// If the interface is not there or no server answers.
    pub async fn obtain(self: &Arc<Self>, key: String, asked: A) -> Result<A::Told, Lacking> {
        self.stop(&key, false).await;
        let keeper = Keeper::new(asked.place(), asked.identity(), A::GIVES);
        let mut keeper = keeper.map_err(Lacking::Interface)?;
        let found = async {
            loop {
                match keeper.next().await.map_err(Lacking::Interface)? {
                    Event::Bound(_) => return Ok(()),
                    Event::Lost => {}
                    Event::Gone => return Err(Lacking::Interface(gone())),
                }
            }
        };
        let late = || Lacking::Server(self.patience);
        timeout(self.patience, found).await.map_err(|_| late())??;
        let record = record(asked, &keeper).ok_or_else(late)?;
        let told = record.told.clone();
        self.put(key, record, keeper);
        self.save().map_err(Lacking::File)?;
        Ok(told)
    }

    /// What was told of a lease.
    pub fn told(&self, key: &str) -> Option<A::Told> {
        self.lock().get(key).map(|tenant| tenant.record.told.clone())
    }

    /// What all leases are called.
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Gives a lease back; gives what was told of it, if there is one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn release(&self, key: &str) -> Result<Option<A::Told>, Lacking> {
        let Some(told) = self.stop(key, true).await else { return Ok(None) };
        self.save().map_err(Lacking::File)?;
        Ok(Some(told))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Tenant<A>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self) -> io::Result<()> {
        file::write(&self.file, self.lock().iter().map(|(key, tenant)| (key, &tenant.record)))
    }

    fn note(&self) {
        if let Err(error) = self.save() {
            eprintln!("cannot write {}: {error}", self.file.display());
        }
    }

    /// Has `keeper` go on by itself.
    fn put(self: &Arc<Self>, key: String, record: Record<A, A::Told>, keeper: Keeper) {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(self).keep(key.clone(), keeper, stopped));
        self.lock().insert(key, Tenant { record, stop, task });
    }

    async fn keep(self: Arc<Self>, key: String, mut keeper: Keeper, mut stopped: oneshot::Receiver<bool>) {
        let mut pause = Duration::ZERO;
        loop {
            let event = tokio::select! {
                gives_back = &mut stopped => {
                    if gives_back.unwrap_or(false)
                        && let Err(error) = keeper.release()
                    {
                        eprintln!("the lease of {key} is not given back: {error}: {}", error.cause);
                    }
                    return;
                }
                // Whoever wants it stopped does not wait for the end of a pause.
                event = async {
                    sleep(pause).await;
                    keeper.next().await
                } => event,
            };
            pause = if event.is_err() { PAUSE } else { Duration::ZERO };
            match event {
                Ok(Event::Bound(lease)) => self.renewed(&key, &lease, &keeper),
                Ok(Event::Lost) if A::GIVES => {
                    eprintln!("the lease of {key} is over, and another is looked for")
                }
                Ok(Event::Lost) => return self.forget(&key, "is over, and its interface is down"),
                Ok(Event::Gone) => return self.forget(&key, "is let go, as its interface is gone"),
                Err(error) => {
                    eprintln!("the lease of {key} cannot be kept: {error}: {}", error.cause);
                }
            }
        }
    }

    fn renewed(&self, key: &str, lease: &Lease, keeper: &Keeper) {
        if let Some(tenant) = self.lock().get_mut(key)
            && let Some(Kept { asked, lease: before, .. }) = tenant.record.kept.clone()
        {
            if before.address != lease.address || before.routers != lease.routers {
                // In words that tests of others look for.
                eprintln!("ip or gateway for mac {key} changed, update address");
            }
            if let Some(new) = record(asked, keeper) {
                tenant.record = new;
            }
        }
        self.note();
    }

    fn forget(&self, key: &str, why: &str) {
        eprintln!("the lease of {key} {why}");
        self.lock().remove(key);
        self.note();
    }

    /// Stops keeping a lease; gives what was told of it.
    async fn stop(&self, key: &str, gives_back: bool) -> Option<A::Told> {
        let tenant = self.lock().remove(key)?;
        _ = tenant.stop.send(gives_back);
        _ = tenant.task.await;
        Some(tenant.record.told)
    }
}

/// A call that is being served. Its end is something that has happened.
pub struct Busy<A: Asked>(Arc<Leases<A>>);

impl<A: Asked> Drop for Busy<A> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.active.notify_one();
    }
}

fn resume<A: Asked>(kept: Kept<A>) -> Result<Keeper, KernelError> {
    let Kept { asked, lease, since, server_mac } = kept;
    Keeper::resumed(asked.place(), asked.identity(), A::GIVES, (lease, since, server_mac))
}

fn record<A: Asked>(asked: A, keeper: &Keeper) -> Option<Record<A, A::Told>> {
    let (lease, since, server_mac) = keeper.held()?;
    let told = asked.told(lease);
    Some(Record { told, kept: Some(Kept { lease: lease.clone(), since, server_mac, asked }) })
}

fn gone() -> KernelError {
    KernelError {
        what: "keep a lease".to_owned(),
        cause: "the interface is gone: No such device".to_owned(),
        hint: None,
        failure: Failure::NotFound,
    }
}
