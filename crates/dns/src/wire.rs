//! Messages: what is a question, and what an answer looks like (RFC 1035, RFC 6891).

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::{
    op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record,
        rdata::{A, AAAA, PTR},
    },
    serialize::binary::{BinDecodable, BinDecoder},
};

use crate::zones::{Answer, Records};

/// Octets of a message's header.
const HEADER: usize = 12;

/// What every asker takes over UDP (RFC 1035 4.2.1).
pub(crate) const UDP_LEAST: usize = 512;

/// What we take over UDP: it passes everywhere in one piece (DNS flag day 2020).
pub(crate) const UDP_OFFER: u16 = 1232;

/// What a message over TCP has at most: its length is two octets.
pub(crate) const TCP_MOST: usize = 65_535;

/// Octets of an A record whose name is a pointer, and of one that few are longer than.
const ADDRESS_RECORD: usize = 16;
const ROOMY_RECORD: usize = 280;

/// A well-formed message with one question.
pub(crate) struct Asked {
    message: Message,
    /// The name asked for as [`crate::Question`] has it.
    name: Vec<u8>,
}

/// What becomes of a message that is no such question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing is sent: it has no id, or is an answer itself; answers to answers go round in circles.
    Silence,
    /// This is sent.
    Answer(Vec<u8>),
}

impl Asked {
    /// Reads a message.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Err(Refusal::Silence) };
        if header[2] & 0x80 != 0 {
            return Err(Refusal::Silence);
        }
        if OpCode::from_u8(header[2] >> 3 & 0x0f) != OpCode::Query {
            return Err(Refusal::Answer(bare(header, ResponseCode::NotImp)));
        }
        let malformed = || Refusal::Answer(bare(header, ResponseCode::FormErr));
        let mut decoder = BinDecoder::new(bytes);
        let message = Message::read(&mut decoder).map_err(|_| malformed())?;
        if !decoder.is_empty() {
            return Err(malformed());
        }
        // RFC 9619: there is one question.
        let [query] = &message.queries[..] else { return Err(malformed()) };
        let name = flat(&query.name);
        let asked = Self { message, name };
        match &asked.message.edns {
            Some(edns) if edns.version() != 0 => {
                Err(Refusal::Answer(asked.write(ResponseCode::BADVERS, Vec::new(), UDP_LEAST)))
            }
            _ => Ok(asked),
        }
    }

    /// The name asked for, in lower case.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The type of record asked for; nothing if it is not one of the Internet's class.
    pub fn kind(&self) -> Option<u16> {
        let query = self.message.queries.first()?;
        (query.query_class == DNSClass::IN).then(|| query.query_type.into())
    }

    /// How many octets the asker takes over UDP, but no more than `most`.
    pub fn udp_limit(&self, most: usize) -> usize {
        let offered = self.message.edns.as_ref().map_or(UDP_LEAST, |edns| usize::from(edns.max_payload()));
        offered.min(most).max(UDP_LEAST)
    }

    /// A message without records.
    pub fn status(&self, status: Status) -> Vec<u8> {
        let code = match status {
            Status::Empty => ResponseCode::NoError,
            Status::NxDomain => ResponseCode::NXDomain,
            Status::Refused => ResponseCode::Refused,
        };
        self.write(code, Vec::new(), UDP_LEAST)
    }

    /// A message with as many records as go into `limit` octets; if not all do, it says so.
    pub fn answer(&self, answer: &Answer, limit: usize) -> Vec<u8> {
        let Some(name) = self.message.queries.first().map(|query| &query.name) else { return Vec::new() };
        let record = |data: RData| Record::from_rdata(name.clone(), answer.ttl, data);
        let records = match &answer.records {
            Records::V4(all) => all.iter().map(|a: &Ipv4Addr| record(RData::A(A(*a)))).collect(),
            Records::V6(all) => all.iter().map(|a: &Ipv6Addr| record(RData::AAAA(AAAA(*a)))).collect(),
            Records::Names(all) => {
                all.iter().filter_map(|text| named(text)).map(|name| record(RData::PTR(PTR(name)))).collect()
            }
        };
        self.write(ResponseCode::NoError, records, limit)
    }

    fn write(&self, code: ResponseCode, answers: Vec<Record>, limit: usize) -> Vec<u8> {
        let mut metadata = Metadata::response_from_request(&self.message.metadata);
        metadata.recursion_available = metadata.recursion_desired;
        metadata.response_code = code;
        let mut response = Message::new(metadata.id, MessageType::Response, OpCode::Query);
        response.metadata = metadata;
        response.queries.clone_from(&self.message.queries);
        // No record is shorter: so many more than fit are not even tried.
        response.metadata.truncation = answers.len() > limit / ADDRESS_RECORD;
        response.answers = answers;
        response.answers.truncate(limit / ADDRESS_RECORD);
        response.edns = self.message.edns.as_ref().map(|asked| edns(asked, code));
        loop {
            match response.to_vec() {
                Ok(bytes) if bytes.len() <= limit => return bytes,
                Ok(bytes) if response.answers.is_empty() => return bytes,
                Ok(bytes) => {
                    let least = (bytes.len() - limit).div_ceil(ROOMY_RECORD);
                    response.answers.truncate(response.answers.len().saturating_sub(least));
                    response.metadata.truncation = true;
                }
                Err(_) if response.answers.is_empty() => return Vec::new(),
                Err(_) => response.answers.clear(),
            }
        }
    }
}

