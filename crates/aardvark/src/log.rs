//! Messages of a server that has nobody's terminal: they go to the system's log.

use std::env;
use std::fmt::Display;
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/dev/log";
/// Facility "user" (RFC 5424 6.2.1).
const USER: u8 = 1 << 3;

/// How bad a message is, by its number in RFC 5424 6.2.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Something does not work.
    Error = 3,
    /// Something was left out.
    Warning = 4,
}

/// Writes a message, if `RUST_LOG` lets it. A system without a log is none the worse for it.
pub fn log(severity: Severity, message: impl Display) {
    if Some(severity) > admitted(env::var("RUST_LOG").ok().as_deref()) {
        return;
    }
    let line = format!("<{}>aardvark-dns[{}]: {message}", USER | severity as u8, std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        // A log that is full must not stop a server.
        _ = socket.set_nonblocking(true).and_then(|()| socket.send_to(line.as_bytes(), SOCKET));
    }
}

fn admitted(wanted: Option<&str>) -> Option<Severity> {
    match wanted.unwrap_or_default().to_ascii_lowercase().as_str() {
        "off" => None,
        "error" => Some(Severity::Error),
        _ => Some(Severity::Warning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_keeps_what_is_less_bad_away() {
        assert!(Some(Severity::Error) <= admitted(Some("ERROR")));
        assert!(Some(Severity::Warning) > admitted(Some("error")));
        assert!(Some(Severity::Warning) <= admitted(None));
        assert!(Some(Severity::Error) > admitted(Some("off")));
    }
}
