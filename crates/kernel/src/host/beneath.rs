//! What is known of devices on devices of the host, and of those that they sit on.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use linkspan_model::{IfName, Name, Vlan};
use linkspan_plan::{Child, LinkFacts, ParentDevice, Path, Scope, Shim, Upper};

use super::observe::{addresses, device_name, unplugged};
use super::{Host, find, foreign};
use crate::error::Result;
use crate::netlink::{Message, Socket};
use crate::rtnl::link::{self, Link};
use crate::rtnl::route::{self, Route};
use crate::rtnl::upper::UpperLink;
use crate::sysctl;

impl Host {
    /// What is there of the devices of `scope`.
    pub(super) fn observe_upper(&mut self, scope: &Scope) -> Result<Upper> {
        let wanted = &scope.upper;
        let mut upper = Upper::default();
        if wanted.is_empty() {
            return Ok(upper);
        }
        let devices = self.devices_beneath(wanted)?;
        upper.up = wanted
            .up
            .iter()
            .filter(|name| devices.get(*name).is_some_and(|d| d.link.is_up()))
            .cloned()
            .collect();
        for (name, vlan) in &wanted.vlans {
            let Some(found) = devices.get(name) else { continue };
            let carries = devices.get(&vlan.link).map(|device| device.link.index);
            if found.vlan != Some(vlan.id) || found.link.peer != carries {
                return Err(foreign(name, &format!("vlan {} of {}", vlan.id, vlan.link), &found.link));
            }
            upper.vlans.insert(name.clone(), Vlan::clone(vlan));
        }
        let index: BTreeMap<u32, IfName> =
            devices.iter().map(|(name, device)| (device.link.index, name.clone())).collect();
        let parent = |found: &Link| match found.peer.and_then(|peer| index.get(&peer)) {
            Some(name) => Ok(name.clone()),
            None => unplugged(),
        };
        for name in wanted.shims.keys() {
            let Some(found) = devices.get(name) else { continue };
            let Some(kind) = found.kind else { return Err(foreign(name, "shim", &found.link)) };
            let Some(addresses) = addresses(&mut self.route, found.link.index)? else { continue };
            let (parent, mtu, mac) = (parent(&found.link)?, Some(found.link.mtu), found.link.mac);
            upper.shims.insert(name.clone(), Shim { parent, kind, mtu, mac, addresses });
        }
        for (key, child) in &wanted.children {
            if let Some((found, addresses)) = self.find_child(key, child.mark)? {
                let renamed = found.link.name != key.1.as_str();
                let parent = if renamed { unplugged()? } else { parent(&found.link)? };
                let kind = found.kind.unwrap_or(child.kind);
                let (mtu, mac, neighbours) = (Some(found.link.mtu), found.link.mac, [].into());
                let found = Child { parent, kind, mtu, mac, mark: child.mark, addresses, neighbours };
                upper.children.insert(key.clone(), found);
            }
        }
        upper.paths = self.observe_paths(wanted, &index)?;
        Ok(upper)
    }

    /// The devices of the host that occur in `wanted`.
    fn devices_beneath(&mut self, wanted: &Upper) -> Result<BTreeMap<IfName, UpperLink>> {
        let mut names: BTreeSet<&IfName> = wanted.up.iter().collect();
        names.extend(wanted.vlans.iter().flat_map(|(name, vlan)| [name, &vlan.link]));
        names.extend(wanted.shims.iter().flat_map(|(name, shim)| [name, &shim.parent]));
        names.extend(wanted.children.values().map(|child| &child.parent));
        names.extend(wanted.paths.values().map(|path| &path.shim));
        let requests = names.iter().map(|name| link::get(name)).collect();
        let found = find_uppers(&mut self.route, requests)?;
        let named = names.into_iter().zip(found);
        Ok(named.filter_map(|(name, found)| Some((name.clone(), found?))).collect())
    }

