//! Published ports.

use std::net::UdpSocket;
use std::time::Duration;

use super::*;

const WEB: &str = "--net lab -p 8080:80 -p 8080:80/udp";

#[test]
fn a_port_is_reached_on_every_way() {
    run(here!(), || {
        let world = world();
        world.network(LAB).network(TWO);
        let web = sandbox("web", WEB);
        let (peer, stranger) = (sandbox("peer", "--net lab"), sandbox("stranger", "--net two"));
        let ways = [
            (&world.outside, "2001:db8::1", "2001:db8::9"),
            (&world.host, "2001:db8::1", "2001:db8::1"),
            (&world.host, "fd00:7::1", "fd00:7::1"),
            (&world.host, "::1", "fd00:7::1"),
            (&stranger, "2001:db8::1", "fd00:8::2"),
            (&stranger, "fd00:8::1", "fd00:8::2"),
            (&peer, "2001:db8::1", "fd00:7::1"),
            (&peer, "fd00:7::1", "fd00:7::1"),
            (&web, "2001:db8::1", "fd00:7::1"),
            (&web, "fd00:7::1", "fd00:7::1"),
        ];
        for through_the_firewall in ["1", "0"] {
            bridge_netfilter_v6(through_the_firewall);
            for (from, address, seen) in ways {
                for protocol in BOTH {
                    let to = format!("[{address}]:8080");
                    assert_eq!(source(from, protocol, &to), seen, "{} to {to}", from.name());
                }
            }
        }
        world.outside.gets_nothing_from(&["[2001:db8::1]:80", "[fd00:7::2]:80"]);
        stranger.gets_nothing_from(&["[fd00:7::2]:80"]);
    });
}

#[test]
fn a_port_on_one_address_is_on_no_other() {
    run(here!(), || {
        let world = world();
        sh("ip address add 2001:db8::2/64 dev lan0 nodad");
        world.network(LAB);
        sandbox("web", "--net lab -p [2001:db8::2]:8080:80 -p [2001:db8::2]:8080:80/udp");
        for protocol in BOTH {
            assert_eq!(source(&world.outside, protocol, "[2001:db8::2]:8080"), "2001:db8::9");
            source(&world.host, protocol, "[2001:db8::2]:8080");
        }
        let elsewhere = ["[2001:db8::1]:8080", "192.0.2.1:8080"];
        world.outside.gets_nothing_from(&elsewhere);
        world.host.gets_nothing_from(&["[::1]:8080", "127.0.0.1:8080"]);
    });
}

#[test]
fn a_port_on_loopback_is_for_the_host_alone() {
    run(here!(), || {
        let world = world();
        world.network(LAB);
        sandbox("web", "--net lab -p [::1]:8080:80 -p [::1]:8080:80/udp");
        let peer = sandbox("peer", "--net lab");
        assert_eq!(linkspan("port web"), "80/tcp -> [::1]:8080\n80/udp -> [::1]:8080\n");
        for through_the_firewall in ["1", "0"] {
            bridge_netfilter_v6(through_the_firewall);
            for protocol in BOTH {
                source(&world.host, protocol, "[::1]:8080");
            }
        }
        world.host.gets_nothing_from(&["[2001:db8::1]:8080", "127.0.0.1:8080"]);
        world.outside.gets_nothing_from(&["[2001:db8::1]:8080", "192.0.2.1:8080"]);
        peer.gets_nothing_from(&["[fd00:7::1]:8080", "10.7.0.1:8080"]);
    });
}

#[test]
fn what_listens_on_loopback_is_left_alone() {
    run(here!(), || {
        let world = world();
        world.host.serve_tcp("[::1]:8080");
        world.host.serve_tcp("[::1]:22");
        world.network(LAB);
        sandbox("web", "--net lab -p 127.0.0.1:8080:80 -p 9090:80");
        let peer = sandbox("peer", "--net lab");
        assert_eq!(source(&world.host, Protocol::Tcp, "127.0.0.1:8080"), "::ffff:10.7.0.1");
        for port in [8080, 22] {
            assert_eq!(source(&world.host, Protocol::Tcp, &format!("[::1]:{port}")), "::1");
        }
        // Its own ::1 is all that a sandbox has.
        peer.sh("ip -6 address del ::1/128 dev lo && ip -6 route add ::1 via fd00:7::1");
        peer.gets_nothing_from(&["[::1]:8080", "[::1]:22", "[::1]:9090"]);
        refused("sandbox create --net lab -p [::1]:22:80 other").says(&["cannot publish", "[::1]:22"]);
    });
}

