//! Other servers asked over loopback: those that answer, those that do not, those that lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod fake;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use fake::{Fake, Ours, nobody, query};
use linkspan_dns::{Forward as _, Manner, Upstream};

const ONE: [u8; 4] = [192, 0, 2, 1];
const TWO: [u8; 4] = [192, 0, 2, 2];
/// What a dead server may cost.
const FAILOVER: Duration = Duration::from_millis(1700);
const AT_ONCE: Duration = Duration::from_millis(300);

const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

#[test]
fn questions_go_out_and_answers_come_back() {
    let (fake, mut ours) = (Fake::steady(0, ONE), Ours::start(Manner::Podman));
    let asker = ours.container("c", &[fake.address]);
    let told = asker.ask("Some.Name.example").unwrap();
    assert_eq!((told.rcode(), told.answers(), told.first()), (0, 1, (0, ONE)));
    assert!(!fake.last().over_tcp);
    assert_eq!(fake.last().bytes[11], 0, "no OPT record that the asker has not");
    let told = asker.send(&query("some.name.example", Some(1232))).unwrap();
    assert_eq!((told.bytes[11], fake.last().bytes[11]), (1, 1));
    let told = asker.ask_over_tcp("some.name.example").unwrap();
    assert_eq!(told.first(), (0, ONE));
    assert!(fake.last().over_tcp, "TCP follows TCP");
    assert_eq!(fake.count(), 3, "nothing with a time to live of 0 is kept");
}

#[test]
fn answers_are_kept_as_long_as_they_may_and_for_whom_they_may() {
    let (fake, other, mut ours) = (Fake::steady(2, ONE), Fake::steady(60, TWO), Ours::start(Manner::Podman));
    let (asker, stranger) = (ours.container("c", &[fake.address]), ours.container("d", &[other.address]));
    assert_eq!(asker.ask("kept.example").unwrap().first(), (2, ONE));
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(asker.ask("KEPT.example").unwrap().first(), (1, ONE));
    assert_eq!(stranger.ask("kept.example").unwrap().first(), (60, TWO), "whose servers are others");
    assert_eq!(fake.count(), 1);
    thread::sleep(Duration::from_millis(1000));
    assert_eq!(asker.ask("kept.example").unwrap().first(), (2, ONE));
    assert_eq!(fake.count(), 2);
}

#[test]
fn a_silent_server_costs_little_and_only_once() {
    let (dead, alive, mut ours) = (Fake::silent(), Fake::steady(0, ONE), Ours::start(Manner::Podman));
    let asker = ours.container("c", &[dead.address, alive.address]);
    let told = asker.ask("a.example").unwrap();
    assert!(told.after < FAILOVER, "{:?}", told.after);
    for name in ["b.example", "c.example"] {
        let told = asker.ask(name).unwrap();
        assert!(told.after < AT_ONCE, "it is remembered: {:?}", told.after);
    }
    assert_eq!(dead.count(), 1);
    let told =
        ours.container("two-dead", &[Fake::silent().address, dead.address, alive.address]).ask("d.example");
    assert!(told.as_ref().is_some_and(|told| told.after < FAILOVER), "{told:?}");
}

