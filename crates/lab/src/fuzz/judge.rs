//! Starting a plugin, and what is wrong with how it ended.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Case, Fuzz};
use crate::tool::sh;

/// A plugin that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may take to finish what a plugin has left to it.
const SETTLED: Duration = Duration::from_secs(3);
/// Rows that belong to attachments.
const ROWS: &str = "SELECT 'sandbox', name FROM sandbox; SELECT 'endpoint', id FROM endpoint; \
                    SELECT 'lease', hex(address) FROM lease WHERE endpoint IS NOT NULL; \
                    SELECT 'publish', first, last FROM publish; SELECT 'journal', object, verb FROM journal; \
                    SELECT 'attachment', * FROM attachment;";

/// How a plugin ended.
pub struct Ended {
    /// Whether it reports success.
    pub is_success: bool,
    /// What it printed on standard output.
    pub text: String,
    /// The same as JSON; null if it is empty.
    pub result: Value,
}

/// Runs a plugin to its end and judges that.
pub fn start(fuzz: &Fuzz, case: &Case) -> Result<Ended, String> {
    let (status, out, err) = run(fuzz, case)?;
    let text = String::from_utf8(out).map_err(|_| "its output is no UTF-8".to_owned())?;
    let said = String::from_utf8_lossy(&err);
    if let Some(signal) = status.signal() {
        return Err(format!("killed by signal {signal}: {said}"));
    }
    if said.contains("panicked") {
        return Err(format!("it panicked: {said}"));
    }
    let result = match text.trim() {
        "" => Value::Null,
        text => serde_json::from_str(text).map_err(|error| format!("{error} in its output:\n{text}"))?,
    };
    let is_success = match status.code() {
        Some(0) => true,
        Some(1) => false,
        // Without a verb this name is the command line's.
        Some(2) if case.plugin == "linkspan" && case.verb().is_none_or(str::is_empty) => {
            return Ok(Ended { is_success: false, text, result });
        }
        code => return Err(format!("it exits with {code:?}: {text}{said}")),
    };
    let is_error = result["code"].as_u64().is_some_and(|code| code > 0) && result["msg"].is_string();
    if !is_success && !is_error {
        return Err(format!("it fails without code and msg:\n{text}{said}"));
    }
    if is_success && case.verb() == Some("ADD") && !result.is_object() {
        return Err(format!("ADD succeeds without a result: {text}{said}"));
    }
    Ok(Ended { is_success, text, result })
}

#[allow(clippy::disallowed_methods, reason = "a runtime executes plugins")]
fn run(fuzz: &Fuzz, case: &Case) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), String> {
    let mut command = Command::new(fuzz.plugins.join(&case.plugin));
    command.env_clear().env("LINKSPAN_STATE_DIR", &fuzz.state).env("LINKSPAN_RUN_DIR", &fuzz.run);
    command.envs(case.environment.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start it: {error}"))?;
    let mut stdin = child.stdin.take().expect("its input");
    let (mut stdout, mut stderr) =
        (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    thread::scope(|scope| {
        scope.spawn(move || _ = stdin.write_all(&case.stdin));
        let out = scope.spawn(move || read(&mut stdout));
        let err = scope.spawn(move || read(&mut stderr));
        let status = wait(&mut child);
        let [out, err] = [out, err].map(|thread| thread.join().unwrap_or_default());
        status.map(|status| (status, out, err))
    })
}

fn read(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    _ = from.read_to_end(&mut bytes);
    bytes
}

fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => sleep(Duration::from_micros(200)),
            Ok(None) => {
                _ = child.kill();
                _ = child.wait();
                return Err(format!("it does not end within {PATIENCE:?}"));
            }
            Err(error) => return Err(format!("cannot wait for it: {error}")),
        }
    }
}

/// What attachments could leave behind, a line each. Bridges stay when attachments go.
pub fn traces(fuzz: &Fuzz) -> BTreeSet<String> {
    let database = fuzz.state.join("linkspan.db");
    let text = sh(&format!(
        "ip -br link show type bridge | sed 's/[@ ].*//' | sort >/run/fuzz/bridges
         ip -br link | sed 's/[@ ].*//' | sort | comm -23 - /run/fuzz/bridges | sed 's/^/host: /'
         for name in bare chained; do
           {{ ip -n $name -o link | sed 's/ state .*//; s/<[^>]*>//'; ip -n $name -o -4 address; ip -n $name rule;
             ip -n $name -4 route show table all; }} | sed \"/[: ]lo[: ]/d; s/^/$name: /\"
         done
         nft -s list ruleset 2>/dev/null | grep -e '10\\.2[23]\\.' -e veth -e fuzz0 | sed 's/^/nft: /'
         tc qdisc show dev fuzz0 | sed 's/^/fuzz0: /'
         find /run/cni /var/lib/cni -type f ! -name 'last_reserved_ip.*' ! -name lock 2>/dev/null
         [ ! -e {0} ] || sqlite3 {0} \"{ROWS}\" | sed 's/^/row: /'",
        database.display()
    ));
    text.lines().map(str::to_owned).collect()
}

/// That the host is as it was, or soon will be.
pub fn same(fuzz: &Fuzz, before: &BTreeSet<String>) -> Result<(), String> {
    let deadline = Instant::now() + SETTLED;
    loop {
        let now = traces(fuzz);
        if now == *before {
            return Ok(());
        }
        if Instant::now() > deadline {
            let mut text = "the host is not as before:".to_owned();
            now.difference(before).for_each(|line| _ = write!(text, "\n+ {line}"));
            before.difference(&now).for_each(|line| _ = write!(text, "\n- {line}"));
            return Err(text);
        }
        sleep(Duration::from_millis(20));
    }
}

/// A case as a shell would start it.
pub fn shown(case: &Case) -> String {
    let mut text = case.environment.iter().fold(String::new(), |mut text, (key, value)| {
        _ = write!(text, "{}={value:?} ", key.to_string_lossy());
        text
    });
    _ = write!(text, "{} <<'END'\n{}\nEND", case.plugin, String::from_utf8_lossy(&case.stdin));
    text
}
