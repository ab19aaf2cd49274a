//! A host with three networks and a neighbour outside, and traffic between them.
//!
//! | namespace | is | addresses |
//! |---|---|---|
//! | (the test's) | the host | 192.0.2.1, 192.0.2.9, 2001:db8::1, and the first of every network |
//! | out | a neighbour on the wire, with routes to the networks | 192.0.2.2, 2001:db8::2 |
//! | far | the same on another wire | 198.51.100.2 |
//! | a1, a2 | sandboxes of br-a, which masquerades | 172.18.0.2, .3, fd0a::2, ::3 |
//! | b1 | a sandbox of br-b | 172.19.0.2, fd0b::2 |
//! | c1 | a sandbox of br-c, which is internal | 172.20.0.2, fd0c::2 |
//! | d1 | a sandbox of br-d without a route to anywhere | 172.21.0.2, fd0d::2 |

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use linkspan_kernel::firewall::Firewall;
use linkspan_model::{PortRange, Protocol};
use linkspan_plan::{Element, Step};
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Longer than any answer takes, also on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing must come from where nothing may: each packet that is dropped takes it all.
const SILENCE: Duration = Duration::from_millis(250);

pub const HOST: &str = "";

/// Makes addresses usable at once.
pub const NO_DAD: &str = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";

/// Runs a script; gives what it prints.
#[allow(clippy::disallowed_methods)]
pub fn sh(script: &str) -> String {
    let output = Command::new("/bin/sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn bridge(name: &str) -> Element {
    Element::Bridge(name.parse().unwrap())
}

pub fn guest(name: &str) -> Element {
    Element::Guest(name.parse().unwrap())
}

pub fn home(subnet: &str) -> Element {
    Element::Home(subnet.parse().unwrap())
}

pub fn spoof(port: &str, mac: &str) -> Element {
    Element::Spoof { port: port.parse().unwrap(), mac: mac.parse().unwrap() }
}

pub fn publish_to(host: &str, port: u16, to: &str) -> Element {
    publish(Protocol::Tcp, host, port, to)
}

pub fn publish(protocol: Protocol, host: &str, port: u16, to: &str) -> Element {
    Element::Publish { protocol, host: host.parse().unwrap(), port, to: to.parse().unwrap() }
}

pub fn range(protocol: Protocol, first: u16, last: u16, to: &str) -> Element {
    Element::PublishRange { protocol, ports: PortRange { first, last }, to: to.parse().unwrap() }
}

/// The firewall with `elements`, made new.
pub fn created(elements: &[Element]) -> Firewall {
    let mut firewall = Firewall::open().unwrap();
    let mut steps = vec![Step::CreateFirewall];
    steps.extend(elements.iter().cloned().map(Step::AddElement));
    firewall.apply(&steps).unwrap();
    firewall
}

/// The elements that make the networks of [`lay_out`] what they are.
pub fn networks() -> Vec<Element> {
    let mut elements: Vec<Element> = ["br-a", "br-b", "br-c", "br-d"].map(bridge).into();
    elements.push(Element::Masquerade("br-a".parse().unwrap()));
    elements.push(Element::Internal("br-c".parse().unwrap()));
    elements
}

/// Builds all of it, without a firewall.
pub fn lay_out() {
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    sh(NO_DAD);
    sh(
        "for tables in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $tables ] || echo 0 > $tables; done",
    );
    neighbour("out", "192.0.2", "2001:db8:");
    neighbour("far", "198.51.100", "2001:db8:1:");
    sh("ip addr add 192.0.2.9/24 dev ext-out");
    for (network, third, sandboxes) in [("a", 18, 2), ("b", 19, 1), ("c", 20, 1), ("d", 21, 1)] {
        sh(&format!(
            "ip link add br-{network} up type bridge
             echo 1 > /proc/sys/net/ipv4/conf/br-{network}/route_localnet
             ip addr add 172.{third}.0.1/24 dev br-{network}
             ip addr add fd0{network}::1/64 dev br-{network} nodad
             ip -n out route add 172.{third}.0.0/24 via 192.0.2.1
             ip -n out route add fd0{network}::/64 via 2001:db8::1"
        ));
        for number in 1..=sandboxes {
            let address = number + 1;
            sh(&format!(
                "ip netns add {network}{number}; ip netns exec {network}{number} sh -c '{NO_DAD}'
                 ip -n {network}{number} link set lo up
                 ip link add v-{network}{number} up master br-{network} type veth peer eth0 netns {network}{number}
                 ip -n {network}{number} link set eth0 up
                 ip -n {network}{number} addr add 172.{third}.0.{address}/24 dev eth0
                 ip -n {network}{number} addr add fd0{network}::{address}/64 dev eth0 nodad"
            ));
            if network != "d" {
                sh(&format!(
                    "ip -n {network}{number} route add default via 172.{third}.0.1
                     ip -n {network}{number} route add default via fd0{network}::1"
                ));
            }
        }
    }
    wired();
}

/// Waits until packets pass through every wire and bridge: on a busy machine the kernel may take a second to act upon a carrier.
pub fn wired() {
    while sh("ip -o link show up").contains("DOWN") {
        thread::sleep(Duration::from_millis(10));
    }
}

fn neighbour(name: &str, net4: &str, net6: &str) {
    sh(&format!(
        "ip netns add {name}; ip netns exec {name} sh -c '{NO_DAD}'
         ip -n {name} link set lo up
         ip link add ext-{name} up type veth peer eth0 netns {name}
         ip addr add {net4}.1/24 dev ext-{name}
         ip addr add {net6}:1/64 dev ext-{name} nodad
         ip -n {name} link set eth0 up
         ip -n {name} addr add {net4}.2/24 dev eth0
         ip -n {name} addr add {net6}:2/64 dev eth0 nodad"
    ));
}

/// Does `work` in a namespace.
pub fn inside<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = (namespace != HOST).then(|| File::open(format!("/run/netns/{namespace}")).unwrap());
    let there = move || {
        if let Some(file) = file {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        }
        work()
    };
    thread::spawn(there).join().unwrap()
}

