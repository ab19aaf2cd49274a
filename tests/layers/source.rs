//! Rust sources: what they name, apart from comments, strings and tests.

use std::path::Path;

use crate::Violation;
use crate::rules::{BANS, Ban, Find, LINES, LINES_WHY, SAFETY_WHY};
use crate::scrub::{self, Scrubbed};

/// A source file, seen in the ways that the rules ask for.
pub struct Source {
    path: String,
    lines: Vec<String>,
    all: Scrubbed,
    without_tests: Scrubbed,
    /// Modules that exist in tests only and live in files of their own.
    test_modules: Vec<String>,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Self {
        let all = scrub::comments_and_strings(text);
        let (without_tests, test_modules) = scrub::tests(&all);
        let lines = text.lines().map(str::to_owned).collect();
        Self { path: path.to_owned(), lines, all, without_tests, test_modules }
    }

    /// Path prefixes of the files that hold this one's test modules.
    fn test_files(&self) -> impl Iterator<Item = String> + '_ {
        let path = Path::new(&self.path);
        let own =
            matches!(path.file_name().and_then(|name| name.to_str()), Some("lib.rs" | "main.rs" | "mod.rs"));
        let directory =
            if own { path.parent().unwrap_or(path).to_path_buf() } else { path.with_extension("") };
        self.test_modules.iter().map(move |module| directory.join(module).to_string_lossy().into_owned())
    }

    fn violation(&self, line: usize, what: &str, why: &'static str) -> Violation {
        Violation { path: self.path.clone(), line: line + 1, what: what.to_owned(), why }
    }
}

/// The places that break a rule.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let test_files: Vec<String> = sources.iter().flat_map(Source::test_files).collect();
    let mut found = Vec::new();
    for source in sources {
        let in_tests = is_test_file(&source.path, &test_files);
        for ban in BANS.iter().filter(|ban| holds(ban, &source.path) && (ban.in_tests || !in_tests)) {
            found.extend(banned(source, ban));
        }
        found.extend(unexplained_unsafe(source));
        if source.lines.len() > LINES {
            found.push(source.violation(LINES, &format!("{} lines", source.lines.len()), LINES_WHY));
        }
    }
    found
}

