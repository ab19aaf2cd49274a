//! One host's kernel: the door that the engine goes through.

mod apply;
mod beneath;
mod devices;
mod facts;
mod fixture;
mod foreign;
mod observe;
mod ovs;
mod patch;
mod port;
mod probe;
mod settle;
mod shape;
mod uplink;
mod upper;

pub(crate) use apply::is_firewall;
pub use devices::DeviceFacts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::thread::JoinHandle;

use ipnet::IpNet;
use linkspan_model::{Fixture, IfName, Mac, Name, PortRange, Protocol};
use linkspan_plan::{
    CardFacts, Failure, HostPrefix, Inside, Kernel, KernelError, LinkFacts, ParentDevice, PortHolder, Scope,
    State, Step,
};

use crate::error::{Refusal, Result};
use crate::firewall::{self, Firewall};
use crate::netlink::{Error, Family, Message, Socket};
use crate::netns::{self, Namespace, Pin};
use crate::ovsdb::Switch;
use crate::reaper::Reaper;
use crate::rtnl::link::{self, Link};

/// The kernel of the host whose network namespace the calling thread is in.
///
/// It belongs to that thread: its sockets stay in the namespace, but sysctls are those of the thread's. A
/// namespace that it has looked into stays alive with it; open one per command, or per round.
#[derive(Debug)]
pub struct Host {
    home: Namespace,
    route: Socket,
    firewall: Option<Firewall>,
    sandboxes: BTreeMap<Name, Sandbox>,
    /// Whether the kernel has IPv6; without it, messages may not speak of it.
    ipv6: bool,
    /// Whether closing the firewall's socket would wait for deletes.
    closes_slowly: bool,
    /// A namespace that is being made for the next sandbox.
    anticipated: Option<JoinHandle<Result<Sandbox>>>,
    // Behind the firewall's socket, which it keeps open for longer.
    reaper: Option<Reaper>,
}

/// A pinned namespace that was opened.
#[derive(Debug)]
struct Sandbox {
    namespace: Namespace,
    route: Socket,
}

impl Sandbox {
    /// What every new namespace has, opened from inside.
    fn furnish(namespace: Namespace) -> Result<Self> {
        let mut route = Socket::open(Family::Route)?;
        route.batch(vec![link::up_by_name("lo")]).map_err(|error| Refusal::from(error).at("set lo up"))?;
        Ok(Self { namespace, route })
    }
}

impl Host {
    /// Opens the kernel as seen from the calling thread's network namespace.
    ///
    /// # Errors
    /// If the kernel gives no rtnetlink socket, or /proc is not there.
    pub fn open() -> std::result::Result<Self, KernelError> {
        let home = Namespace::own()
            .map_err(|error| Refusal::from(netns::errno(&error)).of("open the host's network namespace"))?;
        let route = Socket::open(Family::Route)
            .map_err(|error| Refusal::from(error).of("open a socket for links and addresses"))?;
        Ok(Self {
            home,
            route,
            firewall: None,
            sandboxes: BTreeMap::new(),
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
            closes_slowly: false,
            anticipated: None,
            reaper: None,
        })
    }

    fn firewall(&mut self) -> std::result::Result<&mut Firewall, KernelError> {
        match &mut self.firewall {
            Some(firewall) => Ok(firewall),
            none => Ok(none.insert(Firewall::open()?)),
        }
    }

    /// The namespace pinned under `name`, opened; none if there is none.
    fn sandbox(&mut self, name: &Name) -> Result<Option<&mut Sandbox>> {
        let path = netns::pin_path(name);
        let known = self.sandboxes.get(name).is_some_and(|sandbox| sandbox.namespace.is_at(&path));
        if !known {
            self.sandboxes.remove(name);
            let Pin::Alive(pinned) = Pin::look(name)? else { return Ok(None) };
            let (namespace, route) =
                pinned.within(&self.home, || (Namespace::own(), Socket::open(Family::Route)))?;
            // The file of the pin would keep its mount busy as long as a reaper is at work, and a runtime unmounts what
            // it has given as soon as its plugin has ended.
            let (namespace, route) = (namespace.map_err(|error| netns::errno(&error))?, route?);
            self.sandboxes.insert(name.clone(), Sandbox { namespace, route });
        }
        Ok(self.sandboxes.get_mut(name))
    }

