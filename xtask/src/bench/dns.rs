//! Names: questions a second, against aardvark-dns and dnsmasq, each asked by dnsperf from a namespace.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::table::{Samples, Table};
use crate::failure::{Doing as _, Failure, Result};
use crate::inside::{Host, ip};
use crate::run;

/// The goal of the issue: how many times as many questions a second.
const GOAL: f64 = 1.5;
/// So many containers have names.
const NAMES: u32 = 1000;
/// How long each server is asked at a time.
const SECONDS: &str = "2";
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who asks is in this namespace.
const ASKER: &str = "asker";
/// The server that the others ask for what they have no name for.
const UPSTREAM: &str = "10.88.9.1";

/// Asks each server `count` times by turns: for names of containers, then for others' that may be kept.
pub fn measure(host: &Host, count: usize, table: &mut Table) -> Result<()> {
    if let Some(missing) =
        ["dnsperf", "dnsmasq", "aardvark-dns"].iter().find(|name| run::find(name).is_none())
    {
        println!(
            "skipped: DNS, as there is no {missing} to ask or to compare with (tests/tools.sh, cargo install)"
        );
        return Ok(());
    }
    let _asker = Asker::new()?;
    let directory = host.state().with_file_name("names");
    fs::create_dir(&directory).doing("cannot make a directory")?;
    let link = directory.join("aardvark-dns");
    symlink(host.program(), &link).doing("cannot make a link")?;
    let theirs = run::find("aardvark-dns").unwrap_or_default();
    let _upstream = dnsmasq(&["--address=/example/192.0.2.1", "--local-ttl=600"], UPSTREAM)?;
    let mut servers = [
        Contender::new("linkspan", 1, aardvark(&directory, &link, "linkspan", 1)?),
        Contender::new("aardvark-dns", 2, aardvark(&directory, &theirs, "aardvark-dns", 2)?),
        Contender::new("dnsmasq", 3, peer_dnsmasq(&directory, 3)?),
    ];
    let local: String = (0..NAMES).map(|number| format!("{} A\n", name(number))).collect();
    let foreign: String = (0..NAMES).map(|number| format!("{}.example A\n", name(number))).collect();
    for (title, names, goal) in
        [("names of containers", local, Some(GOAL)), ("names that others know", foreign, None)]
    {
        let file = directory.join("questions");
        fs::write(&file, names).doing("cannot write the questions")?;
        servers.iter().try_for_each(|server| server.ask(&file).map(drop))?;
        for turn in 0..count {
            for place in 0..servers.len() {
                let server = &mut servers[(turn + place) % 3];
                let rate = server.ask(&file)?;
                server.rates.push_number(rate / 1000.0);
            }
        }
        table.title(&format!("DNS: {title}, 1000 questions/s"));
        let [ours, rest @ ..] = &mut servers;
        for theirs in rest {
            table.more(&ours.rates, &theirs.rates, goal);
            theirs.rates = Samples::of(theirs.rates.what.clone());
        }
        ours.rates = Samples::of(ours.rates.what.clone());
    }
    Ok(())
}

/// A namespace with a way to all servers; it goes with the value.
struct Asker;

impl Asker {
    fn new() -> Result<Self> {
        ip(&format!("netns add {ASKER}"))?;
        ip(&format!("link add asked type veth peer name eth0 netns {ASKER}"))?;
        ip("link set asked up")?;
        ip(&format!("-n {ASKER} link set eth0 up"))?;
        for net in [1, 2, 3, 9] {
            ip(&format!("address add 10.88.{net}.1/24 dev asked"))?;
            ip(&format!("-n {ASKER} address add 10.88.{net}.2/24 dev eth0"))?;
        }
        Ok(Self)
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {ASKER}"));
    }
}

struct Contender {
    address: String,
    rates: Samples,
    _process: Process,
}

impl Contender {
    fn new(what: &str, net: u8, process: Process) -> Self {
        Self { address: format!("10.88.{net}.1"), rates: Samples::of(what), _process: process }
    }

    /// Asks for a while; how many questions a second were answered.
    fn ask(&self, questions: &Path) -> Result<f64> {
        let file = questions.to_string_lossy();
        let arguments = [
            &format!("--net=/run/netns/{ASKER}"),
            "dnsperf",
            "-s",
            &self.address,
            "-d",
            &file,
            "-l",
            SECONDS,
        ];
        let output = run::output("nsenter", &arguments)?;
        let after = |label: &str| {
            let line = output.lines().find_map(|line| line.trim().strip_prefix(label));
            line.map(|rest| rest.trim().to_owned()).unwrap_or_default()
        };
        let strange = || Failure::new(format!("{} did not answer all", self.rates.what)).cause(&output);
        if !after("Queries lost:").starts_with("0 ") || !after("Response codes:").ends_with("(100.00%)") {
            return Err(strange());
        }
        after("Queries per second:").parse().map_err(|_| strange())
    }
}

/// A server; it ends with the value.
struct Process {
    child: Option<Child>,
    /// The file with its number, if it has left its parent.
    number: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        } else if let Ok(number) = fs::read_to_string(&self.number) {
            let _ = run::output("kill", &[number.trim()]);
        }
    }
}

/// A server with Podman's files: the asker, and containers that it may ask for.
fn aardvark(directory: &Path, program: &Path, what: &str, net: u8) -> Result<Process> {
    let directory = directory.join(format!("{what}-files"));
    fs::create_dir(&directory).doing("cannot make a directory")?;
    let mut text = format!("10.88.{net}.1 {UPSTREAM}\n{:064x} 10.88.{net}.2  asker\n", 0xffff_ffff_u32);
    for number in 0..NAMES {
        let _ =
            writeln!(text, "{number:064x} 10.200.{}.{}  {}", number / 250, number % 250 + 1, name(number));
    }
    fs::write(directory.join("bench"), text).doing("cannot write the names")?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&directory).args(["-p", "53", "run"]).env("RUST_LOG", "error");
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().doing("cannot start a server")?;
    if !status.success() {
        return Err(Failure::new(format!("{what} does not start")));
    }
    Ok(Process { child: None, number: directory.join("aardvark.pid") })
}

fn peer_dnsmasq(directory: &Path, net: u8) -> Result<Process> {
    let file = directory.join("hosts");
    let line = |number: u32| format!("10.200.{}.{} {}\n", number / 250, number % 250 + 1, name(number));
    fs::write(&file, (0..NAMES).map(line).collect::<String>()).doing("cannot write the names")?;
    let hosts = format!("--addn-hosts={}", file.display());
    let upstream = format!("--server={UPSTREAM}");
    dnsmasq(&[&hosts, &upstream, "--cache-size=10000"], &format!("10.88.{net}.1"))
}

/// Starts dnsmasq; it answers when this returns.
fn dnsmasq(arguments: &[&str], address: &str) -> Result<Process> {
    let listen = format!("--listen-address={address}");
    let fixed = ["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"];
    let mut command = Command::new(run::find("dnsmasq").unwrap_or_default());
    command.args(fixed).args(["--pid-file=", "--log-facility=-", &listen]).args(arguments);
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().doing("cannot start dnsmasq")?;
    let process = Process { child: Some(child), number: PathBuf::new() };
    let deadline = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect((address, 53)).is_err() {
        if Instant::now() > deadline {
            return Err(Failure::new("dnsmasq does not start"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(process)
}

fn name(number: u32) -> String {
    format!("c{number:04}")
}
