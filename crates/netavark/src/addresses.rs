//! Which addresses and routes a container gets, by what Podman says of it and of the network.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Error, Network, PerNetwork, Route, Subnet, status};

/// The metric of routes that are given none, but a device's default ones.
pub const METRIC: u32 = 100;

/// Addresses and routes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The container's, each with its subnet's gateway, in the order of the subnets.
    pub container: Vec<status::Address>,
    /// The host's, one of each subnet that has a gateway, with the length of its prefix.
    pub gateways: Vec<IpNet>,
    /// Routes beside the default ones.
    pub routes: Vec<StaticRoute>,
    /// Whether a subnet is of IPv6.
    pub has_ipv6: bool,
    /// Whether a DHCP server is to be asked.
    pub is_dhcp: bool,
}

/// What becomes of a packet that takes a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// It goes to the next hop.
    Via(IpAddr),
    /// It vanishes.
    Blackhole,
    /// The sender is told that nobody is reached.
    Unreachable,
    /// The sender is told that it may not.
    Prohibit,
}

/// A route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaticRoute {
    /// Where it leads.
    pub to: IpNet,
    /// How.
    pub way: Way,
    /// Its metric.
    pub metric: u32,
}

impl Addresses {
    /// Reads them.
    ///
    /// # Errors
    /// In the reference's words, which its users match.
    pub fn read(per: &PerNetwork, network: &Network) -> Result<Self, Error> {
        let driver = network.ipam_options.as_ref().and_then(|options| options.get("driver"));
        match driver.map(String::as_str) {
            None | Some("host-local") => Self::given(per, network),
            Some("none") => Ok(Self::default()),
            Some("dhcp") => Ok(Self { is_dhcp: true, ..Self::default() }),
            Some(other) => Err(Error::new(format!("unsupported ipam driver {other}"))),
        }
    }

    fn given(per: &PerNetwork, network: &Network) -> Result<Self, Error> {
        let statics = per.static_ips.as_ref().ok_or_else(|| Error::new("no static ips provided"))?;
        let subnets = network.subnets.as_deref().unwrap_or_default();
        refuse_overlaps(subnets)?;
        let mut addresses = Self::default();
        for Subnet { subnet, gateway, .. } in subnets {
            let with_prefix = |address: IpAddr| IpNet::new_assert(address, subnet.prefix_len());
            if let Some(gateway) = gateway {
                if gateway.is_ipv4() != subnet.addr().is_ipv4() {
                    let what = format!("failed to parse address {gateway}/{}", subnet.prefix_len());
                    return Err(Error::new(what));
                }
                addresses.gateways.push(with_prefix(*gateway));
            }
            addresses.has_ipv6 |= subnet.addr().is_ipv6();
            let ours = statics.iter().filter(|address| subnet.contains(*address));
            let ours =
                ours.map(|address| status::Address { gateway: *gateway, ipnet: with_prefix(*address) });
            addresses.container.extend(ours);
        }
        let (wanted, found) = (statics.len(), addresses.container.len());
        if network.subnets.is_some() && wanted != found {
            let what = format!("not all static IPs matched a subnet: expected {wanted}, got {found}");
            return Err(Error::new(what));
        }
        let routes = network.routes.iter().flatten().map(StaticRoute::read);
        Ok(Self { routes: routes.collect::<Result<_, _>>()?, ..addresses })
    }

    /// The first gateway of each family.
    pub fn default_gateways(&self) -> Vec<IpAddr> {
        let first = |is_ipv4: bool| self.gateways.iter().find(|net| net.addr().is_ipv4() == is_ipv4);
        [true, false].into_iter().filter_map(first).map(IpNet::addr).collect()
    }
}

