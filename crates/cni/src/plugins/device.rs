//! What plugins have in common that give a container one device: its addresses, its place in the result, and all verbs
//! but the reading of the configuration.

use std::net::IpAddr;

use linkspan_engine::Footing;
use linkspan_model::{Family, Fixture, Guests, IfName, Mac, Part, RouteFixture, Side};

use crate::part::{inside, leases, sandbox_of};
use crate::{Call, CniError, CniResult, Dns, Host, Interface, Ip, Route, ipam};

/// IPAM plugins that choose addresses without the device. Others may ask for them through it, as DHCP does.
pub const FORESEEING: [&str; 2] = ["host-local", "static"];

/// Scopes from here on reach no further than the link (linux/rtnetlink.h: RT_SCOPE_LINK).
const LINK_SCOPE: u8 = 253;

/// The device that a plugin gives a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// The plugin.
    pub owner: &'static str,
    /// What makes the device, and sets it up.
    pub fixtures: Vec<Fixture>,
    /// Its MAC.
    pub mac: Mac,
    /// Whether neighbours are told of its addresses.
    pub announce: bool,
    /// The name servers of the result, instead of those that the IPAM plugin gives.
    pub dns: Option<Dns>,
}

impl Device {
    /// Its part with the addresses and routes of `addressed`, what the endpoint stands on, and the result. With `made`
    /// the device is there already.
    fn fitted(
        &self,
        call: &Call,
        addressed: &CniResult,
        made: bool,
    ) -> Result<(Part, Footing, CniResult), CniError> {
        let ifname: IfName = call.ifname.parse()?;
        let ips = addressed.ips.iter().map(|ip| Ip { interface: Some(0), ..ip.clone() }).collect();
        let result = CniResult {
            interfaces: vec![Interface {
                name: call.ifname.clone(),
                mac: Some(self.mac.to_string()),
                sandbox: sandbox_of(call.netns()?),
                ..Interface::default()
            }],
            ips,
            routes: addressed.routes.clone(),
            dns: self.dns.clone().unwrap_or_else(|| addressed.dns.clone()),
        };
        let mut fixtures = if made { Vec::new() } else { self.fixtures.clone() };
        let allow = allow_ipv6(&ifname, &mut fixtures, &result.ips);
        fixtures.extend(allow);
        fixtures.extend(addresses(&ifname, &result.ips));
        fixtures.extend(routes(&ifname, &result.ips, &result.routes));
        if self.announce && !result.ips.is_empty() {
            fixtures.push(Fixture::Announce { device: ifname });
        }
        let part = Part { owner: self.owner.to_owned(), fixtures, ..Part::default() };
        let footing = Footing { mac: Some(self.mac), host: None, leases: leases(call, &result) };
        Ok((part, footing, result))
    }

    /// Makes it, with the addresses that the IPAM plugin has for it.
    ///
    /// # Errors
    /// Nothing of it is left then, nor an address put aside.
    pub fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        match ipam::kind(call)? {
            None => self.fit(call, host, &CniResult::default(), false),
            Some(kind) if FORESEEING.contains(&kind.as_str()) => {
                let addressed = self.addressed(call, host)?;
                let fitted = self.fit(call, host, &addressed, false);
                released(call, host, fitted)
            }
            Some(_) => {
                self.fit(call, host, &CniResult::default(), false)?;
                let fitted = self.addressed(call, host).and_then(|addressed| {
                    let fitted = self.fit(call, host, &addressed, true);
                    released(call, host, fitted)
                });
                if fitted.is_err() {
                    call.unfit(host, self.owner)?;
                }
                fitted
            }
        }
    }

    /// Makes it with the addresses of `addressed`.
    ///
    /// # Errors
    /// Nothing of it is left then.
    pub fn fit(
        &self,
        call: &Call,
        host: &mut Host,
        addressed: &CniResult,
        made: bool,
    ) -> Result<CniResult, CniError> {
        let (part, footing, result) = self.fitted(call, addressed, made)?;
        call.fit(host, (part, Guests::default()), footing, !made)?;
        Ok(result)
    }

    fn addressed(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let addressed = ipam::add(call, host)?;
        if !addressed.ips.is_empty() {
            return Ok(addressed);
        }
        let nothing = CniError::other("IPAM plugin returned missing IP config");
        released(call, host, Err(nothing))
    }
}