/// What is said without records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Status {
    Empty,
    NxDomain,
    Refused,
}

/// A header that says what is wrong, and nothing else.
fn bare(header: &[u8; HEADER], code: ResponseCode) -> Vec<u8> {
    let recursion = header[2] & 0x01;
    let opcode = header[2] & 0x78;
    let mut bytes = vec![header[0], header[1], 0x80 | opcode | recursion, recursion << 7 | code.low()];
    bytes.resize(HEADER, 0);
    bytes
}

/// What we say of ourselves to who says so of itself (RFC 6891 6.1.1, 6.1.3, 6.2.3).
fn edns(asked: &Edns, code: ResponseCode) -> Edns {
    let mut ours = Edns::new();
    ours.set_max_payload(UDP_OFFER).set_version(0).set_rcode_high(code.high());
    ours.set_dnssec_ok(asked.flags().dnssec_ok);
    ours
}

/// A name as names are looked up.
fn flat(name: &Name) -> Vec<u8> {
    let mut flat = Vec::with_capacity(name.len());
    for label in name.iter() {
        if !flat.is_empty() {
            flat.push(b'.');
        }
        for byte in label {
            if matches!(byte, b'.' | b'\\') {
                flat.push(b'\\');
            }
            flat.push(byte.to_ascii_lowercase());
        }
    }
    flat
}

/// A name to answer with, if it can be one: each label has 1 to 63 octets, all of them at most 255.
fn named(text: &str) -> Option<Name> {
    let mut name = Name::from_labels(text.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;
    use proptest::prelude::*;

    use super::{Asked, Refusal, Status, UDP_LEAST};
    use crate::zones::{Answer, Records};

    /// A question of any bytes as its name, any type and any EDNS, and then any change of it.
    fn near_question() -> impl Strategy<Value = Vec<u8>> {
        let labels = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..6);
        let rest = prop::collection::vec(any::<u8>(), 0..40);
        let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (labels, any::<u16>(), any::<bool>(), rest, edits).prop_map(|(labels, kind, edns, rest, edits)| {
            let mut bytes = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
            for label in labels {
                bytes.push(label.len() as u8);
                bytes.extend(label);
            }
            bytes.push(0);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1]);
            if edns {
                bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, rest.len() as u8]);
                bytes.extend(rest);
            }
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    fn check(bytes: &[u8], addresses: u16, limit: usize) {
        let answers = match Asked::read(bytes) {
            Err(Refusal::Silence) => return assert!(bytes.len() < 12 || bytes[2] & 0x80 != 0),
            Err(Refusal::Answer(answer)) => vec![answer],
            Ok(asked) => {
                let v4 = (0..addresses).map(|n| u32::from(n).into()).collect();
                let names = vec!["a.b".into(), "no..name".into(), "x".repeat(64), "y.".repeat(130)];
                let answer = |records| Answer { ttl: 0, records, shuffle: false };
                vec![
                    asked.answer(&answer(Records::V4(v4)), limit),
                    asked.answer(&answer(Records::Names(names)), limit),
                    asked.status(Status::NxDomain),
                ]
            }
        };
        for answer in answers {
            assert!(answer.len() <= limit.max(bytes.len() + 16), "{} of {limit}", answer.len());
            assert_eq!(answer[..2], bytes[..2]);
            assert_ne!(answer[2] & 0x80, 0);
            Message::from_vec(&answer).expect("it can be read");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_are_answered_or_not_but_well(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            check(&bytes, 3, UDP_LEAST);
        }

        #[test]
        fn whatever_is_near_a_question_gets_a_readable_answer_within_its_limit(
            bytes in near_question(), addresses in 0..400u16, limit in UDP_LEAST..1300,
        ) {
            check(&bytes, addresses, limit);
        }
    }
}
