//! Trying to bind a socket, which is the cheapest way to know.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use linkspan_model::Protocol;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind as bind_socket, setsockopt,
    socket, sockopt,
};

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Free,
    /// EADDRINUSE: a listener has it, or a socket that merely uses the port to reach another host.
    Taken,
    /// A low port, and the caller may not have it: nothing is known.
    Forbidden,
    /// The host has no such address.
    NoAddress,
    /// The kernel does not have the protocol, so nobody listens.
    NoProtocol,
}

/// Binds a socket and closes it at once, without ever listening. Port 0 is any free one.
pub(super) fn bind(protocol: Protocol, address: IpAddr, port: u16) -> Result<Outcome, Errno> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let socket = match socket(family, kind, SockFlag::SOCK_CLOEXEC, number) {
        Ok(socket) => socket,
        Err(Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT) => return Ok(Outcome::NoProtocol),
        Err(errno) => return Err(errno),
    };
    if protocol != Protocol::Udp {
        // Connections that are being closed do not count.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    if address.is_ipv6() {
        // IPv4 listeners do not count.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    match bind_socket(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, port))) {
        Ok(()) => Ok(Outcome::Free),
        Err(Errno::EADDRINUSE) => Ok(Outcome::Taken),
        Err(Errno::EACCES) => Ok(Outcome::Forbidden),
        Err(Errno::EADDRNOTAVAIL) => Ok(Outcome::NoAddress),
        Err(errno) => Err(errno),
    }
}
