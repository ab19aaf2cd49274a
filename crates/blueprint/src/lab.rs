//! A lab as its file describes it: every value read, every name that it refers to looked up in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use linkspan_engine::{DEFAULT, NetworkRequest, SandboxRequest};
use linkspan_model::{
    BridgeOptions, Driver, Invalid, IpamRequest, Name, NetAttach, NetSpec, Network, ParentOptions, Uplink,
    nearest,
};
use toml::Spanned;

use crate::check::Check;
use crate::file::{Command, File, NetworkTable, SandboxTable};
use crate::order::levels;
use crate::text::{Many, Source, Text};

/// The label of what belongs to a lab; its value is the lab's name.
pub const LABEL: &str = "linkspan.lab";
const UPLINK: &str = "linkspan.uplink";

/// Networks, sandboxes with their programs, and checks.
#[derive(Debug)]
pub struct Lab {
    /// Its name.
    pub name: Name,
    /// Its networks, each with its label. Those that others are plugged into come first.
    pub networks: Vec<Vec<NetworkRequest>>,
    /// Its sandboxes. Those that others share or link to come first.
    pub sandboxes: Vec<Vec<Member>>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// A sandbox of a lab.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it is, with its label.
    pub request: SandboxRequest,
    /// Programs to keep running in it.
    pub programs: Vec<Command>,
}

impl Member {
    /// The networks that it is to be on.
    pub fn attachments(&self) -> Vec<NetAttach> {
        let attach = |spec: &NetSpec| match spec {
            NetSpec::Attach(attach) => Some(attach.clone()),
            _ => None,
        };
        match self.request.nets.as_slice() {
            [] => vec![NetAttach::to(DEFAULT)],
            specs => specs.iter().filter_map(attach).collect(),
        }
    }
}

impl Lab {
    /// Reads the text of the file `path`.
    ///
    /// # Errors
    /// Where in the file what is wrong, and what is known instead.
    pub fn read(path: &Path, text: &str) -> Result<Self, Invalid> {
        let source = Source { path, text };
        let file: File = toml::from_str(text).map_err(|error| source.refused(&error))?;
        let name = match file.name {
            Some(Text(name)) => name,
            None => named_after(path)?,
        };
        let reader = Reader { source, lab: &name };
        let networks = reader.networks(file.network)?;
        let members = reader.members(file.sandbox)?;
        let known: BTreeSet<_> = members.iter().flatten().map(|member| member.request.name.clone()).collect();
        let check = |table: Spanned<_>| {
            let at = table.span().start;
            Check::read(table.into_inner(), &known).map_err(|what| reader.source.error(at, what))
        };
        let checks = file.check.into_iter().map(check).collect::<Result<_, _>>()?;
        Ok(Self { networks, sandboxes: members, checks, name })
    }

    /// Every network, in order.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkRequest> {
        self.networks.iter().flatten()
    }

    /// Every sandbox, in order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.sandboxes.iter().flatten()
    }
}

fn named_after(path: &Path) -> Result<Name, Invalid> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    stem.parse().map_err(|error: Invalid| error.hint("give the lab a name in the file: name = \"NAME\""))
}

struct Reader<'a> {
    source: Source<'a>,
    lab: &'a Name,
}

type Tables<T> = BTreeMap<Text<Name>, Spanned<T>>;

