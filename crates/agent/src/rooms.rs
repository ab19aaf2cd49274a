//! Sandboxes from the inside: sockets that are asked at, and what leads there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use linkspan_dns::{Server, Socket};
use linkspan_kernel::resolver::{Lead, Resolver};
use linkspan_model::{Name, NamespaceSource, Sandbox};

/// How long a socket is kept by which something was deleted in the firewall: closed at once, it would take the kernel
/// some milliseconds, and everybody else would wait.
const REST: Duration = Duration::from_millis(200);

/// The sandboxes that are asked in.
pub struct Rooms {
    server: Server,
    open: BTreeMap<Name, Room>,
    /// Sandboxes whose loopback is down, so far.
    silent: BTreeSet<Name>,
    /// What goes when it has rested.
    gone: Vec<(Instant, Lead)>,
}

/// A sandbox that is asked in.
struct Room {
    container: Arc<str>,
    pin: PathBuf,
    lead: Lead,
    /// Whether the namespace is somebody's who has it on when the sandbox goes.
    is_given: bool,
}

impl Rooms {
    /// None yet; `server` is to answer in them.
    pub const fn new(server: Server) -> Self {
        Self { server, open: BTreeMap::new(), silent: BTreeSet::new(), gone: Vec::new() }
    }

    /// Who answers.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Whether nobody asks, nor might.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.silent.is_empty()
    }

    /// The sandboxes whose loopback was down when they were opened.
    pub fn silent(&self) -> Vec<Name> {
        self.silent.iter().cloned().collect()
    }

    /// Has `sandbox` asked in, as `container`.
    ///
    /// # Errors
    /// Why not.
    pub fn open(&mut self, sandbox: &Sandbox, container: Arc<str>) -> Result<(), String> {
        let pin = sandbox.pin();
        let is_open = |room: &Room| room.container == container && room.lead.is_at(&pin);
        if self.open.get(&sandbox.name).is_some_and(is_open) {
            return Ok(());
        }
        self.close(&sandbox.name);
        let resolver = Resolver::open(&pin).map_err(|error| format!("{}: {}", error.what, error.cause))?;
        let Some(Resolver { udp, tcp, lead }) = resolver else {
            self.silent.insert(sandbox.name.clone());
            return Ok(());
        };
        let opened = self.server.open(Socket::Container(Arc::clone(&container)), udp, tcp);
        opened.map_err(|error| format!("cannot answer in sandbox '{}': {error}", sandbox.name))?;
        let is_given = matches!(sandbox.namespace, NamespaceSource::Path(_));
        self.open.insert(sandbox.name.clone(), Room { container, pin, lead, is_given });
        Ok(())
    }

    /// Has `sandbox` asked in no more. Its namespace is left as it would be without, if it is to live on.
    pub fn close(&mut self, sandbox: &Name) {
        self.silent.remove(sandbox);
        let Some(mut room) = self.open.remove(sandbox) else { return };
        self.server.close(&Socket::Container(room.container));
        if (room.is_given || room.lead.is_at(&room.pin)) && room.lead.remove().is_ok() {
            self.gone.push((Instant::now(), room.lead));
        }
    }

    /// Makes again what leads there, should somebody have removed it.
    ///
    /// # Errors
    /// Why one cannot be.
    pub fn renew(&mut self) -> Result<(), String> {
        let renewed = self.open.values_mut().map(|room| room.lead.renew());
        // All of them, whatever becomes of one.
        let failed = renewed.filter_map(Result::err).last();
        failed.map_or(Ok(()), |error| Err(format!("{}: {}", error.what, error.cause)))
    }

    /// Lets go of namespaces that nobody calls by their sandbox's name any more; gives the sandboxes.
    pub fn tidy(&mut self) -> Vec<Name> {
        let lost = |(name, room): (&Name, &Room)| (!room.lead.is_at(&room.pin)).then(|| name.clone());
        let lost: Vec<_> = self.open.iter().filter_map(lost).collect();
        lost.iter().for_each(|name| self.close(name));
        self.gone.retain(|(since, _)| since.elapsed() < REST);
        lost
    }
}
