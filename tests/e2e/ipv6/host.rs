//! The host's own IPv6: what it learned of routers, and hosts without it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::*;

/// Advertises the sender as a router for so many seconds, with a prefix to make addresses of (RFC 4861).
const ADVERTISE: &str = "
import socket, struct, sys
lifetime, index = int(sys.argv[1]), socket.if_nametoindex('ra0')
router = struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, lifetime, 0, 0)
prefix = struct.pack('!BBBBIII', 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, '2001:db8:a::')
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
raw.sendto(router + prefix, ('ff02::1', 0, 0, index))
";

/// A router that the host hears at its device ra0, and beyond it 2001:db8:ff::1, which serves at port 80.
struct Router(Net);

impl Router {
    fn new() -> Self {
        let (host, router) = (Net::here(), Net::new("router"));
        for net in [&host, &router] {
            net.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0");
        }
        linkspan_lab::wire((&host, "ra0", "198.51.100.1/24"), (&router, "ra0", "198.51.100.2/24"));
        host.sh("sysctl -qw net.ipv6.conf.default.accept_dad=1");
        router.sh("sysctl -qw net.ipv6.conf.all.forwarding=1; ip address add 2001:db8:ff::1/128 dev lo
             ip -6 route add 2001:db8:a::/64 dev ra0");
        fs::write("/run/advertise.py", ADVERTISE).unwrap();
        Self(serving(router))
    }

    fn advertise(&self, seconds: u32) {
        self.0.sh(&format!("python3 /run/advertise.py {seconds}"));
    }
}

/// For how many seconds the host's default route holds; none if there is none.
fn default_route_lasts() -> Option<u32> {
    let route = sh("ip -6 route show default dev ra0 proto ra");
    let (_, expires) = route.split_once(" expires ")?;
    expires.split_once("sec")?.0.parse().ok()
}

/// Waits for the host to have dealt with an advertisement.
fn in_the_end(what: &str, holds: impl Fn() -> bool) {
    let held = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(20));
        holds()
    });
    assert!(held, "{what}: {}", sh("ip -6 route show; sysctl -a 2>/dev/null | grep accept_ra.=; true"));
}

#[test]
fn the_default_route_that_the_host_learned_is_kept() {
    run(here!(), || {
        if !has("python3") {
            return;
        }
        let router = Router::new();
        sh("ip link add quiet0 type veth peer name quiet1; sysctl -qw net.ipv6.conf.quiet0.accept_ra=0");
        router.advertise(1800);
        in_the_end("learned", || default_route_lasts() > Some(1700));
        linkspan(&format!("network create {LAB}"));
        let a = sandbox("a", "--net lab");
        assert!(default_route_lasts() > Some(1700), "it is kept when the host begins to forward");
        assert!(source(&a, Protocol::Tcp, "[2001:db8:ff::1]:80").starts_with("2001:db8:a:"));
        router.advertise(900);
        in_the_end("refreshed", || default_route_lasts().is_some_and(|left| left <= 900));
        router.advertise(0);
        in_the_end("withdrawn", || default_route_lasts().is_none());
        router.advertise(1800);
        in_the_end("learned anew", || default_route_lasts() > Some(1700));
        linkspan("sandbox rm a");
        linkspan("network rm lab");
        assert!(default_route_lasts() > Some(1700), "it outlives the network");
        router.advertise(900);
        in_the_end("refreshed without networks", || default_route_lasts().is_some_and(|left| left <= 900));
        assert_eq!(sh("cat /proc/sys/net/ipv6/conf/quiet0/accept_ra"), "0\n");
        in_the_end("reached", || Net::here().ask_tcp("[2001:db8:ff::1]:80").is_ok());
    });
}