/// A reply of many segments, and one that comes in fragments.
#[test]
fn much_comes_back_to_loopback() {
    run(here!(), || {
        let world = world();
        world.network(LAB);
        linkspan("sandbox create --net lab -p 8080:80 -p 8080:80/udp web");
        let web = Net::pinned("web");
        if !has("python3") {
            return;
        }
        let serve = "import socket, threading
tcp, udp = socket.create_server(('::', 80), family=socket.AF_INET6), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(('::', 80))
print('ready', flush=True)
def echo():
    while True:
        data, peer = udp.recvfrom(65536)
        udp.sendto(data, peer)
threading.Thread(target=echo, daemon=True).start()
while True:
    client = tcp.accept()[0]
    client.sendall(b'x' * 2000000)
    client.close()";
        fs::write("/run/serve.py", serve).unwrap();
        web.sh("setsid python3 /run/serve.py > /run/served 2>&1 & \
                for i in $(seq 100); do grep -q ready /run/served && break; sleep 0.1; done");
        for through_the_firewall in ["1", "0"] {
            bridge_netfilter_v6(through_the_firewall);
            let ask = "import socket
tcp = socket.create_connection(('::1', 8080), 5)
print(len(tcp.makefile('rb').read()))
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.connect(('::1', 8080))
udp.send(b'y' * 50000)
print(len(udp.recv(65536)))";
            fs::write("/run/ask.py", ask).unwrap();
            assert_eq!(world.host.sh("python3 /run/ask.py"), "2000000\n50000\n");
        }
    });
}

