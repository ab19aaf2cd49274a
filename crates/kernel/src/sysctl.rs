//! Sysctls, as files below /proc/sys. A path below net means the network namespace of the calling thread.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use linkspan_model::IfName;
use nix::errno::Errno;

use crate::error::{Refusal, Result};
use crate::netns::errno;

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

/// The value of `key`, as `net/ipv4/ip_forward`; none if the kernel has no such key.
pub(crate) fn read(key: &str) -> Result<Option<String>> {
    match fs::read_to_string(path(key)).map_err(|error| errno(&error)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Refusal::from(errno).at(path(key).display())),
    }
}

/// Sets `key`.
pub(crate) fn write(key: &str, value: &str) -> Result<()> {
    put(key, value).map_err(|errno| Refusal::from(errno).at(path(key).display()))
}

/// Sets `key` if the kernel has it: IPv6 may be off, and a device with an MTU below 1280 has none.
pub(crate) fn write_if_there(key: &str, value: &str) -> Result<()> {
    match put(key, value) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(Refusal::from(errno).at(path(key).display())),
    }
}

/// Switches IPv6 on for a device, where it is off for new devices. Not without looking: the write spins for as long
/// as anybody on the host changes a device.
pub(crate) fn allow_ipv6(device: &IfName) -> Result<()> {
    let key = format!("net/ipv6/conf/{device}/disable_ipv6");
    if read(&key)?.as_deref() == Some("1") { write(&key, "0") } else { Ok(()) }
}

// Not fs::write: with O_CREAT a missing key is EACCES.
fn put(key: &str, value: &str) -> nix::Result<()> {
    let file = OpenOptions::new().write(true).open(path(key));
    file.and_then(|mut file| file.write_all(value.as_bytes())).map_err(|error| errno(&error))
}

/// The IPv6 setting `key` of a device, if there is such.
fn of_device(device: &IfName, key: &str) -> Result<Option<String>> {
    read(&format!("net/ipv6/conf/{device}/{key}"))
}

/// Gives the device `to` the IPv6 setting `key` that `from` has, unless it has it.
pub(crate) fn copy(from: &IfName, to: &IfName, key: &str) -> Result<()> {
    match of_device(from, key)? {
        Some(value) if of_device(to, key)?.as_ref() != Some(&value) => {
            write_if_there(&format!("net/ipv6/conf/{to}/{key}"), &value)
        }
        _ => Ok(()),
    }
}

/// Has `to` learn from routers as `from` does, which does not where IPv6 is off.
pub(crate) fn copy_learning(from: &IfName, to: &IfName) -> Result<()> {
    match of_device(from, "disable_ipv6")?.as_deref() {
        Some("1") => write_if_there(&format!("net/ipv6/conf/{to}/accept_ra"), "0"),
        _ => copy(from, to, "accept_ra"),
    }
}

/// Has `to` go on learning from routers, where the host has begun to forward while `from` did so in its place.
pub(crate) fn keep_learning(from: &IfName, to: &IfName) -> Result<()> {
    let goes_on = of_device(from, "accept_ra")?.as_deref() == Some("2")
        && of_device(to, "accept_ra")?.as_deref() == Some("1");
    if goes_on { write_if_there(&format!("net/ipv6/conf/{to}/accept_ra"), "2") } else { Ok(()) }
}
