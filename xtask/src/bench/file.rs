//! A lab of 200 sandboxes: made from one file by `linkspan`, and by what the kernel itself takes for the same devices.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::table::{Samples, Table};
use super::{await_veths, take_turns};
use crate::failure::Result;
use crate::inside::{Host, ip};

const SANDBOXES: u32 = 200;
/// The goal of the issue on topologies.
const GOAL: f64 = 2.0;

/// Measures both `count` times.
pub fn measure(host: &Host, count: u32, table: &mut Table) -> Result<()> {
    let lab = host.file("lab.toml", &lab())?;
    let call = |words: &str| host.linkspan(&format!("{words} -f {}", lab.display()));
    let script = Script::new(host)?;
    let mut applied = Samples::of(format!("linkspan apply, {SANDBOXES} sandboxes"));
    let mut again = Samples::of("linkspan apply, nothing to change");
    let mut deleted = Samples::of("linkspan delete");
    let mut scripted = Samples::of("ip -batch: namespaces, veth pairs, addresses, routes");
    let ours = || -> Result<()> {
        applied.push(host.timed(&mut call("apply"))?);
        again.push(host.timed(&mut call("apply"))?);
        deleted.push(host.timed(&mut call("delete"))?);
        await_veths(0)
    };
    let floor = || -> Result<()> {
        scripted.push(script.make(host)?);
        host.timed(Command::new("ip").arg("-batch").arg(&script.removal))?;
        await_veths(0)
    };
    take_turns(count, ours, floor)?;
    table.title("a lab from a file");
    table.compare(&applied, &scripted, GOAL);
    [again, deleted].iter().for_each(|samples| table.row(samples));
    ip("link del floor0").map(drop)
}

fn lab() -> String {
    let sandbox = |text: String, number| text + &format!("[sandbox.s{number}]\nnet = \"lan\"\n");
    (0..SANDBOXES).fold("[network.lan]\nsubnet = \"10.198.0.0/16\"\n".to_owned(), sandbox)
}

/// The floor. `ip` enters one namespace a process, so of the work inside, what starting it so often takes is left out.
struct Script {
    namespaces: PathBuf,
    pairs: PathBuf,
    removal: PathBuf,
    inside: PathBuf,
    nothing: PathBuf,
}

impl Script {
    fn new(host: &Host) -> Result<Self> {
        ip("link add floor0 type bridge")?;
        ip("address add 10.199.0.1/16 dev floor0")?;
        ip("link set floor0 up")?;
        let lines =
            |line: &dyn Fn(u32) -> String| (0..SANDBOXES).fold(String::new(), |all, n| all + &line(n) + "\n");
        let pair = |n| format!("link add vfloor{n} master floor0 up type veth peer name eth0 netns floor{n}");
        let mut inside = String::from("set -e\n");
        let mut nothing = inside.clone();
        for number in 0..SANDBOXES {
            let words = format!(
                "link set lo up\nlink set eth0 up\naddress add 10.199.1.{number}/16 dev eth0\n\
                 route add default via 10.199.0.1\n"
            );
            let file = host.file(&format!("inside{number}"), &words)?;
            let _ = writeln!(inside, "ip -n floor{number} -batch {}", file.display());
            let _ = writeln!(nothing, "ip -n floor{number} -batch /dev/null");
        }
        Ok(Self {
            namespaces: host.file("namespaces", &lines(&|n| format!("netns add floor{n}")))?,
            pairs: host.file("pairs", &lines(&pair))?,
            removal: host.file("removal", &lines(&|n| format!("netns del floor{n}")))?,
            inside: host.file("inside.sh", &inside)?,
            nothing: host.file("nothing.sh", &nothing)?,
        })
    }

    fn make(&self, host: &Host) -> Result<Duration> {
        let namespaces = host.timed(Command::new("ip").arg("-batch").arg(&self.namespaces))?;
        let pairs = host.timed(Command::new("ip").arg("-batch").arg(&self.pairs))?;
        let nothing = host.timed(Command::new("sh").arg(&self.nothing))?;
        let inside = host.timed(Command::new("sh").arg(&self.inside))?;
        Ok(namespaces + pairs + inside.saturating_sub(nothing))
    }
}
