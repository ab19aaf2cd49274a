//! Sandboxes on the LAN with MACs of their own.

use crate::support::*;

const ACCESS: &str = "-o linkspan.host-access=true";

/// Two sandboxes on a macvlan network with these options: 192.0.2.2 and 192.0.2.3.
fn two(options: &str) -> (Net, Net) {
    linkspan(&format!("network create -d macvlan {options} lan"));
    (sandbox("a", "--net lan"), sandbox("b", "--net lan"))
}

fn sandbox(name: &str, flags: &str) -> Net {
    linkspan(&format!("sandbox create {flags} {name}"));
    let net = Net::pinned(name);
    serve(&net, &[80]);
    net
}

#[test]
fn each_mode_says_who_reaches_whom() {
    run(here!(), || {
        let lan = Switched::new();
        let before = Snapshot::take();
        for (mode, reflect, meet) in [
            ("bridge", false, true),
            ("private", false, false),
            ("vepa", false, false),
            ("vepa", true, true),
            ("private", true, false),
        ] {
            if reflect {
                lan.reflect();
            }
            let (a, b) = two(&format!("-o macvlan_mode={mode}"));
            for (from, to) in [(&a, "192.0.2.3"), (&b, "192.0.2.2")] {
                let reached = from.succeeds(&format!("ping -n -c 1 -W 0.5 {to}"));
                assert_eq!(reached, meet, "{mode}, reflecting {reflect}: {} to {to}", from.name());
                from.pings("192.0.2.9");
            }
            assert_eq!(source(&lan.outside, Protocol::Tcp, "192.0.2.2:80"), "192.0.2.9");
            // Only in mode vepa does the host hear of what the switch sends back.
            assert_eq!(
                a.succeeds("ping -n -c 1 -W 0.5 192.0.2.1"),
                reflect && mode == "vepa",
                "{mode} to the host"
            );
            linkspan("sandbox rm a b");
            linkspan("network rm lan");
            before.is_unchanged();
        }
    });
}

#[test]
fn one_sandbox_has_the_parent_for_itself() {
    run(here!(), || {
        let lan = Switched::new();
        lan.plug(&lan.host, "port0", "p5");
        sh("ip -6 address flush dev port0");
        let before = Snapshot::take();
        linkspan(
            "network create -d macvlan -o parent=port0 -o macvlan_mode=passthru --subnet 192.0.2.0/24 lan",
        );
        let a = sandbox("a", "--net lan,ip=192.0.2.5");
        lan.outside.reaches("192.0.2.5:80");
        a.pings("192.0.2.1");
        assert_eq!(inside("a", "cat /sys/class/net/eth0/address"), sh("cat /sys/class/net/port0/address"));
        refused("sandbox create --net lan b").says(&["takes one sandbox", "'a'"]);
        refused("sandbox create --net lan,mac=02:00:00:00:00:05 c").says(&["MAC"]);
        linkspan("sandbox rm a");
        sandbox("b", "--net lan,ip=192.0.2.6").pings("192.0.2.9");
        linkspan("sandbox rm b");
        linkspan("network rm lan");
        before.is_unchanged();
    });
}

#[test]
fn host_and_sandboxes_reach_each_other_on_request() {
    run(here!(), || {
        let lan = Switched::new().ipv6();
        serve(&lan.host, &[81]);
        lan.host.serve_tcp("[2001:db8::1]:82");
        if !has("tcpdump") {
            return;
        }
        let (before, seen) = (Snapshot::take(), lan.host_as_seen());
        let wire = linkspan_lab::Capture::start(&lan.outside, "lan0");
        let (a, b) = two(&format!("--ipv6 {ACCESS}"));
        b.serve_tcp("[::]:82");
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(source(&lan.host, protocol, "192.0.2.2:80"), "192.0.2.1");
            assert_eq!(source(&a, protocol, "192.0.2.1:81"), "192.0.2.2");
        }
        assert_eq!(source(&lan.host, Protocol::Tcp, "[2001:db8::3]:82"), "2001:db8::1");
        assert_eq!(source(&a, Protocol::Tcp, "[2001:db8::1]:82"), "2001:db8::2");
        lan.outside.sh("ip neigh flush all");
        assert_eq!(lan.host_as_seen().split_whitespace().nth(4), seen.split_whitespace().nth(4));
        a.pings("192.0.2.3");
        lan.outside.reaches("192.0.2.1:81");
        // The LAN hears nothing of the host's own device among its sandboxes.
        assert_eq!(wire.packets("ether[6:2] = 0x024c"), Vec::<String>::new());
        linkspan("network disconnect lan b");
        lan.host.reaches("192.0.2.2:80");
        lan.host.pings_in_vain("192.0.2.3");
        linkspan("sandbox rm a b");
        linkspan("network rm lan");
        before.is_unchanged();
    });
}