/// `outcome`, with the addresses given back if it is none.
pub fn released(
    call: &Call,
    host: &mut Host,
    outcome: Result<CniResult, CniError>,
) -> Result<CniResult, CniError> {
    if outcome.is_err()
        && let Err(error) = ipam::del(call, host)
    {
        eprintln!("note: addresses are not given back: {error}");
    }
    outcome
}

/// Takes the device of the plugin `owner` away, and gives its addresses back: before, if that may go through the device too,
/// else when nobody has them any more.
///
/// # Errors
/// The first, after both were tried.
pub fn del(call: &Call, host: &mut Host, owner: &str) -> Result<(), CniError> {
    del_by(call, host, |host| call.unfit(host, owner).map(drop))
}

/// As [`del`], with `remove` to take the device away.
///
/// # Errors
/// The first, after both were tried.
pub fn del_by(
    call: &Call,
    host: &mut Host,
    remove: impl FnOnce(&mut Host) -> Result<(), CniError>,
) -> Result<(), CniError> {
    let kind = ipam::kind(call);
    let asks = matches!(&kind, Ok(Some(kind)) if !FORESEEING.contains(&kind.as_str()));
    let before = if asks { ipam::del(call, host) } else { Ok(()) };
    let gone = remove(host);
    let after = match kind {
        Ok(Some(_)) if !asks => ipam::del(call, host),
        other => other.map(drop),
    };
    before.and(gone).and(after)
}

/// Compares the device of the plugin `owner` with what it made, and with the result of the chain.
///
/// # Errors
/// Naming what differs.
pub fn check(call: &Call, host: &mut Host, owner: &str) -> Result<(), CniError> {
    check_result(call, host, owner)?;
    call.compare(host, owner)
}

/// That the addresses are put aside still, and the chain's result has the interface where it was made.
///
/// # Errors
/// Naming what differs.
pub fn check_result(call: &Call, host: &mut Host, owner: &str) -> Result<(), CniError> {
    if ipam::kind(call)?.is_some() {
        ipam::check(call, host)?;
    }
    let Some(prev) = &call.prev else {
        return Err(CniError::config(format!("{owner}: required prevResult missing")));
    };
    let netns = sandbox_of(call.netns()?).unwrap_or_default();
    let said = inside(call, prev).and_then(|(_, interface)| interface.sandbox.clone()).unwrap_or_default();
    if said == netns {
        return Ok(());
    }
    Err(CniError::other(format!("sandbox in prevResult {said} doesn't match configured netns: {netns}")))
}

/// Gives back what belongs to no container that the runtime knows.
///
/// # Errors
/// The first, after everything was tried.
pub fn gc(call: &Call, host: &mut Host) -> Result<(), CniError> {
    match ipam::kind(call)? {
        None => call.collect(host),
        Some(kind) if FORESEEING.contains(&kind.as_str()) => {
            let collected = call.collect(host);
            collected.and(ipam::gc(call, host))
        }
        Some(_) => {
            let freed = ipam::gc(call, host);
            freed.and(call.collect(host))
        }
    }
}

/// That the IPAM plugin, if there is one, can serve.
///
/// # Errors
/// Its own.
pub fn status(call: &Call, host: &mut Host) -> Result<(), CniError> {
    if ipam::kind(call)?.is_some() { ipam::status(call, host) } else { Ok(()) }
}

/// The name servers of the configuration, if it says anything of them.
///
/// # Errors
/// Code 6 if it cannot be read.
pub fn dns(call: &Call) -> Result<Option<Dns>, CniError> {
    Ok(call.config.object("dns")?.map(Dns::read).transpose()?.filter(|dns| !dns.is_empty()))
}

/// Lets the device have IPv6 if it needs it: from its making on, or afterwards if it is not made here.
fn allow_ipv6(device: &IfName, fixtures: &mut [Fixture], ips: &[Ip]) -> Option<Fixture> {
    if !ips.iter().any(|ip| ip.address.addr().is_ipv6()) {
        return None;
    }
    for fixture in fixtures {
        if let Fixture::Device(made) = fixture {
            made.ipv6 = true;
            return None;
        }
    }
    let key = format!("net/ipv6/conf/{device}/disable_ipv6");
    Some(Fixture::Sysctl { side: Side::Inside, key, value: "0".to_owned() })
}

fn addresses(device: &IfName, ips: &[Ip]) -> Vec<Fixture> {
    let address = |ip: &Ip| Fixture::Address {
        side: Side::Inside,
        device: device.clone(),
        address: ip.address,
        probed: false,
        no_route: false,
    };
    ips.iter().map(address).collect()
}

