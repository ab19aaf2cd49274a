//! Processes of this program that go on by themselves, with one descriptor of whoever started them.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_raw, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::child::{self, Image};
use crate::error::Refusal;

/// This very program.
const PROGRAM: &str = "/proc/self/exe";
/// Where the new process finds what it is given.
const GIVEN: i32 = 3;

/// Runs this program with `arguments` in a session of its own, with nothing of this process's but `given`. It lives on
/// when this process ends, is killed, or its terminal hangs up. `what` says in an error what was tried.
///
/// # Errors
/// If no process can be made.
pub(crate) fn start(arguments: &[OsString], given: BorrowedFd<'_>, what: &str) -> Result<(), KernelError> {
    let argv: Vec<_> = [OsString::from(PROGRAM)].iter().chain(arguments).cloned().collect();
    let image =
        Image::new(&argv, &[]).map_err(|error| Refusal::new(Failure::Other, error.to_string()).of(what))?;
    child::orphan(|| become_another(&image, given)).map_err(|errno| Refusal::from(errno).of(what))
}

/// What [`start`] gave to this process.
///
/// # Errors
/// EBADF if nothing is there: somebody has started this program by hand.
#[allow(unsafe_code)]
pub(crate) fn given() -> nix::Result<OwnedFd> {
    // SAFETY: fcntl(2) takes no pointers for F_SETFD.
    Errno::result(unsafe { libc::fcntl(GIVEN, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and was passed on to be owned here; nothing else in this process knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(GIVEN) })
}

/// The new process. Nothing here allocates.
fn become_another(image: &Image, given: BorrowedFd<'_>) -> Infallible {
    _ = setsid();
    _ = chdir(c"/");
    // A caller may wait for the end of these streams, so they must not stay open here.
    if let Ok(null) = open(c"/dev/null", OFlag::O_RDWR, Mode::empty()) {
        _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    }
    pass(given);
    child::close_all_but(&mut [GIVEN]);
    image.exec();
    child::exit(127)
}

/// Has `given` be number [`GIVEN`] in the program that this process becomes.
#[allow(unsafe_code)]
fn pass(given: BorrowedFd<'_>) {
    if given.as_raw_fd() == GIVEN {
        // SAFETY: fcntl(2) takes no pointers for F_SETFD.
        unsafe { libc::fcntl(GIVEN, libc::F_SETFD, 0) };
    } else {
        // SAFETY: nothing behind this uses what was at that number: the process ends or becomes another program.
        _ = unsafe { dup2_raw(given, GIVEN) }.map(std::os::fd::IntoRawFd::into_raw_fd);
    }
}
