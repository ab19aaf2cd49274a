//! Which servers have not answered lately.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often one that does not answer is asked beside another that does, to learn whether it is back.
const PROBE: Duration = Duration::from_secs(5);
/// How many servers are remembered; they are few, but whoever runs containers names them.
const MOST: usize = 1024;

/// A server with whether it is asked over TCP: some answer one way only.
pub type Way = (SocketAddr, bool);

/// What is known of servers.
#[derive(Debug, Default)]
pub struct Health(HashMap<Way, Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    answered: Option<Instant>,
    /// Set while it is taken for dead: when it was asked last.
    dead: Option<Instant>,
}

impl Health {
    /// The server has said something.
    pub fn answered(&mut self, server: Way, now: Instant) {
        self.set(server, Known { answered: Some(now), dead: None });
    }

    /// The server cannot be reached.
    pub fn unreachable(&mut self, server: Way, now: Instant) {
        let answered = self.0.get(&server).and_then(|known| known.answered);
        self.set(server, Known { answered, dead: Some(now) });
    }

    /// The server was asked at `asked` and has not answered that. If it has answered others since, it is just slow.
    pub fn silent(&mut self, server: Way, asked: Instant, now: Instant) {
        let answered = self.0.get(&server).and_then(|known| known.answered);
        if answered.is_none_or(|answered| answered < asked) {
            self.unreachable(server, now);
        }
    }

    /// Whether it is taken for dead.
    pub fn is_dead(&self, server: Way) -> bool {
        self.0.get(&server).is_some_and(|known| known.dead.is_some())
    }

    /// Whether it is time to ask again one that is taken for dead; it counts as asked.
    pub fn probe(&mut self, server: Way, now: Instant) -> bool {
        let Some(dead) = self.0.get_mut(&server).and_then(|known| known.dead.as_mut()) else { return false };
        let due = now.saturating_duration_since(*dead) >= PROBE;
        if due {
            *dead = now;
        }
        due
    }

    fn set(&mut self, server: Way, known: Known) {
        if self.0.len() >= MOST && !self.0.contains_key(&server) {
            self.0.clear();
        }
        self.0.insert(server, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_dead_and_who_is_slow() {
        let (mut health, start) = (Health::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let server = (SocketAddr::from(([192, 0, 2, 1], 53)), false);
        assert!(!health.is_dead(server), "nothing is known yet");
        health.answered(server, after(2));
        health.silent(server, after(1), after(3));
        assert!(!health.is_dead(server), "it has answered others meanwhile");
        health.silent(server, after(3), after(4));
        assert!(health.is_dead(server));
        assert!(!health.probe(server, after(6)));
        assert!(health.probe(server, after(9)));
        assert!(!health.probe(server, after(10)), "one question at a time");
        assert!(health.is_dead(server), "until it answers");
        health.answered(server, after(10));
        assert!(!health.is_dead(server) && !health.probe(server, after(60)));
        health.unreachable(server, after(61));
        assert!(health.is_dead(server) && !health.is_dead((server.0, true)));
    }
}
