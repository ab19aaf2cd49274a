//! From a message to what is sent back.

use std::{net::IpAddr, sync::Arc};

use super::state::{Door, Socket, State};
use crate::{
    query::Client,
    wire::{Asked, Refusal, Status, TCP_MOST},
    zones::{Answer, Asker, Question, Records, Verdict},
};

/// What becomes of a message.
pub(super) enum Outcome {
    /// This goes back.
    Send(Vec<u8>),
    /// This goes back now, but the next one may be told otherwise.
    Once(Vec<u8>),
    /// Others are asked; the answer has at most so many octets.
    Forward { servers: Arc<[std::net::SocketAddr]>, limit: usize },
    /// Nothing.
    Silence,
}

/// Decides on a message that came `from` there. `udp` is the most that goes back over UDP; nothing over TCP.
pub(super) fn outcome(
    state: &State,
    door: &Door,
    from: IpAddr,
    message: &[u8],
    udp: Option<usize>,
) -> Outcome {
    let asked = match Asked::read(message) {
        Ok(asked) => asked,
        Err(Refusal::Answer(bytes)) => return Outcome::Send(bytes),
        Err(Refusal::Silence) => return Outcome::Silence,
    };
    let limit = udp.map_or(TCP_MOST, |most| asked.udp_limit(most));
    let asker = match &door.socket {
        Socket::Network(network) => Asker::Address { from, network },
        Socket::Container(container) => Asker::Container(container),
    };
    // No record type has number 0, so such a question is one for others, as it must be.
    let question = Question { name: asked.name(), kind: asked.kind().unwrap_or(0) };
    match state.zones.decide(asker, question) {
        Verdict::Answer(mut answer) => {
            let moving = answer.shuffle && answer.records.len() > 1;
            if moving {
                turn(&mut answer, message);
            }
            let bytes = asked.answer(&answer, limit);
            if moving { Outcome::Once(bytes) } else { Outcome::Send(bytes) }
        }
        Verdict::Empty => Outcome::Send(asked.status(Status::Empty)),
        Verdict::NxDomain => Outcome::Send(asked.status(Status::NxDomain)),
        Verdict::Refused => Outcome::Send(asked.status(Status::Refused)),
        Verdict::Forward(servers) => Outcome::Forward { servers, limit },
    }
}

/// Who asks at a door.
pub(super) fn client(door: &Door, from: IpAddr) -> Client {
    match &door.socket {
        Socket::Network(_) => Client::Address(from),
        Socket::Container(container) => Client::Container(Arc::clone(container)),
    }
}

/// Begins with another record each time: the id is as random as the asker makes it.
fn turn(answer: &mut Answer, message: &[u8]) {
    let by = usize::from(u16::from_be_bytes([message[0], message[1]]));
    let by = by % answer.records.len();
    match &mut answer.records {
        Records::V4(all) => all.rotate_left(by),
        Records::V6(all) => all.rotate_left(by),
        Records::Names(all) => all.rotate_left(by),
    }
}
