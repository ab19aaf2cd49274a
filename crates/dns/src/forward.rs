//! Asking other servers what nobody here has a name for.
//!
//! Answers that are kept are given at once, by the thread that was asked. All else goes to one thread that waits for many
//! servers at a time: [`desk`].

mod crowd;
mod desk;
mod flight;
mod health;
mod link;
pub(crate) mod packet;
mod resolv;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::cache::Cache;
use crate::{Client, Forward, Query, Reply};
use desk::Desk;
use packet::{Asked, rcode};
use resolv::Resolv;

/// The servers of one list that are asked, at most.
const SERVERS: usize = 8;

/// How other servers are asked.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Whose customs count where several servers fail.
    pub manner: Manner,
    /// The file with the host's servers.
    pub resolv_conf: PathBuf,
    /// The port of the host's servers; 53 but in tests.
    pub port: u16,
    /// How many bytes of answers are kept.
    pub cache: usize,
}

/// What counts as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The first server that says anything is believed. If none does, neither do we.
    Podman,
    /// A server that fails or refuses is not believed as long as there is another. If none is left, this is a failure.
    Docker,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            manner: Manner::Podman,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            port: 53,
            cache: 8 << 20,
        }
    }
}

/// Asks other servers, and keeps what they say for as long as they let it be kept. It ends with the value.
#[derive(Debug)]
pub struct Forwarder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads that are asked and the one that asks have in common.
#[derive(Debug)]
struct Shared {
    manner: Manner,
    resolv: Resolv,
    cache: Cache,
    /// Where we are asked ourselves.
    own: RwLock<Vec<SocketAddr>>,
    inbox: Mutex<Vec<Errand>>,
    wake: EventFd,
    ended: AtomicBool,
}

/// A question on its way to the thread that asks.
#[derive(Debug)]
struct Errand {
    asked: Asked,
    servers: Arc<[SocketAddr]>,
    /// What its answer is kept under.
    key: Vec<u8>,
    client: Client,
    reply: Reply,
}

impl Forwarder {
    /// Starts the thread that asks. It asks in the network namespace that the caller is in.
    ///
    /// # Errors
    ///
    /// If the kernel gives no thread or descriptors.
    pub fn start(upstream: Upstream) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            manner: upstream.manner,
            resolv: Resolv::at(upstream.resolv_conf, upstream.port),
            cache: Cache::new(upstream.cache),
            own: RwLock::default(),
            inbox: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            ended: AtomicBool::new(false),
        });
        let desk = Desk::new(Arc::clone(&shared))?;
        let thread = thread::Builder::new().name("forward".to_owned()).spawn(move || desk.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Forward for Forwarder {
    fn forward(&self, query: Query) {
        let now = Instant::now();
        let Some(asked) = Asked::read(&query.message) else { return };
        let servers = self.shared.servers(query.servers, now);
        if servers.is_empty() {
            if self.shared.manner == Manner::Docker {
                query.reply.send(&asked.refusal(rcode::SERVFAIL));
            }
            return;
        }
        let mut key = Vec::with_capacity(128);
        asked.key(&mut key);
        servers.iter().for_each(|server| push_server(server, &mut key));
        if let Some((answer, age)) = self.shared.cache.get(&key, now) {
            let message = answer.render(&asked, age, query.reply.limit);
            return query.reply.send(&message);
        }
        self.shared.pass_on(Errand { asked, servers, key, client: query.client, reply: query.reply });
    }

    fn listening(&self, addresses: &[SocketAddr]) {
        *self.shared.own.write().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }
}

impl Shared {
    /// Who is asked: those given or the host's, but never ourselves.
    fn servers(&self, given: Arc<[SocketAddr]>, now: Instant) -> Arc<[SocketAddr]> {
        let servers = if given.is_empty() { self.resolv.servers(now) } else { given };
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        if servers.len() <= SERVERS && !servers.iter().any(|server| own.contains(server)) {
            return servers;
        }
        servers.iter().filter(|server| !own.contains(server)).take(SERVERS).copied().collect()
    }

    fn pass_on(&self, errand: Errand) {
        let mut inbox = self.inbox();
        inbox.push(errand);
        if inbox.len() == 1 {
            let _ = self.wake.write(1);
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<Errand>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_server(server: &SocketAddr, key: &mut Vec<u8>) {
    match server.ip() {
        IpAddr::V4(address) => key.extend(address.octets()),
        IpAddr::V6(address) => key.extend(address.octets()),
    }
    key.extend(server.port().to_be_bytes());
    if let SocketAddr::V6(address) = server {
        key.extend(address.scope_id().to_be_bytes());
    }
}
