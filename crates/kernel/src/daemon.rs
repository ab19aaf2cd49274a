//! Servers: how one is started and comes to stand alone, and the signals that it lives by.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;

use linkspan_plan::KernelError;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, kill, pthread_sigmask};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, read, setsid, write};

pub use nix::sys::signal::Signal;

use crate::child::{self, Image};
use crate::error::Refusal;
use crate::process::{self, Failed};
use crate::setup::Call;

/// How a program ended that was to start a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its exit code, or 128 and the number of the signal that killed it.
    pub code: i32,
    /// What it printed on standard error.
    pub complaint: Vec<u8>,
}

/// Runs the program `argv` to its end, with `env` in addition to this process's environment.
///
/// It leads a session of its own, has nothing to read and nothing of this process's open. What it leaves running
/// is not waited for.
///
/// # Errors
/// If it could not be executed.
pub fn start(argv: &[OsString], env: &[(OsString, OsString)]) -> Result<Ended, Failed> {
    let cannot = |errno: Errno| Failed::from(Refusal::from(errno).of("start a process"));
    let complaint = memfd_create("complaint", MFdFlags::MFD_CLOEXEC).map_err(cannot)?;
    let null = || open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).map_err(cannot);
    let copy = complaint.try_clone().map_err(|error| cannot(crate::netns::errno(&error)))?;
    let calls = [Call::Detach(copy), Call::Streams { input: null()?, output: null()? }];
    let image = Image::new(argv, env)
        .map_err(|error| Failed::from(Refusal::from(crate::netns::errno(&error)).of("start a process")))?;
    let pid = process::start(&calls, &image, argv)?;
    let code = child::wait(pid).map_err(cannot)?;
    let complaint = all_of(complaint).map_err(|error| cannot(crate::netns::errno(&error)))?;
    Ok(Ended { code, complaint })
}

fn all_of(file: OwnedFd) -> io::Result<Vec<u8>> {
    let (mut file, mut bytes) = (File::from(file), Vec::new());
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// This process, or the server that it has made.
#[derive(Debug)]
pub enum Side {
    /// The one that was started, which ends when the server is ready.
    Starter(Starter),
    /// The new one.
    Server(Server),
}

/// Who waits for a server to be ready.
#[derive(Debug)]
pub struct Starter(OwnedFd);

/// A server that still has the standard streams of who started it.
#[derive(Debug)]
pub struct Server(OwnedFd);

/// Makes a process that goes on from here as a server. To be called before there are threads.
///
/// # Errors
/// If no process can be made.
#[allow(unsafe_code)]
pub fn split() -> Result<Side, KernelError> {
    let cannot = |errno: Errno| Refusal::from(errno).of("start a server");
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(cannot)?;
    // SAFETY: the caller has no threads, so the child may do what it likes.
    match unsafe { fork() }.map_err(cannot)? {
        ForkResult::Parent { .. } => Ok(Side::Starter(Starter(reader))),
        ForkResult::Child => Ok(Side::Server(Server(writer))),
    }
}

impl Starter {
    /// Waits for the server; whether it has become ready, and not ended before.
    pub fn wait(self) -> bool {
        loop {
            match read(&self.0, &mut [0]) {
                Err(Errno::EINTR) => {}
                other => return other == Ok(1),
            }
        }
    }
}

impl Server {
    /// Leaves the session and the streams of who started it.
    ///
    /// # Errors
    /// If there is no /dev/null.
    pub fn stand_alone(&self) -> Result<(), KernelError> {
        let leave = || {
            _ = setsid();
            let null = open(c"/dev/null", OFlag::O_RDWR, Mode::empty())?;
            dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null))
        };
        leave().map_err(|errno| Refusal::from(errno).of("leave the session"))
    }

    /// Tells who started it that it is ready.
    pub fn ready(self) {
        _ = write(&self.0, &[1]);
    }
}

/// Closes every descriptor but the standard streams. To be called before anything is opened.
pub fn close_inherited() {
    child::close_all_but(&mut []);
}

/// Keeps `signals` for [`next_signal`], in this thread and those that it starts.
pub fn keep_signals(signals: &[Signal]) {
    let set: SigSet = signals.iter().copied().collect();
    _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None);
}

/// Waits for one of `signals`, which must have been kept.
///
/// # Errors
/// Those of sigwait(3).
pub fn next_signal(signals: &[Signal]) -> io::Result<Signal> {
    let set: SigSet = signals.iter().copied().collect();
    Ok(set.wait()?)
}

/// Sends `signal` to the process `pid`; whether there is one.
///
/// # Errors
/// If this process may not, or if `pid` stands for several processes.
pub fn signal(pid: i32, signal: Signal) -> io::Result<bool> {
    if pid <= 1 {
        return Err(Errno::EINVAL.into());
    }
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Ended {
        let argv = ["sh", "-c", script].map(OsString::from);
        super::start(&argv, &[("WORD".into(), "hello".into())]).map_err(|failed| failed.error).unwrap()
    }

    #[test]
    fn what_a_program_complains_of_is_told_and_what_it_leaves_is_not_waited_for() {
        assert_eq!(
            start("echo no; echo $WORD >&2; exit 3"),
            Ended { code: 3, complaint: b"hello\n".to_vec() }
        );
        let begun = std::time::Instant::now();
        assert_eq!(start("sleep 5 &").code, 0);
        assert!(begun.elapsed().as_secs() < 4);
    }

    #[test]
    fn a_program_keeps_nothing_open_of_this_process() {
        let given = nix::unistd::dup(File::open("/dev/null").unwrap()).unwrap();
        let leak = format!("test ! -e /proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&given));
        assert_eq!(start(&leak).code, 0);
    }

    #[test]
    fn a_directory_is_no_program() {
        let failed = super::start(&["/tmp".into()], &[]).unwrap_err();
        assert_eq!(failed.exec, Some(Errno::EACCES));
    }

    #[test]
    fn nobody_signals_everybody() {
        for pid in [-1, 0, 1] {
            assert_eq!(signal(pid, Signal::SIGHUP).unwrap_err().raw_os_error(), Some(Errno::EINVAL as i32));
        }
        assert!(!signal(i32::MAX, Signal::SIGHUP).unwrap());
    }
}
