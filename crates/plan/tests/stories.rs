//! Stories: what happens to a host, and the steps that each turn takes. The expected steps are beside this file, one
//! file a story; `UPDATE_GOLDEN=1 cargo test` writes them anew.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::slice::from_ref;

use linkspan_model::{
    BridgeOptions, Card, ChildKind, Core, Driver, Endpoint, Family, HostAccess, Id, IfName, IpamRequest,
    IpvlanFlag, IpvlanMode, Lease, Limit, Mac, MacvlanMode, Name, NamespaceSource, Network, OptionMap,
    Parent, PortRange, Protocol, Published, Sandbox, Shaping, Uplink, Vlan, Wire,
};
use linkspan_plan::{PatchEnd, State, Step, desired, diff};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn network(title: &str, subnet: &str, change: impl FnOnce(&mut Network)) -> Network {
    let request = IpamRequest { subnets: vec![subnet.parse().unwrap()], ..IpamRequest::default() };
    let mut network = Network {
        id: Id::from_bytes([title.as_bytes()[0]; 32]),
        name: name(title),
        created: 0,
        driver: Driver::Bridge,
        internal: false,
        ipv6: false,
        ipam_driver: "default".to_owned(),
        ipam_options: OptionMap::new(),
        pools: request.pools().unwrap(),
        options: OptionMap::new(),
        bridge: BridgeOptions {
            bridge: Some(format!("br-{title}").parse().unwrap()),
            ..BridgeOptions::default()
        },
        parent: None,
        labels: BTreeMap::new(),
        card: None,
        core: None,
        guests: None,
    };
    change(&mut network);
    network
}

fn sandbox(title: &str, namespace: NamespaceSource) -> Sandbox {
    Sandbox {
        id: Id::from_bytes([title.as_bytes()[0]; 32]),
        name: name(title),
        created: 0,
        namespace,
        hostname: title.to_owned(),
        dns: Vec::new(),
        add_hosts: Vec::new(),
        links: Vec::new(),
        ephemeral: false,
        labels: BTreeMap::new(),
        netns: None,
        of_runtime: false,
    }
}

fn endpoint(number: u8, of: &Sandbox, network: &Network, ip: &str) -> Endpoint {
    let address = ip.parse().unwrap();
    let pool = network.pools.iter().find(|pool| pool.subnet.contains(&address)).unwrap();
    let gateway = (!network.internal).then(|| pool.default_gateway());
    Endpoint {
        id: Id::from_bytes([number; 32]),
        network: network.id,
        sandbox: of.id,
        ifname: IfName::numbered("eth", usize::from(number % 16)),
        mac: Mac::for_ip(address),
        access: 0,
        addresses_of: None,
        leases: vec![Lease { subnet: pool.subnet, address, gateway, reused: false }],
        aliases: Vec::new(),
        named: false,
        gw_priority: 0,
        wire: Wire::Veth,
        shaping: Shaping::default(),
        parts: Vec::new(),
        published: Vec::new(),
    }
}

fn publish(protocol: Protocol, host_ip: &str, host: (u16, u16), target: (u16, u16)) -> Published {
    let range = |(first, last)| PortRange { first, last };
    Published { protocol, host_ip: host_ip.parse().unwrap(), host: range(host), target: range(target) }
}

/// A host whose kernel does just what the steps say, and the record of them.
#[derive(Default)]
struct Story {
    kernel: State,
    record: String,
}

impl Story {
    /// `desired` comes, what only `former` has goes; everything else stays out of it.
    fn turn(&mut self, title: &str, desired: &[State], former: &[State]) -> &mut Self {
        let all = |states: &[State]| {
            states.iter().cloned().fold(
                State { firewall: Some([].into()), ..State::default() },
                |mut all, state| {
                    all.merge(state);
                    all
                },
            )
        };
        let (mut desired, former) = (all(desired), all(former));
        if self.kernel.firewall.is_none() && desired.firewall.as_ref().is_some_and(BTreeSet::is_empty) {
            desired.firewall = None;
        }
        let steps = diff(&desired, &self.seen(&desired, &former));
        _ = writeln!(self.record, "# {title}");
        steps.iter().for_each(|step: &Step| {
            _ = writeln!(self.record, "{step}");
            self.kernel.apply(step);
        });
        self.record.push('\n');
        self
    }

