//! The host's resolv.conf, followed when it changes.

use std::fs::{self, Metadata};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::net::if_::if_nametoindex;

/// How many servers count, as in libc.
const SERVERS: usize = 3;
/// How often the file is looked at while names are asked for. Looking follows links, which a watch would not.
const GLANCE: Duration = Duration::from_millis(5);

/// Whoever writes the file in place has it empty for a moment, which is no longer than this.
const WRITING: Duration = Duration::from_millis(100);

/// The servers that the host's own programs ask.
#[derive(Debug)]
pub struct Resolv {
    path: PathBuf,
    port: u16,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked: Option<Instant>,
    /// Which file it is and when it was changed.
    stamp: Option<Stamp>,
    servers: Arc<[SocketAddr]>,
}

type Stamp = (u64, u64, u64, i64, i64, i64, i64);

impl Resolv {
    /// Follows the file at `path`; its servers listen on `port`.
    pub fn at(path: PathBuf, port: u16) -> Self {
        Self { path, port, state: Mutex::new(State { looked: None, stamp: None, servers: Arc::default() }) }
    }

    /// The servers of the file as it is now, or was a few milliseconds ago; at most three. What was last read if there is
    /// no file at the moment.
    pub fn servers(&self, now: Instant) -> Arc<[SocketAddr]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= GLANCE) {
            state.looked = Some(now);
            if let Ok(data) = fs::metadata(&self.path)
                && state.stamp != Some(stamp(&data))
                && let Ok(text) = fs::read(&self.path)
            {
                let servers = servers(&String::from_utf8_lossy(&text), self.port);
                if !servers.is_empty() || !is_written(&data) {
                    state.stamp = Some(stamp(&data));
                    state.servers = servers;
                }
            }
        }
        Arc::clone(&state.servers)
    }
}

fn stamp(data: &Metadata) -> Stamp {
    let changed = (data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec());
    (data.dev(), data.ino(), data.size(), changed.0, changed.1, changed.2, changed.3)
}

/// Whether somebody may be about to write the rest.
fn is_written(data: &Metadata) -> bool {
    let age = data.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age < WRITING)
}

/// The lines `nameserver ADDRESS`, as resolv.conf(5) has them; a scope may follow the address.
fn servers(text: &str, port: u16) -> Arc<[SocketAddr]> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())
    });
    lines.filter_map(|address| server(address, port)).take(SERVERS).collect()
}

/// A server by its address, which may be link-local with a device's name or number: `fe80::1%eth0`.
fn server(address: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = address.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, port));
    }
    let (address, scope) = address.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = scope.parse().ok().or_else(|| if_nametoindex(scope).ok())?;
    Some(SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        servers(text, 53).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_of_the_file() {
        let text = "# comment\nsearch lan\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\nnameserver bad\noptions \
                    ndots:5\nnameserver fe80::1%lo\nnameserver 192.0.2.4\n";
        assert_eq!(read(text), ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]);
        assert_eq!(read("nameserver\nnameservers 192.0.2.1\nnameserver fe80::1%none-such"), [""; 0]);
        assert_eq!(read("nameserver fe80::1%7"), ["[fe80::1%7]:53"]);
    }

    #[test]
    fn changes_are_followed() {
        let path = std::env::temp_dir().join(format!(
            "resolv-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let resolv = Resolv::at(path.clone(), 53);
        let start = Instant::now();
        let look =
            |step: u32| resolv.servers(start + GLANCE * step).iter().map(SocketAddr::ip).collect::<Vec<_>>();
        assert_eq!(look(0), [""; 0].map(|_: &str| IpAddr::from([0; 4])));
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(look(1), [IpAddr::from([192, 0, 2, 1])]);
        let other = path.with_extension("new");
        fs::write(&other, "nameserver 192.0.2.2\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(look(2), [IpAddr::from([192, 0, 2, 2])]);
        fs::write(&path, "").unwrap();
        assert_eq!(look(3), [IpAddr::from([192, 0, 2, 2])], "somebody is writing");
        std::thread::sleep(WRITING);
        assert_eq!(look(4), [""; 0].map(|_: &str| IpAddr::from([0; 4])), "nobody is");
        fs::write(&path, "nameserver 192.0.2.3\n").unwrap();
        assert_eq!(look(5), [IpAddr::from([192, 0, 2, 3])]);
        fs::remove_file(&path).unwrap();
        assert_eq!(look(6), [IpAddr::from([192, 0, 2, 3])], "what was known stays");
    }
}
