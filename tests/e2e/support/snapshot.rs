//! All that a command could leave behind.

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

/// What is printed of the host's state, without what changes by itself: carriers, and IPv6 coming up on the wire.
const PRINTED: [&str; 7] = [
    "ip -o link | sed 's/<[^>]*>//; s/ qdisc .* link/ link/; s/ link-netns.*//'",
    "ip -o address | grep -v 'lan0 .* inet6' | awk '{ print $2, $4 }'",
    "ip -4 route show table all | sed 's/ linkdown//'",
    "ip -6 route show table all | grep -v lan0 | sed 's/ linkdown//'",
    "ip rule",
    "nft -s list ruleset",
    "ip netns list | sed 's/ (id: .*//' | sort",
];

/// Devices, addresses, routes, firewall, namespaces and files of the host, as the system's tools print them.
pub struct Snapshot(Vec<String>);

impl Snapshot {
    /// Takes one.
    pub fn take() -> Self {
        let mut lines = Vec::new();
        for command in PRINTED {
            lines.push(format!("$ {command}"));
            lines.extend(sh(command).lines().map(str::to_owned));
        }
        lines.push("files:".to_owned());
        for directory in ["/run/netns", "/etc/netns", RUN] {
            lines.extend(files(Path::new(directory)).lines().map(str::to_owned));
        }
        Self(lines)
    }

    /// That nothing is otherwise now.
    pub fn is_unchanged(&self) {
        let now = Self::take();
        let only_in = |one: &Self, other: &Self| {
            one.0.iter().filter(|line| !other.0.contains(line)).cloned().collect::<Vec<_>>().join("\n  ")
        };
        let (gone, new) = (only_in(self, &now), only_in(&now, self));
        assert!(self.0 == now.0, "gone:\n  {gone}\nnew:\n  {new}");
    }
}

/// Every file below a directory, a line each.
fn files(directory: &Path) -> String {
    let Ok(entries) = fs::read_dir(directory) else { return String::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    // The agent stays a while in case another sandbox comes.
    paths.retain(|path| !path.ends_with("agent.sock"));
    paths.iter().fold(String::new(), |text, path| {
        if path.is_dir() && !path.is_symlink() {
            text + &files(path)
        } else {
            text + &format!("{}\n", path.display())
        }
    })
}
