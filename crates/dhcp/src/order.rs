//! What CNI's plugin `dhcp` asks its daemon: one line of JSON each way on a Unix socket. Both are of this program.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use linkspan_model::Mac;
use serde::{Deserialize, Serialize};

/// Where the daemon listens.
pub const DAEMON_SOCKET: &str = "/run/cni/dhcp.sock";

/// A container's interface on a network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// The container.
    pub container: String,
    /// The network.
    pub network: String,
    /// The interface.
    pub ifname: String,
}

impl Attached {
    /// What servers know it by, and what its lease is called.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.container, self.network, self.ifname)
    }
}

/// An interface that wants a lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applicant {
    /// Whose interface.
    pub attached: Attached,
    /// The file that its namespace is known by.
    pub netns: PathBuf,
    /// Options that servers are told: codes with values.
    pub provide: Vec<(u8, Vec<u8>)>,
    /// Codes of the options that servers are asked for.
    pub request: Vec<u8>,
    /// The MAC of the interface, and whether servers have to answer by broadcast, as the daemon finds.
    #[serde(default)]
    pub found: (Mac, bool),
}

/// What the daemon is to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Get a lease and keep it. One that is kept already is told again.
    Allocate(Applicant),
    /// Give it back.
    Release(Attached),
    /// Tell it.
    Look(Attached),
    /// Give back all of a network but these.
    Collect {
        /// The network.
        network: String,
        /// Containers with interfaces.
        valid: Vec<Attached>,
    },
}

/// What an interface is to have by its lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Allocated {
    /// The address with its prefix.
    pub address: Ipv4Net,
    /// The router.
    pub gateway: Option<Ipv4Addr>,
    /// Routes with their next hops; without one what is there is on the link.
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
}

/// What the daemon answers: a lease if there is one, or why there is none.
pub(crate) type Reply = Result<Option<Allocated>, String>;

/// Has the daemon that listens at `socket` do something; gives the lease that this is about, if there is one.
///
/// # Errors
/// In words: that there is no daemon, or its own.
pub fn order(socket: &Path, order: &Order) -> Result<Option<Allocated>, String> {
    let unheard = |error: io::Error| format!("error dialing DHCP daemon: {}: {error}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(unheard)?;
    let mut line = serde_json::to_string(order).map_err(|error| error.to_string())?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(unheard)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).map_err(unheard)?;
    serde_json::from_str::<Reply>(&answer)
        .map_err(|_| format!("what answers at {} is no DHCP daemon of this program", socket.display()))?
}
