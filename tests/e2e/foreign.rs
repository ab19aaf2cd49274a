//! Interfaces for containers that somebody else runs: what was there before stays as it is, to the byte.

use crate::support::*;

/// A process in a network namespace of its own, as a container engine without networking leaves it: lo is down.
struct Container(String);

impl Container {
    fn start() -> Self {
        let process = sh("unshare -n sleep 300 >/dev/null 2>&1 & echo $!").trim().to_owned();
        // Until it has entered its namespace, it is still in ours.
        let entered = format!("test $(readlink /proc/{process}/ns/net) != $(readlink /proc/self/ns/net)");
        sh(&format!("for i in $(seq 100); do {entered} && exit; sleep 0.01; done; exit 1"));
        Self(process)
    }

    fn sh(&self, command: &str) -> String {
        sh(&format!("nsenter -n -t {} sh -c '{command}'", self.0))
    }

    /// A container with an eth0 of its own that leads to a gateway, and so to its default route.
    fn wired() -> Self {
        let container = Self::start();
        let Self(process) = &container;
        sh(&format!("ip link add own0 type veth peer name eth0 netns {process} && ip link set own0 up"));
        sh("ip address add 172.31.0.1/24 dev own0");
        container.sh(
            "ip link set lo up; ip link set eth0 addrgenmode none up; ip address add 172.31.0.2/24 dev eth0",
        );
        container.sh("ip route add default via 172.31.0.1");
        container
    }

    /// Everything of its network that can be seen.
    fn picture(&self) -> String {
        self.sh(
            "ip -d link; ip address; ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; \
             nft list ruleset; sysctl -a --pattern ^net 2>/dev/null | grep -v conntrack_count",
        )
    }

    /// That it is as it was.
    fn is_unchanged(&self, before: &str) {
        let now = self.picture();
        let only_in = |one: &str, other: &str| {
            let lines = one.lines().filter(|line| !other.lines().any(|known| known == *line));
            lines.map(str::to_owned).collect::<Vec<_>>().join("\n  ")
        };
        let (gone, new) = (only_in(before, &now), only_in(&now, before));
        assert!(now == before, "gone inside:\n  {gone}\nnew:\n  {new}");
    }

    fn end(&self) {
        sh(&format!("kill {0}; while test -d /proc/{0}/ns; do sleep 0.01; done", self.0));
    }
}

const LAB: &str = "--subnet 10.7.0.0/24 --subnet fd00:7::/64 --ipv6 lab";

/// A host with a dual-stack network lab, a second one, and a sandbox on both.
fn world() -> World {
    let world = World::new();
    world.network(LAB).network("--subnet 10.8.0.0/24 two");
    world.sandbox("peer", "--net lab --net two");
    world
}

#[test]
fn a_container_is_plugged_into_networks_and_left_as_it_was() {
    run(here!(), || {
        let world = world();
        serve(&world.outside, &[80]);
        let container = Container::start();
        let (host, before) = (Snapshot::take(), container.picture());
        linkspan(&format!("sandbox create --net none --pid {} web", container.0));
        container.is_unchanged(&before);
        linkspan("network connect lab web");
        linkspan("network connect --ifname back0 two web");
        let web = Net::pinned("web");
        for address in ["10.7.0.2:80", "10.8.0.2:80", "192.0.2.9:80"] {
            web.reaches(address);
        }
        web.pings("fd00:7::2");
        web.serve_tcp("[::]:80");
        for address in ["10.7.0.3:80", "10.8.0.3:80", "[fd00:7::3]:80"] {
            Net::pinned("peer").reaches(address);
        }
        assert!(inside("web", "ping -4 -c1 -W1 peer").contains("10.7.0.2"));
        linkspan("network disconnect lab web");
        web.reaches("10.8.0.2:80");
        linkspan("network connect lab web");
        linkspan("sandbox rm web");
        container.is_unchanged(&before);
        host.is_unchanged();
        container.sh(&format!("kill -0 {}", container.0));
        container.end();
    });
}

