//! What a service manager has opened for this process.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first descriptor that is passed (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// Whether it has been taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The one listening socket that was passed, the first time that this is asked; none if none was. This has to come before
/// anything is opened: a descriptor that is not the one announced could be another's.
///
/// # Errors
/// If there are several, or what was passed is no such socket.
#[allow(unsafe_code)]
pub fn listener() -> io::Result<Option<UnixListener>> {
    let said = |name: &str| std::env::var(name).ok();
    let Some(count) = said("LISTEN_FDS") else { return Ok(None) };
    let others = said("LISTEN_PID").is_some_and(|pid| pid != std::process::id().to_string());
    if others || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    if count != "1" {
        return Err(io::Error::other(format!("{count} sockets are passed, and one is expected")));
    }
    let (mut listens, mut length) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the number and its length are live; a descriptor that is not open, or no socket, is an error.
    let asked = unsafe {
        let value = (&raw mut listens).cast();
        libc::getsockopt(FIRST, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, value, &raw mut length)
    };
    Errno::result(asked)?;
    if listens == 0 {
        return Err(io::Error::other("what is passed is no listening socket"));
    }
    // SAFETY: it is open, was passed to this process to own, and is taken once.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(Some(UnixListener::from(socket)))
}
