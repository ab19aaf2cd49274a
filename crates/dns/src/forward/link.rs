//! A socket of its own for each question to a server: a random port besides the random id (RFC 5452), and errors that belong
//! to that question alone.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

/// How a question went out.
#[derive(Debug)]
pub enum Link {
    /// As a datagram; the kernel takes answers from that server alone.
    Udp(UdpSocket),
    /// Over a connection, perhaps not yet made.
    Tcp(Connection),
}

/// A connection for one question.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What is not yet sent, with its length before it.
    unsent: Vec<u8>,
    received: Vec<u8>,
}

impl Link {
    /// Sends a query.
    ///
    /// # Errors
    ///
    /// If it cannot be sent, say for lack of a route.
    pub fn udp(server: SocketAddr, query: &[u8]) -> io::Result<Self> {
        let socket = UdpSocket::from(connected(server, SockType::Datagram)?);
        socket.send(query)?;
        Ok(Self::Udp(socket))
    }

    /// Begins to connect; what is to be sent goes when [`Link::poll`] finds that it can.
    ///
    /// # Errors
    ///
    /// If that fails at once.
    pub fn tcp(server: SocketAddr, query: &[u8]) -> io::Result<Self> {
        let stream = TcpStream::from(connected(server, SockType::Stream)?);
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        let unsent = [&length.to_be_bytes(), query].concat();
        Ok(Self::Tcp(Connection { stream, unsent, received: Vec::new() }))
    }

    /// Sends the query once more, as the first may be lost; a connection sees to that itself.
    pub fn again(&self, query: &[u8]) {
        if let Self::Udp(socket) = self {
            let _ = socket.send(query);
        }
    }

    /// Whether it is a connection.
    pub const fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// What to wait on.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp(connection) => connection.stream.as_fd(),
        }
    }

    /// The length of the next message that has come whole, put into `buffer`, which has room for any; none if there is none
    /// yet.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, or closes the connection.
    pub fn poll(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Udp(socket) => later(socket.recv(buffer)),
            Self::Tcp(connection) => connection.poll(buffer),
        }
    }
}

impl Connection {
    fn poll(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        while !self.unsent.is_empty() {
            let Some(sent) = later(self.stream.write(&self.unsent))? else { return Ok(None) };
            self.unsent.drain(..sent);
        }
        loop {
            if let Some((length, rest)) = self.received.split_first_chunk::<2>()
                && let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length)))
            {
                buffer[..message.len()].copy_from_slice(message);
                let length = message.len();
                self.received.drain(..2 + length);
                return Ok(Some(length));
            }
            match later(self.stream.read(buffer))? {
                None => return Ok(None),
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(read) => self.received.extend(&buffer[..read]),
            }
        }
    }
}

/// Nothing, if it would have to be waited for.
fn later(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn connected(server: SocketAddr, kind: SockType) -> io::Result<OwnedFd> {
    let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, kind, flags, None)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(server)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