    fn seen(&self, desired: &State, former: &State) -> State {
        let mut seen = self.kernel.clone();
        let both = [desired, former];
        seen.sysctls.retain(|key, _| both.iter().any(|state| state.sysctls.contains_key(key)));
        seen.bridges.retain(|key, _| both.iter().any(|state| state.bridges.contains_key(key)));
        seen.uplinks.retain(|key, _| both.iter().any(|state| state.uplinks.contains_key(key)));
        seen.namespaces.retain(|key, _| both.iter().any(|state| state.namespaces.contains_key(key)));
        seen.ports.retain(|key, _| both.iter().any(|state| state.ports.contains_key(key)));
        seen.patches.retain(|key, _| both.iter().any(|state| state.patches.contains_key(key)));
        seen.taps.retain(|key, _| both.iter().any(|state| state.taps.contains_key(key)));
        seen.shapers.retain(|key, _| both.iter().any(|state| state.shapers.contains_key(key)));
        let upper = &mut seen.upper;
        upper.vlans.retain(|key, _| both.iter().any(|state| state.upper.vlans.contains_key(key)));
        upper.shims.retain(|key, _| both.iter().any(|state| state.upper.shims.contains_key(key)));
        upper.children.retain(|key, _| both.iter().any(|state| state.upper.children.contains_key(key)));
        upper.paths.retain(|key, _| both.iter().any(|state| state.upper.paths.contains_key(key)));
        seen.routes.retain(|route| both.iter().any(|state| state.namespaces.contains_key(&route.namespace)));
        if let Some(elements) = &mut seen.firewall {
            elements.retain(|element| {
                both.iter().any(|state| state.firewall.iter().flatten().any(|e| e == element))
            });
        }
        seen
    }

    fn check(&self, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories").join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &self.record).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.record, expected, "the steps are not those of {}", path.display());
    }
}

#[test]
fn a_sandbox_with_a_published_port_comes_and_goes() {
    let lab = network("lab", "10.7.0.0/24", |_| {});
    let web = sandbox("web", NamespaceSource::New);
    let mut wire = endpoint(0x10, &web, &lab, "10.7.0.2");
    wire.published = vec![
        publish(Protocol::Tcp, "0.0.0.0", (8080, 8080), (80, 80)),
        publish(Protocol::Udp, "127.0.0.1", (5300, 5301), (53, 54)),
        publish(Protocol::Tcp, "0.0.0.0", (3000, 5999), (3000, 5999)),
    ];
    let (net, wired) = (desired::network(&lab), desired::sandbox(&web, &[(wire, lab.clone())]));
    let mut story = Story::default();
    story.turn("create network lab", from_ref(&net), &[]);
    story.turn("create sandbox web on lab, ports published", &[net.clone(), wired.clone()], &[]);
    story.turn("the same again", &[net.clone(), wired.clone()], &[]);
    story.turn("remove sandbox web", &[], &[wired]);
    story.turn("remove network lab", &[], &[net]);
    story.check("published-port.steps");
    assert!(
        story.kernel.bridges.is_empty()
            && story.kernel.ports.is_empty()
            && story.kernel.namespaces.is_empty()
    );
}

#[test]
fn the_default_route_follows_priority_and_leaves_other_endpoints_alone() {
    let (alpha, beta) = (network("alpha", "10.1.0.0/24", |_| {}), network("beta", "10.2.0.0/24", |_| {}));
    let web = sandbox("web", NamespaceSource::New);
    let first = (endpoint(0x10, &web, &alpha, "10.1.0.2"), alpha.clone());
    let mut second = (endpoint(0x11, &web, &beta, "10.2.0.2"), beta.clone());
    second.0.gw_priority = 10;
    let nets = [desired::network(&alpha), desired::network(&beta)];
    let one = desired::sandbox(&web, from_ref(&first));
    let two = desired::sandbox(&web, &[first, second]);
    let mut story = Story::default();
    story.turn("create networks alpha and beta", &nets, &[]);
    story.turn("create sandbox web on alpha", from_ref(&one), &[]);
    story.turn("connect web to beta with a higher gateway priority", from_ref(&two), from_ref(&one));
    story.turn("disconnect web from beta", &[one], &[two]);
    story.check("two-networks.steps");
}

