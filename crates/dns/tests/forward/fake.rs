//! Servers that say what a test wants, and an asker.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_dns::{Config, Forwarder, Manner, Member, Network, Server, Socket, Style, Upstream, Zones};

const HEADER: usize = 12;

/// A query as it came to a fake server.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub bytes: Vec<u8>,
    pub over_tcp: bool,
}

impl Incoming {
    fn question(&self) -> &[u8] {
        let end = self.bytes[HEADER..].iter().position(|&byte| byte == 0).unwrap();
        &self.bytes[HEADER..HEADER + end + 5]
    }

    /// An answer with A records, flags besides QR in bytes 2 and 3.
    pub fn answer(&self, flags: [u8; 2], ttl: u32, addresses: impl IntoIterator<Item = [u8; 4]>) -> Vec<u8> {
        let mut out =
            [&self.bytes[..2], &[0x80 | flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0], self.question()]
                .concat();
        let mut count = 0_u16;
        for address in addresses {
            out.extend([0xc0, 12, 0, 1, 0, 1]);
            out.extend(ttl.to_be_bytes());
            out.extend([0, 4]);
            out.extend(address);
            count += 1;
        }
        out[6..8].copy_from_slice(&count.to_be_bytes());
        out
    }
}

/// A server on loopback, over UDP and TCP; it ends with the value.
pub struct Fake {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Incoming>>>,
    ended: Arc<AtomicBool>,
}

impl Fake {
    /// One that answers what `says` says, if anything; each answer is thought about in a thread of its own.
    pub fn new(says: impl Fn(&Incoming) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = pair();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let address = udp.local_addr().unwrap();
        let fake = Self { address, heard: Arc::default(), ended: Arc::default() };
        let says = Arc::new(says);
        let (heard, ended, also) = (Arc::clone(&fake.heard), Arc::clone(&fake.ended), Arc::clone(&says));
        thread::spawn(move || {
            let udp = Arc::new(udp);
            while !ended.load(Ordering::Relaxed) {
                let mut buffer = [0; 4096];
                let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
                let incoming = Incoming { bytes: buffer[..length].to_vec(), over_tcp: false };
                heard.lock().unwrap().push(incoming.clone());
                let (udp, says) = (Arc::clone(&udp), Arc::clone(&also));
                thread::spawn(move || says(&incoming).map(|answer| udp.send_to(&answer, from)));
            }
        });
        let (heard, ended) = (Arc::clone(&fake.heard), Arc::clone(&fake.ended));
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = tcp.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (heard, says) = (Arc::clone(&heard), Arc::clone(&says));
                thread::spawn(move || {
                    stream.set_nonblocking(false).unwrap();
                    while let Some(bytes) = receive(&mut stream) {
                        let incoming = Incoming { bytes, over_tcp: true };
                        heard.lock().unwrap().push(incoming.clone());
                        if let Some(answer) = says(&incoming) {
                            let _ = send(&mut stream, &answer);
                        }
                    }
                });
            }
        });
        fake
    }

    /// One that says the same address to everything, for so many seconds.
    pub fn steady(ttl: u32, address: [u8; 4]) -> Self {
        Self::new(move |incoming| Some(incoming.answer([1, 0x80], ttl, [address])))
    }

    /// One that hears and never says anything.
    pub fn silent() -> Self {
        Self::new(|_| None)
    }

    /// How many queries have come.
    pub fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// The query that came last.
    pub fn last(&self) -> Incoming {
        self.heard.lock().unwrap().last().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    pair().0.local_addr().unwrap()
}

/// Sockets on one port of loopback.
fn pair() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, message].concat())
}

/// Our server, with containers that have servers of their own.
pub struct Ours {
    pub forwarder: Arc<Forwarder>,
    server: Server,
    zones: Zones,
}

impl Ours {
    pub fn start(manner: Manner) -> Self {
        Self::with(Upstream { manner, resolv_conf: "/none".into(), ..Upstream::default() })
    }

