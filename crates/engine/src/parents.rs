//! Networks whose sandboxes sit on a device of the host: macvlan and ipvlan.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use linkspan_model::{
    Family, HostAccess, IfName, IpamRequest, Name, Network, Parent, ParentOptions, Pool, Vlan,
};
use linkspan_plan::{Kernel, ParentDevice, Scope, State, desired, diff};
use linkspan_store::{Mode, Object, Tx};

use crate::networks::{draft, goes, refuse_collisions, refuse_small_mtu};
use crate::{Engine, Error, NetworkRequest, PATIENCE};

/// Under which name an address is reserved that sandboxes know the host by.
const HOST: &str = "host";

/// A device to sit on, and what it is if Linkspan makes it.
struct Seat {
    device: ParentDevice,
    vlan: Option<Vlan>,
}

impl<K: Kernel> Engine<K> {
    pub(crate) fn create_on_parent(&mut self, request: NetworkRequest) -> Result<Network, Error> {
        let options = ParentOptions::parse(request.driver, &request.options)?;
        let (ipam, ipv4) = (request.ipam.clone(), request.ipv4);
        let network = draft(request)?;
        self.settle()?;
        self.persist(|engine| {
            let object = Object::Network(network.name.clone());
            let _lock = engine.store.lock(&object, Mode::Exclusive, PATIENCE)?;
            engine.found_on_parent(network.clone(), &options, ipam.clone(), ipv4)
        })
    }

    /// Writes down a drafted network, gives it parent and subnets, and makes what it needs. The caller holds its lock.
    fn found_on_parent(
        &mut self,
        mut network: Network,
        options: &ParentOptions,
        ipam: IpamRequest,
        ipv4: bool,
    ) -> Result<Network, Error> {
        // Whose a sub-interface is must not change between the look at it and the writing down.
        let host = self.store.lock(&Object::Host, Mode::Shared, PATIENCE)?;
        let seat = self.find_seat(&network, options)?;
        refuse_small_mtu(options.mtu.unwrap_or(seat.device.mtu), network.ipv6)?;
        let families = [ipv4.then_some(Family::V4), network.ipv6.then_some(Family::V6)];
        let families = families.into_iter().flatten().collect();
        network.pools = pools(&network.name, families, options, ipam, &seat.device)?;
        let host_access = options.host_access.then(|| host_access(&network, options, &seat.device));
        network.parent = Some(Parent {
            device: seat.device.name.clone(),
            vlan: seat.vlan,
            kind: options.kind,
            mtu: options.mtu,
            iface_prefix: options.iface_prefix.clone(),
            host_access: host_access.transpose()?,
        });
        let object = Object::Network(network.name.clone());
        let journal = self.store.write(|tx| {
            if tx.journal()?.iter().any(|entry| entry.object == object) {
                return Err(Error::Overtaken);
            }
            refuse_collisions(&network, &tx.networks()?)?;
            tx.insert_network(&network)?;
            Ok::<_, Error>(tx.begin(&object, "create", "")?)
        })?;
        drop(host);
        if options.parent.is_none() {
            let (name, device) = (&network.name, &seat.device.name);
            self.note(format!("network '{name}' sits on {device}, where the host's default route leads"));
        }
        self.tell_of_gateways(&network);
        self.establish(&network)?;
        self.store.write(|tx| tx.end(journal))?;
        Ok(network)
    }

    /// The device that a network is to sit on.
    fn find_seat(&mut self, network: &Network, options: &ParentOptions) -> Result<Seat, Error> {
        let what = format!("network '{}' has no parent to sit on", network.name);
        if network.internal && options.parent.is_none() {
            return Err(Error::refused(what)
                .because("an internal network does not take the device of the host's default route")
                .hinting("name one with -o parent=DEVICE"));
        }
        let Some(device) = self.kernel.parent(options.parent.as_ref())? else {
            return match &options.parent {
                Some(name) => self.new_vlan(name, what),
                None => Err(Error::refused(what)
                    .because("the host has no default route, whose device it would be")
                    .hinting("name one with -o parent=DEVICE")),
            };
        };
        if !device.ethernet {
            return Err(Error::refused(format!("network '{}' cannot sit on {}", network.name, device.name))
                .because("it is no Ethernet device")
                .hinting("use a network card, a bridge or a bond as parent"));
        }
        if device.enslaved {
            return Err(Error::refused(format!("network '{}' cannot sit on {}", network.name, device.name))
                .because("that device is a port of a bridge or bond")
                .hinting("use the bridge or bond as parent"));
        }
        if let Some(mtu) = options.mtu.filter(|mtu| *mtu > device.mtu) {
            return Err(Error::refused(format!("MTU {mtu} is too large"))
                .because(format!("{} has {}", device.name, device.mtu)));
        }
        // A sub-interface that is there is ours if a network says so.
        let networks = self.store.read(|tx| tx.networks())?;
        let parents = networks.iter().filter_map(|other| other.parent.as_ref());
        let vlan =
            parents.filter(|parent| parent.device == device.name).find_map(|parent| parent.vlan.clone());
        Ok(Seat { device, vlan })
    }

