//! `ptp`: a veth pair between the container and the host, which routes.

use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_engine::Footing;
use linkspan_model::{Fixture, Guests, IfName, Part, RouteFixture, Side, VethFixture};

use super::device;
use super::pair::{self, Chosen};
use crate::part::leases;
use crate::{Call, CniError, CniResult, Code, Dns, Host, Ip, Plugin, ipam};

/// What its parts are known by.
const NAME: &str = "ptp";

/// The plugin.
pub struct Ptp;

/// A configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Config {
    /// Whether what goes out takes the host's address.
    masquerades: bool,
    /// The MTU of the pair.
    mtu: Option<u32>,
    /// Name servers that go for those of the IPAM plugin.
    dns: Option<Dns>,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        if ipam::kind(call)?.is_none() {
            return Err(CniError::config("ptp requires an IPAM configuration")
                .because("key 'ipam.type' names no plugin"));
        }
        let keys = &call.config;
        Ok(Self { masquerades: pair::masquerades(keys)?, mtu: pair::mtu(keys)?, dns: pair::dns(keys)? })
    }
}

impl Plugin for Ptp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        let chosen = Chosen::on(host)?;
        pair::with_addresses(call, host, |host, reserved| {
            let (part, guests, footing, result) = plan(call, &config, &chosen, reserved)?;
            call.fit(host, (part, guests), footing, true)?;
            pair::complete(call, host, NAME, result)
        })
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        pair::del(call, host, NAME)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?;
        pair::check(call, host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::gc(call, host)
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        device::status(call, host)
    }
}

/// What a container gets that has the addresses `reserved`; the MAC of the host's side is missing in the result.
fn plan(
    call: &Call,
    config: &Config,
    chosen: &Chosen,
    reserved: CniResult,
) -> Result<(Part, Guests, Footing, CniResult), CniError> {
    let ifname: IfName = call.ifname.parse()?;
    let mac = pair::mac_for(&reserved, chosen);
    let mut result = reserved;
    result.ips.iter_mut().for_each(|ip| ip.interface = Some(1));
    result.interfaces = vec![pair::on_host(&chosen.host), pair::container(call, mac)?];
    if let Some(dns) = &config.dns {
        result.dns = dns.clone();
    }
    let addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    let mut fixtures = pair::forwarding(addresses.iter().copied());
    fixtures.push(Fixture::Veth(VethFixture {
        host: chosen.host.clone(),
        ifname: ifname.clone(),
        mac: Some(mac),
        mtu: config.mtu,
        port: None,
        down: false,
        ipv6: addresses.iter().any(IpAddr::is_ipv6),
        loose: false,
    }));
    fixtures.extend(pair::with_ipv6(&result, &ifname, "keep_addr_on_down", "1"));
    for ip in &result.ips {
        // Addresses may share a gateway.
        for fixture in between(ip, &ifname, &chosen.host)? {
            if !fixtures.iter().any(|there| is_like(there, &fixture)) {
                fixtures.push(fixture);
            }
        }
    }
    fixtures.extend(device::routes(&ifname, &result.ips, &result.routes));
    let mut guests = Guests::default();
    if config.masquerades {
        guests.homes.extend(result.ips.iter().map(|ip| ip.address.trunc()));
    }
    let part = Part {
        owner: NAME.to_owned(),
        fixtures,
        guest: Some(chosen.host.clone()),
        masquerade_from: if config.masquerades { addresses } else { Vec::new() },
        ..Part::default()
    };
    let footing = Footing { mac: Some(mac), host: Some(chosen.host.clone()), leases: leases(call, &result) };
    Ok((part, guests, footing, result))
}

/// Whether two fixtures are one to the kernel: of routes to the same place there is one.
fn is_like(one: &Fixture, other: &Fixture) -> bool {
    match (one, other) {
        (Fixture::Route(one), Fixture::Route(other)) => (one.to, &one.device) == (other.to, &other.device),
        _ => one == other,
    }
}

