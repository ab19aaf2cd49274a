//! Sockets and the threads that answer on them.

mod answer;
mod bind;
mod conn;
mod memo;
mod out;
mod state;
mod tcp;
mod udp;

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicBool, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
    eventfd::{EfdFlags, EventFd},
};

use bind::{bind, prepare, surroundings};
pub use state::Socket;
use state::{DOORS, Door, INBOX, Shared, State, WAKE};
pub(crate) use {state::Ends, tcp::Inbox, udp::send_back};

use crate::{
    query::Forward,
    wire::UDP_LEAST,
    zones::{Style, Zones},
};

/// For so long a socket is waited for that a thread is just answering at.
const CLOSING: Duration = Duration::from_millis(100);

/// How a server is set up.
pub struct Config {
    /// How many threads answer datagrams; 0 for one a processor, at most four. Connections have one more.
    pub threads: usize,
    /// The most bytes an answer over UDP has, whatever the asker would take.
    pub udp_limit: u16,
    /// Who gets what nobody here has an answer for.
    pub forward: Arc<dyn Forward>,
}

/// An address to be asked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The network whose gateway this is.
    pub network: Arc<str>,
    /// Where, for UDP and TCP.
    pub address: SocketAddr,
    /// Where askers are besides members: whoever says to be elsewhere gets no answer. If empty, they are in the subnets
    /// that the host has its addresses of this network in.
    pub within: Vec<IpNet>,
}

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("failed to bind {protocol} listener on {address}")]
pub struct ListenError {
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
}

/// A server that runs until it is dropped.
///
/// Calls may come from any thread; what they change holds for every question that comes in after they returned.
pub struct Server {
    shared: Arc<Shared>,
    /// Held by who changes something.
    change: Mutex<Held>,
    threads: Vec<JoinHandle<()>>,
}

struct Held {
    /// The next door's number.
    next: u64,
    /// Where it listens.
    wanted: Vec<Listen>,
}

impl Server {
    /// Starts the threads. The server knows no names and is asked nowhere yet.
    ///
    /// # Errors
    ///
    /// If the kernel gives no threads or descriptors.
    pub fn start(config: Config) -> io::Result<Self> {
        let zones = Zones::new(Style::Sandboxes);
        let shared = Arc::new(Shared {
            state: ArcSwap::from_pointee(State { version: 1, zones, doors: Default::default() }),
            datagrams: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            streams: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            wake: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            ended: AtomicBool::new(false),
            inbox: Arc::new(Inbox::new()?),
            forward: config.forward,
            udp_limit: usize::from(config.udp_limit).max(UDP_LEAST),
        });
        shared.datagrams.add(&shared.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        shared.streams.add(&shared.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        shared.streams.add(&shared.inbox.wake, EpollEvent::new(EpollFlags::EPOLLIN, INBOX))?;
        let mut server = Self {
            shared,
            change: Mutex::new(Held { next: DOORS, wanted: Vec::new() }),
            threads: Vec::new(),
        };
        let count = match config.threads {
            0 => thread::available_parallelism().map_or(1, NonZero::get).min(4),
            count => count,
        };
        for _ in 0..count {
            server.spawn("dns-udp", udp::run)?;
        }
        server.spawn("dns-tcp", tcp::run)?;
        Ok(server)
    }

    fn spawn(&mut self, name: &str, run: fn(&Shared)) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::Builder::new().name(name.into()).spawn(move || run(&shared))?);
        Ok(())
    }

    /// Answers from these names from now on.
    pub fn publish(&self, zones: Zones) {
        let _held = self.change();
        self.replace(|state| state.zones = zones);
    }

