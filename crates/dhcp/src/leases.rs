//! The leases that the proxy keeps: a task for each, and a file with all of them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linkspan_model::Mac;
use linkspan_plan::{Failure, KernelError};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::file::{self, Kept, Record};
use crate::keeper::{Event, Keeper, Place};
use crate::lease::Lease;
use crate::message::Identity;
use crate::wire::{Calls, LeaseMessage, NetworkConfig, OperationResponse, Pending};

/// After an interface could not be used, it is tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// Leases by the MACs of their interfaces.
#[derive(Debug)]
pub struct Leases {
    held: Mutex<BTreeMap<String, Tenant>>,
    file: PathBuf,
    /// How long a server is waited for.
    patience: Duration,
    /// How many calls are being served.
    busy: AtomicUsize,
    active: Notify,
}

/// A lease with the task that keeps it.
#[derive(Debug)]
struct Tenant {
    record: Record,
    /// Told whether to give the lease back.
    stop: oneshot::Sender<bool>,
    task: JoinHandle<()>,
}

impl Leases {
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
        for (mac, record) in records {
            match record.kept.as_ref().map(resume) {
                Some(Ok(keeper)) => leases.put(mac, record, keeper),
                Some(Err(error)) => eprintln!("the lease of {mac} is let go: {error}: {}", error.cause),
                None => eprintln!("the lease of {mac} is another proxy's"),
            }
        }
        leases.save(&leases.lock())?;
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Tenant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, held: &BTreeMap<String, Tenant>) -> io::Result<()> {
        file::write(&self.file, held.iter().map(|(mac, tenant)| (mac, &tenant.record)))
    }

    /// Has `keeper` go on by itself.
    fn put(self: &Arc<Self>, mac: String, record: Record, keeper: Keeper) {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(self).keep(mac.clone(), keeper, stopped));
        self.lock().insert(mac, Tenant { record, stop, task });
    }

    async fn keep(self: Arc<Self>, mac: String, mut keeper: Keeper, mut stopped: oneshot::Receiver<bool>) {
        loop {
            let event = tokio::select! {
                gives_back = &mut stopped => {
                    if gives_back.unwrap_or(false)
                        && let Err(error) = keeper.release()
                    {
                        eprintln!("the lease of {mac} is not given back: {error}: {}", error.cause);
                    }
                    return;
                }
                event = keeper.next() => event,
            };
            match event {
                Ok(Event::Bound(lease)) => self.renewed(&mac, &lease, &keeper),
                Ok(Event::Lost) => eprintln!("the lease of {mac} is over, and another is looked for"),
                Ok(Event::Gone) => {
                    eprintln!("the interface of {mac} is gone, and its lease is let go");
                    let mut held = self.lock();
                    held.remove(&mac);
                    self.note(self.save(&held));
                    return;
                }
                Err(error) => {
                    eprintln!("the lease of {mac} cannot be kept: {error}: {}", error.cause);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn renewed(&self, mac: &str, lease: &Lease, keeper: &Keeper) {
        let mut held = self.lock();
        let Some(record) = held.get_mut(mac).map(|tenant| &mut tenant.record) else { return };
        let Some(kept) = record.kept.as_ref() else { return };
        let (before, config) = (&kept.lease, kept.config.clone());
        if before.address != lease.address || before.routers != lease.routers {
            eprintln!("ip or gateway for mac {mac} changed, update address");
        }
        if let Some(new) = self::record(config, keeper) {
            *record = new;
        }
        self.note(self.save(&held));
    }

    fn note(&self, saved: io::Result<()>) {
        if let Err(error) = saved {
            eprintln!("cannot write {}: {error}", self.file.display());
        }
    }

    /// Stops keeping a lease; gives what was told of it.
    async fn stop(&self, mac: &str, gives_back: bool) -> Option<LeaseMessage> {
        let tenant = self.lock().remove(mac)?;
        _ = tenant.stop.send(gives_back);
        _ = tenant.task.await;
        Some(tenant.record.told)
    }

    async fn lease(self: Arc<Self>, config: NetworkConfig) -> Result<LeaseMessage, Status> {
        let mac = mac(&config.container_mac_addr)?;
        match config.version {
            0 => {}
            1 => return Err(Status::invalid_argument("ipv6 not yet supported")),
            _ => return Err(Status::invalid_argument("invalid protocol version")),
        }
        let key = mac.to_string();
        // Its container was started anew without having been taken down.
        self.stop(&key, false).await;
        let keeper = Keeper::new(place(&config), identity(&config, mac), true);
        let mut keeper = keeper.map_err(|error| refused(&error))?;
        let found = async {
            loop {
                match keeper.next().await.map_err(|error| refused(&error))? {
                    Event::Bound(_) => return Ok(()),
                    Event::Lost => {}
                    Event::Gone => return Err(Status::not_found("the interface is gone: No such device")),
                }
            }
        };
        let seconds = self.patience.as_secs();
        let late = || Status::aborted(format!("no DHCP server has given a lease within {seconds} seconds"));
        timeout(self.patience, found).await.map_err(|_| late())??;
        let record = record(config, &keeper).ok_or_else(|| Status::internal("the lease is over already"))?;
        let told = record.told.clone();
        self.put(key, record, keeper);
        let saved = self.save(&self.lock());
        saved.map_err(|error| Status::internal(format!("Error caching the lease: {error}")))?;
        Ok(told)
    }

    async fn release(self: Arc<Self>, config: NetworkConfig) -> Result<LeaseMessage, Status> {
        let Some(mac) = config.container_mac_addr.parse::<Mac>().ok() else {
            return Ok(LeaseMessage::default());
        };
        let Some(told) = self.stop(&mac.to_string(), true).await else { return Ok(LeaseMessage::default()) };
        let saved = self.save(&self.lock());
        saved.map_err(|error| Status::internal(error.to_string()))?;
        Ok(told)
    }

    async fn release_all(self: Arc<Self>) -> Result<OperationResponse, Status> {
        let macs: Vec<String> = self.lock().keys().cloned().collect();
        for mac in macs {
            self.stop(&mac, true).await;
        }
        let saved = self.save(&self.lock());
        saved.map_err(|error| Status::internal(error.to_string()))?;
        Ok(OperationResponse { success: true })
    }
}

/// Counts a call, and the end of it as something that has happened.
struct Busy(Arc<Leases>);

impl Busy {
    fn with(leases: &Arc<Leases>) -> Self {
        leases.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(leases))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.active.notify_one();
    }
}

impl Calls for Leases {
    fn setup(self: Arc<Self>, config: NetworkConfig) -> Pending<Result<LeaseMessage, Status>> {
        let busy = Busy::with(&self);
        Box::pin(async {
            let _busy = busy;
            self.lease(config).await
        })
    }

    fn teardown(self: Arc<Self>, config: NetworkConfig) -> Pending<Result<LeaseMessage, Status>> {
        let busy = Busy::with(&self);
        Box::pin(async {
            let _busy = busy;
            self.release(config).await
        })
    }

    fn clean(self: Arc<Self>) -> Pending<Result<OperationResponse, Status>> {
        let busy = Busy::with(&self);
        Box::pin(async {
            let _busy = busy;
            self.release_all().await
        })
    }
}

fn resume(kept: &Kept) -> Result<Keeper, KernelError> {
    let Kept { config, lease, since, server_mac } = kept.clone();
    let mac = config.container_mac_addr.parse().unwrap_or_default();
    Keeper::resumed(place(&config), identity(&config, mac), true, (lease, since, server_mac))
}

fn record(config: NetworkConfig, keeper: &Keeper) -> Option<Record> {
    let (lease, since, server_mac) = keeper.held()?;
    let mac = config.container_mac_addr.parse().unwrap_or_default();
    let told = LeaseMessage::new(lease, mac, &config.domain_name);
    Some(Record { told, kept: Some(Kept { lease: lease.clone(), since, server_mac, config }) })
}

fn place(config: &NetworkConfig) -> Place {
    Place { netns: config.ns_path.clone().into(), ifname: config.container_iface.clone() }
}

/// Servers know a container by its identity, also when it comes with another MAC.
fn identity(config: &NetworkConfig, mac: Mac) -> Identity {
    // The types of RFC 2132, 9.14: 0 is for what is no hardware address, 1 for Ethernet.
    let client_id = match config.container_id.as_bytes() {
        [] => [&[1], &mac.bytes()[..]].concat(),
        id => [&[0], &id[..id.len().min(254)]].concat(),
    };
    Identity {
        mac,
        client_id,
        host_name: Some(config.host_name.clone()).filter(|name| !name.is_empty()),
        options: Vec::new(),
        asked: Vec::new(),
        broadcast: false,
    }
}

/// Reads a MAC; refusals are in words that tests of others look for.
fn mac(text: &str) -> Result<Mac, Status> {
    let bytes: Result<Vec<u8>, _> =
        text.split([':', '-']).map(|digits| u8::from_str_radix(digits, 16)).collect();
    let bytes = bytes
        .map_err(|error| Status::invalid_argument(format!("unable to parse mac address {text}: {error}")))?;
    let bytes = <[u8; 6]>::try_from(bytes);
    let bytes =
        bytes.map_err(|_| Status::invalid_argument(format!("invalid mac length for address: {text}")))?;
    Ok(Mac::from_bytes(bytes))
}

fn refused(error: &KernelError) -> Status {
    let code = if error.failure == Failure::NotFound { Code::InvalidArgument } else { Code::Internal };
    Status::new(code, format!("{error}: {}", error.cause))
}
