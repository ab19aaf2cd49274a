//! What a device does by itself to the packets that it sends (linux/ethtool.h).

use std::os::fd::AsRawFd;

use linkspan_model::IfName;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::error::{Refusal, Result};

/// linux/sockios.h
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_STXCSUM: u32 = 0x17;

/// `struct ethtool_value`
#[repr(C)]
struct Setting {
    command: u32,
    value: u32,
}

/// A `struct ifreq` with a device's name and zeros behind it: a name is shorter than its field.
#[allow(unsafe_code)]
pub(crate) fn about(device: &IfName) -> libc::ifreq {
    // SAFETY: it is plain data, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// Has packets that leave by a device carry their checksums already, and be no larger than its MTU. A virtual device
/// leaves both to hardware that may never come, and whoever takes its packets from a socket gets them as they are.
#[allow(unsafe_code)]
pub(crate) fn finish_packets(device: &IfName) -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut setting = Setting { command: ETHTOOL_STXCSUM, value: 0 };
    let mut request = about(device);
    request.ifr_ifru.ifru_data = (&raw mut setting).cast();
    // SAFETY: the kernel reads the request and, for this command, the setting behind it; both live until it returns.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    Errno::result(outcome).map_err(|errno| Refusal::from(errno).at("switch off tx checksum offload"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::finish_packets;

    #[test]
    fn a_device_that_is_not_there_is_refused() {
        let error = finish_packets(&"nonesuch15chars".parse().unwrap()).unwrap_err().of("x");
        assert!(error.cause.contains("ENODEV"), "{}", error.cause);
    }
}
