//! A veth pair, from nothing to the first packet.

use std::os::fd::AsFd;
use std::time::Duration;

use linkspan_model::IfName;
use linkspan_plan::{Failure, KernelError, Peer, Port, Step};

use super::apply::{Batch, IPV6_MINIMUM_MTU, route_through};
use super::{Host, find_links, live_link};
use crate::error::{Refusal, Result};
use crate::netlink::Socket;
use crate::rtnl::link::{self, Link, Veth};
use crate::rtnl::{address, route};
use crate::sysctl;

/// How often is looked whether a new port forwards, and the pause between: Linux before 6.8 does not act upon a
/// carrier when asked, but some 0.1 ms later. A bridge that someone has set down never forwards.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_micros(100);

impl Host {
    /// Makes the pair of `steps[0]`, with the routes that follow it.
    pub(super) fn create_port(
        &mut self,
        name: &IfName,
        port: &Port,
        steps: &[Step],
    ) -> std::result::Result<(), KernelError> {
        let (create, routes) = (&steps[0], &steps[1..]);
        let peer = port
            .peer
            .as_ref()
            .ok_or_else(|| Refusal::new(Failure::Other, "it says nothing of the side inside").of(create))?;
        let pair = self.create_pair(name, port, peer).map_err(|refusal| refusal.of(create))?;
        self.set_ipv6(peer).map_err(|refusal| refusal.of(create))?;

        let inside = self.live_sandbox(&peer.namespace).map_err(|refusal| refusal.of(create))?;
        let mut batch = Batch::new();
        let has_ipv6 = peer.addresses.iter().any(|net| net.addr().is_ipv6());
        batch.push(create, link::prepare_peer(pair.inside, has_ipv6));
        for net in &peer.addresses {
            batch.push(create, address::add(pair.inside, *net));
        }
        if has_ipv6 {
            batch.push(create, address::add_link_local(pair.inside, peer.mac));
        }
        batch.push(create, link::up(pair.inside));
        for step in routes {
            if let Some(new) = route_through(port, step) {
                batch.push(step, route::add_default(new.via, pair.inside));
            }
        }
        batch.send(&mut inside.route)?;

        settle(&mut self.route, pair).map_err(|refusal| refusal.of(create))?;
        self.announce(pair, peer).map_err(|refusal| refusal.of(create))
    }

    fn create_pair(&mut self, name: &IfName, port: &Port, peer: &Peer) -> Result<Pair> {
        let bridge = live_link(&mut self.route, &port.bridge)?.index;
        let sandbox = self.live_sandbox(&peer.namespace)?;
        let namespace = sandbox
            .namespace
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Refusal::from(crate::netns::errno(&error)))?;
        let create = link::create_veth(&Veth {
            name,
            master: bridge,
            mtu: port.mtu,
            peer_name: &peer.ifname,
            peer_mac: peer.mac,
            peer_namespace: namespace.as_fd(),
        });
        let missing = "the kernel lacks veth: load the module veth (CONFIG_VETH)";
        self.route
            .batch(vec![create])
            .map_err(|error| Refusal::from(error).hint(Failure::Unsupported, missing))?;
        let no_link_local = self.ipv6 && port.mtu >= IPV6_MINIMUM_MTU;
        let configure = link::configure_port(name, port.isolated, port.hairpin, no_link_local);
        let answers = self.route.batch(vec![configure, link::get(name)])?;
        let made = answers.iter().find_map(|answer| Link::parse(&answer.body));
        let pair = made.and_then(|made| Some(Pair { bridge, host: made.index, inside: made.peer? }));
        pair.ok_or_else(|| Refusal::new(Failure::NotFound, format!("{name} went away while it was made")))
    }

    /// A sandbox without an IPv6 address gets none from a neighbour's router advertisements either.
    fn set_ipv6(&mut self, peer: &Peer) -> Result<()> {
        if !self.ipv6 {
            return Ok(());
        }
        let conf = format!("net/ipv6/conf/{}", peer.ifname);
        let has_ipv6 = peer.addresses.iter().any(|net| net.addr().is_ipv6());
        self.live_sandbox(&peer.namespace)?;
        let Some(sandbox) = self.sandboxes.get(&peer.namespace) else { return Ok(()) };
        sandbox.namespace.within(&self.home, || {
            if has_ipv6 {
                sysctl::write_if_there(&format!("{conf}/disable_ipv6"), "0")?;
                sysctl::write_if_there(&format!("{conf}/ndisc_notify"), "1")
            } else {
                sysctl::write_if_there(&format!("{conf}/disable_ipv6"), "1")
            }
        })?
    }

    /// Tells the network's other sandboxes, who may remember another MAC for these addresses.
    fn announce(&mut self, pair: Pair, peer: &Peer) -> Result<()> {
        let sandbox = self.live_sandbox(&peer.namespace)?;
        sandbox.route.batch(vec![link::set_mac(pair.inside, peer.mac)])?;
        Ok(())
    }
}

/// The devices of a new pair, each by its index where it is.
#[derive(Clone, Copy)]
struct Pair {
    bridge: u32,
    host: u32,
    inside: u32,
}

/// Waits until packets pass through the port: at first the kernel has noticed, but not acted upon, its carrier,
/// and what is sent meanwhile is lost.
fn settle(route: &mut Socket, pair: Pair) -> Result<()> {
    for _ in 0..LOOKS {
        let links = find_links(route, vec![link::get_by_index(pair.host), link::get_by_index(pair.bridge)])?;
        if links.iter().flatten().all(|link| link.operational) {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
