//! Networks on a LAN of the host: a network card becomes a port of the bridge.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::*;

const FLAT: &str = "network create -o linkspan.uplink=eth1 -o com.docker.network.bridge.name=br0";

/// Things that a card may have beside its addresses.
fn furnish() {
    sh("ip addr add 192.168.0.77/24 dev eth1 label eth1:x");
    sh("ip addr add 10.50.0.1/16 dev eth1 noprefixroute metric 50");
    sh("ip addr add 192.168.0.78/24 dev eth1 valid_lft 3000 preferred_lft 2000");
    sh("ip route add 10.60.0.0/16 dev eth1 scope link src 192.168.0.77");
    sh("ip route add 10.61.0.0/16 via 10.60.0.1 dev eth1 metric 7 mtu 1400");
    sh("ip route add 10.62.0.0/16 via 192.168.0.254 dev eth1 table 100 proto 42");
    sh("ip route add 10.63.0.0/16 nexthop via 192.168.0.254 weight 2 nexthop via 192.168.0.9");
    sh("ip route add 10.64.0.0/16 via 203.0.113.1 dev eth1 onlink");
    sh("ip rule add from 10.50.0.1 table 100");
    sh("ip -6 route add 2001:db8:9::/64 via 2001:db8::9 dev eth1 metric 77 pref high");
    sh("ip -6 route add 2001:db8:a::/64 nexthop via 2001:db8::9 dev eth1 nexthop via 2001:db8::fe dev eth1");
    sh("ip neigh add 192.168.0.200 lladdr 02:00:00:00:00:c8 dev eth1 nud permanent");
    sh("ip neigh add 2001:db8::c8 lladdr 02:00:00:00:00:c8 dev eth1 nud permanent");
}

#[test]
fn a_card_goes_over_to_its_bridge_and_comes_back_as_it_was() {
    run(here!(), || {
        let _lan = Lan::new();
        furnish();
        let (before, link) = (ways("eth1"), sh("ip -d link show dev eth1"));
        let all = Snapshot::take();
        linkspan(&format!("{FLAT} flat"));
        assert_eq!(ways("br0").replace("br0", "eth1"), before);
        assert!(!ways("eth1").contains("inet"), "{}", ways("eth1"));
        let mac = |device: &str| sh(&format!("cat /sys/class/net/{device}/address"));
        assert_eq!(mac("br0"), mac("eth1"));
        linkspan("network rm flat");
        assert_eq!(ways("eth1"), before);
        assert_eq!(sh("ip -d link show dev eth1"), link);
        all.is_unchanged();
    });
}

#[test]
fn sandboxes_live_on_the_lan() {
    run(here!(), || {
        let lan = Lan::new();
        serve(&lan.outside, &[80]);
        serve(&lan.neighbour, &[80]);
        linkspan(&format!("{FLAT} --ip-range 192.168.0.64/28 flat"));
        linkspan("sandbox create --net flat a");
        linkspan("sandbox create --net flat b");
        let (a, b) = (Net::pinned("a"), Net::pinned("b"));
        serve(&a, &[80]);
        serve(&b, &[80]);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(source(&a, protocol, "198.51.100.9:80"), "192.168.0.64");
            assert_eq!(source(&a, protocol, "192.168.0.9:80"), "192.168.0.64");
            assert_eq!(source(&lan.neighbour, protocol, "192.168.0.64:80"), "192.168.0.9");
            assert_eq!(source(&lan.outside, protocol, "192.168.0.64:80"), "198.51.100.9");
            assert_eq!(source(&b, protocol, "192.168.0.64:80"), "192.168.0.65");
            assert_eq!(source(&Net::here(), protocol, "192.168.0.64:80"), "192.168.0.5");
        }
        let inside = a.sh("ip route");
        assert!(inside.contains("default via 192.168.0.254"), "{inside}");
        let shown = &json("network inspect flat")[0];
        assert_eq!(shown["IPAM"]["Config"][0]["AuxiliaryAddresses"]["DefaultGatewayIPv4"], "192.168.0.254");
        assert_eq!(shown["Uplink"]["Device"], "eth1");
        linkspan("sandbox rm a b");
        linkspan("network rm flat");
        lan.neighbour.pings("192.168.0.5");
    });
}