    /// A sub-interface that is to be made: its device is there, it is not.
    fn new_vlan(&mut self, name: &IfName, what: String) -> Result<Seat, Error> {
        let refused =
            |why: String| Error::refused(what).because(why).hinting("`ip link` lists the host's devices");
        let Some(vlan) = Vlan::named(name) else {
            return Err(refused(format!("there is no device {name}")));
        };
        let Some(carrier) = self.kernel.parent(Some(&vlan.link))? else {
            return Err(refused(format!("there is neither {name} nor {}", vlan.link)));
        };
        let (addresses, gateways) = (Vec::new(), Vec::new());
        let device = ParentDevice { name: name.clone(), enslaved: false, addresses, gateways, ..carrier };
        Ok(Seat { device, vlan: Some(vlan) })
    }

    fn tell_of_gateways(&mut self, network: &Network) {
        if network.internal {
            self.note(format!(
                "network '{}' is on a LAN all the same: --internal only leaves out the way beyond it",
                network.name
            ));
        }
        let routed = network.parent.as_ref().is_some_and(|parent| parent.kind.is_routed());
        for pool in &network.pools {
            if pool.gateway.is_unspecified() && !routed && !network.internal {
                self.note(format!(
                    "no gateway is known in {}: sandboxes of '{}' reach nothing beyond it (give --gateway)",
                    pool.subnet, network.name
                ));
            }
        }
    }

    /// Removes the sub-interface made for `network` if no other network needs it.
    pub(crate) fn drop_vlan(&mut self, network: &Network) -> Result<(), Error> {
        let Some(parent) = network.parent.as_ref().filter(|parent| parent.vlan.is_some()) else {
            return Ok(());
        };
        let _host = self.store.lock(&Object::Host, Mode::Exclusive, PATIENCE)?;
        if self.store.read(|tx| is_needed(tx, network, &parent.device))? {
            return Ok(());
        }
        let mut former = State::default();
        former.upper.vlans = desired::network(network).upper.vlans;
        let observed = self.kernel.observe(&Scope::of([&former]))?;
        former.upper.vlans.retain(|name, _| observed.upper.vlans.contains_key(name));
        self.apply(&diff(&State::default(), &former))
    }
}

fn is_needed(tx: &Tx<'_>, without: &Network, device: &IfName) -> Result<bool, Error> {
    let journal = tx.journal()?;
    let needs = |other: &Network| {
        other.id != without.id
            && !goes(&journal, other)
            && other.parent.as_ref().is_some_and(|parent| parent.device == *device)
    };
    Ok(tx.networks()?.iter().any(needs))
}

/// Why `network` cannot sit where `other` does, if it cannot.
pub(crate) fn conflict(network: &Network, other: &Network) -> Option<Error> {
    let (ours, theirs) = (network.parent.as_ref()?, other.parent.as_ref()?);
    let why = ours.kind.conflict(theirs.kind).filter(|_| ours.device == theirs.device)?;
    let what = format!("network '{}' cannot sit on {}", network.name, ours.device);
    let because = format!("network '{}' does, with {}, and {why}", other.name, theirs.kind);
    Some(Error::refused(what).because(because).hinting("use another parent, or the same mode"))
}

