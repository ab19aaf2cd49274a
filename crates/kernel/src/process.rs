//! Programs in a pinned network namespace, with files of their own over those in /etc.

use std::ffi::{CStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::child::{self, Image, Report, c_string};
use crate::error::Refusal;
use crate::netns::{self, Namespace};
use crate::setup::{self, Call, LOCKED};

/// Signals that ask a process to end: whoever waits for a program passes them on to it.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Where a program is to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The file that its network namespace is pinned at.
    pub pin: PathBuf,
    /// Files that it sees in place of others: what, and over which. What is over nothing is left out.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// The host name that it sees, if not the host's.
    pub hostname: Option<String>,
}

impl Entry {
    /// The binds whose target is not there, so that the program will not see them.
    pub fn unseen(&self) -> impl Iterator<Item = &(PathBuf, PathBuf)> {
        self.binds.iter().filter(|(_, target)| !target.exists())
    }

    pub(crate) fn calls(&self) -> Result<Vec<Call>, KernelError> {
        let what = || format!("enter {}", self.pin.display());
        let namespace = Namespace::open(&self.pin).map_err(|error| match netns::errno(&error) {
            Errno::EINVAL => Refusal::new(Failure::NotFound, "it stands for no network namespace").of(what()),
            errno => Refusal::from(errno).of(what()),
        })?;
        let uts = if self.hostname.is_some() { CloneFlags::CLONE_NEWUTS } else { CloneFlags::empty() };
        let mut calls = vec![
            Call::Enter(namespace),
            Call::Unshare(CloneFlags::CLONE_NEWNS | uts),
            // What is mounted here must not show on the host; what the host mounts later may show here.
            Call::mount(c"none", c"/", None, MsFlags::MS_SLAVE | MsFlags::MS_REC),
            Call::Sys(LOCKED | sys_is_read_only()),
        ];
        for (source, target) in self.binds.iter().filter(|(_, target)| target.exists()) {
            let path = |path: &Path| c_string(path).map_err(|error| named(&error).of(what()));
            calls.push(Call::mount(&path(source)?, &path(target)?, None::<&CStr>, MsFlags::MS_BIND));
        }
        calls.extend(self.hostname.clone().map(Call::Hostname));
        Ok(calls)
    }
}

/// A read-only /sys cannot be covered with one that is not.
fn sys_is_read_only() -> MsFlags {
    let read_only = statvfs("/sys").is_ok_and(|sys| sys.flags().contains(FsFlags::ST_RDONLY));
    if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() }
}

/// A program that could not be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// What went wrong.
    pub error: KernelError,
    /// The error of exec(2), if everything before it went well: ENOENT if there is no such program.
    pub exec: Option<Errno>,
}

impl From<KernelError> for Failed {
    fn from(error: KernelError) -> Self {
        Self { error, exec: None }
    }
}

/// Becomes the program `argv` there. Returns only if that fails.
pub fn exec_in(entry: &Entry, argv: &[OsString]) -> Failed {
    let prepared = entry.calls().map_err(Failed::from).and_then(|calls| Ok((calls, image(argv)?)));
    let (calls, image) = match prepared {
        Ok(prepared) => prepared,
        Err(failed) => return failed,
    };
    let (at, errno) = setup::make(&calls).err().unwrap_or_else(|| (calls.len(), image.exec()));
    failed(&calls, argv, at, errno)
}

/// Starts the program `argv` there.
///
/// # Errors
/// If it could not be executed, or what comes before it failed.
pub fn spawn_in(entry: &Entry, argv: &[OsString]) -> Result<Child, Failed> {
    let (calls, image) = (entry.calls()?, image(argv)?);
    let cannot = |errno: Errno| Failed::from(Refusal::from(errno).of("start a process"));
    let report = Report::open().map_err(cannot)?;
    // Blocked from before the program is there, so that no signal to pass on to it is missed.
    let signals: SigSet = FORWARDED.into_iter().chain([Signal::SIGCHLD]).collect();
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signals), Some(&mut before)).map_err(cannot)?;
    let child = match child::fork(0) {
        Ok(Some(pid)) => Child { pid, signals, before },
        Ok(None) => {
            _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
            let (at, errno) = setup::make(&calls).err().unwrap_or_else(|| (calls.len(), image.exec()));
            report.fail(at, errno)
        }
        Err(errno) => {
            _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
            return Err(cannot(errno));
        }
    };
    match report.read() {
        None => Ok(child),
        Some((at, errno)) => {
            _ = child::wait(child.pid);
            Err(failed(&calls, argv, at, errno))
        }
    }
}

/// Starts a process that makes `calls` and then becomes `image`, the program `argv`.
///
/// # Errors
/// If it could not be executed, or one of the calls failed. There is no process then.
pub(crate) fn start(calls: &[Call], image: &Image, argv: &[OsString]) -> Result<Pid, Failed> {
    let cannot = |errno: Errno| Failed::from(Refusal::from(errno).of("start a process"));
    let report = Report::open().map_err(cannot)?;
    let pid = match child::fork(0).map_err(cannot)? {
        Some(pid) => pid,
        None => {
            let (at, errno) = setup::make(calls).err().unwrap_or_else(|| (calls.len(), image.exec()));
            report.fail(at, errno)
        }
    };
    match report.read() {
        None => Ok(pid),
        Some((at, errno)) => {
            _ = child::wait(pid);
            Err(failed(calls, argv, at, errno))
        }
    }
}

pub(crate) fn image(argv: &[OsString]) -> Result<Image, Failed> {
    Image::new(argv, &[]).map_err(|error| named(&error).of("start a program").into())
}

fn named(error: &io::Error) -> Refusal {
    Refusal::new(Failure::Other, error.to_string())
}

pub(crate) fn failed(calls: &[Call], argv: &[OsString], at: usize, errno: Errno) -> Failed {
    let program = argv.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    match calls.get(at) {
        Some(call) => Refusal::from(errno).at(call).of(format!("run {program}")).into(),
        None => Failed { error: Refusal::from(errno).of(format!("execute {program}")), exec: Some(errno) },
    }
}

/// A program that was started. While it is not waited for, the calling thread gets none of the signals that
/// would end it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    signals: SigSet,
    before: SigSet,
}

impl Child {
    /// Its process number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits for its end, passing signals on to it; gives its exit code, or 128 and the number of the signal
    /// that killed it.
    ///
    /// # Errors
    /// ECHILD if somebody else has waited for it.
    pub fn wait(self) -> io::Result<i32> {
        loop {
            if let Some(code) = child::exit_code(waitpid(self.pid, Some(WaitPidFlag::WNOHANG))?) {
                return Ok(code);
            }
            // The terminal has sent its signals to the program as well.
            let (signal, from_terminal) = next_signal(&self.signals)?;
            if signal != Signal::SIGCHLD && !from_terminal {
                _ = kill(self.pid, signal);
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Waits for one of `signals`; gives it, and whether it came from the kernel and not from a process.
#[allow(unsafe_code)]
fn next_signal(signals: &SigSet) -> nix::Result<(Signal, bool)> {
    // SAFETY: all zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both point to live values of their types.
        match Errno::result(unsafe { libc::sigwaitinfo(signals.as_ref(), &raw mut info) }) {
            Ok(number) => return Ok((Signal::try_from(number)?, info.si_code > 0)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
