//! Packet sockets: frames as they are on one device.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use linkspan_plan::Failure;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::{Refusal, Result};

/// Length of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// A packet socket on one device, for one protocol. It never waits, and keeps its network namespace alive.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens one for `protocol` (linux/if_ether.h) on the device `index` of the calling thread's namespace. Of the frames
    /// that come, it hears those that `filter`, a program for the kernel's packet filter, lets through.
    #[allow(unsafe_code)]
    pub(crate) fn open(index: u32, protocol: u16, filter: &mut [libc::sock_filter]) -> Result<Self> {
        let cannot = |errno: Errno| {
            Refusal::from(errno)
                .at("open a packet socket")
                .hint(Failure::Unsupported, "the kernel lacks packet sockets (CONFIG_PACKET)")
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Without a protocol it hears nothing before it is bound to the device.
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        let fd = Errno::result(fd).map_err(cannot)?;
        // SAFETY: it was just opened, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if !filter.is_empty() {
            attach(&fd, filter).map_err(cannot)?;
        }
        // SAFETY: all zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = index.cast_signed();
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: a live sockaddr_ll is passed with its size.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
        Errno::result(bound).map_err(cannot)?;
        Ok(Self(fd))
    }

    /// Sends a whole frame. One that the queue has no room for is lost, as one on the way is, and nobody is behind a device
    /// that is down.
    ///
    /// # Errors
    /// Those of send(2), as ENODEV if the device is gone.
    pub fn send(&self, frame: &[u8]) -> nix::Result<()> {
        match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::ENETDOWN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// The next frame that has come, cut off at the length of `buffer`; none if there is none.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            return match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => Some(&buffer[..length]),
                // Told once that the device is down; what came before is still there.
                Err(Errno::ENETDOWN | Errno::EINTR) => continue,
                Err(_) => None,
            };
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[allow(unsafe_code)]
fn attach(fd: &OwnedFd, code: &mut [libc::sock_filter]) -> nix::Result<()> {
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // SAFETY: the program and its code are live, their lengths are what is passed, and the kernel copies them.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Errno::result(set).map(drop)
}
