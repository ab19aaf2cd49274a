//! A host of one's own: this program again as root in new namespaces, where it may do what it likes.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use linkspan_kernel::isolation::{isolated, isolated_as_root};

use crate::failure::{Doing as _, Failure, Result};
use crate::flags::Flags;
use crate::run::{self, Scratch};

/// Set in the namespaces to the path of the program under test.
const INSIDE: &str = "LINKSPAN_XTASK_INSIDE";

/// Whether who is root keeps the privileges outside of the host that it works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// As a runtime's network backend has them.
    Kept,
    /// Nothing that is done can reach the machine.
    Dropped,
}

/// Runs `body` on a host of its own, by starting `cargo xtask COMMAND` again in new namespaces.
pub fn run(
    command: &str,
    privileges: Privileges,
    arguments: &[String],
    flags: &Flags,
    body: impl FnOnce(&Host) -> Result<ExitCode>,
) -> Result<ExitCode> {
    if let Some(linkspan) = env::var_os(INSIDE) {
        return body(&Host::new(linkspan.into(), flags)?);
    }
    run::need(&[("ip", "iproute2"), ("nsenter", "util-linux")])?;
    let linkspan = match flags.text("linkspan") {
        Some(file) => fs::canonicalize(file).doing(format!("no {file}"))?,
        None => run::linkspan()?,
    };
    let program = env::current_exe().doing("cannot tell the path of this program")?;
    let words: Vec<OsString> =
        [command].into_iter().chain(arguments.iter().map(String::as_str)).map(Into::into).collect();
    let start = if privileges == Privileges::Kept { isolated_as_root } else { isolated };
    let code = start(&program, &words, &[(INSIDE.into(), linkspan.into())]);
    let code = code
        .doing("cannot make namespaces")
        .map_err(|failure| failure.hint("are user namespaces allowed?"))?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The host, and the program under test on it.
pub struct Host {
    linkspan: PathBuf,
    directory: Scratch,
}

impl Host {
    fn new(linkspan: PathBuf, flags: &Flags) -> Result<Self> {
        let beside = linkspan.parent().unwrap_or(Path::new("/tmp"));
        let parent = flags.text("state").map_or_else(|| beside.to_path_buf(), PathBuf::from);
        let directory = Scratch::new(&parent, "xtask")?;
        Ok(Self { linkspan, directory })
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.linkspan
    }

    /// The directory of the database.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The directory of what goes with the boot; in memory, as on a real host.
    pub fn run_directory(&self) -> PathBuf {
        PathBuf::from("/run/linkspan")
    }

    /// A file for a program to read, such as a batch of commands.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(name);
        fs::write(&path, content).doing(format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A call of `linkspan`: `line` is split at blanks.
    pub fn linkspan(&self, line: &str) -> Command {
        let mut command = Command::new(&self.linkspan);
        command.arg("--state-dir").arg(self.state()).arg("--run-dir").arg(self.run_directory());
        command.args(line.split_whitespace());
        command
    }

    /// Runs a program to its end: how long that takes, from starting it until it has ended.
    pub fn timed(&self, command: &mut Command) -> Result<Duration> {
        let complaints = self.directory.path().join("stderr");
        let file = File::create(&complaints).doing("cannot make a file for errors")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let start = Instant::now();
        let status = command.status();
        let taken = start.elapsed();
        if status.doing(format!("cannot start {command:?}"))?.success() {
            return Ok(taken);
        }
        let cause = fs::read_to_string(&complaints).unwrap_or_default();
        Err(Failure::new(format!("{command:?} failed")).cause(cause))
    }

    /// What `linkspan` prints.
    pub fn asked(&self, line: &str) -> Result<String> {
        let mut command = self.linkspan(line);
        let output = command.stdin(Stdio::null()).output().doing("cannot start linkspan")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Failure::new(format!("linkspan {line} failed")).cause(String::from_utf8_lossy(&output.stderr)))
    }

    /// What is measured, and on what.
    pub fn describe(&self) -> String {
        let first = |program, arguments: &[&str]| {
            run::output(program, arguments).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
        };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let place = self.directory.path().to_string_lossy().into_owned();
        format!(
            "{} on Linux {}, {cores} cores, state on {}",
            self.linkspan.display(),
            first("uname", &["-r"]),
            first("stat", &["-f", "-c", "%T", &place]),
        )
    }
}

/// Runs `ip` to its end; `line` is split at blanks.
pub fn ip(line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    run::output("ip", &words)
}