#[test]
fn a_server_that_is_back_is_used_again() {
    let (started, mut ours) = (Instant::now(), Ours::start(Manner::Podman));
    let first = Fake::new(move |incoming| {
        (started.elapsed() > Duration::from_secs(2)).then(|| incoming.answer([1, 0x80], 0, [ONE]))
    });
    let second = Fake::steady(0, TWO);
    let asker = ours.container("c", &[first.address, second.address]);
    assert_eq!(asker.ask("a.example").unwrap().first().1, TWO);
    let back = || asker.ask("b.example").unwrap().first().1 == ONE;
    while !back() {
        assert!(started.elapsed() < Duration::from_secs(12), "it is never asked again");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(back(), "and then first");
}

#[test]
fn where_nobody_listens_the_next_is_asked_at_once() {
    let (alive, mut ours) = (Fake::steady(0, ONE), Ours::start(Manner::Podman));
    let asker = ours.container("c", &[nobody(), alive.address]);
    for told in [asker.ask("a.example"), asker.ask_over_tcp("b.example")] {
        assert!(told.as_ref().is_some_and(|told| told.after < AT_ONCE), "{told:?}");
    }
}

#[test]
fn a_slow_server_is_still_believed() {
    let slow = Fake::new(|incoming| {
        thread::sleep(Duration::from_millis(1500));
        Some(incoming.answer([1, 0x80], 0, [ONE]))
    });
    let mut ours = Ours::start(Manner::Podman);
    let told = ours.container("c", &[slow.address]).ask("a.example").unwrap();
    assert_eq!(told.first().1, ONE);
    let told = ours.container("d", &[slow.address, Fake::silent().address]).ask("b.example").unwrap();
    assert!(told.after < Duration::from_secs(2), "{:?}", told.after);
}

#[test]
fn a_lost_datagram_is_sent_again() {
    let lossy = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::new(move |incoming| {
        let first = lossy.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        (!first).then(|| incoming.answer([1, 0x80], 0, [ONE]))
    });
    let told = Ours::start(Manner::Podman).container("c", &[fake.address]).ask("a.example").unwrap();
    assert!(told.after < FAILOVER, "{:?}", told.after);
}

#[test]
fn podman_believes_the_first_answer_and_docker_the_first_good_one() {
    let refusing = Fake::new(|incoming| Some(incoming.answer([1, 0x80 | REFUSED], 0, [])));
    let alive = Fake::steady(0, ONE);
    let servers = [refusing.address, alive.address];
    let told = Ours::start(Manner::Podman).container("c", &servers).ask("a.example").unwrap();
    assert_eq!(told.rcode(), REFUSED);
    let told = Ours::start(Manner::Docker).container("c", &servers).ask("a.example").unwrap();
    assert_eq!((told.rcode(), told.first().1), (0, ONE));
    let told = Ours::start(Manner::Docker).container("c", &servers[..1]).ask("a.example").unwrap();
    assert_eq!(told.rcode(), REFUSED, "what was said, if nobody says better");
}

#[test]
fn who_is_told_nothing_and_who_of_a_failure() {
    let told = Ours::start(Manner::Docker).container("c", &[nobody(), nobody()]).ask("a.example").unwrap();
    assert_eq!(told.rcode(), SERVFAIL);
    assert!(told.after < AT_ONCE, "{:?}", told.after);
    let told = Ours::start(Manner::Docker).container("c", &[]).ask("a.example").unwrap();
    assert_eq!(told.rcode(), SERVFAIL, "there are no servers");
    let silent = Fake::silent();
    thread::scope(|scope| {
        scope.spawn(|| {
            let told =
                Ours::start(Manner::Docker).container("c", &[silent.address]).ask("a.example").unwrap();
            assert_eq!(told.rcode(), SERVFAIL);
            assert!(told.after > Duration::from_millis(4900) && told.after < Duration::from_millis(5500));
        });
        for servers in [&[silent.address][..], &[nobody()]] {
            let mut ours = Ours::start(Manner::Podman);
            let asker = ours.container("c", servers);
            scope.spawn(move || {
                assert!(asker.ask("a.example").is_none());
                drop(ours);
            });
        }
    });
}

#[test]
fn what_is_too_long_for_a_datagram_is_fetched_over_tcp() {
    let fake = Fake::new(|incoming| {
        let addresses = (0..60).map(|number| [192, 0, 2, number]);
        let flags = if incoming.over_tcp { [1, 0x80] } else { [3, 0x80] };
        Some(incoming.answer(flags, 60, addresses.take(if incoming.over_tcp { 60 } else { 5 })))
    });
    let mut ours = Ours::start(Manner::Podman);
    let asker = ours.container("c", &[fake.address]);
    let told = asker.send(&query("long.example", Some(1232))).unwrap();
    assert_eq!((told.is_truncated(), told.answers()), (false, 60));
    let told = asker.ask("long.example").unwrap();
    assert!(told.is_truncated() && told.answers() > 20 && told.bytes.len() <= 512);
    let told = asker.ask_over_tcp("long.example").unwrap();
    assert_eq!((told.is_truncated(), told.answers()), (false, 60));
    assert_eq!(fake.count(), 2, "the rest was known");
}

#[test]
fn a_server_that_cuts_and_has_no_tcp_is_believed_as_far_as_it_goes() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            buffer[2] = 0x83;
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    let told = Ours::start(Manner::Podman).container("c", &[address]).ask("a.example").unwrap();
    assert!(told.is_truncated() && told.after < AT_ONCE);
}

#[test]
fn a_server_whose_tcp_is_silent_costs_little_and_is_no_dead_one() {
    let cuts = Fake::new(|incoming| {
        let is_long = incoming.bytes[13..].starts_with(b"long");
        let flags = if is_long { [3, 0x80] } else { [1, 0x80] };
        (!incoming.over_tcp).then(|| incoming.answer(flags, 0, [ONE]))
    });
    let (second, mut ours) = (Fake::steady(0, TWO), Ours::start(Manner::Podman));
    let alone = ours.container("c", &[cuts.address]).ask("long.example").unwrap();
    assert!(alone.is_truncated() && alone.after < FAILOVER, "{:?}", alone.after);
    let asker = ours.container("d", &[cuts.address, second.address]);
    let told = asker.ask_over_tcp("a.example").unwrap();
    assert_eq!(told.first().1, TWO);
    assert_eq!(asker.ask("a.example").unwrap().first().1, ONE, "over UDP it answers");
    let told = asker.ask_over_tcp("b.example").unwrap();
    assert!(told.after < AT_ONCE, "over TCP it does not, which is remembered: {:?}", told.after);
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let old = Fake::new(|incoming| {
        let understood = incoming.bytes[11] == 0;
        let flags = if understood { [1, 0x80] } else { [1, 0x81] };
        Some(incoming.answer(flags, 0, understood.then_some(ONE)))
    });
    let mut ours = Ours::start(Manner::Podman);
    let told = ours.container("c", &[old.address]).send(&query("a.example", Some(1232))).unwrap();
    assert_eq!((told.rcode(), told.first().1), (0, ONE));
}

