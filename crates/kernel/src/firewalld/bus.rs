//! The system bus, as far as a firewall daemon's clients need it (the D-Bus specification 0.43: authentication).

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use super::wire::{Method, Received, Reply, message};

/// Where the bus is, unless the environment says otherwise.
const ADDRESS: (&str, &str) = ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/var/run/dbus/system_bus_socket");
/// How long an answer may take: what other clients wait by default.
const PATIENCE: Duration = Duration::from_secs(25);
/// The number of the first call.
const FIRST: u32 = 1;

/// A connection to the bus.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    /// Connects to the system bus.
    ///
    /// # Errors
    /// If there is none, or it does not take this process.
    pub(super) fn system() -> io::Result<Self> {
        let address = std::env::var(ADDRESS.0).unwrap_or_default();
        Self::at(if address.is_empty() { ADDRESS.1 } else { &address })
    }

    /// Connects to the first bus of those in `addresses` that is there.
    ///
    /// # Errors
    /// As [`Self::system`].
    pub(super) fn at(addresses: &str) -> io::Result<Self> {
        let mut failure = io::Error::new(io::ErrorKind::InvalidInput, format!("no bus at {addresses:?}"));
        for address in addresses.split(';').filter_map(socket) {
            match address.and_then(|address| UnixStream::connect_addr(&address)) {
                Ok(stream) => return Self::greet(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Who this is the bus reads off the socket, so that nothing of what it answers need be waited for.
    fn greet(mut stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let hello = message(daemon("Hello"), &[], FIRST);
        stream.write_all(&[b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", hello.as_slice()].concat())?;
        let mut answer = line(&mut stream)?;
        if answer.starts_with("DATA") {
            answer = line(&mut stream)?;
        }
        if !answer.starts_with("OK ") {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("the bus says {answer:?}")));
        }
        let mut bus = Self { stream, serial: FIRST };
        match bus.answer()? {
            Reply::Done(_) => Ok(bus),
            Reply::Failed(what) => Err(io::Error::new(io::ErrorKind::PermissionDenied, what)),
        }
    }

    /// Whether anybody has `name`.
    ///
    /// # Errors
    /// If the bus is gone.
    pub(super) fn is_owned(&mut self, name: &str) -> io::Result<bool> {
        Ok(matches!(self.daemon("GetNameOwner", &[name])?, Reply::Done(_)))
    }

    /// Waits for the next signal `member` of `interface`, however long that takes.
    ///
    /// # Errors
    /// If the bus is gone, or does not let this process listen.
    pub(super) fn wait_for(&mut self, interface: &str, member: &str) -> io::Result<()> {
        self.stream.set_read_timeout(None)?;
        loop {
            if self.receive()?.is_signal(interface, member) {
                return Ok(());
            }
        }
    }

    /// Has the signals `member` of `interface` sent to this connection.
    ///
    /// # Errors
    /// As [`Self::wait_for`].
    pub(super) fn subscribe(&mut self, interface: &str, member: &str) -> io::Result<()> {
        let rule = format!("type='signal',interface='{interface}',member='{member}'");
        match self.daemon("AddMatch", &[&rule])? {
            Reply::Done(_) => Ok(()),
            Reply::Failed(what) => Err(io::Error::new(io::ErrorKind::PermissionDenied, what)),
        }
    }

    fn daemon(&mut self, member: &str, arguments: &[&str]) -> io::Result<Reply> {
        self.call(daemon(member), arguments)
    }

    /// Calls a method that takes strings.
    ///
    /// # Errors
    /// If the bus is gone or does not answer in time.
    pub(super) fn call(&mut self, method: Method<'_>, arguments: &[&str]) -> io::Result<Reply> {
        self.serial += 1;
        self.stream.write_all(&message(method, arguments, self.serial))?;
        self.answer()
    }

    /// Waits for the answer to the last call.
    fn answer(&mut self) -> io::Result<Reply> {
        loop {
            // Signals and the like may come between.
            if let Some(reply) = self.receive()?.reply_to(self.serial) {
                return Ok(reply);
            }
        }
    }

    fn receive(&mut self) -> io::Result<Received> {
        Received::read(&mut self.stream)
    }
}

/// A method of the bus itself.
const fn daemon(member: &str) -> Method<'_> {
    Method {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member,
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

#[cfg(test)]
mod tests {
    use super::*;

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
