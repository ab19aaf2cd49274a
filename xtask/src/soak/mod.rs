//! `cargo xtask soak`: kills linkspan at random instants; repair must leave the host as if nothing had begun,
//! or as if all had been done.

mod snapshot;

use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use linkspan_lab::Random;

use crate::failure::{Doing as _, Failure, Result};
use crate::flags::Flags;
use crate::inside::{self, Host, ip};
use crate::run;
use snapshot::Snapshot;

/// How long the kernel may take to finish what a command has left to it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many runs tell how long a command takes.
const CALIBRATION: u32 = 5;

/// Runs `--count` rounds, decided by `--seed`.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let flags = Flags::parse(arguments, &["count", "seed", "linkspan", "state"], &[])?;
    inside::run("soak", inside::Privileges::Dropped, arguments, &flags, |host| soak(host, &flags))
}

fn soak(host: &Host, flags: &Flags) -> Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seed = flags.number("seed", now)?;
    let count: u32 = flags.number("count", 200)?;
    println!("{}\nseed {seed}, {count} rounds", host.describe());
    snapshot::not_compared().iter().for_each(|why| println!("skipped: {why}"));
    let mut soak = Soak::new(host, seed)?;
    for round in 0..count {
        let failed = |failure: Failure| failure.context(&format!("round {round} of --seed {seed}"));
        soak.round(&format!("soak{round}")).map_err(failed)?;
    }
    let Soak { killed, ended, finished, undone, .. } = soak;
    println!(
        "{killed} commands killed, {ended} had ended before; afterwards {finished} sandboxes whole, {undone} gone"
    );
    println!("nothing was left behind");
    Ok(ExitCode::SUCCESS)
}

struct Soak<'a> {
    host: &'a Host,
    random: Random,
    /// How long creating, removing and repairing take.
    create: Duration,
    remove: Duration,
    repair: Duration,
    /// The host without any sandbox.
    empty: Snapshot,
    killed: u32,
    ended: u32,
    finished: u32,
    undone: u32,
}

impl<'a> Soak<'a> {
    fn new(host: &'a Host, seed: u64) -> Result<Self> {
        let mut totals = [Duration::ZERO; 3];
        for _ in 0..CALIBRATION {
            for (total, line) in totals.iter_mut().zip([&create_line("warm"), "sandbox rm warm", "repair"]) {
                *total += host.timed(&mut host.linkspan(line))?;
            }
        }
        sleep(Duration::from_millis(200));
        let [create, remove, repair] = totals.map(|total| total / CALIBRATION);
        let (random, empty) = (Random::seeded(seed), Snapshot::take(host)?);
        Ok(Self { host, random, create, remove, repair, empty, killed: 0, ended: 0, finished: 0, undone: 0 })
    }

    /// Kills one command, sometimes also the repair that follows, then repairs and looks.
    fn round(&mut self, name: &str) -> Result<()> {
        let (line, time) = if self.random.below(2) == 0 {
            (create_line(name), self.create)
        } else {
            self.host.timed(&mut self.host.linkspan(&create_line(name)))?;
            (format!("sandbox rm {name}"), self.remove)
        };
        self.kill(&line, time)?;
        if self.random.below(4) == 0 {
            self.kill("repair", self.repair)?;
        }
        self.host.asked("repair")?;
        let left = self.host.asked("repair --dry-run")?;
        if !left.trim().is_empty() {
            return Err(Failure::new(format!("after `{line}` was killed, repair leaves work")).cause(left));
        }
        if self.listed(name)? {
            self.finished += 1;
            works(name)
                .map_err(|failure| failure.context(&format!("after `{line}` was killed and repaired")))?;
            self.host.asked(&format!("sandbox rm {name}"))?;
        } else {
            self.undone += 1;
        }
        self.expect_empty(&line)
    }

    /// Starts a command and kills it somewhere between its start and a little after its usual end.
    fn kill(&mut self, line: &str, time: Duration) -> Result<()> {
        let limit = time.mul_f64(1.2).as_micros().try_into().unwrap_or(u64::MAX);
        let delay = Duration::from_micros(self.random.below(limit.max(1)));
        let mut command = self.host.linkspan(line);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut child: Child = command.spawn().doing("cannot start linkspan")?;
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        child.kill().doing("cannot kill linkspan")?;
        let status = child.wait().doing("cannot wait for linkspan")?;
        if status.code().is_some() {
            self.ended += 1
        } else {
            self.killed += 1
        }
        Ok(())
    }

    fn listed(&self, name: &str) -> Result<bool> {
        let list = self.host.asked("--format json sandbox ls")?;
        Ok(list.contains(&format!("\"{name}\"")))
    }

    fn expect_empty(&self, line: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let difference = Snapshot::take(self.host)?.difference(&self.empty);
            if difference.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let what = format!("after `{line}` was killed and repaired, the host is not as before");
                return Err(Failure::new(what).cause(difference.join("\n")));
            }
            sleep(Duration::from_millis(20));
        }
    }
}

fn create_line(name: &str) -> String {
    format!("sandbox create --net bridge -p 18080:80 -p 18081-18085:81-85/udp {name}")
}

/// Whether the sandbox reaches its gateway.
fn works(name: &str) -> Result<()> {
    let route = ip(&format!("-n {name} -4 route show default"))?;
    let gateway = route.split_whitespace().skip_while(|word| *word != "via").nth(1);
    let gateway =
        gateway.ok_or_else(|| Failure::new(format!("sandbox {name} is listed but has no default route")))?;
    let namespace = format!("--net=/run/netns/{name}");
    run::output("nsenter", &[&namespace, "ping", "-c", "1", "-W", "2", gateway]).map(drop)
}
