//! What a process needs to be allowed to change the network.

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;

use crate::error::Refusal;

/// linux/capability.h
const VERSION_3: u32 = 0x2008_0522;
/// The capabilities that are needed, by their number.
const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, for 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Checks that this process may make devices and namespaces.
///
/// # Errors
/// Naming the capabilities that are missing, and how to get them.
pub fn check() -> Result<(), KernelError> {
    let effective =
        effective().map_err(|errno| Refusal::from(errno).of("read this process's capabilities"))?;
    missing(effective).map_or(Ok(()), |missing| {
        let hint = "run it as root (sudo), or try it on a network of your own: unshare -Urmn";
        Err(Refusal::new(Failure::Privilege, missing)
            .hint(Failure::Privilege, hint)
            .of("change this host's network"))
    })
}

fn missing(effective: u32) -> Option<String> {
    let lacks: Vec<&str> =
        NEEDED.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect();
    (!lacks.is_empty()).then(|| format!("this process lacks {}", lacks.join(" and ")))
}

/// The first 32 capabilities in force.
#[allow(unsafe_code)]
fn effective() -> nix::Result<u32> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 writes two data structures, which `data` has room for.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    Errno::result(done).map(|_| data[0].effective)
}

#[cfg(test)]
mod tests {
    use super::{effective, missing};

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(u32::MAX), None);
        assert_eq!(missing(1 << 21).as_deref(), Some("this process lacks CAP_NET_ADMIN"));
        assert_eq!(missing(0).as_deref(), Some("this process lacks CAP_NET_ADMIN and CAP_SYS_ADMIN"));
    }

    #[test]
    fn the_kernel_says_the_same_in_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let all = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(effective().unwrap(), (all & 0xffff_ffff) as u32);
    }
}
