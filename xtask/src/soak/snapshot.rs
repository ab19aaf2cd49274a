//! Everything that a command may leave on a host, as lines to compare.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing as _, Result};
use crate::inside::{Host, ip};
use crate::run;

/// Rows that belong to sandboxes; an address given back may be remembered, one held may not.
const ROWS: &str = "SELECT 'sandbox', name FROM sandbox; SELECT 'endpoint', id FROM endpoint; \
                    SELECT 'lease', hex(address) FROM lease WHERE endpoint IS NOT NULL; \
                    SELECT 'publish', first, last FROM publish; SELECT 'journal', object, verb FROM journal;";

/// What is on a host.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at devices, addresses, nf_tables, namespaces, mounts, files and database rows.
    pub fn take(host: &Host) -> Result<Self> {
        let mut lines = BTreeSet::new();
        let mut add =
            |kind: &str, found: Vec<String>| lines.extend(found.iter().map(|line| format!("{kind}: {line}")));
        add("device", columns(&ip("-br link")?, &[0]));
        add("address", columns(&ip("-br -4 address")?, &[0, 2, 3]));
        add("named namespace", entries(Path::new("/run/netns")));
        add("file", entries(Path::new("/etc/netns")));
        add("file", entries(&host.run_directory()));
        add("mount", mounts()?);
        if run::find("nft").is_some() {
            add("nf_tables", elements(&run::output("nft", &["list", "ruleset"])?));
        }
        if let Some(database) = database(&host.state()).filter(|_| run::find("sqlite3").is_some()) {
            let rows = run::output("sqlite3", &[&database.to_string_lossy(), ROWS])?;
            add("row", rows.lines().map(str::to_owned).collect());
        }
        Ok(Self(lines))
    }

    /// What is here and not there (`+`), and the other way round (`-`).
    pub fn difference(&self, before: &Self) -> Vec<String> {
        let more = self.0.difference(&before.0).map(|line| format!("+ {line}"));
        let less = before.0.difference(&self.0).map(|line| format!("- {line}"));
        more.chain(less).collect()
    }
}

/// What a snapshot leaves out on this machine, and why.
pub fn not_compared() -> Vec<String> {
    let missing = [("nft", "nf_tables elements"), ("sqlite3", "database rows")];
    let missing = missing.iter().filter(|(program, _)| run::find(program).is_none());
    missing.map(|(program, what)| format!("{what} are not compared, there is no {program} here")).collect()
}

fn columns(text: &str, wanted: &[usize]) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        wanted.iter().filter_map(|&column| words.get(column)).copied().collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

/// Every path below a directory; none if there is no such directory.
fn entries(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // The agent stays a while in case another sandbox comes.
        if path.ends_with("agent.sock") {
            continue;
        }
        found.push(path.to_string_lossy().into_owned());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(entries(&path));
        }
    }
    found
}

/// Where namespaces are mounted.
fn mounts() -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo").doing("cannot read /proc/self/mountinfo")?;
    let namespaces = text.lines().filter(|line| line.contains(" - nsfs "));
    Ok(namespaces.filter_map(|line| line.split_whitespace().nth(4)).map(str::to_owned).collect())
}

/// The ruleset's lines below the table and chain that they are in, without what counts packets.
fn elements(ruleset: &str) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for line in ruleset.lines().map(str::trim) {
        let line = without_counts(line);
        found.push(format!("{} {line}", path.join(" ")));
        if line.ends_with('{') {
            path.push(line.trim_end_matches('{').trim().to_owned());
        } else if line.ends_with('}') && !line.contains('{') {
            path.pop();
        }
    }
    found
}

fn without_counts(line: &str) -> String {
    let mut words = line.split_whitespace().peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        kept.push(word);
        if matches!(word, "packets" | "bytes") {
            words.next();
        }
    }
    kept.join(" ")
}

/// The SQLite file in the state directory.
fn database(state: &Path) -> Option<PathBuf> {
    let is_database = |path: &PathBuf| {
        fs::File::open(path).is_ok_and(|mut file| {
            let mut start = [0; 15];
            std::io::Read::read_exact(&mut file, &mut start).is_ok() && start == *b"SQLite format 3"
        })
    };
    fs::read_dir(state).ok()?.flatten().map(|entry| entry.path()).find(is_database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_apart_and_counters_are_not() {
        let ruleset = |element: &str, packets: u32| {
            format!(
                "table inet a {{\n map m {{\n elements = {{ 1 : 2,\n {element} }}\n }}\n chain c {{\n \
                 counter packets {packets} bytes 7 accept\n }}\n}}\n"
            )
        };
        assert_eq!(elements(&ruleset("3 : 4", 1)), elements(&ruleset("3 : 4", 2)));
        assert_ne!(elements(&ruleset("3 : 4", 1)), elements(&ruleset("5 : 6", 1)));
    }

    #[test]
    fn differences_name_what_is_left() {
        let snapshot = |lines: &[&str]| Snapshot(lines.iter().map(ToString::to_string).collect());
        let difference =
            snapshot(&["device: lo", "device: veth1"]).difference(&snapshot(&["device: lo", "row: a"]));
        assert_eq!(difference, ["+ device: veth1", "- row: a"]);
    }
}
