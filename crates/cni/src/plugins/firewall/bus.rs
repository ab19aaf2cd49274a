//! The system bus, as far as three questions to a firewall daemon need it (the D-Bus specification 0.43: authentication,
//! type system, message protocol).

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// Where the bus is, unless the environment says otherwise.
const ADDRESS: (&str, &str) = ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/var/run/dbus/system_bus_socket");
/// How long an answer may take: what other clients wait by default.
const PATIENCE: Duration = Duration::from_secs(25);
/// The largest message (128 MiB by the specification) that an answer of ours may be.
const LARGEST: usize = 1 << 20;

const LITTLE_ENDIAN: u8 = b'l';
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const FLAGS: u8 = 0;
const PROTOCOL: u8 = 1;
/// What stands before the header's fields: the fixed part and the length of the fields.
const FIXED: usize = 16;

// Header fields
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A connection to the bus.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
}

/// Whom a call is for, and what it calls.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    /// The name on the bus.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
}

/// What a method answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A success, and the first value if it is a boolean.
    Done(Option<bool>),
    /// A failure: the error's name and text.
    Failed(String),
}

impl Bus {
    /// Connects to the system bus.
    ///
    /// # Errors
    /// If there is none, or it does not take this process.
    pub fn system() -> io::Result<Self> {
        let address = std::env::var(ADDRESS.0).unwrap_or_default();
        Self::at(if address.is_empty() { ADDRESS.1 } else { &address })
    }

    /// Connects to the first bus of those in `addresses` that is there.
    ///
    /// # Errors
    /// As [`Self::system`].
    pub fn at(addresses: &str) -> io::Result<Self> {
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, format!("no bus at {addresses:?}"));
        for address in addresses.split(';').filter_map(socket) {
            match address.and_then(|address| UnixStream::connect_addr(&address)) {
                Ok(stream) => return Self::greet(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Who this is the bus reads off the socket.
    fn greet(mut stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(b"\0AUTH EXTERNAL\r\n")?;
        if line(&mut stream)?.starts_with("DATA") {
            stream.write_all(b"DATA\r\n")?;
        }
        let answer = line(&mut stream)?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("the bus says {answer:?}")));
        }
        stream.write_all(b"BEGIN\r\n")?;
        let mut bus = Self { stream, serial: 0 };
        match bus.daemon("Hello", &[])? {
            Reply::Done(_) => Ok(bus),
            Reply::Failed(what) => Err(io::Error::new(io::ErrorKind::PermissionDenied, what)),
        }
    }

    /// Whether anybody has `name`.
    ///
    /// # Errors
    /// If the bus is gone.
    pub fn is_owned(&mut self, name: &str) -> io::Result<bool> {
        Ok(matches!(self.daemon("GetNameOwner", &[name])?, Reply::Done(_)))
    }

    fn daemon(&mut self, member: &str, arguments: &[&str]) -> io::Result<Reply> {
        let method = Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
        };
        self.call(method, arguments)
    }

    /// Calls a method that takes strings.
    ///
    /// # Errors
    /// If the bus is gone or does not answer in time.
    pub fn call(&mut self, method: Method<'_>, arguments: &[&str]) -> io::Result<Reply> {
        self.serial += 1;
        self.stream.write_all(&message(method, arguments, self.serial))?;
        loop {
            // Signals and the like may come between.
            if let Some(reply) = self.receive()?.reply_to(self.serial) {
                return Ok(reply);
            }
        }
    }

    fn receive(&mut self) -> io::Result<Received> {
        let mut fixed = [0; FIXED];
        self.stream.read_exact(&mut fixed)?;
        let number = |at: usize| fixed.get(at..).and_then(|rest| Reading(rest).number()).unwrap_or_default();
        let (body, fields) = (number(4) as usize, number(12) as usize);
        if fixed.first() != Some(&LITTLE_ENDIAN) || body.max(fields) > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the bus sent what is no message"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        rest.truncate(fields);
        Ok(Received { kind: fixed[1], fields: rest, body })
    }
}

/// A line of the authentication.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && line.len() < 1024 {
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// The socket that an address is about; none if it is of another kind.
fn socket(address: &str) -> Option<io::Result<SocketAddr>> {
    let mut pairs = address.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| match key {
        "path" => Some(SocketAddr::from_pathname(unescape(value)?)),
        "abstract" => Some(SocketAddr::from_abstract_name(unescape(value)?)),
        _ => None,
    })
}

/// `%2f` is a slash.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn message(method: Method<'_>, arguments: &[&str], serial: u32) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|argument| string(&mut body, argument));
    let mut fields = Vec::new();
    let named = [
        (PATH, "o", method.path),
        (INTERFACE, "s", method.interface),
        (MEMBER, "s", method.member),
        (DESTINATION, "s", method.destination),
    ];
    for (field, kind, value) in named {
        start(&mut fields, field, kind);
        string(&mut fields, value);
    }
    if !arguments.is_empty() {
        start(&mut fields, SIGNATURE, "g");
        signature(&mut fields, &"s".repeat(arguments.len()));
    }
    let mut message = vec![LITTLE_ENDIAN, METHOD_CALL, FLAGS, PROTOCOL];
    for number in [body.len() as u32, serial, fields.len() as u32] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

/// A header field up to its value. The fields begin at a multiple of 8, as each does.
fn start(fields: &mut Vec<u8>, field: u8, kind: &str) {
    pad(fields, 8);
    fields.push(field);
    signature(fields, kind);
}

fn string(to: &mut Vec<u8>, text: &str) {
    pad(to, 4);
    to.extend((text.len() as u32).to_le_bytes());
    to.extend(text.as_bytes());
    to.push(0);
}

