//! A netlink socket: batches out, every acknowledgement in, the kernel's own words in each error.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, getsockopt, recv, send, socket, sockopt,
};
use thiserror::Error;

use super::message::{Attrs, HEADER, Message};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
/// `struct nfgenmsg`: family, version, and in network byte order the subsystem that the batch is for.
const NFT_BATCH_HEADER: [u8; 4] = [0, 0, 0, 10];
const NFNL_BATCH_GENID: u16 = 1;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The largest datagram that the kernel makes of a dump (af_netlink.c, netlink_recvmsg).
const RECEIVE: usize = 32 * 1024;
/// What the send and receive queues are asked to hold; the kernel may grant less.
const QUEUE: i32 = 4 * 1024 * 1024;
/// How many requests go together: the kernel reserves some kilobytes for the answer to each.
const AT_ONCE: usize = 32;
/// How often a dump is asked for before giving up on a kernel that changes all the time.
const DUMPS: u32 = 100;

thread_local! {
    /// What was received last, on whichever socket: the kernel gives the pages of it once.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVE]);
}

/// The netlink families spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nf_tables and conntrack.
    Netfilter,
    /// Open sockets.
    SockDiag,
}

/// What went wrong with one message of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{}", self.text())]
pub struct Error {
    /// Which message of the batch, counted from 0; none if the batch as a whole could not be sent or read.
    pub index: Option<usize>,
    /// The error's number.
    pub errno: Errno,
    /// The kernel's extended acknowledgement, if it gave one.
    pub message: Option<String>,
}

impl Error {
    fn of_socket(errno: Errno) -> Self {
        Self { index: None, errno, message: None }
    }

    fn text(&self) -> String {
        match &self.message {
            Some(message) => format!("{message} ({})", errno_text(self.errno)),
            None => errno_text(self.errno),
        }
    }
}

fn errno_text(errno: Errno) -> String {
    format!("{errno:?}: {}", errno.desc())
}

/// One message that answers a request: its type, and the bytes behind the netlink header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Which request of the batch it answers.
    pub index: usize,
    /// The message type.
    pub kind: u16,
    /// Family header and attributes.
    pub body: Vec<u8>,
}

