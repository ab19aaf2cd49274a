//! Names asked for at a steady rate, and when the answers come.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::Net;

/// Sockets that the questions are spread over: the kernel keeps some 300 answers for each while the program waits for
/// its turn.
const SOCKETS: usize = 8;
/// How long an answer may take before it is lost.
const LOST: Duration = Duration::from_secs(1);
/// How often questions are sent.
const TICK: Duration = Duration::from_millis(1);

/// What became of questions.
#[derive(Debug, Default)]
pub struct Replies {
    /// How many were asked.
    pub asked: usize,
    /// How many were answered with no record, or with a failure.
    pub wrong: usize,
    /// How many came while the asker had no room for more: a busy machine's fault, not the server's.
    pub overrun: usize,
    /// How long each answer took, the shortest first.
    pub times: Vec<Duration>,
}

impl Replies {
    /// How many were not answered.
    pub fn lost(&self) -> usize {
        (self.asked - self.times.len()).saturating_sub(self.overrun)
    }

    /// So many of a hundred answers took no longer.
    pub fn within(&self, percent: usize) -> Duration {
        self.times.get(self.times.len() * percent / 100).or(self.times.last()).copied().unwrap_or_default()
    }
}

impl Net {
    /// Asks `server` for the addresses of `names` in turn, `rate` times a second, for as long as there is `more`: it is
    /// given the time since the start. The names must be in the server's zones.
    pub fn question(
        &self,
        server: &str,
        names: &[String],
        rate: u32,
        more: impl Fn(Duration) -> bool + Sync,
    ) -> Replies {
        let line = || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.connect(server).expect("a route to the server");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
            Line { socket, sent: (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect() }
        };
        let lines: Vec<Line> = self.enter(|| (0..SOCKETS).map(|_| line()).collect());
        let (start, ended) = (Instant::now(), AtomicBool::new(false));
        let before = self.enter(overruns);
        let mut replies = thread::scope(|scope| {
            let listeners: Vec<_> =
                lines.iter().map(|line| scope.spawn(|| line.listen(start, &ended))).collect();
            let asked = ask(&lines, names, rate, start, more);
            thread::sleep(LOST);
            ended.store(true, Ordering::Relaxed);
            let mut replies = Replies { asked, ..Replies::default() };
            for listener in listeners {
                let (times, wrong) = listener.join().expect("a listener");
                replies.times.extend(times);
                replies.wrong += wrong;
            }
            replies
        });
        replies.times.sort();
        replies.overrun = self.enter(overruns) - before;
        replies
    }
}

/// How many datagrams sockets of this namespace had no room for (`RcvbufErrors` of UDP in snmp(7)).
fn overruns() -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("counters");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let place = names.split(' ').position(|name| name == "RcvbufErrors").expect("a counter");
    values.split(' ').nth(place).and_then(|value| value.parse().ok()).expect("a number")
}

impl Net {
    /// Asks `server` for the addresses of one name: whether it says any within a second.
    pub fn finds(&self, server: &str, name: &str) -> bool {
        self.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.connect(server).expect("a route to the server");
            socket.set_read_timeout(Some(LOST)).expect("a time limit");
            let mut buffer = [0; 512];
            socket.send(&query(name)).expect("ask");
            socket.recv(&mut buffer).is_ok_and(|length| length > 12 && is_right(&buffer))
        })
    }
}

/// A socket, and when the question with each id was sent over it: nanoseconds since the start, 0 if it is answered.
struct Line {
    socket: UdpSocket,
    sent: Vec<AtomicU64>,
}

impl Line {
    fn ask(&self, query: &[u8], number: usize, start: Instant) {
        let id = number % self.sent.len();
        let mut query = query.to_vec();
        query[..2].copy_from_slice(&u16::try_from(id).expect("an id").to_be_bytes());
        let now = u64::try_from(start.elapsed().as_nanos()).expect("a short time");
        self.sent[id].store(now, Ordering::Relaxed);
        self.socket.send(&query).expect("ask");
    }

    fn listen(&self, start: Instant, ended: &AtomicBool) -> (Vec<Duration>, usize) {
        let (mut times, mut wrong, mut buffer) = (Vec::new(), 0, [0; 512]);
        while !ended.load(Ordering::Relaxed) {
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
            let sent = Duration::from_nanos(self.sent[id].swap(0, Ordering::Relaxed));
            if length < 12 || sent.is_zero() {
                continue;
            }
            times.push(start.elapsed().saturating_sub(sent));
            wrong += usize::from(!is_right(&buffer));
        }
        (times, wrong)
    }
}

fn ask(
    lines: &[Line],
    names: &[String],
    rate: u32,
    start: Instant,
    more: impl Fn(Duration) -> bool,
) -> usize {
    let queries: Vec<Vec<u8>> = names.iter().map(|name| query(name)).collect();
    let mut asked = 0_usize;
    while more(start.elapsed()) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as usize;
        // Who was kept from asking does not ask everything at once.
        let until = due.min(asked + rate as usize / 100);
        while asked < until {
            lines[asked % lines.len()].ask(&queries[asked % queries.len()], asked / lines.len(), start);
            asked += 1;
        }
        thread::sleep(TICK);
    }
    asked
}

/// Whether a message has records and no failure.
fn is_right(message: &[u8]) -> bool {
    message[3] & 0x0f == 0 && message[6..8] != [0, 0]
}

/// A question for addresses (RFC 1035, section 4.1).
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}
