//! The thread that asks: many questions at a time, each with its own sockets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::crowd::Crowd;
use super::flight::{FIRST, Flight, NEXT, PATIENCE, Sent, Try, Waiter};
use super::health::Health;
use super::link::Link;
use super::packet::{Answer, rcode};
use super::{Errand, Manner, Shared};

/// The word that the inbox's descriptor is known by.
const INBOX: u64 = u64::MAX;
/// Room for any message.
const BUFFER: usize = 65_536;

/// All questions that are on their way.
pub struct Desk {
    shared: Arc<Shared>,
    epoll: Epoll,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Where those are that others who ask the same may join.
    known: HashMap<Arc<[u8]>, Place>,
    timers: BinaryHeap<Reverse<(Instant, Place)>>,
    health: Health,
    crowd: Crowd,
    dice: Dice,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct Slot {
    /// How many flights the slot has had.
    generation: u32,
    flight: Option<Box<Flight>>,
}

/// Which flight: the generation is in it, so that nothing that comes late is taken for the next flight's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    generation: u32,
    slot: u32,
}

/// Whether a flight is still on its way.
#[derive(PartialEq, Eq)]
enum Now {
    Waiting,
    Over,
}

impl Desk {
    pub fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.wake, EpollEvent::new(EpollFlags::EPOLLIN, INBOX))?;
        Ok(Self {
            shared,
            epoll,
            slots: Vec::new(),
            free: Vec::new(),
            known: HashMap::new(),
            timers: BinaryHeap::new(),
            health: Health::default(),
            crowd: Crowd::new(),
            dice: Dice::default(),
            buffer: vec![0; BUFFER],
        })
    }

    pub fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); 256];
        while !self.shared.ended.load(Ordering::Acquire) {
            let count = self.epoll.wait(&mut events, self.timeout()).unwrap_or(0);
            let now = Instant::now();
            for event in &events[..count] {
                match event.data() {
                    INBOX => self.take_in(now),
                    word => self.ready(word, now),
                }
            }
            self.look_after(now);
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(Reverse((next, _))) = self.timers.peek() else { return EpollTimeout::NONE };
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up, or it would wake for nothing.
        u16::try_from(left.as_millis() + 1).map_or(EpollTimeout::MAX, EpollTimeout::from)
    }

    fn take_in(&mut self, now: Instant) {
        let _ = self.shared.wake.read();
        let errands = std::mem::take(&mut *self.shared.inbox());
        errands.into_iter().for_each(|errand| self.begin(errand, now));
    }

    fn begin(&mut self, errand: Errand, now: Instant) {
        let Errand { asked, servers, key, client, reply } = errand;
        if !self.crowd.enter(&client) {
            return reply.send(&asked.refusal(rcode::REFUSED));
        }
        // Who takes less of an answer must not share it with who takes more.
        let way = u8::from(asked.has_edns()) | u8::from(reply.tcp) << 1;
        let shared_key: Arc<[u8]> = key.iter().copied().chain([way]).collect();
        let waiter = Waiter { asked, client, reply, until: now + PATIENCE };
        if let Some(place) = self.known.get(&shared_key).copied()
            && let Some(flight) = self.flight(place)
        {
            return flight.waiters.push(waiter);
        }
        let place = self.place();
        self.known.insert(Arc::clone(&shared_key), place);
        let is_dead = |server: &SocketAddr| self.health.is_dead((*server, waiter.reply.tcp));
        let mut tries: Vec<Try> = servers.iter().map(|server| Try::of(*server, is_dead(server))).collect();
        tries.sort_by_key(|one| one.dead);
        let has_alive = !tries[0].dead;
        let mut flight = Flight::new(shared_key, key, tries, waiter);
        for one in 0..flight.tries.len() {
            if flight.tries[one].dead && has_alive && self.health.probe(flight.way(one), now) {
                self.ask(&mut flight, place, one, now);
            }
        }
        if self.advance(&mut flight, place, now) == Now::Waiting {
            self.keep(place, Box::new(flight));
        }
    }

    /// Asks the server whose turn it is, or the next one that can be asked.
    fn advance(&mut self, flight: &mut Flight, place: Place, now: Instant) -> Now {
        for _ in 0..flight.tries.len() {
            let one = flight.place();
            flight.turn += 1;
            if self.ask(flight, place, one, now) {
                break;
            }
        }
        flight.due = now + flight.pause();
        self.unless_hopeless(flight, place, now)
    }

    /// Gives up at once where nobody can be asked, and silence is no answer.
    fn unless_hopeless(&mut self, flight: &mut Flight, place: Place, now: Instant) -> Now {
        if self.shared.manner == Manner::Podman || flight.is_open() || !flight.all_asked() {
            return Now::Waiting;
        }
        let spare = flight.spare.take();
        self.conclude(flight, place, spare, now)
    }

    /// Asks one server; whether that could be done.
    fn ask(&mut self, flight: &mut Flight, place: Place, one: usize, now: Instant) -> bool {
        let way = flight.way(one);
        let Flight { asked, tries, .. } = flight;
        let one_try = &mut tries[one];
        if one_try.over {
            return false;
        }
        if let Some(sent) = &one_try.sent {
            sent.link.again(&asked.query(sent.id, !one_try.plain));
            return true;
        }
        let id = self.dice.id();
        let query = asked.query(id, !one_try.plain);
        let link = if way.1 { Link::tcp(way.0, &query) } else { Link::udp(way.0, &query) };
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let event = EpollEvent::new(flags, place.word(one));
        let watched =
            link.and_then(|link| self.epoll.add(link.descriptor(), event).map(|()| link).map_err(Into::into));
        match watched {
            Ok(link) => one_try.sent = Some(Sent { id, link, at: now }),
            Err(error) if is_ours(&error) => return false,
            Err(_) => {
                self.health.unreachable(way, now);
                return false;
            }
        }
        true
    }

    /// Reads what has come for a flight.
    fn ready(&mut self, word: u64, now: Instant) {
        let (place, one) = Place::of(word);
        let Some(mut flight) = self.take(place) else { return };
        while let Some(sent) = flight.tries.get_mut(one).and_then(|one| one.sent.as_mut()) {
            let next = match sent.link.poll(&mut self.buffer) {
                Ok(None) => break,
                Ok(Some(length)) => match Answer::read(&self.buffer[..length], sent.id, &flight.asked) {
                    Some(answer) => self.heard(&mut flight, place, one, answer, now),
                    // Nobody else sends on a connection of one question, and there would be no end to what its server sends.
                    None if sent.link.is_tcp() => self.lost(&mut flight, place, one, now),
                    None => Now::Waiting,
                },
                Err(_) => self.lost(&mut flight, place, one, now),
            };
            if next == Now::Over {
                return;
            }
        }
        self.keep(place, flight);
    }

    /// A server has answered.
    fn heard(&mut self, flight: &mut Flight, place: Place, one: usize, answer: Answer, now: Instant) -> Now {
        let over_udp = flight.tries[one].sent.take().is_some_and(|sent| !sent.link.is_tcp());
        self.health.answered(flight.way(one), now);
        let one_try = &mut flight.tries[one];
        if flight.waiters.is_empty() {
            return Now::Waiting;
        }
        if over_udp && answer.is_truncated() {
            one_try.whole = true;
            flight.spare = Some(answer);
            flight.due = now + FIRST;
            return self.ask_again(flight, place, one, now);
        }
        if answer.rcode() == rcode::FORMERR && flight.asked.has_edns() && !one_try.plain {
            one_try.plain = true;
            flight.spare = Some(answer);
            return self.ask_again(flight, place, one, now);
        }
        if self.shared.manner == Manner::Docker && matches!(answer.rcode(), rcode::SERVFAIL | rcode::REFUSED)
        {
            one_try.over = true;
            flight.spare.get_or_insert(answer);
            if !flight.is_open() && !flight.all_asked() {
                return self.advance(flight, place, now);
            }
            return self.unless_hopeless(flight, place, now);
        }
        self.conclude(flight, place, Some(answer), now)
    }

    /// Asks a server another way that has answered once.
    fn ask_again(&mut self, flight: &mut Flight, place: Place, one: usize, now: Instant) -> Now {
        if self.ask(flight, place, one, now) {
            return Now::Waiting;
        }
        let spare = flight.spare.take();
        self.conclude(flight, place, spare, now)
    }

    /// A server cannot be reached, or has closed the connection.
    fn lost(&mut self, flight: &mut Flight, place: Place, one: usize, now: Instant) -> Now {
        let one_try = &mut flight.tries[one];
        if one_try.sent.take().is_some_and(|sent| !sent.link.is_tcp()) {
            self.health.unreachable((one_try.server, false), now);
        } else if one_try.whole
            && let Some(spare) = flight.spare.take()
        {
            return self.conclude(flight, place, Some(spare), now);
        }
        if flight.waiters.is_empty() || flight.is_open() {
            return Now::Waiting;
        }
        if flight.all_asked() {
            self.unless_hopeless(flight, place, now)
        } else {
            self.advance(flight, place, now)
        }
    }

    /// Tells all who wait. What is asked of a server taken for dead goes on for a while, to learn whether it answers.
    fn conclude(&mut self, flight: &mut Flight, place: Place, answer: Option<Answer>, now: Instant) -> Now {
        self.known.remove(&flight.shared_key);
        let answer = answer.map(Arc::new);
        if let Some(answer) = &answer {
            self.shared.cache.put(&flight.key, answer, now);
        }
        for waiter in flight.waiters.drain(..) {
            self.tell(waiter, answer.as_deref());
        }
        for one in 0..flight.tries.len() {
            let way = flight.way(one);
            flight.tries[one].sent.take_if(|_| !self.health.is_dead(way));
        }
        if flight.is_open() {
            flight.due = now + PATIENCE / 2;
            return Now::Waiting;
        }
        self.release(place);
        Now::Over
    }

    fn tell(&mut self, waiter: Waiter, answer: Option<&Answer>) {
        let Waiter { asked, client, reply, .. } = waiter;
        self.crowd.leave(&client);
        match answer {
            Some(answer) => {
                let message = answer.render(&asked, 0, reply.limit);
                reply.send(&message);
            }
            None if self.shared.manner == Manner::Docker => reply.send(&asked.refusal(rcode::SERVFAIL)),
            None => {}
        }
    }

    /// Does what is due.
    fn look_after(&mut self, now: Instant) {
        while let Some(Reverse((at, place))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let timed = |flight: &&mut Flight| flight.timer == Some(at);
            if self.flight(place).filter(timed).is_none() {
                continue;
            }
            let Some(mut flight) = self.take(place) else { continue };
            flight.timer = None;
            if self.is_due(&mut flight, place, now) == Now::Waiting {
                self.keep(place, flight);
            }
        }
    }

    fn is_due(&mut self, flight: &mut Flight, place: Place, now: Instant) -> Now {
        let tired = flight.waiters.iter().take_while(|waiter| waiter.until <= now).count();
        for waiter in flight.waiters.drain(..tired) {
            self.tell(waiter, flight.spare.as_ref());
        }
        if flight.waiters.is_empty() && tired > 0 {
            self.known.remove(&flight.shared_key);
        }
        if flight.waiters.is_empty() && (tired > 0 || flight.due <= now) {
            self.release(place);
            return Now::Over;
        }
        if flight.due > now {
            return Now::Waiting;
        }
        for (one, asked) in flight.tries.iter().enumerate() {
            if let Some(sent) = &asked.sent
                && now.saturating_duration_since(sent.at) >= NEXT
            {
                self.health.silent(flight.way(one), sent.at, now);
            }
        }
        // Who has a part knows where to get the whole; it may be that nobody gets it.
        if let Some(part) = flight.spare.take_if(|spare| spare.is_truncated()) {
            return self.conclude(flight, place, Some(part), now);
        }
        self.advance(flight, place, now)
    }

    /// A place for one more.
    fn place(&mut self) -> Place {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        Place { generation: self.slots[slot as usize].generation, slot }
    }

    fn flight(&mut self, place: Place) -> Option<&mut Flight> {
        let slot = self.slots.get_mut(place.slot as usize)?;
        slot.flight.as_deref_mut().filter(|_| slot.generation == place.generation)
    }

    fn take(&mut self, place: Place) -> Option<Box<Flight>> {
        let slot = self.slots.get_mut(place.slot as usize)?;
        if slot.generation == place.generation { slot.flight.take() } else { None }
    }

    /// Puts a flight where it was, and sees to it that it is looked at in time.
    fn keep(&mut self, place: Place, mut flight: Box<Flight>) {
        let wake = flight.wake();
        if flight.timer.is_none_or(|timer| wake < timer) {
            flight.timer = Some(wake);
            self.timers.push(Reverse((wake, place)));
        }
        self.slots[place.slot as usize].flight = Some(flight);
    }

    fn release(&mut self, place: Place) {
        let slot = &mut self.slots[place.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(place.slot);
    }
}

impl Place {
    /// The flight and one of its servers as the word of an event.
    fn word(self, one: usize) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot) << 8 | one as u64 & 0xff
    }

    fn of(word: u64) -> (Self, usize) {
        let (generation, slot) = ((word >> 32) as u32, (word >> 8) as u32 & 0xff_ffff);
        (Self { generation, slot }, (word & 0xff) as usize)
    }
}

/// Whether it is we who lack something, and not the server.
fn is_ours(error: &io::Error) -> bool {
    let lacking = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::ENOSPC];
    error.raw_os_error().is_some_and(|code| lacking.contains(&Errno::from_raw(code)))
}

/// Ids that nobody can guess, taken from the kernel many at a time.
#[derive(Default)]
struct Dice(Vec<u8>);

impl Dice {
    fn id(&mut self) -> u16 {
        if self.0.len() < 2 {
            self.0.resize(512, 0);
            if getrandom::fill(&mut self.0).is_err() {
                self.0.clear();
            }
        }
        let mut byte = || self.0.pop().unwrap_or_default();
        u16::from_be_bytes([byte(), byte()])
    }
}
