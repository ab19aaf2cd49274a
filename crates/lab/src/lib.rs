//! A laboratory for tests: each runs as root in namespaces of its own, with hosts, traffic and tools.
//!
//! ```no_run
//! #[test]
//! fn a_packet_arrives() {
//!     linkspan_lab::run(linkspan_lab::here!(), || assert_eq!(1 + 1, 2));
//! }
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backend;
mod capture;
mod conflist;
mod fuzz;
mod machine;
mod net;
mod questions;
mod random;
mod root;
mod tool;
mod traffic;

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use linkspan_kernel::isolation::isolated_into;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::alarm;

pub use backend::{Backend, Churned, Guest, churn};
pub use capture::Capture;
pub use conflist::{Attachment, Outcome, PluginFailure, Runtime};
pub use fuzz::{Case, Count, Fuzz};
pub use machine::may_open_taps;
pub use net::{Net, wire};
pub use questions::Replies;
pub use random::{Random, from_env};
pub use root::run_as_root;
pub use tool::{run as run_tool, sh};
pub use traffic::{Flow, PATIENCE};

/// Set in the process that a test runs in.
const INSIDE: &str = "LINKSPAN_ISOLATED";
/// What a test prints that cannot run here, with the reason behind it.
const SKIPPED: &str = "skipped: ";
/// A test that takes longer hangs, also on an emulated machine.
const LIMIT_SECONDS: u32 = 600;

/// The name of the test that this stands in, as the test harness knows it.
#[macro_export]
macro_rules! here {
    () => {{
        fn here() {}
        $crate::test_name(::std::any::type_name_of_val(&here))
    }};
}

/// The path of a test within its crate, from the type name of a function `here` inside the test.
pub fn test_name(function: &'static str) -> &'static str {
    let inner = function.trim_end_matches("::here").trim_end_matches("::{{closure}}");
    inner.split_once("::").map_or(inner, |(_, path)| path)
}

/// Runs `body` as root in new user, mount, network and process namespaces, by executing this test program
/// again for the one test named `test` ([`here!`]). What it prints is shown if it fails.
pub fn run(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        alarm::set(LIMIT_SECONDS);
        heed_interrupts();
        return body();
    }
    let args = ["--exact", test, "--nocapture", "--include-ignored"].map(OsString::from);
    let mut output = File::from(memfd_create("test output", MFdFlags::MFD_CLOEXEC).expect("memfd"));
    let program = env::current_exe().expect("path of this program");
    match isolated_into(output.as_fd(), &program, &args, &[(INSIDE.into(), "1".into())]) {
        Ok(code) => {
            output.rewind().expect("rewind");
            let mut text = String::new();
            output.read_to_string(&mut text).expect("output of the test");
            report(test, code, &text);
        }
        Err(error) => note(test, &format!("{SKIPPED}{error}")),
    }
}

/// A shell without job control starts what runs in its background with SIGINT and SIGQUIT ignored, which is inherited,
/// and a shell that a test starts could not trap them.
#[allow(unsafe_code)]
fn heed_interrupts() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: the default action runs no code of this program.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.expect("signal");
    }
}

fn report(test: &str, code: i32, text: &str) {
    println!("{text}");
    assert!(text.contains("running 1 test\n"), "no test is named {test}");
    text.lines().filter(|line| line.starts_with(SKIPPED)).for_each(|line| note(test, line));
    assert_eq!(code, 0, "{test} failed in its namespaces, see above");
}

/// Past the harness's capture, so that it shows in the summary of a run that succeeds.
fn note(test: &str, line: &str) {
    _ = std::io::stderr().write_all(format!("{test}: {line}\n").as_bytes());
}

/// Says that the running test cannot run here, and why. The test then returns.
pub fn skip(why: &str) {
    println!("{SKIPPED}{why}");
}