#[test]
fn sessions_of_the_host_live_on() {
    run(here!(), || {
        let lan = Lan::new();
        let local = Session::begin(&lan.neighbour, "192.168.0.9:7");
        let six = Session::begin(&lan.neighbour, "[2001:db8::9]:7");
        let routed = Session::begin(&lan.outside, "198.51.100.9:7");
        for _ in 0..5 {
            linkspan(&format!("{FLAT} flat"));
            linkspan("network rm flat");
        }
        for (what, session) in [("to a neighbour", local), ("over IPv6", six), ("through the router", routed)]
        {
            println!("{what}: a byte took {:?} at most", session.end());
        }
    });
}

#[test]
fn hardly_a_packet_is_lost() {
    run(here!(), || {
        let _lan = Lan::new();
        for change in [format!("{FLAT} flat"), "network rm flat".to_owned()] {
            let pings = std::thread::spawn(|| sh("ping -n -q -i 0.002 -c 400 192.168.0.9 || true"));
            sleep(Duration::from_millis(250));
            linkspan(&change);
            let told = pings.join().expect("its output");
            let received = told.split("received").next().and_then(|text| text.split_whitespace().last());
            let received: u32 = received.and_then(|number| number.parse().ok()).expect("a number");
            println!("{} of 400 packets lost, 2 ms apart, by {change}", 400 - received);
            assert!(received > 370, "{told}");
        }
    });
}

#[test]
fn what_is_done_by_hand_takes_nothing_of_the_card_along() {
    run(here!(), || {
        let lan = Lan::new();
        furnish();
        let before = ways("eth1");
        for repaired in [true, false] {
            linkspan(&format!("{FLAT} flat"));
            sh("ip link del br0");
            if repaired {
                linkspan("repair");
                assert!(linkspan("repair --dry-run").is_empty());
                linkspan("sandbox create --net flat,ip=192.168.0.100 a");
                lan.neighbour.pings("192.168.0.100");
                linkspan("sandbox rm a");
            }
            linkspan("network rm flat");
            // Neighbours are not on record.
            let known = |ways: &str| {
                ways.lines().filter(|line| !line.contains("PERMANENT")).collect::<Vec<_>>().join("\n")
            };
            let lifetimes = |ways: String| ways.replace("forever", "Nsec");
            assert_eq!(lifetimes(known(&ways("eth1"))), lifetimes(known(&before)), "repaired: {repaired}");
            lan.neighbour.pings("192.168.0.5");
            sh("ip neigh replace 192.168.0.200 lladdr 02:00:00:00:00:c8 dev eth1 nud permanent");
            sh("ip neigh replace 2001:db8::c8 lladdr 02:00:00:00:00:c8 dev eth1 nud permanent");
        }
        linkspan(&format!("{FLAT} flat"));
        // What a DHCP client would do.
        sh("ip addr add 192.168.0.44/24 dev br0 && ip addr del 192.168.0.77/24 dev br0");
        sh("ip link set eth1 nomaster");
        linkspan("network rm flat");
        let now = sh("ip addr show dev eth1");
        assert!(now.contains("192.168.0.44/24") && !now.contains("192.168.0.77/24"), "{now}");
    });
}

#[test]
fn a_card_that_is_pulled_out_is_in_nobodys_way() {
    run(here!(), || {
        let lan = Lan::new();
        linkspan(&format!("{FLAT} flat"));
        lan.switch.sh("ip link del to-here");
        eventually("! ip link show dev eth1");
        assert!(linkspan("repair --dry-run").is_empty());
        linkspan("sandbox create --net flat a");
        linkspan("sandbox rm a");
        linkspan("network rm flat");
        assert!(!run_tool("ip link show dev br0").0);
    });
}

