//! Sockets, and which network they are on.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use ipnet::IpNet;
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{Backlog, SockaddrStorage, setsockopt, sockopt},
};

use super::{Listen, ListenError, state::Ends};

/// Octets of questions that wait for a processor: some ten thousand.
const ROOM: usize = 4 << 20;
/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;

/// Binds an address for UDP and TCP.
pub(super) fn bind(address: SocketAddr) -> Result<Arc<Ends>, ListenError> {
    let failed = |protocol| move |cause| ListenError { protocol, address, cause };
    let udp = UdpSocket::bind(address).map_err(failed("udp"))?;
    let tcp = TcpListener::bind(address).map_err(failed("tcp"))?;
    prepare(udp, tcp).map_err(failed("udp"))
}

/// Makes sockets ready to be watched.
pub(super) fn prepare(udp: UdpSocket, tcp: TcpListener) -> io::Result<Arc<Ends>> {
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    // More than the system's limit is for the privileged; others get what that allows.
    if setsockopt(&udp, sockopt::RcvBufForce, &ROOM).is_err() {
        setsockopt(&udp, sockopt::RcvBuf, &ROOM)?;
    }
    if setsockopt(&udp, sockopt::SndBufForce, &ROOM).is_err() {
        setsockopt(&udp, sockopt::SndBuf, &ROOM)?;
    }
    nix::sys::socket::listen(&tcp, Backlog::new(BACKLOG)?)?;
    let v4 = udp.local_addr()?.is_ipv4();
    Ok(Arc::new(Ends { v4, udp, tcp }))
}

/// Where askers at each of these addresses are: what was said, or else the subnets of the host that the addresses of
/// their network are in; empty if an address is in none.
pub(super) fn surroundings(wanted: &[Listen]) -> Vec<Arc<[IpNet]>> {
    let subnets = if wanted.iter().all(|listen| !listen.within.is_empty()) { Vec::new() } else { subnets() };
    let near = |listen: &Listen| subnets.iter().find(|net| net.addr() == listen.address.ip());
    let around = |listen: &Listen| -> Option<Arc<[IpNet]>> {
        wanted
            .iter()
            .filter(|other| other.network == listen.network)
            .map(|other| near(other).copied())
            .collect()
    };
    let all = wanted.iter().map(|listen| match &listen.within[..] {
        [] => around(listen).unwrap_or_default(),
        within => within.into(),
    });
    all.collect()
}

/// The addresses of the host with their prefixes.
fn subnets() -> Vec<IpNet> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let nets = all.filter_map(|one| IpNet::with_netmask(plain(one.address?)?, plain(one.netmask?)?).ok());
    nets.collect()
}

fn plain(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    use super::{Listen, surroundings};

    fn listen(network: &str, address: &str) -> Listen {
        Listen { network: network.into(), address: address.parse().unwrap(), within: Vec::new() }
    }

    #[test]
    fn askers_are_around_the_addresses_of_their_network() {
        let mut wanted =
            [listen("a", "127.0.0.1:53"), listen("b", "127.0.0.1:54"), listen("b", "203.0.113.1:53")];
        let nets = |wanted: &[Listen]| surroundings(wanted).iter().map(|nets| nets.len()).collect::<Vec<_>>();
        assert_eq!(surroundings(&wanted)[0].to_vec(), ["127.0.0.1/8".parse().unwrap()]);
        assert_eq!(nets(&wanted), [1, 0, 0], "where an address is in no subnet, nobody is kept out");
        wanted[2].network = "a".into();
        wanted[2].within = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
        assert_eq!(nets(&wanted), [0, 1, 2]);
    }
}
