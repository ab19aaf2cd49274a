//! Networks of several bridges: those that are patched into other ones, and the access bridges of large ones.

use ipnet::IpNet;
use linkspan_model::{BridgeOptions, Core, Endpoint, Family, Id, Name, Network, Part, Pool, Uplink};
use linkspan_plan::{Kernel, Scope, State, desired};
use linkspan_store::{Mode, Object, Tx};

use crate::{Engine, Error, NetworkRequest};

/// How many endpoints a bridge of a network gets before the next one is begun. A bridge takes 1,023 ports, and the kernel
/// the longer to add one the more there are (some 2 microseconds each): with this many, an attach takes the same however
/// large the network is. The copies of a broadcast then wait for the processor by the 500 at most, where a queue holds
/// 1,000: each bridge is below the one before it.
pub(crate) const CAPACITY: u32 = 250;

/// The network above one that is to be made, and whether that one shares its subnets.
pub(crate) struct Above {
    network: Network,
    shares: bool,
}

impl Above {
    /// The name that it is locked by.
    pub(crate) const fn name(&self) -> &Name {
        &self.network.name
    }

    /// That it is still there, and no dead process left it half-way.
    pub(crate) fn check(&self, tx: &Tx<'_>) -> Result<(), Error> {
        let object = Object::Network(self.network.name.clone());
        let half_way = tx.journal()?.iter().any(|entry| entry.object == object);
        match tx.network_by_id(self.network.id)? {
            Some(_) if !half_way => Ok(()),
            _ => Err(Error::Overtaken),
        }
    }

    /// What the request means where it leaves out what the network above has. What would be of no effect, or make two
    /// of what a segment has one of, is refused.
    pub(crate) fn complete(&self, request: &mut NetworkRequest) -> Result<(), Error> {
        let Self { network: above, shares } = self;
        if !shares {
            return Ok(());
        }
        let refused = |what: &str| {
            Error::refused(format!("{what} is not for network '{}'", request.name))
                .because(format!(
                    "it shares the subnet of network '{}', whose gateway is the only one",
                    above.name
                ))
                .hinting(format!(
                    "give it to '{}', or give '{}' a --subnet of its own",
                    above.name, request.name
                ))
        };
        let given = |gateway| above.pools.iter().any(|pool| pool.gateway == gateway);
        if !request.ipam.gateways.iter().all(|gateway| given(*gateway)) {
            return Err(refused("another --gateway"));
        }
        if !request.ipam.aux.is_empty() {
            return Err(refused("--aux-address"));
        }
        if request.internal && !above.internal {
            return Err(refused("--internal"));
        }
        let options = BridgeOptions::parse(&request.options)?;
        if !options.icc && above.bridge.icc {
            return Err(refused("enable_icc=false"));
        }
        if !options.masquerade && above.bridge.masquerade {
            return Err(refused("enable_ip_masquerade=false"));
        }
        (request.internal, request.ipv6) = (above.internal, above.ipv6);
        request.ipv4 = above.pools.iter().any(|pool| pool.family() == Family::V4);
        request.ipam.gateways.clear();
        request.ipam.subnets = above.pools.iter().map(|pool| pool.subnet).collect();
        Ok(())
    }

    /// Plugs a drafted network into this one.
    pub(crate) fn take_in(&self, network: &mut Network) -> Result<(), Error> {
        let above = &self.network;
        if BridgeOptions::give_mtu(&network.options) && network.bridge.mtu != above.bridge.mtu {
            return Err(Error::refused(format!(
                "network '{}' cannot have MTU {} below network '{}'",
                network.name, network.bridge.mtu, above.name
            ))
            .because(format!(
                "that one has {}, and what is too long for one of them would be lost",
                above.bridge.mtu
            ))
            .hinting("leave it out to have the same"));
        }
        network.bridge.mtu = above.bridge.mtu;
        if self.shares {
            let range = |pool: &Pool| network.pools.iter().find(|own| own.subnet == pool.subnet)?.range;
            network.pools = above
                .pools
                .iter()
                .map(|pool| Pool { range: range(pool).or(pool.range), ..pool.clone() })
                .collect();
        }
        network.core = Some(Core {
            id: above.id,
            bridge: above.bridge_name(),
            icc: above.bridge.icc,
            addresses_of: self.shares.then(|| above.address_space()),
        });
        Ok(())
    }
}

impl<K: Kernel> Engine<K> {
    /// The network that `request` is to be patched into, if it is.
    ///
    /// No loop comes of it: a bridge is made new, is patched into one that was there before, and into no second one.
    pub(crate) fn above(&mut self, request: &NetworkRequest) -> Result<Option<Above>, Error> {
        let Some(Uplink::Network(key)) = BridgeOptions::parse(&request.options)?.uplink else {
            return Ok(None);
        };
        if key == request.name {
            return Err(Error::refused(format!("network '{key}' cannot be its own uplink"))
                .because("its frames would go round for ever"));
        }
        let network = self.network_for_use(key.as_str())?;
        if !network.has_bridge() {
            return Err(Error::refused(format!("network '{key}' cannot be an uplink"))
                .because(format!("it has driver {}, and so no bridge", network.driver))
                .hinting("choose a network of driver bridge"));
        }
        let same = |subnet: &IpNet| network.pools.iter().any(|pool| pool.subnet == subnet.trunc());
        let shares = request.ipam.subnets.iter().all(same);
        if shares && request.ipv6 && !network.ipv6 {
            return Err(Error::refused(format!("network '{}' cannot have IPv6", request.name))
                .because(format!("it shares the subnet of network '{key}', which has none"))
                .hinting(format!(
                    "create '{key}' with --ipv6, or give '{}' subnets of its own",
                    request.name
                )));
        }
        Ok(Some(Above { network, shares }))
    }

