//! All that a command could leave behind.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use linkspan_lab::{run_tool, sh};

use super::program::RUN;

/// Whether the program is installed; if not, the test says that it is skipped.
pub fn has(program: &str) -> bool {
    let there = run_tool(&format!("command -v {program}")).0;
    if !there {
        linkspan_lab::skip(&format!("{program} is not installed (tests/tools.sh)"));
    }
    there
}

/// Devices, addresses, routes, firewall, namespaces and files of the host, as the system's tools print them.
#[derive(PartialEq, Eq)]
pub struct Snapshot(String);

impl Snapshot {
    /// Takes one.
    pub fn take() -> Self {
        let mut text = String::new();
        for command in [
            "ip -o link | sed 's/ qdisc .*//'",
            "ip -br address",
            "ip route show table all",
            "ip -6 route",
            "nft list ruleset",
            "ip netns list",
        ] {
            _ = writeln!(text, "$ {command}\n{}", sh(command));
        }
        for directory in ["/run/netns", "/etc/netns", RUN] {
            text += &files(Path::new(directory));
        }
        Self(text)
    }

    /// That nothing is otherwise now.
    pub fn is_unchanged(&self) {
        let now = Self::take();
        assert!(*self == now, "before:\n{}\nnow:\n{}", self.0, now.0);
    }
}

/// Every file below a directory, a line each.
fn files(directory: &Path) -> String {
    let Ok(entries) = fs::read_dir(directory) else { return String::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().fold(String::new(), |text, path| {
        if path.is_dir() && !path.is_symlink() {
            text + &files(path)
        } else {
            text + &format!("{}\n", path.display())
        }
    })
}