impl Reader<'_> {
    fn networks(&self, tables: Tables<NetworkTable>) -> Result<Vec<Vec<NetworkRequest>>, Invalid> {
        let mut requests = BTreeMap::new();
        let mut plugged = BTreeMap::new();
        for (Text(name), table) in tables {
            let at = table.span().start;
            let request = self.network(name.clone(), table.into_inner());
            let refused = |error: Invalid| self.within(at, &format!("network '{name}'"), error);
            check(&request).map_err(refused)?;
            let core = uplink(&request).into_iter().collect();
            plugged.insert(name.clone(), core);
            requests.insert(name, request);
        }
        let order = levels("network", &plugged)?;
        Ok(sorted(order, &mut requests))
    }

    fn network(&self, name: Name, table: NetworkTable) -> NetworkRequest {
        let mut options = texts(table.options);
        if let Some(Text(uplink)) = table.uplink {
            options.insert(UPLINK.to_owned(), uplink.to_string());
        }
        NetworkRequest {
            name,
            driver: table.driver.map_or(Driver::Bridge, |Text(driver)| driver),
            ipam: IpamRequest {
                subnets: values(table.subnet),
                ranges: values(table.ip_range),
                gateways: values(table.gateway),
                aux: texts(table.aux_address),
            },
            ipam_driver: table.ipam_driver.unwrap_or_else(|| "default".to_owned()),
            ipam_options: texts(table.ipam_options),
            options,
            labels: self.labelled(table.labels),
            internal: table.internal,
            ipv4: table.ipv4.unwrap_or(true),
            ipv6: table.ipv6,
        }
    }

    fn members(&self, tables: Tables<SandboxTable>) -> Result<Vec<Vec<Member>>, Invalid> {
        let spans: BTreeMap<_, _> =
            tables.iter().map(|(name, table)| (name.0.clone(), table.span().start)).collect();
        let mut members = BTreeMap::new();
        let mut needed = BTreeMap::new();
        for (Text(name), table) in tables {
            let member = self.member(name.clone(), table.into_inner());
            for other in needs(&member) {
                if !spans.contains_key(&other) {
                    let what = format!("sandbox '{name}': there is no sandbox '{other}' in this file");
                    let error = self.source.error(spans[&name], what);
                    let like = nearest(other.as_str(), spans.keys().map(Name::as_str));
                    return Err(like
                        .into_iter()
                        .fold(error, |e, like| e.hint(format!("did you mean {like}?"))));
                }
            }
            needed.insert(name.clone(), needs(&member).collect());
            members.insert(name, member);
        }
        let order = addressed_first(&members, &needed)?;
        Ok(sorted(order, &mut members))
    }

    fn member(&self, name: Name, table: SandboxTable) -> Member {
        let of_process = table.pid.map(|pid| format!("/proc/{pid}/ns/net").into());
        let request = SandboxRequest {
            nets: table.net.0.into_iter().map(|entry| entry.0).collect(),
            publish: values(table.publish),
            publish_all: table.publish_all,
            expose: values(table.expose),
            links: values(table.link),
            hostname: table.hostname.map(|Text(name)| name.into()),
            dns: values(table.dns),
            add_hosts: values(table.add_host),
            namespace: table.netns.map(|path| std::path::absolute(&path).unwrap_or(path)).or(of_process),
            labels: self.labelled(table.labels),
            ..SandboxRequest::new(name)
        };
        Member { request, programs: table.run.0 }
    }

    fn labelled(&self, labels: BTreeMap<String, Text<String>>) -> BTreeMap<String, String> {
        let mut labels = texts(labels);
        labels.insert(LABEL.to_owned(), self.lab.to_string());
        labels
    }

    /// `error` at a place of the file, in an object.
    fn within(&self, at: usize, object: &str, error: Invalid) -> Invalid {
        let placed = self.source.error(at, format!("{object}: {}", error.what));
        Invalid { what: placed.what, cause: error.cause.or(placed.cause), hint: error.hint }
    }
}

fn refuse_unconfirmed(options: &BridgeOptions) -> Result<(), Invalid> {
    match options.confirm {
        None => Ok(()),
        Some(_) => Err(Invalid::new("nobody confirms a network of a file")
            .because("its sandboxes are attached to it at once")
            .hint("leave out linkspan.uplink.confirm, or make the network with `linkspan network create`")),
    }
}

/// What can be told of a network before it is made.
fn check(request: &NetworkRequest) -> Result<(), Invalid> {
    if Network::PREDEFINED.contains(&request.name.as_str()) {
        return Err(Invalid::new("it always exists").hint("choose another name"));
    }
    match request.driver {
        Driver::Macvlan | Driver::Ipvlan => drop(ParentOptions::parse(request.driver, &request.options)?),
        _ => refuse_unconfirmed(&BridgeOptions::parse(&request.options)?)?,
    }
    if request.ipam.subnets.is_empty() && brings_along(request) {
        return Ok(());
    }
    request.ipam.clone().pools().map(drop)
}

/// Whether a network is on something that has subnets and gateways of its own.
pub fn brings_along(request: &NetworkRequest) -> bool {
    request.options.contains_key(UPLINK) || request.driver != Driver::Bridge
}

