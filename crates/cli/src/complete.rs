//! What a shell offers to complete a word with: commands, flags, and the names that there are.

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use linkspan_engine::{Engine, Paths, RUN_DIR, STATE_DIR};
use linkspan_kernel::Host;
use linkspan_model::Network;

use crate::args::Args;

/// Set by the script of [`script`] when the shell asks, to the shell's name.
const ASKED: &str = "LINKSPAN_COMPLETE";
const PROGRAM: &str = "linkspan";

/// Answers a shell that asks what a word may be, if this process was started for that.
pub fn answer() -> Option<ExitCode> {
    let words = std::env::args_os();
    match CompleteEnv::with_factory(Args::command).var(ASKED).try_complete(words, None) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// The script that makes a shell ask.
pub fn script(shell: Shell) -> std::io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let builtins = Shells::builtins();
    if let Some(completer) = builtins.completer(&shell.to_string()) {
        completer.write_registration(ASKED, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    }
    Ok(script)
}

/// Networks by name.
pub fn networks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(network_names()))
}

/// Sandboxes by name.
pub fn sandboxes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(sandbox_names()))
}

/// What `--net` takes: networks, and other sandboxes' namespaces.
pub fn nets() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let typed = typed.to_string_lossy();
        let others = sandbox_names().into_iter().map(|name| format!("container:{name}"));
        candidates(network_names().into_iter().chain(others).filter(|net| net.starts_with(&*typed)))
    })
}

fn candidates(names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn network_names() -> Vec<String> {
    match engine().and_then(|mut engine| engine.networks().ok()) {
        Some(networks) => networks.into_iter().map(|network| network.name.to_string()).collect(),
        None => Network::PREDEFINED.map(str::to_owned).into(),
    }
}

fn sandbox_names() -> Vec<String> {
    let sandboxes = engine().and_then(|mut engine| engine.sandboxes().ok()).unwrap_or_default();
    sandboxes.into_iter().map(|sandbox| sandbox.sandbox.name.to_string()).collect()
}

/// The engine over the store of this host, if there is one that can be read: a word is not worth an error, nor a new
/// database. What the flags on the line say is not known here, only what the environment says.
fn engine() -> Option<Engine<Host>> {
    let state = STATE_DIR.path();
    if !state.exists() {
        return None;
    }
    Engine::open(Host::open().ok()?, &state, Paths::of_host(RUN_DIR.path())).ok()
}
