//! Threads that answer datagrams.

use std::{
    io::IoSliceMut,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
    sync::{Arc, Weak, atomic::Ordering},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{EpollEvent, EpollFlags, EpollTimeout},
        socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg},
    },
};

use super::{
    answer::{Outcome, client, outcome},
    memo::Memo,
    out::Outgoing,
    state::{Door, Ends, Shared, State},
};
use crate::query::{Query, Reply, Way};

/// Datagrams taken with one call.
const BATCH: usize = 32;
/// Fewer are no rush. In one, more are let come first: answers that leave together cost half as much, and whoever waits
/// for so many is answered sooner.
const FEW: usize = 3;
const GATHER: Duration = Duration::from_micros(50);
/// Calls before other sockets have their turn.
const TURNS: usize = 8;
/// Longer questions are cut off, and so malformed.
const LONGEST: usize = 2048;

/// How a socket is watched: one thread at a time answers at it, and takes all there is.
pub(super) const WATCH: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);

/// Answers until the server ends.
pub(super) fn run(shared: &Shared) {
    let mut worker =
        Worker { memo: Memo::new(), v4: Batch::new(), v6: Batch::new(), out: Outgoing::default() };
    // One at a time: another thread may have the next one sooner.
    let mut events = [EpollEvent::empty(); 1];
    loop {
        let count = match shared.datagrams.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        for event in &events[..count] {
            worker.drain(shared, event.data());
        }
    }
}

struct Worker {
    memo: Memo,
    v4: Batch<SockaddrIn>,
    v6: Batch<SockaddrIn6>,
    out: Outgoing,
}

impl Worker {
    /// Answers what is waiting at a door.
    fn drain(&mut self, shared: &Shared, token: u64) {
        let ends = match shared.state.load().doors.get(&token) {
            Some(door) => Arc::clone(&door.ends),
            None => return,
        };
        for _ in 0..TURNS {
            let Self { memo, out, .. } = self;
            let count = if ends.v4 {
                serve(&mut self.v4, memo, out, shared, token, &ends)
            } else {
                serve(&mut self.v6, memo, out, shared, token, &ends)
            };
            out.flush(&ends.udp);
            match count {
                0..FEW => break,
                FEW..BATCH => thread::sleep(GATHER),
                BATCH.. => {}
            }
        }
        // It fails if the door was closed meanwhile.
        let _ = shared.datagrams.modify(&ends.udp, &mut EpollEvent::new(WATCH, token));
    }
}

/// Answers one batch; says how many questions that were.
fn serve<S: Family>(
    batch: &mut Batch<S>,
    memo: &mut Memo,
    out: &mut Outgoing,
    shared: &Shared,
    token: u64,
    ends: &Ends,
) -> usize {
    let Ok(count) = batch.receive(&ends.udp) else { return 0 };
    // What is known now: a change that was done before a question came is in its answer.
    let state = shared.state.load();
    let Some(door) = state.doors.get(&token) else { return 0 };
    for (from, message) in batch.messages(count) {
        let turn = Turn { shared, state: &state, token, door, from };
        turn.answer(memo, out, message);
    }
    count
}

/// One datagram's.
struct Turn<'a> {
    shared: &'a Shared,
    state: &'a State,
    token: u64,
    door: &'a Door,
    from: SocketAddr,
}

impl Turn<'_> {
    fn answer(&self, memo: &mut Memo, out: &mut Outgoing, message: &[u8]) {
        let from = self.from.ip().to_canonical();
        let place = Memo::place(self.state.version, self.token, from, message);
        if let Some(answer) = place.as_ref().and_then(|place| memo.get(place, message)) {
            return out.push(self.from, answer);
        }
        if !self.door.admits(&self.state.zones, from) {
            return;
        }
        match outcome(self.state, self.door, from, message, Some(self.shared.udp_limit)) {
            Outcome::Send(answer) => {
                out.push(self.from, &answer);
                if let Some(place) = place {
                    memo.put(&place, message, &answer);
                }
            }
            Outcome::Once(answer) => out.push(self.from, &answer),
            Outcome::Forward { servers, limit } => self.shared.forward.forward(Query {
                message: message.to_vec(),
                servers,
                client: client(self.door, from),
                reply: Reply {
                    way: Some(Way::Datagram(Arc::downgrade(&self.door.ends), self.from)),
                    limit,
                    tcp: false,
                },
            }),
            Outcome::Silence => {}
        }
    }
}

/// Sends a datagram back to who asked from a socket that is still there.
pub(crate) fn send_back(ends: &Weak<Ends>, to: SocketAddr, answer: &[u8]) {
    if let Some(ends) = ends.upgrade() {
        // Who cannot be reached asks again, or is gone.
        let _ = ends.udp.send_to(answer, to);
    }
}

/// An address as sockets of one family have it.
trait Family: SockaddrLike + Copy {
    fn address(self) -> SocketAddr;
}

impl Family for SockaddrIn {
    fn address(self) -> SocketAddr {
        SocketAddrV4::from(self).into()
    }
}

impl Family for SockaddrIn6 {
    fn address(self) -> SocketAddr {
        SocketAddrV6::from(self).into()
    }
}

/// Room for what comes in at once.
struct Batch<S> {
    headers: MultiHeaders<S>,
    buffers: Vec<[u8; LONGEST]>,
    /// How long each message is, and where it is from.
    got: [(usize, Option<S>); BATCH],
}

impl<S: Family> Batch<S> {
    fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; LONGEST]; BATCH],
            got: [(0, None); BATCH],
        }
    }

    fn receive(&mut self, socket: &UdpSocket) -> nix::Result<usize> {
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let all =
            recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for (got, one) in self.got.iter_mut().zip(all) {
            *got = (one.bytes, one.address);
            count += 1;
        }
        Ok(count)
    }

    fn messages(&self, count: usize) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let got = self.got.iter().zip(&self.buffers).take(count);
        got.filter_map(|((length, from), buffer)| Some((from.as_ref()?.address(), buffer.get(..*length)?)))
    }
}
