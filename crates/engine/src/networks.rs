//! Networks come and go.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use linkspan_model::{
    BridgeOptions, Driver, Fixture, Id, Invalid, IpamRequest, Name, Network, OptionMap, Pool, Uplink, nearest,
};
use linkspan_plan::{Element, HostPrefix, Kernel, Scope, State, desired, ipam};
use linkspan_store::{JournalEntry, Lock, Mode, Object, Tx};

use crate::error::Kind;
use crate::flat::{CONFIRM, deadline, is_waiting};
use crate::{Engine, Error, PATIENCE, cores, now, parents, random_id};

/// The network of sandboxes that ask for none.
pub const DEFAULT: &str = "bridge";
/// The bridge of the default network.
const DEFAULT_BRIDGE: &str = "linkspan0";
/// The smallest MTU that IPv6 works with, in bytes.
const IPV6_MINIMUM_MTU: u32 = 1280;

/// What `network create` asks for.
#[derive(Clone, Debug)]
pub struct NetworkRequest {
    /// Its name.
    pub name: Name,
    /// The driver.
    pub driver: Driver,
    /// Subnets, ranges, gateways, reserved addresses.
    pub ipam: IpamRequest,
    /// What gives out its addresses.
    pub ipam_driver: String,
    /// The IPAM driver's options.
    pub ipam_options: OptionMap,
    /// The driver's options.
    pub options: OptionMap,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether nothing outside is reached.
    pub internal: bool,
    /// Whether it has IPv4.
    pub ipv4: bool,
    /// Whether it has IPv6.
    pub ipv6: bool,
}

/// The networks that always exist, as they are before their first use.
pub fn predefined(name: &str) -> Option<Network> {
    let driver = match name {
        "bridge" => Driver::Bridge,
        "host" => Driver::Host,
        "none" => Driver::None,
        _ => return None,
    };
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let bridge = BridgeOptions { bridge: DEFAULT_BRIDGE.parse().ok(), ..BridgeOptions::default() };
    Some(Network {
        id: Id::from_bytes(bytes),
        name: name.parse().ok()?,
        created: 0,
        driver,
        internal: false,
        ipv6: false,
        ipam_driver: if driver == Driver::Bridge { "default" } else { "null" }.to_owned(),
        ipam_options: OptionMap::new(),
        pools: Vec::new(),
        options: OptionMap::new(),
        bridge,
        parent: None,
        labels: BTreeMap::new(),
        card: None,
        core: None,
        guests: None,
    })
}

impl<K: Kernel> Engine<K> {
    /// Makes a network: bridge, addresses, firewall; or what sits on its parent.
    ///
    /// # Errors
    /// If the request means nothing, or collides with a network, a device or a subnet that is there.
    pub fn create_network(&mut self, request: NetworkRequest) -> Result<Network, Error> {
        if matches!(request.driver, Driver::Macvlan | Driver::Ipvlan) {
            return self.create_on_parent(request);
        }
        if let Some(Uplink::Device(card)) = BridgeOptions::parse(&request.options)?.uplink {
            let ipv4 = request.ipv4;
            self.settle()?;
            let network = self.draft_flat(request, &card)?;
            return self.persist(|engine| {
                let object = Object::Network(network.name.clone());
                let _lock = engine.store.lock(&object, Mode::Exclusive, PATIENCE)?;
                engine.found_network(network.clone(), ipv4)
            });
        }
        draft(request.clone())?;
        self.settle()?;
        self.persist(|engine| engine.try_create_network(request.clone()))
    }

    fn try_create_network(&mut self, mut request: NetworkRequest) -> Result<Network, Error> {
        let above = self.above(&request)?;
        above.iter().try_for_each(|above| above.complete(&mut request))?;
        let ipv4 = request.ipv4;
        let mut network = draft(request)?;
        above.iter().try_for_each(|above| above.take_in(&mut network))?;
        let mut locks = vec![(&network.name, Mode::Exclusive)];
        locks.extend(above.iter().map(|above| (above.name(), Mode::Shared)));
        locks.sort_by_key(|(name, _)| *name);
        let lock =
            |(name, mode): (&Name, Mode)| self.store.lock(&Object::Network(name.clone()), mode, PATIENCE);
        let _locks: Vec<Lock> = locks.into_iter().map(lock).collect::<Result<_, _>>()?;
        if let Some(above) = &above {
            self.store.read(|tx| above.check(tx))?;
        }
        self.found_network(network, ipv4)
    }

