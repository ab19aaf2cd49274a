//! Changes: what separates a host from what a file describes.

use std::fmt;

use linkspan_engine::{NetworkRequest, SandboxRequest};
use linkspan_model::{Name, NetAttach};
use serde::Serialize;

use crate::file::Command;
use crate::programs::Program;

/// One change, with what it takes to undo it.
#[derive(Clone, Debug)]
pub enum Change {
    /// A program ends.
    Stop(Program),
    /// A sandbox goes; it was this.
    RemoveSandbox(SandboxRequest),
    /// A sandbox leaves a network, which it was on like this.
    Disconnect(Name, NetAttach),
    /// A network goes; it was this.
    RemoveNetwork(NetworkRequest),
    /// A network comes.
    CreateNetwork(NetworkRequest, Vec<String>),
    /// A sandbox comes.
    CreateSandbox(SandboxRequest, Vec<String>),
    /// A sandbox joins a network.
    Connect(Name, NetAttach),
    /// Names, labels or published ports of a sandbox change to the first from the second; in words.
    Revise(Box<(SandboxRequest, SandboxRequest)>, Vec<String>),
    /// A program starts in a sandbox.
    Start(Name, Command),
}

/// What a change is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A network.
    Network,
    /// A sandbox, or a program in it.
    Sandbox,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Network { "network" } else { "sandbox" })
    }
}

impl Change {
    /// When its turn is: what goes, goes before what may take its place comes.
    pub const fn turn(&self) -> usize {
        match self {
            Self::Stop(_) => 0,
            Self::RemoveSandbox(_) => 1,
            Self::Disconnect(..) => 2,
            Self::RemoveNetwork(_) => 3,
            Self::CreateNetwork(..) => 4,
            Self::CreateSandbox(..) | Self::Connect(..) => 5,
            Self::Revise(..) => 6,
            Self::Start(..) => 7,
        }
    }

    /// What it is about.
    pub const fn object(&self) -> (Kind, &Name) {
        match self {
            Self::RemoveNetwork(request) | Self::CreateNetwork(request, _) => (Kind::Network, &request.name),
            Self::RemoveSandbox(request) | Self::CreateSandbox(request, _) => (Kind::Sandbox, &request.name),
            Self::Revise(requests, _) => (Kind::Sandbox, &requests.0.name),
            Self::Disconnect(name, _) | Self::Connect(name, _) | Self::Start(name, _) => {
                (Kind::Sandbox, name)
            }
            Self::Stop(program) => (Kind::Sandbox, &program.sandbox),
        }
    }

    /// The change that undoes it.
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::Stop(program) => Self::Start(program.sandbox, program.command),
            Self::RemoveSandbox(request) => Self::CreateSandbox(request, Vec::new()),
            Self::Disconnect(name, attach) => Self::Connect(name, attach),
            Self::RemoveNetwork(request) => Self::CreateNetwork(request, Vec::new()),
            Self::CreateNetwork(request, _) => Self::RemoveNetwork(request),
            Self::CreateSandbox(request, _) => Self::RemoveSandbox(request),
            Self::Connect(name, attach) => Self::Disconnect(name, attach),
            Self::Revise(requests, what) => {
                let (wanted, former) = *requests;
                Self::Revise(Box::new((former, wanted)), what)
            }
            Self::Start(sandbox, command) => {
                Self::Stop(Program { sandbox, command, record: None, runs: true })
            }
        }
    }

    /// What it does to its object, in words; nothing if the object comes or goes and that says it all.
    fn words(&self) -> Vec<String> {
        match self {
            Self::Stop(program) if program.runs => vec![format!("stop {}", program.command)],
            Self::Stop(_) | Self::RemoveSandbox(_) | Self::RemoveNetwork(_) => Vec::new(),
            Self::Disconnect(_, attach) => vec![format!("disconnect from {}", attach.network)],
            Self::CreateNetwork(_, words) | Self::CreateSandbox(_, words) | Self::Revise(_, words) => {
                words.clone()
            }
            Self::Connect(_, attach) => vec![format!("connect to {}", Attachment(attach))],
            Self::Start(_, command) => vec![format!("run {command}")],
        }
    }
}

/// All changes about one object, in one line.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct Line {
    /// `+` if the object comes, `-` if it goes, `~` if it changes.
    pub sign: char,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// What is done to it.
    pub changes: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.sign, self.kind, self.name)?;
        if self.changes.is_empty() { Ok(()) } else { write!(f, ": {}", self.changes.join(", ")) }
    }
}

/// Changes as lines, one an object, in the order in which their turns come.
pub fn lines(changes: &[Change]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for change in changes {
        let (kind, name) = change.object();
        let sign = match change {
            Change::RemoveNetwork(_) | Change::RemoveSandbox(_) => '-',
            Change::CreateNetwork(..) | Change::CreateSandbox(..) => '+',
            _ => '~',
        };
        match lines.iter_mut().find(|line| (line.kind, &line.name) == (kind, name)) {
            Some(line) => {
                line.sign = together(line.sign, sign);
                line.changes.extend(change.words());
            }
            None => lines.push(Line { sign, kind, name: name.clone(), changes: change.words() }),
        }
    }
    lines
}

/// One sign for two changes of an object: what goes and comes again changes; what also starts or stops comes or goes.
const fn together(first: char, second: char) -> char {
    match (first, second) {
        ('-', '+') => '~',
        ('~', '-') => '-',
        (first, _) => first,
    }
}

/// An attachment as `--net` takes it, without the interface's MAC and name where these are not asked for.
pub struct Attachment<'a>(pub &'a NetAttach);

impl fmt::Display for Attachment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attach = self.0;
        f.write_str(&attach.network)?;
        let mut field =
            |key: &str, value: Option<String>| value.map_or(Ok(()), |value| write!(f, ",{key}={value}"));
        field("ip", attach.ip.map(|ip| ip.to_string()))?;
        field("ip6", attach.ip6.map(|ip| ip.to_string()))?;
        field("mac", attach.mac.map(|mac| mac.to_string()))?;
        for alias in &attach.aliases {
            field("alias", Some(alias.to_string()))?;
        }
        field("ifname", attach.ifname.as_ref().map(ToString::to_string))?;
        field("gw-priority", (attach.gw_priority != 0).then(|| attach.gw_priority.to_string()))?;
        let limits = attach.shaping;
        field("ingress-rate", limits.ingress_rate.map(|rate| rate.to_string()))?;
        field("ingress-burst", limits.ingress_burst.map(|burst| burst.to_string()))?;
        field("egress-rate", limits.egress_rate.map(|rate| rate.to_string()))?;
        field("egress-burst", limits.egress_burst.map(|burst| burst.to_string()))
    }
}
