//! Attachments by CNI: the chain of reference plugins against Linkspan, natively and under the plugins' own names.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linkspan_lab::{Attachment, Outcome, Runtime};
use serde_json::{Value, json};

use super::containers::{Namespaces, name};
use super::settle;
use super::table::{Samples, Table};
use crate::failure::{Doing as _, Result};
use crate::inside::{Host, ip};
use crate::run;

/// Where Debian has the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";
/// The goals of the issue: how many times as fast attaching and detaching are.
const NATIVE: (f64, f64) = (20.0, 30.0);
const LINKS: (f64, f64) = (8.0, 10.0);
/// How much slower the last tenth may be than the first.
const GROWTH: f64 = 1.2;
/// Published on the host, each next attachment at the next one.
const FIRST_PORT: u16 = 20_000;

/// Measures `count` attachments of each kind by turns, then the growth up to `many` of Linkspan's own.
pub fn measure(host: &Host, count: usize, many: usize, table: &mut Table) -> Result<()> {
    if let Some(missing) = ["bridge", "iptables"].iter().find(|program| !is_there(program)) {
        println!("skipped: CNI, as there is no {missing} of the reference plugins here (tests/tools.sh)");
        return Ok(());
    }
    let links = links(host)?;
    let mut kinds = [
        Kind::new("reference chain", Runtime::new([REFERENCE], chain(host, "ref", 1))),
        Kind::new("linkspan through links", ours(host, &links, chain(host, "links", 2))),
        Kind::new("linkspan natively", ours(host, &links, native())),
    ];
    for (place, kind) in kinds.iter_mut().enumerate() {
        kind.warm_up(place)?;
    }
    let namespaces = Namespaces::new(3 * count)?;
    let mut order: VecDeque<usize> = (0..kinds.len()).collect();
    for number in 0..count {
        for &place in &order {
            kinds[place].attach(3 * number + place)?;
        }
        order.rotate_left(1);
    }
    for number in 0..count {
        for &place in &order {
            kinds[place].detach(3 * number + place)?;
        }
        order.rotate_left(1);
    }
    drop(namespaces);
    compare(&kinds, count, table);
    let [_, links, native] = kinds;
    growth(native, many, table)?;
    growth(links, many, table)
}

fn is_there(program: &str) -> bool {
    Path::new(REFERENCE).join(program).is_file() || run::find(program).is_some()
}

fn compare([reference, links, native]: &[Kind; 3], count: usize, table: &mut Table) {
    table.title("CNI: ADD, one port published");
    table.times(&native.added, &reference.added, NATIVE.0);
    table.times(&links.added, &reference.added, LINKS.0);
    table.title("CNI: DEL");
    table.times(&native.removed, &reference.removed, NATIVE.1);
    table.times(&links.removed, &reference.removed, LINKS.1);
    table.title(&format!("CNI: the last tenth of {count} ADDs against the first"));
    for kind in [reference, links, native] {
        kind.added.ends().iter().for_each(|samples| table.row(samples));
    }
}

/// Attaches `many` one after another, then detaches them.
fn growth(mut kind: Kind, many: usize, table: &mut Table) -> Result<()> {
    if many < 10 {
        return Ok(());
    }
    let _namespaces = Namespaces::new(many)?;
    (kind.added, kind.removed) = (Samples::of("ADD"), Samples::of("DEL"));
    for number in 0..many {
        kind.attach(number)?;
    }
    for number in 0..many {
        kind.detach(number)?;
    }
    table.title(&format!("CNI: {many} attachments, {}", kind.what));
    let [first, last] = kind.added.ends();
    table.compare(&last, &first, GROWTH);
    let [full, empty] = kind.removed.ends();
    table.compare(&full, &empty, GROWTH);
    Ok(())
}

/// One way to attach.
struct Kind {
    what: &'static str,
    runtime: Runtime,
    added: Samples,
    removed: Samples,
}

impl Kind {
    fn new(what: &'static str, runtime: Runtime) -> Self {
        let samples = |verb| Samples::of(format!("{verb}, {what}"));
        Self { what, runtime, added: samples("ADD"), removed: samples("DEL") }
    }

    /// What is made once per host is not measured.
    fn warm_up(&self, place: usize) -> Result<()> {
        ip("netns add warm")?;
        let warm = attachment("warm", place);
        self.timed(|| self.runtime.add(&warm))?;
        self.timed(|| self.runtime.del(&warm))?;
        ip("netns del warm").map(|_| settle())
    }

    fn attach(&mut self, number: usize) -> Result<()> {
        let attachment = attachment(&name(number), number);
        let time = self.timed(|| self.runtime.add(&attachment))?;
        self.added.push(time);
        Ok(())
    }

    fn detach(&mut self, number: usize) -> Result<()> {
        let attachment = attachment(&name(number), number);
        let time = self.timed(|| self.runtime.del(&attachment))?;
        self.removed.push(time);
        Ok(())
    }

    fn timed<T>(&self, work: impl FnOnce() -> Outcome<T>) -> Result<Duration> {
        let start = Instant::now();
        let outcome = work();
        let time = start.elapsed();
        outcome.doing(format!("{} failed", self.what))?;
        settle();
        Ok(time)
    }
}

fn attachment(container: &str, number: usize) -> Attachment {
    let number = u16::try_from(number).unwrap_or_default();
    Attachment::of(container).port(FIRST_PORT + number, 80)
}

/// The conflist of most hosts, with a bridge and addresses of its own.
fn chain(host: &Host, name: &str, net: u8) -> Value {
    let data = host.state().with_file_name("addresses");
    json!({
        "cniVersion": "1.0.0",
        "name": name,
        "plugins": [
            {
                "type": "bridge", "bridge": format!("cni{net}"), "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": data,
                    "ranges": [[{ "subnet": format!("10.20{net}.0.0/16") }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
            { "type": "firewall" },
            { "type": "tuning", "sysctl": { "net.core.somaxconn": "500" } },
        ],
    })
}

/// The same by one plugin.
fn native() -> Value {
    let plugin = json!({
        "type": "linkspan", "network": "bridge", "capabilities": { "portMappings": true },
        "sysctl": { "net.core.somaxconn": "500" },
    });
    json!({ "cniVersion": "1.0.0", "name": "native", "plugins": [plugin] })
}

/// A directory of links, as `linkspan cni install` makes them.
fn links(host: &Host) -> Result<PathBuf> {
    let directory = host.state().with_file_name("bin");
    fs::create_dir(&directory).doing("cannot make a directory for links")?;
    for plugin in ["linkspan", "bridge", "host-local", "portmap", "firewall", "tuning"] {
        symlink(host.program(), directory.join(plugin)).doing(format!("cannot make the link {plugin}"))?;
    }
    Ok(directory)
}

fn ours(host: &Host, links: &Path, list: Value) -> Runtime {
    let (state, run) = (host.state(), host.run_directory());
    Runtime::new([links], list)
        .env("LINKSPAN_STATE_DIR", &state.to_string_lossy())
        .env("LINKSPAN_RUN_DIR", &run.to_string_lossy())
}