/// What leads packets between an address in the container and the host: the subnet is reached by way of the gateway too,
/// which alone is on the link, and the host has the gateway's address on its side.
fn between(ip: &Ip, ifname: &IfName, host: &IfName) -> Result<Vec<Fixture>, CniError> {
    let gateway = ip.gateway.ok_or_else(|| {
        CniError::new(Code::OTHER, format!("IPAM plugin gave no gateway for {}", ip.address))
            .because("the host's side of a ptp pair has the gateway's address")
    })?;
    let source = Some(ip.address.addr());
    let inside = |to: IpNet, via: Option<IpAddr>| {
        Fixture::Route(RouteFixture { source, ..pair::route(Side::Inside, ifname.clone(), to, via) })
    };
    let address = |side: Side, device: &IfName, address: IpNet| Fixture::Address {
        side,
        device: device.clone(),
        address,
        probed: false,
        no_route: true,
    };
    let back = pair::route(Side::Host, host.clone(), ip.address.addr().into(), None);
    let mut fixtures = vec![
        address(Side::Host, host, gateway.into()),
        Fixture::Route(RouteFixture { shared: true, ..back }),
        address(Side::Inside, ifname, ip.address),
        inside(gateway.into(), None),
    ];
    if ip.address.prefix_len() < ip.address.max_prefix_len() {
        fixtures.push(inside(ip.address.trunc(), Some(gateway)));
    }
    Ok(fixtures)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::pair::tests::{call, chosen, reserved, texts};

    #[test]
    fn each_side_routes_to_the_other() {
        let call = call(json!({ "ipMasq": true, "mtu": 1400, "ipam": { "type": "static" } }));
        let mut leased = reserved(&["10.1.2.3/24", "10.1.2.4/24", "fd00::2/128"]);
        for (ip, gateway) in leased.ips.iter_mut().zip(["10.1.2.1", "10.1.2.1", "fe80::1"]) {
            ip.gateway = Some(gateway.parse().unwrap());
        }
        leased.routes.push(crate::Route::new("0.0.0.0/0".parse().unwrap(), None));
        let (part, guests, footing, result) =
            plan(&call, &Config::read(&call).unwrap(), &chosen(), leased).unwrap();
        assert_eq!(
            texts(&part),
            [
                "sysctl net/ipv4/ip_forward = 1 in the host",
                "sysctl net/ipv6/conf/all/forwarding = 1 in the host",
                "veth pair veth01234567 with eth0 in the sandbox",
                "sysctl net/ipv6/conf/eth0/keep_addr_on_down = 1 in the sandbox",
                "address 10.1.2.1/32 of veth01234567 in the host",
                "route to 10.1.2.3/32 dev veth01234567 in the host",
                "address 10.1.2.3/24 of eth0 in the sandbox",
                "route to 10.1.2.1/32 dev eth0 in the sandbox",
                "route to 10.1.2.0/24 via 10.1.2.1 dev eth0 in the sandbox",
                "route to 10.1.2.4/32 dev veth01234567 in the host",
                "address 10.1.2.4/24 of eth0 in the sandbox",
                "address fe80::1/128 of veth01234567 in the host",
                "route to fd00::2/128 dev veth01234567 in the host",
                "address fd00::2/128 of eth0 in the sandbox",
                "route to fe80::1/128 dev eth0 in the sandbox",
                "route to 0.0.0.0/0 via 10.1.2.1 dev eth0 in the sandbox",
            ]
        );
        assert_eq!(part.guest.as_ref().map(IfName::as_str), Some("veth01234567"));
        assert_eq!((part.masquerade_from.len(), guests.homes.len(), guests.bridges.len()), (3, 2, 0));
        assert_eq!(footing.host, part.guest);
        assert_eq!(result.interfaces.len(), 2);
        assert!(result.ips.iter().all(|ip| ip.interface == Some(1)));
    }

    #[test]
    fn it_needs_addresses_and_gateways() {
        for ipam in [json!(null), json!({}), json!({ "type": "" })] {
            assert_eq!(Config::read(&call(json!({ "ipam": ipam }))).unwrap_err().code, Code::CONFIG);
        }
        let call = call(json!({ "ipam": { "type": "static" } }));
        let error = plan(&call, &Config::read(&call).unwrap(), &chosen(), reserved(&["10.1.2.3/24"]));
        assert!(error.unwrap_err().msg.contains("no gateway for 10.1.2.3/24"));
    }
}
