//! `netavark dhcp-proxy`: the process that keeps the leases of Podman's containers.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;
use linkspan_kernel::passed;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::ask::RUN_DIR;
use crate::podman::Containers;
use crate::wire::Proxy;

const DIRECTORY: &str = "/run/podman";
const SOCKET_NAME: &str = "nv-proxy.sock";
const FILE_NAME: &str = "nv-proxy.lease";
/// How long a server is waited for, in seconds.
const PATIENCE: u64 = 8;
/// After how many seconds without leases it ends.
const IDLE: u64 = 300;

const HELP: &str = "\
Keeps the DHCP leases of containers for Podman.

Usage: netavark dhcp-proxy [OPTIONS]

Options:
  -d, --dir DIR                   where the file with the leases is [default: /run/podman]
  -u, --uds PATH                  where the socket is, or the directory that it is in [default: DIR]
  -t, --timeout SECONDS           how long a server is waited for [default: 8]
  -a, --activity-timeout SECONDS  after how long without leases the proxy ends; 0 for never [default: 300]
  -h, --help                      print this
  -V, --version                   print the version
";

/// A command line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Args {
    directory: PathBuf,
    socket: PathBuf,
    patience: Duration,
    idle: Option<Duration>,
}

impl Args {
    /// Reads it; a text if that is all that is asked for. `run_dir` goes before what is said.
    fn parse(
        words: impl IntoIterator<Item = OsString>,
        run_dir: Option<PathBuf>,
    ) -> Result<Result<Self, String>, lexopt::Error> {
        let (mut directory, mut socket, mut patience, mut idle) = (None, None, PATIENCE, IDLE);
        let mut words = lexopt::Parser::from_args(words);
        while let Some(word) = words.next()? {
            match word {
                Short('d') | Long("dir") => directory = Some(PathBuf::from(words.value()?)),
                Short('u') | Long("uds") => socket = Some(PathBuf::from(words.value()?)),
                Short('t') | Long("timeout") => patience = words.value()?.parse()?,
                Short('a') | Long("activity-timeout") => idle = words.value()?.parse()?,
                Short('h') | Long("help") => return Ok(Err(HELP.to_owned())),
                Short('V') | Long("version") => {
                    return Ok(Err(
                        concat!("netavark-dhcp-proxy ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
                    ));
                }
                other => return Err(other.unexpected()),
            }
        }
        let directory = run_dir.or(directory).unwrap_or_else(|| DIRECTORY.into());
        let socket = match socket {
            Some(path) if path.extension().is_some_and(|extension| extension == "sock") => path,
            Some(path) => path.join(SOCKET_NAME),
            None => directory.join(SOCKET_NAME),
        };
        let idle = Some(Duration::from_secs(idle)).filter(|idle| !idle.is_zero());
        Ok(Ok(Self { directory, socket, patience: Duration::from_secs(patience), idle }))
    }
}

/// Serves until nobody has needed it for a while, or a signal ends it. Gives what is to be printed.
///
/// # Errors
/// In words: if the command line is wrong, or it cannot listen or write its file.
pub fn proxy(words: impl IntoIterator<Item = OsString>) -> Result<String, String> {
    let run_dir = std::env::var_os(RUN_DIR).map(PathBuf::from);
    let args = match Args::parse(words, run_dir).map_err(|error| error.to_string())? {
        Ok(args) => args,
        Err(text) => return Ok(text),
    };
    fs::create_dir_all(&args.directory).map_err(cannot("make", &args.directory))?;
    served_at(&args.socket, |listener, end| serve(&args, listener, end)).map(|()| String::new())
}

async fn serve(args: &Args, listener: UnixListener, mut end: End) -> Result<(), String> {
    let file = args.directory.join(FILE_NAME);
    let leases = Containers::open(file.clone(), args.patience).map_err(cannot("write", &file))?;
    let calls = UnixListenerStream::new(listener);
    let server = Server::builder().serve_with_incoming(Proxy::new(leases.clone()), calls);
    tokio::select! {
        served = server => served.map_err(|error| format!("cannot serve: {error}")),
        () = unneeded(&leases, args.idle) => Ok(()),
        () = end.comes() => Ok(()),
    }
}

async fn unneeded(leases: &Containers, idle: Option<Duration>) {
    match idle {
        Some(time) => leases.idle(time).await,
        None => std::future::pending().await,
    }
}

/// The signals that end the process, from the time that this was made on.
#[derive(Debug)]
pub struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    fn new() -> Result<Self, String> {
        let heed = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        Ok(Self { terminate: heed(SignalKind::terminate())?, interrupt: heed(SignalKind::interrupt())? })
    }