#[test]
fn the_families_that_a_port_is_published_on() {
    run(here!(), || {
        let world = world();
        world.network(LAB);
        let told = |name: &str| linkspan(&format!("port {name}"));
        sandbox("both", "--net lab -p 8080:80");
        assert_eq!(told("both"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
        sandbox("six", "--net lab -p [::]:8081:80");
        assert_eq!(told("six"), "80/tcp -> [::]:8081\n");
        sandbox("four", "--net lab -p 0.0.0.0:8082:80");
        assert_eq!(told("four"), "80/tcp -> 0.0.0.0:8082\n");
        for reached in ["192.0.2.1:8080", "[2001:db8::1]:8080", "[2001:db8::1]:8081", "192.0.2.1:8082"] {
            world.outside.reaches(reached);
        }
        world.outside.gets_nothing_from(&["192.0.2.1:8081", "[2001:db8::1]:8082"]);
        // One that is chosen is the same for both.
        sandbox("chosen", "--net lab -p 80");
        assert_eq!(told("chosen"), "80/tcp -> 0.0.0.0:49153\n80/tcp -> [::]:49153\n");
        let ports = &json("sandbox inspect both")[0]["NetworkSettings"]["Ports"]["80/tcp"];
        assert_eq!(ports[0], serde_json::json!({ "HostIp": "0.0.0.0", "HostPort": "8080" }));
        assert_eq!(ports[1], serde_json::json!({ "HostIp": "::", "HostPort": "8080" }));
        refused("sandbox create --net lab -p [::]:8080:80 other").says(&["sandbox 'both'"]);
        sandbox("other", "--net lab -p [::]:8082:80 -p 0.0.0.0:8081:80");
    });
}

#[test]
fn a_network_without_ipv6_publishes_over_ipv4() {
    run(here!(), || {
        let world = world();
        world.network("--subnet 10.7.0.0/24 plain");
        world.sandbox("web", "--net plain -p 8080:80");
        assert_eq!(linkspan("port web"), "80/tcp -> 0.0.0.0:8080\n");
        world.outside.reaches("192.0.2.1:8080");
        world.outside.gets_nothing_from(&["[2001:db8::1]:8080"]);
        refused("sandbox create --net plain -p [::]:8081:80 other")
            .says(&["no IPv6 address"])
            .hints("--ipv6");
    });
}

#[test]
fn what_listens_on_the_host_is_in_the_way_of_its_family_only() {
    run(here!(), || {
        let world = world();
        world.network(LAB);
        world.host.serve_tcp("[::]:8080");
        sh("sysctl -qw net.ipv6.bindv6only=1");
        world.host.serve_tcp("[::]:8081");
        world.host.serve_tcp("0.0.0.0:8082");
        let before = Snapshot::take();
        let taken =
            ["8080:80", "[::]:8080:80", "0.0.0.0:8080:80", "[2001:db8::1]:8080:80", "127.0.0.1:8080:80"];
        for publish in taken.into_iter().chain(["8081:80", "[::]:8081:80", "[::1]:8081:80", "8082:80"]) {
            refused(&format!("sandbox create --net lab -p {publish} web"))
                .says(&["cannot publish", "taken by"]);
        }
        before.is_unchanged();
        sandbox("web", "--net lab -p 0.0.0.0:8081:80 -p [::]:8082:80");
        world.outside.reaches("192.0.2.1:8081");
        world.outside.reaches("[2001:db8::1]:8082");
    });
}

#[test]
fn an_address_that_the_host_does_not_have_is_refused() {
    run(here!(), || {
        world().network(LAB);
        refused("sandbox create --net lab -p [2001:db8::77]:8080:80 web")
            .says(&["2001:db8::77", "no such address"])
            .hints("ip address");
    });
}

#[test]
fn ports_answer_behind_a_foreign_default_gateway() {
    run(here!(), || {
        let world = world();
        world.network("--aux-address DefaultGatewayIPv6=fd00:7::fe --ipv6 --subnet 10.7.0.0/24 --subnet fd00:7::/64 lab");
        let web = sandbox("web", WEB);
        assert!(web.sh("ip -6 route show default").starts_with("default via fd00:7::fe dev eth0"));
        for protocol in BOTH {
            assert_eq!(source(&world.outside, protocol, "[2001:db8::1]:8080"), "fd00:7::1");
            source(&world.host, protocol, "[2001:db8::1]:8080");
            source(&world.host, protocol, "[::1]:8080");
        }
    });
}

#[test]
fn each_family_leads_through_a_network_that_has_it() {
    run(here!(), || {
        let world = world();
        world.network("--subnet 10.7.0.0/24 four").network("--ipv4=false --ipv6 --subnet fd00:8::/64 six");
        sandbox("web", "--net four --net six -p 8080:80");
        assert_eq!(source(&world.outside, Protocol::Tcp, "192.0.2.1:8080"), "::ffff:192.0.2.9");
        assert_eq!(source(&world.outside, Protocol::Tcp, "[2001:db8::1]:8080"), "2001:db8::9");
        refused("network disconnect six web").says(&["[::]:8080 -> 80/tcp"]);
        linkspan("network disconnect -f six web");
        world.outside.gets_nothing_from(&["[2001:db8::1]:8080"]);
        world.outside.reaches("192.0.2.1:8080");
    });
}

/// A UDP client that keeps its port asks on while the port goes from one sandbox to the next.
#[test]
fn a_udp_flow_follows_its_port_to_another_sandbox() {
    run(here!(), || {
        let world = world();
        world.network(LAB);
        let client = |net: &Net, server: &str| {
            let socket = net.enter(|| UdpSocket::bind("[::]:0")).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket.connect(server).unwrap();
            socket
        };
        let clients = [
            client(&world.outside, "[2001:db8::1]:5353"),
            client(&world.host, "[2001:db8::1]:5353"),
            client(&world.host, "[::1]:5353"),
        ];
        let answered = |client: &UdpSocket| client.send(b"?").and_then(|_| client.recv(&mut [0; 64])).is_ok();
        for name in ["one", "two", "three"] {
            sandbox(name, "--net lab -p 5353:80/udp");
            assert!(clients.iter().all(answered), "{name}");
            linkspan(&format!("sandbox rm {name}"));
            assert!(!clients.iter().any(answered), "after {name}");
        }
    });
}
