//! Waiting for what the kernel leaves to its workers, so that the first packet is not lost.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use linkspan_plan::Failure;

use super::find_links;
use crate::error::{Refusal, Result};
use crate::netlink::Socket;
use crate::rtnl::address::{self, Address};
use crate::rtnl::link::{self, Link};
use crate::rtnl::route;

/// How often is looked, and the pause between: mostly the first or second look succeeds. What never comes, as
/// the carrier of a bridge that somebody has set down, costs some 50 ms.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_micros(50);

/// The same for a port that the spanning tree holds back; one that would close a loop is held back for ever.
const TREE_LOOKS: u32 = 250;
const TREE_PAUSE: Duration = Duration::from_millis(20);

/// Waits until the kernel has acted upon the carrier of devices. Until then it drops what is sent through them,
/// and a bridge what comes from a port. From Linux 6.8 on, asking for a device is enough to make it act.
///
/// A bridge whose carrier never went stays undecided for good. Packets pass; it is told, so that everybody sees it.
pub(super) fn links(socket: &mut Socket, indexes: &[u32]) -> Result<()> {
    until(|| {
        let requests = indexes.iter().map(|index| link::get_by_index(*index)).collect();
        let found = find_links(socket, requests)?;
        let late: Vec<_> = found.into_iter().flatten().filter(|link| !link.operational).collect();
        let (undecided, late): (Vec<_>, Vec<_>) = late.into_iter().partition(Link::is_undecided_bridge);
        if !undecided.is_empty() {
            // It may have gone, and who may not say so needs not.
            socket.attempt(undecided.iter().map(|bridge| link::decide(bridge.index)).collect())?;
        }
        Ok(late.is_empty())
    })
}

/// Waits until the spanning tree lets frames through ports: twice its delay, which is at least two seconds each time.
pub(super) fn forwarding(socket: &mut Socket, ports: &[u32]) -> Result<()> {
    for _ in 0..TREE_LOOKS {
        let requests = ports.iter().map(|index| link::get_by_index(*index)).collect();
        if find_links(socket, requests)?.iter().flatten().all(|link| link.forwarding) {
            break;
        }
        std::thread::sleep(TREE_PAUSE);
    }
    Ok(())
}

/// Waits until IPv6 addresses work. Even where no duplicates are looked for, a worker makes their routes
/// (addrconf_dad_work), and until then an answer to them is not taken.
pub(super) fn addresses(socket: &mut Socket, nets: &BTreeSet<IpNet>) -> Result<()> {
    let ours: Vec<_> = nets.iter().map(IpNet::addr).filter(|address| address.is_ipv6()).collect();
    if ours.is_empty() {
        return Ok(());
    }
    until(|| {
        // An address without a route is answered with an error.
        let (answers, _) = socket.attempt(ours.iter().map(|address| route::lookup(*address)).collect())?;
        Ok(answers.iter().filter(|answer| route::is_local(&answer.body)).count() == ours.len())
    })
}

/// As [`addresses`], where another device may have the same addresses still.
pub(super) fn addresses_of(socket: &mut Socket, index: u32, wanted: &[IpAddr]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    until(|| {
        let answers = socket.dump(|| route::dump_local6(index))?;
        let there: Vec<_> = answers.iter().filter_map(|answer| route::destination(&answer.body)).collect();
        Ok(wanted.iter().all(|address| there.contains(address)))
    })
}

/// How often is looked whether an address is somebody else's, and the pause between: asking takes a second or two, and
/// another before it begins.
const DUPLICATE_LOOKS: u32 = 1000;
const DUPLICATE_PAUSE: Duration = Duration::from_millis(10);

/// Waits until IPv6 has found that nobody else has an address of a device (RFC 4862), or that somebody does.
pub(super) fn unique(socket: &mut Socket, index: u32, wanted: IpAddr) -> Result<()> {
    for _ in 0..DUPLICATE_LOOKS {
        let answers = socket.dump(|| address::dump(index))?;
        let mut found = answers.iter().filter_map(|answer| Address::parse(&answer.body));
        let found = found.find(|found| found.index == index && found.net.addr() == wanted);
        match found {
            Some(found) if found.is_duplicate() => {
                let cause = format!("somebody else on the link has {wanted}");
                return Err(Refusal::new(Failure::Exists, cause));
            }
            Some(found) if found.is_tentative() => std::thread::sleep(DUPLICATE_PAUSE),
            _ => return Ok(()),
        }
    }
    Err(Refusal::new(Failure::Other, format!("it is not known yet whether somebody else has {wanted}")))
}

fn until(mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..LOOKS {
        if done()? {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use nix::sched::{CloneFlags, unshare};

    use super::{LOOKS, PAUSE, find_links, links};
    use crate::netlink::{Family, Socket};
    use crate::rtnl::device::{self, NewDevice, NewKind};
    use crate::rtnl::link;

    #[test]
    fn a_bridge_that_nothing_ever_happened_to_is_not_waited_for_and_told() {
        let alone = || {
            if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
                return eprintln!("skipped: no network namespaces without privileges: {errno}");
            }
            let mut socket = Socket::open(Family::Route).unwrap();
            let name = "br0".parse().unwrap();
            let kind = NewKind::Bridge;
            let new = NewDevice { name: &name, kind, mtu: None, mac: None, group: 0, namespace: None };
            socket.batch(vec![device::create(&new), link::up_by_name("br0")]).unwrap();
            let found =
                |socket: &mut Socket| find_links(socket, vec![link::get(&name)]).unwrap().remove(0).unwrap();
            let bridge = found(&mut socket);
            assert!(bridge.is_undecided_bridge(), "{bridge:?}");
            let start = Instant::now();
            links(&mut socket, &[bridge.index]).unwrap();
            assert!(start.elapsed() < PAUSE * LOOKS, "{:?}", start.elapsed());
            assert!(found(&mut socket).operational);
        };
        std::thread::spawn(alone).join().unwrap();
    }
}