    /// Waits for one.
    pub async fn comes(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Has `serve` serve at the socket of a service manager, if it has passed one, else at a new one at `path`, which goes in
/// the end. Signals are heeded before anybody finds it.
///
/// # Errors
/// In words: those of `serve`, or if there is no socket to be had.
pub fn served_at<F: Future<Output = Result<(), String>>>(
    path: &Path,
    serve: impl FnOnce(UnixListener, End) -> F,
) -> Result<(), String> {
    let passed = passed::listener().map_err(|error| format!("cannot take the socket passed: {error}"))?;
    let own = passed.is_none();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot wait for anything: {error}"))?;
    let _within = runtime.enter();
    let end = End::new()?;
    let listener = passed.map_or_else(|| listen(path), Ok).map_err(cannot("listen at", path))?;
    listener.set_nonblocking(true).map_err(cannot("listen at", path))?;
    let served = UnixListener::from_std(listener).map_err(cannot("listen at", path));
    let served = served.and_then(|listener| runtime.block_on(serve(listener, end)));
    if own {
        // A service manager listens at its own for the next.
        _ = fs::remove_file(path);
    }
    served
}

/// Says what could not be done with a path, and why.
pub fn cannot(what: &str, path: &Path) -> impl Fn(io::Error) -> String {
    let what = format!("cannot {what} {}", path.display());
    move |error| format!("{what}: {error}")
}

/// Listens at `path`, in the place of what is there if nobody listens at that.
fn listen(path: &Path) -> io::Result<StdListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match StdListener::bind(path) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && UnixStream::connect(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) =>
        {
            fs::remove_file(path)?;
            StdListener::bind(path)
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, run_dir: Option<&str>) -> Args {
        Args::parse(line.split_whitespace().map(Into::into), run_dir.map(Into::into)).unwrap().unwrap()
    }

    #[test]
    fn paths_follow_from_each_other() {
        let paths = |line: &str, run_dir| {
            let args = parse(line, run_dir);
            [args.directory, args.socket].map(|path| path.display().to_string())
        };
        assert_eq!(paths("", None), ["/run/podman", "/run/podman/nv-proxy.sock"]);
        assert_eq!(paths("-d /x", None), ["/x", "/x/nv-proxy.sock"]);
        assert_eq!(paths("--dir=/x --uds /y", None), ["/x", "/y/nv-proxy.sock"]);
        assert_eq!(paths("-u /y/other.sock", None), ["/run/podman", "/y/other.sock"]);
        assert_eq!(paths("-d /x", Some("/z")), ["/z", "/z/nv-proxy.sock"]);
    }

    #[test]
    fn times_have_defaults_and_zero_is_never() {
        let times = |line: &str| {
            (parse(line, None).patience.as_secs(), parse(line, None).idle.map(|idle| idle.as_secs()))
        };
        assert_eq!(times(""), (8, Some(300)));
        assert_eq!(times("-t 20 -a 30"), (20, Some(30)));
        assert_eq!(times("--timeout=1 --activity-timeout=0"), (1, None));
        assert!(Args::parse(["-x".into()], None).is_err());
    }
}
