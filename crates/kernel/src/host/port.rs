//! A veth pair, from nothing to the first packet.

use std::os::fd::AsFd;

use linkspan_model::IfName;
use linkspan_plan::{Failure, KernelError, Peer, Port, Route, Step};
use nix::errno::Errno;

use super::apply::{Batch, IPV6_MINIMUM_MTU};
use super::{Host, has_ipv6, live_bridge, settle};
use crate::error::{Refusal, Result};
use crate::netlink::Error;
use crate::rtnl::link::{self, Link, Veth};
use crate::rtnl::{address, route};
use crate::sysctl;

impl Host {
    /// Makes the pairs of `steps`, each with its routes, and then the other routes.
    pub(super) fn create_ports(&mut self, steps: &[Step]) -> std::result::Result<(), KernelError> {
        let (mut routes, mut ports) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::AddRoute(route) => routes.push((step, route)),
                Step::CreatePort(name, port) => ports.push((step, name, port)),
                _ => {}
            }
        }
        for (step, name, port) in ports {
            let peer = port.peer.as_ref();
            let peer = peer.ok_or_else(|| Refusal::new(Failure::Other, "it has no side inside").of(step))?;
            let (through, others) = routes
                .into_iter()
                .partition(|(_, route)| route.namespace == peer.namespace && route.ifname == peer.ifname);
            routes = others;
            let pair = self.create_pair(name, port, peer).map_err(|refusal| refusal.of(step))?;
            self.configure_inside(step, pair, port, through)?;
            self.make_known(name, pair, port, peer).map_err(|refusal| refusal.of(step))?;
        }
        for (step, route) in routes {
            self.add_route(route).map_err(|refusal| refusal.of(step))?;
        }
        Ok(())
    }

    fn configure_inside(
        &mut self,
        step: &Step,
        pair: Pair,
        port: &Port,
        routes: Vec<(&Step, &Route)>,
    ) -> std::result::Result<(), KernelError> {
        let Some(peer) = &port.peer else { return Ok(()) };
        self.set_ipv6(peer).map_err(|refusal| refusal.of(step))?;
        let has_ipv6 = has_ipv6(&peer.addresses);
        let mut batch = Batch::new();
        let silent = self.ipv6 && port.mtu >= IPV6_MINIMUM_MTU;
        batch.push(step, link::prepare_peer(pair.inside, peer.announce, silent));
        if has_ipv6 {
            batch.push(step, address::add_link_local(pair.inside, peer.mac));
        }
        for net in &peer.addresses {
            batch.push(step, address::add(pair.inside, *net));
        }
        batch.push(step, link::up(pair.inside));
        for (step, route) in routes {
            batch.push(step, route::add_default(route.via, pair.inside));
        }
        let inside = self.live_sandbox(&peer.namespace).map_err(|refusal| refusal.of(step))?;
        batch.send(&mut inside.route)
    }

    /// Lets packets pass, and tells the neighbours if one of them may remember another MAC. All of them hear it, so
    /// with every new one it would cost more.
    ///
    /// The port goes up last: up without a carrier, it would be taken out of the bridge first, and each of the host's
    /// routes and of what the bridge has learnt be looked at once more.
    fn make_known(&mut self, name: &IfName, pair: Pair, port: &Port, peer: &Peer) -> Result<()> {
        let no_link_local = self.ipv6 && port.mtu >= IPV6_MINIMUM_MTU;
        let configure = link::configure_port(name, port.isolated, port.hairpin, no_link_local);
        self.route.batch(vec![configure])?;
        let inside = &mut self.live_sandbox(&peer.namespace)?.route;
        settle::links(inside, &[pair.inside])?;
        settle::addresses(inside, &peer.addresses)?;
        settle::links(&mut self.route, &[pair.host, pair.bridge])?;
        if pair.stp {
            settle::forwarding(&mut self.route, &[pair.host])?;
        }
        if peer.announce {
            let sandbox = self.live_sandbox(&peer.namespace)?;
            sandbox.route.batch(vec![link::set_mac(pair.inside, peer.mac)])?;
        }
        Ok(())
    }

    fn create_pair(&mut self, name: &IfName, port: &Port, peer: &Peer) -> Result<Pair> {
        self.need_ipv6(&peer.addresses)?;
        let Link { index: bridge, stp, .. } = live_bridge(&mut self.route, &port.bridge)?;
        let sandbox = self.live_sandbox(&peer.namespace)?;
        let namespace = sandbox
            .namespace
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Refusal::from(crate::netns::errno(&error)))?;
        let create = link::create_veth(&Veth {
            name,
            master: Some(bridge),
            mtu: Some(port.mtu),
            peer_name: &peer.ifname,
            peer_mac: Some(peer.mac),
            peer_namespace: namespace.as_fd(),
            group: link::PORTS,
        });
        let made = self.route.batch(vec![create, link::get(name)]);
        let answers = made.map_err(|error| not_created(error, &port.bridge, peer))?;
        let made = answers.iter().find_map(|answer| Link::parse(&answer.body));
        let pair = made.and_then(|made| Some(Pair { bridge, stp, host: made.index, inside: made.peer? }));
        pair.ok_or_else(|| Refusal::new(Failure::NotFound, format!("{name} went away while it was made")))
    }

    /// Nothing is written for a sandbox without an IPv6 address: that it gets none from a neighbour's router
    /// advertisements either is the firewall's work. To find a sysctl of `eth0` the kernel goes through those of every
    /// `eth0` that there is.
    fn set_ipv6(&mut self, peer: &Peer) -> Result<()> {
        if !self.ipv6 || !has_ipv6(&peer.addresses) {
            return Ok(());
        }
        self.live_sandbox(&peer.namespace)?;
        let Some(sandbox) = self.sandboxes.get(&peer.namespace) else { return Ok(()) };
        sandbox.namespace.within(&self.home, || {
            sysctl::allow_ipv6(&peer.ifname)?;
            if peer.announce {
                sysctl::write_if_there(&format!("net/ipv6/conf/{}/ndisc_notify", peer.ifname), "1")?;
            }
            Ok(())
        })?
    }
}

/// The devices of a new pair, each by its index where it is.
#[derive(Clone, Copy)]
struct Pair {
    bridge: u32,
    /// Whether the bridge speaks the spanning tree protocol.
    stp: bool,
    host: u32,
    inside: u32,
}

/// Why a bridge took no port, if it is that it has all it can have: find_portno() in net/bridge/br_if.c.
pub(super) fn full_bridge(error: Error, bridge: impl std::fmt::Display) -> Refusal {
    let full = error.errno == Errno::EXFULL;
    let refusal = Refusal::from(error);
    if !full {
        return refusal;
    }
    refusal.hint(
        Failure::Other,
        format!("{bridge} has 1023 ports, which is all a bridge takes: use another network"),
    )
}

fn not_created(error: Error, bridge: &IfName, peer: &Peer) -> Refusal {
    let refusal = full_bridge(error, bridge);
    let there = format!("the namespace has a device {} already: choose another name (ifname)", peer.ifname);
    refusal
        .hint(Failure::Unsupported, "the kernel lacks veth: load the module veth (CONFIG_VETH)")
        .hint(Failure::Exists, there)
}
