//! `bridge`: a veth pair, one side in the container, the other a port of a bridge that many share.

mod config;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_engine::Footing;
use linkspan_model::{BridgeFixture, BridgePort, Fixture, Guests, IfName, Part, Side, VethFixture};

use self::config::Config;
use super::device;
use super::pair::{self, Chosen};
use crate::part::leases;
use crate::{Call, CniError, CniResult, Host, Plugin, Route, ipam};

/// What its parts are known by.
const NAME: &str = "bridge";

/// The plugin.
pub struct Bridge;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        let chosen = Chosen::on(host)?;
        match ipam::kind(call)? {
            None => make(call, host, &config, &chosen, CniResult::default()),
            Some(kind) if device::FORESEEING.contains(&kind.as_str()) => {
                let mut has_addresses = false;
                let made = pair::with_addresses(call, host, |host, reserved| {
                    has_addresses = true;
                    make(call, host, &config, &chosen, reserved)
                });
                if !has_addresses {
                    leave_bridge(call, host, &config)?;
                }
                made
            }
            Some(_) => add_through(call, host, &config, &chosen),
        }
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

/// Makes everything at once.
fn make(
    call: &Call,
    host: &mut Host,
    config: &Config,
    chosen: &Chosen,
    reserved: CniResult,
) -> Result<CniResult, CniError> {
    let Plan { part, guests, footing, result } = plan(call, config, chosen, reserved)?;
    call.fit(host, (part, guests), footing, true)?;
    pair::complete(call, host, NAME, result)
}

/// Makes the bridge alone: it is there from the first ADD on, whatever else that comes to.
fn leave_bridge(call: &Call, host: &mut Host, config: &Config) -> Result<(), CniError> {
    let part = Part { owner: NAME.to_owned(), fixtures: vec![bridge(config)], ..Part::default() };
    match call.fit(host, (part, Guests::default()), Footing::default(), true) {
        Ok(_) => call.unfit(host, NAME).map(drop),
        // What refused the addresses is what matters.
        Err(_) => Ok(()),
    }
}

fn bridge(config: &Config) -> Fixture {
    Fixture::Bridge(BridgeFixture {
        name: config.bridge.clone(),
        mtu: config.mtu,
        promisc: config.promisc,
        vlan_filtering: config.vlan != 0 || config.trunk.is_some(),
    })
}

/// Makes the interface first: the IPAM plugin may ask for addresses through it.
fn add_through(
    call: &Call,
    host: &mut Host,
    config: &Config,
    chosen: &Chosen,
) -> Result<CniResult, CniError> {
    let config = &Config { mac: config.mac.or(Some(chosen.mac)), ..config.clone() };
    let bare = plan(call, config, chosen, CniResult::default())?;
    call.fit(host, (bare.part, bare.guests), bare.footing, true)?;
    let addressed = pair::with_addresses(call, host, |host, reserved| {
        let Plan { mut part, guests, footing, result } = plan(call, config, chosen, reserved)?;
        part.fixtures.retain(|fixture| !matches!(fixture, Fixture::Bridge(_) | Fixture::Veth(_)));
        let ifname: IfName = call.ifname.parse()?;
        part.fixtures.splice(..0, pair::with_ipv6(&result, &ifname, "disable_ipv6", "0"));
        call.fit(host, (part, guests), footing, false)?;
        pair::complete(call, host, NAME, result)
    });
    if addressed.is_err() {
        call.unfit(host, NAME)?;
    }
    addressed
}

/// What ADD is to do and to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Plan {
    part: Part,
    guests: Guests,
    footing: Footing,
    /// Without the MACs of devices on the host, which the kernel chooses.
    result: CniResult,
}

