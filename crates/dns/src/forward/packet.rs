//! Messages as bytes: what others answered is passed on as it came, whatever types its records are of.
//!
//! Only the frame is read (RFC 1035, section 4): header, question, where each record begins and ends. Names in what is kept
//! point backwards only, so a message may be cut behind any record.

use std::time::Duration;

/// The header of every message.
pub const HEADER: usize = 12;
/// What we tell servers that we take over UDP: fits any link without fragments (DNS flag day 2020).
const OUR_SIZE: u16 = 1232;

const OPT: u16 = 41;
const SOA: u16 = 6;
const IN_RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
const AUTHENTIC: u8 = 0x20;
const CHECKING_DISABLED: u8 = 0x10;
const DNSSEC_OK: u16 = 0x8000;

/// Return codes that decisions are made by (RFC 1035, 4.1.1).
pub mod rcode {
    pub const NO_ERROR: u8 = 0;
    pub const FORMERR: u8 = 1;
    pub const SERVFAIL: u8 = 2;
    pub const NXDOMAIN: u8 = 3;
    pub const REFUSED: u8 = 5;
}

/// A query that is to be passed on: what matters of it to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    id: u16,
    /// The bits RD of byte 2, AD and CD of byte 3.
    flags: [u8; 2],
    /// Name as the asker writes it, type and class.
    question: Box<[u8]>,
    edns: Option<Edns>,
}

/// What an asker says about itself in an OPT record (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edns {
    dnssec: bool,
}

impl Asked {
    /// Reads a query with exactly one question; none if it is not one.
    pub fn read(query: &[u8]) -> Option<Self> {
        let header = query.first_chunk::<HEADER>()?;
        if header[2] & 0xf8 != 0 || u16_at(query, 4)? != 1 {
            return None;
        }
        let end = question_end(query)?;
        let mut edns = None;
        for record in Records::of(query, end)? {
            let record = record?;
            if record.kind == OPT {
                edns = Some(Edns { dnssec: u16_at(query, record.ttl + 2)? & DNSSEC_OK != 0 });
            }
        }
        let flags = [header[2] & RECURSION_DESIRED, header[3] & (AUTHENTIC | CHECKING_DISABLED)];
        let id = u16::from_be_bytes([header[0], header[1]]);
        Some(Self { id, flags, question: query[HEADER..end].into(), edns })
    }

    /// Whether it came with an OPT record.
    pub const fn has_edns(&self) -> bool {
        self.edns.is_some()
    }

    /// Appends what makes two questions the same: the name without regard to case, type, class, and the flags that answers
    /// depend on.
    pub fn key(&self, into: &mut Vec<u8>) {
        into.extend(self.question.iter().map(u8::to_ascii_lowercase));
        let dnssec = self.edns.is_some_and(|edns| edns.dnssec);
        into.push(self.flags[0] | self.flags[1] | u8::from(dnssec) << 1);
    }

    /// The query as it goes to a server: an id of its own, the question, and an OPT record with nothing but a size.
    pub fn query(&self, id: u16, with_edns: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.question.len() + 11);
        out.extend(id.to_be_bytes());
        out.extend([self.flags[0], self.flags[1], 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend(&self.question);
        if let Some(edns) = self.edns.filter(|_| with_edns) {
            out[11] = 1;
            push_opt(&mut out, OUR_SIZE, 0, edns.dnssec);
        }
        out
    }

    /// An answer without records.
    pub fn refusal(&self, rcode: u8) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.question.len() + 11);
        out.extend(self.id.to_be_bytes());
        out.extend([
            IN_RESPONSE | self.flags[0],
            RECURSION_AVAILABLE | self.flags[1] & CHECKING_DISABLED | rcode,
        ]);
        out.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend(&self.question);
        if let Some(edns) = self.edns {
            out[11] = 1;
            push_opt(&mut out, OUR_SIZE, 0, edns.dnssec);
        }
        out
    }
}

/// What a server answered, ready to be passed on any number of times.
#[derive(Debug)]
pub struct Answer {
    /// The message without its OPT record.
    bytes: Box<[u8]>,
    question_end: usize,
    marks: Box<[Mark]>,
    /// The upper bits of the return code, from the OPT record.
    extended: u8,
    lasts: Option<Duration>,
}

