//! Steps, in groups that the kernel takes together.

use std::os::fd::AsFd;

use ipnet::IpNet;
use linkspan_model::{IfName, Name};
use linkspan_plan::{Bridge, Failure, KernelError, Namespace as Origin, Route, Step, UpperStep};
use nix::errno::Errno;

use super::{Host, Sandbox, find_link, has_ipv6, live_link, no_ipv6, ovs, send_tolerant, settle};
use crate::error::{Refusal, Result};
use crate::netlink::{Message, Socket};
use crate::netns::{self, Pin};
use crate::reaper;
use crate::resolver;
use crate::rtnl::{address, link, route};
use crate::sysctl;

/// The smallest MTU that IPv6 works with (RFC 8200); a device below it has no IPv6 settings.
pub(super) const IPV6_MINIMUM_MTU: u32 = 1280;

const ROUTE_EXISTS: &str =
    "the namespace has a default route already: remove it, or attach to an --internal network";

impl Host {
    pub(super) fn apply_steps(&mut self, steps: &[Step]) -> std::result::Result<(), KernelError> {
        let mut rest = steps;
        while let Some(first) = rest.first() {
            let (group, behind) = rest.split_at(group_length(first, rest));
            self.apply_group(first, group)?;
            rest = behind;
        }
        Ok(())
    }

    fn apply_group(&mut self, first: &Step, group: &[Step]) -> std::result::Result<(), KernelError> {
        match first {
            step if is_firewall(step) => {
                self.closes_slowly |= group.iter().any(Step::deletes_in_firewall);
                self.firewall()?.apply(group)
            }
            Step::CreatePort(..) => self.create_ports(group),
            Step::Upper(UpperStep::CreateChild(..)) => self.create_children(group),
            Step::Fit(..) => self.fit(group),
            Step::Unfit(..) => self.unfit(group),
            Step::Unanswer(namespace) => self.unanswer(namespace),
            step if removes_device(step) => self.delete_links(group),
            step => self.apply_one(step).map_err(|refusal| refusal.of(step)),
        }
    }

