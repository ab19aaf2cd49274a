//! A child process that does what the kernel makes one wait for.
//!
//! Deleting a device returns 15 to 20 ms after the device is gone (rcu_barrier in netdev_run_todo), and closing
//! an nfnetlink socket after an nf_tables delete takes as long. The child does both; the caller waits only until
//! the devices are gone.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use linkspan_model::IfName;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, Shutdown, SockFlag, SockProtocol, SockType, bind, recv, send,
    shutdown, socket, socketpair,
};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::child;
use crate::error::{Refusal, Result};
use crate::netlink::{Error, Message, Socket};
use crate::rtnl::link;

/// How long a device may take to go before the caller deletes it by itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether the devices are gone, if there is no news.
const PAUSE_MICROSECONDS: u32 = 2_000;
/// How long the child keeps what it holds for a caller that does not end.
const HOLD_MICROSECONDS: u32 = 1_000_000;
/// How long the child keeps what it holds once the caller has ended. By then the kernel has done away with what was
/// deleted. A close before that waits for it with a lock held that every other transaction needs (nft_rcv_nl_event in
/// net/netfilter/nf_tables_api.c): whoever comes next would wait too.
const GRACE_NANOSECONDS: u32 = 60_000_000;
/// Groups of devices to be deleted are numbered from here by process, far from the small numbers people use.
const GROUPS: u32 = 0x4c53_0000;

/// A child at work. It lets go of what it holds when this is dropped, or the calling process ends.
#[derive(Debug)]
pub(crate) struct Reaper {
    link: OwnedFd,
}

impl Reaper {
    /// Makes a child that sends `requests` over rtnetlink and keeps `hold` open. It is not the caller's to wait for.
    fn start(requests: &[u8], hold: Option<BorrowedFd<'_>>) -> nix::Result<Self> {
        let (link, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let hold = hold.map(|fd| fd.as_raw_fd());
        child::orphan(|| reap(requests, &theirs, hold))?;
        Ok(Self { link })
    }

    /// Keeps `hold` open in a child until some time after the caller has ended.
    pub(crate) fn hold(hold: BorrowedFd<'_>) -> nix::Result<Self> {
        Self::start(&[], Some(hold))
    }

    /// Waits until a device has changed; whether the child has sent everything, or died.
    fn is_done(&self, watch: &Watch) -> bool {
        let [done, changed] =
            child::poll([self.link.as_fd(), watch.0.as_fd()], libc::POLLIN, PAUSE_MICROSECONDS);
        if changed != 0 {
            watch.forget();
        }
        done != 0
    }
}

/// The kernel's news about devices. Asking for a device again and again instead would take the lock that its
/// deletion needs.
struct Watch(OwnedFd);

impl Watch {
    fn open() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, libc::RTMGRP_LINK.cast_unsigned()))?;
        Ok(Self(socket))
    }

    /// Takes what is there: that something has happened is news enough.
    fn forget(&self) {
        let mut buffer = [0; 64];
        while recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC).is_ok() {}
    }
}

/// The child. Nothing here allocates.
fn reap(requests: &[u8], link: &OwnedFd, hold: Option<RawFd>) -> Infallible {
    _ = setsid();
    _ = chdir(c"/");
    // A caller may wait for the end of these streams, so they must not stay open here.
    if let Ok(null) = open(c"/dev/null", OFlag::O_RDWR, Mode::empty()) {
        _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    }
    // Whoever has made a namespace may unpin it as soon as the caller says that the devices are gone.
    child::close_namespaces();
    if !requests.is_empty() {
        _ = send_requests(requests);
    }
    // Not before: if the caller is killed, its locks hold until its devices are gone.
    child::close_all_but(&mut [link.as_raw_fd(), hold.unwrap_or(-1)]);
    if hold.is_some() {
        _ = shutdown(link.as_raw_fd(), Shutdown::Write);
        child::poll([link.as_fd()], libc::POLLIN, HOLD_MICROSECONDS);
        child::sleep(GRACE_NANOSECONDS);
    }
    child::exit(0)
}

fn send_requests(requests: &[u8]) -> nix::Result<usize> {
    let route = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute)?;
    send(route.as_raw_fd(), requests, MsgFlags::empty())
}

/// Deletes devices: returns when they are gone, and leaves the rest of the work to a child, which also keeps
/// `hold`: then it is given back, to be dropped when `hold` is closed here.
///
/// What is gone already is no error.
pub(crate) fn delete_links(
    route: &mut Socket,
    names: &[&IfName],
    hold: Option<BorrowedFd<'_>>,
) -> Result<Option<Reaper>> {
    let mut left = present(route, names)?;
    if left.is_empty() {
        return Ok(None);
    }
    let watch = Watch::open()?;
    let reaper = Reaper::start(&requests(&left), hold).ok();
    if let Some(reaper) = &reaper {
        let deadline = Instant::now() + PATIENCE;
        while !left.is_empty() && Instant::now() < deadline {
            let done = reaper.is_done(&watch);
            left = present(route, &left)?;
            if done {
                break;
            }
        }
    }
    if !left.is_empty() {
        delete_here(route, &left)?;
    }
    Ok(reaper.filter(|_| hold.is_some()))
}

/// Several devices are deleted as a group, so that they wait once and not one after another.
fn messages(names: &[&IfName]) -> Vec<Message> {
    match names {
        [name] => vec![link::delete(name)],
        names => {
            let group = GROUPS | std::process::id() & 0xffff;
            let members = names.iter().map(|name| link::set_group(name, group));
            members.chain([link::delete_group(group)]).collect()
        }
    }
}

fn requests(names: &[&IfName]) -> Vec<u8> {
    let numbered = messages(names).into_iter().zip(1..);
    numbered.flat_map(|(message, sequence)| message.finish(sequence, 0)).collect()
}

/// Those of `names` that are there.
fn present<'a>(route: &mut Socket, names: &[&'a IfName]) -> Result<Vec<&'a IfName>> {
    let (_, errors) = route.attempt(names.iter().map(|name| link::get(name)).collect())?;
    tolerate(&errors, Errno::ENODEV)?;
    let gone = |at| errors.iter().any(|error| error.index == Some(at));
    Ok(names.iter().enumerate().filter(|(at, _)| !gone(*at)).map(|(_, name)| *name).collect())
}

fn delete_here(route: &mut Socket, names: &[&IfName]) -> Result<()> {
    let (_, errors) = route.attempt(messages(names))?;
    tolerate(&errors, Errno::ENODEV)
}

fn tolerate(errors: &[Error], expected: Errno) -> Result<()> {
    match errors.iter().find(|error| error.errno != expected) {
        Some(error) => Err(Refusal::from(error.clone())),
        None => Ok(()),
    }
}