#[test]
fn a_card_is_known_by_whatever_name() {
    run(here!(), || {
        let lan = Lan::new();
        let before = ways("eth1");
        linkspan(&format!("{FLAT} flat"));
        sh("ip link set eth1 down && ip link set eth1 name lan7 && ip link set lan7 up");
        // Another takes its name.
        sh("ip link add eth1 type veth peer name eth2 && ip link set eth1 up");
        linkspan("sandbox create --net flat,ip=192.168.0.100 a");
        lan.neighbour.pings("192.168.0.100");
        linkspan("sandbox rm a");
        linkspan("network rm flat");
        // That it was down has the kernel look for duplicates of its link-local address.
        eventually("! ip addr show dev lan7 tentative | grep inet6");
        assert_eq!(ways("lan7").replace("lan7", "eth1"), before);
        lan.neighbour.pings("192.168.0.5");
        assert!(!ways("eth1").contains("192.168"), "{}", ways("eth1"));
    });
}

#[test]
fn the_host_is_on_its_lan_when_the_spanning_tree_lets_it() {
    run(here!(), || {
        let _lan = Lan::new();
        linkspan(&format!("{FLAT} -o linkspan.stp=true flat"));
        sh("ping -n -q -c 1 -W 1 192.168.0.9");
    });
}

#[test]
fn vm_a_bond_goes_over_to_its_bridge_and_comes_back() {
    run(here!(), || {
        let lan = Lan::new();
        let made = run_tool("ip link add bond0 type bond mode active-backup miimon 100");
        if !made.0 {
            skip(&format!("this kernel has no bonds: {}", made.1.trim()));
            return;
        }
        sh(
            "ip addr flush dev eth1; ip link set eth1 down; ip link set eth1 master bond0; ip link set bond0 up",
        );
        sh("ip addr add 192.168.0.5/24 dev bond0; ip route add default via 192.168.0.254");
        eventually("ping -c 1 -W 1 192.168.0.254");
        // The kernel looks for duplicates of its link-local address first.
        let settled = || {
            eventually("ip -6 addr show dev bond0 -tentative | grep fe80");
            eventually("ip -6 route show table local dev bond0 | grep 'local fe80'");
        };
        settled();
        let before = ways("bond0");
        let session = Session::begin(&lan.neighbour, "192.168.0.9:7");
        refused("network create -o linkspan.uplink=eth1 flat").says(&["a port of bond0"]).hints("use bond0");
        linkspan("network create -o linkspan.uplink=bond0 -o com.docker.network.bridge.name=br0 flat");
        linkspan("sandbox create --net flat a");
        serve(&Net::pinned("a"), &[80]);
        assert_eq!(source(&lan.neighbour, Protocol::Tcp, "192.168.0.1:80"), "192.168.0.9");
        linkspan("sandbox rm a");
        linkspan("network rm flat");
        settled();
        assert_eq!(ways("bond0"), before);
        println!("a byte took {:?} at most", session.end());
    });
}

#[test]
fn a_network_patched_into_one_on_the_lan_is_on_it_too() {
    run(here!(), || {
        let lan = Lan::new();
        lan.neighbour.sh("ip addr add 192.168.0.2/24 dev lan0");
        linkspan(&format!("{FLAT} flat"));
        linkspan("network create -o linkspan.uplink=network:flat access");
        linkspan("sandbox create --net flat a");
        linkspan("sandbox create --net access b");
        let (a, b) = (Net::pinned("a"), Net::pinned("b"));
        serve(&b, &[80]);
        for from in [&a, &lan.neighbour, &lan.outside, &Net::here()] {
            from.reaches("192.168.0.3:80");
        }
        refused("network rm flat").says(&["is in use"]);
        linkspan("sandbox rm a b");
        linkspan("network rm access");
        linkspan("network rm flat");
    });
}