fn signature(to: &mut Vec<u8>, text: &str) {
    to.push(text.len() as u8);
    to.extend(text.as_bytes());
    to.push(0);
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

struct Received {
    kind: u8,
    fields: Vec<u8>,
    body: Vec<u8>,
}

impl Received {
    /// It as the answer to the call `serial`, if it is that.
    fn reply_to(&self, serial: u32) -> Option<Reply> {
        let (mut answers, mut name, mut kind) = (None, String::new(), String::new());
        let mut rest = self.fields.as_slice();
        while !rest.is_empty() {
            let mut field = Reading(rest);
            let number = field.byte()?;
            match (number, field.signature()?.as_str()) {
                (REPLY_SERIAL, "u") => answers = Some(field.number()?),
                (ERROR_NAME, "s") => name = field.string()?,
                (SIGNATURE, "g") => kind = field.signature()?,
                (_, "s" | "o") => _ = field.string()?,
                (_, "u") => _ = field.number()?,
                _ => return None,
            }
            let read = rest.len() - field.0.len();
            rest = rest.get(read.next_multiple_of(8)..).unwrap_or_default();
        }
        if answers != Some(serial) {
            return None;
        }
        let mut body = Reading(&self.body);
        match self.kind {
            METHOD_RETURN if kind.starts_with('b') => {
                Some(Reply::Done(body.number().map(|value| value != 0)))
            }
            METHOD_RETURN => Some(Reply::Done(None)),
            ERROR if kind.starts_with('s') => {
                Some(Reply::Failed(format!("{name}: {}", body.string().unwrap_or_default())))
            }
            ERROR => Some(Reply::Failed(name)),
            _ => None,
        }
    }
}

/// Values one after the other. What a field holds is aligned already: after number and signature, four bytes are read.
struct Reading<'a>(&'a [u8]);

impl Reading<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = self.0.get(..length)?;
        self.0 = self.0.get(length + 1..)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn string(&mut self) -> Option<String> {
        let length = self.number()?;
        self.text(length as usize)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.text(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Method<'_> =
        Method { destination: "a.b", path: "/a", interface: "a.b.c", member: "addSource" };

    /// A message as it arrives, with its kind and fields.
    fn received(kind: u8, fields: &[(u8, &str, Vec<u8>)], body: Vec<u8>) -> Received {
        let mut bytes = Vec::new();
        for (field, signature, value) in fields {
            start(&mut bytes, *field, signature);
            bytes.extend(value);
        }
        Received { kind, fields: bytes, body }
    }

    fn text(value: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        string(&mut bytes, value);
        bytes
    }

    #[test]
    fn a_call_is_marshalled_as_specified() {
        let bytes = message(ASKED, &["trusted", "10.0.0.2/32"], 7);
        let header = [b'l', 1, 0, 1, 28, 0, 0, 0, 7, 0, 0, 0];
        assert_eq!(&bytes[..12], header);
        let fields = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let mut read = Reading(&bytes[16..]);
        assert_eq!((read.byte(), read.signature().as_deref()), (Some(PATH), Some("o")));
        assert_eq!(read.string().as_deref(), Some("/a"));
        let body = &bytes[(16 + fields).next_multiple_of(8)..];
        assert_eq!(body, b"\x07\0\0\0trusted\0\x0b\0\0\x0010.0.0.2/32\0".as_slice());
    }

    #[test]
    fn only_what_answers_a_call_is_its_answer() {
        let serial = (REPLY_SERIAL, "u", 7_u32.to_le_bytes().to_vec());
        let sender = (7, "s", text("org.freedesktop.DBus"));
        let yes = (SIGNATURE, "g", b"\x01b\0".to_vec());
        let fields = [serial.clone(), sender.clone(), yes];
        let done = received(METHOD_RETURN, &fields, 1_u32.to_le_bytes().to_vec());
        assert_eq!(done.reply_to(7), Some(Reply::Done(Some(true))));
        assert_eq!(done.reply_to(8), None);
        let name = (ERROR_NAME, "s", text("a.Error"));
        let signature = (SIGNATURE, "g", b"\x01s\0".to_vec());
        let failed = received(ERROR, &[name, serial, signature, sender], text("ZONE_ALREADY_SET"));
        assert_eq!(failed.reply_to(7), Some(Reply::Failed("a.Error: ZONE_ALREADY_SET".to_owned())));
        assert_eq!(received(4, &[], Vec::new()).reply_to(7), None);
    }

    #[test]
    fn what_is_no_message_is_no_answer() {
        for cut in 0..24 {
            let mut fields = Vec::new();
            start(&mut fields, ERROR_NAME, "s");
            string(&mut fields, "a.b.Error");
            fields.truncate(cut);
            assert_eq!(Received { kind: ERROR, fields, body: Vec::new() }.reply_to(1), None);
        }
    }

    #[test]
    fn addresses_are_of_sockets() {
        let path = |address| socket(address)?.ok()?.as_pathname().map(|path| path.display().to_string());
        assert_eq!(path("unix:guid=0,path=/run/a%20b").as_deref(), Some("/run/a b"));
        let hidden = socket("unix:abstract=/tmp/dbus-1,guid=00").unwrap().unwrap();
        assert_eq!(hidden.as_abstract_name(), Some(b"/tmp/dbus-1".as_slice()));
        for other in ["", "tcp:host=localhost", "unix:dir=/tmp", "unix:path=%2"] {
            assert!(socket(other).is_none(), "{other}");
        }
        assert!(Bus::at("unix:path=/nowhere/at/all").is_err());
    }
}