    /// Refuses IPv6 addresses where the kernel has no IPv6, whose own words for that are misleading.
    fn need_ipv6(&self, nets: &BTreeSet<IpNet>) -> Result<()> {
        if self.ipv6 || !has_ipv6(nets) {
            return Ok(());
        }
        Err(no_ipv6())
    }

    /// As [`sandbox`](Self::sandbox), where it has to be there.
    fn live_sandbox(&mut self, name: &Name) -> Result<&mut Sandbox> {
        let missing = || {
            Refusal::new(
                Failure::NotFound,
                format!("no network namespace is pinned at {}", netns::pin_path(name).display()),
            )
        };
        self.sandbox(name)?.ok_or_else(missing)
    }
}

fn no_ipv6() -> Refusal {
    let hint = "use IPv4 only, or boot without ipv6.disable=1 (CONFIG_IPV6)";
    Refusal::new(Failure::Unsupported, "this kernel has no IPv6").hint(Failure::Unsupported, hint)
}

fn has_ipv6(nets: &BTreeSet<IpNet>) -> bool {
    nets.iter().any(|net| net.addr().is_ipv6())
}

/// Asks for devices; a device that is not there has no answer.
fn find_links(socket: &mut Socket, requests: Vec<Message>) -> Result<Vec<Option<Link>>> {
    find(socket, requests, Link::parse)
}

fn find<T: Clone>(
    socket: &mut Socket,
    requests: Vec<Message>,
    parse: fn(&[u8]) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let mut links = vec![None; requests.len()];
    let (answers, errors) = socket.attempt(requests)?;
    if let Some(error) = errors.into_iter().find(|error| error.errno != nix::errno::Errno::ENODEV) {
        return Err(error.into());
    }
    for answer in answers {
        links[answer.index] = parse(&answer.body);
    }
    Ok(links)
}

fn find_link(socket: &mut Socket, name: &IfName) -> Result<Option<Link>> {
    Ok(find_links(socket, vec![link::get(name)])?.into_iter().next().flatten())
}

/// A device that has to be there.
fn live_link(socket: &mut Socket, name: &IfName) -> Result<Link> {
    find_link(socket, name)?
        .ok_or_else(|| Refusal::new(Failure::NotFound, format!("there is no device {name}")))
}

/// A bridge that has to be there.
fn live_bridge(socket: &mut Socket, name: &IfName) -> Result<Link> {
    let link = live_link(socket, name)?;
    if link.kind.as_deref() == Some("bridge") { Ok(link) } else { Err(foreign(name, "bridge", &link)) }
}

/// That a device called `name` is not of the `kind` that ours is.
fn foreign(name: &IfName, kind: &str, link: &Link) -> Refusal {
    let found = link.kind.as_deref().unwrap_or("network card");
    Refusal::new(Failure::Exists, format!("{name} exists and is no {kind} but a {found}"))
        .hint(Failure::Exists, "remove or rename that device, or pick another name")
}

/// Sends messages that may find their object gone.
fn send_tolerant(socket: &mut Socket, messages: Vec<Message>, tolerated: &[nix::errno::Errno]) -> Result<()> {
    let (_, errors) = socket.attempt(messages)?;
    let bad = |error: &Error| !tolerated.contains(&error.errno);
    errors.into_iter().find(bad).map_or(Ok(()), |error| Err(error.into()))
}

impl Kernel for Host {
    fn anticipate_namespace(&mut self) {
        // If it cannot be made, whoever needs it finds out.
        if self.anticipated.is_none() {
            self.anticipated = netns::create(Sandbox::furnish).ok();
        }
    }

    fn learning(&mut self) -> std::result::Result<Vec<String>, KernelError> {
        facts::learning(&mut self.route).map_err(|refusal| refusal.of("read which devices learn routes"))
    }