/// Answers on `address` in `namespace` with the namespace's name and the client's address, as it is seen there.
pub fn serve(protocol: Protocol, namespace: &'static str, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let says = move |peer: SocketAddr| format!("{namespace} {}", peer.ip().to_canonical());
    if protocol == Protocol::Udp {
        let socket = inside(namespace, move || UdpSocket::bind(address).unwrap());
        thread::spawn(move || {
            while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
                _ = socket.send_to(says(peer).as_bytes(), peer);
            }
        });
    } else {
        let listener = inside(namespace, move || listen_on(protocol, address));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let peer = stream.peer_addr().unwrap();
                _ = stream.write_all(says(peer).as_bytes());
            }
        });
    }
}

/// What a client in `namespace` is told at `address`: who answers, and as whom it is seen.
pub fn ask(protocol: Protocol, namespace: &str, address: &str) -> io::Result<String> {
    ask_for(PATIENCE, protocol, namespace, address)
}

fn ask_for(time: Duration, protocol: Protocol, namespace: &str, address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    inside(namespace, move || match protocol {
        Protocol::Udp => ask_udp_for(time, &client(address), address),
        _ => {
            let mut stream = connect_to(protocol, address, time)?;
            stream.set_read_timeout(Some(time))?;
            // Not to the end, which SCTP delays by a fifth of a second.
            let mut answer = [0; 64];
            let length = stream.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        }
    })
}

fn listen_on(protocol: Protocol, address: SocketAddr) -> TcpListener {
    if protocol == Protocol::Tcp {
        return TcpListener::bind(address).unwrap();
    }
    let socket = sctp(address).unwrap();
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    nix::sys::socket::listen(&socket, Backlog::new(8).unwrap()).unwrap();
    TcpListener::from(socket)
}

fn connect_to(protocol: Protocol, address: SocketAddr, time: Duration) -> io::Result<TcpStream> {
    if protocol == Protocol::Tcp {
        return TcpStream::connect_timeout(&address, time);
    }
    let socket = sctp(address)?;
    let time = TimeVal::milliseconds(time.as_millis().try_into().unwrap());
    setsockopt(&socket, sockopt::SendTimeout, &time)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(TcpStream::from(socket))
}

fn sctp(address: SocketAddr) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp)
}

/// Whether the kernel has SCTP.
pub fn has_sctp() -> bool {
    sctp("0.0.0.0:0".parse().unwrap()).is_ok()
}

/// A UDP socket that can reach `address`.
pub fn client(address: SocketAddr) -> UdpSocket {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).unwrap()
}

/// As [`ask`], from a socket that goes on to live.
pub fn ask_udp(socket: &UdpSocket, address: SocketAddr) -> io::Result<String> {
    ask_udp_for(PATIENCE, socket, address)
}

fn ask_udp_for(time: Duration, socket: &UdpSocket, address: SocketAddr) -> io::Result<String> {
    socket.set_read_timeout(Some(time))?;
    socket.connect(address)?;
    socket.send(b"who?")?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// That a client in `namespace` reaches `answer` at `address`.
pub fn reaches(protocol: Protocol, namespace: &str, address: &str, answer: &str) {
    let told = ask(protocol, namespace, address);
    assert_eq!(told.as_deref().ok(), Some(answer), "{protocol} {namespace:?} -> {address}: {told:?}");
}

/// That a client in `namespace` gets no answer at `address`.
pub fn gets_nowhere(protocol: Protocol, namespace: &str, address: &str) {
    let error = ask_for(SILENCE, protocol, namespace, address).expect_err("an answer");
    let silent = [ErrorKind::TimedOut, ErrorKind::WouldBlock, ErrorKind::ConnectionRefused];
    let unreachable = [ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable];
    // What a connect() says that was given a time limit as a socket option.
    let limit = error.raw_os_error() == Some(libc::EINPROGRESS);
    let expected = limit || silent.contains(&error.kind()) || unreachable.contains(&error.kind());
    assert!(expected, "{protocol} {namespace:?} -> {address}: {error}");
}

/// `address` and `port` as they are written together.
pub fn at(address: &str, port: u16) -> String {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port).to_string()
}
