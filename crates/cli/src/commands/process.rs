//! `linkspan run` and `linkspan exec`: programs in a sandbox.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;

use linkspan_engine::Engine;
use linkspan_kernel::process::{Entry, exec_in, spawn_in};
use linkspan_kernel::{Failed, Host};
use linkspan_model::{Name, NamespaceSource, Sandbox};

use crate::Outcome;
use crate::args::{ExecArgs, RunArgs};
use crate::commands::sandbox::request;
use crate::output::{self, Problem};

/// What a shell's exit code says of a program that is not there, and of one that cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// asm-generic/errno-base.h
const ENOENT: i32 = 2;

/// Becomes a program in a sandbox.
pub fn exec(mut engine: Engine<Host>, args: &ExecArgs) -> Outcome {
    let view = engine.sandbox(&args.name)?;
    if view.sandbox.is_machine() {
        return Err(Problem::new(format!("no command can be run in sandbox '{}'", view.sandbox.name))
            .because("it is a virtual machine, of which Linkspan has only the taps")
            .hint("log in to it over its console or network"));
    }
    let entry = entry(&engine, &view.sandbox);
    Err(problem(&exec_in(&entry, &args.command), &args.command))
}

/// Runs a program in a sandbox of its own, and removes that when it ends.
pub fn run(mut engine: Engine<Host>, args: RunArgs) -> Outcome {
    let name = match args.name {
        Some(name) => name,
        None => made_up()?,
    };
    // As long as this process lives, so does the sandbox; `repair` removes one whose process is gone.
    let _alive = engine.hold_run(&name)?;
    let mut wanted = request(args.flags, name)?;
    wanted.ephemeral = true;
    let view = engine.create_sandbox(&wanted)?;
    let entry = entry(&engine, &view.sandbox);
    let ended = match spawn_in(&entry, &args.command) {
        Ok(child) => child.wait().map_err(|cause| Problem::new("cannot wait for the command").because(cause)),
        Err(failed) => Err(problem(&failed, &args.command)),
    };
    // By its identity: meanwhile the name may have become another's.
    engine.remove_sandbox(&view.sandbox.id.to_string(), true)?;
    Ok(ExitCode::from(u8::try_from(ended?).unwrap_or(u8::MAX)))
}

fn made_up() -> Result<Name, Problem> {
    let random = RandomState::new().build_hasher().finish();
    Ok(format!("run-{:08x}", random >> 32).parse()?)
}

/// Whether a program is to be seen. A directory of PATH that may not be entered hides that it is not (execvp(3)).
fn is_there(program: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).any(|directory| directory.join(program).exists());
    program.as_encoded_bytes().contains(&b'/') || in_path()
}

/// Where the programs of `sandbox` run, and with which files.
fn entry(engine: &Engine<Host>, sandbox: &Sandbox) -> Entry {
    let entry = Entry {
        pin: sandbox.pin(),
        binds: engine.files().binds(sandbox),
        hostname: (sandbox.namespace != NamespaceSource::Host).then(|| sandbox.hostname.clone()),
    };
    for (_, target) in entry.unseen() {
        output::note(&format!("{} is not on this host, so the sandbox's own is not seen", target.display()));
    }
    entry
}

fn problem(failed: &Failed, command: &[OsString]) -> Problem {
    let error = failed.error.clone();
    let Some(errno) = failed.exec else { return error.into() };
    let missing = errno as i32 == ENOENT || command.first().is_some_and(|program| !is_there(program));
    let hint =
        if missing { "it is looked for in PATH, on this host's file system" } else { "is it executable?" };
    let code = if missing { NOT_FOUND } else { NOT_EXECUTABLE };
    Problem::new(format!("cannot {}", error.what)).because(error.cause).hint(hint).code(code)
}
