//! Devices on devices of the host: made, configured, removed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;

use ipnet::IpNet;
use linkspan_model::{ChildKind, IfName, Mac, Name, Vlan};
use linkspan_plan::{Child, Failure, KernelError, Path, Route, Shim, Step, UpperStep};
use nix::errno::Errno;

use super::apply::{Batch, IPV6_MINIMUM_MTU};
use super::observe::device_name;
use super::{Host, Sandbox, find_link, find_links, has_ipv6, live_link, send_tolerant, settle};
use crate::error::{Refusal, Result};
use crate::netlink::Error;
use crate::reaper;
use crate::rtnl::link::{self, Link};
use crate::rtnl::upper::{self, NewChild, UpperLink};
use crate::rtnl::{address, neighbour, route};
use crate::sysctl;

impl Host {
    pub(super) fn apply_upper(&mut self, step: &UpperStep) -> Result<()> {
        match step {
            UpperStep::SetUp(name) => {
                let index = live_link(&mut self.route, name)?.index;
                self.route.batch(vec![link::up(index)])?;
                settle::links(&mut self.route, &[index])
            }
            UpperStep::CreateVlan(name, vlan) => self.create_vlan(name, vlan),
            UpperStep::CreateShim(name, shim) => self.create_shim(name, shim),
            UpperStep::DeleteChild((namespace, _), mark) => self.delete_child(namespace, *mark),
            UpperStep::AddPath(to, path) => self.add_path(*to, path),
            UpperStep::DeletePath(to, path) => self.delete_path(*to, path),
            // Handled in groups.
            UpperStep::CreateChild(..) | UpperStep::DeleteVlan(_) | UpperStep::DeleteShim(_) => Ok(()),
        }
    }

    /// The sub-interfaces that `steps` would remove and that are not of our make: somebody's configuration has made them
    /// at a later boot. They stay.
    pub(super) fn foreign_vlans(&mut self, steps: &[Step]) -> Result<BTreeSet<IfName>> {
        let vlan = |step: &Step| match step {
            Step::Upper(UpperStep::DeleteVlan(name)) => Some(link::get(name)),
            _ => None,
        };
        let found = find_links(&mut self.route, steps.iter().filter_map(vlan).collect())?;
        let foreign = found.into_iter().flatten().filter(|found| found.group != link::PORTS);
        foreign.map(|found| device_name(&found.name)).collect()
    }

    fn create_vlan(&mut self, name: &IfName, vlan: &Vlan) -> Result<()> {
        let parent = live_link(&mut self.route, &vlan.link)?.index;
        let missing = "the kernel lacks 802.1Q: load the module 8021q (CONFIG_VLAN_8021Q)";
        self.route
            .batch(vec![upper::create_vlan(name, parent, vlan.id)])
            .map_err(|error| Refusal::from(error).hint(Failure::Unsupported, missing))?;
        let made = live_link(&mut self.route, name)?.index;
        settle::links(&mut self.route, &[made])
    }

