//! Taps, which rtnetlink cannot make: only /dev/net/tun does (linux/if_tun.h).

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use libc::{
    IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_TUN_EXCL, IFF_VNET_HDR, TUNSETGROUP, TUNSETIFF, TUNSETOWNER,
    TUNSETPERSIST,
};
use linkspan_model::IfName;
use linkspan_plan::Failure;
use nix::errno::Errno;

use crate::error::{Refusal, Result};
use crate::ethtool;
use crate::netns::errno;

const DEVICE: &str = "/dev/net/tun";

/// Who may open a tap without privileges, and how. Numbers are those of the caller's user namespace.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Opening {
    /// This user.
    pub(crate) owner: Option<u32>,
    /// This group.
    pub(crate) group: Option<u32>,
    /// Whether several may, for a queue each.
    pub(crate) multi_queue: bool,
}

/// Makes a tap in the calling thread's network namespace that stays when this process ends, down. A device of that
/// name is left alone and is an error.
pub(crate) fn create(name: &IfName, opening: Opening) -> Result<()> {
    let device = open()?;
    let exists = format!("a device {name} exists already: choose another name (ifname)");
    set_interface(device.as_raw_fd(), name, opening.multi_queue).map_err(|errno| match errno {
        // tun_set_iff() in drivers/net/tun.c
        Errno::EBUSY => Refusal::from(Errno::EEXIST).hint(Failure::Exists, exists),
        errno => Refusal::from(errno).at("TUNSETIFF"),
    })?;
    let whose = [(TUNSETOWNER, "TUNSETOWNER", opening.owner), (TUNSETGROUP, "TUNSETGROUP", opening.group)];
    for (request, called, number) in whose {
        let Some(number) = number else { continue };
        let unknown = "users and groups are numbered as in the user namespace of this process";
        set(device.as_raw_fd(), request, number.into())
            .map_err(|errno| Refusal::from(errno).at(called).hint(Failure::Other, unknown))?;
    }
    set(device.as_raw_fd(), TUNSETPERSIST, 1).map_err(|errno| Refusal::from(errno).at("TUNSETPERSIST"))
}

fn open() -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE);
    opened.map_err(|error| {
        let missing = "the kernel lacks taps: load the module tun (CONFIG_TUN)";
        let refusal = Refusal::from(errno(&error)).at(DEVICE).hint(Failure::NotFound, missing);
        match error.kind() {
            ErrorKind::PermissionDenied => {
                refusal.hint(Failure::Privilege, format!("run it as root, or let others open {DEVICE}"))
            }
            _ => refusal,
        }
    })
}

#[allow(unsafe_code)]
fn set_interface(fd: RawFd, name: &IfName, multi_queue: bool) -> nix::Result<()> {
    let mut request = ethtool::about(name);
    // The header is what virtual machines open it with; each may choose anew.
    let queues = if multi_queue { IFF_MULTI_QUEUE } else { 0 };
    request.ifr_ifru.ifru_flags =
        (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL | queues) as libc::c_short;
    // SAFETY: the request is a `struct ifreq` that lives for the call.
    Errno::result(unsafe { libc::ioctl(fd, TUNSETIFF, &raw mut request) }).map(drop)
}

#[allow(unsafe_code)]
fn set(fd: RawFd, request: libc::Ioctl, value: libc::c_long) -> nix::Result<()> {
    // SAFETY: these requests take their argument by value and touch no memory.
    Errno::result(unsafe { libc::ioctl(fd, request, value) }).map(drop)
}
