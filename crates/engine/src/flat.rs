//! Networks on a LAN of the host: their bridge is plugged into a network card, and what the card had is the bridge's.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use linkspan_model::{
    BridgeOptions, Card, Endpoint, Family, IfName, IpamRequest, Mac, Name, NetAttach, Network, Pool,
};
use linkspan_plan::{CardFacts, Failure, Kernel, State, desired};
use linkspan_store::{JournalEntry, Mode, Object, Tx};

use crate::networks::{draft, end_all, refuse_namesake};
use crate::{Engine, Error, NetworkRequest, PATIENCE};

/// In the journal: a network is made in the kernel again that has been there in a former boot.
pub const PLUG: &str = "plug";
/// In the journal: a network is undone at a time since the host booted, in seconds, unless somebody confirms it.
pub const CONFIRM: &str = "confirm";

/// Between two looks at what others are at work on.
const GLANCE: Duration = Duration::from_millis(200);
const UPTIME: &str = "/proc/uptime";

/// How long the host is up, what it slept counted.
fn uptime() -> Result<Duration, Error> {
    let path = Path::new(UPTIME);
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse().ok());
    let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    uptime.ok_or_else(|| Error::refused(format!("{UPTIME} has no seconds")))
}

/// How long it is to a time since the host booted, in seconds.
fn time_to(at: u64) -> Result<Duration, Error> {
    Ok(Duration::from_secs(at).saturating_sub(uptime()?))
}

/// Whether an entry only waits for its time to come: nobody is at work, and nobody has died.
pub fn is_waiting(entry: &JournalEntry) -> bool {
    entry.verb == CONFIRM
        && entry.detail.parse().is_ok_and(|at| time_to(at).is_ok_and(|left| !left.is_zero()))
}

/// What is in the way of an endpoint on a LAN: addresses that the LAN was not asked for yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unasked {
    network: Network,
    /// Each with whether the user has asked for just that one.
    addresses: Vec<(IpAddr, bool)>,
}

impl Unasked {
    pub(crate) const fn network(&self) -> &Name {
        &self.network.name
    }
}

/// What the LANs were asked for during this command.
#[derive(Default, Debug)]
pub struct Asked {
    free: BTreeSet<IpAddr>,
    taken: BTreeSet<IpAddr>,
}

impl Asked {
    /// Refuses an endpoint on a LAN with an address that may be somebody's there.
    pub fn refuse_unasked(
        &self,
        tx: &Tx<'_>,
        network: &Network,
        attach: &NetAttach,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        let Some(network) = with_its_lan(tx, network)? else { return Ok(()) };
        let wanted = |address| {
            attach.ip.map(IpAddr::V4) == Some(address) || attach.ip6.map(IpAddr::V6) == Some(address)
        };
        let leased = endpoint.leases.iter().map(|lease| lease.address);
        let unasked: Vec<_> = leased.filter(|a| !self.free.contains(a)).map(|a| (a, wanted(a))).collect();
        match unasked.is_empty() {
            true => Ok(()),
            false => Err(Error::Unasked(Box::new(Unasked { network, addresses: unasked }))),
        }
    }
}

impl<K: Kernel> Engine<K> {
    /// The network that a request describes whose uplink is `card`: addresses, gateways and MTU that it does not give are
    /// the card's.
    pub(crate) fn draft_flat(&mut self, request: NetworkRequest, card: &IfName) -> Result<Network, Error> {
        refuse_namesake(&request.name, &self.store.read(|tx| tx.networks())?)?;
        let facts = self.survey(card, &request.name)?;
        if request.internal {
            return Err(Error::refused(format!("network '{}' cannot be internal", request.name))
                .because(format!("its uplink {card} is a way outside"))
                .hinting("leave out --internal, or the uplink"));
        }
        let gives_mtu = BridgeOptions::give_mtu(&request.options);
        let ipam = complete(request.ipam, (request.ipv4, request.ipv6), card, &facts)?;
        let mut network = draft(NetworkRequest { ipam, ..request })?;
        if !gives_mtu {
            network.bridge.mtu = facts.card.mtu;
        } else if network.bridge.mtu > facts.card.mtu {
            return Err(Error::refused(format!("MTU {} is too large", network.bridge.mtu))
                .because(format!("{card} has {}", facts.card.mtu)));
        }
        // A router of IPv6 is known by its link-local address, which lies in no subnet.
        let router = facts.gateways.iter().find(|gateway| gateway.is_ipv6());
        for pool in network.pools.iter_mut().filter(|pool| pool.family() == Family::V6) {
            if let Some(router) = router.filter(|_| pool.default_gateway() == pool.gateway) {
                pool.aux.insert(gateway_key(Family::V6).to_owned(), *router);
            }
        }
        self.refuse_taken_gateways(&network, card, &facts.card)?;
        network.card = Some(facts.card);
        Ok(network)
    }