    /// The device known by `mark` in a namespace, under whatever name, with its addresses.
    fn find_child(
        &mut self,
        key: &(Name, IfName),
        mark: u32,
    ) -> Result<Option<(UpperLink, BTreeSet<IpNet>)>> {
        let Some(sandbox) = self.sandbox(&key.0)? else { return Ok(None) };
        let answers = sandbox.route.dump(link::dump)?;
        let mut links = answers.iter().filter_map(|answer| UpperLink::parse(&answer.body));
        let Some(found) = links.find(|found| found.link.group == mark && found.kind.is_some()) else {
            return Ok(None);
        };
        Ok(addresses(&mut sandbox.route, found.link.index)?.map(|addresses| (found, addresses)))
    }

    /// The number of a device on a parent, by its name in a namespace.
    pub(super) fn child_facts(&mut self, namespace: &Name, ifname: &IfName) -> Result<Option<LinkFacts>> {
        let Some(sandbox) = self.sandbox(namespace)? else { return Ok(None) };
        let found = find_uppers(&mut sandbox.route, vec![link::get(ifname)])?.into_iter().flatten().next();
        let index = found.filter(|found| found.kind.is_some()).map(|found| found.link.index);
        Ok(index.map(|index| LinkFacts { host_index: None, sandbox_index: Some(index) }))
    }

    /// The paths that lead where they should.
    fn observe_paths(
        &mut self,
        wanted: &Upper,
        names: &BTreeMap<u32, IfName>,
    ) -> Result<BTreeMap<std::net::IpAddr, Path>> {
        let paths: Vec<_> = wanted.paths.iter().collect();
        let (answers, _) = self.route.attempt(paths.iter().map(|(to, _)| route::lookup(**to)).collect())?;
        let there = answers.iter().filter_map(|answer| {
            let (to, path) = paths.get(answer.index)?;
            let leaves_by = names.get(&route::leaves_by(&answer.body)?)?;
            (*leaves_by == path.shim).then(|| (**to, Path::clone(path)))
        });
        Ok(there.collect())
    }

    /// The device called `name`, or that of the default route.
    pub(super) fn find_parent(&mut self, name: Option<&IfName>) -> Result<Option<ParentDevice>> {
        let answers = self.route.dump(route::dump)?;
        let routes = answers.iter().filter_map(|answer| Route::parse(&answer.body));
        let mut defaults: Vec<Route> = routes.filter(|route| route.destination.is_none()).collect();
        defaults.sort_by_key(|route| route.family);
        let request = match (name, defaults.iter().find_map(|route| route.index)) {
            (Some(name), _) => link::get(name),
            (None, Some(index)) => link::get_by_index(index),
            (None, None) => return Ok(None),
        };
        let Some(found) = find_uppers(&mut self.route, vec![request])?.into_iter().flatten().next() else {
            return Ok(None);
        };
        let index = found.link.index;
        let Some(addresses) = addresses(&mut self.route, index)? else { return Ok(None) };
        let by_it = defaults.iter().filter(|route| route.index == Some(index));
        let filter = |of: &str| sysctl::read(&format!("net/ipv4/conf/{of}/rp_filter"));
        let strict = filter("all")?.max(filter(&found.link.name)?).as_deref() == Some("1");
        Ok(Some(ParentDevice {
            name: device_name(&found.link.name)?,
            up: found.link.is_up(),
            mtu: found.link.mtu,
            ethernet: found.link.mac.is_some() && found.link.name != "lo",
            enslaved: found.link.master.is_some(),
            strict,
            addresses: addresses.into_iter().collect(),
            gateways: by_it.filter_map(|route| route.gateway).collect(),
        }))
    }
}

/// As `find_links`, with what is known of devices on devices.
fn find_uppers(socket: &mut Socket, requests: Vec<Message>) -> Result<Vec<Option<UpperLink>>> {
    find(socket, requests, UpperLink::parse)
}
