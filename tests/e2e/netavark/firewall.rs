//! The host's firewall: what a network is kept from, what goes out and how, and what comes back after somebody flushed it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};

use super::calling::{Backend, Said};
use crate::support::*;

/// A container of its own on a network of its own: 10.89.N.2 and fd89:N::2, on the bridge `podmanN`.
pub struct Place {
    name: String,
    number: u8,
    options: Value,
    ports: Value,
    more: Value,
    podman6: bool,
    environment: Vec<(String, String)>,
    flags: String,
}

impl Place {
    pub fn new(number: u8, options: Value) -> Self {
        let name = format!("c{number}");
        Self {
            name,
            number,
            options,
            ports: json!([]),
            more: json!({}),
            podman6: true,
            environment: vec![("DBUS_SYSTEM_BUS_ADDRESS".to_owned(), String::new())],
            flags: String::new(),
        }
    }

    /// Publishes a port of both protocols, at 80 inside.
    pub fn publishing(mut self, port: u16) -> Self {
        let mapping = |protocol| json!({"host_ip": "", "host_port": port, "container_port": 80, "range": 1, "protocol": protocol});
        self.ports = json!([mapping("tcp"), mapping("udp")]);
        self
    }

    pub fn with(mut self, more: Value) -> Self {
        self.more = more;
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn flags(mut self, flags: &str) -> Self {
        self.flags = flags.to_owned();
        self
    }

    fn input(&self) -> Value {
        let Self { name, number, .. } = self;
        let net = format!("net{number}");
        let mut network = json!({
            "name": net, "id": format!("{number:064x}"), "driver": "bridge",
            "network_interface": format!("podman{number}"),
            "options": self.options, "ipv6_enabled": true,
            "subnets": [
                {"subnet": format!("10.89.{number}.0/24"), "gateway": format!("10.89.{number}.1")},
                {"subnet": format!("fd89:{number}::/64"), "gateway": format!("fd89:{number}::1")},
            ],
        });
        network.as_object_mut().unwrap().extend(self.more.as_object().unwrap().clone());
        let ips = [format!("10.89.{number}.2"), format!("fd89:{number}::2")];
        let per = json!({"name": net, "interface_name": "eth0", "static_ips": ips});
        let networks = if self.podman6 { json!([per]) } else { json!({ net.as_str(): per }) };
        json!({
            "container_id": format!("id-of-{name}"), "container_name": name,
            "networks": networks, "network_info": { net.as_str(): network },
            "port_mappings": self.ports,
        })
    }

    pub fn call(&self, command: &str) -> Said {
        let line = format!("{} {command} /run/netns/{}", self.flags, self.name);
        let backend = self.environment.iter().fold(Backend::new(), |call, (key, value)| call.env(key, value));
        backend.args(&line).with(&self.input())
    }

    /// Sets it up and serves both protocols in it.
    pub fn up(&self) -> Net {
        let net = Net::pinned(&self.name);
        self.call("setup").result();
        serve_both(&net, 80);
        net
    }

    pub fn down(&self) {
        let said = self.call("teardown");
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

fn serve_both(net: &Net, port: u16) {
    net.serve_tcp(&format!("[::]:{port}"));
    net.serve_udp(&format!("[::]:{port}"));
}

/// As whom a server at `address` sees the client in `from`.
fn seen(from: &Net, protocol: Protocol, address: &str) -> String {
    source(from, protocol, address).replace("::ffff:", "")
}

/// A host with a neighbour that both families lead to, and containers' namespaces `c0` and so on. What is made once per host
/// is there.
pub fn world(containers: u8) -> World {
    let world = World::new();
    (0..containers).for_each(|number| drop(Net::new(&format!("c{number}"))));
    let first = Place::new(0, json!({})).publishing(7999);
    first.call("setup").result();
    first.down();
    sh("ip addr add 2001:db8::1/64 dev lan0 nodad");
    world.outside.sh("ip addr add 2001:db8::9/64 dev lan0 nodad && ip route add default via 2001:db8::1");
    serve_both(&world.outside, 80);
    world
}

fn isolate(word: &str) -> Value {
    json!({ "isolate": word })
}

fn reload(environment: &[(&str, &str)]) {
    let empty = [("DBUS_SYSTEM_BUS_ADDRESS", "")];
    let environment = if environment.is_empty() { &empty } else { environment };
    let backend = environment.iter().fold(Backend::new(), |call, (key, value)| call.env(key, value));
    let said = backend.args("firewall-reload").with(&Value::Null);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
}

#[test]
fn networks_meet_as_far_as_both_want_it_and_publish_to_all() {
    run(here!(), || {
        let world = world(6);
        let before = Snapshot::take();
        let words = ["false", "false", "true", "true", "strict", "strict"];
        let places: Vec<_> = (0..6)
            .map(|number| {
                Place::new(number, isolate(words[usize::from(number)])).publishing(8000 + u16::from(number))
            })
            .collect();
        let nets: Vec<_> = places.iter().map(Place::up).collect();
        for (from, net) in places.iter().zip(&nets) {
            for to in places.iter().filter(|to| to.number != from.number) {
                let [v4, v6] = [format!("10.89.{}.2:80", to.number), format!("[fd89:{}::2]:80", to.number)];
                match (words[usize::from(from.number)], words[usize::from(to.number)]) {
                    ("strict", _) | (_, "strict") | ("true", "true") => net.gets_nothing_from(&[&v4, &v6]),
                    _ => {
                        for address in [&v4, &v6] {
                            seen(net, Protocol::Tcp, address);
                            seen(net, Protocol::Udp, address);
                        }
                    }
                }
                let port = 8000 + u16::from(to.number);
                for address in [format!("192.0.2.1:{port}"), format!("[2001:db8::1]:{port}")] {
                    seen(net, Protocol::Tcp, &address);
                }
            }
            seen(&world.outside, Protocol::Udp, &format!("192.0.2.1:800{}", from.number));
            assert_eq!(seen(net, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
            assert_eq!(seen(net, Protocol::Udp, "[2001:db8::9]:80"), "2001:db8::1");
        }
        nets[0].pings("10.89.2.2");
        nets[2].pings_in_vain("10.89.3.2");
        nets[0].pings_in_vain("fd89:4::2");
        places.iter().for_each(Place::down);
        before.is_unchanged();
    });
}

#[test]
fn what_networks_are_kept_from_by_default_depends_on_podmans_version() {
    run(here!(), || {
        let _world = world(4);
        let (old, other) = (Place::new(1, json!({})), Place::new(2, json!({})));
        let (old, other) = (Place { podman6: false, ..old }, Place { podman6: false, ..other });
        let (new, nets) = (Place::new(3, json!({})), [old.up(), other.up()]);
        new.up();
        nets[0].reaches("10.89.2.2:80");
        nets[1].gets_nothing_from(&["10.89.3.2:80"]);
    });
}

#[test]
fn an_internal_network_leads_nowhere() {
    run(here!(), || {
        let world = world(3);
        let before = Snapshot::take();
        let inner = Place::new(1, json!({})).with(json!({"internal": true})).publishing(8001);
        let other = Place::new(2, isolate("false"));
        let (a, b) = (inner.up(), other.up());
        serve_both(&world.host, 90);
        a.sh("ip route add default via 10.89.1.1 && ip route add default via fd89:1::1");
        a.reaches("10.89.1.1:90");
        a.gets_nothing_from(&["192.0.2.9:80", "[2001:db8::9]:80", "10.89.2.2:80", "[fd89:2::2]:80"]);
        b.gets_nothing_from(&["10.89.1.2:80", "[fd89:1::2]:80", "192.0.2.1:8001"]);
        world.outside.gets_nothing_from(&["10.89.1.2:80", "192.0.2.1:8001"]);
        world.host.reaches("10.89.1.2:80");
        inner.down();
        other.down();
        before.is_unchanged();
    });
}

#[test]
fn what_goes_out_has_the_address_that_was_asked_for() {
    run(here!(), || {
        let world = world(3);
        sh(
            "ip addr add 192.0.2.77/24 dev lan0 && ip addr add 2001:db8::77/64 dev lan0 nodad preferred_lft 0",
        );
        let of_both = json!({"outbound_addr4": "192.0.2.77", "outbound_addr6": "2001:db8::77"});
        let both = Place::new(1, of_both).publishing(8001);
        let one = Place::new(2, json!({"outbound_addr4": "192.0.2.77"}));
        let (a, b) = (both.up(), one.up());
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(seen(&a, protocol, "192.0.2.9:80"), "192.0.2.77");
            assert_eq!(seen(&a, protocol, "[2001:db8::9]:80"), "2001:db8::77");
            assert_eq!(seen(&b, protocol, "192.0.2.9:80"), "192.0.2.77");
            assert_eq!(seen(&b, protocol, "[2001:db8::9]:80"), "2001:db8::1");
        }
        assert_eq!(seen(&world.outside, Protocol::Tcp, "192.0.2.1:8001"), "192.0.2.9");
        assert_eq!(seen(&a, Protocol::Tcp, "10.89.1.2:80"), "10.89.1.2");
    });
}

#[test]
fn all_comes_back_after_a_flush_and_connections_go_on() {
    run(here!(), || {
        let world = world(3);
        let web = Place::new(1, isolate("strict")).publishing(8001);
        let other = Place::new(2, isolate("false")).publishing(8002);
        let (a, b) = (web.up(), other.up());
        let listener = world.outside.enter(|| TcpListener::bind("192.0.2.9:99").unwrap());
        let mut client = a.enter(|| TcpStream::connect("192.0.2.9:99").unwrap());
        let (mut server, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), "192.0.2.1");
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let harms = [
            "flush ruleset",
            "delete table inet linkspan",
            "flush table inet linkspan",
            "flush set inet linkspan strict",
            "delete table inet netavark",
            "flush table inet netavark",
        ];
        for harm in harms {
            // That of the backend is there if something is published in it.
            if run_tool(&format!("nft {harm}")).0 {
                reload(&[]);
            }
            seen(&world.outside, Protocol::Udp, "192.0.2.1:8001");
            seen(&a, Protocol::Tcp, "192.0.2.1:8002");
            assert_eq!(seen(&b, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1", "{harm}");
            b.gets_nothing_from(&["10.89.1.2:80"]);
            server.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        drop((server, client));
        // As `podman network reload`: the same once more.
        sh("nft flush ruleset");
        for place in [&web, &other] {
            place.down();
            place.call("setup").result();
        }
        seen(&world.outside, Protocol::Tcp, "192.0.2.1:8001");
        web.down();
        other.down();
        let listed = sh("nft list ruleset");
        assert!(!listed.contains("podman1") && !listed.contains("10.89."), "{listed}");
    });
}

#[test]
fn a_client_that_goes_on_sending_reaches_who_has_the_port_now() {
    run(here!(), || {
        let world = world(3);
        let client = world.outside.enter(|| UdpSocket::bind("192.0.2.9:0").unwrap());
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let answered = || {
            client.send_to(b"who?", "192.0.2.1:8001").unwrap();
            client.recv_from(&mut [0; 64]).is_ok()
        };
        assert!(!answered());
        let places = [1, 2].map(|number| Place::new(number, json!({})).publishing(8001));
        for place in &places {
            let _net = place.up();
            assert!(answered(), "{}", place.name);
            place.down();
            assert!(!answered());
        }
    });
}

#[test]
fn names_are_asked_for_at_the_usual_port_wherever_the_server_listens() {
    run(here!(), || {
        let world = world(2);
        let before = Snapshot::take();
        for internal in [false, true] {
            let more = json!({"dns_enabled": true, "internal": internal});
            let place = Place::new(1, json!({})).with(more).env("NETAVARK_DNS_PORT", "5353");
            let net = Net::pinned("c1");
            place.call("setup").result();
            if !internal {
                // They go on listening while the addresses are gone.
                world.host.serve_tcp("10.89.1.1:5353");
                world.host.serve_udp("10.89.1.1:5353");
                world.host.serve_udp("[fd89:1::1]:5353");
            }
            assert_eq!(seen(&net, Protocol::Tcp, "10.89.1.1:53"), "10.89.1.2");
            assert_eq!(seen(&net, Protocol::Udp, "10.89.1.1:53"), "10.89.1.2");
            assert_eq!(seen(&net, Protocol::Udp, "[fd89:1::1]:53"), "fd89:1::2");
            place.down();
            before.is_unchanged();
        }
    });
}

#[test]
fn containers_pass_where_the_host_drops_what_nobody_has_accepted() {
    run(here!(), || {
        if !has("iptables") || !has("ip6tables") {
            return skip("iptables is not installed");
        }
        let world = world(2);
        sh("for tables in iptables ip6tables; do
                $tables -P FORWARD DROP; $tables -P INPUT DROP; $tables -A INPUT -p ipv6-icmp -j ACCEPT || true
            done");
        let listed = || sh("iptables -S; ip6tables -S");
        let before = listed();
        let place = Place::new(1, json!({})).with(json!({"dns_enabled": true})).publishing(8001);
        let net = place.up();
        world.host.serve_udp("10.89.1.1:53");
        world.host.serve_tcp("[fd89:1::1]:53");
        world.host.serve_tcp("10.89.1.1:54");
        for address in ["192.0.2.9:80", "[2001:db8::9]:80", "[fd89:1::1]:53"] {
            net.reaches(address);
        }
        seen(&net, Protocol::Udp, "10.89.1.1:53");
        net.gets_nothing_from(&["10.89.1.1:54"]);
        world.outside.reaches("192.0.2.1:8001");
        world.outside.gets_nothing_from(&["10.89.1.2:80"]);
        assert!(listed().contains("-A NETAVARK_INPUT -i podman1 -p udp -m udp --dport 53"), "{}", listed());
        sh("iptables -F && ip6tables -F");
        net.gets_nothing_from(&["192.0.2.9:80"]);
        reload(&[]);
        net.reaches("192.0.2.9:80");
        seen(&net, Protocol::Udp, "10.89.1.1:53");
        place.down();
        assert_eq!(
            listed().replace("-A INPUT -p ipv6-icmp -j ACCEPT\n", ""),
            before.replace("-A INPUT -p ipv6-icmp -j ACCEPT\n", "")
        );
    });
}

#[test]
fn who_keeps_the_firewall_is_chosen_by_name() {
    run(here!(), || {
        let world = world(3);
        let none = Place::new(1, json!({})).publishing(8001).flags("--firewall-driver NONE");
        let net = none.up();
        let listed = sh("nft list ruleset");
        assert!(!listed.contains("podman1") && !listed.contains("10.89.1.2"), "{listed}");
        world.outside.gets_nothing_from(&["192.0.2.1:8001"]);
        world.outside.reaches("10.89.1.2:80");
        net.reaches("192.0.2.9:80");
        none.down();
        let wrong = Place::new(2, json!({})).env("NETAVARK_FW", "Foo");
        assert_eq!(wrong.call("setup").error(), "Must provide a valid firewall backend, got foo");
        let absent = Place::new(2, json!({})).flags("--firewall-driver firewalld");
        let error = absent.call("setup").error();
        assert!(
            error.starts_with("Error retrieving dbus connection for requested firewall backend"),
            "{error}"
        );
    });
}
