//! What the processes forked here have in common.
//!
//! A child of a process with threads may not allocate: another thread may have held the allocator's lock
//! at the fork. So everything that a child needs is built before the fork, and behind it come only
//! async-signal-safe calls, up to `exec` or `_exit`.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_char, c_int};
use nix::sched::{CloneFlags, clone};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2, read, write};

/// More descriptors than a command has open, but for one that has opened many namespaces at once.
const DESCRIPTORS: c_int = 256;
/// Stack of a process that is made by [`orphan`], in bytes.
const STACK: usize = 64 * 1024;

/// Forks, with `flags` of clone(2) such as namespaces to make. None in the child.
///
/// # Errors
/// Those of clone(2).
#[allow(unsafe_code)]
pub(crate) fn fork(flags: c_int) -> nix::Result<Option<Pid>> {
    // SAFETY: without CLONE_VM the child has its own memory and goes on on its own copy of this stack.
    // The raw call runs no atfork handlers; see the module's rule for what a child may do.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) };
    let pid = Errno::result(pid)?;
    Ok((pid != 0).then(|| Pid::from_raw(pid as libc::pid_t)))
}

/// Does `work` in a process that is nobody's to wait for.
///
/// The process between, which makes it and ends, borrows this one's memory while this one stands still: that
/// saves half of the cost of forking twice.
///
/// # Errors
/// Those of clone(2).
#[allow(unsafe_code)]
pub(crate) fn orphan(mut work: impl FnMut() -> Infallible) -> nix::Result<()> {
    let mut stack = vec![0; STACK];
    let middle = Box::new(|| match fork(0) {
        Ok(Some(_)) => 0,
        Ok(None) => match work() {},
        Err(errno) => errno as isize,
    });
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: the process between has a stack of its own, only makes a process and ends, and until then
    // CLONE_VFORK keeps this thread, whose memory it uses, from going on.
    let pid = unsafe { clone(middle, &mut stack, flags, Some(libc::SIGCHLD)) }?;
    match wait(pid) {
        // ECHILD: this process ignores SIGCHLD.
        Ok(0) | Err(Errno::ECHILD) => Ok(()),
        Ok(errno) => Err(Errno::from_raw(errno)),
        Err(errno) => Err(errno),
    }
}

