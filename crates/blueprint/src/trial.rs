//! Trying what must hold, by real traffic.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_engine::{Files, SandboxView};
use linkspan_kernel::launch::launch;
use linkspan_kernel::probe;
use linkspan_model::{Family, NamespaceSource, Sandbox};
use serde::Serialize;

use crate::check::{Attempt, Check, Place};
use crate::found::Found;
use crate::programs::entry;

/// How many checks are tried at once: they wait more than they work.
const AT_ONCE: usize = 16;
/// How long a single try may take while there is time for another.
const TRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
/// As much of an answer as is looked into, in bytes.
const ANSWER: u64 = 1 << 20;

/// What came of a check.
#[derive(Clone, Serialize, Debug)]
pub struct Verdict {
    /// Where it was tried from.
    pub from: String,
    /// What was tried.
    pub check: String,
    /// Whether it had to fail.
    pub fails: bool,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// Tries every check; the verdicts come in the same order. What must be reached is tried first, so that nothing
/// counts as out of reach only because its program does not listen yet.
pub fn try_all(checks: &[Check], found: &Found, files: &Files) -> Vec<Verdict> {
    let mut verdicts = vec![None; checks.len()];
    for fails in [false, true] {
        let due: Vec<_> = (0..checks.len()).filter(|at| checks[*at].fails == fails).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(at) = due.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((*at, Trial { check: &checks[*at], found, files }.verdict()));
            }
            done
        };
        let done: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE.min(due.len())).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        done.into_iter().for_each(|(at, verdict)| verdicts[at] = Some(verdict));
    }
    verdicts.into_iter().flatten().collect()
}

/// What was seen, or why it does not hold; the outer error is that it could not be tried at all.
type Tried = Result<Result<String, String>, String>;

struct Trial<'a> {
    check: &'a Check,
    found: &'a Found,
    files: &'a Files,
}