/// What a container gets by `config` that has the addresses `reserved`.
fn plan(call: &Call, config: &Config, chosen: &Chosen, reserved: CniResult) -> Result<Plan, CniError> {
    let ifname: IfName = call.ifname.parse()?;
    let mut result = reserved;
    let gateways = gateways(config, &mut result);
    let device = config.gateway_device()?;
    let has_place = config.vlan != 0 && !gateways.is_empty();
    let mac = config.mac.unwrap_or_else(|| pair::mac_for(&result, chosen));
    result.interfaces =
        vec![pair::on_host(&config.bridge), pair::on_host(&chosen.host), pair::container(call, mac)?];
    if has_place {
        result.interfaces.push(pair::on_host(&device));
    }
    if let Some(dns) = &config.dns {
        result.dns = dns.clone();
    }
    let mut fixtures = vec![bridge(config)];
    fixtures.extend(on_host(config, &device, &gateways));
    fixtures.push(Fixture::Veth(VethFixture {
        host: chosen.host.clone(),
        ifname: ifname.clone(),
        mac: Some(mac),
        mtu: config.mtu,
        port: Some(port(config)),
        down: config.stays_down,
        ipv6: result.ips.iter().any(|ip| ip.address.addr().is_ipv6()),
        loose: false,
    }));
    fixtures.extend(pair::with_ipv6(&result, &ifname, "keep_addr_on_down", "1"));
    fixtures.extend(in_container(config, &result, &ifname));
    let addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    let mut guests = Guests { bridges: [config.bridge.clone()].into(), ..Guests::default() };
    guests.bridges.extend(has_place.then_some(device));
    if config.masquerades {
        guests.homes.extend(result.ips.iter().map(|ip| ip.address.trunc()));
    }
    let part = Part {
        owner: NAME.to_owned(),
        fixtures,
        masquerade_from: if config.masquerades { addresses } else { Vec::new() },
        spoof: config.checks_mac.then(|| (chosen.host.clone(), mac)),
        ..Part::default()
    };
    let footing = Footing { mac: Some(mac), host: Some(chosen.host.clone()), leases: leases(call, &result) };
    Ok(Plan { part, guests, footing, result })
}

/// Says in `result` on which interface its addresses are, and adds what is not given but wanted: gateways and default
/// routes. Gives the addresses that the host has as gateway.
fn gateways(config: &Config, result: &mut CniResult) -> Vec<IpNet> {
    let mut gateways = Vec::new();
    for ip in &mut result.ips {
        ip.interface = Some(2);
        if !config.is_gateway {
            continue;
        }
        let gateway = *ip.gateway.get_or_insert_with(|| first_of(ip.address));
        let everywhere = pair::anywhere(gateway);
        let is_there = result.routes.iter().any(|route| route.dst == everywhere);
        if config.is_default_gateway && !is_there {
            result.routes.push(Route::new(everywhere, Some(gateway)));
        }
        let gateway = IpNet::new_assert(gateway, ip.address.prefix_len());
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
        }
    }
    gateways
}

/// The first address of a subnet.
fn first_of(subnet: IpNet) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(network) => network.to_bits().wrapping_add(1).to_be_bytes().into(),
        IpAddr::V6(network) => network.to_bits().wrapping_add(1).to_be_bytes().into(),
    }
}

fn port(config: &Config) -> BridgePort {
    BridgePort {
        bridge: config.bridge.clone(),
        hairpin: config.hairpin,
        isolated: config.isolated,
        vlan: config.vlan,
        trunk: config.trunk.clone().unwrap_or_default(),
        keep_default_vlan: config.keep_default_vlan,
        open: false,
    }
}

/// What makes the host the gateway.
fn on_host(config: &Config, device: &IfName, gateways: &[IpNet]) -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    if config.vlan != 0 && !gateways.is_empty() {
        fixtures.push(Fixture::VlanGateway {
            bridge: config.bridge.clone(),
            device: device.clone(),
            vlan: config.vlan,
            keep_default_vlan: config.keep_default_vlan,
        });
    }
    let gateway = |address: &IpNet| Fixture::Gateway {
        bridge: device.clone(),
        address: *address,
        replace: config.force_address,
    };
    fixtures.extend(gateways.iter().map(gateway));
    fixtures.extend(pair::forwarding(gateways.iter().map(IpNet::addr)));
    fixtures
}

fn in_container(config: &Config, result: &CniResult, ifname: &IfName) -> Vec<Fixture> {
    let address = |ip: &crate::Ip| Fixture::Address {
        side: Side::Inside,
        device: ifname.clone(),
        address: ip.address,
        probed: config.probes,
        no_route: false,
    };
    let mut fixtures: Vec<_> = result.ips.iter().map(address).collect();
    fixtures.extend(device::routes(ifname, &result.ips, &result.routes));
    // An address always comes with the same MAC, unless another is asked for: only then may somebody remember a wrong one.
    if config.mac.is_some() && !result.ips.is_empty() {
        fixtures.push(Fixture::Announce { device: ifname.clone() });
    }
    fixtures
}
