//! `netavark dhcp-proxy`: the process that keeps the leases of Podman's containers.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;
use linkspan_kernel::passed;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::ask::RUN_DIR;
use crate::leases::Leases;
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
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot wait for calls: {error}"))?;
    runtime.block_on(serve(&args)).map(|()| String::new())
}

async fn serve(args: &Args) -> Result<(), String> {
    let cannot = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
    let because = |what: String| move |error: &dyn Display| format!("{what}: {error}");
    fs::create_dir_all(&args.directory).map_err(|error| because(cannot("make", &args.directory))(&error))?;
    let given =
        passed::listener().map_err(|error| because("cannot take the socket passed".to_owned())(&error))?;
    let own = given.is_none();
    let listener = match given {
        Some(listener) => listener,
        None => listen(&args.socket).map_err(|error| because(cannot("listen at", &args.socket))(&error))?,
    };
    let file = args.directory.join(FILE_NAME);
    let served = async {
        listener.set_nonblocking(true).map_err(|error| because("cannot listen".to_owned())(&error))?;
        let listener = tokio::net::UnixListener::from_std(listener);
        let listener = listener.map_err(|error| because("cannot listen".to_owned())(&error))?;
        let leases = Leases::open(file.clone(), args.patience);
        let leases = leases.map_err(|error| because(cannot("write", &file))(&error))?;
        let calls = UnixListenerStream::new(listener);
        let server = Server::builder().serve_with_incoming(Proxy::new(leases.clone()), calls);
        tokio::select! {
            served = server => served.map_err(|error| because("cannot serve".to_owned())(&error)),
            () = unneeded(&leases, args.idle) => Ok(()),
            ended = ended() => ended.map_err(|error| because("cannot wait for signals".to_owned())(&error)),
        }
    };
    let served = served.await;
    if own {
        // A service manager's socket is its own: it listens there for the next.
        _ = fs::remove_file(&args.socket);
    }
    served
}

async fn unneeded(leases: &Leases, idle: Option<Duration>) {
    match idle {
        Some(time) => leases.idle(time).await,
        None => std::future::pending().await,
    }
}

async fn ended() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Listens at `path`, in the place of what is there if nobody listens at that.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match UnixListener::bind(path) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && UnixStream::connect(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) =>
        {
            fs::remove_file(path)?;
            UnixListener::bind(path)
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
