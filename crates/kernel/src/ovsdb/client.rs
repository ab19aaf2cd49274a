//! A connection to an OVSDB server: one transaction at a time (RFC 7047).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};
use thiserror::Error;

use super::frame::Frames;

/// How long the server may take for an answer that does not wait for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a transaction was not made, or it is not known whether it was.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// No server listens there.
    #[error("{0}")]
    Absent(io::Error),
    /// The connection.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// No answer in time.
    #[error("it gives no answer")]
    Silent,
    /// What is said is no OVSDB.
    #[error("{0}")]
    Nonsense(String),
    /// The server's own words.
    #[error("{}", if .details.is_empty() { .error.clone() } else { format!("{error}: {details}") })]
    Refused {
        /// RFC 7047's name for it, as `constraint violation`.
        error: String,
        /// The reason.
        details: String,
    },
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    frames: Frames,
    /// How many requests were sent: each has its number as id.
    sent: u64,
}

impl Client {
    /// Connects to the server at a socket.
    ///
    /// # Errors
    /// [`Fault::Absent`] if there is none.
    pub(super) fn connect(path: &Path) -> Result<Self, Fault> {
        let address = UnixAddr::new(path).map_err(io::Error::from)?;
        let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .map_err(io::Error::from)?;
        // It bounds the wait for a server whose queue is full.
        let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
        setsockopt(&stream, sockopt::SendTimeout, &patience).map_err(io::Error::from)?;
        match connect(std::os::fd::AsRawFd::as_raw_fd(&stream), &address).map_err(io::Error::from) {
            Ok(()) => Ok(Self::new(stream.into())),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Fault::Absent(error),
                io::ErrorKind::WouldBlock => Fault::Silent,
                _ => Fault::Broken(error),
            }),
        }
    }

    /// Speaks over a connected stream.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, frames: Frames::default(), sent: 0 }
    }

    /// Makes a transaction of `operations` in `database`; the result of each. The server may let it wait for `wait`.
    ///
    /// # Errors
    /// [`Fault::Refused`] if the server refused it, with nothing done.
    pub(super) fn transact(
        &mut self,
        database: &str,
        operations: Vec<Value>,
        wait: Duration,
    ) -> Result<Vec<Value>, Fault> {
        let deadline = Instant::now() + PATIENCE + wait;
        self.sent += 1;
        let count = operations.len();
        let params: Vec<Value> = std::iter::once(json!(database)).chain(operations).collect();
        self.send(&json!({ "method": "transact", "params": params, "id": self.sent }))?;
        let reply = loop {
            let message = self.receive(deadline)?;
            if message["method"] == "echo" && !message["id"].is_null() {
                let answer = json!({ "id": message["id"], "result": message["params"], "error": null });
                self.send(&answer)?;
            } else if message["method"].is_null() && message["id"] == self.sent {
                break message;
            }
        };
        results(&reply, count)
    }

    fn send(&mut self, message: &Value) -> Result<(), Fault> {
        self.stream.write_all(message.to_string().as_bytes()).map_err(timed)
    }

    fn receive(&mut self, deadline: Instant) -> Result<Value, Fault> {
        let mut buffer = [0; 8192];
        loop {
            if let Some(message) = self.frames.next().map_err(Fault::Nonsense)? {
                return Ok(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::Silent);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Fault::Broken(io::ErrorKind::ConnectionReset.into())),
                Ok(length) => self.frames.push(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed(error)),
            }
        }
    }
}

fn timed(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Fault::Silent,
        _ => Fault::Broken(error),
    }
}

/// What a reply gives for each of `count` operations. One that fails has an error in its place, the whole an error
/// behind them (RFC 7047, section 4.1.3).
fn results(reply: &Value, count: usize) -> Result<Vec<Value>, Fault> {
    let failed = |value: &Value| {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Fault::Refused { error: text("error"), details: text("details") }
    };
    if !reply["error"].is_null() {
        return Err(match &reply["error"] {
            Value::String(error) => Fault::Refused { error: error.clone(), details: String::new() },
            error => failed(error),
        });
    }
    let Value::Array(results) = &reply["result"] else {
        return Err(Fault::Nonsense("it answers without a result".to_owned()));
    };
    if let Some(error) = results.iter().find(|result| result["error"].is_string()) {
        return Err(failed(error));
    }
    if results.len() != count || results.iter().any(Value::is_null) {
        return Err(Fault::Nonsense(format!("it gives {} results for {count} operations", results.len())));
    }
    Ok(results.clone())
}
