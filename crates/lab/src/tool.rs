//! Commands of the system, as a user of it would type them.

use std::process::{Command, Stdio};

/// Runs a shell command in the calling thread's namespace; gives what it prints. It has to succeed.
pub fn sh(command: &str) -> String {
    let (success, text) = run(command);
    assert!(success, "$ {command}\n{text}");
    text
}

/// Runs a shell command; gives whether it succeeded, and what it printed on both streams.
pub fn run(command: &str) -> (bool, String) {
    let output = shell(&format!("{{ {command}\n}} 2>&1")).output().expect("run a shell");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[allow(clippy::disallowed_methods, reason = "tests judge by the system's own tools")]
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null());
    shell
}
