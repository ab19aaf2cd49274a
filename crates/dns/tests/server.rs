//! The server over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};
use linkspan_dns::{Client, Config, Forward, Listen, Member, Network, Server, Socket, Style, Zones};

/// Keeps what it gets.
#[derive(Default)]
struct Kept(Mutex<Vec<linkspan_dns::Query>>);

impl Forward for Kept {
    fn forward(&self, query: linkspan_dns::Query) {
        self.0.lock().unwrap().push(query);
    }
}

impl Kept {
    fn wait(&self) -> linkspan_dns::Query {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            if let Some(query) = self.0.lock().unwrap().pop() {
                return query;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("nothing was forwarded");
    }
}

struct Up {
    server: Server,
    kept: Arc<Kept>,
    at: SocketAddr,
}

fn free_port() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.local_addr().unwrap()
}

fn zones(containers: u8) -> Zones {
    let mut zones = Zones::new(Style::Podman { suffixes: vec!["dns.podman".into()], forward: true });
    zones.set_network("net", Network::default());
    for n in 1..=containers {
        zones.set_member(
            "net",
            Member {
                container: format!("c{n}"),
                addresses: vec![[10, 0, 0, n].into()],
                names: vec![format!("web{n}"), "all".into()],
                ..Member::default()
            },
        );
    }
    zones
}

fn listen(at: SocketAddr) -> Listen {
    Listen { network: "net".into(), address: at, within: Vec::new() }
}

fn up(containers: u8) -> Up {
    let kept = Arc::new(Kept::default());
    let server =
        Server::start(Config { threads: 2, udp_limit: 1232, forward: Arc::clone(&kept) as _ }).unwrap();
    server.publish(zones(containers));
    let at = free_port();
    server.listen(&[listen(at)]).unwrap();
    Up { server, kept, at }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

fn exchange(to: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let socket = client(to);
    socket.send(bytes).unwrap();
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}

fn ask(to: SocketAddr, message: &Message) -> Message {
    Message::from_vec(&exchange(to, &message.to_vec().unwrap()).expect("an answer")).unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    let texts = message.answers.iter().map(|record| match &record.data {
        RData::A(a) => a.to_string(),
        other => format!("{other:?}"),
    });
    texts.collect()
}

#[test]
fn it_answers_over_udp_with_the_questions_id_case_and_wishes() {
    let up = up(2);
    let mut asked = question("WEB1.dns.Podman.", RecordType::A);
    for id in [4711, 4712] {
        asked.metadata.id = id;
        let answer = ask(up.at, &asked);
        assert_eq!(answer.metadata.id, id);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
        assert_eq!(answer.queries[0].name.to_ascii(), "WEB1.dns.Podman.");
        assert_eq!(addresses(&answer), ["10.0.0.1"]);
        assert_eq!(answer.answers[0].ttl, 0);
        assert!(answer.edns.is_none());
    }
    asked.metadata.recursion_desired = false;
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    asked.set_edns(edns);
    let answer = ask(up.at, &asked);
    assert!(!answer.metadata.recursion_available);
    let edns = answer.edns.expect("EDNS is answered with EDNS");
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok, edns.options().as_ref().len()), (1232, true, 0));
}

#[test]
fn an_answer_is_cut_to_what_the_asker_takes() {
    let up = up(200);
    let mut asked = question("all.", RecordType::A);
    let mut counts = Vec::new();
    for offered in [None, Some(100), Some(1000), Some(4096)] {
        if let Some(offered) = offered {
            let mut edns = Edns::new();
            edns.set_max_payload(offered);
            asked.set_edns(edns);
        }
        let bytes = exchange(up.at, &asked.to_vec().unwrap()).unwrap();
        let limit = usize::from(offered.unwrap_or(512)).clamp(512, 1232);
        assert!(bytes.len() <= limit && bytes.len() > limit - 16, "{} of {limit}", bytes.len());
        let answer = Message::from_vec(&bytes).unwrap();
        assert!(answer.metadata.truncation);
        counts.push(answer.answers.len());
    }
    assert_eq!(counts, [30, 30, 60, 75]);
    let mut stream = TcpStream::connect(up.at).unwrap();
    let answer = over(&mut stream, &asked);
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (200, false));
}

fn send(stream: &mut TcpStream, message: &Message) {
    let bytes = message.to_vec().unwrap();
    let mut framed = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(bytes);
    stream.write_all(&framed).unwrap();
}

fn receive(stream: &mut TcpStream) -> Message {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    Message::from_vec(&bytes).unwrap()
}

fn over(stream: &mut TcpStream, message: &Message) -> Message {
    send(stream, message);
    receive(stream)
}

