//! `linkspan demo`: the main job on a throwaway host, told as it happens.
//!
//! It plays in namespaces of its own, so it needs no privileges and the host it runs on sees nothing of it.

mod stage;
mod tell;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use linkspan_engine::{Engine, Event, NetworkRequest, NetworkView, SandboxRequest, SandboxView};
use linkspan_kernel::Host;
use linkspan_kernel::isolation::isolated;
use linkspan_model::{Driver, Family, IpamRequest, Mac, NetAttach, NetSpec, OptionMap};
use linkspan_plan::{Bridge, Elements, Kernel, Namespace, Peer, Port, Scope, State, diff};

use crate::Outcome;
use crate::args::Global;
use crate::context::engine;
use crate::inspect;
use crate::output::{self, Problem};
use stage::{Page, fetch, serve};
use tell::{command, result, say, scene};

/// Set inside the namespaces that the demo made for itself.
const INSIDE: &str = "LINKSPAN_DEMO";
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const WEB: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);

/// Plays the demo in namespaces of its own.
pub fn demo(global: &Global) -> Outcome {
    if std::env::var_os(INSIDE).is_some() {
        return play(global).map(|()| ExitCode::SUCCESS);
    }
    let program =
        std::env::current_exe().map_err(|cause| Problem::new("cannot find this program").because(cause))?;
    let env =
        [(INSIDE, "1"), ("LINKSPAN_STATE_DIR", "/run/linkspan/state"), ("LINKSPAN_RUN_DIR", "/run/linkspan")];
    let env: Vec<_> = env.map(|(key, value)| (OsString::from(key), OsString::from(value))).into();
    let mut args = vec![OsString::from("demo")];
    if global.no_color {
        args.push("--no-color".into());
    }
    let code = isolated(&program, &args, &env).map_err(|cause| {
        Problem::new("cannot make a throwaway host")
            .because(cause)
            .hint("the demo needs user namespaces: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0")
    })?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The throwaway host and what is on it.
struct Play {
    engine: Engine<Host>,
}

fn play(global: &Global) -> Result<(), Problem> {
    let mut engine = engine(global)?;
    engine.listen(|event| match event {
        Event::Step(step) => tell::step(step),
        Event::Note(text) => result(&format!("note: {text}")),
    });
    let mut play = Play { engine };
    let before = play.everything()?;
    play.the_host()?;
    play.the_network()?;
    play.the_sandboxes()?;
    play.the_ways_in()?;
    play.the_ways_out()?;
    play.the_tables()?;
    play.the_end(&before)
}

impl Play {
    fn the_host(&mut self) -> Result<(), Problem> {
        scene("A throwaway host");
        say(&format!(
            "This program has just moved into a network namespace of its own: an empty network stack, with its own \
             devices, routes and firewall. Call it the host. It is plugged into a small office LAN (the device lan0, \
             {HOST}), where another machine lives that knows nothing about containers: outside, {OUTSIDE}. Nothing that \
             happens here touches your machine."
        ));
        self.engine.kernel().apply(&diff(&lan()?, &State::default()))?;
        tell::picture(
            "
             +--------------- the host ---------------+            +-- outside --+
             |                                        |    LAN     |             |
             |                   192.0.2.1 [lan0]-----+------------+ 192.0.2.9   |
             +----------------------------------------+            +-------------+",
        );
        serve("outside", SocketAddr::new(OUTSIDE.into(), 80))
    }

    fn the_network(&mut self) -> Result<(), Problem> {
        scene("A bridge network");
        command("linkspan network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br-lab lab");
        let name_of_bridge = ("com.docker.network.bridge.name".to_owned(), "br-lab".to_owned());
        let ipam = IpamRequest { subnets: vec![parsed("10.7.0.0/24")?], ..IpamRequest::default() };
        self.engine.create_network(NetworkRequest {
            name: parsed("lab")?,
            driver: Driver::Bridge,
            ipam,
            ipam_driver: "default".to_owned(),
            ipam_options: OptionMap::new(),
            options: OptionMap::from([name_of_bridge]),
            labels: OptionMap::new(),
            internal: false,
            ipv4: true,
            ipv6: false,
        })?;
        say(
            "The lines with + are all that changed in the kernel. A bridge is two things at once. For containers it is a \
             switch: it learns which MAC is behind which of its ports. For the host it is a network card with an address, \
             10.7.0.1, which is where containers send everything that is not for a neighbour: their gateway.",
        );
        Ok(())
    }

    fn the_sandboxes(&mut self) -> Result<(), Problem> {
        scene("Two sandboxes");
        command("linkspan sandbox create --net lab -p 8080:80 web");
        let mut web = SandboxRequest::new(parsed("web")?);
        web.nets = vec![NetSpec::Attach(NetAttach::to("lab"))];
        web.publish = vec![parsed("8080:80")?];
        self.engine.create_sandbox(&web)?;
        command("linkspan sandbox create --net lab client");
        let mut client = SandboxRequest::new(parsed("client")?);
        client.nets = web.nets;
        self.engine.create_sandbox(&client)?;
        say(
            "A container's network is a namespace like the host's own. A veth pair is the cable into it: what goes in at one \
             end comes out at the other. One end is eth0 inside, the other a port of the bridge. The last line for web \
             publishes a port: not a rule, one more element of a map.",
        );
        tell::picture(
            "
             +--------------------- the host ----------------------+
             |  +---- web ----+             +-- client --+         |
             |  | eth0        |             | eth0       |         |
             |  | 10.7.0.2    |             | 10.7.0.3   |         |
             |  +---+---------+             +---+--------+         |
             |      | veth pair                 | veth pair        |            +-- outside --+
             |  [port]--------- bridge -------[port]               |    LAN     |             |
             |               10.7.0.1      192.0.2.1 [lan0]--------+------------+ 192.0.2.9   |
             +-----------------------------------------------------+            +-------------+",
        );
        say("A small web server starts inside web, on port 80. Its page says whose request it sees.");
        serve("web", SocketAddr::new(WEB.into(), 80))
    }

    fn the_ways_in(&mut self) -> Result<(), Problem> {
        scene("The ways in");
        let direct = SocketAddr::new(WEB.into(), 80);
        let published = SocketAddr::new(HOST.into(), 8080);
        let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080);
        ask("client", "a neighbour on the bridge: no routing, no NAT, the bridge forwards by MAC", direct)?;
        ask(
            "",
            "the host, at its own 127.0.0.1: the destination is rewritten to 10.7.0.2:80, and the source too",
            loopback,
        )?;
        ask(
            "outside",
            "from outside, at the host's address: the destination is rewritten, the source is kept",
            published,
        )?;
        ask(
            "client",
            "a neighbour, by way of the published port: that flow alone gets the bridge's source",
            published,
        )?;
        say("And what was not published stays shut:");
        refused("outside", "straight to the sandbox's address, with the host as router", direct)
    }

    fn the_ways_out(&mut self) -> Result<(), Problem> {
        scene("The way out");
        say(
            "client fetches a page from outside. Its own address means nothing out there, so the host lends its own on the \
             way out (masquerade) and remembers the flow, to take the reply back.",
        );
        ask("client", "the page tells whom outside has seen", SocketAddr::new(OUTSIDE.into(), 80))
    }

    fn the_tables(&mut self) -> Result<(), Problem> {
        scene("What the kernel knows now");
        let lab: NetworkView = self.engine.network("lab")?;
        let bridge = lab.network.bridge_name();
        command("linkspan network inspect lab");
        output::json(&inspect::network(&lab))?;
        let views = ["web", "client"].map(|name| self.engine.sandbox(name));
        let views: Vec<SandboxView> = views.into_iter().collect::<Result<_, _>>()?;
        tell::veth_pairs(&views);
        tell::bridge(bridge.as_str())?;
        tell::neighbours()?;
        stage::inside("web", tell::routes_of_web)??;
        tell::routes()?;
        let scope = Scope { elements: Elements::All, ..Scope::default() };
        let firewall = self.engine.kernel().observe(&scope)?.firewall.unwrap_or_default();
        tell::firewall(&firewall);
        Ok(())
    }

    fn the_end(&mut self, before: &str) -> Result<(), Problem> {
        scene("And away");
        for name in ["web", "client"] {
            command(&format!("linkspan sandbox rm {name}"));
            self.engine.remove_sandbox(name, false)?;
        }
        command("linkspan network rm lab");
        self.engine.remove_network("lab")?;
        let outside = lan()?;
        self.engine.kernel().apply(&diff(&State::default(), &outside))?;
        let after = self.everything()?;
        if after != before {
            return Err(
                Problem::new("something is left behind").because(format!("before: {before}; after: {after}"))
            );
        }
        result(
            "Devices, routes, firewall and namespaces are as they were before. Your machine saw none of it.",
        );
        Ok(())
    }

    /// All that could be left behind, as text.
    fn everything(&mut self) -> Result<String, Problem> {
        let scope = Scope { elements: Elements::All, ..Scope::default() };
        let firewall = self.engine.kernel().observe(&scope)?.firewall;
        let pins: Vec<_> =
            std::fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        let names: Vec<_> = ["/etc/netns", "/run/linkspan/sandboxes", "/run/linkspan/networks"]
            .into_iter()
            .flat_map(|directory| {
                std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path())
            })
            .collect();
        Ok(format!("{:?} {firewall:?} {pins:?} {names:?}", tell::link_names()?))
    }
}

