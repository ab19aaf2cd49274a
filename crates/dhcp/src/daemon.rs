//! `dhcp daemon`: the process that keeps the leases of CNI's containers.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use linkspan_kernel::leased::Interface;
use linkspan_plan::KernelError;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::keeper::Place;
use crate::lease::Lease;
use crate::leases::{Asked, Lacking, Leases};
use crate::message::Identity;
use crate::order::{Allocated, Applicant, Attached, DAEMON_SOCKET, Order, Reply};
use crate::proxy::{End, cannot, served_at};

/// The longest order.
const LONGEST: u64 = 1 << 20;
/// How long an order may take to come.
const SLOWEST: Duration = Duration::from_secs(10);
/// How long a server is waited for, as others' daemons do.
const PATIENCE: Duration = Duration::from_secs(208);
/// The longest client identifier without its type, as others' daemons have it.
const LONGEST_NAME: usize = 254;

const HELP: &str = "\
Keeps the DHCP leases of containers for CNI's plugin dhcp.

Usage: dhcp daemon [OPTIONS]

Options:
  -pidfile PATH           where to write the process's number
  -hostprefix DIR         what goes before the socket's path and those of namespaces
  -socketpath PATH        where to listen [default: /run/cni/dhcp.sock]
  -broadcast              have servers answer by broadcast
  -resendtimeout TIME     how long a server is waited for, as 30s or 2m [default: 208s]
  -timeout, -resendmax    are taken and change nothing: messages are repeated after 1, 2, 4, ... 64 seconds
";

/// A command line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Args {
    pidfile: Option<PathBuf>,
    prefix: String,
    socket: PathBuf,
    broadcast: bool,
    patience: Duration,
}

impl Args {
    /// Reads flags as Go programs have them, with one dash or two; none if only help is asked for.
    fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut args = Self {
            pidfile: None,
            prefix: String::new(),
            socket: DAEMON_SOCKET.into(),
            broadcast: false,
            patience: PATIENCE,
        };
        let mut words = words.into_iter().map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = words.next() {
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            let flag = flag.ok_or_else(|| format!("unexpected argument {word:?}"))?;
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let mut value_of = || {
                let given = value.map(str::to_owned).or_else(|| words.next());
                given.ok_or_else(|| format!("flag needs an argument: -{name}"))
            };
            match name {
                "pidfile" => args.pidfile = Some(value_of()?.into()),
                "hostprefix" => args.prefix = value_of()?,
                "socketpath" => args.socket = value_of()?.into(),
                "broadcast" => args.broadcast = value.is_none_or(|value| matches!(value, "true" | "1" | "t")),
                "resendtimeout" => args.patience = duration(&value_of()?)?,
                "timeout" | "resendmax" => drop(duration(&value_of()?)?),
                "h" | "help" => return Ok(None),
                _ => return Err(format!("flag provided but not defined: -{name}")),
            }
        }
        args.socket = format!("{}{}", args.prefix, args.socket.display()).into();
        match &args.pidfile {
            Some(path) if !path.is_absolute() => Err(format!("pidfile {path:?}: path not absolute")),
            _ => Ok(Some(args)),
        }
    }
}

/// A duration as Go writes it: numbers with units, as `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration {text:?}");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        rest = behind;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

impl Asked for Applicant {
    type Told = Allocated;

    /// The plugin that asks gives the address.
    const GIVES: bool = false;

    fn place(&self) -> Place {
        Place { netns: self.netns.clone(), ifname: self.attached.ifname.clone() }
    }

    fn identity(&self) -> Identity {
        let name = self.attached.name();
        let (mac, broadcast) = self.found;
        Identity {
            mac,
            client_id: [&[0], &name.as_bytes()[..name.len().min(LONGEST_NAME)]].concat(),
            host_name: None,
            options: self.provide.clone(),
            asked: self.request.clone(),
            broadcast,
        }
    }

    fn told(&self, lease: &Lease) -> Allocated {
        let routes = lease.addressing().routes;
        Allocated { address: lease.address, gateway: lease.routers.first().copied(), routes }
    }
}

/// Serves until a signal ends it. Gives what is to be printed.
///
/// # Errors
/// In words: if the command line is wrong, or it cannot listen or write its files.
pub fn daemon(words: impl IntoIterator<Item = OsString>) -> Result<String, String> {
    let Some(args) = Args::parse(words)? else { return Ok(HELP.to_owned()) };
    if let Some(path) = &args.pidfile {
        fs::write(path, std::process::id().to_string()).map_err(cannot("write", path))?;
    }
    let served = served_at(&args.socket, |listener, end| serve(&args, listener, end));
    if let Some(path) = &args.pidfile {
        _ = fs::remove_file(path);
    }
    served.map(|()| String::new())
}

