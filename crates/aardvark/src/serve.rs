//! The server: answers what the files say until none is left.

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use linkspan_dns::{Config, Forwarder, Listen, ListenError, Server, Style, Upstream};
use linkspan_kernel::daemon::{self, Side, Signal};
use linkspan_kernel::station;

use crate::Error;
use crate::args::Run;
use crate::directory::{Directory, PID_FILE};
use crate::log::{Severity, log};
use crate::names::Names;
use crate::process::{SOCKET, short};

/// The most that an answer over UDP has: what passes any network unbroken (RFC 9715 3.1 has 1,400).
const UDP_LIMIT: u16 = 1232;
const KEPT: [Signal; 3] = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT];
/// How long somebody may take to say what has changed.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most that somebody may say, in bytes.
const LONGEST: u64 = 1 << 20;
/// Between two tries to do what others stand in the way of.
const PAUSE: Duration = Duration::from_millis(5);

/// A server at work.
struct Keeper {
    run: Run,
    names: Names,
    server: Server,
}

/// Makes a process that serves, and returns when it does; in that process, when it has nothing to serve any more.
/// False if that process failed, which has said so itself.
///
/// # Errors
/// If no process can be made; in the new process, if it cannot serve.
pub fn serve(run: Run) -> Result<bool, Error> {
    match daemon::split().map_err(|error| Error::new(error.to_string()))? {
        Side::Starter(starter) => Ok(starter.wait()),
        Side::Server(side) => {
            daemon::keep_signals(&KEPT);
            station::allow_many_files();
            let keeper = Keeper::start(run)?;
            let socket = keeper.settle()?;
            side.stand_alone().map_err(|error| Error::new(error.to_string()))?;
            side.ready();
            keeper.run(socket);
            Ok(true)
        }
    }
}

impl Keeper {
    /// Reads all files and listens.
    fn start(run: Run) -> Result<Self, Error> {
        let cannot = |error: io::Error| Error::because("cannot serve", error);
        fs::read_dir(&run.config).map_err(Error::file("read", &run.config))?;
        let forward = env::var_os("AARDVARK_NO_PROXY").is_none();
        let style = Style::Podman { suffixes: vec![run.domain.clone()], forward };
        let mut names = Names::new(&run.config, style);
        let problems = names.look();
        if names.is_empty() {
            let none = format!("no network in {}", run.config.display());
            return Err(problems.into_iter().next().unwrap_or(Error::new(none)));
        }
        tell(problems);
        let server = Server::start(config().map_err(cannot)?).map_err(cannot)?;
        server.publish(names.zones());
        let mut wanted = names.listen(run.port);
        while let Err(error) = server.listen(&wanted) {
            // The host has the address of a bridge no more: its containers went without a word.
            let is_left = error.cause.kind() == ErrorKind::AddrNotAvailable && without(&mut wanted, &error);
            if !is_left || wanted.is_empty() {
                return Err(unbound(&error));
            }
            log(Severity::Error, unbound(&error));
        }
        Ok(Self { run, names, server })
    }

    fn place(&self) -> Directory<'_> {
        Directory(&self.run.config)
    }

    /// Leaves its number and its socket where others look for them.
    fn settle(&self) -> Result<UnixListener, Error> {
        let path = self.place().beside(SOCKET);
        let bound = remove(&path).and_then(|()| match UnixListener::bind(&path) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => UnixListener::bind(short(&path)?.0),
            other => other,
        });
        let socket = bound.map_err(Error::file("make", &path))?;
        let path = self.run.config.join(PID_FILE);
        fs::write(&path, process::id().to_string()).map_err(Error::file("write", &path))?;
        Ok(socket)
    }

    fn run(self, socket: UnixListener) {
        let shared = Arc::new(Mutex::new(self));
        let asked = Arc::clone(&shared);
        thread::spawn(move || take_notes(&asked, &socket));
        // What changed while this began was told to nobody, if whoever began it has died.
        look_again(&shared);
        while let Ok(signal) = daemon::next_signal(&KEPT) {
            if signal != Signal::SIGHUP {
                _ = fs::remove_file(lock(&shared).place().beside(SOCKET));
                return;
            }
            look_again(&shared);
        }
    }

    /// Serves what the files say now: those of these networks, or all that have changed.
    fn look(&mut self, networks: Option<&str>) {
        tell(match networks {
            Some(networks) => self.names.look_only_at(networks.lines()),
            None => self.names.look(),
        });
        self.server.publish(self.names.zones());
        let mut wanted = self.names.listen(self.run.port);
        while let Err(error) = self.server.listen(&wanted) {
            // The others are not to suffer from it; it is tried again at the next look.
            log(Severity::Error, unbound(&error));
            if !without(&mut wanted, &error) {
                return;
            }
        }
    }

    /// Ends the process if it has no network and nobody is about to give it one.
    fn end_if_empty(&mut self) {
        if !self.names.is_empty() {
            return;
        }
        let _turn = match Directory(&self.run.config).try_turn() {
            Ok(None) => return,
            Ok(turn) => turn,
            // Without a directory nobody is about to write into it.
            Err(_) => None,
        };
        self.look(None);
        if self.names.is_empty() {
            _ = fs::remove_file(self.run.config.join(PID_FILE));
            _ = fs::remove_file(self.place().beside(SOCKET));
            process::exit(0);
        }
    }
}

/// Serves what all files say now; without any, the process ends as soon as nobody is about to write one.
fn look_again(shared: &Mutex<Keeper>) {
    let mut keeper = lock(shared);
    keeper.look(None);
    while keeper.names.is_empty() {
        keeper.end_if_empty();
        drop(keeper);
        thread::sleep(PAUSE);
        keeper = lock(shared);
    }
}

/// Takes note of what others have changed, and says so when it is in effect.
fn take_notes(shared: &Mutex<Keeper>, socket: &UnixListener) {
    loop {
        match socket.accept() {
            // Whoever does not listen to the answer has had the effect.
            Ok((stream, _)) => _ = take_note(shared, stream),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn take_note(shared: &Mutex<Keeper>, mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut networks = String::new();
    (&stream).take(LONGEST).read_to_string(&mut networks)?;
    let mut keeper = lock(shared);
    keeper.look(Some(&*networks).filter(|networks| !networks.is_empty()));
    // If this ends the process, the end is the answer.
    keeper.end_if_empty();
    if keeper.names.is_empty() {
        // Whoever has the turn may be the next to ask: it is tried elsewhere.
        daemon::signal(process::id().cast_signed(), Signal::SIGHUP)?;
    }
    drop(keeper);
    stream.write_all(b"1")
}

fn config() -> io::Result<Config> {
    let forward = Arc::new(Forwarder::start(Upstream::default())?);
    Ok(Config { threads: 0, udp_limit: UDP_LIMIT, forward })
}

fn lock(shared: &Mutex<Keeper>) -> MutexGuard<'_, Keeper> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the address that could not be listened on from those that are wanted; whether it was one.
fn without(wanted: &mut Vec<Listen>, error: &ListenError) -> bool {
    let before = wanted.len();
    wanted.retain(|listen| listen.address != error.address);
    wanted.len() < before
}

fn unbound(error: &ListenError) -> Error {
    Error::because(error, &error.cause)
}

fn tell(problems: Vec<Error>) {
    problems.into_iter().for_each(|problem| log(Severity::Warning, problem));
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