/// Fetches the page at `address` from inside a namespace (the host itself if it has no name) and prints it.
fn ask(from: &str, how: &str, address: SocketAddr) -> Result<(), Problem> {
    let who = if from.is_empty() { "the host" } else { from };
    match fetch(from, address)? {
        Page::Text(text) => {
            tell::exchange(who, address, how, text.trim());
            Ok(())
        }
        Page::None(why) => Err(Problem::new(format!("{who} got no page from {address}")).because(why)),
    }
}

/// The same where there must be no page.
fn refused(from: &str, how: &str, address: SocketAddr) -> Result<(), Problem> {
    match fetch(from, address)? {
        Page::None(why) => {
            tell::exchange(from, address, how, &format!("no answer ({why})"));
            Ok(())
        }
        Page::Text(text) => Err(Problem::new(format!("{from} got a page from {address}")).because(text)),
    }
}

/// The LAN that the host is plugged into, with the machine called outside.
fn lan() -> Result<State, Problem> {
    let mac = |address: Ipv4Addr| Mac::for_ip(IpAddr::V4(address));
    let (device, outside) = (parsed("lan0")?, parsed("outside")?);
    let net = |address: Ipv4Addr| ipnet::IpNet::new_assert(address.into(), 24);
    let mut state = State::default();
    state.bridges.insert(
        parsed("lan0")?,
        Bridge { mac: mac(HOST), mtu: 1500, addresses: [net(HOST)].into(), switch: false, stp: false },
    );
    state.namespaces.insert(parsed("outside")?, Namespace::New);
    let route =
        linkspan_plan::Route { namespace: parsed("outside")?, via: HOST.into(), ifname: parsed("eth0")? };
    state.routes.insert(route);
    let peer = Peer {
        namespace: outside,
        ifname: parsed("eth0")?,
        mac: mac(OUTSIDE),
        addresses: [net(OUTSIDE)].into(),
        announce: false,
    };
    let port = Port { bridge: device, mtu: 1500, isolated: false, hairpin: false, peer: Some(peer) };
    state.ports.insert(parsed("cable0")?, port);
    Ok(state)
}

fn parsed<T>(text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Problem::new(format!("cannot read '{text}'")).because(error))
}

/// The first address of a sandbox, for its row in a table.
fn address(view: &SandboxView) -> String {
    let lease = view.attached.first().and_then(|(endpoint, _)| endpoint.lease(Family::V4));
    lease.map(|lease| lease.address.to_string()).unwrap_or_default()
}
