//! A host: a kernel in memory, a store and files in a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use linkspan_engine::{Engine, Error, Event, NetworkRequest, Paths, SandboxRequest};
use linkspan_kernel::fake::FakeCard;
use linkspan_model::{
    Card, Driver, IfName, IpamRequest, NetAttach, NetSpec, OptionMap, ShapingRequest, Wire,
};
use linkspan_plan::{CardFacts, ParentDevice, State};
use linkspan_store::{JournalEntry, Store};

use crate::machine::Machine;

pub struct Site {
    pub machine: Machine,
    directory: Arc<Directory>,
    boot: String,
    /// Notes that commands gave.
    pub notes: Arc<Mutex<Vec<String>>>,
}

/// Everything that a command may change, but for host sysctls, which stay.
#[derive(PartialEq, Eq, Debug)]
pub struct Picture {
    kernel: State,
    cards: Vec<String>,
    networks: Vec<String>,
    sandboxes: Vec<String>,
    files: BTreeMap<PathBuf, String>,
    journal: Vec<JournalEntry>,
}

impl Site {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("linkspan-engine-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
        let directory = Arc::new(Directory(directory));
        Self { machine: Machine::default(), directory, boot: "one".to_owned(), notes: Arc::default() }
    }

    /// With the networks `lab` (10.7.0.0/24) and `wide` (10.8.0.0/24), which had a sandbox already.
    pub fn with_networks() -> Self {
        let site = Self::new();
        site.engine().create_network(network("lab", "10.7.0.0/24")).unwrap();
        site.engine().create_network(network("wide", "10.8.0.0/24")).unwrap();
        site.engine().create_sandbox(&sandbox("warm", &["lab", "wide"])).unwrap();
        site.engine().remove_sandbox("warm", false).unwrap();
        site
    }

    /// The same host, for another thread.
    pub fn again(&self) -> Self {
        Self {
            machine: self.machine.clone(),
            directory: Arc::clone(&self.directory),
            boot: self.boot.clone(),
            notes: Arc::default(),
        }
    }

    /// With a network card eth1, which has no address.
    pub fn with_card(self) -> Self {
        let name: IfName = "eth1".parse().unwrap();
        let card = ParentDevice {
            name: name.clone(),
            up: true,
            mtu: 1500,
            ethernet: true,
            enslaved: false,
            strict: false,
            addresses: Vec::new(),
            gateways: Vec::new(),
        };
        self.machine.with(|fake| fake.parents.insert(name, card));
        self
    }

    pub fn write_resolv_conf(&self, text: &str) {
        fs::write(self.directory.0.join("resolv.conf"), text).unwrap();
    }

    pub fn run_directory(&self) -> PathBuf {
        self.directory.0.join("run")
    }

    pub fn etc_netns(&self) -> PathBuf {
        self.directory.0.join("netns")
    }

    pub fn store(&self) -> Store {
        Store::open(&self.directory.0.join("state"), &self.boot).unwrap()
    }

    /// A new process.
    pub fn engine(&self) -> Engine<Machine> {
        let paths = Paths {
            run: self.run_directory(),
            etc_netns: self.etc_netns(),
            resolv_conf: vec![self.directory.0.join("resolv.conf")],
        };
        let mut engine = Engine::new(self.machine.clone(), self.store(), paths).unwrap();
        let notes = Arc::clone(&self.notes);
        engine.listen(move |event| {
            if let Event::Note(note) = event {
                notes.lock().unwrap().push(note);
            }
        });
        engine
    }

    /// The machine boots: its kernel is empty, files in the run directory stay to make it harder.
    pub fn reboot(&mut self) {
        self.boot += "+";
        self.machine.with(|fake| fake.state = State::default());
    }

    /// The machine has a network card called `name` with these addresses, and a router at 192.168.0.254 behind it.
    pub fn give_card(&self, name: &str, addresses: &[&str]) {
        let card = Card {
            mac: "52:54:00:00:00:01".parse().unwrap(),
            mtu: 1500,
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            ..Card::default()
        };
        let facts = CardFacts {
            card,
            kind: None,
            is_loopback: false,
            is_up: true,
            master: None,
            leased: Vec::new(),
            gateways: vec!["192.168.0.254".parse().unwrap()],
            immovable: None,
        };
        self.machine.with(|fake| fake.cards.insert(name.parse().unwrap(), FakeCard { facts, bridge: None }));
    }

    /// The addresses that a card has.
    pub fn card_addresses(&self, name: &str) -> Vec<String> {
        let name = name.parse().unwrap();
        self.machine
            .with(|fake| fake.cards[&name].facts.card.addresses.iter().map(ToString::to_string).collect())
    }

