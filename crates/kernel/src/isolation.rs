//! A program as root in namespaces of its own, made without privileges and gone without a trace.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::mount::MsFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::wait;
use nix::unistd::{dup2_stderr, dup2_stdout, getegid, geteuid};

use crate::child::{self, Image, Report, c_string};
use crate::rtnl::link;
use crate::setup::{self, Call, LOCKED};

/// Mount, network and process namespaces: with the last, nothing started inside outlives the program.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWPID;
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
    run(program, args, env, None, libc::CLONE_NEWUSER)
}

/// As [`isolated`], but who is root keeps the user namespace: only there may programs send more at once than
/// net.core.wmem_max says. What does not belong to a namespace is then within their reach.
///
/// # Errors
/// As for [`isolated`].
pub fn isolated_as_root(program: &Path, args: &[OsString], env: &[(OsString, OsString)]) -> io::Result<i32> {
    let user = if geteuid().is_root() { 0 } else { libc::CLONE_NEWUSER };
    run(program, args, env, None, user)
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
    run(program, args, env, Some(output), libc::CLONE_NEWUSER)
}

fn run(
    program: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
    output: Option<BorrowedFd<'_>>,
    user: libc::c_int,
) -> io::Result<i32> {
    let argv: Vec<OsString> = [program.into()].into_iter().chain(args.iter().cloned()).collect();
    let image = Image::new(&argv, env)?;
    let mut calls = if user == 0 { Vec::new() } else { identity() };
    calls.extend(surroundings()?);
    let report = Report::open()?;
    let pid =
        child::fork(user | NAMESPACES).map_err(|errno| refused("make user and network namespaces", errno))?;
    let Some(pid) = pid else { first_process(&calls, &image, &report, output) };
    let failed = report.read();
    let code = child::wait(pid)?;
    match failed {
        None => Ok(code),
        Some((at, errno)) => {
            let what = calls.get(at).map_or_else(|| format!("run {}", program.display()), Call::to_string);
            Err(refused(&what, errno))
        }
    }
}

fn refused(what: &str, errno: Errno) -> io::Error {
    io::Error::new(io::Error::from(errno).kind(), format!("cannot {what}: {}", errno.desc()))
}

/// The first process of the new namespaces: prepares them, starts the program, adopts orphans.
fn first_process(calls: &[Call], image: &Image, report: &Report, output: Option<BorrowedFd<'_>>) -> ! {
    let prepared = die_with_caller(report)
        .and_then(|()| output.map_or(Ok(()), |fd| dup2_stdout(fd).and_then(|()| dup2_stderr(fd))));
    if let Err(errno) = prepared {
        report.fail(0, errno);
    }
    if let Err((at, errno)) = setup::make(calls) {
        report.fail(at, errno);
    }
    let program = match child::fork(0) {
        Ok(Some(pid)) => pid,
        Ok(None) => report.fail(calls.len(), image.exec()),
        Err(errno) => report.fail(calls.len(), errno),
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
    if child::poll([report.writer()], 0, 0)[0] & libc::POLLERR != 0 {
        child::exit(1);
    }
    Ok(())
}

/// Makes the caller root in its user namespace.
fn identity() -> Vec<Call> {
    vec![
        // Without this, a process without privileges may not write gid_map.
        Call::Write { path: c"/proc/self/setgroups", text: "deny".to_owned() },
        Call::Write { path: c"/proc/self/uid_map", text: format!("0 {} 1", geteuid()) },
        Call::Write { path: c"/proc/self/gid_map", text: format!("0 {} 1", getegid()) },
    ]
}

fn surroundings() -> io::Result<Vec<Call>> {
    let none = MsFlags::empty();
    let mut calls = vec![
        Call::mount(c"none", c"/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE),
        // Where a container hides parts of it, the old one stays, which shows more processes than ours.
        Call::Mount {
            source: c"proc".to_owned(),
            target: c"/proc".to_owned(),
            kind: Some(c"proc"),
            flags: LOCKED,
            needed: false,
        },
        Call::Sys(LOCKED),
        Call::mount(c"tmpfs", c"/run", Some(c"tmpfs"), none),
        Call::Directory(c"/run/etc.host"),
        Call::mount(c"/etc", c"/run/etc.host", None, MsFlags::MS_BIND | MsFlags::MS_REC),
        Call::mount(c"tmpfs", c"/etc", Some(c"tmpfs"), none),
    ];
    for entry in fs::read_dir("/etc")? {
        let entry = entry?;
        // What is written for the sandboxes inside must not go to the host's.
        if entry.file_name() != "netns" {
            calls.push(etc_link(&entry)?);
        }
    }
    calls.push(Call::Route(link::up_by_name("lo").finish(1, 0)));
    Ok(calls)
}

/// What stands in the new /etc for an entry of the old.
fn etc_link(entry: &fs::DirEntry) -> io::Result<Call> {
    let target = match entry.file_type()?.is_symlink() {
        true => fs::read_link(entry.path())?,
        false => PathBuf::from(OLD_ETC).join(entry.file_name()),
    };
    let c_path = |path: PathBuf| -> io::Result<CString> { c_string(path) };
    Ok(Call::Link { path: c_path(entry.path())?, target: c_path(target)? })
}
