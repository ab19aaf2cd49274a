//! Who holds a port of the host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use linkspan_kernel::firewall::port_holder;
use linkspan_lab as lab;
use linkspan_model::{PortRange, Protocol};
use linkspan_plan::Failure;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt,
};
use std::os::fd::AsRawFd;

use crate::net::sh;

/// The held port of `first` to `last` that is found first.
fn held_among(protocol: Protocol, address: &str, first: u16, last: u16) -> Option<u16> {
    let ports = PortRange { first, last };
    let holder = port_holder(protocol, address.parse().unwrap(), ports).unwrap()?;
    let own = format!(
        "{} (pid {})",
        std::fs::read_to_string("/proc/self/comm").unwrap().trim(),
        std::process::id()
    );
    assert_eq!(holder.process, Some(own));
    Some(holder.port)
}

/// Whether `port` is held, asked for alone and within a range.
fn held(protocol: Protocol, address: &str, port: u16) -> bool {
    let alone = held_among(protocol, address, port, port);
    assert_eq!(alone, held_among(protocol, address, port - 500, port + 500));
    alone.is_some()
}

#[test]
fn listeners_are_found_on_the_addresses_they_hear() {
    lab::run(lab::here!(), || {
        sh("ip addr add 192.0.2.1/24 dev lo; ip addr add 2001:db8::1/64 dev lo nodad");
        let _one = TcpListener::bind("192.0.2.1:1000").unwrap();
        let _every = TcpListener::bind("0.0.0.0:3000").unwrap();
        let _dual = TcpListener::bind("[::]:5000").unwrap();
        let _one6 = TcpListener::bind("[2001:db8::1]:7000").unwrap();
        let _mapped = TcpListener::bind("[::ffff:192.0.2.1]:9000").unwrap();
        let expected = [
            (1000, "192.0.2.1", true),
            (1000, "0.0.0.0", true),
            (1000, "127.0.0.1", false),
            (1000, "::", false),
            (3000, "192.0.2.1", true),
            (3000, "0.0.0.0", true),
            (3000, "::", false),
            (5000, "192.0.2.1", true),
            (5000, "0.0.0.0", true),
            (5000, "::", true),
            (5000, "2001:db8::1", true),
            (7000, "0.0.0.0", false),
            (7000, "2001:db8::1", true),
            (7000, "::", true),
            (7000, "::1", false),
            (9000, "192.0.2.1", true),
            (9000, "0.0.0.0", true),
            (9000, "127.0.0.1", false),
            (9000, "::", false),
        ];
        for (port, address, is_held) in expected {
            assert_eq!(held(Protocol::Tcp, address, port), is_held, "{address} {port}");
            assert!(!held(Protocol::Udp, address, port), "{address} {port}");
        }
        assert_eq!(held_among(Protocol::Tcp, "0.0.0.0", 1001, 2999), None);
        assert_eq!(held_among(Protocol::Tcp, "0.0.0.0", 1000, 1003), Some(1000));
        assert_eq!(held_among(Protocol::Tcp, "0.0.0.0", 2997, 3000), Some(3000));
        assert_eq!(held_among(Protocol::Tcp, "0.0.0.0", 1001, 3000), Some(3000));
        assert_eq!(held_among(Protocol::Tcp, "0.0.0.0", 3000, 65535), Some(3000));
    });
}

#[test]
fn an_ipv6_listener_leaves_ipv4_alone_if_it_says_so() {
    lab::run(lab::here!(), || {
        let listener =
            socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), SockProtocol::Tcp).unwrap();
        setsockopt(&listener, sockopt::Ipv6V6Only, &true).unwrap();
        let any = nix::sys::socket::SockaddrIn6::from(std::net::SocketAddrV6::new(
            Ipv6Addr::UNSPECIFIED,
            5000,
            0,
            0,
        ));
        bind(listener.as_raw_fd(), &any).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        assert!(!held(Protocol::Tcp, "0.0.0.0", 5000));
        assert!(held(Protocol::Tcp, "::", 5000));
    });
}

#[test]
fn udp_sockets_hold_their_port_until_they_are_connected() {
    lab::run(lab::here!(), || {
        let udp = UdpSocket::bind("[::]:5000").unwrap();
        assert!(held(Protocol::Udp, "0.0.0.0", 5000));
        assert!(held(Protocol::Udp, "::1", 5000));
        assert!(!held(Protocol::Tcp, "0.0.0.0", 5000));
        drop(udp);
        let udp = UdpSocket::bind("127.0.0.1:5000").unwrap();
        assert!(held(Protocol::Udp, "0.0.0.0", 5000));
        udp.connect("127.0.0.1:9").unwrap();
        assert!(!held(Protocol::Udp, "0.0.0.0", 5000));
    });
}

#[test]
fn a_connection_to_elsewhere_holds_no_port() {
    lab::run(lab::here!(), || {
        let server = TcpListener::bind("127.0.0.1:700").unwrap();
        let client = TcpStream::connect("127.0.0.1:700").unwrap();
        assert!(!held(Protocol::Tcp, "0.0.0.0", client.local_addr().unwrap().port()));
        drop((client, server));
        assert!(!held(Protocol::Tcp, "0.0.0.0", 700), "what is in TIME_WAIT holds nothing");
    });
}

#[test]
fn an_address_that_the_host_lacks_is_named() {
    lab::run(lab::here!(), || {
        for (address, last) in [("192.0.2.7", 80), ("192.0.2.7", 800), ("2001:db8::7", 80)] {
            let ports = PortRange { first: 80, last };
            let error = port_holder(Protocol::Tcp, address.parse().unwrap(), ports).unwrap_err();
            assert_eq!(error.failure, Failure::NotFound);
            assert_eq!(error.cause, format!("this host has no address {address}"));
        }
    });
}

#[test]
fn sctp_listeners_are_found_where_the_kernel_has_them() {
    lab::run(lab::here!(), || {
        let listener =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp);
        let Ok(listener) = listener else {
            lab::skip("kernel has no sctp");
            assert!(!held(Protocol::Sctp, "0.0.0.0", 5000));
            return;
        };
        let any = SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 5000));
        bind(listener.as_raw_fd(), &any).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        let ports = PortRange::single(5000);
        assert!(port_holder(Protocol::Sctp, Ipv4Addr::UNSPECIFIED.into(), ports).unwrap().is_some());
    });
}

#[test]
fn a_free_port_stays_free() {
    lab::run(lab::here!(), || {
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        for _ in 0..100 {
            assert!(!held(Protocol::Tcp, "0.0.0.0", 5000));
        }
        assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), before);
        TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5000))).unwrap();
    });
}
