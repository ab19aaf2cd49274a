//! A throwaway host with the program on it. It is the one of the test's own namespaces.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The state directory; /run is a fresh tmpfs in each test.
pub const STATE: &str = "/run/state";
/// The run directory.
pub const RUN: &str = "/run/linkspan";

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Fails the test unless the command succeeded; gives what it printed.
    #[track_caller]
    pub fn expect(self, line: &str) -> String {
        assert_eq!(self.code, Some(0), "$ linkspan {line}\n{}{}", self.out, self.err);
        self.out
    }
}

/// The command `linkspan` with `line` as arguments, split at blanks.
pub fn command(line: &str) -> Command {
    command_of(&line.split_whitespace().collect::<Vec<_>>())
}

fn command_of(words: &[&str]) -> Command {
    command_at(STATE, RUN, words)
}

#[allow(clippy::disallowed_methods, reason = "the program is under test")]
fn command_at(state: &str, run: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linkspan"));
    command.args(["--state-dir", state, "--run-dir", run]).args(words).stdin(Stdio::null());
    command
}

/// Runs `linkspan` to its end, however that is.
pub fn try_linkspan(line: &str) -> Answer {
    Answer::of(&command(line).output().expect("start linkspan"))
}

/// Runs `linkspan`, which has to succeed; gives what it prints.
#[track_caller]
pub fn linkspan(line: &str) -> String {
    try_linkspan(line).expect(line)
}

/// Makes the network `lab`, 10.7.0.0/16, with everything that its first sandbox leaves behind.
pub fn make_lab() {
    linkspan("network create --subnet 10.7.0.0/16 -o com.docker.network.bridge.name=lab0 lab");
    linkspan("sandbox create --net lab warm");
    linkspan("sandbox rm warm");
}

/// Starts `linkspan` and goes on.
pub fn start(line: &str) -> Child {
    start_words(&line.split_whitespace().collect::<Vec<_>>())
}

/// The same with arguments that have blanks in them.
pub fn start_words(words: &[&str]) -> Child {
    command_of(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start linkspan")
}

/// Waits for a command that was started.
pub fn finish(child: Child) -> Answer {
    Answer::of(&child.wait_with_output().expect("wait for linkspan"))
}

/// Starts several at once and waits for all of them.
pub fn all_at_once(lines: &[String]) -> Vec<Answer> {
    let children: Vec<_> = lines.iter().map(|line| start(line)).collect();
    children.into_iter().map(finish).collect()
}

/// The ones of `answers` that failed, as text.
pub fn failures(lines: &[String], answers: &[Answer]) -> String {
    let failed = lines.iter().zip(answers).filter(|(_, answer)| answer.code != Some(0));
    failed.fold(String::new(), |mut text, (line, answer)| {
        _ = writeln!(text, "$ linkspan {line}\n{}", answer.err);
        text
    })
}

/// How long a command takes that has to succeed.
pub fn timed(line: &str) -> Duration {
    time(&mut command(line), line)
}

/// The same on a second host, in another namespace, with a state of its own.
pub fn timed_on_another(line: &str) -> Duration {
    let words: Vec<_> = line.split_whitespace().collect();
    time(&mut command_at("/run/state2", "/run/linkspan2", &words), line)
}

fn time(command: &mut Command, line: &str) -> Duration {
    let begin = Instant::now();
    let output = command.output().expect("start linkspan");
    let taken = begin.elapsed();
    Answer::of(&output).expect(line);
    taken
}

/// The names that `sandbox ls` or `network ls` prints.
pub fn listed(kind: &str) -> Vec<String> {
    let table = linkspan(&format!("{kind} ls"));
    let column = usize::from(kind == "network");
    let name = |row: &str| {
        row.split("  ").filter(|cell| !cell.is_empty()).nth(column).map(str::trim).map(str::to_owned)
    };
    table.lines().skip(1).filter_map(name).collect()
}

/// The first IPv4 address of a sandbox's interface.
pub fn address(sandbox: &str, ifname: &str) -> String {
    let text = linkspan_lab::sh(&format!("ip -n {sandbox} -4 -o addr show dev {ifname}"));
    let word = text.split_whitespace().nth(3).expect("an address");
    word.split('/').next().expect("an address").to_owned()
}

/// Whether `repair` has nothing to do.
#[track_caller]
pub fn assert_in_order(when: &str) {
    let left = linkspan("repair --dry-run");
    assert!(left.is_empty(), "{when}, repair would still do:\n{left}");
}

/// Whether the machine has a program that a test needs; if not, the test is skipped.
pub fn has(program: &str) -> bool {
    let there =
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !there {
        linkspan_lab::skip(&format!("there is no {program} here"));
    }
    there
}