#[test]
fn options_of_a_network_show_in_its_steps() {
    let vault = network("vault", "10.3.0.0/24", |network| {
        network.internal = true;
        network.bridge.icc = false;
        network.bridge.mtu = 9000;
    });
    let flat = network("flat", "192.168.0.0/24", |network| {
        network.bridge.masquerade = false;
        network.pools[0].aux.insert("DefaultGatewayIPv4".to_owned(), "192.168.0.2".parse().unwrap());
    });
    let (safe, lan) = (sandbox("safe", NamespaceSource::New), sandbox("lan", NamespaceSource::New));
    let locked = endpoint(0x10, &safe, &vault, "10.3.0.2");
    let open = endpoint(0x20, &lan, &flat, "192.168.0.3");
    assert_eq!(open.lease(Family::V4).unwrap().gateway.unwrap().to_string(), "192.168.0.2");
    let mut story = Story::default();
    story.turn("create an internal network without icc, MTU 9000", &[desired::network(&vault)], &[]);
    story.turn(
        "create a network with another default gateway, not masqueraded",
        &[desired::network(&flat)],
        &[],
    );
    story.turn("create sandbox safe", &[desired::sandbox(&safe, &[(locked, vault)])], &[]);
    story.turn("create sandbox lan", &[desired::sandbox(&lan, &[(open, flat)])], &[]);
    story.check("options.steps");
}

#[test]
fn a_network_in_open_vswitch_is_a_patch() {
    let lab = network("lab", "10.7.0.0/24", |network| {
        network.bridge.uplink = Some("ovs:br-eth1".parse().unwrap());
    });
    let net = desired::network(&lab);
    let mut story = Story::default();
    story.turn("create network lab, plugged into br-eth1", from_ref(&net), &[]);
    for patch in story.kernel.patches.values_mut() {
        patch.to = PatchEnd::Bridge(lab.bridge_name());
    }
    story.turn("repair after the port came to be elsewhere", from_ref(&net), &[]);
    story.turn("remove network lab", &[], &[net]);
    story.check("open-vswitch.steps");
    assert!(story.kernel.patches.is_empty());
}

/// `network` plugged into `above`, with its subnet if it `shares` that.
fn plugged(network: &mut Network, above: &Network, shares: bool) {
    if shares {
        network.pools.clone_from(&above.pools);
    }
    let (id, bridge, icc) = (above.id, above.bridge_name(), above.bridge.icc);
    network.core = Some(Core { id, bridge, icc, addresses_of: shares.then_some(id) });
}

#[test]
fn a_network_is_patched_into_another() {
    let core = network("core", "10.1.0.0/24", |_| {});
    let shut = network("shut", "10.2.0.0/24", |network| network.bridge.icc = false);
    let access = network("access", "10.9.0.0/24", |network| plugged(network, &core, true));
    let other = network("other", "10.3.0.0/24", |network| plugged(network, &shut, false));
    let web = sandbox("web", NamespaceSource::New);
    let wired = desired::sandbox(&web, &[(endpoint(0x10, &web, &access, "10.1.0.2"), access.clone())]);
    let both = [desired::network(&core), desired::network(&access)];
    let mut story = Story::default();
    story.turn("create network core", &both[..1], &[]);
    story.turn("create network access, patched into core, whose subnet it shares", &both, &[]);
    story.turn("create sandbox web on access", &[both[0].clone(), both[1].clone(), wired.clone()], &[]);
    story.kernel.patches.clear();
    story.turn("repair after `ip link del` of the patch", &both, &[]);
    let apart = [desired::network(&shut), desired::network(&other)];
    story.turn("create network other with a subnet of its own, patched into shut, without icc", &apart, &[]);
    story.turn("remove sandbox web and network access", &[], &[wired, both[1].clone()]);
    story.check("patch.steps");
}

