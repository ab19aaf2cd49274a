//! Sandboxes, and how the command line says what they attach to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Id, IfName, Invalid, Mac, Name, ShapingRequest, Wire, nearest};

/// Where programs in a sandbox ask for names, if they are answered there, at port 53: as in Docker's containers.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Where a sandbox's network namespace comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceSource {
    /// Made for it, and gone with it.
    New,
    /// The host's own.
    Host,
    /// That of another sandbox.
    Sandbox(Name),
    /// A file that stands for somebody else's namespace; it outlives the sandbox.
    Path(PathBuf),
    /// None: it is a virtual machine, whose endpoints are taps.
    Machine,
}

impl NamespaceSource {
    /// Whether Linkspan makes interfaces in it: neither the host's nor another sandbox's nor a machine.
    pub const fn takes_endpoints(&self) -> bool {
        matches!(self, Self::New | Self::Path(_))
    }
}

/// A name for an address in the sandbox's hosts file: `--add-host NAME:ADDRESS`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostAlias {
    /// The host name.
    pub name: String,
    /// Its address; none stands for `host-gateway`, the host as the sandbox sees it.
    pub address: Option<IpAddr>,
}

impl FromStr for HostAlias {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: String| Invalid::new(format!("'{text}' is no host entry")).because(why);
        let (name, address) = text
            .split_once([':', '='])
            .filter(|(name, _)| is_host_name(name))
            .ok_or_else(|| wrong("it takes NAME:ADDRESS, as in db:10.0.0.7".to_owned()))?;
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let address = match bare {
            "host-gateway" => None,
            _ => Some(bare.parse().map_err(|_| wrong(format!("'{address}' is no IP address")))?),
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

fn is_host_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 253 && !name.starts_with('-') && name.chars().all(allowed)
}

/// A link to another sandbox under a further name: `--link SANDBOX[:ALIAS]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkSpec {
    /// The sandbox linked to.
    pub sandbox: Name,
    /// What it is called here.
    pub alias: Name,
}

impl FromStr for LinkSpec {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (sandbox, alias) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { sandbox: sandbox.parse()?, alias: alias.parse()? })
    }
}

/// A network to attach to, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetAttach {
    /// The network's name, identity or the beginning of its identity.
    pub network: String,
    /// The IPv4 address wanted.
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address wanted.
    pub ip6: Option<Ipv6Addr>,
    /// The MAC wanted; by default it follows the address.
    pub mac: Option<Mac>,
    /// Further names on this network.
    pub aliases: Vec<Name>,
    /// The interface's name inside; of a tap the name on the host.
    pub ifname: Option<IfName>,
    /// Priority for the default route.
    pub gw_priority: i32,
    /// How it is to be wired.
    pub wire: Wire,
    /// How fast it may be.
    pub shaping: ShapingRequest,
}

impl NetAttach {
    /// An attachment to `network` with everything left to choose.
    pub fn to(network: impl Into<String>) -> Self {
        Self {
            network: network.into(),
            ip: None,
            ip6: None,
            mac: None,
            aliases: Vec::new(),
            ifname: None,
            gw_priority: 0,
            wire: Wire::Veth,
            shaping: ShapingRequest::default(),
        }
    }
}

/// What `--net` takes: `NETWORK[,ip=A][,ip6=A][,mac=M][,alias=N][,ifname=N][,gw-priority=N]` and limits
/// (`[,ingress-rate=R][,ingress-burst=B][,egress-rate=R][,egress-burst=B]`), `host`, `none` or `container:NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetSpec {
    /// The host's own network.
    Host,
    /// Only loopback.
    None,
    /// The network of another sandbox.
    Container(Name),
    /// A network.
    Attach(NetAttach),
}

const KEYS: [&str; 11] = [
    "name",
    "ip",
    "ip6",
    "mac",
    "alias",
    "ifname",
    "gw-priority",
    "ingress-rate",
    "ingress-burst",
    "egress-rate",
    "egress-burst",
];

impl FromStr for NetSpec {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "host" => return Ok(Self::Host),
            "none" => return Ok(Self::None),
            _ => {}
        }
        if let Some(name) = text.strip_prefix("container:") {
            return Ok(Self::Container(name.parse()?));
        }
        let mut attach = NetAttach::to("");
        let mut given = Vec::new();
        for (index, field) in text.split(',').enumerate() {
            let (key, value) = match field.split_once('=') {
                Some(pair) => pair,
                None if index == 0 => ("name", field),
                None => return Err(Invalid::new(format!("network '{text}': '{field}' has no value"))),
            };
            if given.contains(&key) && key != "alias" {
                return Err(Invalid::new(format!("network '{text}': {key} is given twice")));
            }
            given.push(key);
            set_field(&mut attach, key, value)
                .map_err(|e| Invalid { what: format!("network '{text}': {}", e.what), ..e })?;
        }
        if attach.network.is_empty() {
            return Err(
                Invalid::new(format!("network '{text}' has no name")).hint("write NETWORK[,ip=A][,mac=M]...")
            );
        }
        Ok(Self::Attach(attach))
    }
}

