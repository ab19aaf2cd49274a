//! What the threads share.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, atomic::AtomicBool},
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use nix::sys::{epoll::Epoll, eventfd::EventFd};
use rpds::RedBlackTreeMapSync;

use super::tcp::Inbox;
use crate::{query::Forward, zones::Zones};

/// Marks the event that all threads are woken by.
pub(super) const WAKE: u64 = 0;
/// Marks the event that the thread with the connections gets answers by.
pub(super) const INBOX: u64 = 1;
/// The first number of a door.
pub(super) const DOORS: u64 = 2;

/// What answers are made from: replaced as a whole, so that a question is answered from one version of everything.
#[derive(Clone)]
pub(super) struct State {
    /// Counts from 1.
    pub version: u64,
    pub zones: Zones,
    pub doors: RedBlackTreeMapSync<u64, Arc<Door>>,
}

/// Where questions come in.
#[derive(Debug)]
pub(super) struct Door {
    /// Whose questions these are.
    pub socket: Socket,
    /// Where askers may be; empty for everywhere.
    pub within: Arc<[IpNet]>,
    pub address: SocketAddr,
    /// Whether they were handed in.
    pub given: bool,
    pub ends: Arc<Ends>,
}

/// The sockets of a door.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Whether addresses are of IPv4.
    pub v4: bool,
    pub udp: UdpSocket,
    pub tcp: TcpListener,
}

/// Whose questions come in at a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// Those of a network's members, known by their addresses.
    Network(Arc<str>),
    /// Those of one container or sandbox.
    Container(Arc<str>),
}

pub(super) struct Shared {
    pub state: ArcSwap<State>,
    /// Watches the doors for datagrams, for all threads that answer those.
    pub datagrams: Epoll,
    /// Watches the doors for connections, and the connections, for the thread that has them.
    pub streams: Epoll,
    pub wake: EventFd,
    pub ended: AtomicBool,
    pub inbox: Arc<Inbox>,
    pub forward: Arc<dyn Forward>,
    pub udp_limit: usize,
}

impl Door {
    /// Whether whoever asks from there is told anything: who sends as somebody elsewhere would have us answer them.
    pub fn admits(&self, zones: &Zones, from: IpAddr) -> bool {
        let beside = matches!(from, IpAddr::V6(from) if from.is_unicast_link_local());
        self.within.is_empty()
            || beside
            || self.within.iter().any(|net| net.contains(&from))
            || zones.knows(from)
    }
}