#[test]
fn a_container_with_a_network_keeps_it() {
    run(here!(), || {
        let _world = world();
        let container = Container::wired();
        let before = container.picture();
        let made = program(&format!("sandbox create --net lab --pid {} web", container.0)).output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success() && said.contains("keeps the IPv4 default route"), "{said}");
        linkspan("network connect two web");
        let web = Net::pinned("web");
        let devices = web.sh("ip -br link");
        assert!(["eth0", "eth1", "eth2"].iter().all(|device| devices.contains(device)), "{devices}");
        assert_eq!(web.sh("ip route show default"), "default via 172.31.0.1 dev eth0 \n");
        // It had none over IPv6.
        assert!(web.sh("ip -6 route show default").contains("via fd00:7::1 dev eth1"));
        for address in ["10.7.0.2:80", "10.8.0.2:80"] {
            web.reaches(address);
        }
        web.pings("172.31.0.1");
        Net::pinned("peer").pings("10.7.0.3");
        refused("network connect --ifname eth0 bridge web")
            .says(&["has an interface eth0 already"])
            .hints("free one");
        assert_eq!(linkspan("repair"), "");
        linkspan("sandbox rm web");
        container.is_unchanged(&before);
        container.end();
    });
}

#[test]
fn what_is_no_container_is_refused() {
    run(here!(), || {
        let _world = world();
        let before = Snapshot::take();
        let gone = Container::start();
        gone.end();
        refused(&format!("sandbox create --net lab --pid {} web", gone.0)).says(&["no process", &gone.0]);
        sh("mkfifo /run/pipe; ln -s /run/nowhere /run/link");
        for (path, why) in [
            ("/run/nowhere", "ENOENT"),
            ("/run/link", "ENOENT"),
            ("/run/pipe", "no network namespace"),
            ("/run", "no network namespace"),
            ("/etc/passwd", "no network namespace"),
            ("/proc/self/ns/mnt", "no network namespace"),
            ("/proc/self/ns/net", "the host's own"),
        ] {
            refused(&format!("sandbox create --net lab --netns {path} web")).says(&[path, why]);
        }
        before.is_unchanged();
        assert_eq!(linkspan("repair"), "");
    });
}

#[test]
fn a_container_that_ends_leaves_nothing_for_long() {
    run(here!(), || {
        let _world = world();
        let before = Snapshot::take();
        for way in ["repair", "connect", "create"] {
            let container = Container::start();
            linkspan(&format!("sandbox create --net lab,ip=10.7.0.77 --pid {} web", container.0));
            // Another process in its namespace, which outlives it.
            let child = container.sh("sleep 300 >/dev/null 2>&1 & echo $!");
            container.end();
            assert_eq!(linkspan("repair"), "");
            Net::pinned("peer").pings("10.7.0.77");
            Container(child.trim().to_owned()).end();
            match way {
                "repair" => {
                    assert_eq!(linkspan("repair --dry-run"), "sandbox web is held by nothing: undone\n");
                    assert_eq!(linkspan("repair"), "sandbox web is held by nothing: undone\n");
                }
                "connect" => {
                    refused("network connect two web")
                        .says(&["no sandbox 'web' any more", "no longer that of"]);
                }
                _ => {
                    linkspan("sandbox create --net lab,ip=10.7.0.77 other");
                    linkspan("sandbox rm other");
                }
            }
            before.is_unchanged();
        }
    });
}

#[test]
fn a_namespace_whose_file_goes_is_given_up() {
    run(here!(), || {
        let _world = world();
        let before = Snapshot::take();
        sh("ip netns add theirs");
        linkspan("sandbox create --net lab --netns /run/netns/theirs web");
        assert_eq!(linkspan("repair"), "");
        sh("ip netns del theirs");
        assert_eq!(linkspan("repair"), "sandbox web is held by nothing: undone\n");
        before.is_unchanged();
    });
}
