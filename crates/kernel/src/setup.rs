//! Calls that prepare a process for its program, built ahead so that a forked child can make them.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, socket};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, mkdir, read, setsid, symlinkat, write};

use crate::netns::Namespace;

/// What every mount of the kernel's own file systems has.
pub(crate) const LOCKED: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const CGROUPS: &CStr = c"/sys/fs/cgroup";
/// linux/mount.h
const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// One call.
pub(crate) enum Call {
    /// Writes a file that is there.
    Write { path: &'static CStr, text: String },
    /// Mounts a file system; one that is not `needed` may fail.
    Mount { source: CString, target: CString, kind: Option<&'static CStr>, flags: MsFlags, needed: bool },
    /// Covers /sys with one that shows the network namespace, with the control groups where they were. Where
    /// that is not allowed the old one stays.
    Sys(MsFlags),
    /// Makes a directory.
    Directory(&'static CStr),
    /// Makes a symbolic link.
    Link { path: CString, target: CString },
    /// Sends a request over rtnetlink.
    Route(Vec<u8>),
    /// Enters a network namespace.
    Enter(Namespace),
    /// Enters new namespaces.
    Unshare(CloneFlags),
    /// Sets the host name.
    Hostname(String),
    /// Leads a session of its own, with nothing to read, all output to a file, no signal blocked, and nothing else open
    /// once it is the program: whoever started this process may wait for the end of something.
    Detach(OwnedFd),
    /// Has standard input and output be these.
    Streams { input: OwnedFd, output: OwnedFd },
    /// Appends this process's line of /proc to a file.
    Record(OwnedFd),
}

impl Call {
    /// A mount that has to succeed.
    pub(crate) fn mount(source: &CStr, target: &CStr, kind: Option<&'static CStr>, flags: MsFlags) -> Self {
        Self::Mount { source: source.to_owned(), target: target.to_owned(), kind, flags, needed: true }
    }

    /// Makes the call. Nothing is allocated.
    fn make(&self) -> nix::Result<()> {
        match self {
            Self::Write { path, text } => {
                let file = open(*path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
                write(&file, text.as_bytes()).map(drop)
            }
            Self::Mount { source, target, kind, flags, needed } => {
                let done = mount(Some(source.as_c_str()), target.as_c_str(), *kind, *flags, None::<&CStr>);
                if *needed { done } else { Ok(()) }
            }
            Self::Sys(flags) => {
                cover_sys(*flags);
                Ok(())
            }
            Self::Directory(path) => mkdir(*path, Mode::from_bits_truncate(0o755)),
            Self::Link { path, target } => symlinkat(target.as_c_str(), AT_FDCWD, path.as_c_str()),
            Self::Route(request) => {
                let kind = SockType::Raw;
                let protocol = SockProtocol::NetlinkRoute;
                let route = socket(AddressFamily::Netlink, kind, SockFlag::SOCK_CLOEXEC, protocol)?;
                send(route.as_raw_fd(), request, MsgFlags::empty()).map(drop)
            }
            Self::Enter(namespace) => namespace.enter(),
            Self::Unshare(flags) => unshare(*flags),
            Self::Hostname(name) => set_hostname(name),
            Self::Detach(output) => detach(output),
            Self::Streams { input, output } => dup2_stdin(input).and_then(|()| dup2_stdout(output)),
            Self::Record(file) => record(file),
        }
    }
}

/// Makes the calls in order; gives the index and error of the first that failed.
pub(crate) fn make(calls: &[Call]) -> Result<(), (usize, Errno)> {
    calls.iter().enumerate().try_for_each(|(at, call)| call.make().map_err(|errno| (at, errno)))
}

fn detach(output: &OwnedFd) -> nix::Result<()> {
    setsid()?;
    dup2_stdin(open(c"/dev/null", OFlag::O_RDONLY, Mode::empty())?)?;
    dup2_stdout(output)?;
    dup2_stderr(output)?;
    close_others_on_exec()?;
    SigSet::empty().thread_set_mask()
}

#[allow(unsafe_code)]
fn close_others_on_exec() -> nix::Result<()> {
    // SAFETY: close_range(2) takes no pointers, and closes nothing yet.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(done).map(drop)
}

fn record(file: &OwnedFd) -> nix::Result<()> {
    let mut line = [0; 1024];
    let stat = open(c"/proc/self/stat", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let length = read(&stat, &mut line)?;
    write(file, &line[..length]).map(drop)
}

fn cover_sys(flags: MsFlags) {
    let cgroups = clone_tree(CGROUPS);
    let covered = mount(Some(c"sysfs"), c"/sys", Some(c"sysfs"), flags, None::<&CStr>);
    if let (Ok(()), Ok(cgroups)) = (covered, cgroups) {
        _ = attach_tree(&cgroups, CGROUPS);
    }
}

/// A copy of the mounts at `path`, not yet attached anywhere.
#[allow(unsafe_code)]
fn clone_tree(path: &CStr) -> nix::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC.cast_unsigned();
    // SAFETY: the path is a live string; the call only returns a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let fd = Errno::result(fd)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

#[allow(unsafe_code)]
fn attach_tree(tree: &OwnedFd, path: &CStr) -> nix::Result<()> {
    let (from, flags) = (tree.as_raw_fd(), MOVE_MOUNT_F_EMPTY_PATH);
    // SAFETY: both paths are live strings and the descriptor is open.
    let done = unsafe {
        libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), libc::AT_FDCWD, path.as_ptr(), flags)
    };
    Errno::result(done).map(drop)
}

#[allow(unsafe_code)]
fn set_hostname(name: &str) -> nix::Result<()> {
    // SAFETY: pointer and length are those of a live string.
    Errno::result(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, .. } => write!(f, "write {}", path.to_string_lossy()),
            Self::Mount { target, .. } => write!(f, "mount on {}", target.to_string_lossy()),
            Self::Sys(_) => f.write_str("mount on /sys"),
            Self::Directory(path) => write!(f, "make {}", path.to_string_lossy()),
            Self::Link { path, .. } => write!(f, "link {}", path.to_string_lossy()),
            Self::Route(_) => f.write_str("set lo up"),
            Self::Enter(_) => f.write_str("enter the network namespace"),
            Self::Unshare(_) => f.write_str("make a mount namespace"),
            Self::Hostname(name) => write!(f, "set the host name to {name}"),
            Self::Detach(_) => f.write_str("leave the session"),
            Self::Streams { .. } => f.write_str("set standard input and output"),
            Self::Record(_) => f.write_str("write down the process"),
        }
    }
}
