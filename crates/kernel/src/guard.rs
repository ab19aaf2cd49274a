//! Processes of ours that outlive the command that makes them, and lines between them.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_raw, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::child::{self, Image};
use crate::error::Refusal;

/// This very program.
const PROGRAM: &str = "/proc/self/exe";
/// Where a process that [`Line::to_another`] makes finds its end of the line.
const LINE: i32 = 3;
/// The longest that is waited at once.
const LONGEST: Duration = Duration::from_secs(600);

/// One end of a line to another process: it breaks when that ends, however it does.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Line {
    /// Runs this program with `arguments` in a session of its own, with nothing of this process's but the other end of
    /// the line. It lives on when this process ends, is killed, or its terminal hangs up.
    ///
    /// # Errors
    /// If no process can be made.
    pub fn to_another(arguments: &[OsString]) -> Result<Self, KernelError> {
        let cannot = |errno: Errno| Refusal::from(errno).of("start a guard");
        let argv: Vec<_> = [OsString::from(PROGRAM)].iter().chain(arguments).cloned().collect();
        let image = Image::new(&argv, &[])
            .map_err(|error| Refusal::new(Failure::Other, error.to_string()).of("start a guard"))?;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(cannot)?;
        child::orphan(|| become_another(&image, theirs.as_fd())).map_err(cannot)?;
        Ok(Self(ours))
    }

    /// The line to the process that has made this one.
    ///
    /// # Errors
    /// If there is none: somebody has started this program by hand.
    #[allow(unsafe_code)]
    pub fn inherited() -> Result<Self, KernelError> {
        // SAFETY: fcntl(2) takes no pointers for F_SETFD.
        Errno::result(unsafe { libc::fcntl(LINE, libc::F_SETFD, libc::FD_CLOEXEC) })
            .map_err(|errno| Refusal::from(errno).of("find the process to be guarded"))?;
        // SAFETY: it is open, and was passed on to be owned here; nothing else in this process knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(LINE) }))
    }

    /// Waits up to `limit`, 10 minutes at most, for the line to break; whether it has.
    pub fn breaks_within(&self, limit: Duration) -> bool {
        let microseconds = u32::try_from(limit.min(LONGEST).as_micros()).unwrap_or(u32::MAX);
        let [events] = child::poll([self.0.as_fd()], libc::POLLIN, microseconds);
        events != 0
    }
}

/// The new process. Nothing here allocates.
fn become_another(image: &Image, line: BorrowedFd<'_>) -> Infallible {
    _ = setsid();
    _ = chdir(c"/");
    // A caller may wait for the end of these streams, so they must not stay open here.
    if let Ok(null) = open(c"/dev/null", OFlag::O_RDWR, Mode::empty()) {
        _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    }
    pass(line);
    child::close_all_but(&mut [LINE]);
    image.exec();
    child::exit(127)
}

/// Has `line` be number [`LINE`] in the program that this process becomes.
#[allow(unsafe_code)]
fn pass(line: BorrowedFd<'_>) {
    if line.as_raw_fd() == LINE {
        // SAFETY: fcntl(2) takes no pointers for F_SETFD.
        unsafe { libc::fcntl(LINE, libc::F_SETFD, 0) };
    } else {
        // SAFETY: nothing behind this uses what was at that number: the process ends or becomes another program.
        _ = unsafe { dup2_raw(line, LINE) }.map(std::os::fd::IntoRawFd::into_raw_fd);
    }
}
