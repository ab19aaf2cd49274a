//! Networks that are patched into other ones, and those above them.

use ipnet::IpNet;
use linkspan_model::{BridgeOptions, Core, Family, Name, Network, Pool, Uplink};
use linkspan_plan::{Kernel, State, desired};
use linkspan_store::{Object, Tx};

use crate::{Engine, Error, NetworkRequest};

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

/// The networks that are patched into `network`.
pub(crate) fn below(tx: &Tx<'_>, network: &Network) -> Result<Vec<Name>, Error> {
    let patched = |other: &Network| other.core.as_ref().is_some_and(|core| core.id == network.id);
    Ok(tx.networks()?.into_iter().filter(patched).map(|other| other.name).collect())
}