    /// Listens at these addresses and no others (sockets that were handed in stay). What is listened at already is not
    /// touched, so that no question is lost; what is new comes before what is gone leaves.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound; then nothing has changed.
    pub fn listen(&self, wanted: &[Listen]) -> Result<(), ListenError> {
        let mut held = self.change();
        if held.wanted == wanted {
            return Ok(());
        }
        let state = self.shared.state.load_full();
        let mut known: HashMap<SocketAddr, Option<(u64, Arc<Ends>)>> = HashMap::new();
        for (token, door) in state.doors.iter().filter(|(_, door)| !door.given) {
            known.insert(door.address, Some((*token, Arc::clone(&door.ends))));
        }
        let mut doors = state.doors.clone();
        let mut fresh = Vec::new();
        for (listen, within) in wanted.iter().zip(surroundings(wanted)) {
            let (token, ends) = match known.insert(listen.address, None) {
                Some(Some(door)) => door,
                // The address of two networks is the first one's.
                Some(None) => continue,
                None => {
                    let (token, ends) = (held.take(), bind(listen.address)?);
                    fresh.push((token, Arc::clone(&ends)));
                    (token, ends)
                }
            };
            doors.insert_mut(token, Arc::new(Door::of(listen, within, ends)));
        }
        let gone: Vec<u64> = known.into_values().flatten().map(|(token, _)| token).collect();
        let addresses: Vec<SocketAddr> = wanted.iter().map(|listen| listen.address).collect();
        self.shared.forward.listening(&addresses);
        self.replace(|state| state.doors = doors);
        drop(state);
        for (token, ends) in &fresh {
            if let Err(cause) = self.watch(*token, ends) {
                self.shut(fresh.iter().map(|(token, _)| *token).collect());
                let address = ends.udp.local_addr().unwrap_or_else(|_| SocketAddr::from(([0; 4], 0)));
                return Err(ListenError { protocol: "udp", address, cause });
            }
        }
        self.shut(gone);
        held.wanted = wanted.to_vec();
        Ok(())
    }

    /// Answers on sockets that were opened elsewhere, say in another namespace, as well; those given before for the
    /// same `socket` are closed. They are bound, and `tcp` listens; both are made non-blocking.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to watch them; then nothing has changed.
    pub fn open(&self, socket: Socket, udp: UdpSocket, tcp: TcpListener) -> io::Result<()> {
        let mut held = self.change();
        let address = udp.local_addr()?;
        let ends = prepare(udp, tcp)?;
        let before = self.given(&socket);
        let token = held.take();
        let door = Door { socket, within: Arc::default(), address, given: true, ends: Arc::clone(&ends) };
        self.replace(|state| state.doors.insert_mut(token, Arc::new(door)));
        if let Err(error) = self.watch(token, &ends) {
            drop(ends);
            self.shut(vec![token]);
            return Err(error);
        }
        self.shut(before);
        Ok(())
    }

    /// Closes sockets that were handed in. Those bound by [`Server::listen`] stay.
    pub fn close(&self, socket: &Socket) {
        let _held = self.change();
        self.shut(self.given(socket));
    }

    fn change(&self) -> MutexGuard<'_, Held> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the next version in place. The caller holds `change`.
    fn replace(&self, change: impl FnOnce(&mut State)) {
        let mut next = State::clone(&self.shared.state.load());
        change(&mut next);
        next.version += 1;
        self.shared.state.store(Arc::new(next));
    }

    fn given(&self, socket: &Socket) -> Vec<u64> {
        let state = self.shared.state.load();
        let doors = state.doors.iter().filter(|(_, door)| door.given && door.socket == *socket);
        doors.map(|(token, _)| *token).collect()
    }

    fn watch(&self, token: u64, ends: &Ends) -> io::Result<()> {
        self.shared.datagrams.add(&ends.udp, EpollEvent::new(udp::WATCH, token))?;
        self.shared.streams.add(&ends.tcp, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        Ok(())
    }

    /// Closes doors: when this returns, their addresses are free again.
    fn shut(&self, tokens: Vec<u64>) {
        if tokens.is_empty() {
            return;
        }
        let mut closing: Vec<Weak<Ends>> = Vec::new();
        self.replace(|state| {
            for token in &tokens {
                if let Some(door) = state.doors.get(token) {
                    // What was never watched is not found, which is as well.
                    let _ = self.shared.datagrams.delete(&door.ends.udp);
                    let _ = self.shared.streams.delete(&door.ends.tcp);
                    closing.push(Arc::downgrade(&door.ends));
                }
                state.doors.remove_mut(token);
            }
        });
        let begun = Instant::now();
        while closing.iter().any(|ends| ends.strong_count() > 0) && begun.elapsed() < CLOSING {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // It cannot be full: nobody else writes there.
        let _ = self.shared.wake.write(1);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Held {
    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

impl Door {
    fn of(listen: &Listen, within: Arc<[IpNet]>, ends: Arc<Ends>) -> Self {
        Self {
            socket: Socket::Network(Arc::clone(&listen.network)),
            within,
            address: listen.address,
            given: false,
            ends,
        }
    }
}