/// A second host on the LAN, which remembers apart.
fn other_host(lan: &Lan) -> (Net, impl Fn(&str) -> String) {
    let host = Net::new("host2");
    lan.plug(&host, "eth1", &["192.168.0.6/24"]);
    host.sh("ip route add default via 192.168.0.254");
    let inside = Net::pinned("host2");
    let linkspan = move |line: &str| {
        inside.sh(&format!("LINKSPAN_STATE_DIR=/run/st2 LINKSPAN_RUN_DIR=/run/linkspan2 {BINARY} {line}"))
    };
    (host, linkspan)
}

#[test]
fn sandboxes_of_two_hosts_reach_each_other_through_the_lan() {
    run(here!(), || {
        let lan = Lan::new();
        let (host2, linkspan2) = other_host(&lan);
        linkspan(&format!("{FLAT} flat"));
        linkspan2(&format!("{FLAT} flat"));
        // Neither knows of the other's; both begin at the same end.
        linkspan("sandbox create --net flat a");
        linkspan2("sandbox create --net flat b");
        let (a, b) = (Net::pinned("a"), Net::pinned("b"));
        serve(&a, &[80]);
        serve(&b, &[80]);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(source(&a, protocol, "192.168.0.2:80"), "192.168.0.1");
            assert_eq!(source(&b, protocol, "192.168.0.1:80"), "192.168.0.2");
            assert_eq!(source(&host2, protocol, "192.168.0.1:80"), "192.168.0.6");
        }
        linkspan2("sandbox rm b");
        linkspan2("network rm flat");
        host2.pings("192.168.0.1");
    });
}

#[test]
fn addresses_that_others_on_the_lan_have_are_passed_over() {
    run(here!(), || {
        let lan = Lan::new();
        lan.neighbour.sh("ip addr add 192.168.0.1/24 dev lan0 && ip addr add 2001:db8::1/64 dev lan0 nodad");
        let mac = lan.neighbour.sh("ip -br link show dev lan0 | awk '{ print $3 }'");
        linkspan(&format!("{FLAT} --ipv6 flat"));
        let begin = Instant::now();
        let (a, b) = ("sandbox create --net flat a", "sandbox create --net flat b");
        linkspan(a);
        println!("with two addresses passed over: {:?}", begin.elapsed());
        let begin = Instant::now();
        linkspan(b);
        println!("with none: {:?}", begin.elapsed());
        let has = |name: &str, address: &str| {
            let all = sh(&format!("ip -n {name} addr show dev eth0"));
            assert!(all.contains(&format!(" {address}/")), "no {address} in {all}");
        };
        has("a", "192.168.0.2");
        has("a", "2001:db8::2");
        has("b", "192.168.0.3");
        for wanted in ["ip=192.168.0.9", "ip6=2001:db8::9"] {
            refused(&format!("sandbox create --net flat,{wanted} c"))
                .says(&["is in use on the LAN", mac.trim()])
                .hints("leave it to the network");
        }
        refused("sandbox create --net flat,ip=192.168.0.5 c").says(&["the network's gateway"]);
        Net::pinned("a").pings("2001:db8::9");
        Net::pinned("a").pings("192.168.0.9");
    });
}

#[test]
fn neighbours_with_an_old_mac_learn_the_new_one() {
    run(here!(), || {
        let lan = Lan::new();
        linkspan(&format!("{FLAT} flat"));
        lan.neighbour.sh("ip neigh replace 192.168.0.1 lladdr 02:00:00:00:00:01 nud reachable dev lan0");
        linkspan("sandbox create --net flat a");
        lan.neighbour.pings("192.168.0.1");
    });
}

