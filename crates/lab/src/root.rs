//! Tests that need the machine's own root: container runtimes have cgroups and devices.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{alarm, geteuid};

use crate::{INSIDE, LIMIT_SECONDS, SKIPPED, note, report};

/// What prepares the namespaces and then becomes the test.
const PREPARE: &str = include_str!("root.sh");

/// As [`crate::run`], but without a user namespace: as the machine's own root, in new mount, network and process
/// namespaces, with an empty /run, own cgroups (version 2) and own directories of container runtimes in /etc, /opt and
/// /var/lib. Skipped for any other user.
pub fn run_as_root(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        alarm::set(LIMIT_SECONDS);
        return body();
    }
    let everybody = fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    if !geteuid().is_root() || !everybody {
        return note(test, &format!("{SKIPPED}container runtimes need the machine's own root"));
    }
    let mut output = File::from(memfd_create("test output", MFdFlags::MFD_CLOEXEC).expect("memfd"));
    let code = command(test, &output).status().expect("run unshare").code();
    output.rewind().expect("rewind");
    let mut text = String::new();
    output.read_to_string(&mut text).expect("output of the test");
    if text.contains("running 1 test") {
        report(test, code.unwrap_or(-1), &text);
    } else {
        note(test, &format!("{SKIPPED}no namespaces for container runtimes: {}", text.trim()));
    }
}

#[allow(clippy::disallowed_methods, reason = "namespaces are made by the system's own tools")]
fn command(test: &str, output: &File) -> Command {
    let stream = || Stdio::from(output.try_clone().expect("a descriptor"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    command.args(["sh", "-c", PREPARE, "sh"]).arg(env::current_exe().expect("path of this program"));
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env(INSIDE, "1");
    command.stdin(Stdio::null()).stdout(stream()).stderr(stream());
    command
}
