//! The agent at work.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use linkspan_dns::{Config, Forwarder, Manner, Server, Upstream};
use linkspan_engine::{Engine, SandboxView};
use linkspan_kernel::{Host, station};
use linkspan_model::Name;

use crate::post::{DONE, Post, mark};
use crate::roll::Roll;
use crate::rooms::Rooms;

/// Between two looks whether anything has gone without a word.
const GLANCE: Duration = Duration::from_secs(1);
/// How long it stays when nobody needs it: the next sandbox is often not far.
const GRACE: Duration = Duration::from_secs(3);
/// Between two looks whether anybody is left on this host.
const LONELY: Duration = Duration::from_secs(5);
/// How long who has connected may take to say why.
const WORD: Duration = Duration::from_millis(100);
/// The most bytes of an answer over UDP (as the DNS flag day of 2020 has it).
const UDP_LIMIT: u16 = 1232;

/// Why the agent cannot work.
#[derive(Debug)]
pub struct Failure {
    /// What it could not do.
    pub what: String,
    /// Why.
    pub cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)
    }
}

impl Error for Failure {}

fn failed<E: fmt::Display>(what: &str) -> impl Fn(E) -> Failure {
    let what = what.to_owned();
    move |cause| Failure { what: what.clone(), cause: cause.to_string() }
}

struct Agent {
    engine: Engine<Host>,
    roll: Roll,
    rooms: Rooms,
}

/// Answers for the names of the sandboxes of `engine`, whose store is in the directory `state`, as long as one is there,
/// and hears of changes in the directory `run`: at the socket that whoever has started this process gave it, if so.
///
/// # Errors
/// If another agent does that already, or the kernel gives no socket.
pub fn serve(engine: Engine<Host>, state: &Path, run: PathBuf, is_given: bool) -> Result<(), Failure> {
    let post = Post::of(run);
    let listener = if is_given {
        station::inherited().map_err(failed("find the agent's socket"))?
    } else {
        listen(&post)?
    };
    // Whether it is the same later tells whether this one is still the agent.
    let marks = (post.mark(), mark(state));
    station::allow_many_files();
    let server = server().map_err(failed("start answering"))?;
    let mut agent = Agent { engine, roll: Roll::new(), rooms: Rooms::new(server) };
    // Whoever has started it asks for one, and is told what went wrong.
    _ = agent.read_all();
    let (mut needed, mut looked, mut lonely) = (Instant::now(), Instant::now(), Instant::now());
    while (post.mark(), mark(state)) == marks {
        if let Ok(Some(stream)) = station::accept_within(&listener, GLANCE) {
            agent.hear(stream);
        }
        if looked.elapsed() >= GLANCE {
            agent.look();
            looked = Instant::now();
        }
        if lonely.elapsed() >= LONELY {
            if station::is_alone() {
                break;
            }
            lonely = Instant::now();
        }
        if !agent.rooms.is_empty() {
            needed = Instant::now();
        } else if needed.elapsed() >= GRACE
            && let Some(_lock) = leave(&post, &listener)
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Who answers. What nobody here knows is asked for by the host.
fn server() -> io::Result<Server> {
    let upstream = Upstream { manner: Manner::Docker, ..Upstream::default() };
    let forward = Arc::new(Forwarder::start(upstream)?);
    Server::start(Config { threads: 0, udp_limit: UDP_LIMIT, forward })
}

/// The socket of an agent that somebody starts by hand.
fn listen(post: &Post) -> Result<UnixListener, Failure> {
    let what = "listen in the run directory";
    let _lock = post.lock(Instant::now() + GLANCE).map_err(failed(what))?;
    if post.connect(GLANCE).is_ok() {
        return Err(failed(what)("an agent does so already"));
    }
    post.open().map_err(failed(what))
}

/// Takes the socket away, if nobody has connected. Until the process has ended, nobody is to start another.
fn leave(post: &Post, listener: &UnixListener) -> Option<File> {
    let lock = post.lock(Instant::now()).ok()?;
    let nobody = matches!(station::accept_within(listener, Duration::ZERO), Ok(None));
    (nobody && post.close().is_ok()).then_some(lock)
}

impl Agent {
    /// Does what somebody who has connected says. Who only tells something does not wait for the answer.
    fn hear(&mut self, stream: UnixStream) {
        let Ok(line) = line_of(&stream) else { return };
        let done = match line.as_str() {
            "" => self.read_all().and_then(|()| self.rooms.renew()),
            name => name
                .parse()
                .map_err(|_| format!("{name:?} is no sandbox's name"))
                .and_then(|name| self.read(&name)),
        };
        let answer = done.err().unwrap_or_else(|| DONE.to_owned());
        _ = (&stream).write_all(answer.replace('\n', " ").as_bytes());
    }

    /// Takes note of a sandbox as the store has it now.
    fn read(&mut self, name: &Name) -> Result<(), String> {
        let view = self.engine.sandbox_named(name).map_err(|error| error.to_string())?;
        let Some(view) = view else {
            self.roll.strike(name);
            self.publish();
            self.rooms.close(name);
            return Ok(());
        };
        let container = self.roll.enter(&view);
        self.publish();
        self.let_ask(&view, container)
    }

    /// Takes note of everything that there is.
    fn read_all(&mut self) -> Result<(), String> {
        let views = self.engine.sandboxes().map_err(|error| error.to_string())?;
        for name in self.roll.sandboxes() {
            if !views.iter().any(|view| view.sandbox.name == name) {
                self.roll.strike(&name);
                self.rooms.close(&name);
            }
        }
        let entered: Vec<_> = views.iter().map(|view| self.roll.enter(view)).collect();
        self.publish();
        let mut done = Ok(());
        for (view, container) in views.iter().zip(entered) {
            done = self.let_ask(view, container).and(done);
        }
        done
    }

    /// Opens or closes a sandbox, as it is to be asked in or not.
    fn let_ask(&mut self, view: &SandboxView, container: Option<Arc<str>>) -> Result<(), String> {
        let sandbox = &view.sandbox;
        let container =
            container.filter(|_| sandbox.is_answered(view.attached.iter().map(|(endpoint, _)| endpoint)));
        match container {
            Some(container) => self.rooms.open(sandbox, container),
            None => {
                self.rooms.close(&sandbox.name);
                Ok(())
            }
        }
    }

    fn publish(&self) {
        self.rooms.server().publish(self.roll.zones());
    }

    /// Sees to what changes without anybody's telling.
    fn look(&mut self) {
        let lost = self.rooms.tidy();
        for name in lost.into_iter().chain(self.rooms.silent()) {
            _ = self.read(&name);
        }
    }
}

/// The line that somebody sends, without its end.
fn line_of(stream: &UnixStream) -> io::Result<String> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(WORD))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    line.strip_suffix('\n').map(str::to_owned).ok_or_else(|| ErrorKind::UnexpectedEof.into())
}