    /// That nobody on the LAN has an address that is to be the bridge's beside those of the card.
    fn refuse_taken_gateways(&mut self, network: &Network, name: &IfName, card: &Card) -> Result<(), Error> {
        let is_own = |pool: &&Pool| card.addresses.iter().any(|net| net.addr() == pool.gateway);
        let new: Vec<_> =
            network.pools.iter().filter(|pool| !is_own(pool)).map(|pool| pool.gateway).collect();
        let taken = self.ask(name, &new)?;
        let Some((address, mac)) = taken.first() else { return Ok(()) };
        Err(Error::refused(format!("gateway {address} cannot be the bridge's"))
            .because(format!("{mac} has it on the LAN of {name}"))
            .hinting(
                "create the network with another --gateway, or without one to take the host's own address",
            ))
    }

    /// Asks the LAN behind `device` who has `addresses`.
    fn ask(&mut self, device: &IfName, addresses: &[IpAddr]) -> Result<Vec<(IpAddr, Mac)>, Error> {
        if addresses.is_empty() { Ok(Vec::new()) } else { Ok(self.kernel.occupied(device, addresses)?) }
    }

    /// What there is to know of a network card, if it may be the uplink of `network`.
    fn survey(&mut self, card: &IfName, network: &Name) -> Result<CardFacts, Error> {
        let refused = |why: String| Error::refused(format!("{card} cannot be an uplink")).because(why);
        let others = self.store.read(|tx| tx.networks())?;
        for other in others.iter().filter(|other| other.name != *network) {
            if other.uplink_card() == Some(card) {
                return Err(refused(format!("network '{}' has it", other.name)));
            }
            if other.parent.as_ref().is_some_and(|parent| parent.device == *card) {
                return Err(refused(format!("network '{}' sits on it", other.name))
                    .hinting("use another card, or remove that network first"));
            }
            if other.bridge_name() == *card {
                return Err(refused(format!("it is the bridge of network '{}'", other.name)).hinting(
                    format!("plug one network into the other with linkspan.uplink=network:{}", other.name),
                ));
            }
        }
        let Some(facts) = self.kernel.card(card)? else {
            return Err(refused("there is no such device".to_owned()).hinting(
                "`ip link` lists the devices of this host; those in other namespaces are out of reach",
            ));
        };
        let not_plugged = match (&facts.master, facts.kind.as_deref()) {
            _ if facts.is_loopback => Some(("it is loopback".to_owned(), "use a network card".to_owned())),
            (_, Some("bridge")) => {
                Some(("it is a bridge itself".to_owned(), "use the network card that is its port".to_owned()))
            }
            (Some(master), _) => Some((
                format!("it is a port of {master} already"),
                format!("use {master}, or take it out of there"),
            )),
            _ if !facts.is_up => Some(("it is down".to_owned(), format!("`ip link set {card} up` first"))),
            _ => facts.immovable.clone().map(|why| (why, "replace them by plain routes first".to_owned())),
        };
        match not_plugged {
            Some((why, hint)) => Err(refused(why).hinting(hint)),
            None => {
                for net in &facts.leased {
                    self.note(format!(
                        "{card} has {net} for a time only: a DHCP client that renews it has to do so on the bridge of \
                         network '{network}' from now on, or it runs out"
                    ));
                }
                Ok(facts)
            }
        }
    }

