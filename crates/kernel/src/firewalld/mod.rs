//! firewalld, where it runs: a firewall of the host's own that lets nothing pass but what is in one of its zones.

mod bus;
mod wire;

use std::io;

use ipnet::IpNet;

use self::bus::Bus;
use self::wire::{Method, Reply, Value};

const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";
const CONFIG: &str = "org.fedoraproject.FirewallD1.config";
const CONFIG_PATH: &str = "/org/fedoraproject/FirewallD1/config";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The signal that it has read its configuration anew, and forgotten what was not in there.
const RELOADED: &str = "Reloaded";
/// What it says of a source that the zone has.
const ALREADY_SET: &str = "ZONE_ALREADY_SET";

/// A connection to it.
#[derive(Debug)]
pub struct Firewalld {
    bus: Bus,
}

impl Firewalld {
    /// Connects to the one that runs, if one does.
    pub fn running() -> Option<Self> {
        let mut found = Self::open().ok()?;
        found.is_running().then_some(found)
    }

    /// Connects to the bus that it is on, or will be.
    ///
    /// # Errors
    /// If the bus cannot be reached.
    pub fn open() -> io::Result<Self> {
        Ok(Self { bus: Bus::system()? })
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.bus.is_owned(NAME).unwrap_or_default()
    }

    /// Makes `source` a source of the zone `zone` until it reloads its configuration; one that is there stays.
    ///
    /// # Errors
    /// If it refuses, in its words.
    pub fn add_source(&mut self, zone: &str, source: IpNet) -> Result<(), String> {
        match self.of_zone("addSource", zone, source) {
            Ok(Reply::Done(_)) => Ok(()),
            Ok(Reply::Failed(what)) if what.contains(ALREADY_SET) => Ok(()),
            Ok(Reply::Failed(what)) => Err(what),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes `source` from the zone again, if it is there.
    pub fn remove_source(&mut self, zone: &str, source: IpNet) {
        _ = self.of_zone("removeSource", zone, source);
    }

    /// Whether `source` is one of the zone.
    pub fn has_source(&mut self, zone: &str, source: IpNet) -> bool {
        matches!(self.of_zone("querySource", zone, source), Ok(Reply::Done(Value::Bool(true))))
    }

    /// Whether it forwards no ports but those of its own configuration (StrictForwardPorts, since version 2.0): `yes`, `no` or
    /// what else somebody wrote; none if it does not know of that.
    pub fn strict_forward_ports(&mut self) -> Option<String> {
        let method = Method { destination: NAME, path: CONFIG_PATH, interface: PROPERTIES, member: "Get" };
        match self.bus.call(method, &[CONFIG, "StrictForwardPorts"]) {
            Ok(Reply::Done(Value::Text(text))) => Some(text),
            _ => None,
        }
    }

    /// Has it tell from now on when it has reloaded its configuration.
    ///
    /// # Errors
    /// If the bus does not let this process listen.
    pub fn subscribe(&mut self) -> io::Result<()> {
        self.bus.subscribe(NAME, RELOADED)
    }

    /// Waits until it has reloaded its configuration.
    ///
    /// # Errors
    /// If the bus is gone.
    pub fn wait_for_reload(&mut self) -> io::Result<()> {
        self.bus.wait_for(NAME, RELOADED)
    }

    fn of_zone(&mut self, member: &str, zone: &str, source: IpNet) -> io::Result<Reply> {
        let method = Method { destination: NAME, path: PATH, interface: ZONES, member };
        self.bus.call(method, &[zone, &source.to_string()])
    }
}