    pub fn with(upstream: Upstream) -> Self {
        let forwarder = Arc::new(Forwarder::start(upstream).unwrap());
        let forward = Arc::<Forwarder>::clone(&forwarder);
        let server = Server::start(Config { threads: 1, udp_limit: 4096, forward }).unwrap();
        let mut zones = Zones::new(Style::Sandboxes);
        zones.set_network("net", Network::default());
        Self { forwarder, server, zones }
    }

    /// A container whose questions go to these servers.
    pub fn container(&mut self, name: &str, servers: &[SocketAddr]) -> Asker {
        let member = Member { container: name.to_owned(), servers: servers.to_vec(), ..Member::default() };
        self.zones.set_member("net", member);
        self.server.publish(self.zones.clone());
        let (udp, tcp) = pair();
        let server = udp.local_addr().unwrap();
        self.server.open(Socket::Container(name.into()), udp, tcp).unwrap();
        Asker { server }
    }
}

/// One who asks our server.
#[derive(Clone, Copy)]
pub struct Asker {
    pub server: SocketAddr,
}

/// What it was told.
#[derive(Debug, Clone)]
pub struct Told {
    pub bytes: Vec<u8>,
    pub after: Duration,
}

impl Told {
    pub fn rcode(&self) -> u8 {
        self.bytes[3] & 0x0f
    }

    pub fn is_truncated(&self) -> bool {
        self.bytes[2] & 2 != 0
    }

    pub fn answers(&self) -> u16 {
        u16::from_be_bytes([self.bytes[6], self.bytes[7]])
    }

    fn record(&self) -> &[u8] {
        &self.bytes[HEADER + question_length(&self.bytes)..]
    }

    /// The time to live and the address of the first record.
    pub fn first(&self) -> (u32, [u8; 4]) {
        let record = self.record();
        let bytes = |at: usize| *record[at..].first_chunk::<4>().unwrap();
        (u32::from_be_bytes(bytes(6)), bytes(12))
    }
}

fn question_length(message: &[u8]) -> usize {
    message[HEADER..].iter().position(|&byte| byte == 0).unwrap() + 5
}

static IDS: AtomicUsize = AtomicUsize::new(1);

/// A query of type A, with an OPT record if `size` is given.
pub fn query(name: &str, size: Option<u16>) -> Vec<u8> {
    let id = u16::try_from(IDS.fetch_add(1, Ordering::Relaxed) % 65_536).unwrap().to_be_bytes();
    let mut out = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.extend([0, 0, 1, 0, 1]);
    if let Some(size) = size {
        out.extend([0, 0, 41]);
        out.extend(size.to_be_bytes());
        out.extend([0; 6]);
    }
    out
}

impl Asker {
    /// What is answered within six seconds.
    pub fn ask(self, name: &str) -> Option<Told> {
        self.send(&query(name, None))
    }

    pub fn send(self, query: &[u8]) -> Option<Told> {
        self.wait(query, Duration::from_secs(6))
    }

    /// What is answered in time.
    pub fn ask_for(self, name: &str, time: Duration) -> Option<Told> {
        self.wait(&query(name, None), time)
    }

    fn wait(self, query: &[u8], time: Duration) -> Option<Told> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(self.server).unwrap();
        socket.set_read_timeout(Some(time)).unwrap();
        let start = Instant::now();
        socket.send(query).unwrap();
        let mut buffer = [0; 65_535];
        let length = socket.recv(&mut buffer).ok()?;
        assert_eq!(buffer[..2], query[..2], "the id is the asker's");
        let question = HEADER + question_length(query);
        assert_eq!(buffer[HEADER..question], query[HEADER..question], "so is the question");
        Some(Told { bytes: buffer[..length].to_vec(), after: start.elapsed() })
    }

    pub fn ask_over_tcp(self, name: &str) -> Option<Told> {
        let mut stream = TcpStream::connect(self.server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
        let start = Instant::now();
        send(&mut stream, &query(name, None)).unwrap();
        receive(&mut stream).map(|bytes| Told { bytes, after: start.elapsed() })
    }
}