#[test]
fn the_hosts_way_to_its_lan_is_no_island() {
    run(here!(), || {
        let lan = Lan::new();
        serve(&lan.outside, &[80]);
        linkspan(&format!("{FLAT} --ip-range 192.168.0.64/28 flat"));
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net flat -p 8080:80 a");
        linkspan("sandbox create --net lab -p 8081:80 b");
        let (a, b) = (Net::pinned("a"), Net::pinned("b"));
        serve(&a, &[80]);
        serve(&b, &[80]);
        for through_the_firewall in ["1", "0"] {
            bridge_netfilter(through_the_firewall);
            // What leaves another network has the host's address; what it publishes is reached, the rest is not.
            assert_eq!(source(&b, Protocol::Tcp, "198.51.100.9:80"), "192.168.0.5");
            assert_eq!(source(&b, Protocol::Udp, "192.168.0.64:80"), "192.168.0.5");
            assert_eq!(source(&lan.neighbour, Protocol::Tcp, "192.168.0.5:8081"), "192.168.0.9");
            assert_eq!(source(&a, Protocol::Tcp, "192.168.0.5:8081"), "192.168.0.64");
            lan.neighbour.sh("ip route replace 10.7.0.0/24 via 192.168.0.5");
            lan.neighbour.gets_nothing_from(&["10.7.0.2:80"]);
            // A port published there is reached by way of the host, which stands for the client.
            for from in [&lan.neighbour, &lan.outside, &b, &Net::here()] {
                from.reaches("192.168.0.5:8080");
            }
            Net::here().reaches("127.0.0.1:8080");
            a.reaches("192.168.0.5:8080");
        }
        // The bridge routes 127.0.0.0/8 for the host's sake, and for nobody else's.
        Net::here().serve_tcp("127.0.0.1:7070");
        for net in [&lan.neighbour, &a] {
            let device = if net.name() == "a" { "eth0" } else { "lan0" };
            crate::publish::forge_loopback(net, device, "192.168.0.5");
            net.gets_nothing_from(&["127.0.0.1:7070", "127.0.0.1:8080"]);
        }
    });
}

#[test]
fn without_icc_sandboxes_reach_the_lan_but_not_each_other() {
    run(here!(), || {
        let lan = Lan::new();
        serve(&lan.neighbour, &[80]);
        linkspan(&format!("{FLAT} -o com.docker.network.bridge.enable_icc=false flat"));
        linkspan("sandbox create --net flat a");
        linkspan("sandbox create --net flat b");
        let a = Net::pinned("a");
        serve(&Net::pinned("b"), &[80]);
        a.reaches("192.168.0.9:80");
        a.gets_nothing_from(&["192.168.0.2:80"]);
        lan.neighbour.reaches("192.168.0.2:80");
    });
}

#[test]
fn what_a_router_tells_is_learned_by_the_bridge() {
    run(here!(), || {
        if !has("python3") {
            return;
        }
        let lan = Lan::new();
        sh("ip -6 addr flush dev eth1 scope global; ip -6 route flush exact default");
        let _router = lan.advertise();
        let learned =
            "ip -6 addr show dev eth1 | grep -q 2001:db8:1: && ip -6 route | grep -q 'default.*proto ra'";
        eventually(learned);
        eventually("! ip -6 addr show dev eth1 | grep -q tentative");
        let before = ways("eth1");
        linkspan(&format!("{FLAT} flat"));
        assert_eq!(ways("br0").replace("br0", "eth1"), before);
        eventually("ping -6 -c 1 -W 1 2001:db8:1::fe");
        // It goes on learning: a route that is gone comes back with the next word of the router.
        sh("ip -6 route del default dev br0 || (ip -6 route show table all; exit 1)");
        eventually("ip -6 route | grep -q 'default.*br0.*proto ra'");
        linkspan("sandbox create --net flat a");
        assert!(!sh("ip -n a -6 addr show dev eth0").contains("2001:db8:1:"));
        linkspan("sandbox rm a");
        linkspan("network rm flat");
        assert_eq!(ways("eth1"), before);
        eventually("ping -6 -c 1 -W 1 2001:db8:1::fe");
    });
}

