//! Everything that a command may leave on a host, as lines to compare.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_lab::sh;

use crate::host::{RUN, STATE, listed};

/// How long the kernel may take to finish what a command has left to it.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is held; an address given back may be remembered.
const ROWS: &str = "SELECT 'network', name FROM network; SELECT 'sandbox', name FROM sandbox; \
    SELECT 'endpoint', id FROM endpoint; SELECT 'publish', first, last FROM publish; \
    SELECT 'lease', hex(address) FROM lease WHERE endpoint IS NOT NULL; \
    SELECT 'journal', object, verb FROM journal;";

/// What is on a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at devices, addresses, routes, nf_tables, namespaces, mounts, files and database rows.
    pub fn take() -> Self {
        let mut lines = BTreeSet::new();
        let mut add = |kind: &str, text: &str| {
            lines.extend(text.lines().map(|line| format!("{kind}: {}", line.trim())));
        };
        add("link", &sh("ip -br link | sed 's,[@ ].*,,'"));
        add("address", &sh("ip -br -4 addr | awk '{print $1, $3, $4}'"));
        add("route", &sh("ip -4 route | sed 's/ linkdown//'"));
        add("nft", &sh("nft -s list ruleset"));
        add("mount", &sh("grep ' - nsfs ' /proc/self/mountinfo | cut -d' ' -f5"));
        add("file", &files(Path::new("/run/netns")));
        add("file", &files(Path::new("/etc/netns")));
        add("file", &files(Path::new(RUN)));
        add("listed", &listed("sandbox").join("\n"));
        if Path::new("/usr/bin/sqlite3").exists() {
            add("row", &sh(&format!("sqlite3 {STATE}/linkspan.db \"{ROWS}\"")));
        }
        Self(lines)
    }

    fn difference(&self, before: &Self) -> Vec<String> {
        let more = self.0.difference(&before.0).map(|line| format!("+ {line}"));
        let less = before.0.difference(&self.0).map(|line| format!("- {line}"));
        more.chain(less).collect()
    }

    /// Fails the test unless the host soon is as this snapshot shows it.
    #[track_caller]
    pub fn assert_restored(&self, when: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let difference = Self::take().difference(self);
            if difference.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{when}, the host differs:\n{}", difference.join("\n"));
            sleep(Duration::from_millis(20));
        }
    }
}

/// Every file below a directory with its text, or what it links to; nothing if there is no such directory.
fn files(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // The agent stays a while in case another sandbox comes.
        if path.ends_with("agent.sock") {
            continue;
        }
        let name = path.display();
        if let Ok(target) = fs::read_link(&path) {
            text += &format!("{name} -> {}\n", target.display());
        } else if path.is_dir() {
            text += &format!("{name}/\n{}", files(&path));
        } else {
            let content = fs::read_to_string(&path).unwrap_or_default();
            text += &format!("{name}\n");
            content.lines().for_each(|line| text += &format!("{name}: {line}\n"));
        }
    }
    text
}
