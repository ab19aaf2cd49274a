//! Networks come to a living sandbox, and go.

use crate::support::*;

/// Two networks, and a sandbox web on the first, its port published.
fn web() -> (World, Net) {
    let world = World::new();
    world.network("--subnet 10.7.0.0/24 one").network("--subnet 10.8.0.0/24 two");
    let web = world.sandbox("web", "--net one -p 8080:80");
    (world, web)
}

/// A device inside with its number, MAC and addresses, and the host's side of it.
fn cable(device: &str) -> String {
    let inside = inside("web", &format!("ip -o link show {device}; ip -o address show {device}"));
    inside + &sh("ip -o link show type veth | sed s/qdisc.*//")
}

#[test]
fn a_network_more_touches_no_other() {
    run(here!(), || {
        let (world, web) = web();
        let peer = world.sandbox("peer", "--net two");
        let before = inside("web", "ip -o -d link show eth0; ip -o address show eth0; ip route show default");
        linkspan("network connect two web");
        let after = inside("web", "ip -o -d link show eth0; ip -o address show eth0; ip route show default");
        assert_eq!(before, after);
        assert_eq!(source(&web, Protocol::Tcp, "10.8.0.2:80"), "10.8.0.3");
        peer.reaches("10.8.0.3:80");
        world.outside.reaches("192.0.2.1:8080");
        let there = cable("eth0");
        linkspan("network disconnect two web");
        assert_eq!(inside("web", "ip -br link").lines().count(), 2);
        assert_eq!(
            inside("web", "ip -o -d link show eth0; ip -o address show eth0; ip route show default"),
            before
        );
        assert!(there.contains("10.7.0.2"));
        world.outside.reaches("192.0.2.1:8080");
        peer.gets_nothing_from(&["10.8.0.3:80", "10.7.0.2:80"]);
    });
}

#[test]
fn a_connection_that_lasts_survives_networks_that_come_and_go() {
    run(here!(), || {
        let (world, _) = web();
        let phone = world.outside.enter(|| std::net::TcpListener::bind("192.0.2.9:7000").unwrap());
        let mut inner = Net::pinned("web").enter(|| std::net::TcpStream::connect("192.0.2.9:7000").unwrap());
        let (mut outer, _) = phone.accept().unwrap();
        let timeout = Some(std::time::Duration::from_secs(1));
        outer.set_read_timeout(timeout).unwrap();
        let mut say = |word: &[u8; 1]| {
            use std::io::{Read, Write};
            inner.write_all(word).unwrap();
            let mut heard = [0];
            outer.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, word);
        };
        say(b"1");
        linkspan("network connect two web");
        say(b"2");
        linkspan("network disconnect two web");
        say(b"3");
    });
}