    fn apply_one(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::SetSysctl { key, value } => self.set_sysctl(key, value),
            Step::CreateBridge(name, bridge) => self.create_bridge(name, bridge),
            Step::Enslave(card, uplink) => self.enslave(card, uplink),
            Step::Release(card, uplink) => self.release(card, uplink),
            Step::AddAddress(name, net) => self.add_address(name, *net),
            Step::DeleteAddress(name, net) => self.delete_address(name, *net),
            Step::CreateNamespace(name, origin) => self.create_namespace(name, origin),
            Step::SetHairpin(name, on) => {
                // It may go away with its sandbox meanwhile.
                send_tolerant(&mut self.route, vec![link::set_hairpin(name, *on)], &[Errno::ENODEV])
            }
            Step::DeleteNamespace(name) => {
                // A descriptor of ours would keep it alive.
                self.sandboxes.remove(name);
                netns::unpin(name)
            }
            Step::CreatePatch(name, patch) => self.create_patch(name, patch),
            Step::CreateTap(name, tap) => self.create_tap(name, tap),
            Step::Shape(device, shaper) => self.shape(device, shaper),
            Step::Upper(step) => self.apply_upper(step),
            Step::AddRoute(route) => self.add_route(route),
            Step::DeleteRoute(route) => self.delete_route(route),
            // Handled in groups.
            Step::CreateFirewall
            | Step::DeleteFirewall
            | Step::AddElement(_)
            | Step::DeleteElement(_)
            | Step::FlushFlows { .. }
            | Step::CreatePort(..)
            | Step::DeletePort(_)
            | Step::DeletePatch(..)
            | Step::DeleteTap(_)
            | Step::Unshape(..)
            | Step::DeleteBridge(_)
            | Step::Fit(..)
            | Step::Unfit(..)
            | Step::Unanswer(_) => Ok(()),
        }
    }

    fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        if key.starts_with("net/ipv6/") && !self.ipv6 {
            return Err(no_ipv6());
        }
        sysctl::write(key, value)
    }

    fn create_bridge(&mut self, name: &IfName, bridge: &Bridge) -> Result<()> {
        self.need_ipv6(&bridge.addresses)?;
        let missing = "the kernel lacks bridges: load the module bridge (CONFIG_BRIDGE)";
        self.route
            .batch(vec![link::create_bridge(name, bridge.mac, bridge.stp)])
            .map_err(|error| Refusal::from(error).hint(Failure::Unsupported, missing))?;
        // Its sandboxes must not be able to give the host routes (CVE-2020-13401).
        sysctl::write_if_there(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
        // While its link-local address is tentative, the bridge asks for no neighbour of what it forwards.
        sysctl::write_if_there(&format!("net/ipv6/conf/{name}/accept_dad"), "0")?;
        if has_ipv6(&bridge.addresses) {
            sysctl::allow_ipv6(name)?;
        }
        let index = live_link(&mut self.route, name)?.index;
        let no_link_local = self.ipv6 && !has_ipv6(&bridge.addresses) && bridge.mtu >= IPV6_MINIMUM_MTU;
        let mut messages = vec![link::configure_bridge(index, bridge.mtu, no_link_local)];
        messages.extend(bridge.addresses.iter().map(|net| address::add(index, *net)));
        messages.extend(bridge.switch.then(|| link::make_switch(index)));
        messages.push(link::up(index));
        self.route.batch(messages)?;
        settle::addresses(&mut self.route, &bridge.addresses)
    }

    fn add_address(&mut self, name: &IfName, net: IpNet) -> Result<()> {
        let nets = [net].into();
        self.need_ipv6(&nets)?;
        if has_ipv6(&nets) {
            sysctl::allow_ipv6(name)?;
        }
        let index = live_link(&mut self.route, name)?.index;
        self.route.batch(vec![address::add(index, net)])?;
        settle::addresses(&mut self.route, &nets)
    }

    fn delete_address(&mut self, name: &IfName, net: IpNet) -> Result<()> {
        let Some(link) = find_link(&mut self.route, name)? else { return Ok(()) };
        let messages = vec![address::delete(link.index, net)];
        send_tolerant(&mut self.route, messages, &[Errno::EADDRNOTAVAIL, Errno::ENODEV])
    }

    fn create_namespace(&mut self, name: &Name, origin: &Origin) -> Result<()> {
        self.sandboxes.remove(name);
        match origin {
            Origin::New => {
                let sandbox = self.new_sandbox()?;
                netns::pin(name, &sandbox.namespace)?;
                self.sandboxes.insert(name.clone(), sandbox);
                Ok(())
            }
            Origin::Host => netns::pin(name, &self.home),
            Origin::Pinned(other) => netns::pin(name, &netns::at(&netns::pin_path(other))?),
            Origin::Path(path) => netns::pin(name, &netns::foreign(path, &self.home)?),
        }
    }

    /// The namespace that is being made already, or one made now.
    fn new_sandbox(&mut self) -> Result<Sandbox> {
        let thread = match self.anticipated.take() {
            Some(thread) => thread,
            None => netns::create(Sandbox::furnish)?,
        };
        thread.join().unwrap_or_else(|_| Err(Refusal::new(Failure::Other, "the thread in it died")))
    }

    pub(super) fn add_route(&mut self, new: &Route) -> Result<()> {
        let sandbox = self.live_sandbox(&new.namespace)?;
        let index = live_link(&mut sandbox.route, &new.ifname)?.index;
        sandbox.route.batch(vec![route::add_default(new.via, index)])?;
        Ok(())
    }

    fn delete_route(&mut self, old: &Route) -> Result<()> {
        let Some(sandbox) = self.sandbox(&old.namespace)? else { return Ok(()) };
        let Some(link) = find_link(&mut sandbox.route, &old.ifname)? else { return Ok(()) };
        let messages = vec![route::delete_default(old.via, link.index)];
        send_tolerant(&mut sandbox.route, messages, &[Errno::ESRCH, Errno::ENODEV])
    }

    /// Names are answered by another process, which may be at it when the namespace goes.
    fn unanswer(&self, name: &Name) -> std::result::Result<(), KernelError> {
        match Pin::look(name).map_err(|refusal| refusal.of(format!("answer no names in {name}")))? {
            Pin::Alive(namespace) => resolver::remove(&namespace, &self.home),
            Pin::Absent | Pin::Stale => Ok(()),
        }
    }

    fn delete_links(&mut self, steps: &[Step]) -> std::result::Result<(), KernelError> {
        ovs::unplug(steps)?;
        let of_steps = |refusal: Refusal| {
            let lines: Vec<String> = steps.iter().map(Step::to_string).collect();
            refusal.of(lines.join(", "))
        };
        let foreign = self.foreign_vlans(steps).map_err(of_steps)?;
        let names: Vec<&IfName> =
            steps.iter().filter_map(doomed).filter(|name| !foreign.contains(*name)).collect();
        self.unshape(steps, &names).map_err(of_steps)?;
        self.delete_devices(&names).map_err(of_steps)
    }

    /// Deletes devices of the host, and returns when they are gone.
    pub(super) fn delete_devices(&mut self, names: &[&IfName]) -> Result<()> {
        let hold = self.firewall.as_ref().map(AsFd::as_fd);
        let holder = reaper::delete_links(&mut self.route, names, hold)?;
        if holder.is_some() {
            self.reaper = holder;
            self.closes_slowly = false;
        }
        Ok(())
    }
}

