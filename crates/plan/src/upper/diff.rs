//! The steps from one state to another, as far as such devices go.

use std::collections::BTreeSet;

use linkspan_model::{IfName, Name};

use super::{Child, Path, UpperStep};
use crate::{State, Step};

/// Whether a sub-interface goes or is made anew, and with it what sits on it.
fn vlan_moves(desired: &State, observed: &State, name: &IfName) -> bool {
    observed.upper.vlans.get(name).is_some_and(|found| desired.upper.vlans.get(name) != Some(found))
}

fn shim_goes(desired: &State, observed: &State, name: &IfName) -> bool {
    observed.upper.shims.get(name).is_some_and(|found| {
        desired.upper.shims.get(name) != Some(found) || vlan_moves(desired, observed, &found.parent)
    })
}

fn child_goes(desired: &State, observed: &State, key: &(Name, IfName)) -> bool {
    let moves = desired.namespaces.get(&key.0) != observed.namespaces.get(&key.0);
    observed.upper.children.get(key).is_some_and(|found| {
        moves
            || desired.upper.children.get(key) != Some(found)
            || vlan_moves(desired, observed, &found.parent)
    })
}

fn path_goes(desired: &State, path: &Path, to: &std::net::IpAddr) -> bool {
    desired.upper.paths.get(to) != Some(path)
}

/// What goes first: devices inside, while their namespace is there, and the ways to them.
pub(crate) fn withdrawals(desired: &State, observed: &State) -> Vec<Step> {
    let upper = &observed.upper;
    let paths = upper
        .paths
        .iter()
        .filter(|(to, path)| path_goes(desired, path, to) && !shim_goes(desired, observed, &path.shim));
    let paths = paths.map(|(to, path)| UpperStep::DeletePath(*to, path.clone()));
    let children = upper.children.iter().filter(|(key, _)| child_goes(desired, observed, key));
    let children = children.map(|(key, child)| UpperStep::DeleteChild(key.clone(), child.mark));
    paths.chain(children).map(Step::Upper).collect()
}

/// What goes last: what devices of sandboxes sat on or beside.
pub(crate) fn removals(desired: &State, observed: &State) -> Vec<Step> {
    let shims = observed.upper.shims.keys().filter(|name| shim_goes(desired, observed, name));
    let vlans = observed.upper.vlans.keys().filter(|name| vlan_moves(desired, observed, name));
    let shims = shims.cloned().map(UpperStep::DeleteShim);
    shims.chain(vlans.cloned().map(UpperStep::DeleteVlan)).map(Step::Upper).collect()
}

/// Whether the device `ifname` in `namespace` is a child that goes, and with it its routes.
pub(crate) fn dies(desired: &State, observed: &State, namespace: &Name, ifname: &IfName) -> bool {
    child_goes(desired, observed, &(namespace.clone(), ifname.clone()))
}

/// What devices of sandboxes need to sit on.
pub(crate) fn preparations(desired: &State, observed: &State) -> Vec<Step> {
    let (wanted, found) = (&desired.upper, &observed.upper);
    let made = |name: &IfName| wanted.vlans.contains_key(name);
    let up = wanted.up.difference(&found.up).filter(|name| !made(name));
    let up = up.cloned().map(UpperStep::SetUp);
    let vlans = wanted.vlans.iter().filter(|(name, vlan)| found.vlans.get(*name) != Some(vlan));
    let vlans = vlans.map(|(name, vlan)| UpperStep::CreateVlan(name.clone(), vlan.clone()));
    // One that is there and was set down.
    let again = wanted
        .up
        .difference(&found.up)
        .filter(|name| made(name) && wanted.vlans.get(*name) == found.vlans.get(*name));
    let again = again.cloned().map(UpperStep::SetUp);
    let shims = wanted
        .shims
        .iter()
        .filter(|(name, shim)| found.shims.get(*name) != Some(shim) || shim_goes(desired, observed, name));
    let shims = shims.map(|(name, shim)| UpperStep::CreateShim(name.clone(), shim.clone()));
    up.chain(vlans).chain(again).chain(shims).map(Step::Upper).collect()
}

fn new_children<'a>(
    desired: &'a State,
    observed: &'a State,
) -> impl Iterator<Item = (&'a (Name, IfName), &'a Child)> {
    desired.upper.children.iter().filter(|(key, child)| {
        observed.upper.children.get(*key) != Some(*child) || child_goes(desired, observed, key)
    })
}

/// The devices inside.
pub(crate) fn additions(desired: &State, observed: &State) -> Vec<Step> {
    let new = new_children(desired, observed);
    new.map(|(key, child)| Step::Upper(UpperStep::CreateChild(key.clone(), child.clone()))).collect()
}

/// The devices inside that [`additions`] makes, by namespace and name.
pub(crate) fn created<'a>(desired: &'a State, observed: &'a State) -> BTreeSet<(&'a Name, &'a IfName)> {
    new_children(desired, observed).map(|((namespace, ifname), _)| (namespace, ifname)).collect()
}

/// The host's ways to sandboxes.
pub(crate) fn finish(desired: &State, observed: &State) -> Vec<Step> {
    let stays = |path: &Path| !shim_goes(desired, observed, &path.shim);
    let new = desired
        .upper
        .paths
        .iter()
        .filter(|(to, path)| observed.upper.paths.get(*to) != Some(path) || !stays(path));
    new.map(|(to, path)| Step::Upper(UpperStep::AddPath(*to, path.clone()))).collect()
}