#[test]
fn the_default_route_is_where_the_priority_says() {
    run(here!(), || {
        let (world, web) = web();
        serve(&world.outside, &[80]);
        let default = || web.sh("ip route show default").replace(" proto static", "").trim().to_owned();
        linkspan(
            "network create --subnet 10.9.0.0/24 -o com.docker.network.bridge.enable_ip_masquerade=false three",
        );
        linkspan("network connect --gw-priority 10 three web");
        assert_eq!(default(), "default via 10.9.0.1 dev eth1");
        assert_eq!(source(&web, Protocol::Tcp, "192.0.2.9:80"), "10.9.0.2");
        linkspan("network connect --gw-priority -1 two web");
        assert_eq!(default(), "default via 10.9.0.1 dev eth1");
        linkspan("network disconnect three web");
        assert_eq!(default(), "default via 10.7.0.1 dev eth0");
        assert_eq!(source(&web, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
        linkspan("network disconnect -f one web");
        assert_eq!(default(), "default via 10.8.0.1 dev eth2");
        web.reaches("192.0.2.9:80");
    });
}

/// The device that has the default route of each family; none is empty.
fn default_devices() -> [String; 2] {
    ["-4", "-6"].map(|family| {
        let routes = inside("web", &format!("ip {family} route show default"));
        assert!(routes.lines().count() <= 1, "{routes}");
        routes.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap_or_default().to_owned()
    })
}

#[test]
fn each_family_has_its_own_default_route_and_gets_it_back() {
    run(here!(), || {
        let world = World::new();
        world.host.sh("ip address add 2001:db8::1/64 dev lan0 nodad");
        world.outside.sh("ip address add 2001:db8::9/64 dev lan0 nodad");
        world.outside.sh("ip -6 route add fd00::/8 via 2001:db8::1");
        world.outside.serve_tcp("[::]:80");
        world.network("--subnet 10.7.0.0/24 four").network("--subnet fd00:6::/64 --ipv6 six");
        world.network("--subnet 10.5.0.0/24 --subnet fd00:5::/64 --ipv6 both");
        world.network("--subnet 10.9.0.0/24 --subnet fd00:9::/64 --ipv6 --internal aside");
        linkspan("sandbox create --net four,ifname=four --net six,ifname=six --net aside,ifname=aside web");
        let web = Net::pinned("web");
        let out = || ["192.0.2.9:80", "[2001:db8::9]:80"].iter().for_each(|server| web.reaches(server));
        assert_eq!(default_devices(), ["four", "six"]);
        out();
        // The first by name, whoever came first.
        linkspan("network connect --ifname both both web");
        assert_eq!(default_devices(), ["both", "both"]);
        out();
        for (network, left) in
            [("four", ["both", "both"]), ("both", ["four", "six"]), ("six", ["both", "both"])]
        {
            linkspan(&format!("network disconnect {network} web"));
            assert_eq!(default_devices(), left);
            out();
            linkspan(&format!("network connect --ifname {network} {network} web"));
            assert_eq!(default_devices(), ["both", "both"]);
        }
        // The priority comes before the name, and counts in the families that a network has.
        linkspan("network disconnect four web");
        linkspan("network connect --ifname four --gw-priority 1 four web");
        assert_eq!(default_devices(), ["four", "both"]);
        linkspan("network disconnect six web");
        linkspan("network disconnect both web");
        assert_eq!(default_devices(), ["four", ""]);
        assert_eq!(linkspan("repair"), "");
    });
}

#[test]
fn connections_over_untouched_networks_live_on_whatever_comes_and_goes() {
    run(here!(), || {
        let world = World::new();
        world
            .network("--subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 one")
            .network("--subnet 10.8.0.0/24 two");
        world.network("--subnet 10.5.0.0/24 --subnet fd00:5::/64 --ipv6 first");
        linkspan("sandbox create --net one web");
        linkspan("sandbox create --net one peer");
        let (web, peer) = (Net::pinned("web"), Net::pinned("peer"));
        let mut calls: Vec<_> = ["10.7.0.3:7000", "[fd00:7::3]:7000"]
            .iter()
            .map(|server| Call::from_to(&web, &peer, server))
            .collect();
        let mut alive = || calls.iter_mut().for_each(Call::says_something);
        let untouched = || {
            let host = "ip -o link show type veth | sort | grep -v \" state DOWN\"";
            (inside("web", "ip -o -d link show eth0; ip -o address show eth0"), sh(host))
        };
        let before = untouched();
        for _ in 0..3 {
            for line in [
                "connect two web",
                "connect --gw-priority 7 first web",
                "connect two peer",
                "disconnect two web",
                "disconnect first web",
                "disconnect two peer",
            ] {
                linkspan(&format!("network {line}"));
                alive();
                assert_eq!(untouched().0, before.0, "{line}");
            }
        }
        assert_eq!(untouched(), before);
    });
}

/// A TCP connection that stays open.
struct Call(std::net::TcpStream, std::net::TcpStream);

impl Call {
    fn from_to(from: &Net, to: &Net, server: &str) -> Self {
        let listener = to.enter(|| std::net::TcpListener::bind(server).unwrap());
        let caller = from.enter(|| std::net::TcpStream::connect(server).unwrap());
        let called = listener.accept().unwrap().0;
        called.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
        Self(caller, called)
    }

    fn says_something(&mut self) {
        use std::io::{Read, Write};
        self.0.write_all(b"!").unwrap();
        self.1.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_published_port_answers_wherever_the_default_route_leads() {
    run(here!(), || {
        let (world, _) = web();
        linkspan("network connect --gw-priority 10 two web");
        assert_eq!(source(&world.outside, Protocol::Tcp, "192.0.2.1:8080"), "192.0.2.9");
    });
}

#[test]
fn an_endpoint_is_as_it_was_asked_for() {
    run(here!(), || {
        let (world, web) = web();
        world.sandbox("peer", "--net two");
        linkspan(
            "network connect --ip 10.8.0.77 --mac-address 02:00:00:00:00:77 --ifname lan0 --alias db --alias sql two web",
        );
        let shown = web.sh("ip -br address show lan0; ip -br link show lan0");
        assert!(shown.contains("10.8.0.77/24") && shown.contains("02:00:00:00:00:77"), "{shown}");
        for name in ["web", "db", "sql"] {
            assert!(inside("peer", &format!("ping -c 1 -W 1 {name}")).contains("10.8.0.77"));
        }
        assert!(inside("web", "ping -c 1 -W 1 peer").contains("10.8.0.2"));
        linkspan("network disconnect two web");
        assert!(!succeeds_inside("peer", "getent hosts db"));
        // Name, address and MAC are free again.
        linkspan("sandbox create --net two,ip=10.8.0.77,mac=02:00:00:00:00:77,ifname=lan0,alias=db other");
        assert!(inside("peer", "ping -c 1 -W 1 db").contains("10.8.0.77"));
    });
}

#[test]
fn address_and_mac_are_asked_for_as_with_docker() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 lab").sandbox("first", "--net lab");
        let flags = "--ip 10.7.0.77 --ip6 fd00:7::77 --mac-address 02:00:00:00:00:77";
        let shown = linkspan(&format!("run --net lab,ifname=lan0 {flags} -- ip -o addr show lan0"));
        assert!(shown.contains("10.7.0.77/24") && shown.contains("fd00:7::77/64"), "{shown}");
        let web = world.sandbox("web", &format!("--net lab {flags}"));
        assert!(web.sh("ip link show eth0").contains("02:00:00:00:00:77"));
        Net::pinned("first").reaches("10.7.0.77:80");
        // On the default network too.
        linkspan("sandbox create --ip 172.17.9.9 plain");
        assert!(inside("plain", "ip -br address show eth0").contains("172.17.9.9/16"));
    });
}

#[test]
fn a_sandbox_without_network_gets_one() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        world.network("--subnet 10.7.0.0/24 lab");
        let web = world.sandbox("web", "--net none");
        linkspan("network connect lab web");
        assert_eq!(source(&web, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
        linkspan("network disconnect lab web");
        assert_eq!(web.sh("ip -br link").lines().count(), 1);
        assert_eq!(web.sh("ip route"), "");
    });
}

#[test]
fn a_sandbox_of_the_host_gets_none() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net host h");
        linkspan("sandbox create --net none n");
        linkspan("sandbox create --net container:n shared");
        let before = Snapshot::take();
        for name in ["h", "shared"] {
            refused(&format!("network connect lab {name}")).says(&["cannot be attached", name]);
        }
        for name in ["host", "none"] {
            refused(&format!("network connect {name} n")).hints(&format!("--net {name}"));
        }
        before.is_unchanged();
    });
}

#[test]
fn a_port_can_be_given_up_with_its_network() {
    run(here!(), || {
        let (world, _) = web();
        refused("network disconnect one web").says(&["published ports"]).hints("-f");
        world.outside.reaches("192.0.2.1:8080");
        linkspan("network disconnect -f one web");
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
        assert_eq!(linkspan("port web"), "");
        world.sandbox("other", "--net one -p 8080:80");
        world.outside.reaches("192.0.2.1:8080");
    });
}

#[test]
fn a_network_in_use_stays() {
    run(here!(), || {
        let (world, _) = web();
        refused("network rm one").says(&["'one' is in use", "web"]);
        assert_eq!(linkspan("network prune"), "two\n");
        world.outside.reaches("192.0.2.1:8080");
    });
}