    pub fn picture(&self) -> Picture {
        let mut store = self.store();
        let mut files = BTreeMap::new();
        for directory in [self.run_directory(), self.etc_netns()] {
            collect(&directory, &mut files);
        }
        let mut engine = self.engine();
        let networks = engine.networks().unwrap().iter().map(|network| format!("{network:?}")).collect();
        let sandboxes = engine.sandboxes().unwrap().iter().map(|sandbox| format!("{sandbox:?}")).collect();
        Picture {
            cards: self.machine.with(|fake| fake.cards.iter().map(|card| format!("{card:?}")).collect()),
            kernel: State { sysctls: BTreeMap::new(), ..self.machine.state() },
            networks,
            sandboxes,
            files,
            journal: store.read(|tx| tx.journal()).unwrap(),
        }
    }

    /// Every file of networks and sandboxes with its text.
    pub fn picture_of_files(&self) -> BTreeMap<PathBuf, String> {
        self.picture().files
    }

    /// What is in a sandbox's file.
    pub fn file(&self, sandbox: &str, file: &str) -> String {
        let path = self.etc_netns().join(sandbox).join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The host has what the store calls for, and no change is half-way.
    #[track_caller]
    pub fn assert_in_order(&self) {
        let repair = self.engine().repair(true).unwrap();
        assert!(repair.is_empty(), "repair would still do {repair:?}");
        assert!(self.picture().journal.is_empty(), "the journal is not empty");
    }
}

/// Removed with the last site that is in it.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Ok(target) = fs::read_link(&path) {
            files.insert(path, format!("-> {}", target.display()));
        } else if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
}

pub fn network(name: &str, subnet: &str) -> NetworkRequest {
    NetworkRequest {
        name: name.parse().unwrap(),
        driver: Driver::Bridge,
        ipam: IpamRequest { subnets: vec![subnet.parse().unwrap()], ..IpamRequest::default() },
        ipam_driver: "default".to_owned(),
        ipam_options: OptionMap::new(),
        options: OptionMap::new(),
        labels: BTreeMap::new(),
        internal: false,
        ipv4: true,
        ipv6: false,
    }
}

/// A network plugged into the bridge br-int of Open vSwitch.
pub fn in_ovs(name: &str, subnet: &str) -> NetworkRequest {
    let options = [("linkspan.uplink".to_owned(), "ovs:br-int".to_owned())].into();
    NetworkRequest { options, ..network(name, subnet) }
}

/// A macvlan network on `parent` that the host has access to.
pub fn on_parent(name: &str, parent: &str, subnet: &str) -> NetworkRequest {
    let options = [("parent", parent), ("linkspan.host-access", "true")];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let mut request = NetworkRequest { driver: Driver::Macvlan, options, ..network(name, subnet) };
    request.ipam.aux.insert("host".to_owned(), request.ipam.subnets[0].broadcast());
    request.ipam.aux.values_mut().for_each(|address| {
        if let std::net::IpAddr::V4(v4) = address {
            *v4 = (u32::from(*v4) - 1).into();
        }
    });
    request
}

/// A network whose uplink is eth1, with more options.
pub fn on_lan(name: &str, options: &[(&str, &str)]) -> NetworkRequest {
    let mut request = network(name, "192.168.0.0/24");
    request.ipam.subnets.clear();
    let all = [("linkspan.uplink", "eth1")].iter().chain(options);
    request.options = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    request
}

/// A sandbox on networks that are given as for `--net`.
pub fn sandbox(name: &str, nets: &[&str]) -> SandboxRequest {
    SandboxRequest {
        nets: nets.iter().map(|net| net.parse::<NetSpec>().unwrap()).collect(),
        ..SandboxRequest::new(name.parse().unwrap())
    }
}

/// The same with published ports, given as for `-p`.
pub fn publishing(name: &str, nets: &[&str], ports: &[&str]) -> SandboxRequest {
    SandboxRequest {
        publish: ports.iter().map(|port| port.parse().unwrap()).collect(),
        ..sandbox(name, nets)
    }
}

pub fn to(network: &str) -> NetAttach {
    NetAttach::to(network)
}

/// A tap of any name on a network.
pub fn tap(network: &str) -> NetAttach {
    NetAttach { wire: Wire::Tap { owner: None }, ..to(network) }
}

/// The same with limits each way.
pub fn limited(attach: NetAttach) -> NetAttach {
    let rate = Some("10mbit".parse().unwrap());
    let shaping = ShapingRequest { ingress_rate: rate, egress_rate: rate, ..ShapingRequest::default() };
    NetAttach { shaping, ..attach }
}

/// An error as a user sees it: what, and why.
pub fn told(error: &Error) -> String {
    [error.to_string()].into_iter().chain(error.causes()).collect::<Vec<_>>().join(": ")
}
