//! A network card becomes a port of a bridge: what it has as the host's interface goes to the bridge, and back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use linkspan_model::{Card, IfName};
use linkspan_plan::{CardFacts, Failure, Uplink};
use nix::errno::Errno;

use super::observe::device_name;
use super::{Host, find_link, find_links, live_bridge, send_tolerant, settle};
use crate::error::{Refusal, Result};
use crate::netlink::{Message, Socket};
use crate::rtnl::address::{self, Address};
use crate::rtnl::carry::{self, GivenAddress, GivenNeighbour, GivenRoute, Way};
use crate::rtnl::link::{self, Link};
use crate::rtnl::route::Route;
use crate::sysctl;

/// How long a router may take to tell its route once more: it waits up to half a second (RFC 4861, MAX_RA_DELAY_TIME).
const ROUTER: Duration = Duration::from_millis(800);
/// Between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(10);

/// What a device learns of its LAN by, beside accept_ra; a bridge learns as its card would.
const LEARNING: [&str; 5] =
    ["autoconf", "use_tempaddr", "accept_ra_defrtr", "accept_ra_pinfo", "accept_ra_rtr_pref"];

/// What a device has as the host's interface.
#[derive(Default)]
struct Belongings {
    addresses: Vec<GivenAddress>,
    /// Those that need no other before those that do, each with whether it is the first with its key.
    routes: Vec<(GivenRoute, bool)>,
    neighbours: Vec<GivenNeighbour>,
    /// Routes that come by themselves on the other device, and do not go by themselves on this one.
    stale: Vec<GivenRoute>,
    /// Whether they are on the device, or only on record.
    live: bool,
}

impl Belongings {
    /// What `index` has, without the addresses that are in `own`.
    fn of(socket: &mut Socket, index: u32, own: &BTreeSet<IpNet>) -> Result<Self> {
        let addresses = given_addresses(socket, index)?;
        let foreign = |given: &GivenAddress| {
            Address::parse(given.bytes()).is_some_and(|found| !own.contains(&found.net))
        };
        let addresses = addresses.into_iter().filter(foreign).collect();
        let all = socket.dump(carry::dump_neighbours)?.into_iter();
        let neighbours = all.filter_map(|answer| GivenNeighbour::of_device(answer.body, index)).collect();
        let all = all_routes(socket)?;
        let stale = all.iter().filter(|route| route.is_told_prefix(index)).cloned().collect();
        Ok(Self { addresses, routes: moving(&all, index), neighbours, stale, live: true })
    }

    fn on_record(card: &Card) -> Self {
        let addresses: Vec<_> =
            card.given_addresses.iter().filter_map(|hex| GivenAddress::new(bytes(hex)?)).collect();
        let routes = card.given_routes.iter().filter_map(|hex| Some((GivenRoute::new(bytes(hex)?)?, false)));
        Self { addresses, routes: routes.collect(), ..Self::default() }
    }

    /// Makes addresses what they are on record that only a killed process has left with a flag ([`GivenAddress::give`]).
    fn recall_flags(&mut self, card: &Card) {
        let recorded = Self::on_record(card).addresses;
        let net = |given: &GivenAddress| Address::parse(given.bytes()).map(|address| address.net);
        for given in self.addresses.iter_mut().filter(|given| given.is_sure()) {
            let former = recorded.iter().find(|other| !other.is_sure() && net(other) == net(given));
            former.into_iter().for_each(|former| given.clone_from(former));
        }
    }

    /// Whether there is an address that the kernel does not make by itself.
    fn is_telling(&self) -> bool {
        let telling =
            |given: &GivenAddress| Address::parse(given.bytes()).is_some_and(|found| !found.is_link_local());
        self.addresses.iter().any(telling)
    }

    /// Gives all of it to the other device, before it is taken from the one that has it.
    fn give(&self, way: Way<'_>) -> (Vec<Message>, Vec<Message>) {
        let mut firm: Vec<_> = self.addresses.iter().map(|address| address.give(way)).collect();
        firm.extend(self.routes.iter().map(|(route, first)| route.give(way, *first)));
        (firm, self.neighbours.iter().map(|neighbour| neighbour.give(way)).collect())
    }

