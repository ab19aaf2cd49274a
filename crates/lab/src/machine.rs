//! Stand-ins for virtual machines.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread;

use crate::Net;

const TUN: &str = "/dev/net/tun";
/// Longer than any frame.
const FRAME: usize = 65_536;

/// Whether this user may open taps; if not, the test says that it is skipped.
pub fn may_open_taps() -> bool {
    let opened = OpenOptions::new().read(true).write(true).open(TUN);
    if let Err(error) = &opened {
        crate::skip(&format!("{TUN} cannot be opened by this user: {error}"));
    }
    opened.is_ok()
}

impl Net {
    /// A namespace called `name` in place of a virtual machine: its `eth0`, with this MAC, is what has the tap `device`
    /// of the calling thread's namespace open, as qemu would have. It has no address yet.
    pub fn machine(name: &str, device: &str, mac: &str) -> Self {
        let machine = Self::new(name);
        let outer = open_tap(device).unwrap_or_else(|error| panic!("open tap {device}: {error}"));
        let inner = machine.enter(|| open_tap("eth0")).expect("open eth0 of a machine");
        machine.sh(&format!("ip link set eth0 address {mac} up"));
        carry(&outer, &inner);
        carry(&inner, &outer);
        // The kernel tells a bridge of a carrier with up to a second's delay.
        crate::sh(&format!(
            "timeout 5 sh -c 'until ip link show {device} | grep -q \"state UP\"; do sleep 0.01; done'"
        ));
        machine
    }
}

/// Takes frames from one tap to another for as long as both are there.
fn carry(from: &File, to: &File) {
    let (mut from, mut to) = (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"));
    thread::spawn(move || {
        let mut frame = vec![0; FRAME];
        while let Ok(length) = from.read(&mut frame) {
            // Where it does not get through it is lost, as on any wire.
            _ = to.write(&frame[..length]);
        }
    });
}

/// Opens a tap of the calling thread's namespace; makes one that goes with the descriptor if there is none.
fn open_tap(name: &str) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(TUN)?;
    // SAFETY: `struct ifreq` is plain data, for which all zeros are a value.
    #[allow(unsafe_code)]
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request is a `struct ifreq` that lives for the call, with a name that ends in a NUL.
    #[allow(unsafe_code)]
    let outcome = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if outcome == 0 { Ok(file) } else { Err(std::io::Error::last_os_error()) }
}
