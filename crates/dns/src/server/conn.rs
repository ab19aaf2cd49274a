//! One connection: messages with their length before them (RFC 1035 4.2.2, RFC 7766).

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// Without a whole message for so long, a connection is closed.
const IDLE: Duration = Duration::from_secs(3);
/// For so long after that it is waited for answers of others.
const PATIENCE: Duration = Duration::from_secs(7);
/// A question is not that long; whoever announces more is not waited for.
const LONGEST: usize = 4096;
/// What is read at once.
const PIECE: usize = 4096;
/// Answers that wait to be sent or to come; more questions are not read then.
const UNSENT: usize = 65_536;
const PENDING: usize = 32;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    stream: TcpStream,
    /// Where it came in.
    pub door: u64,
    pub from: IpAddr,
    /// When it has been idle for too long.
    pub until: Instant,
    /// Questions that others are asked.
    pub pending: usize,
    read: Vec<u8>,
    unsent: Vec<u8>,
    /// Nothing more will be asked.
    ended: bool,
    watched: EpollFlags,
}

impl Conn {
    pub fn new(stream: TcpStream, door: u64, from: IpAddr) -> Self {
        Self {
            stream,
            door,
            from,
            until: Instant::now() + IDLE,
            pending: 0,
            read: Vec::new(),
            unsent: Vec::new(),
            ended: false,
            watched: EpollFlags::EPOLLIN,
        }
    }

    /// Whether it is to be closed.
    pub fn idle(&self, now: Instant) -> bool {
        now > self.until && (self.pending == 0 || now > self.until + PATIENCE)
    }

    /// Whether everything asked is answered and nothing more will be.
    pub fn done(&self) -> bool {
        self.ended && self.pending == 0 && self.unsent.is_empty() && !self.ready()
    }

    /// Whether it is to wait until answers are gone.
    fn full(&self) -> bool {
        self.pending >= PENDING || self.unsent.len() >= UNSENT
    }

    /// Reads what is there, but no more than a piece: others have their turn too.
    pub fn read(&mut self, events: EpollFlags) -> io::Result<()> {
        if !events.contains(EpollFlags::EPOLLIN) || self.full() {
            return Ok(());
        }
        let mut piece = [0; PIECE];
        match self.stream.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(length) => self.read.extend_from_slice(&piece[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether a whole message is there that can be answered now.
    pub fn ready(&self) -> bool {
        let length = self.read.first_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)));
        !self.full() && length.is_some_and(|length| self.read.len() >= 2 + length)
    }

    /// The next whole message; an error if there will be none.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let Some(length) = self.read.first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > LONGEST || length == 0 {
            return Err(());
        }
        if self.full() || self.read.len() < 2 + length {
            return Ok(None);
        }
        self.until = Instant::now() + IDLE;
        let message = self.read[2..2 + length].to_vec();
        self.read.drain(..2 + length);
        Ok(Some(message))
    }

    /// Puts an answer where it waits to be sent.
    pub fn put(&mut self, answer: &[u8]) {
        let Ok(length) = u16::try_from(answer.len()) else { return };
        self.unsent.extend_from_slice(&length.to_be_bytes());
        self.unsent.extend_from_slice(answer);
    }

    /// Sends what the asker takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Has it watched for what it waits for.
    pub fn watch(&mut self, epoll: &Epoll, token: u64) -> nix::Result<()> {
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, !self.ended && !self.full());
        wanted.set(EpollFlags::EPOLLOUT, !self.unsent.is_empty());
        if wanted != self.watched {
            epoll.modify(&self.stream, &mut EpollEvent::new(wanted, token))?;
            self.watched = wanted;
        }
        Ok(())
    }
}
