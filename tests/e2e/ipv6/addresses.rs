//! Subnets and addresses.

use super::*;

/// Makes a sandbox on a network; gives the IPv6 address that its device has.
fn address_of(name: &str, net: &str) -> String {
    linkspan(&format!("sandbox create --net {net} {name}"));
    let shown = inside(name, "ip -6 -o address show dev eth0 scope global");
    shown.split_whitespace().nth(3).unwrap().to_owned()
}

fn pings(sandbox: &str, address: &str) {
    let told = inside(sandbox, &format!("ping -n -c 1 -W 1 {address}"));
    assert!(told.contains("1 received"), "{told}");
}

#[test]
fn addresses_are_given_out_in_order_or_as_they_were_asked_for() {
    run(here!(), || {
        linkspan(&format!("network create --aux-address nas=fd00:7::3 {LAB}"));
        linkspan(&format!("network create {TWO}"));
        assert_eq!(address_of("a", "lab"), "fd00:7::2/64");
        assert_eq!(address_of("b", "lab"), "fd00:7::4/64");
        assert_eq!(address_of("c", "lab,ip6=fd00:7::a:b:c"), "fd00:7::a:b:c/64");
        pings("c", "fd00:7::4");
        pings("c", "fd00:7::1");
        linkspan("network connect --ip6 fd00:8::99 two c");
        assert!(inside("c", "ip -6 -o address show dev eth1").contains("fd00:8::99/64"));
        pings("c", "fd00:8::1");
        let before = Snapshot::take();
        for (ip6, why) in [
            ("fd00:7::2", "in use"),
            ("fd00:7::1", "the network's gateway"),
            ("fd00:7::3", "reserved as nas"),
            ("fd00:7::", "network or broadcast address"),
            ("fd00:9::2", "outside the network's subnets (fd00:7::/64)"),
        ] {
            refused(&format!("sandbox create --net lab,ip6={ip6} d")).says(&[ip6, why]);
        }
        before.is_unchanged();
    });
}

#[test]
fn a_subnet_may_be_as_small_as_two_addresses() {
    run(here!(), || {
        linkspan("network create --ipv6 --subnet 10.7.0.0/24 --subnet fd00:7::6/127 pair");
        assert_eq!(address_of("a", "pair"), "fd00:7::7/127");
        pings("a", "fd00:7::6");
        let before = Snapshot::take();
        refused("sandbox create --net pair b")
            .says(&["'pair' is full", "no free IPv6 address is left in fd00:7::6/127"])
            .hints("--subnet");
        before.is_unchanged();
        linkspan("sandbox rm a");
        assert_eq!(address_of("b", "pair"), "fd00:7::7/127");
        refused("network create --ipv6 -o com.docker.network.driver.mtu=1279 narrow")
            .says(&["1279 is too small for IPv6", "1280"]);
        refused("network create --ipv6 --subnet fd00:9::1/128 one").says(&["too small"]).hints("/127");
    });
}

#[test]
fn a_network_has_several_subnets() {
    run(here!(), || {
        linkspan(
            "network create --ipv6 --subnet 10.7.0.0/24 --subnet fd00:7::/126 --subnet 2001:db8:7::/64 \
             --ip-range 2001:db8:7::100/120 --gateway 2001:db8:7::fe lab",
        );
        assert_eq!(address_of("a", "lab"), "fd00:7::2/126");
        assert_eq!(address_of("b", "lab"), "fd00:7::3/126");
        assert_eq!(address_of("c", "lab"), "2001:db8:7::100/64");
        assert!(inside("c", "ip -6 route show default").starts_with("default via 2001:db8:7::fe dev eth0"));
        pings("a", "2001:db8:7::100");
        pings("c", "fd00:7::3");
    });
}

#[test]
fn a_network_may_have_ipv6_only() {
    run(here!(), || {
        let world = world();
        serving(Net::pinned("outside"));
        let before = Snapshot::take();
        linkspan("network create --ipv4=false --ipv6 --subnet fd00:7::/64 six");
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward"), "0\n");
        let (web, peer) = (sandbox("web", "--net six -p 8080:80"), sandbox("peer", "--net six"));
        assert_eq!(web.sh("ip -4 address show dev eth0; ip -4 route"), "");
        assert_eq!(linkspan("port web"), "80/tcp -> [::]:8080\n");
        assert_eq!(source(&world.outside, Protocol::Tcp, "[2001:db8::1]:8080"), "2001:db8::9");
        assert_eq!(source(&world.host, Protocol::Tcp, "[::1]:8080"), "fd00:7::1");
        assert_eq!(source(&peer, Protocol::Tcp, "[2001:db8::9]:80"), "2001:db8::1");
        pings("peer", "web");
        let network = &json("network inspect six")[0];
        assert_eq!((&network["EnableIPv4"], &network["EnableIPv6"]), (&false.into(), &true.into()));
        assert_eq!(network["IPAM"]["Config"].as_array().unwrap().len(), 1);
        refused("sandbox create --net six,ip=10.7.0.9 other").says(&["no IPv4 subnet"]);
        refused("sandbox create --net six -p 0.0.0.0:8081:80 other").says(&["no IPv4 address"]);
        assert_eq!(linkspan("repair --dry-run"), "");
        linkspan("sandbox rm web peer");
        linkspan("network rm six");
        before.is_unchanged();
        // Such a subnet is made as well.
        linkspan("network create --ipv4=false --ipv6 made");
        assert!(address_of("a", "made").starts_with("fd"));
        refused("network create --ipv4=false neither").says(&["needs IPv4 or IPv6"]).hints("--ipv6");
        refused("network create --ipv4=false --ipv6 --subnet 10.7.0.0/24 x").says(&["is an IPv4 one"]);
        refused("network create --subnet fd00:9::/64 x").says(&["is an IPv6 one"]).hints("--ipv6");
    });
}

#[test]
fn what_is_shown_has_dockers_shape() {
    run(here!(), || {
        linkspan(&format!("network create {LAB}"));
        linkspan("sandbox create --net lab,ip6=fd00:7::99 web");
        let shown = &json("sandbox inspect web")[0]["NetworkSettings"]["Networks"]["lab"];
        for (key, value) in [
            ("IPAddress", "10.7.0.2"),
            ("Gateway", "10.7.0.1"),
            ("GlobalIPv6Address", "fd00:7::99"),
            ("IPv6Gateway", "fd00:7::1"),
        ] {
            assert_eq!(shown[key], value, "{key}");
        }
        assert_eq!((&shown["IPPrefixLen"], &shown["GlobalIPv6PrefixLen"]), (&24.into(), &64.into()));
        let network = &json("network inspect lab")[0];
        assert_eq!((&network["EnableIPv4"], &network["EnableIPv6"]), (&true.into(), &true.into()));
        let six = serde_json::json!({ "Subnet": "fd00:7::/64", "Gateway": "fd00:7::1" });
        assert_eq!(network["IPAM"]["Config"][1], six);
        let container = network["Containers"].as_object().unwrap().values().next().unwrap();
        assert_eq!(container["IPv4Address"], "10.7.0.2/24");
        assert_eq!(container["IPv6Address"], "fd00:7::99/64");
    });
}