#[test]
fn what_is_no_question_gets_what_the_standard_says() {
    let up = up(1);
    let good = question("web1.", RecordType::A).to_vec().unwrap();
    let code =
        |bytes: &[u8]| exchange(up.at, bytes).map(|answer| (answer[0], answer[1], answer[2], answer[3]));
    let (id0, id1) = (good[0], good[1]);
    assert_eq!(code(&good[..11]), None, "no header");
    let mut response = good.clone();
    response[2] |= 0x80;
    assert_eq!(code(&response), None, "an answer");
    assert_eq!(code(&good[..good.len() - 1]), Some((id0, id1, 0x81, 0x81)), "cut off");
    assert_eq!(code(&good[..12]), Some((id0, id1, 0x81, 0x81)), "no question");
    let mut update = good.clone();
    update[2] = 5 << 3;
    assert_eq!(code(&update), Some((id0, id1, 0x80 | 5 << 3, 4)), "another operation");
    let mut two = question("web1.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("web2.").unwrap(), RecordType::A));
    assert_eq!(code(&two.to_vec().unwrap()), Some((id0, id1, 0x81, 0x81)), "two questions");
    let mut asked = question("web1.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    asked.set_edns(edns);
    assert_eq!(u16::from(ask(up.at, &asked).metadata.response_code), u16::from(ResponseCode::BADVERS));
    let mut long = good.clone();
    long.resize(3000, 0);
    assert_eq!(code(&long), Some((id0, id1, 0x81, 0x81)), "more than a question");
}

#[test]
fn others_are_asked_for_what_is_unknown_and_answer_later() {
    let up = up(1);
    let socket = client(up.at);
    let mut asked = question("example.org.", RecordType::A);
    socket.send(&asked.to_vec().unwrap()).unwrap();
    let query = up.kept.wait();
    assert_eq!(
        (query.client, query.reply.limit, query.reply.tcp),
        (Client::Address([127, 0, 0, 1].into()), 512, false)
    );
    assert_eq!(query.message, asked.to_vec().unwrap());
    query.reply.send(b"anything");
    let mut answer = [0; 100];
    assert_eq!(socket.recv(&mut answer).unwrap(), 8);

    asked.queries[0].query_class = DNSClass::CH;
    asked.queries[0].name = Name::from_ascii("web1.").unwrap();
    socket.send(&asked.to_vec().unwrap()).unwrap();
    drop(up.kept.wait());

    let mut stream = TcpStream::connect(up.at).unwrap();
    asked.queries[0].query_class = DNSClass::IN;
    asked.queries[0].name = Name::from_ascii("example.org.").unwrap();
    send(&mut stream, &asked);
    let query = up.kept.wait();
    assert_eq!((query.reply.limit, query.reply.tcp), (65_535, true));
    // What is known is answered meanwhile, on the same connection.
    let local = over(&mut stream, &question("web1.", RecordType::A));
    assert_eq!(addresses(&local), ["10.0.0.1"]);
    query.reply.send(&asked.to_vec().unwrap());
    assert_eq!(receive(&mut stream).queries, asked.queries);
}

#[test]
fn a_connection_takes_many_questions_at_once_in_any_pieces() {
    let up = up(9);
    let mut stream = TcpStream::connect(up.at).unwrap();
    let mut bytes = Vec::new();
    for n in 1..=9 {
        let message = question(&format!("web{n}."), RecordType::A).to_vec().unwrap();
        bytes.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
    }
    for piece in bytes.chunks(7) {
        stream.write_all(piece).unwrap();
    }
    for n in 1..=9 {
        assert_eq!(addresses(&receive(&mut stream)), [format!("10.0.0.{n}")]);
    }
}

#[test]
fn who_has_said_everything_is_answered_to_the_end() {
    const QUESTIONS: usize = 3000;
    let up = up(250);
    let message = question("all.", RecordType::A).to_vec().unwrap();
    let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(message);
    let mut stream = TcpStream::connect(up.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let mut asker = stream.try_clone().unwrap();
    let asks = std::thread::spawn(move || {
        asker.write_all(&bytes.repeat(QUESTIONS)).unwrap();
        asker.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut answers = 0;
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(length))]).unwrap();
        answers += 1;
    }
    asks.join().unwrap();
    assert_eq!(answers, QUESTIONS);
}

/// How long it takes until a connection is closed.
fn closed(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    begun.elapsed()
}

#[test]
fn idle_connections_are_closed_and_lies_about_lengths_at_once() {
    let up = up(1);
    let mut idle = TcpStream::connect(up.at).unwrap();
    let mut slow = TcpStream::connect(up.at).unwrap();
    slow.write_all(&[0, 40, 1, 2, 3]).unwrap();
    let mut liar = TcpStream::connect(up.at).unwrap();
    liar.write_all(&[0xff, 0xff]).unwrap();
    assert!(closed(&mut liar) < Duration::from_secs(1));
    let waited = closed(&mut idle);
    assert!(waited > Duration::from_secs(2) && waited < Duration::from_secs(5), "{waited:?}");
    assert!(closed(&mut slow) < Duration::from_secs(2));
}

#[test]
fn who_opens_many_connections_loses_the_oldest() {
    let up = up(1);
    let mut all: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(up.at).unwrap()).collect();
    let last = all.last_mut().unwrap();
    assert_eq!(addresses(&over(last, &question("web1.", RecordType::A))), ["10.0.0.1"]);
    assert!(closed(&mut all[0]) < Duration::from_secs(1));
}

