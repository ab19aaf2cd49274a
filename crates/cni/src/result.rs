//! Results: one model with all that the newest version knows, read from and printed in every version.

use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::Family;
use serde::Serialize;

use crate::error::Code;
use crate::{CniError, Json, Object, Version, print};

/// What a plugin made, and what those before it made.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CniResult {
    /// Devices, on the host and in the container.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<Ip>,
    /// Routes in the container.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Dns,
}

/// A device.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its MTU in bytes; since 1.1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace that it is in, as the runtime named it; none for the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// The socket file of a device that is a socket; since 1.1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// The PCI device behind it; since 1.1.0.
    #[serde(rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// An address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ip {
    /// It, with the prefix of its subnet.
    pub address: IpNet,
    /// The gateway of the subnet.
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces it is on, by its place in the list.
    pub interface: Option<i64>,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The gateway; none means that of the address's subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// The MTU along the route, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The largest TCP segment to announce, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope (rtm_scope).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// Name servers and what comes with them.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Dns {
    /// Their addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Domains to look short names up in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl CniResult {
    /// Reads what another plugin printed: in its own version if it names one, else in `version`.
    ///
    /// # Errors
    /// Code 6, naming the key.
    pub fn read(object: &Object, version: Version) -> Result<Self, CniError> {
        let version = match object.text("cniVersion")? {
            None => version,
            Some(own) => Version::parse(&own).ok_or_else(|| {
                CniError::new(Code::DECODING, format!("a result has the unknown version {own:?}"))
            })?,
        };
        let dns = object.object("dns")?.map(Dns::read).transpose()?.unwrap_or_default();
        if version < Version::V030 {
            return Self::read_families(object, dns);
        }
        let read_all = |key: &str| object.objects(key);
        Ok(Self {
            interfaces: read_all("interfaces")?.iter().map(Interface::read).collect::<Result<_, _>>()?,
            ips: read_all("ips")?.iter().map(Ip::read).collect::<Result<_, _>>()?,
            routes: read_all("routes")?.iter().map(Route::read).collect::<Result<_, _>>()?,
            dns,
        })
    }

    /// The form up to 0.2.0: an address of each family, with its routes.
    fn read_families(object: &Object, dns: Dns) -> Result<Self, CniError> {
        let mut result = Self { dns, ..Self::default() };
        for key in ["ip4", "ip6"] {
            let Some(family) = object.object(key)? else { continue };
            let address = prefix(family, "ip")?;
            result.ips.push(Ip { address, gateway: address_of(family, "gateway")?, interface: None });
            for route in family.objects("routes")? {
                result.routes.push(Route::read(&route)?);
            }
        }
        Ok(result)
    }

    /// As it goes to a runtime that asked in `version`.
    ///
    /// # Errors
    /// Up to 0.2.0 a result without addresses cannot be told.
    pub fn print(&self, version: Version) -> Result<String, CniError> {
        if version < Version::V030 {
            return self.print_families(version);
        }
        let strip = |interface: &Interface| match version {
            Version::V110 => interface.clone(),
            _ => Interface { mtu: None, socket_path: None, pci_id: None, ..interface.clone() },
        };
        Ok(print::pretty(&Printed {
            cni_version: version.as_str(),
            interfaces: self.interfaces.iter().map(strip).collect(),
            ips: self.ips.iter().map(|ip| PrintedIp::new(ip, version)).collect(),
            routes: &self.routes,
            dns: &self.dns,
        }))
    }

    fn print_families(&self, version: Version) -> Result<String, CniError> {
        let family = |family: Family| {
            let ip = self.ips.iter().find(|ip| Family::of(ip.address.addr()) == family)?;
            let of_family = |route: &&Route| Family::of(route.dst.addr()) == family;
            let routes =
                self.routes.iter().filter(of_family).map(|route| Hop { dst: route.dst, gw: route.gw });
            Some(PrintedFamily { ip: ip.address, gateway: ip.gateway, routes: routes.collect() })
        };
        let (ip4, ip6) = (family(Family::V4), family(Family::V6));
        if ip4.is_none() && ip6.is_none() {
            // In the words of the reference library, which its users look for.
            return Err(CniError::other("cannot convert: no valid IP addresses"));
        }
        Ok(print::pretty(&PrintedFamilies { cni_version: version.as_str(), ip4, ip6, dns: &self.dns }))
    }

    /// The interface that `ip` is on, if it says so and there is one.
    pub fn interface_of(&self, ip: &Ip) -> Option<&Interface> {
        self.interfaces.get(usize::try_from(ip.interface?).ok()?)
    }
}

