//! People who take things away behind the program's back.

use linkspan_lab::{Net, here, run_tool, sh};

use crate::host::{assert_in_order, has, linkspan, listed, make_lab};
use crate::snapshot::Snapshot;

/// A sandbox that answers at 10.7.0.1:8080, and one that asks.
fn serve() {
    make_lab();
    linkspan("sandbox create --net lab,ip=10.7.0.80 -p 8080:80 -p 9000-9009:9000-9009 web");
    linkspan("sandbox create --net lab peer");
    Net::pinned("web").serve_tcp("0.0.0.0:80");
    assert_serves("at first");
}

#[track_caller]
fn assert_serves(when: &str) {
    for (who, net) in [("the host", Net::here()), ("a peer", Net::pinned("peer"))] {
        for server in ["10.7.0.1:8080", "10.7.0.80:80"] {
            net.ask_tcp(server).unwrap_or_else(|error| panic!("{when}, {who} asks {server}: {error}"));
        }
    }
}

/// The device on the host that leads to a sandbox.
fn port_of(sandbox: &str) -> String {
    let text = linkspan(&format!("--format json sandbox inspect {sandbox}"));
    let name = text.split("\"HostIfName\"").nth(1).and_then(|rest| rest.split('"').nth(1));
    name.expect("a name in the inspection").to_owned()
}

#[test]
fn a_namespace_taken_away_is_made_again_or_forgotten() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let empty = Snapshot::take();
        for way in ["create", "rm", "repair", "port", "disconnect"] {
            linkspan("sandbox create --net lab,ip=10.7.0.80 -p 8080:80 web");
            sh("ip netns del web");
            match way {
                "create" => {
                    linkspan("sandbox create --net lab,ip=10.7.0.80 -p 8080:80 web");
                    sh("ip netns exec web ping -c1 -W2 10.7.0.1");
                    linkspan("sandbox rm web");
                }
                "rm" => drop(linkspan("sandbox rm web")),
                "repair" => {
                    assert_eq!(linkspan("repair"), "sandbox web is held by nothing: undone\n");
                }
                "port" => {
                    linkspan("sandbox create --net lab -p 8080:80 other");
                    linkspan("sandbox rm other");
                }
                _ => drop(linkspan("network disconnect -f lab web")),
            }
            empty.assert_restored(way);
            assert_in_order(way);
        }
    });
}

#[test]
fn a_flushed_ruleset_comes_back() {
    linkspan_lab::run(here!(), || {
        if !has("nft") {
            return;
        }
        serve();
        let before = Snapshot::take();
        for way in ["repair", "sandbox create --net lab new", "network connect lab alone"] {
            linkspan("sandbox create --net none alone");
            sh("nft flush ruleset");
            Net::here().ask_tcp("10.7.0.1:8080").expect_err("nothing is published without rules");
            linkspan(way);
            assert_serves(way);
            linkspan("sandbox rm -f new alone");
            before.assert_restored(way);
        }
    });
}

#[test]
fn one_table_taken_away_or_emptied_of_rules_comes_back() {
    linkspan_lab::run(here!(), || {
        if !has("nft") {
            return;
        }
        serve();
        let before = Snapshot::take();
        for table in ["inet", "ip6", "bridge"] {
            for harm in ["delete", "flush"].map(|verb| format!("nft {verb} table {table} linkspan")) {
                sh(&harm);
                let repaired = linkspan("repair");
                assert!(repaired.starts_with("create firewall table inet linkspan\n"), "{harm}: {repaired}");
                assert_eq!(linkspan("repair"), "", "{harm}");
                assert_serves(&harm);
                before.assert_restored(&harm);
            }
        }
    });
}

#[test]
fn a_bridge_taken_away_comes_back() {
    linkspan_lab::run(here!(), || {
        serve();
        let before = Snapshot::take();
        sh("ip link del lab0");
        linkspan("sandbox create --net lab new");
        sh("ip netns exec new ping -c1 -W2 10.7.0.1");
        linkspan("sandbox rm new");
        linkspan("repair");
        assert_in_order("after repair");
        assert_serves("after repair");
        before.assert_restored("after repair");

        sh("ip link del lab0");
        linkspan("sandbox rm web peer");
        linkspan("network rm lab");
        assert_eq!(linkspan("repair"), "");
    });
}

#[test]
fn a_veth_pair_taken_away_comes_back() {
    linkspan_lab::run(here!(), || {
        serve();
        let before = Snapshot::take();
        let port = port_of("web");
        sh(&format!("ip link del {port}"));
        assert!(linkspan("repair").starts_with(&format!("create port {port} on lab0")));
        assert_serves("after repair");
        before.assert_restored("after repair");

        // From inside, as a careless root in the sandbox would.
        sh("ip -n web link del eth0");
        linkspan("repair");
        assert_serves("after repair");

        sh(&format!("ip link set {port} nomaster"));
        linkspan("repair");
        assert_serves("after repair");
        before.assert_restored("after repair");
    });
}

#[test]
fn files_taken_away_are_in_the_way_of_nothing() {
    linkspan_lab::run(here!(), || {
        make_lab();
        linkspan("network create --subnet 10.8.0.0/24 wide");
        linkspan("sandbox create --net lab web");
        linkspan("sandbox create --net lab --net wide x");
        sh("rm -r /run/linkspan /etc/netns");
        linkspan("network disconnect wide x");
        linkspan("network connect wide x");
        sh("rm -r /run/linkspan /etc/netns");
        linkspan("sandbox rm x");
        linkspan("sandbox rm web");
        linkspan("network rm lab wide");
        assert_in_order("without files");
    });
}

#[test]
fn what_people_changed_stays() {
    linkspan_lab::run(here!(), || {
        serve();
        let port = port_of("web");
        for change in [
            "ip link set lab0 mtu 1400".to_owned(),
            "ip addr add 192.0.2.1/24 dev lab0".to_owned(),
            format!("ip link set {port} mtu 1400"),
            "ip -n web addr add 10.7.1.1/16 dev eth0".to_owned(),
            "nft add table inet theirs".to_owned(),
        ] {
            if change.starts_with("nft") && !run_tool("command -v nft").0 {
                continue;
            }
            sh(&change);
        }
        let before = Snapshot::take();
        assert_eq!(linkspan("repair"), "");
        linkspan("sandbox create --net lab new");
        linkspan("sandbox rm new");
        before.assert_restored("after others came and went");
        assert!(sh("ip link show lab0").contains("mtu 1400"));
        assert_serves("with changes by hand");
        assert_eq!(listed("sandbox"), ["peer", "web"]);
    });
}