#[test]
fn addresses_come_and_go_while_it_runs() {
    let up = up(1);
    let other = free_port();
    let asked = question("web1.", RecordType::A);
    up.server.listen(&[listen(up.at), listen(other)]).unwrap();
    assert_eq!(addresses(&ask(up.at, &asked)), ["10.0.0.1"]);
    assert_eq!(addresses(&ask(other, &asked)), ["10.0.0.1"]);
    up.server.listen(&[listen(other)]).unwrap();
    drop((UdpSocket::bind(up.at).unwrap(), TcpListener::bind(up.at).unwrap()));
    assert_eq!(addresses(&ask(other, &asked)), ["10.0.0.1"]);

    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let refused = up.server.listen(&[listen(taken.local_addr().unwrap())]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("failed to bind udp listener on {}", taken.local_addr().unwrap())
    );
    assert_eq!(addresses(&ask(other, &asked)), ["10.0.0.1"], "nothing has changed");
}

#[test]
fn who_is_not_on_the_network_gets_no_answer() {
    let up = up(1);
    let asked = question("web1.", RecordType::A).to_vec().unwrap();
    let within = |net: &str| [Listen { within: vec![net.parse().unwrap()], ..listen(up.at) }];
    up.server.listen(&within("10.0.0.0/24")).unwrap();
    assert_eq!(exchange(up.at, &asked), None);
    assert_eq!(closed(&mut TcpStream::connect(up.at).unwrap()).as_secs(), 0);
    up.server.listen(&within("127.0.0.0/8")).unwrap();
    assert!(exchange(up.at, &asked).is_some());
}

#[test]
fn sockets_that_are_handed_in_are_one_sandboxes() {
    let up = up(0);
    let mut zones = Zones::new(Style::Sandboxes);
    for n in [1, 2] {
        let member = Member {
            container: format!("s{n}"),
            addresses: vec![[10, 0, n, 2].into()],
            names: vec!["me".into()],
            ..Member::default()
        };
        zones.set_member(&format!("net{n}"), member);
    }
    up.server.publish(zones);
    let mut at = Vec::new();
    for n in [1, 2] {
        let address = free_port();
        let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
        up.server.open(Socket::Container(format!("s{n}").into()), udp, tcp).unwrap();
        at.push(address);
    }
    let asked = question("me.", RecordType::A);
    assert_eq!(addresses(&ask(at[0], &asked)), ["10.0.1.2"]);
    assert_eq!(addresses(&ask(at[1], &asked)), ["10.0.2.2"]);
    up.server.close(&Socket::Container("s1".into()));
    drop(UdpSocket::bind(at[0]).unwrap());
    assert_eq!(addresses(&ask(at[1], &asked)), ["10.0.2.2"]);
}

#[test]
fn a_change_is_in_the_answer_to_what_is_asked_after_it() {
    let up = up(1);
    let asked = question("web1.", RecordType::A);
    for n in 0..200u8 {
        let mut zones = zones(0);
        zones.set_member(
            "net",
            Member {
                container: "c".into(),
                addresses: vec![[10, 1, 0, n].into()],
                names: vec!["web1".into()],
                ..Member::default()
            },
        );
        up.server.publish(zones);
        assert_eq!(addresses(&ask(up.at, &asked)), [format!("10.1.0.{n}")]);
    }
}

/// What comes back of many questions that are sent without waiting: ids and addresses, in order of ids.
fn burst(to: SocketAddr, from: &str, names: &[String]) -> Vec<(u16, Vec<String>)> {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    for (id, name) in (0..).zip(names) {
        let mut asked = question(name, RecordType::A);
        asked.metadata.id = id;
        socket.send_to(&asked.to_vec().unwrap(), to).unwrap();
    }
    let mut all = Vec::new();
    let mut bytes = [0; 2000];
    for _ in names {
        let (length, sender) = socket.recv_from(&mut bytes).expect("each is answered");
        assert_eq!(sender, to);
        let answer = Message::from_vec(&bytes[..length]).unwrap();
        all.push((answer.metadata.id, addresses(&answer)));
    }
    all.sort();
    all
}

#[test]
fn answers_that_leave_together_arrive_apart() {
    let up = up(120);
    let v6: SocketAddr = format!("[::1]:{}", up.at.port()).parse().unwrap();
    up.server.listen(&[listen(up.at), listen(v6)]).unwrap();
    // Of three lengths, one of them long.
    let names: Vec<String> =
        (0..200).map(|n| if n % 7 == 0 { "all.".into() } else { format!("web{}.", n % 120 + 1) }).collect();
    for (to, from) in [(up.at, "127.0.0.1:0"), (v6, "[::1]:0")] {
        let all = burst(to, from, &names);
        assert_eq!(all.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
        for (id, addresses) in all {
            let expected = if id % 7 == 0 { 30 } else { 1 };
            assert_eq!(addresses.len(), expected, "{id}");
            if expected == 1 {
                assert_eq!(addresses, [format!("10.0.0.{}", id % 120 + 1)]);
            }
        }
    }
}
