//! Sandboxes on the LAN with addresses of their own, and on VLANs of it: what few kernels have built in.

use crate::support::*;

const ACCESS: &str = "-o linkspan.host-access=true";

fn sandbox(name: &str, flags: &str) -> Net {
    linkspan(&format!("sandbox create {flags} {name}"));
    let net = Net::pinned(name);
    serve(&net, &[80]);
    net
}

fn has_ipvlan() -> bool {
    kernel_has("type ipvlan")
}

fn has_vlan() -> bool {
    kernel_has("type vlan id 7")
}

/// Whether there is ipvlan; if not, the test says that it is skipped.
fn needs_ipvlan() -> bool {
    has_ipvlan() || lacks("ipvlan")
}

/// Whether there is 802.1Q; if not, the test says that it is skipped.
fn needs_vlan() -> bool {
    has_vlan() || lacks("802.1Q")
}

fn lacks(what: &str) -> bool {
    skip(&format!("this kernel has no {what}"));
    false
}

#[test]
fn vm_sandboxes_share_the_mac_of_their_parent() {
    run(here!(), || {
        let lan = Switched::new();
        if !needs_ipvlan() {
            return;
        }
        let before = Snapshot::take();
        linkspan("network create -d ipvlan lan");
        let (a, b) = (sandbox("a", "--net lan"), sandbox("b", "--net lan"));
        assert_eq!(inside("a", "cat /sys/class/net/eth0/address"), sh("cat /sys/class/net/lan0/address"));
        a.reaches("192.0.2.3:80");
        b.pings("192.0.2.9");
        assert_eq!(source(&lan.outside, Protocol::Tcp, "192.0.2.2:80"), "192.0.2.9");
        lan.host.pings_in_vain("192.0.2.2");
        let endpoint = &json("sandbox inspect a")[0]["NetworkSettings"]["Networks"]["lan"];
        assert_eq!((&endpoint["MacAddress"], &endpoint["HostIfName"]), (&"".into(), &"".into()));
        refused("sandbox create --net lan,mac=02:00:00:00:00:05 c").says(&["MAC", "lan0"]);
        sh("ip netns exec a ip link delete eth0");
        assert!(linkspan("repair").contains("create ipvlan l2 eth0 in a on lan0 address 192.0.2.2/24"));
        assert_eq!(linkspan("repair --dry-run"), "");
        lan.outside.reaches("192.0.2.3:80");
        linkspan("sandbox rm a b");
        linkspan("network rm lan");
        before.is_unchanged();
    });
}

#[test]
fn vm_flags_keep_sandboxes_of_one_parent_apart() {
    run(here!(), || {
        let _lan = Switched::new();
        if !needs_ipvlan() {
            return;
        }
        for flag in ["private", "vepa"] {
            linkspan(&format!("network create -d ipvlan -o ipvlan_flag={flag} lan"));
            let (a, _) = (sandbox("a", "--net lan"), sandbox("b", "--net lan"));
            a.pings("192.0.2.9");
            a.pings_in_vain("192.0.2.3");
            linkspan("sandbox rm a b");
            linkspan("network rm lan");
        }
        linkspan("network create -d ipvlan one");
        refused("network create -d ipvlan --subnet 10.1.0.0/24 -o ipvlan_mode=l3 two")
            .says(&["one ipvlan_mode"]);
    });
}

#[test]
fn vm_without_neighbours_the_parent_routes() {
    run(here!(), || {
        let lan = Switched::new();
        if !needs_ipvlan() {
            return;
        }
        serve(&lan.host, &[81]);
        lan.outside.sh("ip route add 10.1.0.0/24 via 192.0.2.1");
        sh("sysctl -q -w net.ipv4.ip_forward=1");
        let before = Snapshot::take();
        for mode in ["l3", "l3s"] {
            linkspan(&format!(
                "network create -d ipvlan -o ipvlan_mode={mode} --subnet 10.1.0.0/24 {ACCESS} lan"
            ));
            let (a, b) = (sandbox("a", "--net lan"), sandbox("b", "--net lan"));
            assert_eq!(
                a.sh("ip route show default").trim(),
                "default dev eth0 proto static scope link",
                "{mode}"
            );
            a.reaches("10.1.0.2:80");
            b.pings("192.0.2.9");
            assert_eq!(source(&lan.outside, Protocol::Tcp, "10.1.0.1:80"), "192.0.2.9", "{mode}");
            assert_eq!(source(&lan.host, Protocol::Tcp, "10.1.0.1:80"), "192.0.2.1", "{mode}");
            assert_eq!(source(&a, Protocol::Tcp, "192.0.2.1:81"), "10.1.0.1", "{mode}");
            linkspan("sandbox rm a b");
            linkspan("network rm lan");
            before.is_unchanged();
        }
    });
}

