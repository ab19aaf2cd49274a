//! What plugins have in common that make a veth pair.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use linkspan_model::{Fixture, IfName, Mac, RouteFixture, Side};
use linkspan_plan::desired::{FORWARD_V4, FORWARD_V6};

use super::device;
use crate::part::sandbox_of;
use crate::{Call, CniError, CniResult, Code, Dns, Host, Interface, Object, ipam};

/// Names and addresses that a plugin chooses for itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Chosen {
    /// The side of the pair on the host.
    pub(super) host: IfName,
    /// A MAC for an interface without addresses.
    pub(super) mac: Mac,
    /// Whether they are those of a pair that was found, so that this is its MAC whatever addresses it has.
    pub(super) is_found: bool,
}

impl Chosen {
    /// Those of the pair that was found on the host, if one is taken over; else new ones.
    ///
    /// # Errors
    /// If something else was found.
    pub(super) fn on(host: &Host) -> Result<Self, CniError> {
        let Some(found) = host.found() else { return Self::at_random() };
        let pair = found.host.clone().zip(found.mac);
        let (host, mac) = pair.ok_or_else(|| CniError::other("the interface is no side of a veth pair"))?;
        Ok(Self { host, mac, is_found: true })
    }

    /// Names that nobody has, as far as chance goes.
    ///
    /// # Errors
    /// Never: what is made up is a valid name.
    fn at_random() -> Result<Self, CniError> {
        // The standard library's maps have keys that nobody can guess, and these are made as theirs are.
        let random = || RandomState::new().build_hasher().finish();
        let veth = |number: u64| format!("veth{:08x}", number as u32).parse::<IfName>();
        let [_, _, a, b, c, d, e, f] = random().to_be_bytes();
        // A unicast address that is nobody's by assignment (IEEE 802).
        let mac = Mac::from_bytes([a & 0xfc | 0x02, b, c, d, e, f]);
        Ok(Self { host: veth(random())?, mac, is_found: false })
    }
}

/// `ipMasq`; with it `ipMasqBackend`, of which either is done the same way here.
///
/// # Errors
/// If a backend is unknown.
pub(super) fn masquerades(keys: &Object) -> Result<bool, CniError> {
    match keys.string("ipMasqBackend")?.as_deref() {
        None | Some("iptables" | "nftables") => Ok(keys.boolean("ipMasq")?.unwrap_or_default()),
        Some(other) => Err(CniError::new(Code::FIELD, format!("unknown ipmasq backend {other:?}"))
            .because("key 'ipMasqBackend' may be \"iptables\" or \"nftables\"")),
    }
}

/// `mtu`; 0 leaves it to the kernel.
///
/// # Errors
/// If it is no number that an MTU may be.
pub(super) fn mtu(keys: &Object) -> Result<Option<u32>, CniError> {
    Ok(keys.number::<u32>("mtu")?.filter(|mtu| *mtu != 0))
}

/// `dns`, if it says anything: an empty list says that there are none.
///
/// # Errors
/// Naming the key.
pub(super) fn dns(keys: &Object) -> Result<Option<Dns>, CniError> {
    let Some(dns) = keys.object("dns")? else { return Ok(None) };
    let says = ["nameservers", "search", "options"].iter().any(|key| dns.get(key).is_some())
        || dns.text("domain")?.is_some();
    says.then(|| Dns::read(dns)).transpose()
}

/// The container's side of the pair, as results tell it.
///
/// # Errors
/// If the runtime names no namespace.
pub(super) fn container(call: &Call, mac: Mac) -> Result<Interface, CniError> {
    Ok(Interface {
        name: call.ifname.clone(),
        mac: Some(mac.to_string()),
        sandbox: sandbox_of(call.netns()?),
        ..Interface::default()
    })
}

/// A device on the host, as results tell it; its MAC comes when it is made.
pub(super) fn on_host(name: &IfName) -> Interface {
    Interface { name: name.to_string(), ..Interface::default() }
}

/// Everywhere, in the family of `address`.
pub(super) fn anywhere(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
        IpAddr::V6(_) => IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
    }
}

/// A route without anything special.
pub(super) const fn route(side: Side, device: IfName, to: IpNet, via: Option<IpAddr>) -> RouteFixture {
    RouteFixture {
        side,
        to,
        device,
        via,
        onlink: false,
        source: None,
        table: None,
        scope: None,
        priority: None,
        mtu: None,
        advmss: None,
        shared: false,
    }
}