/// The routes of a result, as fixtures for `device`: without a gateway they lead through the first of their family, unless
/// they reach no further than the link.
pub fn routes(device: &IfName, ips: &[Ip], routes: &[Route]) -> Vec<Fixture> {
    let gateway = |family: Family| {
        let of_family = |gateway: &IpAddr| Family::of(*gateway) == family;
        ips.iter().filter_map(|ip| ip.gateway).find(of_family)
    };
    let fixture = |(index, route): (usize, &Route)| {
        Fixture::Route(RouteFixture {
            side: Side::Inside,
            to: route.dst.trunc(),
            device: device.clone(),
            via: route.gw.or_else(|| {
                let is_on_link = route.scope.is_some_and(|scope| scope >= LINK_SCOPE);
                gateway(Family::of(route.dst.addr())).filter(|_| !is_on_link)
            }),
            onlink: false,
            source: None,
            table: route.table,
            scope: route.scope,
            priority: route.priority,
            mtu: route.mtu,
            advmss: route.advmss,
            // The kernel makes some of them with the addresses, and a list may have one twice.
            shared: ips.iter().any(|ip| ip.address.trunc() == route.dst.trunc())
                || routes[..index].iter().any(|before| before.dst == route.dst),
        })
    };
    routes.iter().enumerate().map(fixture).collect()
}

#[cfg(test)]
mod tests {
    use linkspan_model::{DeviceFixture, DeviceKind};

    use super::super::example::{addressed, call};
    use super::*;

    fn dummy() -> Device {
        let fixture = DeviceFixture {
            ifname: "eth0".parse().unwrap(),
            kind: DeviceKind::Dummy,
            mac: None,
            mtu: None,
            ipv6: false,
        };
        let mac = "02:00:00:00:00:01".parse().unwrap();
        Device { owner: "x", fixtures: vec![Fixture::Device(fixture)], mac, announce: true, dns: None }
    }

    #[test]
    fn a_device_comes_with_its_addresses_and_routes() {
        let mut ipam = addressed(&["10.0.0.2/24 10.0.0.1", "fd00::2/64"]);
        let far = "192.0.2.0/24".parse().unwrap();
        ipam.routes.push(Route { mtu: Some(1400), ..Route::new(far, None) });
        ipam.routes.push(Route::new("fd01::/64".parse().unwrap(), None));
        let (part, footing, result) = dummy().fitted(&call("", r#""x": 0"#), &ipam, false).unwrap();
        let lines: Vec<String> = part.fixtures.iter().map(ToString::to_string).collect();
        let expected = [
            "dummy eth0 in the sandbox",
            "address 10.0.0.2/24 of eth0 in the sandbox",
            "address fd00::2/64 of eth0 in the sandbox",
            "route to 192.0.2.0/24 via 10.0.0.1 dev eth0 in the sandbox",
            "route to fd01::/64 dev eth0 in the sandbox",
            "announcement of eth0",
        ];
        assert_eq!(lines, expected);
        let Some(Fixture::Device(device)) = part.fixtures.first() else { panic!("{part:?}") };
        assert!(device.ipv6);
        assert_eq!(footing.leases.len(), 2);
        assert!(result.ips.iter().all(|ip| ip.interface == Some(0)));
        assert_eq!(result.interfaces[0].sandbox.as_deref(), Some("/run/netns/box"));
        assert_eq!(result.routes, ipam.routes);
    }

    #[test]
    fn addresses_may_come_when_the_device_is_there() {
        let ipam = addressed(&["fd00::2/64"]);
        let (part, ..) = dummy().fitted(&call("", r#""x": 0"#), &ipam, true).unwrap();
        let first = part.fixtures.first().map(ToString::to_string);
        assert_eq!(first.as_deref(), Some("sysctl net/ipv6/conf/eth0/disable_ipv6 = 0 in the sandbox"));
    }

    #[test]
    fn the_configurations_name_servers_go_before_those_of_the_ipam_plugin() {
        let mut ipam = addressed(&["10.0.0.2/24"]);
        ipam.dns.nameservers.push("10.0.0.53".to_owned());
        let call = call("", r#""dns": {"nameservers": ["10.9.9.9"]}"#);
        let servers = |device: &Device| device.fitted(&call, &ipam, false).unwrap().2.dns.nameservers;
        assert_eq!(servers(&dummy()), ["10.0.0.53"]);
        assert_eq!(servers(&Device { dns: dns(&call).unwrap(), ..dummy() }), ["10.9.9.9"]);
    }
}