    /// Makes sure that a network whose uplink is a card can be used: that it is confirmed, and, after a boot, that it is
    /// made anew.
    pub(crate) fn ready_flat(&mut self, network: Network) -> Result<Network, Error> {
        if let Some(core) = &network.core {
            if let Some(above) = self.store.read(|tx| tx.network_by_id(core.id))? {
                self.ready_flat(above)?;
            }
            return Ok(network);
        }
        let Some(card) = network.uplink_card().cloned() else { return Ok(network) };
        if network.card.as_ref().is_some_and(|card| card.undone_at.is_some()) {
            return Err(Error::refused(format!("network '{}' is not confirmed yet", network.name))
                .because("as long as it may be undone, nothing is attached to it")
                .hinting(format!("`linkspan network confirm {}`", network.name)));
        }
        if network.card.is_some() {
            return Ok(network);
        }
        let object = Object::Network(network.name.clone());
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        let found = self.store.read(|tx| tx.network_by_id(network.id))?;
        let Some(mut network) = found else { return Err(Error::Overtaken) };
        if network.card.is_some() {
            return Ok(network);
        }
        let found = self.survey(&card, &network.name)?.card;
        self.refuse_taken_gateways(&network, &card, &found)?;
        network.card = Some(found);
        let journal = self.store.write(|tx| {
            tx.update_network(&network)?;
            tx.begin(&object, PLUG, "")
        })?;
        if let Err(error) = self.converge(desired::network(&network), &State::default()) {
            self.undo(|engine| engine.unplug(&network));
            return Err(error);
        }
        self.store.write(|tx| tx.end(journal))?;
        Ok(network)
    }

    /// Takes a network out of the kernel that is to stay in the store.
    pub(crate) fn unplug(&mut self, network: &Network) -> Result<(), Error> {
        self.converge(State { firewall: Some([].into()), ..State::default() }, &desired::network(network))?;
        self.store.write(|tx| {
            tx.update_network(&Network { card: None, ..network.clone() })?;
            end_all(tx, &Object::Network(network.name.clone()))
        })
    }

    /// Confirms that the host is still reached, so that the network stays.
    ///
    /// # Errors
    /// If there is none such, nothing is to be confirmed, or it is too late.
    pub fn confirm_network(&mut self, key: &str) -> Result<Network, Error> {
        let Some(network) = self.store.read(|tx| tx.network(key))? else {
            return Err(self.unknown_network(key));
        };
        let object = Object::Network(network.name.clone());
        let in_time = {
            let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
            self.store.write(|tx| confirm(tx, &network))?
        };
        self.settle()?;
        if in_time {
            return Ok(network);
        }
        Err(Error::refused(format!("network '{}' was not confirmed in time", network.name))
            .because("its uplink has been put back, and the network is gone")
            .hinting("create it again"))
    }

    /// Undoes the network `name` if its time is over and nobody has confirmed it, or whoever made it has died. How long to
    /// wait before looking again; none if there is nothing to guard.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn guard_network(&mut self, name: &Name) -> Result<Option<Duration>, Error> {
        self.settle()?;
        let object = Object::Network(name.clone());
        let (network, at_work) = self.store.read(|tx| {
            let at_work = tx.journal()?.iter().any(|entry| entry.object == object);
            Ok::<_, Error>((tx.network(name.as_str())?, at_work))
        })?;
        let deadline =
            network.filter(|network| network.name == *name).and_then(|network| network.card?.undone_at);
        match deadline.map(time_to).transpose()? {
            Some(left) => Ok(Some(left.max(GLANCE))),
            None => Ok(at_work.then_some(GLANCE)),
        }
    }

    /// Asks the LAN for the addresses of an endpoint that it was not asked for yet. One in use is remembered, so that it
    /// is the last to be chosen again.
    pub(crate) fn ask_lan(&mut self, unasked: &Unasked) -> Result<(), Error> {
        let Unasked { network, addresses } = unasked;
        let asked: Vec<_> = addresses.iter().map(|(address, _)| *address).collect();
        if let Some(address) = asked.iter().find(|address| self.asked.taken.contains(address)) {
            return Err(Error::refused(format!("network '{}' is full", network.name))
                .because(format!("others on the LAN have every address that is left, for one {address}"))
                .hinting("give the network a --ip-range that is Linkspan's alone"));
        }
        let taken = match network.lan().map(|device| self.ask(&device, &asked)) {
            // After a boot, a sub-interface is made with the first sandbox on it.
            Some(Err(Error::Kernel(error))) if error.failure == Failure::NotFound => Vec::new(),
            Some(taken) => taken?,
            None => Vec::new(),
        };
        for (address, wanted) in addresses {
            let Some((_, mac)) = taken.iter().find(|(other, _)| other == address) else {
                self.asked.free.insert(*address);
                continue;
            };
            if *wanted {
                return Err(Error::refused(format!("address {address} is in use on the LAN"))
                    .because(format!("{mac} answers for it"))
                    .hinting("choose another, or leave it to the network"));
            }
            self.asked.taken.insert(*address);
            self.store.write(|tx| tx.note_taken(network.id, *address))?;
        }
        Ok(())
    }
}

