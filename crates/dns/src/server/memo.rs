//! Answers that were given, to give them again.

use std::{
    hash::{DefaultHasher, Hasher},
    net::IpAddr,
};

/// How many are kept: a power of two.
const SLOTS: usize = 4096;
/// Longer questions are not kept: they hold what is new in each.
const LONGEST: usize = 128;

/// Answers of one version of the names, by question. Whoever asks the same in the same bytes gets the same but for the
/// id.
pub(super) struct Memo {
    slots: Vec<Slot>,
}

#[derive(Clone, Default)]
struct Slot {
    /// What it was answered from; versions count from 1.
    version: u64,
    token: u64,
    from: Option<IpAddr>,
    question: Vec<u8>,
    answer: Vec<u8>,
}

/// Where an answer is, or goes.
pub(super) struct Place {
    index: usize,
    version: u64,
    token: u64,
    from: IpAddr,
}

impl Memo {
    pub fn new() -> Self {
        Self { slots: vec![Slot::default(); SLOTS] }
    }

    /// Where the answer to a message belongs that came `from` there to the socket `token`.
    pub fn place(version: u64, token: u64, from: IpAddr, message: &[u8]) -> Option<Place> {
        let question = message.get(2..).filter(|rest| rest.len() <= LONGEST)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(question);
        hasher.write_u64(token);
        match from {
            IpAddr::V4(from) => hasher.write_u32(from.into()),
            IpAddr::V6(from) => hasher.write_u128(from.into()),
        }
        let index = usize::try_from(hasher.finish() % SLOTS as u64).ok()?;
        Some(Place { index, version, token, from })
    }

    /// The answer, with the message's id.
    pub fn get(&mut self, place: &Place, message: &[u8]) -> Option<&[u8]> {
        let slot = self.slots.get_mut(place.index)?;
        let same = slot.version == place.version
            && slot.token == place.token
            && slot.from == Some(place.from)
            && slot.question == message[2..];
        if !same {
            return None;
        }
        slot.answer.get_mut(..2)?.copy_from_slice(&message[..2]);
        Some(&slot.answer)
    }

    /// Keeps an answer in place of what was there.
    pub fn put(&mut self, place: &Place, message: &[u8], answer: &[u8]) {
        let Some(slot) = self.slots.get_mut(place.index) else { return };
        slot.version = place.version;
        slot.token = place.token;
        slot.from = Some(place.from);
        slot.question.clear();
        slot.question.extend_from_slice(&message[2..]);
        slot.answer.clear();
        slot.answer.extend_from_slice(answer);
    }
}