/// The pools of a network on `device`: those asked for, else the subnets that the host has there.
fn pools(
    network: &Name,
    families: Vec<Family>,
    options: &ParentOptions,
    mut ipam: IpamRequest,
    device: &ParentDevice,
) -> Result<Vec<Pool>, Error> {
    let given = ipam.gateways.clone();
    let mut derived = BTreeSet::new();
    for family in families {
        if ipam.subnets.iter().any(|subnet| Family::of(subnet.addr()) == family) {
            continue;
        }
        let own = device.addresses.iter().find(|net| Family::of(net.addr()) == family);
        let subnet = own.ok_or_else(|| {
            Error::refused(format!("network '{network}' has no {family} subnet"))
                .because(format!(
                    "the host has no {family} address on {}, whose subnet it would be",
                    device.name
                ))
                .hinting("give one with --subnet")
        })?;
        ipam.subnets.push(subnet.trunc());
        derived.insert(subnet.trunc());
    }
    for net in &device.addresses {
        reserve(&mut ipam, net.addr());
    }
    let mut pools = ipam.pools()?;
    for pool in pools.iter_mut().filter(|pool| !given.contains(&pool.gateway)) {
        pool.gateway = gateway(pool, device, options, derived.contains(&pool.subnet));
    }
    Ok(pools)
}

/// Reserves an address of the host's own, if it is in a subnet and not reserved already.
fn reserve(ipam: &mut IpamRequest, address: IpAddr) {
    let inside = ipam.subnets.iter().any(|subnet| subnet.trunc().contains(&address));
    let named = ipam.aux.values().any(|other| *other == address) || ipam.gateways.contains(&address);
    if inside && !named {
        let numbered = (2..).map(|number: u32| format!("{HOST}-{number}"));
        let mut names = std::iter::once(HOST.to_owned()).chain(numbered);
        if let Some(name) = names.find(|name| !ipam.aux.contains_key(name)) {
            ipam.aux.insert(name, address);
        }
    }
}

/// The router of a pool for which none was given: the host's own; for a subnet that was asked for its first address, as
/// Docker has it, if the host does not know better.
fn gateway(pool: &Pool, device: &ParentDevice, options: &ParentOptions, derived: bool) -> IpAddr {
    let none = match pool.family() {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    if options.kind.is_routed() {
        return none;
    }
    let of_host = device.addresses.iter().any(|net| pool.subnet.contains(&net.addr()));
    let serves = |gateway: &&IpAddr| {
        Family::of(**gateway) == pool.family() && (pool.subnet.contains(*gateway) || of_host)
    };
    let first = Pool::usable(pool.subnet).0;
    match device.gateways.iter().find(serves) {
        Some(gateway) => *gateway,
        None if derived || pool.gateway != first => none,
        None => pool.gateway,
    }
}

/// The addresses that sandboxes know the host by.
fn host_access(
    network: &Network,
    options: &ParentOptions,
    device: &ParentDevice,
) -> Result<HostAccess, Error> {
    let mut access = HostAccess::default();
    for family in [Family::V4, Family::V6] {
        let of_family = |address: &&IpAddr| Family::of(**address) == family;
        let on_lan = |address: &IpAddr| network.pools.iter().any(|pool| pool.subnet.contains(address));
        let reserved = network.pools.iter().filter_map(|pool| pool.aux.get(HOST)).find(of_family);
        let on_device: Vec<IpAddr> = device.addresses.iter().map(IpNet::addr).collect();
        let usable = |address: &&IpAddr| of_family(address) && (options.kind.is_routed() || on_lan(address));
        let Some(address) = reserved.or_else(|| on_device.iter().find(usable)).copied() else { continue };
        access.addresses.insert(address);
        if !on_device.contains(&address) {
            access.own.insert(address);
        } else if device.strict && options.kind.name() == "ipvlan" && !options.kind.is_routed() {
            return Err(Error::refused(format!(
                "the host cannot be reached from network '{}'",
                network.name
            ))
            .because(format!("{} refuses what comes from sandboxes (sysctl rp_filter is 1)", device.name))
            .hinting("reserve an address for the host with --aux-address host=IP"));
        }
    }
    if access.addresses.is_empty() {
        return Err(Error::refused(format!("network '{}' does not know the host", network.name))
            .because(format!("the host has no address in its subnets on {}", device.name))
            .hinting("reserve one for it with --aux-address host=IP"));
    }
    Ok(access)
}
