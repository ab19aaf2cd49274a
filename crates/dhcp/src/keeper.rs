//! A client at work: it gets a lease for an interface of a container and keeps it.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use linkspan_kernel::leased::{Addressing, Interface};
use linkspan_model::Mac;
use linkspan_plan::{Failure, KernelError};
use tokio::net::UnixDatagram;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Action, Client};
use crate::frame::{Way, unwrap, wrap};
use crate::lease::Lease;
use crate::message::Identity;

/// No message is longer on Ethernet.
const LONGEST: usize = 2048;
/// How long an answer is waited for: the interface keeps its namespace alive as long as it is open.
const ANSWER: Duration = Duration::from_secs(10);
/// How long nothing is heard after an error.
const DEAF: Duration = Duration::from_millis(100);

/// An interface in a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file that the namespace is known by.
    pub netns: PathBuf,
    /// The interface.
    pub ifname: String,
}

/// What has come about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// There is a lease, a new one or one more time.
    Bound(Lease),
    /// There is none any more.
    Lost,
    /// The interface is there no more.
    Gone,
}

/// Wall-clock time that goes on evenly.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
    then: Duration,
}

impl Clock {
    fn start() -> Self {
        let then = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), then }
    }

    fn now(self) -> Duration {
        self.then + self.start.elapsed()
    }

    fn instant(self, time: Duration) -> Instant {
        self.start + time.saturating_sub(self.then)
    }
}

/// A client with its interface. That is open only while an answer is waited for: it would keep the namespace alive.
#[derive(Debug)]
pub struct Keeper {
    client: Client,
    clock: Clock,
    place: Place,
    mac: Mac,
    server_mac: Option<Mac>,
    port: Option<Port>,
    /// What the interface was given; nothing is given if somebody else does.
    given: Option<Addressing>,
    gives: bool,
}

/// An interface with what waits for its packets.
#[derive(Debug)]
struct Port {
    interface: Interface,
    /// The very packet socket: the runtime waits for datagrams of any family alike, and has no type for these.
    packets: UnixDatagram,
    opened: Instant,
}

impl Port {
    fn new(interface: Interface) -> io::Result<Self> {
        let packets = StdDatagram::from(interface.packets().as_fd().try_clone_to_owned()?);
        Ok(Self { packets: UnixDatagram::from_std(packets)?, interface, opened: Instant::now() })
    }
}

impl Keeper {
    /// A keeper of a lease that is to be got. With `gives` it gives the interface the address and routes, else it only sets
    /// it down when the lease ends.
    ///
    /// # Errors
    /// If the interface is not there.
    pub fn new(place: Place, identity: Identity, gives: bool) -> Result<Self, KernelError> {
        let clock = Clock::start();
        let mac = identity.mac;
        let client = Client::new(identity, seed(), clock.now());
        Self::over(client, clock, place, mac, gives)
    }

    /// A keeper of a lease that counts from `since` after the epoch, and whose server had the MAC `server_mac`.
    ///
    /// # Errors
    /// If the interface is not there.
    pub fn resumed(
        place: Place,
        identity: Identity,
        gives: bool,
        (lease, since, server_mac): (Lease, Duration, Option<Mac>),
    ) -> Result<Self, KernelError> {
        let clock = Clock::start();
        let mac = identity.mac;
        let given = gives.then(|| lease.addressing());
        let client = Client::resumed(identity, seed(), clock.now(), lease, since);
        Ok(Self { server_mac, given, ..Self::over(client, clock, place, mac, gives)? })
    }

    fn over(client: Client, clock: Clock, place: Place, mac: Mac, gives: bool) -> Result<Self, KernelError> {
        let mut keeper = Self { client, clock, place, mac, server_mac: None, port: None, given: None, gives };
        keeper.open()?;
        Ok(keeper)
    }

