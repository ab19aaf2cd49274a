//! The process behind a socket, found in /proc.

use std::fmt;
use std::fs;

/// A process that can be seen from here.
pub(super) struct Process {
    name: String,
    pid: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// The process with the lowest number that has the socket with this `inode` open.
pub(super) fn of_socket(inode: u32) -> Option<Process> {
    let link = format!("socket:[{inode}]");
    let entries = fs::read_dir("/proc").ok()?;
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let pid = pids.into_iter().find(|pid| has_open(*pid, &link))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Process { name: name.trim_end().to_owned(), pid })
}

fn has_open(pid: u32, link: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link))
}