#[test]
fn a_network_on_a_sub_interface() {
    let lan = network("lan", "10.1.0.0/24", |network| {
        network.driver = Driver::Macvlan;
        network.parent = Some(Parent {
            device: "eth0.10".parse().unwrap(),
            vlan: Some(Vlan { link: "eth0".parse().unwrap(), id: 10 }),
            kind: ChildKind::Macvlan(MacvlanMode::Bridge),
            mtu: Some(1400),
            iface_prefix: "eth".to_owned(),
            host_access: Some(HostAccess {
                addresses: ["10.1.0.9".parse().unwrap()].into(),
                own: ["10.1.0.9".parse().unwrap()].into(),
            }),
        });
    });
    let web = sandbox("web", NamespaceSource::New);
    let wire = endpoint(0x10, &web, &lan, "10.1.0.2");
    let (net, wired) = (desired::network(&lan), desired::sandbox(&web, &[(wire, lan)]));
    let mut story = Story::default();
    story.turn("create network lan on VLAN 10 with host access", from_ref(&net), &[]);
    story.turn("create sandbox web on lan", &[net.clone(), wired.clone()], &[]);
    story.kernel.upper.shims.clear();
    story.kernel.upper.paths.clear();
    story.turn("repair after `ip link del` of the shim", &[net.clone(), wired.clone()], &[]);
    story.turn("remove sandbox web", &[], &[wired]);
    story.turn("remove network lan", &[], from_ref(&net));
    story.check("sub-interface.steps");
    assert!(story.kernel.namespaces.is_empty() && story.kernel.firewall.is_none());
    // Two commands that miss them, as after a boot, must not both make them.
    let made = diff(&State { firewall: None, ..net }, &State::default());
    let created: Vec<_> = made.iter().filter(|step| step.to_string().starts_with("create ")).collect();
    assert!(created.len() == 2 && created.iter().all(|step| step.makes_ground()), "{created:?}");
}

#[test]
fn ipvlan_without_a_gateway() {
    let lan = network("lan", "10.1.0.0/24", |network| {
        network.driver = Driver::Ipvlan;
        network.parent = Some(Parent {
            device: "eth0".parse().unwrap(),
            vlan: None,
            kind: ChildKind::Ipvlan(IpvlanMode::L3, IpvlanFlag::Private),
            mtu: None,
            iface_prefix: "eth".to_owned(),
            host_access: None,
        });
        network.pools[0].gateway = "0.0.0.0".parse().unwrap();
    });
    let web = sandbox("web", NamespaceSource::New);
    let wire = endpoint(0x10, &web, &lan, "10.1.0.2");
    let wired = desired::sandbox(&web, &[(wire, lan.clone())]);
    let mut story = Story::default();
    story.turn("create network lan on a card that is down", &[desired::network(&lan)], &[]);
    story.turn("create sandbox web on lan", from_ref(&wired), &[]);
    story.turn("remove sandbox web", &[], &[wired]);
    story.check("ipvlan.steps");
}

#[test]
fn modes_without_a_network_only_pin() {
    let state = |title, source| desired::sandbox(&sandbox(title, source), &[]);
    let path = "/proc/4711/ns/net".into();
    let mut story = Story::default();
    story.turn("create sandbox lonely with --net none", &[state("lonely", NamespaceSource::New)], &[]);
    story.turn("create sandbox bare with --net host", &[state("bare", NamespaceSource::Host)], &[]);
    let debug = state("debug", NamespaceSource::Sandbox(name("lonely")));
    story.turn("create sandbox debug with --net container:lonely", from_ref(&debug), &[]);
    story.turn(
        "create sandbox adopted with --pid 4711",
        &[state("adopted", NamespaceSource::Path(path))],
        &[],
    );
    let own_pin = state("there", NamespaceSource::Path("/run/netns/there".into()));
    story.turn("create sandbox there with --netns /run/netns/there", &[own_pin], &[]);
    story.turn("remove sandbox debug", &[], &[debug]);
    story.check("modes.steps");
}