/// Where a record is.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Where its time to live stands.
    ttl: u16,
    end: u16,
    /// Which count of the header it belongs to: 6, 8 or 10.
    count: u8,
}

impl Answer {
    /// Reads what a server sent for the query that we sent as `id`; none if it is no answer to that (RFC 5452, section 9).
    pub fn read(message: &[u8], id: u16, asked: &Asked) -> Option<Self> {
        let header = message.first_chunk::<HEADER>()?;
        if header[..2] != id.to_be_bytes() || header[2] & 0xf8 != IN_RESPONSE || message.len() > 0xffff {
            return None;
        }
        let mut bytes = message.to_vec();
        let end = match u16_at(message, 4)? {
            // Some leave the question out when they refuse.
            0 if header[3] & 0x0f != rcode::NO_ERROR && message[6..HEADER].iter().all(|&byte| byte == 0) => {
                bytes.truncate(HEADER);
                bytes[5] = 1;
                bytes.extend(&asked.question);
                bytes.len()
            }
            1 => question_end(message)?,
            _ => return None,
        };
        if !bytes[HEADER..end].eq_ignore_ascii_case(&asked.question) {
            return None;
        }
        let (mut marks, mut extended, mut cut) = (Vec::new(), 0, None);
        for record in Records::of(&bytes, end)? {
            let record = record?;
            if record.kind == OPT {
                extended = bytes[record.ttl];
                cut = Some(record.start..record.end);
            } else {
                let mark = |at: usize| u16::try_from(at).ok();
                marks.push(Mark { ttl: mark(record.ttl)?, end: mark(record.end)?, count: record.count });
            }
        }
        if let Some(cut) = cut {
            // Records behind it could have names that point into what moves: nobody sends such, nobody needs them.
            let kept = marks.iter().take_while(|mark| usize::from(mark.end) <= cut.start).count();
            marks.truncate(kept);
            bytes.truncate(cut.start);
            let additional = marks.iter().filter(|mark| mark.count == 10).count();
            bytes[10..HEADER].copy_from_slice(&u16::try_from(additional).ok()?.to_be_bytes());
        }
        let lasts = lasts(&bytes, end);
        Some(Self { bytes: bytes.into(), question_end: end, marks: marks.into(), extended, lasts })
    }

    /// The return code without its upper bits.
    pub fn rcode(&self) -> u8 {
        self.bytes[3] & 0x0f
    }

    /// Whether the server had more to say than fits.
    pub fn is_truncated(&self) -> bool {
        self.bytes[2] & TRUNCATED != 0
    }

    /// How many bytes are kept.
    pub fn len(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.marks)
    }

    /// How long it may be kept: its smallest time to live, for a negative one what its SOA says (RFC 2308, section 5). None
    /// if it must not be.
    pub const fn lasts(&self) -> Option<Duration> {
        self.lasts
    }

    /// The answer for `asked`, `age` seconds after it came, in no more than `limit` bytes.
    pub fn render(&self, asked: &Asked, age: u32, limit: usize) -> Vec<u8> {
        let opt = if asked.edns.is_some() { 11 } else { 0 };
        let (end, whole) = self.fitting(limit.saturating_sub(opt));
        let mut out = Vec::with_capacity(end + opt);
        out.extend(&self.bytes[..end]);
        out[..2].copy_from_slice(&asked.id.to_be_bytes());
        out[2] = out[2] & !RECURSION_DESIRED | asked.flags[0];
        if !whole {
            out[2] |= TRUNCATED;
        }
        if asked.flags[0] != 0 {
            out[3] |= RECURSION_AVAILABLE;
        }
        out[3] = out[3] & !CHECKING_DISABLED | asked.flags[1] & CHECKING_DISABLED;
        out[HEADER..self.question_end].copy_from_slice(&asked.question);
        let mut counts = [0_u16; 3];
        for mark in self.marks.iter().take_while(|mark| usize::from(mark.end) <= end) {
            counts[usize::from(mark.count - 6) / 2] += 1;
            let at = usize::from(mark.ttl);
            let left = ttl_at(&out, at).saturating_sub(age);
            out[at..at + 4].copy_from_slice(&left.to_be_bytes());
        }
        for (at, count) in [6, 8, 10].into_iter().zip(counts) {
            out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        if let Some(edns) = asked.edns {
            out[11] = out[11].wrapping_add(1);
            push_opt(&mut out, OUR_SIZE, self.extended, edns.dnssec);
        }
        out
    }

    /// Where to cut so that no more than `limit` bytes remain, and whether nothing that was asked for is cut off.
    fn fitting(&self, limit: usize) -> (usize, bool) {
        if self.bytes.len() <= limit {
            return (self.bytes.len(), true);
        }
        let kept = self.marks.iter().take_while(|mark| usize::from(mark.end) <= limit).count();
        let end = kept.checked_sub(1).map_or(self.question_end, |last| usize::from(self.marks[last].end));
        (end, self.marks[kept..].iter().all(|mark| mark.count == 10))
    }
}

