//! The thread that answers on connections.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::{IpAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{EpollEvent, EpollFlags, EpollTimeout},
        eventfd::{EfdFlags, EventFd},
    },
};

use super::{
    answer::{Outcome, client, outcome},
    conn::Conn,
    state::{Door, INBOX, Shared, State, WAKE},
};
use crate::query::{Query, Reply, Way};

/// Connections of everybody, and of one asker; whoever opens one more loses the one that was idle longest.
const ALL: usize = 512;
const EACH: usize = 32;
/// How often it is looked for idle ones.
const SWEEP: Duration = Duration::from_millis(250);
/// Marks events of connections; the rest of the number says which.
const CONN: u64 = 1 << 63;

/// Answers for connections that come from other threads.
#[derive(Debug)]
pub(crate) struct Inbox {
    mail: Mutex<Vec<(u64, Option<Vec<u8>>)>>,
    pub(super) wake: EventFd,
}

impl Inbox {
    pub(super) fn new() -> nix::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { mail: Mutex::default(), wake })
    }

    /// Leaves the answer to a connection's question, or that there is none.
    pub(crate) fn post(&self, conn: u64, answer: Option<Vec<u8>>) {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).push((conn, answer));
        let _ = self.wake.write(1);
    }

    fn take(&self) -> Vec<(u64, Option<Vec<u8>>)> {
        let _ = self.wake.read();
        std::mem::take(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers until the server ends.
pub(super) fn run(shared: &Shared) {
    let mut desk = Desk { shared, conns: HashMap::new(), next: 0, again: Vec::new() };
    let mut events = [EpollEvent::empty(); 64];
    let mut swept = Instant::now();
    loop {
        let wait = match desk.conns.is_empty() {
            _ if !desk.again.is_empty() => EpollTimeout::ZERO,
            true => EpollTimeout::NONE,
            false => EpollTimeout::from(250u8),
        };
        let count = match shared.streams.wait(&mut events, wait) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(_) => return,
        };
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        for event in &events[..count] {
            match event.data() {
                WAKE => {}
                INBOX => desk.deliver(),
                token if token & CONN != 0 => desk.serve(token & !CONN, event.events()),
                token => desk.accept(token),
            }
        }
        for id in std::mem::take(&mut desk.again) {
            desk.proceed(id, true);
        }
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            desk.conns.retain(|_, conn| !conn.idle(swept));
        }
    }
}

struct Desk<'a> {
    shared: &'a Shared,
    conns: HashMap<u64, Conn>,
    next: u64,
    /// Connections that have more questions to answer when others have had their turn.
    again: Vec<u64>,
}

impl Desk<'_> {
    /// Takes a few connections from a door.
    fn accept(&mut self, token: u64) {
        for _ in 0..16 {
            let state = self.shared.state.load_full();
            let Some(door) = state.doors.get(&token) else { return };
            match door.ends.tcp.accept() {
                Ok((stream, from)) => {
                    let from = from.ip().to_canonical();
                    if door.admits(&state.zones, from) {
                        // If it cannot be watched it is closed.
                        let _ = self.admit(token, stream, from);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if scarce(&error) => {
                    // Another one's descriptor is taken, or what cannot be helped is not tried in a hurry.
                    if !self.evict(|_| true) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    return;
                }
                // The asker was gone again.
                Err(_) => {}
            }
        }
    }

    fn admit(&mut self, token: u64, stream: TcpStream, from: IpAddr) -> io::Result<()> {
        if self.conns.values().filter(|conn| conn.from == from).count() >= EACH {
            self.evict(|conn| conn.from == from);
        }
        if self.conns.len() >= ALL {
            self.evict(|_| true);
        }
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.next += 1;
        self.shared.streams.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, CONN | self.next))?;
        self.conns.insert(self.next, Conn::new(stream, token, from));
        Ok(())
    }

    /// Closes the connection that was idle longest among some; says whether there was one.
    fn evict(&mut self, among: impl Fn(&Conn) -> bool) -> bool {
        let some = self.conns.iter().filter(|(_, conn)| among(conn));
        let idlest = some.min_by_key(|(_, conn)| conn.until).map(|(id, _)| *id);
        idlest.is_some_and(|id| self.conns.remove(&id).is_some())
    }

    fn serve(&mut self, id: u64, events: EpollFlags) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let broken = events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        let fine = !broken && conn.read(events).is_ok();
        self.proceed(id, fine);
    }

    fn deliver(&mut self) {
        for (id, answer) in self.shared.inbox.take() {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            conn.pending = conn.pending.saturating_sub(1);
            if let Some(answer) = answer {
                conn.put(&answer);
            }
            self.proceed(id, true);
        }
    }

    /// Answers what was read, sends what it can, and waits for what is to come; closes what is done.
    fn proceed(&mut self, id: u64, fine: bool) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let open = fine && answer_all(self.shared, id, conn) && conn.flush().is_ok() && !conn.done();
        let watched = open && conn.watch(&self.shared.streams, CONN | id).is_ok();
        if watched && conn.ready() && !self.again.contains(&id) {
            self.again.push(id);
        }
        if !watched {
            self.conns.remove(&id);
        }
    }
}

/// Answers the complete messages of a connection; says whether it may go on.
fn answer_all(shared: &Shared, id: u64, conn: &mut Conn) -> bool {
    let state = shared.state.load_full();
    let Some(door) = state.doors.get(&conn.door).cloned() else { return false };
    loop {
        match conn.take() {
            Ok(Some(message)) => answer(shared, &state, &door, id, conn, message),
            Ok(None) => return true,
            Err(()) => return false,
        }
    }
}

fn answer(shared: &Shared, state: &State, door: &Door, id: u64, conn: &mut Conn, message: Vec<u8>) {
    match outcome(state, door, conn.from, &message, None) {
        Outcome::Send(answer) | Outcome::Once(answer) => conn.put(&answer),
        Outcome::Forward { servers, limit } => {
            conn.pending += 1;
            let way = Way::Stream(Arc::clone(&shared.inbox), id);
            shared.forward.forward(Query {
                message,
                servers,
                client: client(door, conn.from),
                reply: Reply { way: Some(way), limit, tcp: true },
            });
        }
        Outcome::Silence => {}
    }
}

/// Whether what is missing is descriptors or memory.
fn scarce(error: &io::Error) -> bool {
    let scarce = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| scarce.contains(&Errno::from_raw(code)))
}