#[test]
fn sandboxes_do_not_teach_the_host_routes() {
    run(here!(), || {
        if !has("python3") {
            return;
        }
        let _world = world();
        fs::write("/run/advertise.py", ADVERTISE.replace("ra0", "eth0")).unwrap();
        for (subnets, name) in [(LAB, "lab"), ("--subnet 10.8.0.0/24 plain", "plain")] {
            linkspan(&format!("network create {subnets}"));
            let a = sandbox("a", &format!("--net {name}"));
            a.sh("ip -6 address replace fe80::bad/64 dev eth0 nodad");
            a.sh("python3 /run/advertise.py 1800; ping -c1 -W1 $(ip route show default | cut -d' ' -f3)");
            assert_eq!(sh("ip -6 route show default; ip -6 route show 2001:db8:a::/64"), "");
            linkspan("sandbox rm a");
        }
    });
}

/// IPv4 as without IPv6 around.
fn ipv4_works(world: &World) {
    serve(&world.outside, &[80]);
    world.network("--subnet 10.17.0.0/24 plain");
    let web = world.sandbox("web17", "--net plain -p 8017:80 -p 8000-8010:8000-8010 -p 5317:53/udp");
    assert_eq!(source(&world.outside, Protocol::Tcp, "192.0.2.1:8017"), "192.0.2.9");
    assert_eq!(source(&world.outside, Protocol::Udp, "192.0.2.1:5317"), "192.0.2.9");
    assert_eq!(source(&world.host, Protocol::Tcp, "127.0.0.1:8017"), "10.17.0.1");
    assert_eq!(source(&web, Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
    assert_eq!(linkspan("repair --dry-run"), "");
    linkspan("sandbox rm web17");
    linkspan("network rm plain");
}

/// That networks work on a host with such a sysctl, those with IPv6 too.
fn works_with(switched_off: &str) {
    let world = World::new();
    sh(&format!("sysctl -qw {switched_off}"));
    let before = Snapshot::take();
    ipv4_works(&world);
    before.is_unchanged();
    world.network(LAB);
    let (web, peer) = (sandbox("web", "--net lab -p 8080:80"), sandbox("peer", "--net lab"));
    assert_eq!(source(&peer, Protocol::Tcp, "[fd00:7::2]:80"), "fd00:7::3");
    assert_eq!(source(&peer, Protocol::Tcp, "[fd00:7::1]:8080"), "fd00:7::1");
    assert_eq!(source(&world.host, Protocol::Tcp, "[fd00:7::2]:80"), "fd00:7::1");
    assert_eq!(source(&web, Protocol::Tcp, "10.7.0.3:80"), "::ffff:10.7.0.2");
    assert_eq!(linkspan("repair --dry-run"), "");
    linkspan("sandbox rm web peer");
    linkspan("network rm lab");
    before.is_unchanged();
}

#[test]
fn networks_work_where_ipv6_is_switched_off_on_the_host() {
    run(here!(), || works_with("net.ipv6.conf.all.disable_ipv6=1"));
}

#[test]
fn networks_work_where_ipv6_is_switched_off_for_new_devices() {
    run(here!(), || works_with("net.ipv6.conf.default.disable_ipv6=1"));
}

/// Booted with `ipv6.disable=1`: `cargo xtask vm --append ipv6.disable=1`.
#[test]
fn no_ipv6_in_the_kernel() {
    run(here!(), || {
        if Path::new("/proc/sys/net/ipv6").exists() {
            return skip("this kernel has IPv6; cargo xtask vm --append ipv6.disable=1");
        }
        let world = World::new();
        let before = Snapshot::take();
        ipv4_works(&world);
        refused("network create --ipv6 six").says(&["this kernel has no IPv6"]).hints("IPv4 only");
        refused(&format!("network create {LAB}")).says(&["this kernel has no IPv6"]);
        before.is_unchanged();
        assert_eq!(linkspan("network ls").lines().count(), 4, "{}", linkspan("network ls"));
        world.network("--subnet 10.7.0.0/24 lab");
        refused("sandbox create --net lab -p [::]:8080:80 web").says(&["no IPv6 address"]);
        refused("sandbox create --net lab,ip6=fd00:7::9 web").says(&["no IPv6 subnet"]);
        world.sandbox("web", "--net lab -p 8080:80");
        world.outside.reaches("192.0.2.1:8080");
    });
}