impl Trial<'_> {
    fn verdict(&self) -> Verdict {
        let deadline = Instant::now() + self.check.within;
        let (ok, seen) = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let tried =
                self.attempt(left.clamp(PAUSE, if self.check.fails { self.check.within } else { TRY }));
            let holds = tried.as_ref().is_ok_and(|tried| tried.is_ok() != self.check.fails);
            if holds || self.check.fails || Instant::now() >= deadline {
                break (holds, tried.unwrap_or_else(Err).unwrap_or_else(|why| why));
            }
            thread::sleep(PAUSE);
        };
        Verdict {
            from: self.check.from.to_string(),
            check: self.check.attempt.to_string(),
            fails: self.check.fails,
            ok,
            seen,
        }
    }

    /// Tries once.
    fn attempt(&self, patience: Duration) -> Tried {
        match &self.check.attempt {
            Attempt::Ping(place) => {
                let address = self.address(place)?;
                let took = self.inside(|| probe::ping(address, patience))?;
                Ok(took.map(|took| format!("{:.2} ms", took.as_secs_f64() * 1000.0)))
            }
            Attempt::Tcp(place, port) => {
                let address = SocketAddr::new(self.address(place)?, *port);
                let stream = self.inside(|| TcpStream::connect_timeout(&address, patience))?;
                Ok(stream.map(|_| "connected".to_owned()))
            }
            Attempt::Http(place, port, path) => {
                let address = SocketAddr::new(self.address(place)?, *port);
                let answer = self.inside(|| ask(address, path, patience))?;
                Ok(answer.and_then(|answer| self.page(&answer)))
            }
            Attempt::Run(command) => {
                let words: Vec<_> = command.0.iter().map(Into::into).collect();
                let (code, output) = self.run(&words, patience.max(self.check.within))?;
                let last = output.lines().last().unwrap_or_default();
                Ok(if code == 0 {
                    self.contains(&output, last)
                } else {
                    Err(format!("status {code}: {last}"))
                })
            }
        }
    }

    /// Whether an answer is that of a page that is there.
    fn page(&self, answer: &str) -> Result<String, String> {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let status = head.lines().next().unwrap_or_default();
        match status.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => self.contains(body, status),
            _ => Err(format!("answered '{status}'")),
        }
    }

    fn contains(&self, text: &str, seen: &str) -> Result<String, String> {
        match &self.check.contains {
            Some(wanted) if !text.contains(wanted.as_str()) => {
                Err(format!("no '{wanted}' in '{}'", text.trim().lines().next().unwrap_or_default()))
            }
            Some(wanted) => Ok(format!("'{wanted}'")),
            None => Ok(seen.to_owned()),
        }
    }

    /// Does `work` where the check is tried from.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<Result<T, String>, String> {
        let pin = self.from().map(|view| view.sandbox.pin());
        let done = probe::inside(pin.as_deref(), work).map_err(|error| error.cause)?;
        Ok(done.map_err(|error| error.to_string()))
    }

    fn from(&self) -> Option<&SandboxView> {
        match &self.check.from {
            Place::Sandbox(name) => self.found.sandboxes.get(name),
            _ => None,
        }
    }

    fn run(&self, words: &[std::ffi::OsString], patience: Duration) -> Result<(i32, String), String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("linkspan-check-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let output = Output::new(std::env::temp_dir().join(name)).map_err(|error| error.to_string())?;
        let entry = self.from().map(|view| entry(self.files, &view.sandbox));
        let launched = launch(entry.as_ref(), words, None, &output.file);
        let launched =
            launched.map_err(|failed| format!("cannot {}: {}", failed.error.what, failed.error.cause))?;
        let code = launched.wait(patience).map_err(|error| error.to_string())?;
        Ok((code, output.text()))
    }

    /// The address of a place as it is reached from where the check is tried.
    fn address(&self, place: &Place) -> Result<IpAddr, String> {
        let own = self.from().map(|view| self.home(view));
        match (place, own) {
            (Place::Address(address), _) => Ok(*address),
            (Place::Host, None) => Ok(Ipv4Addr::LOCALHOST.into()),
            (Place::Host, Some(own)) => {
                let pools = own.attached.iter().flat_map(|(_, network)| &network.pools);
                let gateway = pools.map(|pool| pool.gateway).next();
                gateway.ok_or_else(|| "the sandbox is on no network that the host is on".to_owned())
            }
            (Place::Sandbox(name), own) => {
                let target = self.found.sandboxes.get(name).map(|view| self.home(view));
                let target = target.ok_or_else(|| format!("there is no sandbox '{name}'"))?;
                let shares = |network: linkspan_model::Id| {
                    own.is_some_and(|own| {
                        own.attached.iter().any(|(endpoint, _)| endpoint.network == network)
                    })
                };
                let best = target.attached.iter().find(|(endpoint, _)| shares(endpoint.network));
                let endpoint = best.or(target.attached.first()).map(|(endpoint, _)| endpoint);
                let lease = endpoint.and_then(|e| e.lease(Family::V4).or_else(|| e.lease(Family::V6)));
                lease.map(|lease| lease.address).ok_or_else(|| format!("sandbox '{name}' has no address"))
            }
        }
    }

    /// The sandbox whose namespace another is in.
    fn home<'b>(&'b self, view: &'b SandboxView) -> &'b SandboxView {
        let Sandbox { namespace: NamespaceSource::Sandbox(owner), .. } = &view.sandbox else { return view };
        self.found.sandboxes.get(owner).unwrap_or(view)
    }
}

/// Asks for a page with HTTP 1.0 (RFC 1945): the server closes behind its answer.
fn ask(address: SocketAddr, path: &str, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A file for a command's output, gone with this value.
struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    fn new(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        Ok(Self { path, file })
    }

    fn text(&self) -> String {
        let read = |path: &Path| -> io::Result<String> {
            let mut bytes = Vec::new();
            File::open(path)?.take(ANSWER).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read(&self.path).unwrap_or_default()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}
