//! `linkspan`: one plugin for all of it. A network of Linkspan's gives interface, addresses, routes, published ports, limits
//! and isolation; it is the same that `linkspan network` shows, and other frontends may be on it too.

mod attach;
mod network;

use std::path::Path;

use linkspan_engine::{Attached, Error};
use linkspan_model::Network;

use crate::error::Code;
use crate::part::sandbox_of;
use crate::{Call, CniError, CniResult, Host, Interface, Ip, Plugin, Route};

/// The plugin, and what its part is called.
const NAME: &str = "linkspan";

/// The plugin.
pub struct Native;

impl Plugin for Native {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let wanted = network::Wanted::read(call)?;
        let request = attach::request(call, wanted.name().to_owned())?;
        wanted.provide(host)?;
        let attached = host.engine()?.attach(&request)?;
        let mut result = result(call.netns()?, &attached)?;
        result.routes.extend(attach::routes(call)?);
        result.dns = attach::dns(call)?;
        Ok(result)
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let attachment = call.attachment()?;
        host.engine()?.detach(&attachment)?;
        Ok(())
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let attachment = call.attachment()?;
        let engine = host.engine()?;
        let Some(attached) = engine.attachment(&attachment)? else {
            return Err(CniError::new(Code::CONTAINER, format!("there is no {attachment}")));
        };
        let made = result(call.netns()?, &attached)?;
        let told = call.previous()?;
        if let Some(ip) = made.ips.iter().find(|ip| !told.ips.iter().any(|other| other.address == ip.address))
        {
            return Err(CniError::other(format!("{attachment} has {}, which prevResult lacks", ip.address)));
        }
        let missing = engine.missing(&attachment)?;
        if let Some((first, others)) = missing.split_first() {
            let error = CniError::other(format!("{attachment} is not as it was made: {first}"));
            return Err(others.iter().fold(error, CniError::because));
        }
        call.compare(host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.collect(host)
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let unavailable = |error: CniError| CniError { code: Code::UNAVAILABLE, ..error };
        let wanted = network::Wanted::read(call)?;
        wanted.examine(host).map_err(unavailable)
    }
}

/// What a runtime is told of an endpoint.
fn result(netns: &Path, (endpoint, _, network): &Attached) -> Result<CniResult, CniError> {
    let mut interfaces = Vec::new();
    if network.has_bridge() {
        let bridge = network.bridge_numbered(endpoint.access);
        interfaces.push(on_host(bridge.as_str(), network, network.bridge_mac().map(|mac| mac.to_string())));
        interfaces.push(on_host(endpoint.host_ifname().as_str(), network, None));
    }
    let index = i64::try_from(interfaces.len()).map_err(|_| Error::Overtaken)?;
    interfaces.push(Interface {
        name: endpoint.ifname.to_string(),
        mac: Some(endpoint.mac.to_string()),
        mtu: mtu(network),
        sandbox: sandbox_of(netns),
        ..Interface::default()
    });
    let ip = |lease: &linkspan_model::Lease| Ip {
        address: lease.interface_address(),
        gateway: lease.gateway,
        interface: Some(index),
    };
    let default = |lease: &linkspan_model::Lease| {
        let everywhere = match lease.address {
            std::net::IpAddr::V4(_) => ipnet::IpNet::V4(ipnet::Ipv4Net::default()),
            std::net::IpAddr::V6(_) => ipnet::IpNet::V6(ipnet::Ipv6Net::default()),
        };
        lease.gateway.map(|gateway| Route::new(everywhere, Some(gateway)))
    };
    Ok(CniResult {
        interfaces,
        ips: endpoint.leases.iter().map(ip).collect(),
        routes: endpoint.leases.iter().filter_map(default).collect(),
        ..CniResult::default()
    })
}

fn on_host(name: &str, network: &Network, mac: Option<String>) -> Interface {
    Interface { name: name.to_owned(), mac, mtu: mtu(network), ..Interface::default() }
}

fn mtu(network: &Network) -> Option<u32> {
    network.parent.as_ref().map_or(Some(network.bridge.mtu), |parent| parent.mtu)
}