async fn serve(args: &Args, listener: UnixListener, mut end: End) -> Result<(), String> {
    let file = args.socket.with_extension("leases");
    let leases = Leases::open(file.clone(), args.patience).map_err(cannot("write", &file))?;
    let daemon = Arc::new(Daemon { leases, prefix: args.prefix.clone(), broadcast: args.broadcast });
    loop {
        tokio::select! {
            () = end.comes() => return Ok(()),
            came = listener.accept() => {
                let (stream, _) = came.map_err(cannot("listen at", &args.socket))?;
                tokio::spawn(Arc::clone(&daemon).converse(stream));
            }
        }
    }
}

/// The daemon at work.
#[derive(Debug)]
struct Daemon {
    leases: Arc<Leases<Applicant>>,
    prefix: String,
    broadcast: bool,
}

impl Daemon {
    /// Reads an order, carries it out and tells what came of it. Who goes away meanwhile gets no lease.
    async fn converse(self: Arc<Self>, stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read.take(LONGEST));
        let mut line = String::new();
        if !matches!(timeout(SLOWEST, read.read_line(&mut line)).await, Ok(Ok(_))) {
            return;
        }
        let reply = match serde_json::from_str::<Order>(&line) {
            Ok(order) => {
                let mut end = [0];
                tokio::select! {
                    reply = self.carry_out(order) => reply,
                    _ = read.read(&mut end) => return,
                }
            }
            Err(error) => Err(format!("this is no order: {error}")),
        };
        let mut line = serde_json::to_string(&reply).unwrap_or_default();
        line.push('\n');
        // Nobody may be there to hear it any more.
        _ = write.write_all(line.as_bytes()).await;
    }

    async fn carry_out(&self, order: Order) -> Reply {
        match order {
            Order::Allocate(applicant) => self.allocate(applicant).await.map(Some),
            Order::Release(attached) => self.leases.release(&attached.name()).await.map_err(told),
            Order::Look(attached) => Ok(self.leases.told(&attached.name())),
            Order::Collect { network, valid } => {
                let known: Vec<String> = valid.iter().map(Attached::name).collect();
                // A container's identity has no slash in it, nor has an interface.
                let is_of_network = |key: &str| {
                    let rest = key.split_once('/').and_then(|(_, rest)| rest.rsplit_once('/'));
                    rest.is_some_and(|(name, _)| name == network)
                };
                for key in self.leases.keys() {
                    if is_of_network(&key) && !known.contains(&key) {
                        self.leases.release(&key).await.map_err(told)?;
                    }
                }
                Ok(None)
            }
        }
    }

    async fn allocate(&self, applicant: Applicant) -> Result<Allocated, String> {
        let key = applicant.attached.name();
        if let Some(allocated) = self.leases.told(&key) {
            return Ok(allocated);
        }
        let netns = PathBuf::from(format!("{}{}", self.prefix, applicant.netns.display()));
        let found = Interface::open(&netns, &applicant.attached.ifname);
        let found = found.map_err(|error| told(Lacking::Interface(error)))?;
        let applicant = Applicant { netns, found: (found.mac(), self.broadcast), ..applicant };
        drop(found);
        self.leases.obtain(key, applicant).await.map_err(told)
    }
}

fn told(lacking: Lacking) -> String {
    match lacking {
        Lacking::Interface(KernelError { what, cause, .. }) => format!("cannot {what}: {cause}"),
        Lacking::Server(patience) => {
            format!("no more tries: no DHCP server has given a lease within {} seconds", patience.as_secs())
        }
        Lacking::File(error) => format!("cannot write the lease down: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn flags_are_as_go_programs_have_them() {
        let args = parse("-pidfile /run/d.pid --hostprefix=/host -socketpath /run/x.sock -broadcast")
            .unwrap()
            .unwrap();
        assert_eq!(args.pidfile, Some("/run/d.pid".into()));
        assert_eq!((args.socket, args.broadcast), ("/host/run/x.sock".into(), true));
        let args =
            parse("-broadcast=false -timeout 5s -resendmax=1m -resendtimeout 1m30.5s").unwrap().unwrap();
        assert_eq!((args.broadcast, args.patience), (false, Duration::from_millis(90_500)));
        assert_eq!(args.socket, PathBuf::from(DAEMON_SOCKET));
        assert_eq!(parse("-h"), Ok(None));
        for wrong in ["-x", "x", "-pidfile", "-pidfile rel", "-timeout 5", "-timeout s", "-resendtimeout=-1s"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_long_name_is_cut_off() {
        let attached =
            Attached { container: "c".repeat(300), network: "lan".to_owned(), ifname: "eth0".to_owned() };
        let applicant = Applicant {
            attached,
            netns: PathBuf::new(),
            provide: Vec::new(),
            request: Vec::new(),
            found: Default::default(),
        };
        assert_eq!(applicant.identity().client_id.len(), 255);
    }
}
