//! Programs that a lab keeps running in its sandboxes: each has a record in the run directory, written by itself
//! before it becomes the program.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkspan_engine::Files;
use linkspan_kernel::launch::{Process, launch};
use linkspan_kernel::process::Entry;
use linkspan_model::{Invalid, Name, NamespaceSource, Sandbox};
use linkspan_plan::KernelError;

use crate::file::Command;

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(3);
const RECORD: &str = "program";
const LOG: &str = "log";

/// A program of a sandbox.
#[derive(Clone, Debug)]
pub struct Program {
    /// The sandbox.
    pub sandbox: Name,
    /// The program.
    pub command: Command,
    /// Its record, if it was looked up.
    pub record: Option<PathBuf>,
    /// Whether it runs.
    pub runs: bool,
}

/// The records of one lab.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

impl Records {
    /// The records of `lab` in the run directory `run`.
    pub fn of(run: &Path, lab: &Name) -> Self {
        let run = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
        Self { directory: run.join("labs").join(lab.as_str()) }
    }

    /// Every program on record.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn all(&self) -> Result<Vec<Program>, Invalid> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| refused("read", &self.directory, &error))?,
        };
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == RECORD));
        paths.sort();
        Ok(paths.iter().filter_map(|path| read(path)).collect())
    }

    /// Starts a program in a sandbox.
    ///
    /// # Errors
    /// If it cannot be executed, or put on record.
    pub fn start(&self, files: &Files, sandbox: &Sandbox, command: &Command) -> Result<(), KernelError> {
        let (path, record) =
            self.reserve(sandbox, command).map_err(|error| failed(&self.directory, &error))?;
        let log = File::create(path.with_extension(LOG)).map_err(|error| failed(&path, &error))?;
        let words: Vec<_> = command.0.iter().map(Into::into).collect();
        let launched = launch(Some(&entry(files, sandbox)), &words, Some(&record), &log);
        launched.map(drop).map_err(|failed| {
            forget(&path);
            failed.error
        })
    }

    /// A new record of `command`, with the program's own part still to come.
    fn reserve(&self, sandbox: &Sandbox, command: &Command) -> io::Result<(PathBuf, File)> {
        fs::create_dir_all(&self.directory)?;
        for number in 0.. {
            let path = self.directory.join(format!("{}.{number}.{RECORD}", sandbox.name));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                opened => {
                    let mut record = opened?;
                    writeln!(record, "{}", serde_json::to_string(&(&sandbox.name, &command.0))?)?;
                    return Ok((path, record));
                }
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Ends programs, all at once, and forgets them.
    ///
    /// # Errors
    /// If one does not end.
    pub fn stop<'a>(&self, programs: impl IntoIterator<Item = &'a Program>) -> Result<(), KernelError> {
        let paths: Vec<_> = programs.into_iter().filter_map(|program| self.find(program)).collect();
        let processes: Vec<_> = paths.iter().filter_map(|path| process(path)).collect();
        Process::end_all(&processes, PATIENCE)?;
        paths.iter().for_each(|path| forget(path));
        // It stays as long as there is another program in it.
        _ = fs::remove_dir(&self.directory);
        _ = self.directory.parent().map(fs::remove_dir);
        Ok(())
    }

    fn find(&self, program: &Program) -> Option<PathBuf> {
        let alike = |found: &Program| found.sandbox == program.sandbox && found.command == program.command;
        let same = || self.all().ok()?.into_iter().find(alike)?.record;
        program.record.clone().or_else(same)
    }

    /// The last line that a program of `sandbox` which has ended wrote.
    pub fn last_words(&self, program: &Program) -> Option<String> {
        let text = fs::read_to_string(program.record.as_ref()?.with_extension(LOG)).ok()?;
        text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
    }
}

/// Where programs of `sandbox` run, and with which files.
pub fn entry(files: &Files, sandbox: &Sandbox) -> Entry {
    Entry {
        pin: sandbox.pin(),
        binds: files.binds(sandbox),
        hostname: (sandbox.namespace != NamespaceSource::Host).then(|| sandbox.hostname.clone()),
    }
}

fn read(path: &Path) -> Option<Program> {
    let text = fs::read_to_string(path).ok()?;
    let (sandbox, words): (Name, Vec<String>) = serde_json::from_str(text.lines().next()?).ok()?;
    let runs = process(path).is_some_and(|process| process.is_alive());
    Some(Program { sandbox, command: Command(words), record: Some(path.to_owned()), runs })
}

fn process(path: &Path) -> Option<Process> {
    Process::from_stat(fs::read_to_string(path).ok()?.lines().nth(1)?)
}

fn forget(record: &Path) {
    _ = fs::remove_file(record);
    _ = fs::remove_file(record.with_extension(LOG));
}

fn refused(verb: &str, path: &Path, error: &io::Error) -> Invalid {
    Invalid::new(format!("cannot {verb} {}", path.display())).because(error.to_string())
}

fn failed(path: &Path, error: &io::Error) -> KernelError {
    KernelError {
        what: format!("write {}", path.display()),
        cause: error.to_string(),
        hint: None,
        failure: linkspan_plan::Failure::Other,
    }
}