    /// The lease, the time since the epoch that it counts from, and the MAC of its server.
    pub fn held(&self) -> Option<(&Lease, Duration, Option<Mac>)> {
        Some((self.client.lease()?, self.client.since()?, self.server_mac))
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// If the interface cannot be used.
    pub async fn next(&mut self) -> Result<Event, KernelError> {
        loop {
            let actions = match self.wait().await {
                Some((mac, message)) => {
                    let actions = self.client.hear(&message, self.clock.now());
                    if actions.iter().any(|action| matches!(action, Action::Bound(_))) {
                        self.server_mac = Some(mac);
                    }
                    actions
                }
                None => {
                    // Anew each time: what was opened long ago may have been removed since.
                    self.port = None;
                    match self.open() {
                        Err(error) if error.failure == Failure::NotFound => return Ok(Event::Gone),
                        opened => opened?,
                    }
                    self.client.tick(self.clock.now())
                }
            };
            let mut event = None;
            for action in actions {
                event = match self.act(action)? {
                    // The client has gone on already, and is asked again.
                    None => event,
                    happened => happened,
                };
            }
            if !self.client.listens() {
                self.port = None;
            }
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Gives the lease back, if there is one and the server can be told.
    ///
    /// # Errors
    /// If the interface is not there.
    pub fn release(&mut self) -> Result<(), KernelError> {
        let Some(action) = self.client.release() else { return Ok(()) };
        self.open()?;
        self.act(action).map(drop)
    }

    /// What somebody has sent to the client, with the sender's MAC; none when there is something to do. The interface is let
    /// go when no answer is to be expected any more.
    async fn wait(&mut self) -> Option<(Mac, Vec<u8>)> {
        let due = self.client.due().map(|due| self.clock.instant(due));
        let deaf = self.port.as_ref().map(|port| port.opened + ANSWER);
        if deaf.is_some_and(|deaf| due.is_none_or(|due| deaf < due)) {
            tokio::select! {
                () = until(deaf) => self.port = None,
                heard = heard(self.port.as_ref()) => return Some(heard),
            }
        }
        tokio::select! {
            () = until(due) => None,
            heard = heard(self.port.as_ref()) => Some(heard),
        }
    }

    fn act(&mut self, action: Action) -> Result<Option<Event>, KernelError> {
        match action {
            Action::Send { message, from, to } => {
                // What is on the other side of a router goes to that one's MAC, as the server's answers came from it.
                let to_mac = to.and(self.server_mac);
                let to = to.filter(|_| to_mac.is_some()).unwrap_or(Ipv4Addr::BROADCAST);
                let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
                let frame = wrap(Way { from_mac: self.mac, to_mac, from, to }, &message);
                if let Some(port) = &self.port {
                    // Whoever hears nothing sends again, and finds out that the interface is gone.
                    _ = port.interface.packets().send(&frame);
                }
                Ok(None)
            }
            Action::Bound(lease) => {
                self.give(Some(lease.addressing()))?;
                Ok(Some(Event::Bound(lease)))
            }
            Action::Lost => {
                self.give(None)?;
                Ok(Some(Event::Lost))
            }
        }
    }

    fn give(&mut self, new: Option<Addressing>) -> Result<(), KernelError> {
        let Some(port) = &mut self.port else { return Ok(()) };
        let interface = &mut port.interface;
        if !self.gives {
            return if new.is_none() { interface.down() } else { Ok(()) };
        }
        interface.change(self.given.as_ref(), new.as_ref())?;
        self.given = new;
        Ok(())
    }

    /// Opens the interface if it is not open. Another one of its name is not it.
    fn open(&mut self) -> Result<(), KernelError> {
        if self.port.is_some() {
            return Ok(());
        }
        let interface = Interface::open(&self.place.netns, &self.place.ifname)?;
        if interface.mac() != self.mac {
            return Err(KernelError {
                what: format!("find {}", self.place.ifname),
                cause: format!("its MAC is {} and not {}", interface.mac(), self.mac),
                hint: None,
                failure: Failure::NotFound,
            });
        }
        let port = Port::new(interface).map_err(|error| KernelError {
            what: format!("wait for packets of {}", self.place.ifname),
            cause: error.to_string(),
            hint: None,
            failure: Failure::Other,
        })?;
        self.port = Some(port);
        Ok(())
    }
}

/// Waits until then; without a time for ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next message for a client; without an interface none ever comes.
async fn heard(port: Option<&Port>) -> (Mac, Vec<u8>) {
    let Some(port) = port else { return std::future::pending().await };
    let mut frame = [0; LONGEST];
    loop {
        match port.packets.recv(&mut frame).await {
            Ok(length) => {
                if let Some((mac, message)) = unwrap(&frame[..length]) {
                    return (mac, message.to_vec());
                }
            }
            // That the device is down, or gone; whoever sends the next time finds out.
            Err(_) => sleep(DEAF).await,
        }
    }
}

/// A number that nobody can guess: the standard library's maps have keys of that kind.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