#[test]
fn a_flushed_ruleset_and_a_lost_device_come_back() {
    let lab = network("lab", "10.7.0.0/24", |_| {});
    let web = sandbox("web", NamespaceSource::New);
    let mut wire = endpoint(0x10, &web, &lab, "10.7.0.2");
    wire.published = vec![publish(Protocol::Tcp, "0.0.0.0", (8080, 8080), (80, 80))];
    let host = wire.host_ifname();
    let all = [desired::network(&lab), desired::sandbox(&web, &[(wire, lab.clone())])];
    let mut story = Story::default();
    story.turn("create network lab and sandbox web", &all, &[]);
    story.kernel.firewall = None;
    story.turn("repair after `nft flush ruleset`", &all, &[]);
    story.kernel.apply(&Step::DeletePort(host));
    story.turn("repair after `ip link del` of the port", &all, &[]);
    story.kernel.bridges.clear();
    story.kernel.ports.clear();
    story.kernel.routes.clear();
    story.turn("repair after `ip link del` of the bridge and its port", &all, &[]);
    story.check("repair.steps");
}

#[test]
fn a_pin_cut_short_is_made_anew() {
    let web = sandbox("web", NamespaceSource::New);
    let wanted = desired::sandbox(&web, &[]);
    let mut story = Story::default();
    story.kernel.namespaces.insert(web.name.clone(), linkspan_plan::Namespace::Path(web.pin()));
    let mut seen = story.kernel.clone();
    seen.forgive(&wanted, &State::default());
    assert_eq!(seen, story.kernel);
    story.turn("create sandbox web where a file pins nothing", &[wanted], &[]);
    story.check("stale-pin.steps");
}

fn limit(rate: &str) -> Option<Limit> {
    Some(Limit::new(rate.parse().unwrap()))
}

/// The endpoint as a tap.
fn tap(number: u8, of: &Sandbox, network: &Network, ip: &str, owner: Option<u32>) -> Endpoint {
    let wire = endpoint(number, of, network, ip);
    Endpoint { wire: Wire::Tap { owner }, ifname: wire.id.tap_ifname(), ..wire }
}

#[test]
fn a_virtual_machine_has_taps_and_no_namespace() {
    let lab = network("lab", "10.7.0.0/24", |_| {});
    let apart = network("apart", "10.8.0.0/24", |network| network.bridge.icc = false);
    let vm = sandbox("vm", NamespaceSource::Machine);
    let first = (tap(0x10, &vm, &lab, "10.7.0.2", None), lab.clone());
    let mut second = (tap(0x11, &vm, &apart, "10.8.0.2", Some(1000)), apart.clone());
    second.0.shaping = Shaping { ingress: limit("10mbit"), egress: None };
    let nets = [desired::network(&lab), desired::network(&apart)];
    let one = desired::sandbox(&vm, from_ref(&first));
    let two = desired::sandbox(&vm, &[first.clone(), second]);
    let mut story = Story::default();
    story.turn("create networks lab and apart", &nets, &[]);
    story.turn("connect --tap lab vm", from_ref(&one), &[]);
    story.turn(
        "connect --tap --tap-owner 1000 --ingress-rate 10mbit apart vm",
        from_ref(&two),
        from_ref(&one),
    );
    story.kernel.apply(&Step::DeleteTap(first.0.host_ifname()));
    story.turn("repair after `ip link del` of the first tap", from_ref(&two), &[]);
    story.turn("disconnect vm from apart", from_ref(&one), &[two]);
    story.turn("disconnect vm from lab", &[], &[one]);
    story.turn("remove both networks", &[], &nets);
    story.check("tap.steps");
    assert_eq!(
        story.kernel,
        State { sysctls: story.kernel.sysctls.clone(), firewall: Some([].into()), ..State::default() }
    );
}

#[test]
fn limits_come_and_go_with_their_port() {
    let lab = network("lab", "10.7.0.0/24", |_| {});
    let web = sandbox("web", NamespaceSource::New);
    let mut wire = endpoint(0x10, &web, &lab, "10.7.0.2");
    wire.shaping = Shaping { ingress: limit("10mbit"), egress: limit("1gbit") };
    let (host, ifb) = (wire.host_ifname(), wire.id.ifb_ifname());
    let all = [desired::network(&lab), desired::sandbox(&web, &[(wire, lab.clone())])];
    let mut story = Story::default();
    story.turn("create network lab and sandbox web", &all, &[]);
    story.turn("the same again", &all, &[]);
    story.kernel.apply(&Step::DeletePort(host.clone()));
    assert_eq!(story.kernel.shapers[&host].ifb(), Some(&ifb));
    story.turn("repair after `ip link del` of the port", &all, &[]);
    story.kernel.shapers.get_mut(&host).unwrap().egress.as_mut().unwrap().fed = false;
    story.turn("repair after `ip link del` of the ifb", &all, &[]);
    story.kernel.shapers.get_mut(&host).unwrap().ingress = limit("20mbit");
    let mut seen = story.kernel.clone();
    seen.forgive(&all[1], &State::default());
    assert_eq!(seen.shapers, all[1].shapers, "a rate changed by hand is forgiven");
    story.turn("remove sandbox web", from_ref(&all[0]), from_ref(&all[1]));
    story.check("shaping.steps");
    assert!(story.kernel.shapers.is_empty() && story.kernel.ports.is_empty());
}

