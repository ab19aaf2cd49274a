//! The states of a client (RFC 2131, 4.4), without sockets and without a clock: it is told the time and what was heard, and
//! says what is to be done.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::{FOREVER, Lease};
use crate::message::{Identity, Reply, Saying};

/// The first wait for an answer. RFC 2131 has 4 seconds, which nobody starts a container for.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// How often an offer is taken up without an answer before others are looked for.
const REQUESTS: u32 = 4;
/// How often servers are asked for an address that was had before a restart.
const REBOOTS: u32 = 3;
/// A lease is asked for no sooner again; RFC 2131 has a minute, by which a short lease would have one try.
const SHORTEST_WAIT: Duration = Duration::from_secs(4);

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send a message.
    Send {
        /// The message.
        message: Vec<u8>,
        /// The client's address, if it may use one.
        from: Option<Ipv4Addr>,
        /// The server; none for all.
        to: Option<Ipv4Addr>,
    },
    /// This lease holds from now on.
    Bound(Lease),
    /// The lease holds no more.
    Lost,
}

/// A lease with the time that it counts from.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    since: Duration,
}

impl Held {
    fn at(&self, seconds: u32) -> Option<Duration> {
        (seconds != FOREVER).then(|| self.since + Duration::from_secs(seconds.into()))
    }

    fn renewal(&self) -> Option<Duration> {
        self.at(self.lease.renewal)
    }

    fn rebinding(&self) -> Option<Duration> {
        self.at(self.lease.rebinding)
    }

    fn end(&self) -> Option<Duration> {
        self.at(self.lease.seconds)
    }
}

#[derive(Clone, Debug)]
enum State {
    /// INIT and SELECTING.
    Selecting {
        wanted: Option<Ipv4Addr>,
    },
    /// REQUESTING, of which address from which server.
    Requesting {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    /// INIT-REBOOT and REBOOTING.
    Rebooting(Held),
    Bound(Held),
    Renewing(Held),
    Rebinding(Held),
}

/// A client. Times count from any one instant.
#[derive(Debug)]
pub struct Client {
    identity: Identity,
    random: u64,
    state: State,
    /// The exchange that answers have to name.
    xid: u32,
    /// When it began.
    began: Duration,
    /// When the last message was sent, which a lease counts from.
    sent: Duration,
    /// How many messages it has had in this state.
    tries: u32,
    /// How many refusals in a row.
    refusals: u32,
    due: Option<Duration>,
}

impl Client {
    /// A client without an address. `seed` is a number that nobody can guess.
    pub fn new(identity: Identity, seed: u64, now: Duration) -> Self {
        let state = State::Selecting { wanted: None };
        let mut client = Self {
            identity,
            random: seed,
            state,
            xid: 0,
            began: now,
            sent: now,
            tries: 0,
            refusals: 0,
            due: Some(now),
        };
        client.begin(now);
        client
    }

    /// A client that has had `lease` since the time `since`, and whose interface still has its address.
    pub fn resumed(identity: Identity, seed: u64, now: Duration, lease: Lease, since: Duration) -> Self {
        let held = Held { lease, since: since.min(now) };
        Self { state: State::Rebooting(held), ..Self::new(identity, seed, now) }
    }

    /// When there is something to do without anything heard; none for never.
    pub const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Whether it waits for an answer.
    pub const fn listens(&self) -> bool {
        !matches!(self.state, State::Bound(_))
    }

