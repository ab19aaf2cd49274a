//! What was removed is free for the next command at once.

use linkspan_lab::{Net, here};

use crate::host::{assert_in_order, linkspan, make_lab};
use crate::snapshot::Snapshot;

#[test]
fn name_address_and_ports_are_free_when_rm_returns() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        for _ in 0..50 {
            linkspan(
                "sandbox create --net lab,ip=10.7.0.9,ifname=net0 -p 8080:80 -p 9000-9009:9000-9009/udp again",
            );
            linkspan("sandbox rm again");
        }
        before.assert_restored("after fifty of a name");
        assert_in_order("after fifty of a name");
    });
}

#[test]
fn network_name_bridge_and_subnet_are_free_when_rm_returns() {
    linkspan_lab::run(here!(), || {
        let before = Snapshot::take();
        for _ in 0..20 {
            linkspan("network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br7 lab");
            linkspan("network rm lab");
        }
        before.assert_restored("after twenty of a network");
    });
}

#[test]
fn three_thousand_ports_as_one_range() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        for target in ["20000-22999", "30000-32999"] {
            linkspan(&format!("sandbox create --net lab -p 20000-22999:{target} wide"));
            let first: u16 = target.split('-').next().unwrap().parse().unwrap();
            for offset in [0, 1500, 2999] {
                Net::pinned("wide").serve_tcp(&format!("0.0.0.0:{}", first + offset));
                let host = format!("10.7.0.1:{}", 20_000 + offset);
                Net::here().ask_tcp(&host).unwrap_or_else(|error| panic!("{host} to {target}: {error}"));
            }
            for outside in [19_999, 23_000] {
                Net::here().ask_tcp(&format!("10.7.0.1:{outside}")).expect_err("not published");
            }
            linkspan("sandbox rm wide");
            before.assert_restored("after a range was published");
        }
    });
}