fn push_opt(out: &mut Vec<u8>, size: u16, extended: u8, dnssec: bool) {
    out.extend([0, 0, 41]);
    out.extend(size.to_be_bytes());
    out.extend([extended, 0, if dnssec { 0x80 } else { 0 }, 0, 0, 0]);
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A time to live; one with the top bit set is none (RFC 2181, section 8).
fn ttl_at(bytes: &[u8], at: usize) -> u32 {
    let ttl =
        bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_be_bytes(*chunk));
    if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl }
}

/// Where the first question ends; none if its name is cut, too long or points elsewhere.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match usize::from(*message.get(at)?) {
            0 => break,
            label @ 1..=63 => at += 1 + label,
            _ => return None,
        }
    }
    (at - HEADER < 255 && message.len() >= at + 5).then_some(at + 5)
}

/// How long an answer may be kept.
fn lasts(message: &[u8], question_end: usize) -> Option<Duration> {
    let (mut least, mut soa, mut answers) = (u32::MAX, None, false);
    for record in Records::of(message, question_end)? {
        let record = record?;
        let ttl = ttl_at(message, record.ttl);
        least = least.min(ttl);
        answers |= record.count == 6;
        if record.count == 8 && record.kind == SOA {
            soa = Some(ttl.min(ttl_at(message, record.end.checked_sub(4)?)));
        }
    }
    let seconds = match (message[3] & 0x0f, soa) {
        _ if message[2] & TRUNCATED != 0 => None,
        // Also for an alias of a name without such records.
        (rcode::NO_ERROR | rcode::NXDOMAIN, Some(soa)) => Some(soa.min(least)),
        (rcode::NO_ERROR, None) if answers => Some(least),
        _ => None,
    }?;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// A record's frame.
struct Record {
    start: usize,
    kind: u16,
    /// Where its time to live stands.
    ttl: usize,
    end: usize,
    count: u8,
}

/// The records behind the question, in the order in which they stand; an item is none where the message is cut short.
struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: [u16; 3],
}

impl<'a> Records<'a> {
    fn of(message: &'a [u8], question_end: usize) -> Option<Self> {
        let left = [u16_at(message, 6)?, u16_at(message, 8)?, u16_at(message, 10)?];
        Some(Self { message, at: question_end, left })
    }

    fn take(&mut self, count: u8) -> Option<Record> {
        let start = self.at;
        let name = name_end(self.message, start)?;
        let length = usize::from(u16_at(self.message, name + 8)?);
        let end = name + 10 + length;
        if end > self.message.len() {
            return None;
        }
        self.at = end;
        Some(Record { start, kind: u16_at(self.message, name)?, ttl: name + 4, end, count })
    }
}

impl Iterator for Records<'_> {
    type Item = Option<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.left.iter().position(|&left| left > 0)?;
        self.left[section] -= 1;
        let record = self.take([6, 8, 10][section]);
        if record.is_none() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

/// Where a name ends that may point elsewhere.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            label @ 1..=63 => at += 1 + label,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
