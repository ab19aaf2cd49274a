//! Podman's network backend: containers set up and torn down, against netavark; many ports of one container.
//!
//! Each has a host of its own to work on, as netavark reads the rules of all tables and does not understand ours.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use linkspan_lab::Net;
use serde_json::{Value, json};

use super::containers::{Namespaces, name};
use super::table::{Samples, Table};
use super::{settle, traffic};
use crate::failure::{Doing as _, Failure, Result};
use crate::inside::{Host, ip};
use crate::run;

/// The goals of the issue: how many times as fast.
const SETUP: f64 = 10.0;
const TEARDOWN: f64 = 10.0;
const PORTS: f64 = 50.0;
/// How much slower the last tenth may be than the first, and the last port than the first.
const GROWTH: f64 = 1.2;
/// So many ports has the container with many.
const MANY_PORTS: u16 = 3000;
/// Published on the host, each next container at the next one.
const FIRST_PORT: u16 = 20_000;
const NEIGHBOUR: &str = "198.51.100.2";
const HERE: &str = "198.51.100.1";

/// Measures `count` containers by turns, then many ports, then the growth up to `many` of Linkspan's own.
pub fn measure(host: &Host, count: usize, many: usize, table: &mut Table) -> Result<()> {
    let Some(reference) = run::find("netavark") else {
        println!(
            "skipped: Podman's backend, as there is no netavark to compare with (cargo install netavark)"
        );
        return Ok(());
    };
    let link = host.state().with_file_name("netavark");
    symlink(host.program(), &link).doing("cannot make a link")?;
    let mut kinds = [Kind::new(host, "netavark", &reference, 1)?, Kind::new(host, "linkspan", &link, 2)?];
    let version = run::output(&reference.to_string_lossy(), &["--version"])?;
    println!("compared with {}", version.trim());
    let namespaces = Namespaces::new(2 * count)?;
    for kind in &mut kinds {
        kind.warm_up()?;
    }
    for number in 0..count {
        for place in [number % 2, 1 - number % 2] {
            kinds[place].set_up(2 * number + place)?;
        }
    }
    for number in 0..count {
        for place in [number % 2, 1 - number % 2] {
            kinds[place].tear_down(2 * number + place)?;
        }
    }
    drop(namespaces);
    let [reference, ours] = &mut kinds;
    table.title(&format!("Podman's backend: setup of {count} containers, one port each"));
    table.times(&ours.set_up, &reference.set_up, SETUP);
    table.title("Podman's backend: teardown");
    table.times(&ours.torn_down, &reference.torn_down, TEARDOWN);
    table.title("Podman's backend: the last tenth against the first");
    for kind in [&*reference, &*ours] {
        kind.set_up.ends().iter().chain(&kind.torn_down.ends()).for_each(|samples| table.row(samples));
    }
    ports([reference, ours], table)?;
    growth(ours, many, table)
}

/// One container with many ports, and connections to the first and the last.
fn ports([reference, ours]: [&mut Kind; 2], table: &mut Table) -> Result<()> {
    let _namespaces = Namespaces::new(1)?;
    let count = reference.capacity()?;
    let mut found = Vec::new();
    for kind in [&mut *reference, &mut *ours] {
        kind.set_up = Samples::of(format!("setup, {count} ports, {}", kind.what));
        kind.torn_down = Samples::of(format!("teardown, {count} ports, {}", kind.what));
        for round in 0..5 {
            let request = kind.many_ports(count);
            let time = kind.run("setup", 0, &request)?;
            kind.set_up.push(time);
            if round == 0 {
                found.push(kind.reach(count)?);
            }
            let time = kind.run("teardown", 0, &request)?;
            kind.torn_down.push(time);
        }
    }
    table.title("Podman's backend: many ports");
    table.times(&ours.set_up, &reference.set_up, PORTS);
    table.times(&ours.torn_down, &reference.torn_down, PORTS);
    table.title("Podman's backend: TCP connect from a neighbour");
    for [first, last] in &found {
        table.row(first);
        table.row(last);
    }
    if let Some([first, last]) = found.last() {
        table.compare(last, first, GROWTH);
    }
    Ok(())
}

/// Sets up `many` one after another, then tears them down.
fn growth(kind: &mut Kind, many: usize, table: &mut Table) -> Result<()> {
    if many < 10 {
        return Ok(());
    }
    let _namespaces = Namespaces::new(many)?;
    (kind.set_up, kind.torn_down) = (Samples::of("setup"), Samples::of("teardown"));
    (0..many).try_for_each(|number| kind.set_up(number))?;
    (0..many).try_for_each(|number| kind.tear_down(number))?;
    table.title(&format!("Podman's backend: {many} containers"));
    let [first, last] = kind.set_up.ends();
    table.compare(&last, &first, GROWTH);
    let [full, empty] = kind.torn_down.ends();
    table.compare(&full, &empty, GROWTH);
    Ok(())
}

/// One backend.
struct Kind {
    what: &'static str,
    program: PathBuf,
    directory: PathBuf,
    host: Net,
    state: PathBuf,
    run: PathBuf,
    net: u8,
    set_up: Samples,
    torn_down: Samples,
}

impl Kind {
    fn new(host: &Host, what: &'static str, program: &Path, net: u8) -> Result<Self> {
        let directory = PathBuf::from(format!("/run/{what}-backend"));
        fs::create_dir(&directory).doing("cannot make a run directory")?;
        Ok(Self {
            what,
            program: program.to_owned(),
            host: Net::new(what),
            state: host.state().with_file_name("backend"),
            run: directory.join("run"),
            directory,
            net,
            set_up: Samples::of(format!("setup, {what}")),
            torn_down: Samples::of(format!("teardown, {what}")),
        })
    }

