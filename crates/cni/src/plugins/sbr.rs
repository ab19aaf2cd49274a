//! `sbr`: source based routing. What an interface's addresses send goes by the routes of that interface, whatever others
//! the container has.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{Family, Fixture, Guests, IfName, Part, RouteFixture, Side};

use crate::part::found;
use crate::{Call, CniError, CniResult, Host, Ip, Plugin};

const NAME: &str = "sbr";
/// The first table that routes are moved to.
const FIRST_TABLE: u32 = 100;
/// linux/rtnetlink.h: RT_SCOPE_LINK.
const SCOPE_LINK: u8 = 253;

/// The plugin.
pub struct Sbr;

/// Its configuration.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Config {
    /// The table that others fill.
    table: Option<u32>,
    /// Gateways instead of those of the result, one of a family.
    gateways: Vec<IpAddr>,
    /// Whether what chooses no source still finds the subnets, with the interface's address as its source.
    source_hints: bool,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        Ok(Self {
            table: call.config.number("table")?,
            gateways: gateways(&call.config.strings("gateways")?)?,
            source_hints: call.config.boolean("addSourceHints")?.unwrap_or_default(),
        })
    }

    /// The gateway of `ip`; and whether it goes before a default route that is there.
    fn gateway(&self, ip: &Ip) -> Option<(IpAddr, bool)> {
        let family = Family::of(ip.address.addr());
        let fixed = self.gateways.iter().find(|gateway| Family::of(**gateway) == family);
        fixed.map(|gateway| (*gateway, true)).or_else(|| Some((ip.gateway?, false)))
    }

    /// What is to be made for the addresses `ips` of `device`, whose routes in the main table are `routes`; tables that are
    /// `used` belong to others.
    fn fixtures(
        &self,
        device: &IfName,
        ips: &[&Ip],
        routes: &[RouteFixture],
        used: &BTreeSet<u32>,
    ) -> Vec<Fixture> {
        let rule = |ip: &Ip, table| Fixture::Rule { from: ip.address.addr().into(), table };
        if let Some(table) = self.table {
            return ips.iter().map(|ip| rule(ip, table)).collect();
        }
        let free = (FIRST_TABLE..).filter(|table| !used.contains(table));
        let mut fixtures = Vec::new();
        for (ip, table) in ips.iter().zip(free) {
            fixtures.push(rule(ip, table));
            fixtures.extend(self.of_table(device, ip, table, routes).into_iter().map(Fixture::Route));
        }
        if self.source_hints {
            fixtures.extend(ips.iter().filter_map(|ip| hint(device, ip, routes)).map(Fixture::Route));
        }
        fixtures.extend(self.moved(routes).cloned().map(Fixture::Without));
        fixtures
    }

    /// The routes of `table`, which is for what `ip` sends.
    fn of_table(&self, device: &IfName, ip: &Ip, table: u32, routes: &[RouteFixture]) -> Vec<RouteFixture> {
        let is_ours = |address: Option<IpAddr>| address.is_some_and(|address| ip.address.contains(&address));
        let general = |route: &RouteFixture| route.source.is_none() && route.via.is_none();
        let copied =
            routes.iter().filter(|route| is_ours(route.source) || is_ours(route.via) || general(route));
        let copied = copied.map(|route| RouteFixture { table: Some(table), shared: true, ..route.clone() });
        let (links, hops): (Vec<_>, Vec<_>) = copied.partition(|route| route.via.is_none());
        let default = self.gateway(ip).map(|(gateway, wins)| (default(device, gateway, table), wins));
        let is_default = |route: &RouteFixture| {
            route.to.prefix_len() == 0 && Family::of(route.to.addr()) == Family::of(ip.address.addr())
        };
        // Next hops are found by the routes before them.
        let mut all = links;
        match default {
            Some((default, true)) => {
                all.push(default);
                all.extend(hops.into_iter().filter(|route| !is_default(route)));
            }
            Some((default, false)) if !hops.iter().any(is_default) => {
                all.push(default);
                all.extend(hops);
            }
            _ => all.extend(hops),
        }
        all
    }

    /// What is taken out of the main table, what leads through others first: it comes back in the opposite order.
    fn moved<'a>(&self, routes: &'a [RouteFixture]) -> impl Iterator<Item = &'a RouteFixture> {
        let hints = self.source_hints;
        let goes = move |route: &&RouteFixture| {
            // No rule is for what link-local addresses send.
            !(is_link_local(route.to) || hints && route.scope == Some(SCOPE_LINK))
        };
        let (links, hops): (Vec<_>, Vec<_>) =
            routes.iter().filter(goes).partition(|route| route.via.is_none());
        hops.into_iter().chain(links)
    }
}

