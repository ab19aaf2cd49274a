//! The server's process, as those see it who change its files.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkspan_kernel::daemon::{self, Signal};

use crate::Error;
use crate::directory::{Directory, Turn};

/// What the name of the server's socket ends with, next to the directory and named after it.
pub const SOCKET: &str = ".sock";
/// How long a server may take to say that it has looked.
const PATIENCE: Duration = Duration::from_secs(2);
const SYSTEMD_RUN: &str = "systemd-run";

/// How a server is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start<'a> {
    /// The program.
    pub binary: &'a Path,
    /// The port that it is to listen on.
    pub port: u16,
    /// Whether a user without privileges runs it.
    pub rootless: bool,
}

/// Who was told that files have changed.
enum Told {
    /// A server that has read them since.
    Done,
    /// A server that will.
    Asked,
    /// There is none.
    Nobody,
}

/// Tells the server that the files of `networks` have changed, or starts one. Gives a warning, if there is one.
///
/// # Errors
/// If a server is to be started and cannot be.
pub fn tell_or_start(
    place: Directory<'_>,
    turn: Turn,
    networks: &[&str],
    start: &Start<'_>,
) -> Result<Option<String>, Error> {
    // Still in turn: a server ends only in its own, and of two that are started at once, one would find the other's
    // addresses in use.
    if matches!(told(place, networks)?, Told::Nobody) {
        run(place, start)?;
        drop(turn);
        return Ok(None);
    }
    Ok(place.server().and_then(|pid| stranger(place, pid)))
}

/// Tells the server that the files of `networks` have changed, if there is one.
///
/// # Errors
/// If it may not be told.
pub fn tell(place: Directory<'_>, networks: &[&str]) -> Result<(), Error> {
    told(place, networks).map(drop)
}

fn told(place: Directory<'_>, networks: &[&str]) -> Result<Told, Error> {
    match connect(&place.beside(SOCKET)).and_then(|stream| ask(&stream, networks)) {
        Ok(true) => return Ok(Told::Done),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            return Ok(Told::Asked);
        }
        // There is another's server or none, or it has just died.
        Ok(false) | Err(_) => {}
    }
    let Some(pid) = place.server().filter(|pid| is_server(place, *pid)) else { return Ok(Told::Nobody) };
    let told = daemon::signal(pid, Signal::SIGHUP)
        .map_err(|error| Error::because("failed to send SIGHUP to aardvark", error))?;
    Ok(if told { Told::Asked } else { Told::Nobody })
}

/// Whether it answers that it has looked at the files of `networks`.
fn ask(mut stream: &UnixStream, networks: &[&str]) -> io::Result<bool> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(networks.join("\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    Ok(stream.read(&mut [0])? == 1)
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => UnixStream::connect(short(path)?.0),
        other => other,
    }
}

/// Another path to the same file: the address of a socket has room for about a hundred bytes. It leads there while the
/// file lives.
///
/// # Errors
/// If there is no directory for it.
pub fn short(path: &Path) -> io::Result<(PathBuf, File)> {
    let above = File::open(path.parent().unwrap_or(path))?;
    let link = format!("/proc/self/fd/{}", above.as_raw_fd());
    Ok((Path::new(&link).join(path.file_name().unwrap_or_default()), above))
}

/// Whether process `pid` is the server, and not another one that has its number now.
fn is_server(place: Directory<'_>, pid: i32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.starts_with(b"aardvark-dns") || words.any(|word| word == place.0.as_os_str().as_bytes())
}

/// What is to be said of a server that runs in another network namespace than this process.
fn stranger(place: Directory<'_>, pid: i32) -> Option<String> {
    let own = fs::read_link("/proc/self/ns/net").ok()?;
    let its = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    (own != its).then(|| {
        format!(
            "the DNS server (process {pid}) is in another network namespace, so this container's names are not \
             answered. Stop all containers, end that process, remove {} and start the containers again",
            place.0.display()
        )
    })
}

/// Starts a server and waits until it is ready.
fn run(place: Directory<'_>, start: &Start<'_>) -> Result<(), Error> {
    let cannot = |why: String| Error::because("aardvark-dns failed to start", why);
    let argv = command_line(place, start, is_systemd_here());
    let ended =
        daemon::start(&argv, &[("RUST_LOG".into(), level(env::var("RUST_LOG").ok().as_deref()).into())])
            .map_err(|failed| {
                cannot(format!("Failed to find executable {}: {}", start.binary.display(), failed.error))
            })?;
    if ended.code == 0 {
        return Ok(());
    }
    match String::from_utf8_lossy(&ended.complaint).trim() {
        "" => Err(Error::new("aardvark-dns exited unexpectedly without error message")),
        complaint => Err(cannot(complaint.to_owned())),
    }
}

fn command_line(place: Directory<'_>, start: &Start<'_>, with_systemd: bool) -> Vec<OsString> {
    let mut argv: Vec<OsString> = Vec::new();
    if with_systemd {
        // The server outlives the unit that this process belongs to.
        argv.extend([SYSTEMD_RUN, "-q", "--scope"].map(OsString::from));
        argv.extend(start.rootless.then(|| "--user".into()));
    }
    let port = start.port.to_string().into();
    argv.extend([start.binary.into(), "--config".into(), place.0.into(), "-p".into(), port, "run".into()]);
    argv
}

fn is_systemd_here() -> bool {
    let in_path =
        |path: OsString| env::split_paths(&path).any(|directory| directory.join(SYSTEMD_RUN).exists());
    Path::new("/run/systemd/system").exists() && env::var_os("PATH").is_some_and(in_path)
}

/// The level of messages that `RUST_LOG` asks for, as a server takes it: `netavark=debug` is `DEBUG`.
fn level(wanted: Option<&str>) -> String {
    let word = wanted.and_then(|wanted| wanted.rsplit(['=', ',']).next()).unwrap_or_default().to_uppercase();
    match &*word {
        "OFF" | "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE" => word,
        _ => "ERROR".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_started_as_others_start_it() {
        let start = Start { binary: Path::new("/usr/libexec/podman/aardvark-dns"), port: 53, rootless: true };
        let line = |with_systemd| {
            let argv = command_line(Directory(Path::new("/run/x/aardvark-dns")), &start, with_systemd);
            argv.join(std::ffi::OsStr::new(" ")).into_string().unwrap()
        };
        let own = "/usr/libexec/podman/aardvark-dns --config /run/x/aardvark-dns -p 53 run";
        assert_eq!(line(false), own);
        assert_eq!(line(true), format!("systemd-run -q --scope --user {own}"));
    }

    #[test]
    fn a_level_of_messages_is_passed_on() {
        assert_eq!(level(None), "ERROR");
        assert_eq!(level(Some("netavark=debug")), "DEBUG");
        assert_eq!(level(Some("trace")), "TRACE");
        assert_eq!(level(Some("netavark")), "ERROR");
    }

    #[test]
    fn another_process_is_not_taken_for_the_server() {
        let place = Directory(Path::new("/nowhere/aardvark-dns"));
        assert!(!is_server(place, std::process::id().cast_signed()));
        assert!(!is_server(place, i32::MAX));
    }
}
