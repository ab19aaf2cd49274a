//! Who reaches whom, and under which address.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::*;

const NO_MASQUERADE: &str = "-o com.docker.network.bridge.enable_ip_masquerade=false";

#[test]
fn outside_sees_the_host_where_the_network_masquerades() {
    run(here!(), || {
        let _world = world();
        let outside = serving(Net::pinned("outside"));
        // A subnet that is given, one that is made, and a global one.
        linkspan(&format!("network create {LAB}"));
        linkspan("network create --ipv6 --subnet 10.8.0.0/24 two");
        linkspan("network create --ipv6 --subnet 10.9.0.0/24 --subnet 2001:db8:9::/64 three");
        for (name, net) in [("a", "lab"), ("b", "two"), ("c", "three")] {
            let from = sandbox(name, &format!("--net {net}"));
            for protocol in BOTH {
                assert_eq!(source(&from, protocol, "[2001:db8::9]:80"), "2001:db8::1", "{net}");
            }
            from.pings("2001:db8::9");
        }
        outside.gets_nothing_from(&["[fd00:7::2]:80", "[2001:db8:9::2]:80"]);
        outside.pings_in_vain("fd00:7::2");
        outside.pings_in_vain("2001:db8:9::2");
    });
}

#[test]
fn outside_sees_the_sandbox_where_the_network_does_not_masquerade() {
    run(here!(), || {
        let world = world();
        let outside = serving(Net::pinned("outside"));
        world.network(&format!("{NO_MASQUERADE} {LAB}"));
        let a = sandbox("a", "--net lab");
        for protocol in BOTH {
            assert_eq!(source(&a, protocol, "[2001:db8::9]:80"), "fd00:7::2");
        }
        outside.gets_nothing_from(&["[fd00:7::2]:80"]);
    });
}

#[test]
fn networks_are_apart() {
    run(here!(), || {
        let world = world();
        world.network(LAB).network("--ipv6 --subnet 10.8.0.0/24 --subnet 2001:db8:8::/64 two");
        let (a, b) = (sandbox("a", "--net lab"), sandbox("b", "--net two"));
        a.gets_nothing_from(&["[2001:db8:8::2]:80"]);
        b.gets_nothing_from(&["[fd00:7::2]:80"]);
        a.pings_in_vain("2001:db8:8::2");
        b.pings_in_vain("fd00:7::2");
        // The other's gateway is the host, but no way to what is behind it.
        a.sh("ip -6 route add 2001:db8:8::/64 via fd00:7::1");
        a.pings("2001:db8:8::1");
        a.gets_nothing_from(&["[2001:db8:8::2]:80"]);
    });
}

#[test]
fn an_internal_network_reaches_nothing_else() {
    run(here!(), || {
        let world = world();
        serving(Net::pinned("outside"));
        world.network(&format!("--internal {LAB}")).network(TWO);
        let (a, b) = (sandbox("a", "--net lab"), sandbox("b", "--net lab"));
        let other = sandbox("other", "--net two -p 8080:80");
        a.reaches("[fd00:7::3]:80");
        assert_eq!(a.sh("ip -6 route show default"), "");
        for route in ["true", "ip -6 route add default via fd00:7::1"] {
            a.sh(route);
            a.gets_nothing_from(&[
                "[2001:db8::9]:80",
                "[fd00:8::2]:80",
                "[2001:db8::1]:8080",
                "[fd00:7::1]:8080",
            ]);
            a.pings_in_vain("2001:db8::9");
        }
        other.gets_nothing_from(&["[fd00:7::3]:80"]);
        world.outside.gets_nothing_from(&["[fd00:7::3]:80"]);
        b.pings("fd00:7::2");
    });
}

/// Each question is one packet, asked once.
#[test]
fn the_first_packet_passes_as_soon_as_a_command_returns() {
    run(here!(), || {
        let world = world();
        for round in 0..3 {
            linkspan(&format!("network create {LAB}"));
            world.host.serve_udp(&format!("[fd00:7::1]:{}", 7000 + round));
            linkspan("sandbox create --net lab a");
            let a = Net::pinned("a");
            assert_eq!(source(&a, Protocol::Udp, &format!("[fd00:7::1]:{}", 7000 + round)), "fd00:7::2");
            linkspan("sandbox create --net lab -p 8080:80/udp b");
            Net::pinned("b").serve_udp("[::]:80");
            assert_eq!(source(&a, Protocol::Udp, "[fd00:7::3]:80"), "fd00:7::2");
            assert_eq!(source(&world.outside, Protocol::Udp, "[2001:db8::1]:8080"), "2001:db8::9");
            let told = linkspan("run --net lab -- ping -6 -n -c 1 -W 1 fd00:7::3");
            assert!(told.contains("1 received"), "{told}");
            assert_eq!(inside("a", "ip -6 -o address show tentative"), "");
            linkspan("sandbox rm a b");
            linkspan("network rm lab");
        }
    });
}

/// Has a client send much to a server and be sent as much, all within some seconds.
fn exchange(server: &Net, client: &Net, address: &str) {
    const MUCH: usize = 300_000;
    let both_ways = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut other = stream.try_clone().unwrap();
        let writer = thread::spawn(move || {
            other.write_all(&vec![7; MUCH]).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), MUCH);
        writer.join().unwrap();
    };
    let listener = server.enter(|| TcpListener::bind("[::]:7000")).unwrap();
    let served = thread::spawn(move || both_ways(listener.accept().unwrap().0));
    both_ways(client.enter(|| TcpStream::connect(address)).unwrap());
    served.join().unwrap();
}

/// Behind outside is a machine called far, on a wire that takes less than all others. Whoever sends too much is told
/// by outside with a "packet too big", which has to find its way through NAT.
#[test]
fn a_path_with_a_smaller_mtu_is_found_out() {
    run(here!(), || {
        let world = world();
        let far = Net::new("far");
        far.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
        world.outside.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.forwarding=1");
        linkspan_lab::wire((&far, "lan0", "198.51.100.2/24"), (&world.outside, "far0", "198.51.100.1/24"));
        far.sh("ip link set lan0 mtu 1300");
        world.outside.sh("ip link set far0 mtu 1300; ip address add 2001:db8:f::1/64 dev far0");
        // Far's own segments would tell, if it did not offer to take larger ones.
        far.sh(
            "ip address add 2001:db8:f::2/64 dev lan0; ip route add default via 2001:db8:f::1 advmss 1440",
        );
        sh("ip -6 route add 2001:db8:f::/64 via 2001:db8::9");
        world.network(LAB);
        let (web, other) = (sandbox("web", "--net lab -p 7000:7000"), sandbox("other", "--net lab"));
        let learned = |sandbox: &Net| sandbox.sh("ip -6 route get 2001:db8:f::2");
        exchange(&web, &far, "[2001:db8::1]:7000");
        assert!(learned(&web).contains("mtu 1300"), "{}", learned(&web));
        exchange(&far, &other, "[2001:db8:f::2]:7000");
        assert!(learned(&other).contains("mtu 1300"), "{}", learned(&other));
        // The host says it itself.
        sh("ip link set lan0 mtu 1280");
        exchange(&far, &other, "[2001:db8:f::2]:7000");
        assert!(learned(&other).contains("mtu 1280"), "{}", learned(&other));
    });
}
