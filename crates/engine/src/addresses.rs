//! An endpoint's addresses, out of its network's pools.

use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{Family, Id, Lease, NetAttach, Network};
use linkspan_plan::ipam::{self, Leases, Refusal};
use linkspan_store::{StoreError, Tx};

use crate::Error;
use crate::error::Obstacle;

/// A network's leases as the store has them.
struct NetworkLeases<'a> {
    tx: &'a Tx<'a>,
    network: Id,
    /// The network whose leases they are.
    space: Id,
}

impl Leases for NetworkLeases<'_> {
    type Error = StoreError;

    fn holder(&self, address: IpAddr) -> Result<Option<Id>, StoreError> {
        self.tx.lease_holder(self.space, address)
    }

    fn was_used(&self, address: IpAddr) -> Result<bool, StoreError> {
        self.tx.was_used(self.space, address)
    }

    fn cursor(&self, subnet: &IpNet) -> Result<Option<IpAddr>, StoreError> {
        self.tx.fresh_cursor(self.network, subnet)
    }

    fn oldest_released(&self, first: IpAddr, last: IpAddr) -> Result<Option<IpAddr>, StoreError> {
        self.tx.oldest_released(self.space, first, last)
    }
}

/// Chooses an address of each family that `network` has.
pub fn lease(tx: &Tx<'_>, network: &Network, attach: &NetAttach) -> Result<Vec<Lease>, Error> {
    let wanted = [(Family::V4, attach.ip.map(IpAddr::V4)), (Family::V6, attach.ip6.map(IpAddr::V6))];
    let mut leases = Vec::new();
    for (family, wanted) in wanted {
        let has_family = network.pools.iter().any(|pool| pool.family() == family);
        if has_family || wanted.is_some() {
            leases.push(choose(tx, network, family, wanted)?);
        }
    }
    Ok(leases)
}

fn choose(tx: &Tx<'_>, network: &Network, family: Family, wanted: Option<IpAddr>) -> Result<Lease, Error> {
    let known = NetworkLeases { tx, network: network.id, space: network.address_space() };
    let choice = ipam::choose(&network.pools, family, wanted, &known)
        .map_err(|refusal| refused(tx, network, refusal))?;
    let pool = &network.pools[choice.pool];
    if let Some(cursor) = choice.cursor {
        tx.set_fresh_cursor(network.id, &pool.subnet, cursor)?;
    }
    let routed = network.parent.as_ref().is_some_and(|parent| parent.kind.is_routed());
    let leads = |gateway: &IpAddr| !network.internal && (routed || !gateway.is_unspecified());
    let gateway = Some(pool.default_gateway()).filter(leads);
    let reused = choice.cursor.is_none() && known.was_used(choice.address)?;
    Ok(Lease { subnet: pool.subnet, address: choice.address, gateway, reused })
}

fn refused(tx: &Tx<'_>, network: &Network, refusal: Refusal<StoreError>) -> Error {
    let what = format!("network '{}' has no such address to give", network.name);
    let error = Error::refused(what).because(refusal.to_string());
    match refusal {
        Refusal::Leases(store) => store.into(),
        Refusal::Full { .. } => Error::refused(format!("network '{}' is full", network.name))
            .because(refusal.to_string())
            .hinting("remove sandboxes, or create a network with a larger --subnet or --ip-range")
            .behind(Obstacle::FullNetwork(network.id)),
        Refusal::Outside { .. } => error.hinting("choose an address inside, or leave it to the network"),
        Refusal::Reserved { .. } => error.hinting("choose another, or leave it to the network"),
        Refusal::NoPool(_) => error.hinting("create the network with --ipv6 or a --subnet of that family"),
        Refusal::Taken { holder, .. } => {
            let by =
                tx.endpoint(holder).ok().flatten().and_then(|e| tx.sandbox_by_id(e.sandbox).ok().flatten());
            let by = by.map_or_else(
                || "another sandbox".to_owned(),
                |sandbox| format!("sandbox '{}'", sandbox.name),
            );
            error.hinting(format!("{by} has it")).behind(Obstacle::Endpoint(holder))
        }
    }
}
