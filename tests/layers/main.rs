//! Fails the build on an import that breaks the layers, and says why.
//!
//! The rules are data, in `rules.rs`. `manifest.rs` reads the `Cargo.toml` files, `source.rs` the Rust
//! sources; neither runs a program, so this test needs nothing but the checkout.

#![allow(clippy::panic, reason = "a checkout that cannot be read fails the test")]

mod manifest;
mod rules;
mod scrub;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use manifest::Manifest;
use source::Source;

/// One broken rule, at one place.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    line: usize,
    what: String,
    why: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.what, self.why)
    }
}

#[test]
fn dependencies_follow_the_layers() {
    let root = root();
    let manifests: Vec<Manifest> =
        files(&root, "Cargo.toml").iter().map(|path| Manifest::parse(path, &read(&root, path))).collect();
    assert!(
        manifests.iter().filter(|manifest| !manifest.package.is_empty()).count() > 5,
        "no packages found"
    );
    report(manifests.iter().flat_map(manifest::check).collect());
}

#[test]
fn sources_follow_the_rules() {
    let root = root();
    let paths = files(&root, ".rs");
    assert!(paths.len() > 20, "no sources found");
    let sources: Vec<Source> = paths.iter().map(|path| Source::parse(path, &read(&root, path))).collect();
    report(source::check(&sources));
}

fn report(violations: Vec<Violation>) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} forbidden:\n  {}\n", lines.len(), lines.join("\n  "));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the checkout whose name ends so, by its path below the root, sorted.
fn files(root: &Path, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries =
            fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                pending.push(path);
            } else if name.ends_with(ending) && path.is_file() {
                let below = path.strip_prefix(root).unwrap_or(&path);
                found.push(below.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