    /// The lease that it has.
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Rebooting(held) | State::Bound(held) | State::Renewing(held) | State::Rebinding(held) => {
                Some(&held.lease)
            }
            State::Selecting { .. } | State::Requesting { .. } => None,
        }
    }

    /// The time that its lease counts from, if it has one.
    pub const fn since(&self) -> Option<Duration> {
        match &self.state {
            State::Rebooting(held) | State::Bound(held) | State::Renewing(held) | State::Rebinding(held) => {
                Some(held.since)
            }
            State::Selecting { .. } | State::Requesting { .. } => None,
        }
    }

    /// What to do at the time `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let ended = |held: &Held| held.end().is_some_and(|end| end <= now);
        match self.state.clone() {
            State::Selecting { wanted } => vec![self.say(now, Saying::Discover(wanted))],
            State::Requesting { .. } if self.tries >= REQUESTS => self.start_over(now, None),
            State::Requesting { address, server } => vec![self.say(now, Saying::Take { address, server })],
            State::Rebooting(held) | State::Rebinding(held) if ended(&held) => self.lose(now, true),
            State::Rebooting(held) if self.tries >= REBOOTS => self.hold(now, held),
            State::Rebooting(held) => vec![self.say(now, Saying::Reboot(held.lease.address.addr()))],
            State::Bound(held) => {
                self.begin(now);
                self.state = State::Renewing(held);
                self.tick(now)
            }
            State::Renewing(held) if held.rebinding().is_some_and(|time| time <= now) => {
                self.begin(now);
                self.state = State::Rebinding(held);
                self.tick(now)
            }
            State::Renewing(held) => {
                let server = Some(held.lease.server);
                vec![self.extend(now, &held, server, held.rebinding())]
            }
            State::Rebinding(held) => vec![self.extend(now, &held, None, held.end())],
        }
    }

    /// What to do about a message that was heard at the time `now`.
    pub fn hear(&mut self, message: &[u8], now: Duration) -> Vec<Action> {
        let Some(reply) = self.identity.read(message, self.xid) else { return Vec::new() };
        match (&self.state, reply) {
            // Before anything is sent nobody can answer.
            (_, _) if self.tries == 0 => Vec::new(),
            (State::Selecting { .. }, Reply::Offer(offer)) => {
                self.state = State::Requesting { address: offer.address.addr(), server: offer.server };
                (self.tries, self.due) = (0, Some(now));
                self.tick(now)
            }
            (State::Requesting { address, server }, Reply::Ack(lease))
                if lease.server == *server && lease.address.addr() == *address =>
            {
                self.bind(lease)
            }
            (State::Requesting { server, .. }, Reply::Nak(from))
                if from.is_none_or(|from| from == *server) =>
            {
                self.lose(now, false)
            }
            (State::Rebooting(held) | State::Renewing(held) | State::Rebinding(held), Reply::Ack(lease))
                if lease.address.addr() == held.lease.address.addr() =>
            {
                self.bind(lease)
            }
            (State::Rebooting(_) | State::Renewing(_) | State::Rebinding(_), Reply::Nak(_)) => {
                let mut actions = vec![Action::Lost];
                actions.extend(self.lose(now, false));
                actions
            }
            _ => Vec::new(),
        }
    }

    /// The message that gives the lease back, if there is one.
    pub fn release(&mut self) -> Option<Action> {
        let lease = self.lease()?.clone();
        self.xid = self.number() as u32;
        let (address, server) = (lease.address.addr(), lease.server);
        let message = self.identity.write(self.xid, 0, Saying::Release { address, server });
        Some(Action::Send { message, from: Some(address), to: Some(server) })
    }

    /// Begins an exchange.
    fn begin(&mut self, now: Duration) {
        self.xid = self.number() as u32;
        (self.began, self.tries, self.due) = (now, 0, Some(now));
    }

    /// Broadcasts a message, and notes when to do so again.
    fn say(&mut self, now: Duration, saying: Saying) -> Action {
        let wait = wait(self.tries);
        // So that many that were started together do not go on asking together.
        let spread = self.number() % (wait.as_millis() as u64 / 4);
        self.due = Some(now + wait + Duration::from_millis(spread));
        Action::Send { message: self.write(now, saying), from: None, to: None }
    }

    /// Asks `server`, or all, for more time, and again when half of what is left until `end` is over.
    fn extend(
        &mut self,
        now: Duration,
        held: &Held,
        server: Option<Ipv4Addr>,
        end: Option<Duration>,
    ) -> Action {
        let address = held.lease.address.addr();
        self.due = end.map(|end| (now + (end.saturating_sub(now) / 2).max(SHORTEST_WAIT)).min(end));
        Action::Send { message: self.write(now, Saying::Extend(address)), from: Some(address), to: server }
    }

    fn write(&mut self, now: Duration, saying: Saying) -> Vec<u8> {
        self.tries += 1;
        self.sent = now;
        let seconds = u16::try_from((now - self.began).as_secs()).unwrap_or(u16::MAX);
        self.identity.write(self.xid, seconds, saying)
    }

    fn bind(&mut self, lease: Lease) -> Vec<Action> {
        let held = Held { lease: lease.clone(), since: self.sent };
        self.refusals = 0;
        self.due = held.renewal();
        self.state = State::Bound(held);
        vec![Action::Bound(lease)]
    }

    /// Goes on with a lease that nobody has confirmed.
    fn hold(&mut self, now: Duration, held: Held) -> Vec<Action> {
        let lease = held.lease.clone();
        self.due = held.renewal().map(|time| time.max(now));
        self.state = State::Bound(held);
        vec![Action::Bound(lease)]
    }

    /// Looks for another lease: after an end at once, after a refusal the later the more of them there were.
    fn lose(&mut self, now: Duration, ended: bool) -> Vec<Action> {
        if ended {
            let wanted = self.lease().map(|lease| lease.address.addr());
            let mut actions = vec![Action::Lost];
            actions.extend(self.start_over(now, wanted));
            return actions;
        }
        self.begin(now);
        self.state = State::Selecting { wanted: None };
        let wait = match self.refusals {
            0 => Duration::ZERO,
            refusals => wait(refusals),
        };
        self.refusals += 1;
        self.due = Some(now + wait);
        self.tick(now)
    }

    fn start_over(&mut self, now: Duration, wanted: Option<Ipv4Addr>) -> Vec<Action> {
        self.begin(now);
        self.state = State::Selecting { wanted };
        self.tick(now)
    }

    /// The next number that nobody can guess without the seed (splitmix64).
    fn number(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.random;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

/// How long to wait after so many tries before.
fn wait(tries: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << tries.min(6)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests;
