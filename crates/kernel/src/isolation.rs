//! A program as root in namespaces of its own, made without privileges and gone without a trace.

use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, socket};
use nix::sys::stat::Mode;
use nix::sys::wait::wait;
use nix::unistd::{dup2_stderr, dup2_stdout, getegid, geteuid, mkdir, symlinkat, write};

use crate::child::{self, Image, Report, c_string};
use crate::rtnl::link;

/// User, mount, network and process namespaces: with the last, nothing started inside outlives the program.
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWPID;
/// Where the files of the /etc that was there before are found.
const OLD_ETC: &str = "/run/etc.host";

/// Runs a program as root in new user, mount, network and process namespaces; gives its exit code, or 128
/// and the number of the signal that killed it.
///
/// It works with and without privileges. Inside, /run is empty, /sys shows the new network namespace, lo is
/// up, and /etc can be written to without changing the host's. Everything started inside ends with the
/// program, and the program with the calling thread. `env` comes in addition to the caller's environment.
///
/// # Errors
/// If the kernel does not allow user namespaces, or the program cannot be executed.
pub fn isolated(program: &Path, args: &[OsString], env: &[(OsString, OsString)]) -> io::Result<i32> {
    run(program, args, env, None)
}

/// As [`isolated`], with standard output and standard error going to `output`.
///
/// # Errors
/// As for [`isolated`].
pub fn isolated_into(
    output: BorrowedFd<'_>,
    program: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
) -> io::Result<i32> {
    run(program, args, env, Some(output))
}

fn run(
    program: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
    output: Option<BorrowedFd<'_>>,
) -> io::Result<i32> {
    let argv: Vec<OsString> = [program.into()].into_iter().chain(args.iter().cloned()).collect();
    let image = Image::new(&argv, env)?;
    let steps = steps()?;
    let report = Report::open()?;
    let Some(pid) = child::fork(NAMESPACES)? else { first_process(&steps, &image, &report, output) };
    let failed = report.read();
    let code = child::wait(pid)?;
    match failed {
        None => Ok(code),
        Some((at, errno)) => {
            let what = steps.get(at).map_or_else(|| format!("run {}", program.display()), Step::to_string);
            Err(io::Error::new(io::Error::from(errno).kind(), format!("cannot {what}: {}", errno.desc())))
        }
    }
}

/// The first process of the new namespaces: prepares them, starts the program, adopts orphans.
fn first_process(steps: &[Step], image: &Image, report: &Report, output: Option<BorrowedFd<'_>>) -> ! {
    let prepared = die_with_caller(report)
        .and_then(|()| output.map_or(Ok(()), |fd| dup2_stdout(fd).and_then(|()| dup2_stderr(fd))));
    if let Err(errno) = prepared {
        report.fail(0, errno);
    }
    for (index, step) in steps.iter().enumerate() {
        if let Err(errno) = step.perform() {
            report.fail(index, errno);
        }
    }
    let program = match child::fork(0) {
        Ok(Some(pid)) => pid,
        Ok(None) => report.fail(steps.len(), image.exec()),
        Err(errno) => report.fail(steps.len(), errno),
    };
    child::close(report.writer());
    loop {
        match wait() {
            Ok(status) if status.pid() == Some(program) => {
                if let Some(code) = child::exit_code(status) {
                    child::exit(code);
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => child::exit(1),
        }
    }
}

/// The caller may have died before the kernel was told to send the signal; then nobody reads the report.
fn die_with_caller(report: &Report) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if child::poll(report.writer(), 0, 0) & libc::POLLERR != 0 {
        child::exit(1);
    }
    Ok(())
}

/// One call that prepares the namespaces.
enum Step {
    Write {
        path: &'static CStr,
        text: String,
    },
    Mount {
        source: &'static CStr,
        target: CString,
        kind: Option<&'static CStr>,
        flags: MsFlags,
        needed: bool,
    },
    Directory(&'static CStr),
    Link {
        path: CString,
        target: CString,
    },
    Loopback(Vec<u8>),
}

fn steps() -> io::Result<Vec<Step>> {
    let none = MsFlags::empty();
    let locked = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mount = |source, target: &CStr, kind, flags, needed| Step::Mount {
        source,
        target: target.to_owned(),
        kind,
        flags,
        needed,
    };
    let mut steps = vec![
        // Without this, a process without privileges may not write gid_map.
        Step::Write { path: c"/proc/self/setgroups", text: "deny".to_owned() },
        Step::Write { path: c"/proc/self/uid_map", text: format!("0 {} 1", geteuid()) },
        Step::Write { path: c"/proc/self/gid_map", text: format!("0 {} 1", getegid()) },
        mount(c"none", c"/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, true),
        mount(c"proc", c"/proc", Some(c"proc"), locked, false),
        mount(c"sysfs", c"/sys", Some(c"sysfs"), locked, false),
        mount(c"tmpfs", c"/run", Some(c"tmpfs"), none, true),
        Step::Directory(c"/run/etc.host"),
        mount(c"/etc", c"/run/etc.host", None, MsFlags::MS_BIND | MsFlags::MS_REC, true),
        mount(c"tmpfs", c"/etc", Some(c"tmpfs"), none, true),
    ];
    for entry in fs::read_dir("/etc")? {
        steps.push(etc_link(&entry?)?);
    }
    steps.push(Step::Loopback(link::up_by_name("lo").finish(1, 0)));
    Ok(steps)
}

/// What stands in the new /etc for an entry of the old.
fn etc_link(entry: &fs::DirEntry) -> io::Result<Step> {
    let target = match entry.file_type()?.is_symlink() {
        true => fs::read_link(entry.path())?,
        false => PathBuf::from(OLD_ETC).join(entry.file_name()),
    };
    Ok(Step::Link { path: c_string(entry.path())?, target: c_string(target)? })
}

impl Step {
    fn perform(&self) -> nix::Result<()> {
        match self {
            Self::Write { path, text } => {
                let file = open(*path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
                write(&file, text.as_bytes()).map(drop)
            }
            Self::Mount { source, target, kind, flags, needed } => {
                let done = mount(Some(*source), target.as_c_str(), *kind, *flags, None::<&CStr>);
                if *needed { done } else { Ok(()) }
            }
            Self::Directory(path) => mkdir(*path, Mode::from_bits_truncate(0o755)),
            Self::Link { path, target } => {
                symlinkat(target.as_c_str(), nix::fcntl::AT_FDCWD, path.as_c_str())
            }
            Self::Loopback(request) => {
                let route = socket(
                    AddressFamily::Netlink,
                    SockType::Raw,
                    SockFlag::SOCK_CLOEXEC,
                    SockProtocol::NetlinkRoute,
                )?;
                send(route.as_raw_fd(), request, MsgFlags::empty()).map(drop)
            }
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write { path, .. } => write!(f, "write {}", path.to_string_lossy()),
            Self::Mount { target, .. } => write!(f, "mount on {}", target.to_string_lossy()),
            Self::Directory(path) => write!(f, "make {}", path.to_string_lossy()),
            Self::Link { path, .. } => write!(f, "link {}", path.to_string_lossy()),
            Self::Loopback(_) => f.write_str("set lo up"),
        }
    }
}