/// The network on a LAN that gives out the addresses of `network`: itself, or one that it is patched into.
fn with_its_lan(tx: &Tx<'_>, network: &Network) -> Result<Option<Network>, Error> {
    let is_on_lan = |network: &Network| network.lan().is_some();
    match network.address_space() {
        own if own == network.id => Ok(Some(network.clone()).filter(is_on_lan)),
        above => Ok(tx.network_by_id(above)?.filter(is_on_lan)),
    }
}

/// Whether `network` could be confirmed: not if its time is over.
fn confirm(tx: &Tx<'_>, network: &Network) -> Result<bool, Error> {
    let Some(mut network) = tx.network_by_id(network.id)? else { return Ok(false) };
    let object = Object::Network(network.name.clone());
    let Some(at) = network.card.as_mut().and_then(|card| card.undone_at.take()) else {
        return Err(Error::refused(format!("network '{}' has nothing to confirm", network.name))
            .because("it has been confirmed, or was made without -o linkspan.uplink.confirm"));
    };
    if time_to(at)?.is_zero() {
        return Ok(false);
    }
    tx.update_network(&network)?;
    end_all(tx, &object)?;
    Ok(true)
}

/// When a network that wants to be confirmed is undone.
pub fn deadline(network: &Network) -> Result<Option<u64>, Error> {
    let seconds = network.bridge.confirm.filter(|_| network.uplink_card().is_some());
    // One more: what is over of the current one must not be lacking.
    seconds.map(|seconds| Ok(uptime()?.as_secs() + u64::from(seconds) + 1)).transpose()
}

const fn gateway_key(family: Family) -> &'static str {
    match family {
        Family::V4 => "DefaultGatewayIPv4",
        Family::V6 => "DefaultGatewayIPv6",
    }
}

/// Adds to a request what it leaves to the card: the subnet of its address, that address, and the LAN's gateway.
fn complete(
    mut ipam: IpamRequest,
    (ipv4, ipv6): (bool, bool),
    card: &IfName,
    facts: &CardFacts,
) -> Result<IpamRequest, Error> {
    let own = || facts.card.addresses.iter().copied();
    let families = ipv4.then_some(Family::V4).into_iter().chain(ipv6.then_some(Family::V6));
    for family in families {
        if ipam.subnets.iter().any(|subnet| Family::of(subnet.addr()) == family) {
            continue;
        }
        let of_family = || own().filter(|net| Family::of(net.addr()) == family);
        let with_gateway = of_family().find(|net| facts.gateways.iter().any(|gateway| net.contains(gateway)));
        let chosen = with_gateway.or_else(|| of_family().next()).ok_or_else(|| {
            Error::refused(format!("{card} has no {family} address"))
                .because("its subnet would be the network's")
                .hinting("give --subnet and --gateway")
        })?;
        ipam.subnets.push(chosen.trunc());
    }
    for subnet in &ipam.subnets {
        let within = |address: &IpAddr| subnet.contains(address);
        let family = Family::of(subnet.addr());
        if !ipam.gateways.iter().any(within) {
            let address = own().map(|net: IpNet| net.addr()).find(within).ok_or_else(|| {
                Error::refused(format!("{card} has no address in {subnet}"))
                    .because("the first one there may be a router's, so none is chosen for the bridge")
                    .hinting("give --gateway: an address for the bridge that nobody has")
            })?;
            ipam.gateways.push(address);
        }
        let key = gateway_key(family);
        let router = facts.gateways.iter().copied().find(within);
        if let Some(router) = router.filter(|router| !ipam.gateways.contains(router)) {
            ipam.aux.entry(key.to_owned()).or_insert(router);
        }
    }
    Ok(ipam)
}
