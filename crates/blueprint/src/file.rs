//! The file: what may stand in it, and how it is written. `schemas/lab.schema.json` is made of these types.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use linkspan_model::{Driver, HostAlias, HostName, LinkSpec, Name, NetSpec, PublishSpec, TargetPort, Uplink};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use crate::text::{FromText, Many, Text};

/// A lab: networks, sandboxes and checks.
#[derive(Deserialize, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// The lab's name, by which what belongs to it is known again. By default the file's, without `.toml`.
    pub name: Option<Text<Name>>,
    /// Networks by name, as for `linkspan network create`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, NetworkTable>"))]
    pub network: BTreeMap<Text<Name>, Spanned<NetworkTable>>,
    /// Sandboxes by name, as for `linkspan sandbox create`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, SandboxTable>"))]
    pub sandbox: BTreeMap<Text<Name>, Spanned<SandboxTable>>,
    /// What must hold when everything is up.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<CheckTable>"))]
    pub check: Vec<Spanned<CheckTable>>,
}

/// A network, as for `linkspan network create`.
#[derive(Deserialize, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkTable {
    /// What moves the packets; by default a bridge.
    pub driver: Option<Text<Driver>>,
    /// Subnets, as 10.7.0.0/24. Without one, a free one is chosen.
    #[serde(default)]
    pub subnet: Many<Text<IpNet>>,
    /// The parts of the subnets that addresses are chosen from.
    #[serde(default)]
    pub ip_range: Many<Text<IpNet>>,
    /// The bridge's own addresses; by default the first of each subnet.
    #[serde(default)]
    pub gateway: Many<Text<IpAddr>>,
    /// Reserved addresses by name. DefaultGatewayIPv4 is the sandboxes' default gateway.
    #[serde(default)]
    pub aux_address: BTreeMap<String, Text<IpAddr>>,
    /// What gives out addresses.
    pub ipam_driver: Option<String>,
    /// Options of the IPAM driver.
    #[serde(default)]
    pub ipam_options: BTreeMap<String, Text<String>>,
    /// Options of the driver: Docker's keys and linkspan's.
    #[serde(default)]
    pub options: BTreeMap<String, Text<String>>,
    /// What the bridge is plugged into: IFACE, network:NAME or ovs:BRIDGE. Short for the option linkspan.uplink.
    pub uplink: Option<Text<Uplink>>,
    /// Reach nothing outside.
    #[serde(default)]
    pub internal: bool,
    /// Whether it has IPv4, as by default; a free subnet is chosen if none is given.
    pub ipv4: Option<bool>,
    /// Have IPv6 too; a subnet is made if none is given.
    #[serde(default)]
    pub ipv6: bool,
    /// Labels, for people and their tools.
    #[serde(default)]
    pub labels: BTreeMap<String, Text<String>>,
}

/// A sandbox, as for `linkspan sandbox create`.
#[derive(Deserialize, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SandboxTable {
    /// What to attach to: NETWORK[,ip=A][,mac=M]... or tables, or host, none, container:NAME. By default the network
    /// `bridge`.
    #[serde(default)]
    pub net: Many<NetEntry>,
    /// Ports to publish: [HOSTIP:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp].
    #[serde(default)]
    pub publish: Many<Text<PublishSpec>>,
    /// Publish every exposed port on a free host port.
    #[serde(default)]
    pub publish_all: bool,
    /// Ports that it serves, for `publish-all`.
    #[serde(default)]
    pub expose: Many<Text<TargetPort>>,
    /// Other sandboxes under further names: SANDBOX[:ALIAS].
    #[serde(default)]
    pub link: Many<Text<LinkSpec>>,
    /// The host name inside; by default the sandbox's name.
    pub hostname: Option<Text<HostName>>,
    /// Name servers instead of the host's.
    #[serde(default)]
    pub dns: Many<Text<IpAddr>>,
    /// Further names in its hosts file: NAME:ADDRESS; the address may be host-gateway.
    #[serde(default)]
    pub add_host: Many<Text<HostAlias>>,
    /// Take the namespace of this process instead of making one.
    pub pid: Option<u32>,
    /// Take this namespace instead of making one.
    pub netns: Option<PathBuf>,
    /// Labels, for people and their tools.
    #[serde(default)]
    pub labels: BTreeMap<String, Text<String>>,
    /// Programs to keep running inside, in the foreground: a line for the shell, or a list of words.
    #[serde(default)]
    pub run: Many<Command>,
}

/// Something that must hold: one of `ping`, `tcp`, `http` and `run`.
#[derive(Deserialize, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CheckTable {
    /// The sandbox that it is checked from; by default the host.
    pub from: Option<Text<Name>>,
    /// A sandbox, `host` or an address that must answer an echo request.
    pub ping: Option<String>,
    /// A sandbox, `host` or an address, and a port that must accept a connection: web:80, [fd00::5]:80.
    pub tcp: Option<String>,
    /// The same with a path, that must answer with success: web:80/index.html.
    pub http: Option<String>,
    /// A command that must succeed.
    pub run: Option<Command>,
    /// Whether it must fail instead: not be reached, or not succeed.
    #[serde(default)]
    pub fails: bool,
    /// What the page, or the command's output, must contain.
    pub contains: Option<String>,
    /// For how many seconds it may fail before it holds.
    #[cfg_attr(test, schemars(range(min = 1, max = 600)))]
    pub within: Option<u32>,
}

/// A network to attach to: a SPEC as on the command line, or a table with the same fields.
#[derive(Clone, Debug)]
pub struct NetEntry(pub NetSpec);

impl<'de> Deserialize<'de> for NetEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = NetEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(NetSpec::WANTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<NetEntry, E> {
                NetSpec::read(text).map(NetEntry).map_err(E::custom)
            }

            /// One parser reads both forms, so a table is first written as a SPEC.
            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<NetEntry, A::Error> {
                let (mut network, mut fields) = (String::new(), String::new());
                while let Some((key, values)) = table.next_entry::<String, Many<Text<String>>>()? {
                    for Text(value) in values.0 {
                        if value.contains(',') {
                            return Err(A::Error::custom(format!("'{value}' is no value of {key}")));
                        }
                        if key == "network" {
                            network = value;
                        } else {
                            fields += &format!(",{key}={value}");
                        }
                    }
                }
                if network.is_empty() {
                    return Err(A::Error::custom("the table has no network = \"NAME\""));
                }
                self.visit_str(&(network + &fields))
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

/// A program with its arguments: a line for `/bin/sh`, or a list of words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Command(pub Vec<String>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command: a line, or a list of words")
            }

            fn visit_str<E: Error>(self, line: &str) -> Result<Command, E> {
                Ok(Command(["/bin/sh", "-c", line].map(str::to_owned).into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element::<String>()? {
                    words.push(word);
                }
                if words.is_empty() {
                    Err(A::Error::custom("a command needs a program"))
                } else {
                    Ok(Command(words))
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [shell, dash, line] if shell == "/bin/sh" && dash == "-c" => f.write_str(line),
            words => f.write_str(&words.join(" ")),
        }
    }
}