    /// What an endpoint stands on: its network, all that this is patched into, and its access bridge.
    pub(crate) fn ground(&mut self, endpoint: &Endpoint, network: &Network) -> Result<State, Error> {
        let mut state = self.with_cores(network)?;
        let scope = Scope { bridges: [network.bridge_numbered(endpoint.access)].into(), ..Scope::default() };
        let is_there = endpoint.access > 1 && !self.kernel.observe(&scope)?.bridges.is_empty();
        // Those above one that is there are there.
        let first = if is_there { endpoint.access } else { 1 };
        for number in first..=endpoint.access {
            state.merge(desired::access_bridge(network, number));
        }
        Ok(state)
    }

    /// Takes away the access bridges that nobody is on or below any more, now that `gone` have left. Who is at work on
    /// one of the networks may be about to use them: then that stays for those who leave after.
    pub(crate) fn fold(&mut self, gone: &[(Endpoint, Network)]) -> Result<(), Error> {
        for (_, network) in gone.iter().filter(|(endpoint, _)| endpoint.access > 0) {
            let object = Object::Network(network.name.clone());
            let Some(_lock) = self.store.try_lock(&object, Mode::Exclusive)? else { continue };
            let (_, idle) = self.store.read(|tx| access_bridges(tx, network))?;
            for (number, state) in idle.into_iter().rev() {
                self.converge(State { firewall: Some([].into()), ..State::default() }, &state)?;
                self.store.write(|tx| tx.forget_bridge(network.id, number))?;
            }
        }
        Ok(())
    }

    /// What a network needs in the kernel, with all that it is patched into.
    pub(crate) fn with_cores(&mut self, network: &Network) -> Result<State, Error> {
        let mut state = desired::network(network);
        let mut next = network.core.clone();
        while let Some(core) = next {
            // It cannot be removed as long as this one is there.
            let Some(above) = self.store.read(|tx| tx.network_by_id(core.id))? else { break };
            state.merge(desired::network(&above));
            next = above.core;
        }
        Ok(state)
    }
}

/// Which bridge of a runtime's network the next container goes to: `part` makes a port on the network's own, which becomes
/// one on an access bridge where that has no room. Those have the MTU that the own one turns out to have.
pub(crate) fn make_room<K: Kernel>(
    tx: &Tx<'_>,
    kernel: &mut K,
    network: &mut Network,
    part: &mut Part,
) -> Result<u16, Error> {
    let Some(own) = network.own_bridge().filter(|own| !own.vlan_filtering) else { return Ok(0) };
    let Some(port) = part.plain_port_mut(&own.name) else { return Ok(0) };
    let number = tx.bridge_with_room(network.id, CAPACITY)?;
    let begun = number == 0 || tx.access_bridges(network.id)?.iter().any(|(known, _)| *known == number);
    if !begun {
        // Somebody has taken the own one away: it comes back with this container, which has room there then.
        let Some(above) = kernel.parent(Some(&own.name))? else { return Ok(0) };
        if above.mtu != network.bridge.mtu {
            network.bridge.mtu = above.mtu;
            tx.update_network(network)?;
        }
    }
    port.bridge = network.bridge_numbered(number);
    Ok(number)
}

/// What the endpoints of one network stand on beside its own bridge: its access bridges up to the last that any is on,
/// and, by number, those that none is on or below any more.
pub(crate) fn access_bridges(tx: &Tx<'_>, network: &Network) -> Result<(State, Vec<(u16, State)>), Error> {
    let (mut used, mut idle) = (State::default(), Vec::new());
    let bridges = tx.access_bridges(network.id)?;
    let last = bridges.iter().filter(|(_, endpoints)| *endpoints > 0).map(|(number, _)| *number).max();
    for (number, _) in bridges {
        let state = desired::access_bridge(network, number);
        if last.is_some_and(|last| number <= last) { used.merge(state) } else { idle.push((number, state)) }
    }
    Ok((used, idle))
}

/// All that there is or was of a network's bridges.
pub(crate) fn all_bridges(tx: &Tx<'_>, network: &Network) -> Result<State, Error> {
    let (mut all, idle) = access_bridges(tx, network)?;
    all.merge(desired::network(network));
    idle.into_iter().for_each(|(_, state)| all.merge(state));
    Ok(all)
}

/// The networks that are patched into `network`.
pub(crate) fn below(tx: &Tx<'_>, network: &Network) -> Result<Vec<Name>, Error> {
    let patched = |other: &Network| other.core.as_ref().is_some_and(|core| core.id == network.id);
    Ok(tx.networks()?.into_iter().filter(patched).map(|other| other.name).collect())
}

/// Every network, those that are patched into others before these.
pub(crate) fn lowest_first(tx: &Tx<'_>) -> Result<Vec<Network>, Error> {
    let mut left = tx.networks()?;
    let mut sorted = Vec::new();
    while !left.is_empty() {
        let cores: Vec<Id> = left.iter().filter_map(|network| Some(network.core.as_ref()?.id)).collect();
        let (above, lowest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|network| cores.contains(&network.id));
        sorted.extend(lowest);
        left = above;
    }
    Ok(sorted)
}
