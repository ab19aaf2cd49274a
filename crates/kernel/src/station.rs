//! A process of ours that others speak to over a socket, and that they start if it is not there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use linkspan_plan::KernelError;
use nix::sys::prctl;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect as net_connect, setsockopt, socket,
};
use nix::sys::time::TimeVal;

use crate::error::Refusal;
use crate::{child, detached};

/// Runs this program with `arguments` in a session of its own, to serve `listener`: whoever connects waits until it
/// does.
///
/// # Errors
/// If no process can be made.
pub fn start(arguments: &[OsString], listener: &UnixListener) -> Result<(), KernelError> {
    detached::start(arguments, listener.as_fd(), "start the agent")
}

/// The socket that [`start`] gave to this process, which is called as the program is from now on.
///
/// # Errors
/// If there is none: somebody has started this program by hand.
pub fn inherited() -> Result<UnixListener, KernelError> {
    // The name that it has is that of the link by which it was executed.
    _ = prctl::set_name(c"linkspan");
    let given = detached::given();
    given.map(UnixListener::from).map_err(|errno| Refusal::from(errno).of("find the socket to serve"))
}

/// Connects to who serves the socket `path`, waiting up to `limit` for it to have room.
///
/// # Errors
/// ENOENT or ECONNREFUSED if nobody serves it, EAGAIN if it has no room for so long.
pub fn connect(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::new(limit.as_secs().cast_signed(), limit.subsec_micros().into());
    setsockopt(&socket, SendTimeout, &limit)?;
    net_connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Waits up to `limit`, 10 minutes at most, for somebody to connect.
///
/// # Errors
/// Those of accept(2).
pub fn accept_within(listener: &UnixListener, limit: Duration) -> io::Result<Option<UnixStream>> {
    let microseconds = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX).min(600_000_000);
    let [events] = child::poll([listener.as_fd()], libc::POLLIN, microseconds);
    if events == 0 { Ok(None) } else { listener.accept().map(|(stream, _)| Some(stream)) }
}

/// Lets this process have as many files open as it may, for sockets in every sandbox and of every question.
#[allow(unsafe_code)]
pub fn allow_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // Without it there are only fewer.
        // SAFETY: the limit is live, and only read.
        _ = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Whether this process is in a user namespace that nobody else is in, so that nobody is left to need it: the hosts that
/// tests and people make for themselves end so. Nobody is alone among the users of the machine.
pub fn is_alone() -> bool {
    let users =
        |process: &Path| fs::metadata(process.join("ns/user")).ok().map(|facts| (facts.dev(), facts.ino()));
    let own = users(Path::new("/proc/self"));
    if own.is_none() || own == users(Path::new("/proc/1")) {
        return false;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // What else is there, as `self`, is none of others.
    let number = |process: &fs::DirEntry| process.file_name().to_str()?.parse::<u32>().ok();
    let mut others =
        processes.filter(|process| number(process).is_some_and(|number| number != std::process::id()));
    !others.any(|process| users(&process.path()) == own)
}
