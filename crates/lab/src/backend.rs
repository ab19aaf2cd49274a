//! Podman's network backend called as Podman calls it, and containers that come and go on its networks.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::net::Net;
use crate::questions::Replies;

/// The network whose containers are asked for.
const NET: u8 = 91;
/// How many containers stay.
const STAY: u8 = 4;
/// Every so many containers come to a network that nobody else is on.
const ALONE: usize = 8;

/// A backend and where it keeps what it knows.
#[derive(Clone, Debug)]
pub struct Backend {
    program: PathBuf,
    names: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    foreign: bool,
}

/// A container on one network of a backend.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Which container it is.
    pub number: usize,
    /// Its network is 10.NET.0.0/16.
    pub net: u8,
    /// The last two numbers of its address.
    pub host: [u8; 2],
}

impl Backend {
    /// One by the path of the program, that of the server for names, and the run directory.
    pub fn new(program: &Path, names: &Path, directory: &Path) -> Self {
        let [program, names, directory] = [program, names, directory].map(Path::to_path_buf);
        Self { program, names, directory, environment: Vec::new(), foreign: false }
    }

    /// With a variable in its environment.
    pub fn env(mut self, key: &str, value: &Path) -> Self {
        self.environment.push((key.to_owned(), value.to_string_lossy().into_owned()));
        self
    }

    /// Another's, which does not wait until the server knows what it has written down.
    pub fn foreign(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// Runs one command for a container; the error is what the backend says.
    pub fn call(&self, verb: &str, namespace: &str, guest: Guest<'_>) -> Result<(), String> {
        let mut command = self.command();
        command.args([verb, &format!("/run/netns/{namespace}")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(guest.request().to_string().as_bytes()).map_err(|error| error.to_string())?;
        }
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let [said, log] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        Err(format!("{verb} of {}: {said}{log}", guest.name))
    }

    #[allow(clippy::disallowed_methods, reason = "the program is under test")]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(&self.directory)
            .arg("--rootless=false")
            .arg("--aardvark-binary")
            .arg(&self.names);
        command.env("NETAVARK_FW", "nftables").env("DBUS_SYSTEM_BUS_ADDRESS", "");
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }
}

impl Guest<'_> {
    fn request(&self) -> Value {
        let Self { name, number, net, host: [high, low] } = *self;
        let network = format!("net{net}");
        let on = json!({
            "interface_name": "eth0", "static_ips": [format!("10.{net}.{high}.{low}")], "aliases": [format!("{name}-too")],
        });
        json!({
            "container_id": format!("{number:064x}"), "container_name": name, "port_mappings": [],
            "networks": { &network: on },
            "network_info": { &network: {
                "name": network, "id": format!("{net:064x}"), "driver": "bridge",
                "network_interface": format!("podman{net}"),
                "subnets": [{ "subnet": format!("10.{net}.0.0/16"), "gateway": format!("10.{net}.0.1") }],
                "ipv6_enabled": false, "internal": false, "dns_enabled": true,
                "ipam_options": { "driver": "host-local" },
            }},
        })
    }
}

/// What became of containers and questions.
#[derive(Debug)]
pub struct Churned {
    /// The questions for those that stayed.
    pub replies: Replies,
    /// How many came, and from the first to the last.
    pub came: (usize, Duration),
}

/// Lets `count` containers come and go in `lanes` at a time, while those that stay are asked for `rate` times a second.
/// Each can be asked for when its setup has returned, unless the backend is another's.
///
/// # Errors
/// What the backend says where it fails, or which name was not known.
pub fn churn(backend: &Backend, count: usize, lanes: u8, rate: u32) -> Result<Churned, String> {
    let stay: Vec<Net> = (0..STAY).map(|number| Net::new(&format!("stay{number}"))).collect();
    let names: Vec<String> = stay.iter().map(|net| net.name().to_owned()).collect();
    let of = |number: u8| Guest {
        name: &names[usize::from(number)],
        number: number.into(),
        net: NET,
        host: [1, number],
    };
    (0..STAY).try_for_each(|number| backend.call("setup", &names[usize::from(number)], of(number)))?;
    let (next, ended, failure) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let start = Instant::now();
    let lane = |lane: u8| {
        let here = Net::new(&format!("lane{lane}"));
        while !ended.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            if let Err(what) = come_and_go(backend, &here, &stay[0], number, lane) {
                failure.lock().expect("a lock").get_or_insert(what);
                ended.store(true, Ordering::Relaxed);
            }
        }
    };
    let (replies, time) = thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let more = |_| !ended.load(Ordering::Relaxed);
            stay[0].question(&format!("10.{NET}.0.1:53"), &names, rate, more)
        });
        let lanes: Vec<_> = (0..lanes).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().for_each(|lane| lane.join().expect("a lane"));
        let time = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        (asker.join().expect("the asker"), time)
    });
    (0..STAY).try_for_each(|number| backend.call("teardown", &names[usize::from(number)], of(number)))?;
    match failure.into_inner().expect("a lock") {
        Some(what) => Err(what),
        None => Ok(Churned { replies, came: (count, time) }),
    }
}

fn come_and_go(backend: &Backend, here: &Net, asker: &Net, number: usize, lane: u8) -> Result<(), String> {
    let alone = number.is_multiple_of(ALONE);
    let net = if alone { NET + 1 + lane } else { NET };
    let name = format!("guest{number}");
    let host = [2 + lane, u8::try_from(number % 250).unwrap_or(0) + 2];
    let guest = Guest { name: &name, number: 1000 + number, net, host };
    backend.call("setup", here.name(), guest)?;
    let (from, server) =
        if alone { (here, format!("10.{net}.0.1:53")) } else { (asker, format!("10.{NET}.0.1:53")) };
    if !backend.foreign && !from.finds(&server, &name) {
        return Err(format!("{name} is not known when it is set up"));
    }
    backend.call("teardown", here.name(), guest)
}