    /// Writes down a drafted network, gives it a subnet if it is to have IPv4 and has none, and makes it in the kernel. The
    /// caller holds its lock.
    fn found_network(&mut self, mut network: Network, ipv4: bool) -> Result<Network, Error> {
        let mut host = self.kernel.host_prefixes()?;
        let undone_at = deadline(&network)?;
        self.refuse_foreign_bridge(&network)?;
        self.refuse_missing_switch(&network)?;
        let object = Object::Network(network.name.clone());
        let journal = self.store.write(|tx| {
            if tx.journal()?.iter().any(|entry| entry.object == object && !is_waiting(entry)) {
                return Err(Error::Overtaken);
            }
            let others = tx.networks()?;
            refuse_collisions(&network, &others)?;
            if ipv4 && !network.pools.iter().any(|pool| pool.subnet.addr().is_ipv4()) {
                network.pools.insert(0, free_pool(&others, &host)?);
            }
            if let Some(card) = &mut network.card {
                card.undone_at = undone_at;
            }
            tx.insert_network(&network)?;
            Ok::<_, Error>(tx.begin(&object, "create", "")?)
        })?;
        host.retain(|used| network.uplink_card().is_none_or(|card| *used.device != *card.as_str()));
        if network.is_switch() {
            host.clear();
        }
        host.retain(|used| network.pools.iter().any(|pool| overlap(&used.prefix, &pool.subnet)));
        for used in host {
            let (name, prefix, device) = (&network.name, used.prefix, used.device);
            self.note(format!(
                "a subnet of network '{name}' overlaps {prefix}, which this host has on {device}"
            ));
        }
        self.establish(&network)?;
        self.store.write(|tx| {
            if let Some(at) = undone_at {
                tx.begin(&object, CONFIRM, &at.to_string())?;
            }
            tx.end(journal)
        })?;
        Ok(network)
    }

    /// Makes a network that was written down.
    pub(crate) fn establish(&mut self, network: &Network) -> Result<(), Error> {
        let made = self.with_cores(network).and_then(|wanted| self.converge(wanted, &State::default()));
        if let Err(error) = made {
            self.undo(|engine| engine.erase_network(network));
            return Err(error);
        }
        Ok(())
    }

    fn refuse_foreign_bridge(&mut self, network: &Network) -> Result<(), Error> {
        let name = network.bridge_name();
        let scope = Scope { bridges: [name.clone()].into(), ..Scope::default() };
        if self.kernel.observe(&scope)?.bridges.is_empty() {
            return Ok(());
        }
        let owner =
            self.store.read(|tx| tx.networks())?.into_iter().find(|other| other.bridge_name() == name);
        let owner = owner.map_or_else(
            || "it was not made by Linkspan".to_owned(),
            |o| format!("network '{}' has it", o.name),
        );
        Err(Error::refused(format!("bridge {name} exists already")).because(owner).hinting(
            "choose another name with -o com.docker.network.bridge.name=NAME, or remove that bridge",
        ))
    }

    /// The network called `key`; the default one is made at its first use.
    pub(crate) fn network_for_use(&mut self, key: &str) -> Result<Network, Error> {
        if let Some(network) = self.store.read(|tx| tx.network(key))? {
            if network.guests.is_some() {
                return Err(Error::refused(format!("network '{}' is a container runtime's", network.name))
                    .because("its containers' devices and addresses are what the runtime's plugins make")
                    .hinting("attach containers through the runtime, or use a network of Linkspan's own"));
            }
            return self.ready_flat(network);
        }
        if key != DEFAULT {
            return Err(match predefined(key) {
                Some(network) => Error::refused(format!("network '{}' is not attached to", network.name))
                    .because("it stands for a namespace as a whole")
                    .hinting(format!("create a sandbox with --net {}", network.name)),
                None => self.unknown_network(key),
            });
        }
        let _lock = self.store.lock(&Object::Network(default_name()?), Mode::Exclusive, PATIENCE)?;
        if let Some(network) = self.store.read(|tx| tx.network(key))? {
            return Ok(network);
        }
        let draft = predefined(key).ok_or_else(|| self.unknown_network(key))?;
        self.found_network(Network { created: now(), ..draft }, true)
    }