#[test]
fn vm_host_and_sandboxes_of_ipvlan_reach_each_other_on_request() {
    run(here!(), || {
        let lan = Switched::new().ipv6();
        if !needs_ipvlan() {
            return;
        }
        serve(&lan.host, &[81]);
        lan.host.serve_tcp("[2001:db8::1]:82");
        let before = Snapshot::take();
        linkspan(&format!("network create -d ipvlan --ipv6 {ACCESS} lan"));
        let (a, b) = (sandbox("a", "--net lan"), sandbox("b", "--net lan"));
        b.serve_tcp("[::]:82");
        assert_eq!(source(&lan.host, Protocol::Tcp, "192.0.2.2:80"), "192.0.2.1");
        assert_eq!(source(&a, Protocol::Tcp, "192.0.2.1:81"), "192.0.2.2");
        assert_eq!(source(&lan.host, Protocol::Tcp, "[2001:db8::3]:82"), "2001:db8::1");
        assert_eq!(source(&a, Protocol::Tcp, "[2001:db8::1]:82"), "2001:db8::2");
        assert_eq!(source(&a, Protocol::Tcp, "[2001:db8::3]:82"), "2001:db8::2");
        lan.outside.reaches("192.0.2.1:81");
        linkspan("sandbox rm a b");
        linkspan("network rm lan");
        before.is_unchanged();
        sh("sysctl -q -w net.ipv4.conf.lan0.rp_filter=1");
        refused(&format!("network create -d ipvlan {ACCESS} lan")).hints("--aux-address host=IP");
        linkspan(&format!("network create -d ipvlan --aux-address host=192.0.2.77 {ACCESS} lan"));
        let c = sandbox("c", "--net lan");
        assert_eq!(source(&lan.host, Protocol::Tcp, "192.0.2.2:80"), "192.0.2.77");
        c.pings("192.0.2.77");
    });
}

#[test]
fn vm_a_vlan_comes_with_the_first_network_on_it_and_goes_with_the_last() {
    run(here!(), || {
        let lan = Switched::new();
        if !needs_vlan() {
            return;
        }
        lan.outside.sh("ip link add link lan0 name lan0.10 type vlan id 10 && ip link set lan0.10 up");
        lan.outside
            .sh("ip address add 10.1.0.254/24 dev lan0.10 && ip address add 10.2.0.254/24 dev lan0.10");
        let before = Snapshot::take();
        let create = |subnet: &str, name: &str| {
            let address = format!("--subnet 10.{subnet}.0.0/24 --gateway 10.{subnet}.0.254");
            linkspan(&format!("network create -d macvlan {address} -o parent=lan0.10 {name}"));
        };
        create("1", "one");
        create("2", "two");
        assert!(sh("ip -d -o link show lan0.10").contains("vlan protocol 802.1Q id 10"));
        let (a, b) = (sandbox("a", "--net one"), sandbox("b", "--net two"));
        for (net, router) in [(&a, "10.1.0.254"), (&b, "10.2.0.254")] {
            net.pings(router);
        }
        a.pings_in_vain("192.0.2.1");
        lan.outside.reaches("10.1.0.1:80");
        linkspan("sandbox rm a");
        linkspan("network rm one");
        b.pings("10.2.0.254");
        sh("ip link delete lan0.10");
        linkspan("repair");
        b.pings("10.2.0.254");
        linkspan("sandbox rm b");
        linkspan("network rm two");
        before.is_unchanged();
    });
}

#[test]
fn vm_a_vlan_that_is_there_stays() {
    run(here!(), || {
        let _lan = Switched::new();
        if !needs_vlan() {
            return;
        }
        sh("ip link add link lan0 name lan0.20 type vlan id 20");
        linkspan("network create -d macvlan --subnet 10.1.0.0/24 -o parent=lan0.20 one");
        linkspan("network rm one");
        assert!(sh("ip -d -o link show lan0.20").contains("id 20"));
    });
}

#[test]
fn vm_a_vlan_that_somebody_made_since_stays() {
    run(here!(), || {
        let _lan = Switched::new();
        if !needs_vlan() {
            return;
        }
        linkspan("network create -d macvlan --subnet 10.1.0.0/24 -o parent=lan0.30 one");
        // As after a boot with a configuration of its own.
        sh("ip link del lan0.30; ip link add link lan0 name lan0.30 type vlan id 30");
        linkspan("network rm one");
        assert!(sh("ip -d -o link show lan0.30").contains("id 30"));
    });
}

#[test]
fn what_the_kernel_lacks_is_named() {
    run(here!(), || {
        let _lan = Switched::new();
        let (ipvlan, vlan) = (has_ipvlan(), has_vlan());
        if ipvlan && vlan {
            return skip("this kernel has both ipvlan and 802.1Q");
        }
        let before = Snapshot::take();
        if !ipvlan {
            linkspan("network create -d ipvlan lan");
            refused("sandbox create --net lan a").says(&["create ipvlan"]).hints("CONFIG_IPVLAN");
            linkspan("network rm lan");
            before.is_unchanged();
        }
        if !vlan {
            let vlan = "network create -d macvlan --subnet 10.1.0.0/24 -o parent=lan0.10 lan";
            refused(vlan).says(&["create vlan lan0.10"]).hints("CONFIG_VLAN_8021Q");
            before.is_unchanged();
        }
    });
}
