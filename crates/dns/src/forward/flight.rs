//! One question that others are asked, and all who wait for its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::Way;
use super::link::Link;
use super::packet::{Answer, Asked};
use crate::{Client, Reply};

/// How long an asker waits.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long the first server has before the next one is asked as well. With `NEXT` twice behind it, the third of three still
/// answers in less than 1.7 s.
pub const FIRST: Duration = Duration::from_millis(800);
/// How long each other server has, and the first if it is taken for dead.
pub const NEXT: Duration = Duration::from_millis(400);
/// How often servers are asked again when all have been asked.
const AGAIN: Duration = Duration::from_secs(1);

/// A question on its way.
#[derive(Debug)]
pub struct Flight {
    /// As the first one asked it.
    pub asked: Asked,
    /// What its answer is kept under.
    pub key: Vec<u8>,
    /// What others who ask the same join it by.
    pub shared_key: Arc<[u8]>,
    /// Whom to ask, those taken for dead behind the others.
    pub tries: Vec<Try>,
    /// Who waits, the one that has waited longest first.
    pub waiters: Vec<Waiter>,
    /// How many times a server's turn has come.
    pub turn: usize,
    /// When something is to be done if no answer comes.
    pub due: Instant,
    /// An answer that is given if no better one comes.
    pub spare: Option<Answer>,
    /// Whether it was asked over TCP.
    pub tcp: bool,
    /// The earliest timer that is set for it.
    pub timer: Option<Instant>,
}

/// One server, and what it was asked.
#[derive(Debug)]
pub struct Try {
    pub server: SocketAddr,
    /// Whether it was taken for dead when the flight began.
    pub dead: bool,
    /// Whether its last answer says that it does not understand EDNS.
    pub plain: bool,
    /// Whether it had more to say than fits a datagram.
    pub whole: bool,
    /// Whether it has answered, though not well.
    pub over: bool,
    pub sent: Option<Sent>,
}

/// A query that waits for its answer.
#[derive(Debug)]
pub struct Sent {
    pub id: u16,
    pub link: Link,
    pub at: Instant,
}

/// One who asked.
#[derive(Debug)]
pub struct Waiter {
    pub asked: Asked,
    pub client: Client,
    pub reply: Reply,
    pub until: Instant,
}

impl Try {
    /// One that is not asked yet.
    pub const fn of(server: SocketAddr, dead: bool) -> Self {
        Self { server, dead, plain: false, whole: false, over: false, sent: None }
    }
}

impl Flight {
    /// One that begins: nobody is asked yet.
    pub fn new(shared_key: Arc<[u8]>, key: Vec<u8>, tries: Vec<Try>, first: Waiter) -> Self {
        let (asked, tcp, due) = (first.asked.clone(), first.reply.tcp, first.until);
        Self {
            asked,
            key,
            shared_key,
            tries,
            waiters: vec![first],
            turn: 0,
            due,
            spare: None,
            tcp,
            timer: None,
        }
    }

    /// Which way one of its servers is asked now.
    pub fn way(&self, one: usize) -> Way {
        let Try { server, whole, .. } = self.tries[one];
        (server, self.tcp || whole)
    }

    /// Whose turn is next: each server once, then all over again.
    pub fn place(&self) -> usize {
        self.turn % self.tries.len()
    }

    /// Whether every server has had its turn.
    pub fn all_asked(&self) -> bool {
        self.turn >= self.tries.len()
    }

    /// Whether an answer may still come.
    pub fn is_open(&self) -> bool {
        self.tries.iter().any(|one| one.sent.is_some())
    }

    /// How long the server whose turn it was has before the next one's comes.
    pub fn pause(&self) -> Duration {
        match self.turn {
            _ if self.all_asked() => AGAIN,
            1 if !self.tries[0].dead => FIRST,
            _ => NEXT,
        }
    }

    /// When the flight has to be looked at.
    pub fn wake(&self) -> Instant {
        self.waiters.first().map_or(self.due, |waiter| waiter.until.min(self.due))
    }
}
