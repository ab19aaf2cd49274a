//! Limits of endpoints, measured by what arrives.

use std::time::Duration;

use crate::support::*;

/// How long traffic is measured.
const WHILE: Duration = Duration::from_secs(2);
/// Where it is sent to.
const PORT: u16 = 5001;

/// What arrives while one sends as fast as it can, in megabits a second.
fn rate(from: &Net, to: &Net, address: &str) -> f64 {
    from.send(to, &format!("{address}:{PORT}"), |_, elapsed| elapsed < WHILE).megabits()
}

/// How long so many bytes take.
fn time(from: &Net, to: &Net, address: &str, bytes: u64) -> Duration {
    let Flow { time, .. } = from.send(to, &format!("{address}:{PORT}"), |sent, _| sent < bytes);
    time
}

/// That a measured rate is the limit, less what headers take, within 15 percent.
#[track_caller]
fn is_about(measured: f64, limit: f64) {
    assert!((measured / limit - 1.0).abs() < 0.15, "{measured:.1} mbit instead of {limit}");
}

fn queues() -> String {
    sh("tc qdisc; ip -o link | cut -d: -f2")
}

#[test]
fn an_endpoint_is_as_fast_as_its_limits_each_way() {
    run(here!(), || {
        if !has("tc") {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab");
        let peer = world.sandbox("peer", "--net lab");
        let plain = world.sandbox("plain", "--net lab");
        let before = queues();
        let web = world.sandbox("web", "--net lab,ingress-rate=20mbit,ingress-burst=128kb,egress-rate=10mbit,egress-burst=64kb -p 8080:80");
        is_about(rate(&peer, &web, "10.7.0.4"), 20.0);
        is_about(rate(&web, &peer, "10.7.0.2"), 10.0);
        is_about(rate(&world.host, &web, "10.7.0.4"), 20.0);
        is_about(rate(&web, &world.outside, "192.0.2.9"), 10.0);
        world.outside.reaches("192.0.2.1:8080");
        let free = std::thread::scope(|scope| {
            let slow = scope.spawn(|| rate(&peer, &web, "10.7.0.4"));
            let free = rate(&peer, &plain, "10.7.0.3");
            is_about(slow.join().unwrap(), 20.0);
            free
        });
        assert!(free > 100.0, "a neighbour without limits has {free:.1} mbit");
        let shown = sh("tc -s qdisc");
        for word in ["tbf", "rate 20Mbit burst 128Kb", "rate 10Mbit burst 64Kb", "clsact"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        let inspected = &json("sandbox inspect web")[0]["NetworkSettings"]["Networks"]["lab"];
        assert_eq!(
            (&inspected["IngressRate"], &inspected["EgressBurst"]),
            (&"20mbit".into(), &"64kb".into())
        );
        linkspan("sandbox rm web");
        assert_eq!(queues(), before);
    });
}

#[test]
fn a_burst_passes_at_once() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab");
        let peer = world.sandbox("peer", "--net lab");
        let limit = "--net lab,ingress-rate=8mbit,ingress-burst=2mb,egress-rate=8mbit";
        let web = world.sandbox("web", limit);
        // At 8 mbit half a megabyte takes half a second.
        let quick = time(&peer, &web, "10.7.0.3", 500_000);
        assert!(quick < Duration::from_millis(250), "a burst takes {quick:?}");
        let slow = time(&web, &peer, "10.7.0.2", 500_000);
        assert!(slow > Duration::from_millis(350), "without a burst it takes {slow:?}");
    });
}

#[test]
fn limits_come_with_a_connection_and_go_with_it() {
    run(here!(), || {
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab").network("--subnet 10.8.0.0/24 wide");
        let (peer, web) = (world.sandbox("peer", "--net wide"), world.sandbox("web", "--net lab"));
        let before = queues();
        linkspan("network connect --egress-rate 15mbit --egress-burst 64kb wide web");
        is_about(rate(&web, &peer, "10.8.0.2"), 15.0);
        assert!(rate(&peer, &web, "10.8.0.3") > 60.0);
        assert!(rate(&web, &world.host, "10.7.0.1") > 60.0);

        sh("ip link del $(ip -o link | grep -o 'ifb[0-9a-f]*' | head -1)");
        let repaired = linkspan("repair");
        assert!(repaired.contains("egress 15mbit"), "{repaired}");
        is_about(rate(&web, &peer, "10.8.0.2"), 15.0);
        linkspan("network disconnect wide web");
        assert_eq!(queues(), before);
    });
}

#[test]
fn a_rate_changed_by_hand_stays() {
    run(here!(), || {
        if !has("tc") {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab");
        let peer = world.sandbox("peer", "--net lab");
        let web = world.sandbox("web", "--net lab,ingress-rate=10mbit");
        sh(
            "tc qdisc change dev $(tc qdisc | grep tbf | grep -o 'veth[0-9a-f]*') root tbf rate 20mbit burst 128kb latency 50ms",
        );
        assert_eq!(linkspan("repair"), linkspan("repair --dry-run"));
        is_about(rate(&peer, &web, "10.7.0.3"), 20.0);
    });
}

#[test]
fn a_virtual_machine_has_limits_too() {
    run(here!(), || {
        if !may_open_taps() {
            return;
        }
        let world = World::new();
        world.network("--subnet 10.7.0.0/24 lab");
        let peer = world.sandbox("peer", "--net lab");
        linkspan(
            "network connect --tap --ifname vm0 --ingress-rate 20mbit --ingress-burst 128kb --egress-rate 10mbit lab vm",
        );
        let vm = Net::machine("vm", "vm0", "02:42:0a:07:00:03");
        vm.sh("ip address add 10.7.0.3/24 dev eth0");
        is_about(rate(&peer, &vm, "10.7.0.3"), 20.0);
        is_about(rate(&vm, &peer, "10.7.0.2"), 10.0);
    });
}

#[test]
fn limits_that_cannot_be_change_nothing() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net none web");
        let before = Snapshot::take();
        refused("network connect --ingress-rate 10parsec lab web").says(&["10parsec", "10mbit"]);
        refused("network connect --ingress-burst 10kb lab web").says(&["--ingress-rate"]);
        refused("network connect --ingress-rate 10mbit --ingress-burst 1kb lab web")
            .hints("ingress-burst=30kb");
        refused("sandbox create --net lab,egress-burst=64kb x").hints("egress-rate");
        before.is_unchanged();
    });
}
