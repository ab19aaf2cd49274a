//! Servers that answer with the address that they see, and clients that ask them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::Net;

/// How long an answer may take. Nothing here takes a millisecond, but the machine may be busy.
pub const PATIENCE: Duration = Duration::from_millis(900);

/// What arrived over a connection, and from the first byte to the last.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The bytes.
    pub bytes: u64,
    /// The time that they took.
    pub time: Duration,
}

impl Flow {
    /// Millions of bits a second.
    pub fn megabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e6 / self.time.as_secs_f64()
    }
}

impl Net {
    /// Sends over TCP to `address` inside `to`, as fast as it goes, as long as there is `more` to send: it is given the
    /// bytes sent and the time since the start. Gives what arrives.
    pub fn send(&self, to: &Self, address: &str, more: impl Fn(u64, Duration) -> bool + Sync) -> Flow {
        let listener = to.enter(|| TcpListener::bind(address)).expect("listen");
        let receiver = thread::spawn(move || receive(&listener));
        self.enter(|| {
            let server = parse(address).expect("an address");
            let mut stream = TcpStream::connect_timeout(&server, PATIENCE).expect("connect");
            let (start, mut sent, block) = (Instant::now(), 0, [0; 16 << 10]);
            while more(sent, start.elapsed()) {
                stream.write_all(&block).expect("send");
                sent += block.len() as u64;
            }
        });
        receiver.join().expect("receive")
    }

    /// Serves TCP at `address`: every client is told the address that it is seen under.
    pub fn serve_tcp(&self, address: &str) -> SocketAddr {
        let listener = self.enter(|| TcpListener::bind(address)).expect("listen");
        let bound = listener.local_addr().expect("its address");
        self.detach(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    let seen = client.peer_addr()?;
                    client.write_all(format!("{seen}\n").as_bytes())
                });
            }
        });
        bound
    }

    /// Serves a page over HTTP at `address`, whatever is asked for: `text` and the address that the client is seen under.
    pub fn serve_page(&self, address: &str, text: &'static str) {
        let listener = self.enter(|| TcpListener::bind(address)).expect("listen");
        self.detach(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    let seen = client.peer_addr()?.ip();
                    _ = client.read(&mut [0; 4096])?;
                    write!(client, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{text} to {seen}\n")
                });
            }
        });
    }

    /// Serves UDP at `address`: every datagram is answered with the address that it is seen from.
    pub fn serve_udp(&self, address: &str) -> SocketAddr {
        let socket = self.enter(|| UdpSocket::bind(address)).expect("bind");
        let bound = socket.local_addr().expect("its address");
        self.detach(move || {
            let mut buffer = [0; 64];
            while let Ok((_, seen)) = socket.recv_from(&mut buffer) {
                _ = socket.send_to(seen.to_string().as_bytes(), seen);
            }
        });
        bound
    }

    /// Asks a TCP server; gives the address that it sees.
    ///
    /// # Errors
    /// If it cannot be reached in time.
    pub fn ask_tcp(&self, server: &str) -> io::Result<SocketAddr> {
        self.enter(|| {
            let mut stream = TcpStream::connect_timeout(&parse(server)?, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            parse(text.trim())
        })
    }

    /// Asks a UDP server with one datagram; gives the address that it sees.
    ///
    /// # Errors
    /// If no answer comes in time.
    pub fn ask_udp(&self, server: &str) -> io::Result<SocketAddr> {
        self.enter(|| {
            let server = parse(server)?;
            let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(server)?;
            socket.send(b"?")?;
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer)?;
            parse(&String::from_utf8_lossy(&buffer[..length]))
        })
    }
}

fn parse(text: &str) -> io::Result<SocketAddr> {
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("'{text}' is no address")))
}

fn receive(listener: &TcpListener) -> Flow {
    let (mut stream, _) = listener.accept().expect("accept");
    let (mut block, mut bytes, start) = (vec![0; 64 << 10], 0, Instant::now());
    loop {
        match stream.read(&mut block).expect("read") {
            0 => return Flow { bytes, time: start.elapsed() },
            length => bytes += length as u64,
        }
    }
}