#[test]
fn a_host_without_an_address_there_is_given_one() {
    run(here!(), || {
        let lan = Switched::new();
        lan.host.sh("ip address flush dev lan0");
        let subnet = "--subnet 192.0.2.0/24 --gateway 192.0.2.9 -o parent=lan0";
        refused(&format!("network create -d macvlan {subnet} {ACCESS} lan")).hints("--aux-address host=IP");
        let before = Snapshot::take();
        let (a, _) = two(&format!("{subnet} {ACCESS} --aux-address host=192.0.2.77"));
        assert_eq!(source(&lan.host, Protocol::Tcp, "192.0.2.1:80"), "192.0.2.77");
        a.pings("192.0.2.77");
        linkspan("sandbox rm a b");
        linkspan("network rm lan");
        before.is_unchanged();
    });
}

#[test]
fn strict_filters_and_switched_off_ipv6_do_not_matter() {
    run(here!(), || {
        let lan = Switched::new();
        for setting in ["ipv4/conf/all/rp_filter=1", "ipv6/conf/default/disable_ipv6=1"] {
            sh(&format!("echo {0} | tr = ' ' | (read key value; echo $value >/proc/sys/net/$key)", setting));
        }
        let (a, _) = two(ACCESS);
        lan.host.reaches("192.0.2.3:80");
        a.pings("192.0.2.1");
        a.pings("192.0.2.9");
    });
}