/// A socket. It stays in the network namespace that it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the current network namespace.
    ///
    /// # Errors
    /// If the kernel lacks the family.
    pub fn open(family: Family) -> Result<Self, Error> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
            Family::SockDiag => SockProtocol::NetlinkSockDiag,
        };
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(Error::of_socket)?;
        // Without these everything still works, with poorer errors and smaller batches.
        set_option(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        set_option(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        set_option(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
        Ok(Self { fd, sequence: 0 })
    }

    /// Makes the queues large, for a transaction of thousands of elements. The kernel may grant less to a
    /// process without CAP_NET_ADMIN over the host.
    pub fn enlarge(&self) {
        for (forced, asked) in
            [(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF), (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)]
        {
            if !set_option(self.fd.as_fd(), libc::SOL_SOCKET, forced, QUEUE) {
                set_option(self.fd.as_fd(), libc::SOL_SOCKET, asked, QUEUE);
            }
        }
    }

    /// Sends `messages` together; gives the answers, or the first error.
    ///
    /// The kernel goes on behind a message that fails: what follows it in the batch may hold all the same.
    ///
    /// # Errors
    /// The first message that failed, with the kernel's words.
    pub fn batch(&mut self, messages: Vec<Message>) -> Result<Vec<Answer>, Error> {
        let (answers, errors) = self.attempt(messages)?;
        errors.into_iter().next().map_or(Ok(answers), Err)
    }

    /// As [`batch`](Self::batch), but gives the answers and every failed message, in order. Of very many messages so many
    /// are sent together as have room for their answers in the receive queue.
    ///
    /// # Errors
    /// If the batch as a whole could not be sent or its answers not read.
    pub fn attempt(&mut self, messages: Vec<Message>) -> Result<(Vec<Answer>, Vec<Error>), Error> {
        let (mut answers, mut errors) = (Vec::new(), Vec::new());
        let (mut rest, mut start) = (messages, 0);
        while !rest.is_empty() {
            let behind = rest.split_off(rest.len().min(AT_ONCE));
            let count = rest.len();
            let (some, failed) = self.attempt_some(std::mem::replace(&mut rest, behind))?;
            answers.extend(some.into_iter().map(|answer| Answer { index: start + answer.index, ..answer }));
            errors.extend(
                failed
                    .into_iter()
                    .map(|error| Error { index: error.index.map(|index| start + index), ..error }),
            );
            start += count;
        }
        Ok((answers, errors))
    }

    fn attempt_some(&mut self, messages: Vec<Message>) -> Result<(Vec<Answer>, Vec<Error>), Error> {
        let first = self.sequence.wrapping_add(1);
        let count = messages.len();
        let bytes = messages
            .into_iter()
            .flat_map(|message| message.finish(self.next_sequence(), NLM_F_ACK))
            .collect();
        self.send(bytes)?;
        let mut received = Received::new(first, count);
        self.receive(&mut received)?;
        if received.finished.iter().any(|finished| !finished) {
            // Without the privilege, nfnetlink refuses the first message and is silent about the others.
            let refused = received.errors.into_iter().next();
            return Err(refused.unwrap_or_else(|| Error::of_socket(Errno::EPROTO)));
        }
        Ok((received.answers, received.errors))
    }

    /// Sends a dump request that `ask` makes; gives the answers. A dump that a change came between is asked for again.
    ///
    /// # Errors
    /// The kernel's refusal; EINTR if every dump was interrupted.
    pub fn dump(&mut self, ask: impl Fn() -> Message) -> Result<Vec<Answer>, Error> {
        for _ in 0..DUMPS {
            let sequence = self.next_sequence();
            self.send(ask().finish(sequence, 0))?;
            let mut received = Received::new(sequence, 1);
            self.receive(&mut received)?;
            if let Some(error) = received.errors.into_iter().next() {
                return Err(error);
            }
            if !received.interrupted {
                return Ok(received.answers);
            }
        }
        Err(Error::of_socket(Errno::EINTR))
    }

    /// How many bytes the send queue takes at once, as the kernel has granted it.
    pub fn send_limit(&self) -> usize {
        // netlink_sendmsg() keeps 32 bytes of it.
        getsockopt(&self.fd, sockopt::SndBuf).map_or(0, |queue| queue.saturating_sub(32))
    }

    /// Sends nf_tables `messages` as one transaction: all of them hold, or none. With a `generation`, only if the tables
    /// are in that one still.
    ///
    /// # Errors
    /// The first message that failed; an error of the commit itself has no index. ERESTART if the generation is another.
    pub fn transaction(&mut self, messages: Vec<Message>, generation: Option<u32>) -> Result<(), Error> {
        let count = messages.len();
        let mut begin = Message::new(NFNL_MSG_BATCH_BEGIN, 0, &NFT_BATCH_HEADER);
        if let Some(generation) = generation {
            begin.attr_be32(NFNL_BATCH_GENID, generation);
        }
        let mut bytes = begin.finish(self.next_sequence(), 0);
        let first = self.sequence.wrapping_add(1);
        for (index, message) in messages.into_iter().enumerate() {
            // Failures are always answered; one acknowledgement, of the last, is enough for the rest.
            let flags = if index + 1 == count { NLM_F_ACK } else { 0 };
            bytes.extend(message.finish(self.next_sequence(), flags));
        }
        let end = Message::new(NFNL_MSG_BATCH_END, 0, &NFT_BATCH_HEADER);
        bytes.extend(end.finish(self.next_sequence(), 0));
        self.send(bytes)?;
        let mut received = Received::new(first, count);
        self.receive(&mut received)?;
        match received.errors.into_iter().min_by_key(|error| error.index.map_or(0, |index| index + 1)) {
            Some(error) => Err(error),
            None if count > 0 && received.finished.last() == Some(&false) => {
                Err(Error::of_socket(Errno::EPROTO))
            }
            None => Ok(()),
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: Vec<u8>) -> Result<(), Error> {
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(Error::of_socket)?;
        Ok(())
    }

    // The kernel answers while it is being asked, so what is not in the queue now will never come.
    fn receive(&self, received: &mut Received) -> Result<(), Error> {
        while !received.is_complete() {
            let outcome = BUFFER.with_borrow_mut(|buffer| {
                recv(self.fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)
                    .map(|length| received.datagram(&buffer[..length]))
            });
            match outcome {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(Error::of_socket(errno)),
            }
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[allow(unsafe_code)]
fn set_option(fd: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> bool {
    // SAFETY: `value` is a live int and its size is what is passed; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    result == 0
}

/// What came back for the requests with sequence numbers from `first` on.
struct Received {
    first: u32,
    finished: Vec<bool>,
    answers: Vec<Answer>,
    errors: Vec<Error>,
    interrupted: bool,
}

impl Received {
    fn new(first: u32, count: usize) -> Self {
        let finished = vec![false; count];
        Self { first, finished, answers: Vec::new(), errors: Vec::new(), interrupted: false }
    }

    /// Whether the last request was answered to its end: answers come in the order of the requests.
    fn is_complete(&self) -> bool {
        self.finished.last() == Some(&true)
    }

    fn datagram(&mut self, mut bytes: &[u8]) {
        while let Some(length) = number(bytes, 0).map(|length| length as usize) {
            let Some(message) = bytes.get(..length).filter(|_| length >= HEADER) else { return };
            self.message(message);
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn message(&mut self, message: &[u8]) {
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        let flags = u16::from_ne_bytes([message[6], message[7]]);
        self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        let sequence = number(message, 8).unwrap_or_default();
        let index =
            Some(sequence.wrapping_sub(self.first) as usize).filter(|index| *index < self.finished.len());
        // What is wrong with a transaction as a whole is said of its beginning.
        let of_batch = sequence.wrapping_add(1) == self.first;
        let body = &message[HEADER..];
        match (kind, index) {
            (NLMSG_ERROR | NLMSG_DONE, _) if index.is_some() || of_batch => {
                let code = number(body, 0).map_or(0, |code| code.cast_signed());
                if let Some(index) = index {
                    self.finished[index] = true;
                }
                if code != 0 {
                    let message =
                        (flags & NLM_F_ACK_TLVS != 0).then(|| extended_ack(kind, flags, body)).flatten();
                    self.errors.push(Error { index, errno: Errno::from_raw(-code), message });
                }
            }
            (_, Some(index)) => self.answers.push(Answer { index, kind, body: body.to_vec() }),
            _ => {}
        }
    }
}

/// The text in the attributes behind an error: they follow the request's header, or all of it where it was not cut.
fn extended_ack(kind: u16, flags: u16, body: &[u8]) -> Option<String> {
    let quoted = match kind {
        NLMSG_DONE => 0,
        _ if flags & NLM_F_CAPPED != 0 => HEADER,
        _ => (number(body, 4)? as usize).next_multiple_of(4),
    };
    Attrs::new(body.get(4 + quoted..)?).text(NLMSGERR_ATTR_MSG)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{Family, Message, Socket};

    const RTM_GETLINK: u16 = 18;

    fn get_link(index: i32) -> Message {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        Message::new(RTM_GETLINK, 0, &header)
    }

    #[test]
    fn a_batch_gives_answers_and_names_the_message_that_failed() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let answers = socket.batch(vec![get_link(1), get_link(1)]).unwrap();
        assert_eq!(answers.iter().map(|answer| answer.index).collect::<Vec<_>>(), [0, 1]);
        let error = socket.batch(vec![get_link(1), get_link(0x7fff_fff0), get_link(1)]).unwrap_err();
        assert_eq!((error.index, error.errno), (Some(1), Errno::ENODEV));
    }

    #[test]
    fn a_batch_may_be_larger_than_the_queue_for_its_answers() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let requests = (0..3000).map(|n| get_link(if n % 1000 == 999 { 0x7fff_fff0 } else { 1 }));
        let (answers, errors) = socket.attempt(requests.collect()).unwrap();
        assert_eq!((answers.len(), answers.last().unwrap().index), (2997, 2998));
        assert_eq!(
            errors.iter().map(|error| error.index).collect::<Vec<_>>(),
            [Some(999), Some(1999), Some(2999)]
        );
    }

    #[test]
    fn the_kernels_own_words_are_in_the_error() {
        let mut socket = Socket::open(Family::Route).unwrap();
        let error = socket.batch(vec![Message::new(RTM_GETLINK, 0, &[0; 4])]).unwrap_err();
        assert!(error.message.is_some(), "{error}");
    }
}