    /// Takes what is left of it from the device that had it, the parts that IPv6 has apart.
    fn take(&self, way: Way<'_>, v6: bool) -> Vec<Message> {
        let routes = self.routes.iter().filter(|(route, _)| route.is_v6() == v6);
        let mut messages: Vec<_> = routes.map(|(route, _)| route.take(way)).collect();
        // The first of a subnet would take the others with it.
        let addresses = self.addresses.iter().rev().filter(|address| address.is_v6() == v6);
        messages.extend(addresses.map(|address| address.take(way)));
        messages.extend(self.stale.iter().filter(|_| v6).map(|route| route.take(way)));
        messages
    }

    fn v6(&self) -> Vec<IpAddr> {
        let parsed = self.addresses.iter().filter_map(|given| Address::parse(given.bytes()));
        parsed.map(|address| address.net.addr()).filter(IpAddr::is_ipv6).collect()
    }
}

fn given_addresses(socket: &mut Socket, index: u32) -> Result<Vec<GivenAddress>> {
    let answers = socket.dump(|| address::dump(index))?.into_iter();
    Ok(answers
        .filter_map(|answer| GivenAddress::new(answer.body))
        .filter(|given| given.index() == index)
        .collect())
}

fn all_routes(socket: &mut Socket) -> Result<Vec<GivenRoute>> {
    let answers = socket.dump(carry::dump_routes)?.into_iter();
    Ok(answers.filter_map(|answer| GivenRoute::new(answer.body)).collect())
}

/// Those of `all` routes that move with device `index`.
fn moving(all: &[GivenRoute], index: u32) -> Vec<(GivenRoute, bool)> {
    let advertised = |stand_in: &GivenRoute| {
        all.iter().any(|route| route.is_advertised() && route.moves_with(index) && route.leads_as(stand_in))
    };
    let mut found = Vec::new();
    for (at, route) in all.iter().enumerate().filter(|(_, route)| route.moves_with(index)) {
        if route.is_stand_in() && advertised(route) {
            continue;
        }
        let key = route.key();
        let first = !all[..at].iter().any(|other| other.key() == key);
        found.push((route.clone(), first));
    }
    found.sort_by_key(|(route, _)| route.has_gateway());
    found
}