#[test]
fn the_lan_is_that_of_the_parent() {
    run(here!(), || {
        let lan = Switched::new();
        let output = run_program("network create -d macvlan --ip-range 192.0.2.0/30 lan");
        assert!(String::from_utf8_lossy(&output.stderr).contains("sits on lan0"));
        let config = &json("network inspect lan")[0]["IPAM"]["Config"][0];
        assert_eq!((&config["Subnet"], &config["Gateway"]), (&"192.0.2.0/24".into(), &"192.0.2.9".into()));
        assert_eq!(config["AuxiliaryAddresses"]["host"], "192.0.2.1");
        assert!(
            linkspan("network ls").lines().any(|line| line.contains("macvlan") && line.ends_with("lan0"))
        );
        let a = sandbox("a", "--net lan");
        assert_eq!(a.sh("ip route show default").trim(), "default via 192.0.2.9 dev eth0 proto static");
        let endpoint = &json("sandbox inspect a")[0]["NetworkSettings"]["Networks"]["lan"];
        assert_eq!((&endpoint["IPAddress"], &endpoint["Parent"]), (&"192.0.2.2".into(), &"lan0".into()));
        assert_eq!(
            (&endpoint["HostIfName"], &endpoint["MacAddress"]),
            (&"".into(), &"02:42:c0:00:02:02".into())
        );
        let number = inside("a", "cat /sys/class/net/eth0/ifindex").trim().parse::<u32>().unwrap();
        assert_eq!((&endpoint["IfIndex"], endpoint["HostIfIndex"].is_null()), (&number.into(), true));
        refused("sandbox create --net lan,ip=192.0.2.1 b").says(&["192.0.2.1", "host"]);
        refused("sandbox create --net lan,ip=192.0.2.9 b").says(&["192.0.2.9", "gateway"]);
        assert_eq!(lan.host.sh("cat /proc/sys/net/ipv4/ip_forward").trim(), "0");
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn a_sandbox_may_be_on_a_bridge_too() {
    run(here!(), || {
        let lan = Switched::new();
        linkspan("network create --subnet 10.7.0.0/24 inner");
        let a = sandbox("a", "--net inner -p 8080:80");
        let default = || a.sh("ip route show default").replace(" proto static", "").trim().to_owned();
        linkspan("network create -d macvlan lan");
        linkspan("network connect --gw-priority 5 lan a");
        assert_eq!(default(), "default via 192.0.2.9 dev eth1");
        lan.outside.reaches("192.0.2.2:80");
        linkspan("network disconnect lan a");
        assert_eq!(default(), "default via 10.7.0.1 dev eth0");
        lan.outside.reaches("192.0.2.1:8080");
        linkspan("network connect --ifname lan7 lan a");
        a.pings("192.0.2.9");
        assert_eq!(default(), "default via 10.7.0.1 dev eth0");
        refused("sandbox create --net lan -p 8081:80 b")
            .says(&["no port can be published"])
            .hints("gw-priority");
        refused("network connect --tap lan vm").says(&["no taps"]);
        linkspan("sandbox rm a");
        linkspan("network rm inner");
        linkspan("network rm lan");
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn what_was_taken_away_comes_back() {
    run(here!(), || {
        let lan = Switched::new();
        let (a, _) = two(ACCESS);
        let is_well = || {
            assert_eq!(linkspan("repair --dry-run"), "");
            lan.host.reaches("192.0.2.2:80");
            a.pings("192.0.2.3");
        };
        is_well();
        for harm in [
            "ip netns exec a ip link delete eth0",
            "ip netns exec a sh -c 'ip link set eth0 down && ip link set eth0 name mine && ip link set mine up'",
            "ip link delete $(ip -br link | grep -o '^shim-[0-9a-f]*')",
            "ip route delete 192.0.2.2/32",
        ] {
            sh(harm);
            linkspan("repair");
            is_well();
        }
    });
}

#[test]
fn a_foreign_namespace_lives_on_without_it() {
    run(here!(), || {
        let _lan = Switched::new();
        let theirs = Net::new("theirs");
        let before = Snapshot::take();
        linkspan(&format!("network create -d macvlan {ACCESS} lan"));
        linkspan("sandbox create --netns /run/netns/theirs --net lan guest");
        theirs.pings("192.0.2.9");
        theirs.sh("ip link set eth0 down && ip link set eth0 name other0 && ip link set other0 up");
        linkspan("sandbox rm guest");
        assert_eq!(theirs.sh("ip -br link").lines().count(), 1);
        linkspan("network rm lan");
        before.is_unchanged();
    });
}

#[test]
fn neighbours_with_an_old_mac_are_told() {
    run(here!(), || {
        let lan = Switched::new();
        linkspan("network create -d macvlan lan");
        linkspan("sandbox create --net lan,ip=192.0.2.50,mac=02:00:00:00:00:50 old");
        lan.outside.pings("192.0.2.50");
        linkspan("sandbox rm old");
        linkspan("sandbox create --net lan,ip=192.0.2.50,mac=02:00:00:00:00:51 new");
        lan.outside.pings("192.0.2.50");
        assert!(lan.outside.sh("ip neigh show 192.0.2.50").contains("02:00:00:00:00:51"));
    });
}

#[test]
fn parents_that_cannot_be_are_refused() {
    run(here!(), || {
        let before = {
            let lan = Switched::new();
            lan.host.sh("ip link add name br0 type bridge && ip link add port0 type veth peer name port1");
            lan.host.sh("ip link set port0 master br0");
            Snapshot::take()
        };
        let create =
            |options: &str| refused(&format!("network create -d macvlan --subnet 10.1.0.0/24 {options} n"));
        create("-o parent=lan7").says(&["no device lan7"]);
        create("-o parent=lan7.10").says(&["neither lan7.10 nor lan7"]);
        create("-o parent=lan0.5000").says(&["VLAN"]);
        create("-o parent=lo").says(&["no Ethernet device"]);
        create("-o parent=port0").says(&["port of a bridge"]).hints("bridge or bond");
        create("--internal").hints("-o parent=DEVICE");
        create("-o com.docker.network.driver.mtu=9000").says(&["lan0 has 1500"]);
        create("-o macvlan_mode=vepa -o linkspan.host-access=true").says(&["vepa"]);
        create("-o macvlan_mode=brigde").hints("did you mean bridge?");
        create("-o ipvlan_mode=l2").says(&["unknown option 'ipvlan_mode'"]);
        refused("network create -d macvlam x").says(&["did you mean macvlan?"]);
        refused("network create -d macvlan --ipv6 x").says(&["IPv6"]).hints("--subnet");
        linkspan("network create -d macvlan --subnet 10.1.0.0/24 one");
        refused("network create -d ipvlan --subnet 10.2.0.0/24 two").says(&["not both"]);
        refused("network create -d macvlan --subnet 10.2.0.0/24 -o macvlan_mode=passthru two")
            .says(&["'one'"]);
        linkspan("network rm one");
        sh("ip route delete default");
        refused("network create -d macvlan x").says(&["default route"]).hints("-o parent=DEVICE");
        sh("ip route add default via 192.0.2.9");
        before.is_unchanged();
    });
}

#[test]
fn an_address_that_somebody_on_the_lan_has_is_nobody_elses() {
    run(here!(), || {
        let lan = Switched::new();
        lan.outside.sh("ip address add 192.0.2.2/24 dev lan0");
        let (a, b) = two("");
        assert_eq!(source(&lan.outside, Protocol::Tcp, "192.0.2.3:80"), "192.0.2.9");
        a.pings("192.0.2.4");
        b.pings("192.0.2.2");
        refused("sandbox create --net lan,ip=192.0.2.2 c").says(&["192.0.2.2 is in use on the LAN"]);
    });
}

#[test]
fn a_lab_from_a_file_may_be_on_the_lan() {
    run(here!(), || {
        let lan = Switched::new();
        let before = Snapshot::take();
        let file = "/run/lab.toml";
        let text = "[network.lan]\ndriver = \"macvlan\"\noptions = { parent = \"lan0\" }\n\n[sandbox.a]\nnet = \"lan\"\n";
        std::fs::write(file, text).unwrap();
        assert!(linkspan(&format!("plan -f {file}")).contains("driver macvlan"));
        linkspan(&format!("apply -f {file}"));
        serve(&Net::pinned("a"), &[80]);
        lan.outside.reaches("192.0.2.2:80");
        assert_eq!(linkspan(&format!("plan -f {file}")).lines().count(), 1);
        std::fs::write(file, text.replace("parent =", "macvlan_mod = \"x\", parent =")).unwrap();
        refused(&format!("plan -f {file}")).says(&["macvlan_mod"]).hints("macvlan_mode");
        std::fs::write(file, text).unwrap();
        linkspan(&format!("delete -f {file}"));
        before.is_unchanged();
    });
}
