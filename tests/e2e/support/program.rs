//! The program under test.
#![allow(clippy::disallowed_methods, reason = "the program under test is run as its users run it")]

use std::process::{Command, Output};

use serde_json::Value;

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_linkspan");
/// Where it keeps its state in these tests.
pub const STATE: &str = "/run/st";
/// Where it keeps its files in these tests.
pub const RUN: &str = "/run/linkspan";

/// The same for a shell, before the program.
pub const ENVIRONMENT: &str = "LINKSPAN_STATE_DIR=/run/st LINKSPAN_RUN_DIR=/run/linkspan";

/// The program with the arguments in `line`, which are separated by spaces.
pub fn program(line: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.args(line.split_whitespace());
    command.env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN);
    command
}

/// Runs it to its end.
pub fn run_program(line: &str) -> Output {
    program(line).output().expect("run linkspan")
}

/// Runs it; gives what it prints. It has to succeed.
pub fn linkspan(line: &str) -> String {
    let output = run_program(line);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "$ linkspan {line}\n{out}{err}{}", output.status);
    out.into_owned()
}

/// Runs it; gives the JSON that it prints.
pub fn json(line: &str) -> Value {
    let text = linkspan(line);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("$ linkspan {line}\n{text}\n{error}"))
}

/// How a command was refused.
pub struct Refusal {
    pub line: String,
    pub code: Option<i32>,
    pub text: String,
}

/// Runs it; it has to fail, in the form that errors have.
pub fn refused(line: &str) -> Refusal {
    let output = run_program(line);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let refusal = Refusal { line: line.to_owned(), code: output.status.code(), text };
    refusal.has_the_form();
    refusal
}

impl Refusal {
    /// That the message has all of these words.
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.text.contains(word), "no '{word}' in:\n{self}");
        }
        self
    }

    /// That it hints at what to do, with these words.
    pub fn hints(self, words: &str) -> Self {
        let found = self.text.lines().any(|line| line.starts_with("hint: ") && line.contains(words));
        assert!(found, "no hint with '{words}' in:\n{self}");
        self
    }

    fn has_the_form(&self) {
        assert!(matches!(self.code, Some(1 | 2)), "{self}");
        assert!(self.text.starts_with("error: "), "{self}");
        let lines = self.text.lines().skip(1);
        let known = lines.filter(|line| !line.starts_with("cause: ") && !line.starts_with("hint: "));
        assert_eq!(known.count(), 0, "more than error:, cause: and hint: in\n{self}");
        assert!(!self.text.contains("panicked"), "{self}");
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "$ linkspan {}\n{}exit code {:?}", self.line, self.text, self.code)
    }
}