fn is_test_file(path: &str, test_files: &[String]) -> bool {
    let in_tests_directory =
        path.starts_with("tests/") || path.contains("/tests/") || path.contains("/benches/");
    let is_module = |prefix: &String| {
        path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    in_tests_directory || test_files.iter().any(is_module)
}

fn holds(ban: &Ban, path: &str) -> bool {
    let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    any(ban.within) && !any(ban.except)
}

fn banned(source: &Source, ban: &Ban) -> Vec<Violation> {
    let seen = if ban.in_tests { &source.all } else { &source.without_tests };
    let mut found = Vec::new();
    for find in ban.what {
        match find {
            Find::Code(name) => {
                let mut lines: Vec<usize> = numbered(&seen.code)
                    .filter(|(_, line)| scrub::names(line, name))
                    .map(|(n, _)| n)
                    .collect();
                if name.contains("::") {
                    let uses = scrub::uses(&seen.code);
                    lines.extend(uses.iter().filter(|(_, path)| scrub::names(path, name)).map(|(n, _)| n));
                }
                lines.sort_unstable();
                lines.dedup();
                found.extend(lines.into_iter().map(|line| source.violation(line, name, ban.why)));
            }
            Find::Word(word) => {
                let lines = numbered(&seen.text).filter(|(_, line)| scrub::has_word(line, word));
                found.extend(lines.map(|(line, _)| source.violation(line, word, ban.why)));
            }
        }
    }
    found
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate()
}

fn unexplained_unsafe(source: &Source) -> Vec<Violation> {
    let code: Vec<&str> = source.all.code.lines().collect();
    let lines = (0..code.len()).filter(|&line| scrub::names(code[line], "unsafe"));
    lines
        .filter(|&line| !explained(source, &code, line))
        .map(|line| source.violation(line, "unsafe", SAFETY_WHY))
        .collect()
}

/// Whether a comment with SAFETY is on the line, or above the statement that it belongs to.
fn explained(source: &Source, code: &[&str], line: usize) -> bool {
    let says =
        |line: usize| source.lines[line].contains("SAFETY:") || source.lines[line].contains("# Safety");
    if says(line) {
        return true;
    }
    for above in (0..line).rev() {
        let (shown, code) = (source.lines[above].trim(), code[above].trim());
        if code.is_empty() && !shown.is_empty() {
            if says(above) {
                return true;
            }
        } else if shown.is_empty() || (!code.starts_with("#[") && code.ends_with([';', '{', '}', ','])) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        found_in(&[(path, text)])
    }

    fn found_in(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::parse(path, text)).collect();
        check(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn io_in_the_model_is_caught_with_its_line_and_reason() {
        assert_eq!(
            found("crates/model/src/a.rs", "use std::net::IpAddr;\n\nfn f() { std::fs::read(\"x\"); }\n"),
            ["crates/model/src/a.rs:3: std::fs: model and plan are pure: no IO, no clock, no system call"]
        );
        assert!(found("crates/kernel/src/a.rs", "use std::fs;\n").is_empty());
    }

    #[test]
    fn nested_imports_are_spelled_out() {
        let text = "use std::{\n    net::{IpAddr, TcpStream},\n    fs as files,\n};\n";
        let found = found("crates/plan/src/a.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|line| line.contains("a.rs:1: std::fs:")), "{found:?}");
    }

    #[test]
    fn comments_strings_and_tests_are_not_code() {
        let path = "crates/model/src/a.rs";
        for text in [
            "// std::fs\n/* std::fs /* nested */ std::fs */\n",
            "const A: &str = \"std::fs \\\" std::fs\"; const B: char = '\"'; const C: &str = r#\"std::fs\"#;\n",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() { if true { } }\n}\n",
            "struct A<'a>(&'a str);\n// it's std::fs\n",
        ] {
            assert!(found(path, text).is_empty(), "{text}");
        }
        let after = "#[cfg(test)]\nmod tests { fn f() {} }\nuse std::fs;\n";
        assert_eq!(found(path, after).len(), 1);
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_tests() {
        let parent = ("crates/plan/src/diff.rs", "#[cfg(test)]\nmod tests;\nmod real;\n");
        let files = [
            parent,
            ("crates/plan/src/diff/tests.rs", "use std::fs;\n"),
            ("crates/plan/src/diff/tests/more.rs", "use std::fs;\n"),
        ];
        assert!(found_in(&files).is_empty());
        assert_eq!(found_in(&[parent, ("crates/plan/src/diff/real.rs", "use std::fs;\n")]).len(), 1);
    }

    #[test]
    fn spawning_is_for_tests_and_developers() {
        let text = "fn f() { std::process::Command::new(\"ip\"); }\n";
        assert!(!found("crates/engine/src/a.rs", text).is_empty());
        assert!(!found("src/main.rs", "use std::process::Command as Run;\n").is_empty());
        assert!(found("crates/engine/tests/a.rs", text).is_empty());
        assert!(found("xtask/src/main.rs", text).is_empty());
    }

    #[test]
    fn wire_formats_are_found_in_names_and_strings_of_the_core() {
        let path = "crates/engine/src/a.rs";
        for text in [
            "struct CniResult;\n",
            "fn parse_cni() {}\n",
            "const K: &str = \"cni.dev/x\";\n",
            "use netavark::A;\n",
        ] {
            assert_eq!(found(path, text).len(), 1, "{text}");
            assert!(found("crates/cni/src/a.rs", text).is_empty(), "{text}");
        }
        assert!(found(path, "// As the CNI plugins do.\nfn picnic() {}\n").is_empty());
    }

    #[test]
    fn unsafe_stays_in_the_kernel_crate_even_in_tests() {
        let text = "#[cfg(test)]\nmod tests {\n    fn f() {\n        // SAFETY: fine.\n        unsafe { g() }\n    }\n}\n";
        assert_eq!(found("crates/store/src/a.rs", text).len(), 1);
        assert_eq!(found("tests/a.rs", text).len(), 1);
        assert!(found("crates/kernel/src/a.rs", text).is_empty());
        assert!(found("crates/store/src/a.rs", "#![forbid(unsafe_code)]\n// unsafe\n").is_empty());
    }

    #[test]
    fn unsafe_without_its_reason_is_caught() {
        let path = "crates/kernel/src/a.rs";
        for text in [
            "fn f() {\n    unsafe { g() }\n}\n",
            "fn f() {\n    // SAFETY: of another.\n    let a = 1;\n    unsafe { g() }\n}\n",
            "// Fine.\nunsafe impl Send for A {}\n",
        ] {
            assert_eq!(found(path, text).len(), 1, "{text}");
        }
        for text in [
            "fn f() {\n    // SAFETY: g asks nothing,\n    // really.\n    let a =\n        unsafe { g() };\n}\n",
            "fn f() {\n    // SAFETY: ok.\n    #[allow(unsafe_code)]\n    unsafe { g() }\n}\n",
            "/// Does.\n///\n/// # Safety\n/// Call it once.\npub unsafe fn f() {}\n",
        ] {
            assert!(found(path, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn long_files_are_caught() {
        assert_eq!(found("crates/store/src/a.rs", &"// line\n".repeat(LINES + 1)).len(), 1);
    }
}