impl Interface {
    fn read(object: &Object) -> Result<Self, CniError> {
        Ok(Self {
            name: object.string("name")?.unwrap_or_default(),
            mac: object.text("mac")?,
            mtu: number(object, "mtu")?,
            sandbox: object.text("sandbox")?,
            socket_path: object.text("socketPath")?,
            pci_id: object.text("pciID")?,
        })
    }
}

impl Ip {
    fn read(object: &Object) -> Result<Self, CniError> {
        Ok(Self {
            address: prefix(object, "address")?,
            gateway: address_of(object, "gateway")?,
            interface: object.number("interface")?,
        })
    }
}

impl Route {
    /// Reads one as it stands in results and in the configuration of IPAM plugins.
    ///
    /// # Errors
    /// Code 6, naming the key.
    pub fn read(object: &Object) -> Result<Self, CniError> {
        Ok(Self {
            dst: prefix(object, "dst")?,
            gw: address_of(object, "gw")?,
            mtu: number(object, "mtu")?,
            advmss: number(object, "advmss")?,
            priority: number(object, "priority")?,
            table: object.number("table")?,
            scope: object.number("scope")?,
        })
    }

    /// A route to `dst` through `gw`, with nothing else said about it.
    pub const fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

impl Dns {
    /// Reads it as it stands in results and configurations.
    ///
    /// # Errors
    /// Code 6, naming the key.
    pub fn read(object: &Object) -> Result<Self, CniError> {
        Ok(Self {
            nameservers: object.strings("nameservers")?,
            domain: object.text("domain")?,
            search: object.strings("search")?,
            options: object.strings("options")?,
        })
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A number for which zero is the same as none.
fn number(object: &Object, key: &str) -> Result<Option<u32>, CniError> {
    Ok(object.number(key)?.filter(|number| *number != 0))
}

/// An address with its prefix, host bits and all.
fn prefix(object: &Object, key: &str) -> Result<IpNet, CniError> {
    let text = object.get(key).and_then(Json::as_str).unwrap_or_default();
    text.parse().map_err(|_| undecoded(object, key, "an address with a prefix, as in 10.1.2.3/24", text))
}

/// An address; an empty text is none.
fn address_of(object: &Object, key: &str) -> Result<Option<IpAddr>, CniError> {
    let text = object.text(key)?;
    let parse = |text: String| text.parse().map_err(|_| undecoded(object, key, "an address", &text));
    text.map(parse).transpose()
}

fn undecoded(object: &Object, key: &str, what: &str, text: &str) -> CniError {
    let because = if text.is_empty() { "it is not given".to_owned() } else { format!("it is {text:?}") };
    CniError::new(Code::DECODING, format!("key '{}' must be {what}", object.path_of(key))).because(because)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    cni_version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<PrintedIp>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: &'a [Route],
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
}

#[derive(Serialize)]
struct PrintedIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<i64>,
    address: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl PrintedIp {
    fn new(ip: &Ip, version: Version) -> Self {
        let family = if Family::of(ip.address.addr()) == Family::V4 { "4" } else { "6" };
        Self {
            version: (version < Version::V100).then_some(family),
            interface: ip.interface,
            address: ip.address,
            gateway: ip.gateway,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrintedFamilies<'a> {
    cni_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<PrintedFamily>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<PrintedFamily>,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
}

#[derive(Serialize)]
struct PrintedFamily {
    ip: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Hop>,
}

#[derive(Serialize)]
struct Hop {
    dst: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}