/// How many of `steps`, which start with `first`, go together.
fn group_length(first: &Step, steps: &[Step]) -> usize {
    match first {
        step if is_firewall(step) => steps.iter().take_while(|step| is_firewall(step)).count(),
        step if removes_device(step) => steps.iter().take_while(|step| removes_device(step)).count(),
        Step::Upper(UpperStep::CreateChild(..)) => {
            let together =
                |step: &&Step| matches!(step, Step::Upper(UpperStep::CreateChild(..)) | Step::AddRoute(_));
            steps.iter().take_while(together).count()
        }
        Step::CreatePort(..) => {
            steps.iter().take_while(|step| matches!(step, Step::CreatePort(..) | Step::AddRoute(_))).count()
        }
        Step::Fit(..) => steps.iter().take_while(|step| matches!(step, Step::Fit(..))).count(),
        Step::Unfit(..) => steps.iter().take_while(|step| matches!(step, Step::Unfit(..))).count(),
        _ => 1,
    }
}

/// Whether it belongs to the firewall: such steps in a row are one transaction.
pub(crate) const fn is_firewall(step: &Step) -> bool {
    matches!(
        step,
        Step::CreateFirewall
            | Step::DeleteFirewall
            | Step::AddElement(_)
            | Step::DeleteElement(_)
            | Step::FlushFlows { .. }
    )
}

/// Whether it is one of the steps that devices go with.
const fn removes_device(step: &Step) -> bool {
    doomed(step).is_some() || matches!(step, Step::Unshape(..))
}

/// The device that goes with a step.
const fn doomed(step: &Step) -> Option<&IfName> {
    match step {
        Step::DeletePort(name)
        | Step::DeletePatch(name, _)
        | Step::DeleteTap(name)
        | Step::DeleteBridge(name)
        | Step::Upper(UpperStep::DeleteVlan(name) | UpperStep::DeleteShim(name)) => Some(name),
        Step::Unshape(_, ifb) => ifb.as_ref(),
        _ => None,
    }
}

/// What each message of a batch belongs to, so that its error is said of the right step.
pub(super) struct Batch<'a> {
    pub(super) messages: Vec<Message>,
    pub(super) steps: Vec<&'a Step>,
}

impl<'a> Batch<'a> {
    pub(super) const fn new() -> Self {
        Self { messages: Vec::new(), steps: Vec::new() }
    }

    pub(super) fn push(&mut self, step: &'a Step, message: Message) {
        self.messages.push(message);
        self.steps.push(step);
    }

    pub(super) fn send(self, socket: &mut Socket) -> std::result::Result<(), KernelError> {
        socket.batch(self.messages).map(drop).map_err(|error| {
            let step = error.index.and_then(|index| self.steps.get(index)).or(self.steps.first());
            let what = step.map_or_else(String::new, |step| step.to_string());
            let refusal = Refusal::from(error);
            match step {
                Some(Step::AddRoute(_)) => refusal.hint(Failure::Exists, ROUTE_EXISTS),
                _ => refusal,
            }
            .of(what)
        })
    }
}