fn is_link_local(net: IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

fn default(device: &IfName, gateway: IpAddr, table: u32) -> RouteFixture {
    let everything = match gateway {
        IpAddr::V4(_) => IpNet::new_assert([0; 4].into(), 0),
        IpAddr::V6(_) => IpNet::new_assert([0_u16; 8].into(), 0),
    };
    RouteFixture { via: Some(gateway), table: Some(table), ..on_link(device, everything) }
}

fn on_link(device: &IfName, to: IpNet) -> RouteFixture {
    RouteFixture {
        side: Side::Inside,
        to,
        device: device.clone(),
        via: None,
        onlink: false,
        source: None,
        table: None,
        scope: None,
        priority: None,
        mtu: None,
        advmss: None,
        shared: true,
    }
}

/// The route to the subnet of `ip` that has it as its source, if there is none yet.
fn hint(device: &IfName, ip: &Ip, routes: &[RouteFixture]) -> Option<RouteFixture> {
    let (subnet, source) = (ip.address.trunc(), Some(ip.address.addr()));
    let is_it = |route: &RouteFixture| {
        route.to == subnet && route.source == source && route.scope == Some(SCOPE_LINK)
    };
    let hint = RouteFixture { source, scope: Some(SCOPE_LINK), ..on_link(device, subnet) };
    (!routes.iter().any(is_it)).then_some(hint)
}

fn gateways(texts: &[String]) -> Result<Vec<IpAddr>, CniError> {
    if texts.len() > 2 {
        let what = "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)";
        return Err(CniError::config(what));
    }
    let mut gateways: Vec<IpAddr> = Vec::new();
    for text in texts {
        let wrong = |_| CniError::config(format!("invalid static gateway IP address: {text}"));
        let gateway: IpAddr = text.parse().map_err(wrong)?;
        if let Some(other) = gateways.iter().find(|other| other.is_ipv4() == gateway.is_ipv4()) {
            let family = if gateway.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(CniError::config(format!(
                "gateways list contains multiple {family} addresses: {other} and {gateway}"
            )));
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}

/// The addresses of the interface: all but those that are said to be on another.
fn ours<'a>(call: &Call, prev: &'a CniResult) -> Result<Vec<&'a Ip>, CniError> {
    if prev.ips.is_empty() {
        let what = format!("No IP addresses supplied on interface: {}", call.ifname);
        return Err(CniError::config(what));
    }
    let is_ours = |ip: &&Ip| prev.interface_of(ip).is_none_or(|interface| interface.name == call.ifname);
    Ok(prev.ips.iter().filter(is_ours).collect())
}

impl Plugin for Sbr {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        let prev = call.prev.as_ref();
        let prev = prev.ok_or_else(|| CniError::config("This plugin must be called as chained plugin"))?;
        let ips = ours(call, prev)?;
        let device: IfName = call.ifname.parse()?;
        let (netns, kernel) = (call.netns()?, host.engine()?.kernel());
        let (routes, used) = match config.table {
            Some(_) => Default::default(),
            None => (kernel.routes_of(netns, &device)?, kernel.tables_in_use(netns)?),
        };
        let fixtures = config.fixtures(&device, &ips, &routes, &used);
        let part = Part { owner: NAME.to_owned(), fixtures, ..Part::default() };
        call.fit(host, (part, Guests::default()), found(call, prev, None), false)?;
        Ok(prev.clone())
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.unfit(host, NAME).map(drop)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?;
        call.compare(host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.collect(host)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{addressed, call};
    use super::*;

    fn net1() -> IfName {
        "eth0".parse().unwrap()
    }

    /// A route to `to`; `by` is ` via GATEWAY` or ` src SOURCE`.
    fn route(to: &str, via: Option<&str>, source: Option<&str>) -> RouteFixture {
        let scope = Some(if via.is_none() && !to.contains(':') { SCOPE_LINK } else { 0 });
        let address = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let to = to.parse().unwrap();
        let (via, source) = (address(via), address(source));
        RouteFixture { via, source, scope, shared: false, ..on_link(&net1(), to) }
    }

    /// What is made for `ips`, a line each.
    fn made(rest: &str, ips: &[&str], routes: &[RouteFixture], used: &[u32]) -> Vec<String> {
        let config = Config::read(&call("", rest)).unwrap();
        let result = addressed(ips);
        let ips: Vec<&Ip> = result.ips.iter().collect();
        let fixtures = config.fixtures(&net1(), &ips, routes, &used.iter().copied().collect());
        let brief = |text: String| text.replace(" dev eth0", "").replace(" in the sandbox", "");
        fixtures.iter().map(|fixture| brief(fixture.to_string())).collect()
    }

    fn usual() -> Vec<RouteFixture> {
        vec![
            route("0.0.0.0/0", Some("192.168.1.1"), None),
            route("192.168.1.0/24", None, Some("192.168.1.209")),
            route("192.168.2.0/24", Some("192.168.1.2"), None),
            route("fe80::/64", None, None),
        ]
    }

    #[test]
    fn routes_go_over_to_a_free_table() {
        let expected = [
            "rule from 192.168.1.209/32 table 101",
            "route to 192.168.1.0/24 table 101",
            "route to fe80::/64 table 101",
            "route to 0.0.0.0/0 via 192.168.1.1 table 101",
            "route to 192.168.2.0/24 via 192.168.1.2 table 101",
            "no route to 0.0.0.0/0 via 192.168.1.1",
            "no route to 192.168.2.0/24 via 192.168.1.2",
            "no route to 192.168.1.0/24",
        ];
        assert_eq!(made(r#""x": 0"#, &["192.168.1.209/24 192.168.1.1"], &usual(), &[100, 254]), expected);
    }

    #[test]
    fn a_default_route_is_made_if_there_is_none() {
        let lines = made(r#""x": 0"#, &["192.168.1.209/24 192.168.1.1"], &[], &[]);
        let expected =
            ["rule from 192.168.1.209/32 table 100", "route to 0.0.0.0/0 via 192.168.1.1 table 100"];
        assert_eq!(lines, expected);
        let fixed = made(r#""gateways": ["192.168.1.9"]"#, &["192.168.1.209/24 192.168.1.1"], &usual(), &[]);
        assert!(fixed.contains(&"route to 0.0.0.0/0 via 192.168.1.9 table 100".to_owned()), "{fixed:#?}");
        assert!(!fixed.contains(&"route to 0.0.0.0/0 via 192.168.1.1 table 100".to_owned()), "{fixed:#?}");
    }

    #[test]
    fn each_address_has_its_table_and_what_is_within_its_subnet() {
        let mut routes = usual();
        routes.push(route("192.168.101.0/24", None, Some("192.168.101.209")));
        let ips = ["192.168.1.209/24 192.168.1.1", "192.168.101.209/24 192.168.101.1", "fd00::10/64 fd00::1"];
        let lines = made(r#""x": 0"#, &ips, &routes, &[101]);
        for line in [
            "rule from 192.168.101.209/32 table 102",
            "route to 192.168.101.0/24 table 102",
            "route to 0.0.0.0/0 via 192.168.101.1 table 102",
            "rule from fd00::10/128 table 103",
            "route to ::/0 via fd00::1 table 103",
            "route to fe80::/64 table 103",
        ] {
            assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
        }
        assert!(!lines.contains(&"route to 192.168.101.0/24 table 100".to_owned()), "{lines:#?}");
    }

    #[test]
    fn a_table_of_others_gets_rules_alone() {
        let lines =
            made(r#""table": 5000"#, &["192.168.1.209/24 192.168.1.1", "fd00::1/64"], &usual(), &[5000]);
        assert_eq!(lines, ["rule from 192.168.1.209/32 table 5000", "rule from fd00::1/128 table 5000"]);
    }

    #[test]
    fn hints_leave_subnets_in_the_main_table() {
        let lines = made(r#""addSourceHints": true"#, &["192.168.1.209/24"], &usual(), &[]);
        assert!(lines.contains(&"no route to 192.168.2.0/24 via 192.168.1.2".to_owned()), "{lines:#?}");
        assert!(!lines.contains(&"no route to 192.168.1.0/24".to_owned()), "{lines:#?}");
        let lines = made(r#""addSourceHints": true"#, &["192.168.1.209/24"], &[], &[]);
        assert_eq!(lines.last().unwrap(), "route to 192.168.1.0/24");
    }

    #[test]
    fn wrong_gateways_are_named() {
        let refused =
            |list: &str| Config::read(&call("", &format!(r#""gateways": {list}"#))).unwrap_err().msg;
        assert_eq!(refused(r#"["x"]"#), "invalid static gateway IP address: x");
        let twice = "gateways list contains multiple IPv4 addresses: 10.0.0.1 and 10.0.0.2";
        assert_eq!(refused(r#"["10.0.0.1", "10.0.0.2"]"#), twice);
        assert!(refused(r#"["10.0.0.1", "fd00::1", "fd00::2"]"#).contains("more than 2 entries"));
    }

    #[test]
    fn addresses_of_other_interfaces_are_not_touched() {
        let call = call(
            "",
            r#""prevResult": {"interfaces": [{"name": "eth0"}, {"name": "net7"}], "ips": [
                {"address": "10.0.0.1/24"}, {"address": "10.0.0.2/24", "interface": 0},
                {"address": "10.0.0.3/24", "interface": 1}, {"address": "10.0.0.4/24", "interface": 9}]}"#,
        );
        let ours = ours(&call, call.prev.as_ref().unwrap()).unwrap();
        let ours: Vec<String> = ours.iter().map(|ip| ip.address.addr().to_string()).collect();
        assert_eq!(ours, ["10.0.0.1", "10.0.0.2", "10.0.0.4"]);
    }
}