    /// The network called `key`, if there is one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn find_network(&mut self, key: &str) -> Result<Option<Network>, Error> {
        Ok(self.store.read(|tx| tx.network(key))?)
    }

    /// The network called `key`, as it is before its first use if it always exists.
    pub(crate) fn known_network(&mut self, key: &str) -> Result<Network, Error> {
        let found = self.store.read(|tx| tx.network(key))?.or_else(|| predefined(key));
        found.ok_or_else(|| self.unknown_network(key))
    }

    /// Whether the default network was made already.
    pub(crate) fn has_default_network(&mut self) -> Result<bool, Error> {
        Ok(self.store.read(|tx| tx.network(DEFAULT))?.is_some())
    }

    /// Removes the default network if nothing is attached to it.
    pub(crate) fn put_default_network_away(&mut self) -> Result<(), Error> {
        let Some(network) = self.store.read(|tx| tx.network(DEFAULT))? else { return Ok(()) };
        match self.remove_unused(&network) {
            Err(Error::InUse { .. } | Error::Patched { .. }) => Ok(()),
            settled => settled.map(drop),
        }
    }

    pub(crate) fn unknown_network(&mut self, key: &str) -> Error {
        let networks = self.store.read(|tx| tx.networks()).unwrap_or_default();
        let names = networks.iter().map(|network| network.name.as_str()).chain(Network::PREDEFINED);
        let nearest = nearest(key, names).map(str::to_owned);
        Error::Unknown { kind: Kind::Network, key: key.to_owned(), nearest }
    }

    /// Removes a network that nothing is attached to.
    ///
    /// # Errors
    /// If there is none such, it always exists, or sandboxes are attached.
    pub fn remove_network(&mut self, key: &str) -> Result<Name, Error> {
        self.settle()?;
        let Some(network) = self.store.read(|tx| tx.network(key))? else {
            return Err(match predefined(key) {
                Some(network) => always_there(&network.name),
                None => self.unknown_network(key),
            });
        };
        if network.is_predefined() {
            return Err(always_there(&network.name));
        }
        if self.remove_unused(&network)? { Ok(network.name) } else { Err(self.unknown_network(key)) }
    }

    /// Removes every network that nothing is attached to; the default one goes until its next use.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn prune_networks(&mut self) -> Result<Vec<Name>, Error> {
        self.settle()?;
        let mut pruned = Vec::new();
        for network in self.store.read(cores::lowest_first)? {
            match self.remove_unused(&network) {
                Ok(true) => pruned.push(network.name),
                Ok(false) => {}
                Err(Error::InUse { .. } | Error::Patched { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes a network that nothing is attached to; false if somebody else has removed it.
    fn remove_unused(&mut self, network: &Network) -> Result<bool, Error> {
        let object = Object::Network(network.name.clone());
        let _lock: Lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        let there = self.store.write(|tx| {
            if tx.network_by_id(network.id)?.is_none() {
                return Ok(false);
            }
            let by = sandboxes_on(tx, network.id)?;
            if !by.is_empty() {
                return Err(Error::InUse { network: network.name.clone(), by });
            }
            let by = cores::below(tx, network)?;
            if !by.is_empty() {
                return Err(Error::Patched { network: network.name.clone(), by });
            }
            tx.begin(&object, "remove", "")?;
            Ok(true)
        })?;
        if there {
            self.erase_network(network)?;
        }
        Ok(there)
    }

    /// Takes a network out of kernel, files and store, with its journal entries. The firewall table goes with the last.
    pub(crate) fn erase_network(&mut self, network: &Network) -> Result<(), Error> {
        self.tell_of_port_left(network);
        let mut former = self.store.read(|tx| cores::all_bridges(tx, network))?;
        // Other networks may need it: that is looked up when nobody else changes the host.
        former.upper.vlans.clear();
        if network.guests.is_some() {
            let (elements, fixtures) = self.held_by_others(network)?;
            former
                .firewall
                .iter_mut()
                .for_each(|former| former.retain(|element| !elements.contains(element)));
            former.fixtures.retain(|(_, fixture)| !fixtures.contains(fixture));
        }
        self.converge(State { firewall: Some([].into()), ..State::default() }, &former)?;
        self.drop_vlan(network)?;
        if network.needs_firewall() && self.is_last(network)? {
            self.drop_firewall(network)?;
        }
        self.files.remove_roster(&network.name)?;
        self.store.write(|tx| {
            tx.delete_network(network.id)?;
            end_all(tx, &Object::Network(network.name.clone()))
        })
    }

    /// What the networks of runtimes beside `network` have in firewalls: several may share a bridge or a subnet.
    pub(crate) fn held_by_others(
        &mut self,
        network: &Network,
    ) -> Result<(BTreeSet<Element>, Vec<Fixture>), Error> {
        self.store.read(|tx| {
            let journal = tx.journal()?;
            let stays =
                |other: &&Network| other.guests.is_some() && other.id != network.id && !goes(&journal, other);
            let networks = tx.networks()?;
            let (mut elements, mut fixtures) = (BTreeSet::new(), Vec::new());
            for state in networks.iter().filter(stays).map(desired::network) {
                elements.extend(state.firewall.unwrap_or_default());
                fixtures.extend(state.fixtures.into_iter().map(|(_, fixture)| fixture));
            }
            Ok((elements, fixtures))
        })
    }

    /// Whether no network that needs the firewall will be left without `network`: all others are being removed.
    fn is_last(&mut self, network: &Network) -> Result<bool, Error> {
        self.store.read(|tx| {
            let journal = tx.journal()?;
            let needs =
                |other: &Network| other.needs_firewall() && other.id != network.id && !goes(&journal, other);
            Ok(!tx.networks()?.iter().any(needs))
        })
    }

    fn drop_firewall(&mut self, last: &Network) -> Result<(), Error> {
        let _host = self.store.lock(&Object::Host, Mode::Exclusive, PATIENCE)?;
        let observed = self.kernel.observe(&Scope::default())?;
        if observed.firewall.is_none() || !self.is_last(last)? {
            return Ok(());
        }
        self.apply(&linkspan_plan::diff(&State::default(), &observed))
    }
}

/// Whether a network is being removed.
pub(crate) fn goes(journal: &[JournalEntry], network: &Network) -> bool {
    let object = Object::Network(network.name.clone());
    journal.iter().any(|entry| entry.object == object && entry.verb == "remove")
}

pub(crate) fn end_all(tx: &Tx<'_>, object: &Object) -> Result<(), Error> {
    for entry in tx.journal()?.iter().filter(|entry| entry.object == *object) {
        tx.end(entry.id)?;
    }
    Ok(())
}

fn default_name() -> Result<Name, Invalid> {
    DEFAULT.parse()
}

fn always_there(name: &Name) -> Error {
    Error::refused(format!("network '{name}' cannot be removed"))
        .because("it always exists")
        .hinting("`linkspan network prune` puts away what no sandbox uses")
}

fn sandboxes_on(tx: &Tx<'_>, network: Id) -> Result<Vec<Name>, Error> {
    let mut names = Vec::new();
    for endpoint in tx.endpoints_of_network(network)? {
        names.extend(tx.sandbox_by_id(endpoint.sandbox)?.map(|sandbox| sandbox.name));
    }
    Ok(names)
}

/// The network that a request describes, not yet compared with what there is.
pub(crate) fn draft(request: NetworkRequest) -> Result<Network, Error> {
    if Network::PREDEFINED.contains(&request.name.as_str()) {
        return Err(Error::refused(format!("network '{}' always exists", request.name))
            .hinting("choose another name"));
    }
    if request.ipam_driver != "default" {
        return Err(Error::refused(format!("unknown IPAM driver '{}'", request.ipam_driver))
            .hinting("known IPAM drivers: default"));
    }
    if let Some(key) = request.ipam_options.keys().next() {
        return Err(
            Error::refused(format!("unknown IPAM option '{key}'")).because("IPAM driver default takes none")
        );
    }
    let has_v6 = refuse_other_families(&request)?;
    let id = random_id()?;
    let mut ipam = request.ipam;
    let has_bridge = request.driver == Driver::Bridge;
    if has_bridge
        && ipam.subnets.is_empty()
        && !(ipam.ranges.is_empty() && ipam.gateways.is_empty() && ipam.aux.is_empty())
    {
        return Err(Error::refused(
            "--ip-range, --gateway and --aux-address need a --subnet that contains them",
        ));
    }
    let bridge = if has_bridge { BridgeOptions::parse(&request.options)? } else { BridgeOptions::default() };
    refuse_small_mtu(bridge.mtu, request.ipv6)?;
    if has_bridge && request.ipv6 && !has_v6 {
        ipam.subnets.push(local_subnet(id)?);
    }
    Ok(Network {
        id,
        name: request.name,
        created: now(),
        driver: request.driver,
        internal: request.internal,
        ipv6: request.ipv6,
        ipam_driver: request.ipam_driver,
        ipam_options: request.ipam_options,
        pools: if has_bridge { ipam.pools()? } else { Vec::new() },
        bridge,
        parent: None,
        options: request.options,
        labels: request.labels,
        card: None,
        core: None,
        guests: None,
    })
}

/// That IPv6 fits, if there is to be any.
pub(crate) fn refuse_small_mtu(mtu: u32, ipv6: bool) -> Result<(), Error> {
    if ipv6 && mtu < IPV6_MINIMUM_MTU {
        return Err(Error::refused(format!("an MTU of {mtu} is too small for IPv6"))
            .because(format!("IPv6 needs at least {IPV6_MINIMUM_MTU} (RFC 8200)"))
            .hinting("give a larger -o com.docker.network.driver.mtu, or leave out --ipv6"));
    }
    Ok(())
}

/// That a request has a family, and no subnet of one that it has not; whether there is an IPv6 one.
fn refuse_other_families(request: &NetworkRequest) -> Result<bool, Error> {
    let first = |of_family: fn(&IpNet) -> bool| request.ipam.subnets.iter().find(|subnet| of_family(subnet));
    let (v4, v6) = (first(|net| net.addr().is_ipv4()), first(|net| net.addr().is_ipv6()));
    match (v4, v6) {
        _ if !request.ipv4 && !request.ipv6 => {
            Err(Error::refused("a network needs IPv4 or IPv6").hinting("add --ipv6"))
        }
        (Some(subnet), _) if !request.ipv4 => {
            Err(Error::refused(format!("subnet {subnet} is an IPv4 one")).hinting("leave out --ipv4=false"))
        }
        (_, Some(subnet)) if !request.ipv6 => {
            Err(Error::refused(format!("subnet {subnet} is an IPv6 one")).hinting("add --ipv6"))
        }
        _ => Ok(v6.is_some()),
    }
}

/// A unique local /64 (RFC 4193) made of a network's identity.
fn local_subnet(id: Id) -> Result<IpNet, Error> {
    let digits = id.to_string();
    let text = format!("fd{}:{}:{}:{}::/64", &digits[..2], &digits[2..6], &digits[6..10], &digits[10..14]);
    text.parse().map_err(|_| Error::refused(format!("{text} is no subnet")))
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

pub(crate) fn refuse_namesake(name: &Name, others: &[Network]) -> Result<(), Error> {
    if others.iter().any(|other| other.name == *name) {
        return Err(Error::refused(format!("network '{name}' exists already"))
            .hinting(format!("choose another name, or `linkspan network rm {name}`")));
    }
    Ok(())
}

pub(crate) fn refuse_collisions(network: &Network, others: &[Network]) -> Result<(), Error> {
    refuse_namesake(&network.name, others)?;
    for other in others {
        if let Some(conflict) = parents::conflict(network, other) {
            return Err(conflict);
        }
        if other.has_bridge() && network.has_bridge() && other.bridge_name() == network.bridge_name() {
            return Err(Error::refused(format!(
                "bridge {} belongs to network '{}'",
                network.bridge_name(),
                other.name
            )));
        }
        if let Some(card) = network.uplink_card().filter(|card| other.uplink_card() == Some(card)) {
            return Err(Error::refused(format!("{card} cannot be an uplink"))
                .because(format!("network '{}' has it", other.name)));
        }
        if other.address_space() == network.address_space() {
            continue;
        }
        let clash = |pool: &Pool| other.pools.iter().find(|theirs| overlap(&theirs.subnet, &pool.subnet));
        if let Some((pool, theirs)) = network.pools.iter().find_map(|pool| Some((pool, clash(pool)?))) {
            return Err(Error::refused(format!("subnet {} overlaps network '{}'", pool.subnet, other.name))
                .because(format!("that network has {}", theirs.subnet))
                .hinting("choose another --subnet, or leave it out to have a free one chosen"));
        }
    }
    Ok(())
}

/// A pool that collides with no network and no address or route of the host.
fn free_pool(networks: &[Network], host: &[HostPrefix]) -> Result<Pool, Error> {
    let pools = networks.iter().flat_map(|network| &network.pools).map(|pool| pool.subnet);
    let used: Vec<_> = pools.chain(host.iter().map(|used| used.prefix)).collect();
    let subnet = ipam::free_subnet(&used).ok_or_else(|| {
        Error::refused("no free subnet is left to choose from")
            .because(
                "networks and routes of this host cover 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16",
            )
            .hinting("give one with --subnet")
    })?;
    let request = IpamRequest { subnets: vec![subnet], ..IpamRequest::default() };
    request.pools()?.pop().ok_or_else(|| Error::refused("no free subnet is left to choose from"))
}