    /// What is made once per host is not measured.
    fn warm_up(&mut self) -> Result<()> {
        let request = self.request(0, [mapping(FIRST_PORT, 80)]);
        self.run("setup", 0, &request)?;
        self.run("teardown", 0, &request).map(drop)
    }

    fn set_up(&mut self, number: usize) -> Result<()> {
        let time = self.run("setup", number, &self.one_port(number))?;
        self.set_up.push(time);
        Ok(())
    }

    fn tear_down(&mut self, number: usize) -> Result<()> {
        let time = self.run("teardown", number, &self.one_port(number))?;
        self.torn_down.push(time);
        Ok(())
    }

    /// So many ports as it can publish at once here: without the host's root `nft` may not send as much as it needs for more.
    fn capacity(&self) -> Result<u16> {
        let mut count = MANY_PORTS;
        loop {
            let request = self.many_ports(count);
            let done = self.run("setup", 0, &request);
            // What failed leaves some of it behind.
            let undone = self.run("teardown", 0, &request);
            match done.and(undone) {
                Ok(_) => return Ok(count),
                Err(failure) if count < 100 => return Err(failure),
                Err(_) => count /= 2,
            }
            println!("{} cannot publish {} ports here, so {count} are compared", self.what, count * 2);
        }
    }

    fn many_ports(&self, count: u16) -> Value {
        self.request(0, (0..count).map(|port| mapping(FIRST_PORT + port, 1 + port)))
    }

    fn one_port(&self, number: usize) -> Value {
        self.request(number, [mapping(FIRST_PORT + u16::try_from(number).unwrap_or_default(), 80)])
    }

    /// What Podman sends of the container with this number.
    fn request(&self, number: usize, ports: impl IntoIterator<Item = Value>) -> Value {
        let net = self.net;
        let address = format!("10.10{net}.{}.{}", number / 200, number % 200 + 2);
        let name = format!("bench{net}");
        json!({
            "container_id": format!("{number:08x}{net:056x}"),
            "container_name": format!("container{number}"),
            "port_mappings": ports.into_iter().collect::<Value>(),
            "networks": { &name: { "interface_name": "eth0", "static_ips": [address] } },
            "network_info": { &name: {
                "name": name, "id": format!("{net:064x}"), "driver": "bridge",
                "network_interface": format!("podman{net}"),
                "subnets": [{ "subnet": format!("10.10{net}.0.0/16"), "gateway": format!("10.10{net}.255.254") }],
                "ipv6_enabled": false, "internal": false, "dns_enabled": false,
                "ipam_options": { "driver": "host-local" },
            }},
        })
    }

    /// Runs one command to its end, as Podman does; how long that takes.
    fn run(&self, command: &str, number: usize, request: &Value) -> Result<Duration> {
        let input = self.directory.join("input");
        fs::write(&input, request.to_string()).doing("cannot write a request")?;
        let mut program = Command::new(&self.program);
        program.arg("--config").arg(&self.directory).args(["--rootless=false", "--aardvark-binary="]);
        program.arg(command).arg(format!("/run/netns/{}", name(number)));
        program.env("LINKSPAN_STATE_DIR", &self.state).env("LINKSPAN_RUN_DIR", &self.run);
        program.env("NETAVARK_FW", "nftables").env("DBUS_SYSTEM_BUS_ADDRESS", "");
        let output = self.directory.join("output");
        let file = |path: &Path| File::create(path).doing("cannot make a file");
        program.stdin(File::open(&input).doing("cannot read a request")?).stdout(file(&output)?);
        program.stderr(Stdio::null());
        let (status, time) = self.host.enter(|| {
            let start = Instant::now();
            (program.status(), start.elapsed())
        });
        let status = status.doing(format!("cannot start {}", self.what))?;
        settle();
        if status.success() {
            return Ok(time);
        }
        let said = fs::read_to_string(output).unwrap_or_default();
        Err(Failure::new(format!("{command} by {} failed", self.what)).cause(said))
    }

    /// Connects from a neighbouring host to the first and the last of the many ports.
    fn reach(&self, count: u16) -> Result<[Samples; 2]> {
        let host = self.host.name();
        ip("netns add neighbour")?;
        ip(&format!("-n {host} link add vhost up type veth peer name eth0 netns neighbour"))?;
        ip(&format!("-n {host} address add {HERE}/24 dev vhost"))?;
        ip("-n neighbour link set eth0 up")?;
        ip(&format!("-n neighbour address add {NEIGHBOUR}/24 dev eth0"))?;
        let ports = [FIRST_PORT, FIRST_PORT + count - 1];
        let _server = traffic::server(&name(0), &[1, count])?;
        let found = traffic::connects("neighbour", HERE, &ports, 300)?;
        ip("netns del neighbour")?;
        Ok(ports.map(|port| {
            let mut samples = Samples::of(format!("port {port}, {}", self.what));
            found.iter().filter(|(of, _)| *of == port).for_each(|(_, time)| samples.push(*time));
            samples
        }))
    }
}

fn mapping(host: u16, container: u16) -> Value {
    json!({ "host_ip": "", "host_port": host, "container_port": container, "protocol": "tcp", "range": 1 })
}