fn set_field(attach: &mut NetAttach, key: &str, value: &str) -> Result<(), Invalid> {
    let wrong = |wanted: &str| Invalid::new(format!("'{value}' is no {wanted}"));
    match key {
        "name" => value.clone_into(&mut attach.network),
        "ip" => attach.ip = Some(value.parse().map_err(|_| wrong("IPv4 address"))?),
        "ip6" => attach.ip6 = Some(value.parse().map_err(|_| wrong("IPv6 address"))?),
        "mac" => attach.mac = Some(value.parse()?),
        "alias" => attach.aliases.push(value.parse()?),
        "ifname" => attach.ifname = Some(value.parse()?),
        "gw-priority" => attach.gw_priority = value.parse().map_err(|_| wrong("whole number"))?,
        "ingress-rate" => attach.shaping.ingress_rate = Some(value.parse()?),
        "ingress-burst" => attach.shaping.ingress_burst = Some(value.parse()?),
        "egress-rate" => attach.shaping.egress_rate = Some(value.parse()?),
        "egress-burst" => attach.shaping.egress_burst = Some(value.parse()?),
        _ => {
            let error = Invalid::new(format!("unknown field '{key}'"));
            return Err(match nearest(key, KEYS) {
                Some(known) => error.hint(format!("did you mean {known}?")),
                None => error.hint(format!("known fields: {}", KEYS.join(", "))),
            });
        }
    }
    Ok(())
}

/// A network namespace with its endpoints, under a name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its identity.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Where its namespace comes from.
    pub namespace: NamespaceSource,
    /// Its host name.
    pub hostname: String,
    /// Name servers instead of the host's.
    pub dns: Vec<IpAddr>,
    /// Entries of its hosts file.
    pub add_hosts: Vec<HostAlias>,
    /// Other sandboxes under further names.
    pub links: Vec<LinkSpec>,
    /// Whether it lives only as long as the `run` that made it.
    pub ephemeral: bool,
    /// Labels, for people and their tools.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What its namespace is called in /run/netns, if not by its own name: it was found there.
    #[serde(default)]
    pub netns: Option<Name>,
    /// Whether it is a runtime's container: that looks after its files, and it goes with its last endpoint.
    #[serde(default)]
    pub of_runtime: bool,
}

impl Sandbox {
    /// What its namespace is called in /run/netns.
    pub fn netns_name(&self) -> &Name {
        self.netns.as_ref().unwrap_or(&self.name)
    }

    /// The file in /run/netns that stands for its namespace, where `ip netns` looks.
    pub fn pin(&self) -> PathBuf {
        Path::new("/run/netns").join(self.netns_name().as_str())
    }

    /// Whether Linkspan makes and removes the pin: not if the namespace was given by that very file, and not for a
    /// machine, which has none.
    pub fn owns_pin(&self) -> bool {
        match &self.namespace {
            NamespaceSource::Path(path) => self.netns.is_none() && *path != self.pin(),
            NamespaceSource::Machine => false,
            NamespaceSource::New | NamespaceSource::Host | NamespaceSource::Sandbox(_) => true,
        }
    }

    /// Whether it goes when it has no endpoint any more.
    pub fn goes_with_last_endpoint(&self) -> bool {
        self.is_machine() || self.of_runtime
    }

    /// Whether names are answered in its namespace, with these endpoints: it asks 127.0.0.11 then.
    pub fn is_answered<'a>(&self, endpoints: impl IntoIterator<Item = &'a Endpoint>) -> bool {
        self.namespace.takes_endpoints() && endpoints.into_iter().any(|endpoint| endpoint.named)
    }

    /// Whether it is a virtual machine.
    pub fn is_machine(&self) -> bool {
        self.namespace == NamespaceSource::Machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_network_specs() {
        assert_eq!("host".parse::<NetSpec>().unwrap(), NetSpec::Host);
        assert_eq!("container:web".parse::<NetSpec>().unwrap(), NetSpec::Container("web".parse().unwrap()));
        let NetSpec::Attach(attach) =
            "n1,ip=10.0.0.9,mac=02:00:00:00:00:01,alias=db,alias=sql,ifname=lan0,gw-priority=-3"
                .parse()
                .unwrap()
        else {
            panic!("not an attachment")
        };
        assert_eq!((attach.network.as_str(), attach.gw_priority, attach.aliases.len()), ("n1", -3, 2));
        let NetSpec::Attach(attach) =
            "n1,ingress-rate=10mbit,ingress-burst=64kb,egress-rate=1gbit".parse().unwrap()
        else {
            panic!("not an attachment")
        };
        let shaping = attach.shaping.settle(1500).unwrap();
        assert_eq!(shaping.ingress.unwrap().to_string(), "10mbit burst 64kb");
        assert_eq!(shaping.egress.unwrap().rate.to_string(), "1gbit");
    }

    #[test]
    fn refuses_bad_network_specs() {
        for bad in
            ["", ",ip=1.2.3.4", "n,ip=x", "n,foo=1", "n,junk", "container:", "n,ifname=sixteen-letters!"]
        {
            assert!(bad.parse::<NetSpec>().is_err(), "{bad}");
        }
        for twice in ["n,ip=10.0.0.2,ip=10.0.0.2", "n,ifname=a,ifname=b", "n,name=m"] {
            assert!(twice.parse::<NetSpec>().is_err(), "{twice}");
        }
        assert_eq!("n,alais=x".parse::<NetSpec>().unwrap_err().hint.unwrap(), "did you mean alias?");
    }

    #[test]
    fn reads_hosts_and_links() {
        let host: HostAlias = "db:10.0.0.7".parse().unwrap();
        assert_eq!(host.address, Some("10.0.0.7".parse().unwrap()));
        assert_eq!("gw:host-gateway".parse::<HostAlias>().unwrap().address, None);
        assert_eq!("v6:[fd00::1]".parse::<HostAlias>().unwrap().address, Some("fd00::1".parse().unwrap()));
        assert!("db".parse::<HostAlias>().is_err() && "a b:1.2.3.4".parse::<HostAlias>().is_err());
        assert_eq!("web:w".parse::<LinkSpec>().unwrap().alias.as_str(), "w");
    }
}