    fn linger(&mut self, others: bool) {
        let held = self.reaper.is_some() && !self.closes_slowly;
        if !held
            && (self.closes_slowly || others)
            && let Some(firewall) = &self.firewall
            && let Ok(reaper) = Reaper::hold(std::os::fd::AsFd::as_fd(firewall))
        {
            self.reaper = Some(reaper);
            self.closes_slowly = false;
        }
    }

    fn observe(&mut self, scope: &Scope) -> std::result::Result<State, KernelError> {
        self.observe_scope(scope)
    }

    fn apply(&mut self, steps: &[Step]) -> std::result::Result<(), KernelError> {
        self.apply_steps(steps)
    }

    fn host_prefixes(&mut self) -> std::result::Result<Vec<HostPrefix>, KernelError> {
        facts::host_prefixes(&mut self.route)
            .map_err(|refusal| refusal.of("list the host's addresses and routes"))
    }

    fn port_holder(
        &mut self,
        protocol: Protocol,
        address: IpAddr,
        ports: PortRange,
    ) -> std::result::Result<Option<PortHolder>, KernelError> {
        firewall::port_holder(protocol, address, ports)
    }

    fn card(&mut self, name: &IfName) -> std::result::Result<Option<CardFacts>, KernelError> {
        uplink::card(&mut self.route, name).map_err(|refusal| refusal.of(format!("look at {name}")))
    }

    fn occupied(
        &mut self,
        device: &IfName,
        addresses: &[IpAddr],
    ) -> std::result::Result<Vec<(IpAddr, Mac)>, KernelError> {
        probe::occupied(&mut self.route, device, addresses)
            .map_err(|refusal| refusal.of(format!("ask on {device} who has the addresses wanted")))
    }

    fn link_facts(
        &mut self,
        pairs: &[(IfName, Name, IfName)],
    ) -> std::result::Result<Vec<Option<LinkFacts>>, KernelError> {
        let mut facts = facts::link_facts(&mut self.route, pairs)
            .map_err(|refusal| refusal.of("look up the interface numbers"))?;
        for ((_, namespace, ifname), facts) in
            pairs.iter().zip(&mut facts).filter(|(_, facts)| facts.is_none())
        {
            *facts = self
                .child_facts(namespace, ifname)
                .map_err(|refusal| refusal.of(format!("look up {ifname} in {namespace}")))?;
        }
        Ok(facts)
    }

    fn look_into(&mut self, path: &Path) -> std::result::Result<Inside, KernelError> {
        facts::look_into(path, &self.home)
            .map_err(|refusal| refusal.of(format!("use namespace {}", path.display())))
    }

    fn is_deserted(&mut self, name: &Name, source: &Path) -> std::result::Result<bool, KernelError> {
        facts::is_deserted(name, source)
            .map_err(|refusal| refusal.of(format!("see who is in the namespace of {name}")))
    }

    fn find_ovs_bridge(&mut self, bridge: &str) -> std::result::Result<(), KernelError> {
        let found = Switch::open().and_then(|mut switch| switch.bridge_kind(bridge));
        found.map(drop).map_err(|refusal| refusal.of(format!("plug a network into ovs:{bridge}")))
    }

    fn parent(&mut self, name: Option<&IfName>) -> std::result::Result<Option<ParentDevice>, KernelError> {
        self.find_parent(name).map_err(|refusal| refusal.of("look for a device to sit on"))
    }

    fn lacking(
        &mut self,
        namespace: &Name,
        fixtures: &[Fixture],
    ) -> std::result::Result<Vec<String>, KernelError> {
        self.lacking_fixtures(namespace, fixtures)
            .map_err(|refusal| refusal.of(format!("look at what {namespace} was fitted with")))
    }

    fn bridge_ports(&mut self, bridge: &IfName) -> std::result::Result<Vec<IfName>, KernelError> {
        facts::bridge_ports(&mut self.route, bridge)
            .map_err(|refusal| refusal.of(format!("list the ports of bridge {bridge}")))
    }
}