#[test]
fn a_network_card_goes_over_to_its_bridge_and_comes_back() {
    let card = Card {
        mac: "52:54:00:12:34:56".parse().unwrap(),
        mtu: 1500,
        addresses: ["192.168.0.5/24".parse().unwrap()].into(),
        given_addresses: vec!["02".to_owned(), "0a".to_owned()],
        given_routes: vec!["02".to_owned()],
        undone_at: None,
    };
    let flat = network("lan", "192.168.0.0/24", |network| {
        network.bridge.uplink = Some(Uplink::Device("eth1".parse().unwrap()));
        network.pools[0].gateway = "192.168.0.1".parse().unwrap();
        network.pools[0].aux = [("DefaultGatewayIPv4".to_owned(), "192.168.0.254".parse().unwrap())].into();
        network.card = Some(card);
    });
    let web = sandbox("web", NamespaceSource::New);
    let mut wire = endpoint(0x10, &web, &flat, "192.168.0.64");
    wire.published = vec![publish(Protocol::Tcp, "0.0.0.0", (8080, 8080), (80, 80))];
    let (net, wired) = (desired::network(&flat), desired::sandbox(&web, &[(wire, flat.clone())]));
    let mut story = Story::default();
    story.turn("create network lan on eth1", from_ref(&net), &[]);
    story.turn("create sandbox web on it", &[net.clone(), wired.clone()], &[]);
    story.kernel.uplinks.values_mut().for_each(|uplink| uplink.plugged = false);
    story.turn("repair after `ip link set eth1 nomaster`", from_ref(&net), &[]);
    story.turn("remove sandbox web", &[], from_ref(&wired));
    story.turn("remove network lan", &[], from_ref(&net));
    story.check("lan.steps");
    assert!(story.kernel.uplinks.is_empty() && story.kernel.bridges.is_empty());
}

#[test]
fn networks_of_a_runtime_are_isolated_and_go_out_as_they_want() {
    use linkspan_model::{Guests, Isolation};
    let bridges =
        |names: &[&str]| names.iter().map(|name| name.parse::<IfName>().unwrap()).collect::<Vec<_>>();
    let of = |title: &str, guests: Guests| {
        network(title, "10.7.0.0/24", |network| {
            (network.driver, network.guests) = (Driver::Plugins, Some(guests));
            network.pools.clear();
        })
    };
    let [one, two, shut] = &bridges(&["podman1", "podman2", "podman3"])[..] else { unreachable!() };
    let strict = of(
        "strict",
        Guests {
            bridges: [one.clone()].into(),
            isolation: [(one.clone(), Isolation::Strict)].into(),
            masqueraded: [one.clone()].into(),
            outbound: [(one.clone(), "192.0.2.1".parse().unwrap())].into(),
            dns: ["10.89.0.1:5353".parse().unwrap(), "[fd00::1]:5353".parse().unwrap()].into(),
            ..Guests::default()
        },
    );
    let open = of(
        "open",
        Guests {
            bridges: [two.clone()].into(),
            isolation: [(two.clone(), Isolation::Open)].into(),
            masqueraded: [two.clone()].into(),
            ..Guests::default()
        },
    );
    let internal = of("internal", Guests { internal: [shut.clone()].into(), ..Guests::default() });
    let all = [&strict, &open, &internal].map(desired::network);
    let mut story = Story::default();
    story.turn("networks of a strict, an open and an internal kind", &all, &[]);
    story.turn("the strict one goes", &[], &all[..1]).turn("all go", &[], &all[1..]);
    story.check("segments.steps");
}
