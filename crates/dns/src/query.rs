//! Questions that go to others, and the way back.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
};

use crate::server::{Ends, Inbox, send_back};

/// Who asks others: given to the server when it starts.
///
/// Methods are called by the threads that answer: they return at once. What has to wait goes on elsewhere.
pub trait Forward: Send + Sync {
    /// Takes a question. It is answered through its [`Reply`], now or later; dropped, it stays unanswered.
    fn forward(&self, query: Query);

    /// Called when the addresses change that the server is asked at, before the first question there: whoever is
    /// asked there asks us.
    fn listening(&self, addresses: &[SocketAddr]) {
        let _ = addresses;
    }
}

/// A question that nobody here has an answer for: well-formed, of operation QUERY, with one question.
#[derive(Debug)]
pub struct Query {
    /// The message as it came.
    pub message: Vec<u8>,
    /// Who is to be asked, in order; empty for the host's servers.
    pub servers: Arc<[SocketAddr]>,
    /// Who asks.
    pub client: Client,
    /// The way back.
    pub reply: Reply,
}

/// Who asks, for limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Whoever has this address.
    Address(IpAddr),
    /// The container or sandbox whose socket it is.
    Container(Arc<str>),
}

/// The way back to who asked. It holds no socket open: an answer that comes when the socket is gone goes nowhere.
#[derive(Debug)]
pub struct Reply {
    pub(crate) way: Option<Way>,
    /// How many bytes the asker takes: what EDNS says over UDP (at least 512, at most what the server is set to),
    /// 65,535 over TCP.
    pub limit: usize,
    /// Whether it was asked over TCP.
    pub tcp: bool,
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) enum Way {
    /// To that address, from this socket.
    Datagram(Weak<Ends>, SocketAddr),
    /// To the connection of that number.
    Stream(Arc<Inbox>, u64),
}

impl Reply {
    /// Sends an answer. Its id must be the question's, and it must keep within [`Reply::limit`].
    pub fn send(mut self, message: &[u8]) {
        match self.way.take() {
            Some(Way::Datagram(ends, to)) => send_back(&ends, to, message),
            Some(Way::Stream(inbox, conn)) => inbox.post(conn, Some(message.to_vec())),
            None => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(Way::Stream(inbox, conn)) = self.way.take() {
            inbox.post(conn, None);
        }
    }
}