/// That the host forwards the families of `addresses`.
pub(super) fn forwarding(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Fixture> {
    let mut keys: Vec<&str> = addresses
        .into_iter()
        .map(|address| if address.is_ipv4() { FORWARD_V4 } else { FORWARD_V6 })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let sysctl = |key: &str| Fixture::Sysctl { side: Side::Host, key: key.to_owned(), value: "1".to_owned() };
    keys.into_iter().map(sysctl).collect()
}

/// A sysctl of `device` in the container, if it has IPv6 addresses. `keep_addr_on_down`: they stay when it is set down.
pub(super) fn with_ipv6(result: &CniResult, device: &IfName, key: &str, value: &str) -> Option<Fixture> {
    let has_ipv6 = result.ips.iter().any(|ip| ip.address.addr().is_ipv6());
    has_ipv6.then(|| Fixture::Sysctl {
        side: Side::Inside,
        key: format!("net/ipv6/conf/{device}/{key}"),
        value: value.to_owned(),
    })
}

/// The MAC for an interface with the addresses of `result`: the one that its first address always has.
pub(super) fn mac_for(result: &CniResult, chosen: &Chosen) -> Mac {
    let first = result.ips.first().filter(|_| !chosen.is_found);
    first.map_or(chosen.mac, |ip| Mac::for_ip(ip.address.addr()))
}

/// Has the IPAM plugin reserve addresses and `make` done with them, which are given back if it fails.
///
/// # Errors
/// Those of both; and if there are no addresses.
pub(super) fn with_addresses(
    call: &Call,
    host: &mut Host,
    make: impl FnOnce(&mut Host, CniResult) -> Result<CniResult, CniError>,
) -> Result<CniResult, CniError> {
    let reserved = ipam::add(call, host)?;
    let made = if reserved.ips.is_empty() {
        Err(CniError::other("IPAM plugin returned missing IP config"))
    } else {
        make(host, reserved)
    };
    device::released(call, host, made)
}

/// Adds to `result` the MACs of devices on the host that are not known before they are made. If they cannot be read, what
/// `owner` made goes.
///
/// # Errors
/// If they cannot be read.
pub(super) fn complete(
    call: &Call,
    host: &mut Host,
    owner: &str,
    mut result: CniResult,
) -> Result<CniResult, CniError> {
    for interface in result.interfaces.iter_mut().filter(|interface| interface.mac.is_none()) {
        match mac_of(host, interface) {
            Ok(mac) => interface.mac = mac.map(|mac| mac.to_string()),
            Err(error) => {
                call.unfit(host, owner)?;
                return Err(error);
            }
        }
    }
    Ok(result)
}

/// The MAC that a device on the host has.
fn mac_of(host: &mut Host, interface: &Interface) -> Result<Option<Mac>, CniError> {
    Ok(host.engine()?.kernel().mac(&interface.name.parse()?)?)
}

/// Takes away what `owner` made, and gives the addresses back, as [`device::del`].
///
/// # Errors
/// The first failure, after both were tried.
pub(super) fn del(call: &Call, host: &mut Host, owner: &str) -> Result<(), CniError> {
    device::del_by(call, host, |host| remove(call, host, owner))
}

/// What another program made is not on record, and known by its name alone.
fn remove(call: &Call, host: &mut Host, owner: &str) -> Result<(), CniError> {
    if call.unfit(host, owner)? {
        return Ok(());
    }
    let (Some(netns), ifname) = (&call.netns, call.ifname.parse()?) else { return Ok(()) };
    let engine = host.engine()?;
    if engine.knows(&call.container, &ifname)? {
        return Ok(());
    }
    Ok(engine.kernel().remove_veth(netns, &ifname, call.may_be_own)?)
}

/// Compares what is there with what `owner` made, and with the result of the chain.
///
/// # Errors
/// Naming what differs.
pub(super) fn check(call: &Call, host: &mut Host, owner: &str) -> Result<(), CniError> {
    device::check(call, host, owner)?;
    same_macs(host, call.previous()?)
}

/// That devices on the host have the MACs that `prev` says.
fn same_macs(host: &mut Host, prev: &CniResult) -> Result<(), CniError> {
    for interface in prev.interfaces.iter().filter(|interface| interface.sandbox.is_none()) {
        let Some(told) = &interface.mac else { continue };
        let found = mac_of(host, interface)?.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        if !found.eq_ignore_ascii_case(told) {
            let what = format!("interface {} has not the MAC of prevResult", interface.name);
            return Err(CniError::other(what).because(format!("it has {found} and not {told}")));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{Environment, Ip, Version};

    /// A call for eth0 of a container, with `more` in the configuration.
    pub fn call(mut more: Value) -> Call {
        more["cniVersion"] = "1.1.0".into();
        more["name"] = "pods".into();
        let environment = Environment::from_fn(|name| {
            let value = match name {
                "CNI_COMMAND" => "ADD",
                "CNI_CONTAINERID" => "c1",
                "CNI_NETNS" => "/run/netns/c1",
                "CNI_IFNAME" => "eth0",
                "CNI_PATH" => "/opt/cni/bin",
                _ => return None,
            };
            Some(value.into())
        });
        Call::read(&environment, more.to_string().as_bytes(), Version::ALL).unwrap()
    }

    pub fn chosen() -> Chosen {
        let mac = "02:11:22:33:44:55".parse().unwrap();
        Chosen { host: "veth01234567".parse().unwrap(), mac, is_found: false }
    }

    /// Addresses of an IPAM plugin, without gateways.
    pub fn reserved(ips: &[&str]) -> CniResult {
        let ip = |text: &&str| Ip { address: text.parse().unwrap(), gateway: None, interface: None };
        CniResult { ips: ips.iter().map(ip).collect(), ..CniResult::default() }
    }

    pub fn texts(part: &linkspan_model::Part) -> Vec<String> {
        part.fixtures.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_route_on_the_link_has_no_next_hop() {
        let mut result = reserved(&["10.1.2.3/24"]);
        result.ips[0].gateway = Some("10.1.2.1".parse().unwrap());
        let dst: IpNet = "10.9.0.1/16".parse().unwrap();
        result.routes = [None, Some(0), Some(253)]
            .map(|scope| crate::Route { scope, mtu: Some(1300), ..crate::Route::new(dst, None) })
            .into();
        let ifname: IfName = "eth0".parse().unwrap();
        let told: Vec<_> =
            device::routes(&ifname, &result.ips, &result.routes).iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "route to 10.9.0.0/16 via 10.1.2.1 dev eth0 in the sandbox");
        assert_eq!(told[1], told[0]);
        assert_eq!(told[2], "route to 10.9.0.0/16 dev eth0 in the sandbox");
    }

    #[test]
    fn names_and_macs_are_made_up() {
        let (one, other) = (Chosen::at_random().unwrap(), Chosen::at_random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.host.as_str().len(), 12);
        assert_eq!(one.mac.bytes()[0] & 3, 2);
    }
}
