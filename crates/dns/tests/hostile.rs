//! Askers that mean harm, and one that asks meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_dns::{Config, Forwarder, Listen, Member, Network, Server, Style, Upstream, Zones};

/// Of a hundred answers, 99 take no longer. The machine may have other work: what is looked for is a server that waits for
/// somebody, and that would be for seconds.
const SOON: Duration = Duration::from_millis(100);
const ATTEMPTS: usize = 3;
const QUESTIONS: usize = 400;

/// A server that everybody on loopback may ask, and one whose network is elsewhere.
struct Up {
    _server: Server,
    open: SocketAddr,
    elsewhere: SocketAddr,
}

fn free() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if UdpSocket::bind(tcp.local_addr().unwrap()).is_ok() {
            return tcp.local_addr().unwrap();
        }
    }
}

fn up() -> Up {
    // Where nobody answers: what is passed on waits as long as it may.
    let silent = free();
    let hole = UdpSocket::bind(silent).unwrap();
    let forward =
        Arc::new(Forwarder::start(Upstream { resolv_conf: "/none".into(), ..Upstream::default() }).unwrap());
    thread::spawn(move || while hole.recv(&mut [0; 512]).is_ok() {});
    let server = Server::start(Config { threads: 2, udp_limit: 1232, forward }).unwrap();
    let mut zones = Zones::new(Style::Podman { suffixes: vec!["dns.podman".to_owned()], forward: true });
    zones.set_network("net", Network { servers: vec![silent], ..Network::default() });
    for number in 1..=200 {
        let names = vec![format!("web{number}"), "all".to_owned()];
        let addresses = vec![IpAddr::from([10, 0, 0, number])];
        let member = Member { container: format!("c{number}"), addresses, names, ..Member::default() };
        zones.set_member("net", member);
    }
    server.publish(zones);
    let (open, elsewhere) = (free(), free());
    let listen = |address, within: &[&str]| Listen {
        network: "net".into(),
        address,
        within: within.iter().map(|net| net.parse().unwrap()).collect(),
    };
    server.listen(&[listen(open, &[]), listen(elsewhere, &["10.0.0.0/24"])]).unwrap();
    Up { _server: server, open, elsewhere }
}

fn query(name: &str, kind: u8) -> Vec<u8> {
    let mut out = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.extend([0, 0, kind, 0, 1]);
    out
}

fn asker(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket
}

/// Asks, over both protocols, while `harm` is done again and again. Whom it delays it delays every time, a busy machine does
/// not.
fn others_are_served_while(harm: impl Fn(&Up) + Sync) {
    let late: Vec<_> = (0..ATTEMPTS).map(|_| time_while(&harm)).take_while(|late| *late > SOON).collect();
    assert!(late.len() < ATTEMPTS, "{late:?}");
}

/// How long 99 of a hundred answers take at most.
fn time_while(harm: &(impl Fn(&Up) + Sync)) -> Duration {
    let (up, ended) = (up(), AtomicBool::new(false));
    let mut times = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                harm(&up);
            }
        });
        thread::sleep(Duration::from_millis(200));
        let socket = asker(up.open);
        let times: Vec<Duration> = (0..QUESTIONS)
            .map(|_| {
                let start = Instant::now();
                let mut buffer = [0; 512];
                socket.send(&query("web1", 1)).unwrap();
                let length = socket.recv(&mut buffer).unwrap_or(0);
                assert_eq!(buffer[3] & 0x0f, 0);
                assert!(buffer[..length].ends_with(&[10, 0, 0, 1]), "{:?}", &buffer[..length]);
                thread::sleep(Duration::from_millis(1));
                start.elapsed() - Duration::from_millis(1)
            })
            .collect();
        let mut stream = TcpStream::connect(up.open).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let question = query("web1", 1);
        stream.write_all(&[&[0, u8::try_from(question.len()).unwrap()], &question[..]].concat()).unwrap();
        let mut length = [0; 2];
        let answered = stream.read_exact(&mut length);
        ended.store(true, Ordering::Relaxed);
        answered.expect("an answer over TCP");
        times
    });
    times.sort();
    times[QUESTIONS * 99 / 100]
}

#[test]
fn connections_that_say_nothing() {
    others_are_served_while(|up| {
        let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(up.open)).collect();
        thread::sleep(Duration::from_millis(20));
        drop(idle);
    });
}

#[test]
fn lengths_without_bodies_and_bodies_byte_by_byte() {
    others_are_served_while(|up| {
        let connect = || TcpStream::connect(up.open).unwrap();
        let (mut long, mut slow) = (connect(), connect());
        let _ = long.write_all(&[0xff, 0xff]);
        for byte in [&[0, 22][..], &query("web1", 1)].concat() {
            let _ = slow.write_all(&[byte]);
            thread::sleep(Duration::from_micros(200));
        }
    });
}

#[test]
fn who_asks_over_tcp_and_reads_no_answer() {
    others_are_served_while(|up| {
        let mut stream = TcpStream::connect(up.open).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let one = [&[0, 21][..], &query("all", 1)].concat();
        let many = one.repeat(2000);
        let _ = stream.write_all(&many);
        thread::sleep(Duration::from_millis(20));
    });
}

#[test]
fn what_is_no_question() {
    let garbage: Vec<Vec<u8>> = (0_u8..64)
        .map(|seed| (0..u16::from(seed) * 16).map(|at| (at as u8).wrapping_mul(seed | 1)).collect())
        .chain([
            query("web1", 1)[..13].to_vec(),
            vec![0; 9000],
            [&query("web1", 1)[..12], &[0xc0, 12, 0, 1, 0, 1]].concat(),
        ])
        .collect();
    others_are_served_while(move |up| {
        let socket = asker(up.open);
        garbage.iter().for_each(|bytes| drop(socket.send(bytes)));
        thread::sleep(Duration::from_millis(1));
    });
}

#[test]
fn questions_that_nobody_answers() {
    let number = std::sync::atomic::AtomicUsize::new(0);
    others_are_served_while(move |up| {
        let socket = asker(up.open);
        for _ in 0..20 {
            let number = number.fetch_add(1, Ordering::Relaxed);
            drop(socket.send(&query(&format!("n{number}.example"), 1)));
        }
        thread::sleep(Duration::from_millis(2));
    });
}

#[test]
fn answers_over_udp_are_small_for_whom_has_not_proved_where_it_is() {
    let up = up();
    let socket = asker(up.open);
    for kind in [1, 255] {
        let question = query("all", kind);
        socket.send(&question).unwrap();
        let mut buffer = [0; 4096];
        // What is of no type that names have here is passed on, and nobody answers there.
        let length = if kind == 1 { socket.recv(&mut buffer).unwrap() } else { 0 };
        assert!(length <= 512, "{length} bytes for {}", question.len());
        assert!(kind != 1 || buffer[2] & 2 != 0, "200 addresses do not fit");
    }
}

#[test]
fn who_is_not_on_the_network_is_told_nothing() {
    let up = up();
    let socket = asker(up.elsewhere);
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    for name in ["web1", "web1.example"] {
        socket.send(&query(name, 1)).unwrap();
        assert!(socket.recv(&mut [0; 512]).is_err(), "{name}");
    }
    let mut stream = TcpStream::connect(up.elsewhere).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let _ = stream.write_all(&[&[0, 22][..], &query("web1", 1)].concat());
    assert_eq!(stream.read(&mut [0; 2]).unwrap_or(0), 0);
}