#[test]
fn cards_that_cannot_be_plugged_in_are_refused() {
    run(here!(), || {
        let _lan = Lan::new();
        sh(
            "ip link add br7 type bridge && ip link add eth7 type veth peer name eth8 && ip link set eth7 master br7 up",
        );
        linkspan(&format!("{FLAT} flat"));
        linkspan("network create lab");
        let all = Snapshot::take();
        let lab = sh("ip -br link | grep -o '^br-[0-9a-f]*'");
        for (card, why) in [
            ("eth9", "no such device"),
            ("lo", "it is loopback"),
            ("br7", "a bridge itself"),
            ("eth7", "a port of br7"),
            ("eth8", "it is down"),
            ("eth1", "network 'flat' has it"),
            ("br0", "the bridge of network 'flat'"),
            (lab.trim(), "the bridge of network 'lab'"),
        ] {
            refused(&format!("network create --subnet 192.168.9.0/24 -o linkspan.uplink={card} new"))
                .says(&[&format!("{card} cannot be an uplink"), why]);
        }
        all.is_unchanged();
    });
}

const CONFIRM: &str = "-o linkspan.uplink.confirm=2s";

#[test]
fn what_nobody_confirms_is_undone_by_itself() {
    run(here!(), || {
        let lan = Lan::new();
        let before = ways("eth1");
        let session = Session::begin(&lan.neighbour, "192.168.0.9:7");
        // Long enough for a busy machine to do all that comes before it is over.
        let output = run_program(&format!("{FLAT} -o linkspan.uplink.confirm=8s flat"));
        assert!(String::from_utf8_lossy(&output.stderr).contains("linkspan network confirm flat"));
        refused("sandbox create --net flat a").hints("linkspan network confirm flat");
        // A guard that is killed is replaced.
        for _ in 0..3 {
            assert!(!guards().is_empty());
            sh(&format!("kill -9 {}", guards()[0]));
            eventually("[ $(pgrep -fc '[n]etwork guard flat') = 2 ]");
        }
        assert!(ways("eth1") != before, "not yet");
        eventually("ip addr show dev eth1 | grep -q 192.168.0.5/24 && ! ip link show dev br0 2>/dev/null");
        eventually("! pgrep -f '[n]etwork guard flat'");
        assert_eq!(ways("eth1"), before);
        session.end();
        refused("network confirm flat").says(&["there is no network 'flat'"]);
    });
}

#[test]
fn what_is_confirmed_stays() {
    run(here!(), || {
        let lan = Lan::new();
        linkspan(&format!("{FLAT} {CONFIRM} flat"));
        linkspan("network confirm flat");
        refused("network confirm flat").says(&["has nothing to confirm"]);
        linkspan("sandbox create --net flat a");
        eventually("! pgrep -f '[n]etwork guard flat'");
        lan.neighbour.pings("192.168.0.1");
        linkspan("sandbox rm a");
        linkspan("network rm flat");
    });
}

#[test]
fn with_every_guard_killed_the_next_command_undoes_it() {
    run(here!(), || {
        let _lan = Lan::new();
        let before = ways("eth1");
        // Long enough for a busy machine to kill them before it is over.
        linkspan(&format!("{FLAT} -o linkspan.uplink.confirm=5s flat"));
        eventually("[ $(pgrep -fc '[n]etwork guard flat') = 2 ]");
        sh(&format!("kill -9 {}", guards().join(" ")));
        sleep(Duration::from_millis(6200));
        assert!(ways("eth1") != before);
        linkspan("repair");
        assert_eq!(ways("eth1"), before);
    });
}

/// The processes that guard the network `flat`, of this test's alone: it has a process namespace of its own.
fn guards() -> Vec<String> {
    sh("pgrep -f '[n]etwork guard flat'").split_whitespace().map(str::to_owned).collect()
}

/// That a shell command soon succeeds.
fn eventually(command: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !run_tool(command).0 {
        assert!(Instant::now() < deadline, "$ {command}\nnever succeeds");
        sleep(Duration::from_millis(20));
    }
}
