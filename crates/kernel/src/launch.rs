//! Programs that go on by themselves, and their end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::child;
use crate::error::Refusal;
use crate::process::{Entry, Failed, image, start};
use crate::setup::Call;

/// How often it is looked whether a process has ended.
const GLANCE: Duration = Duration::from_millis(5);
/// Where a process's start is among the fields behind its name (proc_pid_stat(5): field 22), and its state.
const START: usize = 19;
const STATE: usize = 0;

/// A program that was started and is not this process's to end with.
#[derive(Debug)]
pub struct Launched(Pid);

/// Starts the program `argv` in a session of its own, with nothing to read and all output to `output`.
///
/// Before it becomes the program, the process appends its line of /proc/PID/stat to `record`: whoever reads that
/// knows the process again, and not another of the same number ([`Process::from_stat`]).
///
/// # Errors
/// If it could not be executed, or what comes before it failed.
pub fn launch(
    entry: Option<&Entry>,
    argv: &[OsString],
    record: Option<&File>,
    output: &File,
) -> Result<Launched, Failed> {
    let cannot = |errno: Errno| Failed::from(Refusal::from(errno).of("start a process"));
    let descriptor = |file: &File| -> Result<OwnedFd, Failed> {
        file.as_fd().try_clone_to_owned().map_err(|error| cannot(crate::netns::errno(&error)))
    };
    let mut calls = vec![Call::Detach(descriptor(output)?)];
    calls.extend(record.map(descriptor).transpose()?.map(Call::Record));
    if let Some(entry) = entry {
        calls.extend(entry.calls()?);
    }
    start(&calls, &image(argv)?, argv).map(Launched)
}

impl Launched {
    /// Waits up to `patience` for its end; gives its exit code, or 128 and the number of the signal that killed it.
    /// What has not ended by then is killed, with its whole session.
    ///
    /// # Errors
    /// ETIMEDOUT if it was killed, ECHILD if somebody else has waited for it.
    pub fn wait(self, patience: Duration) -> io::Result<i32> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(code) = child::exit_code(waitpid(self.0, Some(WaitPidFlag::WNOHANG))?) {
                return Ok(code);
            }
            if Instant::now() >= deadline {
                _ = killpg(self.0, Signal::SIGKILL);
                _ = child::wait(self.0);
                return Err(Errno::ETIMEDOUT.into());
            }
            sleep(GLANCE);
        }
    }
}

/// A process, known by its number and when it started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    pid: Pid,
    start: u64,
}

impl Process {
    /// The one that a line of /proc/PID/stat tells of.
    pub fn from_stat(line: &str) -> Option<Self> {
        let (pid, _) = line.split_once(' ')?;
        Some(Self { pid: Pid::from_raw(pid.parse().ok()?), start: field(line, START)?.parse().ok()? })
    }

    /// Whether it runs still.
    pub fn is_alive(&self) -> bool {
        let Ok(line) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        Self::from_stat(&line).as_ref() == Some(self) && !matches!(field(&line, STATE), Some("Z" | "X"))
    }

    /// Ends processes, each with the group that it leads: asks them to, and after `patience` no longer asks.
    ///
    /// # Errors
    /// If one may not be ended, or does not end.
    pub fn end_all(processes: &[Self], patience: Duration) -> Result<(), KernelError> {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            for process in processes.iter().filter(|process| process.is_alive()) {
                // One that leads no group was not started by `launch` to the end.
                let sent = killpg(process.pid, signal).or_else(|_| kill(process.pid, signal));
                match sent {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(Refusal::from(errno).of(process.what())),
                }
            }
            let deadline = Instant::now() + patience;
            while processes.iter().any(Self::is_alive) && Instant::now() < deadline {
                processes.iter().for_each(Self::reap);
                sleep(GLANCE);
            }
        }
        match processes.iter().find(|process| process.is_alive()) {
            Some(process) => Err(Refusal::new(Failure::Other, "it does not die").of(process.what())),
            None => Ok(()),
        }
    }

    /// Takes note of its end, if it is this process's child.
    fn reap(&self) {
        _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
    }

    fn what(&self) -> String {
        format!("end process {}", self.pid)
    }
}

/// Field `number` behind the name of a process, which is in parentheses and may hold anything.
fn field(line: &str, number: usize) -> Option<&str> {
    line.rsplit_once(") ")?.1.split_whitespace().nth(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_keeps_nothing_open_that_this_process_was_given() {
        let output = File::create("/dev/null").unwrap();
        // Unlike what is opened here, this one is passed on.
        let given = nix::unistd::dup(&output).unwrap();
        let leak = format!("test ! -e /proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&given));
        let argv = ["sh", "-c", &leak].map(OsString::from);
        let launched = launch(None, &argv, None, &output).map_err(|failed| failed.error).unwrap();
        assert_eq!(launched.wait(Duration::from_secs(60)).unwrap(), 0);
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        let process = Process::from_stat(&own).unwrap();
        assert!(process.is_alive());
        assert!(!Process { start: process.start + 1, ..process }.is_alive());
        assert_eq!(Process::from_stat("7 (a) b) S 1"), None);
    }
}