impl StaticRoute {
    fn read(route: &Route) -> Result<Self, Error> {
        let Route { destination: to, gateway, metric, route_type } = route;
        let blocking = match route_type.as_deref() {
            None | Some("" | "unicast") => None,
            Some("blackhole") => Some((Way::Blackhole, "BlackHole")),
            Some("unreachable") => Some((Way::Unreachable, "Unreachable")),
            Some("prohibit") => Some((Way::Prohibit, "Prohibit")),
            Some(other) => return Err(Error::new(format!("invalid route type \"{other}\""))),
        };
        let way = match (blocking, gateway) {
            (None, None) => {
                return Err(Error::new(format!("route {to} requires a gateway for type unicast")));
            }
            (Some((_, name)), Some(_)) => {
                return Err(Error::new(format!("route {to} must not have a gateway for type {name}")));
            }
            (Some((way, _)), None) => way,
            (None, Some(via)) if via.is_ipv4() == to.addr().is_ipv4() => Way::Via(*via),
            (None, Some(via)) => {
                let family = |is_ipv4| if is_ipv4 { "ipv4" } else { "ipv6" };
                return Err(Error::new(format!(
                    "route with {} destination and {} gateway ({to} via {via})",
                    family(to.addr().is_ipv4()),
                    family(via.is_ipv4())
                )));
            }
        };
        Ok(Self { to: *to, way, metric: metric.unwrap_or(METRIC) })
    }
}

/// That no two subnets overlap.
///
/// # Errors
/// Naming the first two that do.
pub fn refuse_overlaps(subnets: &[Subnet]) -> Result<(), Error> {
    for (index, Subnet { subnet: one, .. }) in subnets.iter().enumerate() {
        for Subnet { subnet: other, .. } in &subnets[index + 1..] {
            if one == other {
                return Err(Error::new(format!("duplicate subnet defined: {one}")));
            }
            if one.contains(&other.network()) || other.contains(&one.network()) {
                return Err(Error::new(format!("overlapping subnets: {one} and {other}")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(per: &str, network: &str) -> Result<Addresses, Error> {
        let per = serde_json::from_str(&format!(r#"{{"interface_name":"eth0"{per}}}"#)).unwrap();
        Addresses::read(&per, &serde_json::from_str(network).unwrap())
    }

    #[test]
    fn every_address_goes_with_its_subnet() {
        let found = read(
            r#","static_ips":["10.1.0.5","10.1.0.6","fd00::5"]"#,
            r#"{"subnets":[{"subnet":"fd00::/64","gateway":"fd00::1"},
                {"subnet":"10.1.0.0/24","gateway":"10.1.0.1"}]}"#,
        )
        .unwrap();
        let text = |address: &status::Address| address.ipnet.to_string();
        assert_eq!(
            found.container.iter().map(text).collect::<Vec<_>>(),
            ["fd00::5/64", "10.1.0.5/24", "10.1.0.6/24"]
        );
        let gateways = ["10.1.0.1", "fd00::1"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!((found.default_gateways(), found.has_ipv6), (gateways.to_vec(), true));
    }

    #[test]
    fn what_cannot_be_is_told_in_the_words_that_others_know() {
        let subnet = r#"{"subnets":[{"subnet":"10.1.0.0/24"}]"#;
        let route = |route: &str| format!("{subnet},\"routes\":[{route}]}}");
        let ip = r#","static_ips":["10.1.0.5"]"#;
        for (per, network, words) in [
            ("", format!("{subnet}}}"), "no static ips provided"),
            (
                r#","static_ips":["10.2.0.5"]"#,
                format!("{subnet}}}"),
                "not all static IPs matched a subnet: expected 1, got 0",
            ),
            ("", r#"{"ipam_options":{"driver":"someDriver"}}"#.into(), "unsupported ipam driver someDriver"),
            (
                ip,
                r#"{"subnets":[{"subnet":"10.0.0.0/8"},{"subnet":"10.1.0.0/24"}]}"#.into(),
                "overlapping subnets: 10.0.0.0/8 and 10.1.0.0/24",
            ),
            (
                ip,
                route(r#"{"destination":"10.9.0.0/16"}"#),
                "route 10.9.0.0/16 requires a gateway for type unicast",
            ),
            (
                ip,
                route(r#"{"destination":"10.9.0.0/16","gateway":"10.1.0.1","route_type":"blackhole"}"#),
                "route 10.9.0.0/16 must not have a gateway for type BlackHole",
            ),
            (
                ip,
                route(r#"{"destination":"10.9.0.0/16","gateway":"fd00::1"}"#),
                "route with ipv4 destination and ipv6 gateway (10.9.0.0/16 via fd00::1)",
            ),
        ] {
            assert_eq!(read(per, &network).unwrap_err().to_string(), words);
        }
        assert_eq!(read("", r#"{"ipam_options":{"driver":"none"}}"#), Ok(Addresses::default()));
        assert!(read("", r#"{"ipam_options":{"driver":"dhcp"}}"#).unwrap().is_dhcp);
    }
}
