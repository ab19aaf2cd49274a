//! Processes of ours that outlive the command that makes them, and lines between them.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use linkspan_plan::KernelError;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::error::Refusal;
use crate::{child, detached};

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
        let what = "start a guard";
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| Refusal::from(errno).of(what))?;
        detached::start(arguments, theirs.as_fd(), what)?;
        Ok(Self(ours))
    }

    /// The line to the process that has made this one.
    ///
    /// # Errors
    /// If there is none: somebody has started this program by hand.
    pub fn inherited() -> Result<Self, KernelError> {
        let given = detached::given();
        given.map(Self).map_err(|errno| Refusal::from(errno).of("find the process to be guarded"))
    }

    /// Waits up to `limit`, 10 minutes at most, for the line to break; whether it has.
    pub fn breaks_within(&self, limit: Duration) -> bool {
        let microseconds = u32::try_from(limit.min(LONGEST).as_micros()).unwrap_or(u32::MAX);
        let [events] = child::poll([self.0.as_fd()], libc::POLLIN, microseconds);
        events != 0
    }
}