/// Ends the process at once, without running destructors or flushing streams.
#[allow(unsafe_code)]
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit takes any number and does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for `pid`; gives its exit code, or 128 and the number of the signal that killed it.
///
/// # Errors
/// ECHILD if it is no child of this process.
pub(crate) fn wait(pid: Pid) -> nix::Result<i32> {
    loop {
        match waitpid(pid, None) {
            Ok(status) => {
                if let Some(code) = exit_code(status) {
                    return Ok(code);
                }
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The code of a process that has ended.
pub(crate) fn exit_code(status: WaitStatus) -> Option<i32> {
    match status {
        WaitStatus::Exited(_, code) => Some(code),
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
        _ => None,
    }
}

/// A program with its arguments and environment, ready for exec.
pub(crate) struct Image {
    // The strings that the pointers point to.
    _strings: Vec<CString>,
    program: *const c_char,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl Image {
    /// `argv[0]` is looked up in PATH if it has no slash; `env` comes in addition to the caller's.
    ///
    /// # Errors
    /// If `argv` is empty or a string holds a NUL.
    pub(crate) fn new(argv: &[OsString], env: &[(OsString, OsString)]) -> io::Result<Self> {
        let mut strings = argv.iter().map(c_string).collect::<io::Result<Vec<_>>>()?;
        for (key, value) in std::env::vars_os().filter(|(key, _)| env.iter().all(|(new, _)| new != key)) {
            strings.push(variable(&key, &value)?);
        }
        for (key, value) in env {
            strings.push(variable(key, value)?);
        }
        let pointers =
            |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
        let program = strings.first().filter(|_| !argv.is_empty());
        let program = program.ok_or_else(|| io::Error::other("no program to run"))?.as_ptr();
        let (argv, envp) = (pointers(&strings[..argv.len()]), pointers(&strings[argv.len()..]));
        Ok(Self { _strings: strings, program, argv, envp })
    }

    /// Becomes the program. Returns only if that fails.
    #[allow(unsafe_code)]
    pub(crate) fn exec(&self) -> Errno {
        // Rust's runtime ignores SIGPIPE, which programs do not expect to inherit.
        // SAFETY: the default action is no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: both arrays end with a null pointer and the strings that they point to live in `self`.
        unsafe { libc::execvpe(self.program, self.argv.as_ptr(), self.envp.as_ptr()) };
        Errno::last()
    }
}

fn variable(key: &OsStr, value: &OsStr) -> io::Result<CString> {
    c_string(OsString::from_iter([key, OsStr::new("="), value]))
}

/// `text` with the NUL that system calls want.
///
/// # Errors
/// If it holds a NUL itself.
pub(crate) fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

/// How a child tells why it could not become its program: a pipe that a successful exec closes.
pub(crate) struct Report {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Report {
    /// Opens the pipe.
    ///
    /// # Errors
    /// Those of pipe2(2).
    pub(crate) fn open() -> nix::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { reader, writer })
    }

    /// In the child: reports that `step` failed, and ends.
    pub(crate) fn fail(&self, step: usize, errno: Errno) -> ! {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&(step as u32).to_ne_bytes());
        bytes[4..].copy_from_slice(&(errno as i32).to_ne_bytes());
        _ = write(&self.writer, &bytes);
        exit(127)
    }

    /// In the child: the end that must not stay open in a process that does not exec.
    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// In the parent: waits until the child has become its program, or gives the step that failed.
    pub(crate) fn read(self) -> Option<(usize, Errno)> {
        drop(self.writer);
        let mut bytes = [0; 8];
        loop {
            match read(&self.reader, &mut bytes) {
                Ok(8) => {
                    let (step, errno) = bytes.split_at(4);
                    let number = |half: &[u8]| half.try_into().map_or(0, i32::from_ne_bytes);
                    return Some((number(step) as usize, Errno::from_raw(number(errno))));
                }
                Err(Errno::EINTR) => {}
                _ => return None,
            }
        }
    }
}

/// Closes every descriptor above the standard streams but those in `keep`, of which -1 stands for none.
#[allow(unsafe_code)]
pub(crate) fn close_all_but(keep: &mut [c_int]) {
    keep.sort_unstable();
    let mut from = 3;
    for fd in keep.iter().filter(|fd| **fd >= 3).map(|fd| fd.cast_unsigned()) {
        if from < fd {
            // SAFETY: the caller is a forked child about to end; it uses none of these descriptors again.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd + 1;
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, from, u32::MAX, 0) };
}

/// Closes the files of namespaces: where one is pinned, it cannot be unpinned while the pin is open (EBUSY).
#[allow(unsafe_code)]
pub(crate) fn close_namespaces() {
    for fd in 3..DESCRIPTORS {
        let mut facts = MaybeUninit::<libc::statfs>::uninit();
        // SAFETY: there is room for the answer, which is read only if the call succeeded.
        let is_one = unsafe {
            libc::fstatfs(fd, facts.as_mut_ptr()) == 0 && facts.assume_init_ref().f_type == libc::NSFS_MAGIC
        };
        if is_one {
            // SAFETY: the caller is a forked child that uses none of them again.
            unsafe { libc::close(fd) };
        }
    }
}

/// Waits up to `microseconds` for `events` of one of `fds`; gives those that came to each, with hang-ups and errors.
#[allow(unsafe_code)]
pub(crate) fn poll<const N: usize>(fds: [BorrowedFd<'_>; N], events: i16, microseconds: u32) -> [i16; N] {
    let mut polls = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
    let limit = libc::timespec {
        tv_sec: (microseconds / 1_000_000).into(),
        tv_nsec: (microseconds % 1_000_000 * 1000).into(),
    };
    // SAFETY: `N` live pollfds are passed; the limit is live; no signal mask is given.
    unsafe { libc::ppoll(polls.as_mut_ptr(), N as libc::nfds_t, &raw const limit, ptr::null()) };
    polls.map(|poll| poll.revents)
}

/// Waits without looking at anything.
#[allow(unsafe_code)]
pub(crate) fn sleep(nanoseconds: u32) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds.into() };
    // SAFETY: the time is live and below a second; what is left after a signal is not asked for.
    unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
}

/// Closes `fd` in a child that has only borrowed it from its parent's memory.
#[allow(unsafe_code)]
pub(crate) fn close(fd: BorrowedFd<'_>) {
    // SAFETY: the owner of `fd` is in the parent's memory; its copy here is never used or dropped.
    unsafe { libc::close(fd.as_raw_fd()) };
}