#[test]
fn lies_are_not_believed() {
    let fake = Fake::new(|incoming| {
        let mut lie = incoming.answer([1, 0x80], 60, [TWO]);
        lie[0] ^= 1;
        Some(lie)
    });
    let other = Fake::new(|incoming| {
        let mut lie = incoming.answer([1, 0x80], 60, [TWO]);
        lie[13] ^= 1;
        Some(lie)
    });
    let good = Fake::steady(0, ONE);
    let mut ours = Ours::start(Manner::Podman);
    let told = ours.container("c", &[fake.address, other.address, good.address]).ask("a.example").unwrap();
    assert_eq!(told.first().1, ONE);
}

#[test]
fn a_server_that_never_stops_talking_keeps_nobody_waiting() {
    let talker = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = talker.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in talker.incoming().flatten() {
            thread::spawn(move || while stream.write_all(&[0; 65_536]).is_ok() {});
        }
    });
    let (good, mut ours) = (Fake::steady(0, ONE), Ours::start(Manner::Podman));
    let (asker, other) = (ours.container("c", &[address]), ours.container("d", &[good.address]));
    let asks = thread::spawn(move || asker.ask_over_tcp("a.example"));
    thread::sleep(Duration::from_millis(100));
    for name in ["b.example", "c.example", "d.example"] {
        let told = other.ask_for(name, AT_ONCE);
        assert!(told.is_some_and(|told| told.first().1 == ONE), "{name}");
    }
    drop(asks);
}

#[test]
fn the_same_question_is_asked_once_at_a_time() {
    let slow = Fake::new(|incoming| {
        thread::sleep(Duration::from_millis(300));
        Some(incoming.answer([1, 0x80], 0, [ONE]))
    });
    let mut ours = Ours::start(Manner::Podman);
    let asker = ours.container("c", &[slow.address]);
    thread::scope(|scope| {
        let all: Vec<_> = (0..30).map(|_| scope.spawn(move || asker.ask("same.example"))).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap().is_some_and(|told| told.first().1 == ONE)));
    });
    assert_eq!(slow.count(), 1);
}

#[test]
fn the_hosts_servers_are_followed() {
    let (first, second) = (Fake::steady(60, ONE), Fake::steady(60, TWO));
    let file: PathBuf = std::env::temp_dir().join(format!("followed-{}", std::process::id()));
    std::fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
    let upstream = |fake: &Fake| Upstream {
        resolv_conf: file.clone(),
        port: fake.address.port(),
        ..Upstream::default()
    };
    let mut ours = Ours::with(upstream(&first));
    let asker = ours.container("c", &[]);
    assert_eq!(asker.ask("a.example").unwrap().first().1, ONE);
    std::fs::write(&file, "# none at the moment\n").unwrap();
    thread::sleep(Duration::from_millis(150));
    assert_eq!(asker.ask_for("a.example", AT_ONCE).map(drop), None);
    let mut ours = Ours::with(upstream(&second));
    std::fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
    assert_eq!(ours.container("c", &[]).ask("a.example").unwrap().first().1, TWO);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn we_never_ask_ourselves() {
    let mut ours = Ours::start(Manner::Docker);
    let own: SocketAddr = ours.container("one", &[]).server;
    ours.forwarder.listening(&[own]);
    let told = ours.container("two", &[own]).ask("a.example").unwrap();
    assert_eq!(told.rcode(), SERVFAIL);
    let alive = Fake::steady(0, ONE);
    assert_eq!(ours.container("three", &[own, alive.address]).ask("a.example").unwrap().first().1, ONE);
}

#[test]
fn one_asker_cannot_keep_others_waiting() {
    let (dead, alive, mut ours) = (Fake::silent(), Fake::steady(0, ONE), Ours::start(Manner::Podman));
    let (greedy, modest) =
        (ours.container("greedy", &[dead.address]), ours.container("modest", &[alive.address]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..6000 {
        socket.send_to(&query(&format!("{number}.example"), None), greedy.server).unwrap();
        if number % 50 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    for number in 0..50 {
        let told = modest.ask(&format!("{number}.example"));
        assert!(told.as_ref().is_some_and(|told| told.after < AT_ONCE), "{told:?}");
    }
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 512];
    socket.recv(&mut buffer).expect("who asks too much is told so");
    assert_eq!(buffer[3] & 0x0f, REFUSED);
}