    fn create_shim(&mut self, name: &IfName, shim: &Shim) -> Result<()> {
        self.need_ipv6(&shim.addresses)?;
        let parent = live_link(&mut self.route, &shim.parent)?;
        let (kind, mtu, mac) = (shim.kind, shim.mtu, shim.mac);
        let new = NewChild { name, parent: parent.index, kind, mtu, mac, inside: None };
        self.route
            .batch(vec![upper::create_child(&new)])
            .map_err(|error| not_created(error, kind, &shim.parent, None))?;
        let made = live_link(&mut self.route, name)?;
        let silent = self.ipv6 && made.mtu >= IPV6_MINIMUM_MTU;
        if silent {
            sysctl::write_if_there(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
            sysctl::allow_ipv6(name)?;
        }
        let mut messages = vec![upper::prepare_shim(made.index, silent)];
        messages.extend(shim.addresses.iter().map(|net| address::add(made.index, *net)));
        messages.push(link::up(made.index));
        self.route.batch(messages)?;
        settle::addresses(&mut self.route, &shim.addresses)
    }

    /// Makes the devices of `steps`, each with its routes, and then the other routes.
    pub(super) fn create_children(&mut self, steps: &[Step]) -> std::result::Result<(), KernelError> {
        let (mut routes, mut children) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::AddRoute(route) => routes.push((step, route)),
                Step::Upper(UpperStep::CreateChild(key, child)) => children.push((step, key, child)),
                _ => {}
            }
        }
        for (step, key, child) in children {
            let (through, others) = routes
                .into_iter()
                .partition(|(_, route)| (&route.namespace, &route.ifname) == (&key.0, &key.1));
            routes = others;
            let made = self.create_child(key, child).map_err(|refusal| refusal.of(step))?;
            self.configure_child(step, &key.0, child, &made, through)?;
        }
        for (step, route) in routes {
            self.add_route(route).map_err(|refusal| refusal.of(step))?;
        }
        Ok(())
    }

    fn create_child(&mut self, key: &(Name, IfName), child: &Child) -> Result<Link> {
        self.need_ipv6(&child.addresses)?;
        let (namespace, name) = key;
        let parent = live_link(&mut self.route, &child.parent)?.index;
        let sandbox = self.live_sandbox(namespace)?;
        let there = sandbox.namespace.as_fd().try_clone_to_owned();
        let there = there.map_err(|error| Refusal::from(crate::netns::errno(&error)))?;
        let inside = Some((child.mark, there.as_fd()));
        let new = NewChild { name, parent, kind: child.kind, mtu: child.mtu, mac: child.mac, inside };
        self.route
            .batch(vec![upper::create_child(&new)])
            .map_err(|error| not_created(error, child.kind, &child.parent, Some(name)))?;
        let made = live_link(&mut self.live_sandbox(namespace)?.route, name)?;
        self.set_child_ipv6(namespace, name, child)?;
        Ok(made)
    }

    /// What comes from the LAN does not pass our firewall: that a sandbox takes nobody for its IPv6 router but whom it
    /// was told is set here.
    fn set_child_ipv6(&mut self, namespace: &Name, name: &IfName, child: &Child) -> Result<()> {
        if !self.ipv6 {
            return Ok(());
        }
        let Some(sandbox) = self.sandboxes.get(namespace) else { return Ok(()) };
        sandbox.namespace.within(&self.home, || {
            sysctl::write_if_there(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
            if has_ipv6(&child.addresses) {
                sysctl::allow_ipv6(name)?;
                sysctl::write_if_there(&format!("net/ipv6/conf/{name}/ndisc_notify"), "1")?;
            }
            Ok(())
        })?
    }

    fn configure_child(
        &mut self,
        step: &Step,
        namespace: &Name,
        child: &Child,
        made: &Link,
        routes: Vec<(&Step, &Route)>,
    ) -> std::result::Result<(), KernelError> {
        let mut batch = Batch::new();
        let silent = self.ipv6 && made.mtu >= IPV6_MINIMUM_MTU;
        batch.push(step, link::prepare_peer(made.index, true, silent));
        if let Some(mac) = link_local_of(child) {
            batch.push(step, address::add_link_local(made.index, mac));
        }
        for net in &child.addresses {
            batch.push(step, address::add(made.index, *net));
        }
        batch.push(step, link::up(made.index));
        for (host, mac) in &child.neighbours {
            if let Some(mac) = mac.or(made.mac) {
                batch.push(step, neighbour::set(*host, made.index, mac));
            }
        }
        for (step, route) in routes {
            batch.push(step, route::add_default(route.via, made.index));
        }
        let inside = self.live_sandbox(namespace).map_err(|refusal| refusal.of(step))?;
        batch.send(&mut inside.route)?;
        settle::addresses(&mut inside.route, &child.addresses).map_err(|refusal| refusal.of(step))
    }

    /// Removes what is known by `mark`, whatever it is called now.
    fn delete_child(&mut self, namespace: &Name, mark: u32) -> Result<()> {
        if self.sandbox(namespace)?.is_none() {
            return Ok(());
        }
        let Some(Sandbox { namespace, route }) = self.sandboxes.get_mut(namespace) else { return Ok(()) };
        let answers = route.dump(link::dump)?;
        let links = answers.iter().filter_map(|answer| UpperLink::parse(&answer.body));
        let marked = links.filter(|found| found.link.group == mark && found.kind.is_some());
        let names: Vec<IfName> = marked.filter_map(|found| found.link.name.parse().ok()).collect();
        let names: Vec<&IfName> = names.iter().collect();
        namespace.within(&self.home, || reaper::delete_links(route, &names, None))??;
        Ok(())
    }

    fn add_path(&mut self, to: IpAddr, path: &Path) -> Result<()> {
        let shim = live_link(&mut self.route, &path.shim)?;
        let mut messages = Vec::new();
        if let Some(mac) = path.mac.or(shim.mac).filter(|_| !shim.is_without_arp()) {
            messages.push(neighbour::set(to, shim.index, mac));
        }
        messages.push(route::add_to_host(to, shim.index, path.source));
        self.route.batch(messages)?;
        Ok(())
    }

    fn delete_path(&mut self, to: IpAddr, path: &Path) -> Result<()> {
        let Some(shim) = find_link(&mut self.route, &path.shim)? else { return Ok(()) };
        let messages = vec![route::delete_to_host(to, shim.index), neighbour::delete(to, shim.index)];
        send_tolerant(&mut self.route, messages, &[Errno::ESRCH, Errno::ENOENT, Errno::ENODEV])
    }
}

/// What the link-local address is made of, if it needs one: devices with their parent's MAC need others.
fn link_local_of(child: &Child) -> Option<Mac> {
    let v6 = child.addresses.iter().map(IpNet::addr).find(IpAddr::is_ipv6)?;
    Some(child.mac.unwrap_or_else(|| Mac::for_ip(v6)))
}

fn not_created(error: Error, kind: ChildKind, parent: &IfName, ifname: Option<&IfName>) -> Refusal {
    let busy = error.errno == Errno::EBUSY;
    let (module, config) = (kind.name(), kind.name().to_uppercase());
    let refusal = Refusal::from(error);
    if busy {
        let hint =
            format!("{parent} carries devices of another kind, or is a port of a bridge: use another parent");
        return refusal.hint(Failure::Other, hint);
    }
    let refusal = refusal.hint(
        Failure::Unsupported,
        format!("the kernel lacks {module}: load the module {module} (CONFIG_{config})"),
    );
    match ifname {
        Some(name) => refusal.hint(
            Failure::Exists,
            format!("the namespace has a device {name} already: choose another name (ifname)"),
        ),
        None => refusal,
    }
}
