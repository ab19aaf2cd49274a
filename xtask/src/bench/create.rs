//! One sandbox: made and removed by `linkspan`, and by the shortest script that makes the same devices.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::table::{Samples, Table};
use super::{await_veths, settle, take_turns};
use crate::failure::Result;
use crate::inside::{Host, ip};

/// The goal of the issue on performance for both: at most this share of the floor.
const GOAL: f64 = 0.8;

/// Measures both `count` times.
pub fn measure(host: &Host, count: u32, table: &mut Table) -> Result<()> {
    let script = Script::new(host)?;
    let mut created = Samples::of("linkspan sandbox create, one port published");
    let mut removed = Samples::of("linkspan sandbox rm");
    let mut scripted = Samples::of("ip netns add, two ip -batch (no NAT, no state)");
    let mut deleted = Samples::of("ip link del of the veth alone");
    let ours = || -> Result<()> {
        created.push(host.timed(&mut host.linkspan("sandbox create --net bridge -p 18080:80 bench"))?);
        settle();
        removed.push(host.timed(&mut host.linkspan("sandbox rm bench"))?);
        await_veths(0)
    };
    let floor = || -> Result<()> {
        scripted.push(script.make(host)?);
        settle();
        deleted.push(host.timed(Command::new("ip").args(["link", "del", "vfloor"]))?);
        ip("netns del floor")?;
        await_veths(0)
    };
    take_turns(count, ours, floor)?;
    table.title("one sandbox");
    table.compare(&created, &scripted, GOAL);
    table.compare(&removed, &deleted, GOAL);
    ip("link del floor0")?;
    for_comparison(host, count, table)
}

/// Rows without a goal: what starting programs costs, and a creation that follows a removal at once.
fn for_comparison(host: &Host, count: u32, table: &mut Table) -> Result<()> {
    let mut nothing = Samples::of("starting `true`");
    let mut version = Samples::of("linkspan version");
    let mut at_once = Samples::of("linkspan sandbox create right after a removal");
    for _ in 0..count {
        nothing.push(host.timed(&mut Command::new("true"))?);
        version.push(host.timed(&mut host.linkspan("version"))?);
        host.timed(&mut host.linkspan("sandbox create --net bridge -p 18080:80 bench"))?;
        host.timed(&mut host.linkspan("sandbox rm bench"))?;
        at_once.push(host.timed(&mut host.linkspan("sandbox create --net bridge -p 18080:80 bench"))?);
        host.timed(&mut host.linkspan("sandbox rm bench"))?;
        await_veths(0)?;
    }
    table.title("for comparison");
    [nothing, version, at_once].iter().for_each(|samples| table.row(samples));
    Ok(())
}

/// The floor: namespace, veth pair on a bridge, address, default route, in three processes.
struct Script {
    outside: PathBuf,
    inside: PathBuf,
}

impl Script {
    fn new(host: &Host) -> Result<Self> {
        ip("link add floor0 type bridge")?;
        ip("address add 10.199.0.1/16 dev floor0")?;
        ip("link set floor0 up")?;
        let outside = "link add vfloor master floor0 up type veth peer name eth0 netns floor\n";
        let inside = "link set lo up\nlink set eth0 up\naddress add 10.199.0.2/16 dev eth0\n\
                      route add default via 10.199.0.1\n";
        Ok(Self { outside: host.file("outside", outside)?, inside: host.file("inside", inside)? })
    }

    fn make(&self, host: &Host) -> Result<Duration> {
        let namespace = host.timed(Command::new("ip").args(["netns", "add", "floor"]))?;
        let outside = host.timed(Command::new("ip").arg("-batch").arg(&self.outside))?;
        let inside = host.timed(Command::new("ip").args(["-n", "floor", "-batch"]).arg(&self.inside))?;
        Ok(namespace + outside + inside)
    }
}