/// What is to be known of a network card before it is plugged in.
pub(super) fn card(socket: &mut Socket, name: &IfName) -> Result<Option<CardFacts>> {
    let Some(found) = find_link(socket, name)? else { return Ok(None) };
    let given = match given_addresses(socket, found.index) {
        Ok(given) => given,
        Err(_) if find_link(socket, name)?.is_none() => return Ok(None),
        Err(error) => return Err(error),
    };
    let parsed = given.iter().filter_map(|given| Address::parse(given.bytes()));
    let addresses = parsed.filter(|address| !address.is_link_local()).map(|address| address.net).collect();
    let leased = given.iter().filter(|given| given.is_leased());
    let leased = leased.filter_map(|given| Some(Address::parse(given.bytes())?.net)).collect();
    let routes = moving(&all_routes(socket)?, found.index);
    let master = found.master.map(|index| find_links(socket, vec![link::get_by_index(index)])).transpose()?;
    let master = master.and_then(|found| found.into_iter().flatten().next()).map(|link| link.name);
    let gateways = routes.iter().filter_map(|(route, _)| Route::parse(route.bytes()));
    let gateways =
        gateways.filter(|route| route.destination.is_none()).filter_map(|route| route.gateway).collect();
    let bound = routes.iter().any(|(route, _)| route.has_nexthop_object());
    Ok(Some(CardFacts {
        card: Card {
            mac: found.mac.unwrap_or_default(),
            mtu: found.mtu,
            addresses,
            given_addresses: given.iter().map(|given| hex(given.bytes())).collect(),
            given_routes: routes.iter().map(|(route, _)| hex(route.bytes())).collect(),
            undone_at: None,
        },
        is_loopback: found.is_loopback(),
        is_up: found.is_up(),
        kind: found.kind,
        master,
        leased,
        gateways,
        immovable: bound.then(|| {
            "it has routes by nexthop objects (ip nexthop), which stay with their device".to_owned()
        }),
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

impl Host {
    /// The uplink as it is; none if there is nothing to be done about it, for want of a card.
    pub(super) fn observe_uplink(&mut self, name: &IfName, bridge: &IfName) -> Result<Option<Uplink>> {
        let master = find_link(&mut self.route, bridge)?;
        let plugged = match (find_link(&mut self.route, name)?, &master) {
            (Some(card), Some(master)) => card.master == Some(master.index),
            (Some(_), None) => false,
            // A card that was pulled out: nobody can plug it in, and what stands on the bridge stays.
            (None, Some(_)) => true,
            (None, None) => return Ok(None),
        };
        Ok(Some(Uplink { bridge: bridge.clone(), plugged, card: Card::default(), own: BTreeSet::new() }))
    }

    /// Makes a card a port of a bridge, which gets what the card has. If the bridge that had it was deleted by hand, it
    /// is taken from the record.
    pub(super) fn enslave(&mut self, name: &IfName, uplink: &Uplink) -> Result<()> {
        let missing = || Refusal::new(Failure::NotFound, format!("there is no device {name}"));
        let bridge = live_bridge(&mut self.route, &uplink.bridge)?;
        let card = self.find_card(name, uplink, Some(&bridge))?.ok_or_else(missing)?;
        if card.master == Some(bridge.index) {
            return Ok(());
        }
        self.learn_as(name, &uplink.bridge)?;
        let mut things = Belongings::of(&mut self.route, card.index, &BTreeSet::new())?;
        let mut from = card.index;
        if !things.is_telling()
            && !Belongings::of(&mut self.route, bridge.index, &BTreeSet::new())?.is_telling()
        {
            let recorded = Belongings::on_record(&uplink.card);
            if let Some(first) = recorded.addresses.first() {
                (from, things) = (first.index(), recorded);
            }
        }
        let way = Way { from: (from, name), to: (bridge.index, &uplink.bridge) };
        // Asking for the bridge has the kernel act upon its carrier, which comes with its first port.
        let plug = vec![link::set_master(card.index, bridge.index), link::get_by_index(bridge.index)];
        self.carry(&things, way, plug, Vec::new())?;
        settle::links(&mut self.route, &[card.index, bridge.index])?;
        if bridge.stp {
            settle::forwarding(&mut self.route, &[card.index])?;
        }
        self.await_routers(&things, way)?;
        sysctl::copy(name, &uplink.bridge, "accept_dad")
    }

    /// The card of an uplink: the port of the bridge that is on record, whatever it is called by now, else what has its
    /// name.
    fn find_card(&mut self, name: &IfName, uplink: &Uplink, bridge: Option<&Link>) -> Result<Option<Link>> {
        let recorded = Belongings::on_record(&uplink.card).addresses;
        if let (Some(first), Some(bridge)) = (recorded.first(), bridge) {
            let found = find_links(&mut self.route, vec![link::get_by_index(first.index())])?;
            let port = found.into_iter().flatten().find(|card| card.master == Some(bridge.index));
            if port.is_some() {
                return Ok(port);
            }
        }
        find_link(&mut self.route, name)
    }

    /// Unplugs a card and gives it back what its bridge has and is not the network's own.
    pub(super) fn release(&mut self, name: &IfName, uplink: &Uplink) -> Result<()> {
        let bridge = find_link(&mut self.route, &uplink.bridge)?;
        let Some(card) = self.find_card(name, uplink, bridge.as_ref())? else { return Ok(()) };
        let name = &device_name(&card.name)?;
        let mut things = match &bridge {
            Some(bridge) => Belongings::of(&mut self.route, bridge.index, &uplink.own)?,
            None => Belongings::default(),
        };
        let mut from = bridge.as_ref().map_or(0, |bridge| bridge.index);
        if bridge.is_none() && !Belongings::of(&mut self.route, card.index, &BTreeSet::new())?.is_telling() {
            let recorded = Belongings::on_record(&uplink.card);
            (from, things) = (recorded.addresses.first().map_or(0, GivenAddress::index), recorded);
        }
        things.recall_flags(&uplink.card);
        let way = Way { from: (from, &uplink.bridge), to: (card.index, name) };
        let ours = bridge.is_some_and(|bridge| card.master == Some(bridge.index));
        let unplug = if ours { vec![link::set_master(card.index, 0)] } else { Vec::new() };
        if ours {
            sysctl::keep_learning(&uplink.bridge, name)?;
        }
        self.carry(&things, way, Vec::new(), unplug)?;
        self.await_routers(&things, way)
    }

    /// Gives `things` to the other device, behind what goes `before`; then, if all of it was given, comes what goes
    /// `after`, and they are taken from the one that has them.
    fn carry(
        &mut self,
        things: &Belongings,
        way: Way<'_>,
        before: Vec<Message>,
        after: Vec<Message>,
    ) -> Result<()> {
        let (firm, neighbours) = things.give(way);
        let (plugs, routes) = (before.len(), before.len() + things.addresses.len());
        let loose = plugs + firm.len()..plugs + firm.len() + neighbours.len();
        let messages = before.into_iter().chain(firm).chain(neighbours).collect();
        let (_, errors) = self.route.attempt(messages)?;
        let mut again = Vec::new();
        for error in errors.into_iter().filter(|error| error.errno != Errno::EEXIST) {
            match error.index {
                Some(index) if loose.contains(&index) => {}
                Some(index) if index < plugs => return Err(not_enslaved(error.into(), way.from.1)),
                Some(index) if index < routes => return Err(Refusal::from(error).at("move an address")),
                Some(index) if matches!(error.errno, Errno::ENETUNREACH | Errno::EHOSTUNREACH) => {
                    let route = things.routes.get(index - routes);
                    again.extend(route.map(|(route, first)| route.on_link().give(way, *first)));
                }
                _ => return Err(Refusal::from(error).at("move a route")),
            }
        }
        self.route.batch(again).map_err(|error| Refusal::from(error).at("move a route"))?;
        let taken = |v6| if things.live { things.take(way, v6) } else { Vec::new() };
        self.take(after.into_iter().chain(taken(false)).collect())?;
        settle::addresses_of(&mut self.route, way.to.0, &things.v6())?;
        let mut last = taken(true);
        last.extend(things.neighbours.iter().map(|neighbour| neighbour.take(way)));
        last.extend(things.addresses.iter().filter_map(|address| address.restore_flags(way)));
        self.take(last)
    }

    /// Takes what may be gone already.
    fn take(&mut self, messages: Vec<Message>) -> Result<()> {
        let gone = [Errno::ESRCH, Errno::ENOENT, Errno::EADDRNOTAVAIL, Errno::ENODEV];
        send_tolerant(&mut self.route, messages, &gone)
    }

    /// Waits a little for the routers whose routes have a stand-in, and removes those that are not needed any more.
    fn await_routers(&mut self, things: &Belongings, way: Way<'_>) -> Result<()> {
        let mut left: Vec<_> =
            things.routes.iter().map(|(route, _)| route).filter(|r| r.is_advertised()).collect();
        let deadline = Instant::now() + ROUTER;
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
            let all = all_routes(&mut self.route)?;
            let learned = |route: &&GivenRoute| {
                all.iter().any(|new| new.is_advertised() && new.moves_with(way.to.0) && new.leads_as(route))
            };
            let (done, waiting): (Vec<_>, Vec<_>) = left.into_iter().partition(learned);
            self.take(done.into_iter().map(|route| route.take_stand_in(way)).collect())?;
            left = waiting;
        }
        Ok(())
    }

    /// Has the bridge learn from routers as the card did; where the host forwards, it has to be told so.
    fn learn_as(&self, card: &IfName, bridge: &IfName) -> Result<()> {
        for key in LEARNING {
            sysctl::copy(card, bridge, key)?;
        }
        sysctl::copy_learning(card, bridge)
    }
}

fn not_enslaved(refusal: Refusal, name: &IfName) -> Refusal {
    refusal
        .hint(
            Failure::Unsupported,
            format!("{name} takes no part in a bridge, as wireless cards do not: use another"),
        )
        .hint(Failure::Other, format!("a bridge does not take {name}: use another card"))
}