/// The network that this one is plugged into.
pub fn uplink(request: &NetworkRequest) -> Option<Name> {
    match request.options.get(UPLINK)?.parse() {
        Ok(Uplink::Network(core)) => Some(core),
        _ => None,
    }
}

/// The sandboxes that have to be there before `member`.
fn needs(member: &Member) -> impl Iterator<Item = Name> {
    let shared = member.request.nets.iter().filter_map(|spec| match spec {
        NetSpec::Container(other) => Some(other.clone()),
        _ => None,
    });
    shared.chain(member.request.links.iter().map(|link| link.sandbox.clone()))
}

/// Sandboxes in levels by what they `need`. Those that ask for addresses come, with what they need, before those that
/// take any: these could take what is asked for.
fn addressed_first(
    members: &BTreeMap<Name, Member>,
    needed: &BTreeMap<Name, BTreeSet<Name>>,
) -> Result<Vec<Vec<Name>>, Invalid> {
    let asks = |name: &Name| {
        members[name].attachments().iter().any(|attach| attach.ip.is_some() || attach.ip6.is_some())
    };
    levels("sandbox", needed)?;
    let mut first: BTreeSet<Name> = needed.keys().filter(|name| asks(name)).cloned().collect();
    loop {
        let more: Vec<_> =
            first.iter().flat_map(|name| &needed[name]).filter(|n| !first.contains(*n)).cloned().collect();
        if more.is_empty() {
            break;
        }
        first.extend(more);
    }
    let (early, late): (BTreeMap<_, _>, BTreeMap<_, _>) =
        needed.clone().into_iter().partition(|(name, _)| first.contains(name));
    let mut order = Vec::new();
    for level in levels("sandbox", &early)? {
        let (asking, taking): (Vec<_>, Vec<_>) = level.into_iter().partition(|name| asks(name));
        order.extend([asking, taking]);
    }
    order.extend(levels("sandbox", &late)?);
    order.retain(|level| !level.is_empty());
    Ok(order)
}

fn sorted<T>(order: Vec<Vec<Name>>, all: &mut BTreeMap<Name, T>) -> Vec<Vec<T>> {
    order.into_iter().map(|level| level.iter().filter_map(|name| all.remove(name)).collect()).collect()
}

fn values<T>(many: Many<Text<T>>) -> Vec<T> {
    many.0.into_iter().map(|Text(value)| value).collect()
}

fn texts<T>(map: BTreeMap<String, Text<T>>) -> BTreeMap<String, T> {
    map.into_iter().map(|(key, Text(value))| (key, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> String {
        let lab = Lab::read(Path::new("lab.toml"), text).unwrap();
        let name = |member: &Member| member.request.name.to_string();
        let level = |level: &Vec<Member>| level.iter().map(name).collect::<Vec<_>>().join(" ");
        lab.sandboxes.iter().map(level).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn who_asks_for_an_address_comes_before_who_takes_any() {
        let text = "network.lan.subnet = '10.7.0.0/24'
            sandbox.a.net = 'lan'
            sandbox.b.net = { network = 'lan', ip = '10.7.0.2' }
            sandbox.c = { net = 'lan', link = 'd' }
            sandbox.d.net = 'lan'
            sandbox.e = { net = 'lan,ip=10.7.0.3', link = 'f' }
            sandbox.f.net = 'lan'
            sandbox.g.net = 'container:b'";
        assert_eq!(order(text), "b | f | e | a d g | c");
    }

    #[test]
    fn a_network_that_waits_to_be_confirmed_is_not_for_a_file() {
        let text = "network.lan = { uplink = 'eth0', options = { 'linkspan.uplink.confirm' = '30s' } }";
        let refusal = Lab::read(Path::new("lab.toml"), text).unwrap_err();
        assert!(refusal.hint.unwrap().contains("leave out linkspan.uplink.confirm"));
    }

    #[test]
    fn a_lab_is_named_after_its_file_and_marks_what_is_its() {
        let lab = Lab::read(Path::new("/tmp/office.toml"), "network.lan.labels.team = 'blue'").unwrap();
        let labels = &lab.networks[0][0].labels;
        assert_eq!((labels[LABEL].as_str(), labels["team"].as_str()), ("office", "blue"));
        assert!(Lab::read(Path::new("/tmp/no good.toml"), "").unwrap_err().hint.unwrap().contains("name = "));
    }
}
