//! `static`: the addresses that are written in the configuration, or that the runtime says. Nothing is remembered.

use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::Family;

use super::{address, address_at, check_count, prefix, section};
use crate::args::Pairs;
use crate::{Call, CniError, CniResult, Dns, Host, Ip, Object, Plugin, Route};

/// The plugin.
pub struct Static {
    /// The keys of CNI_ARGS that may be there.
    pub(super) known_args: &'static [&'static str],
}

impl Static {
    /// The plugin by its own name.
    pub const ALONE: Self = Self { known_args: &["IP", "GATEWAY"] };

    /// The addresses. Later sources take the place of earlier ones: the configuration together with CNI_ARGS, what comes
    /// in `args`, what comes in `runtimeConfig`.
    fn load(&self, call: &Call) -> Result<Vec<Ip>, CniError> {
        let ipam = section(call)?;
        let pairs = call.args.load(self.known_args)?;
        let listed = |object: Option<&Object>| object.map_or(Ok(Vec::new()), |object| object.strings("ips"));
        let (conventional, runtime) = (listed(call.conventional()?)?, listed(call.runtime()?)?);
        let instead = if runtime.is_empty() { conventional } else { runtime };
        let ips = match instead.is_empty() {
            true => written(ipam, &pairs)?,
            false => instead.iter().map(|text| entry(text)).collect::<Result<_, _>>()?,
        };
        check_count(call, ips.iter().map(|ip| Family::of(ip.address.addr())))?;
        Ok(ips)
    }
}

impl Plugin for Static {
    fn name(&self) -> &'static str {
        "static"
    }

    fn add(&self, call: &Call, _host: &mut Host) -> Result<CniResult, CniError> {
        let ips = self.load(call)?;
        if ips.is_empty() {
            return Err(CniError::config("no address is given").because(
                "'ipam.addresses', CNI_ARGS 'IP', 'args.cni.ips' or capability 'ips' may give some",
            ));
        }
        let ipam = section(call)?;
        let routes = ipam.objects("routes")?.iter().map(Route::read).collect::<Result<_, _>>()?;
        let dns = ipam.object("dns")?.map_or(Ok(Dns::default()), Dns::read)?;
        Ok(CniResult { interfaces: Vec::new(), ips, routes, dns })
    }

    fn del(&self, _call: &Call, _host: &mut Host) -> Result<(), CniError> {
        Ok(())
    }

    fn check(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        let ips = self.load(call)?;
        let found = &call.previous()?.ips;
        for ip in ips {
            let same = found.iter().find(|found| found.address.addr() == ip.address.addr());
            let fits = |found: &&Ip| ip.gateway.is_none() || ip.gateway == found.gateway;
            if same.filter(fits).is_none() {
                let (address, ifname) = (ip.address.addr(), &call.ifname);
                return Err(CniError::other(format!(
                    "static: Failed to match addr {address} on interface {ifname}"
                )));
            }
        }
        Ok(())
    }

    fn status(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        self.load(call).map(drop)
    }
}

/// The addresses of the configuration and of CNI_ARGS, which also has gateways for them.
fn written(ipam: &Object, pairs: &Pairs) -> Result<Vec<Ip>, CniError> {
    let mut ips = Vec::new();
    for object in ipam.objects("addresses")? {
        // Programs that read a configuration and write it again put the parsed form beside it, as "Address".
        let text = object.exact_string("address")?.unwrap_or_default();
        let gateway = address_at(&object, "gateway")?;
        ips.push(Ip { gateway, ..ip(&text, "the 'address' field is expected to be in")? });
    }
    for text in values(pairs, "IP") {
        ips.push(ip(text, "the 'ip' field is expected to be in")?);
    }
    for text in values(pairs, "GATEWAY") {
        let gateway =
            address(text).ok_or_else(|| CniError::config(format!("invalid gateway address: {text}")))?;
        give(&mut ips, gateway)?;
    }
    Ok(ips)
}

/// The parts of one of CNI_ARGS between commas.
fn values<'a>(pairs: &'a Pairs, key: &str) -> impl Iterator<Item = &'a str> {
    pairs
        .get(key)
        .filter(|value| !value.is_empty())
        .into_iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Gives a gateway to the addresses whose subnet it is in.
fn give(ips: &mut [Ip], gateway: IpAddr) -> Result<(), CniError> {
    let mut is_used = false;
    for ip in ips.iter_mut().filter(|ip| ip.address.contains(&gateway)) {
        ip.gateway = Some(gateway);
        is_used = true;
    }
    if is_used {
        return Ok(());
    }
    Err(CniError::config(format!("gateway {gateway} of CNI_ARGS is in the subnet of no address")))
}

fn entry(text: &str) -> Result<Ip, CniError> {
    ip(text, "an entry in the 'ips' field is NOT in")
}

fn ip(text: &str, what: &str) -> Result<Ip, CniError> {
    let plain = |net: IpNet| (net.addr() == net.addr().to_canonical()).then_some(net);
    let address = prefix(text).and_then(plain);
    let address = address.ok_or_else(|| CniError::config(format!("{what} CIDR notation, got: '{text}'")))?;
    Ok(Ip { address, gateway: None, interface: None })
}
