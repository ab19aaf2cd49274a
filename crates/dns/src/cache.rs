//! Answers of other servers, for as long as their owners let them be kept.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::forward::packet::Answer;

/// However long an owner allows: a day (RFC 8767, section 4, says no more than a week).
const LONGEST: Duration = Duration::from_secs(86_400);
/// A part has a lock of its own, so that threads seldom wait for each other.
const PARTS: usize = 16;
/// What an entry takes besides its answer and its key.
const OVERHEAD: usize = 160;

/// Answers by question and by the servers that are asked: who asks others never sees them.
///
/// It holds no more bytes than it was made for; what has not been asked for again goes first.
#[derive(Debug)]
pub struct Cache {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
}

impl Cache {
    /// One for `bytes` in all.
    pub fn new(bytes: usize) -> Self {
        let part = || Mutex::new(Part { room: bytes / PARTS, ..Part::default() });
        Self { parts: std::array::from_fn(|_| part()), hasher: RandomState::new() }
    }

    /// The answer that is kept under `key`, and its age in whole seconds.
    pub fn get(&self, key: &[u8], now: Instant) -> Option<(Arc<Answer>, u32)> {
        let mut part = self.part(key);
        let kept = part.answers.get_mut(key)?;
        let age = now.saturating_duration_since(kept.since);
        if age >= kept.lasts {
            return None;
        }
        kept.again = true;
        Some((Arc::clone(&kept.answer), u32::try_from(age.as_secs()).unwrap_or(u32::MAX)))
    }

    /// Keeps an answer, if it may be kept.
    pub fn put(&self, key: &[u8], answer: &Arc<Answer>, now: Instant) {
        let Some(lasts) = answer.lasts() else { return };
        let kept = Kept { answer: Arc::clone(answer), since: now, lasts: lasts.min(LONGEST), again: false };
        let mut part = self.part(key);
        if cost(key, answer) <= part.room / 4 {
            part.put(key, kept);
            part.shrink(now);
        }
    }

    fn part(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        let hash = self.hasher.hash_one(key);
        let part = &self.parts[usize::try_from(hash % PARTS as u64).unwrap_or(0)];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Part {
    answers: HashMap<Arc<[u8]>, Kept>,
    /// Every key, the one that may go first at the front.
    order: VecDeque<Arc<[u8]>>,
    used: usize,
    room: usize,
}

#[derive(Debug)]
struct Kept {
    answer: Arc<Answer>,
    since: Instant,
    lasts: Duration,
    /// Whether somebody has asked for it since it was last looked at.
    again: bool,
}

impl Part {
    fn put(&mut self, key: &[u8], kept: Kept) {
        let key: Arc<[u8]> = key.into();
        self.used += cost(&key, &kept.answer);
        match self.answers.entry(Arc::clone(&key)) {
            Entry::Occupied(mut entry) => {
                let old = entry.insert(kept);
                self.used -= cost(&key, &old.answer);
            }
            Entry::Vacant(entry) => {
                entry.insert(kept);
                self.order.push_back(key);
            }
        }
    }

    /// Lets go of answers until the rest has room: whoever was asked for again gets a second turn.
    fn shrink(&mut self, now: Instant) {
        while self.used > self.room {
            let Some(key) = self.order.pop_front() else { return };
            let Entry::Occupied(mut entry) = self.answers.entry(Arc::clone(&key)) else { continue };
            let kept = entry.get_mut();
            if std::mem::take(&mut kept.again) && now.saturating_duration_since(kept.since) < kept.lasts {
                self.order.push_back(key);
            } else {
                self.used -= cost(&key, &entry.remove().answer);
            }
        }
    }
}

fn cost(key: &[u8], answer: &Answer) -> usize {
    key.len() + answer.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::packet::Asked;

    /// An answer with one record that lasts so many seconds.
    fn answer(seconds: u8) -> Arc<Answer> {
        let question = b"\x01x\x00\x00\x01\x00\x01";
        let asked = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &question[..]].concat();
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, seconds, 0, 4, 192, 0, 2, 1];
        let told = [&[0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &question[..], &record].concat();
        Arc::new(Answer::read(&told, 1, &Asked::read(&asked).unwrap()).unwrap())
    }

    #[test]
    fn answers_last_as_long_as_they_may() {
        let (cache, start) = (Cache::new(1 << 20), Instant::now());
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        cache.put(b"a", &answer(2), start);
        cache.put(b"never", &answer(0), start);
        assert!(cache.get(b"never", start).is_none() && cache.get(b"b", start).is_none());
        assert_eq!(cache.get(b"a", after(1999)).map(|(_, age)| age), Some(1));
        assert!(cache.get(b"a", after(2000)).is_none());
        cache.put(b"a", &answer(2), after(3000));
        assert_eq!(cache.get(b"a", after(3500)).map(|(_, age)| age), Some(0));
    }

    #[test]
    fn it_stays_within_its_size() {
        let (cache, now) = (Cache::new(256 << 10), Instant::now());
        cache.put(b"wanted", &answer(9), now);
        for number in 0_u32..20_000 {
            cache.put(&number.to_be_bytes(), &answer(9), now);
            assert!(cache.get(b"wanted", now).is_some(), "{number}");
        }
        let parts = || cache.parts.iter().map(|part| part.lock().unwrap());
        assert!(parts().all(|part| part.used <= part.room && part.order.len() == part.answers.len()));
        assert!(parts().map(|part| part.answers.len()).sum::<usize>() > 500);
        assert!(cache.get(&0_u32.to_be_bytes(), now).is_none());
        assert!(cache.get(&19_999_u32.to_be_bytes(), now).is_some());
    }
}
