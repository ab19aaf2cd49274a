//! Sockets and the threads that answer on them.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use crate::{query::Forward, zones::Zones};

/// How a server is set up.
pub struct Config {
    /// How many threads answer; 0 for one a processor, at most four.
    pub threads: usize,
    /// The most bytes an answer over UDP has, whatever the asker would take.
    pub udp_limit: u16,
    /// Who gets what nobody here has an answer for.
    pub forward: Arc<dyn Forward>,
}

/// An address to be asked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The network whose gateway this is.
    pub network: Arc<str>,
    /// Where, for UDP and TCP.
    pub address: SocketAddr,
}

/// Whose questions come in at a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// Those of a network's members, known by their addresses.
    Network(Arc<str>),
    /// Those of one container or sandbox.
    Container(Arc<str>),
}

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("failed to bind {protocol} listener on {address}")]
pub struct ListenError {
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
}

/// A server that runs until it is dropped.
///
/// Calls may come from any thread; what they change holds for every question that comes in after they returned.
pub struct Server {}

/// The way back to a socket or connection.
#[derive(Debug)]
pub(crate) struct Way {}

impl Server {
    /// Starts the threads. The server knows no names and is asked nowhere yet.
    ///
    /// # Errors
    ///
    /// If the kernel gives no threads or descriptors.
    pub fn start(config: Config) -> io::Result<Self> {
        let _ = config;
        Ok(Self {})
    }

    /// Answers from these names from now on.
    pub fn publish(&self, zones: Zones) {
        let _ = zones;
    }

    /// Listens at these addresses and no others (sockets that were handed in stay). What is listened at already is not
    /// touched, so that no question is lost; what is new comes before what is gone leaves.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound; then nothing has changed.
    pub fn listen(&self, wanted: &[Listen]) -> Result<(), ListenError> {
        let _ = wanted;
        Ok(())
    }

    /// Answers on sockets that were opened elsewhere, say in another namespace, as well; those given before for the
    /// same `socket` are closed. They are bound, and `tcp` listens; both are made non-blocking.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to watch them; then nothing has changed.
    pub fn open(&self, socket: Socket, udp: UdpSocket, tcp: TcpListener) -> io::Result<()> {
        let _ = (socket, udp, tcp);
        Ok(())
    }

    /// Closes sockets that were handed in. Those bound by [`Server::listen`] stay.
    pub fn close(&self, socket: &Socket) {
        let _ = socket;
    }
}

impl Way {
    pub(crate) fn send(self, message: &[u8]) {
        let _ = message;
    }
}
