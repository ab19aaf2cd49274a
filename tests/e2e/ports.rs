//! Which host ports are published: ranges, chosen ones, conflicts, and mappings that move.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use crate::support::*;

fn lab() -> World {
    let world = World::new();
    world.network("--subnet 10.7.0.0/24 lab");
    world
}

#[test]
fn a_range_is_published_from_its_first_to_its_last_port() {
    run(here!(), || {
        let world = lab();
        let web = world.sandbox("web", "--net lab -p 8000-8009:8000-8009 -p 8000-8009:8000-8009/udp");
        serve(&web, &[8000, 8005, 8009, 8010]);
        for port in [8000, 8005, 8009] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                assert_eq!(source(&world.outside, protocol, &format!("192.0.2.1:{port}")), "192.0.2.9");
                source(&world.host, protocol, &format!("127.0.0.1:{port}"));
            }
        }
        world.outside.gets_nothing_from(&["192.0.2.1:8010", "192.0.2.1:7999"]);
    });
}

#[test]
fn a_range_is_published_under_other_numbers() {
    run(here!(), || {
        let world = lab();
        let web = world.sandbox("web", "--net lab -p 9000-9004:7000-7004");
        serve(&web, &[7000, 7004]);
        world.outside.reaches("192.0.2.1:9000");
        world.outside.reaches("192.0.2.1:9004");
        world.outside.gets_nothing_from(&["192.0.2.1:9001", "192.0.2.1:7000", "192.0.2.1:9005"]);
        let first = linkspan("port web");
        assert_eq!(first.lines().next(), Some("7000/tcp -> 0.0.0.0:9000"));
        assert_eq!(first.lines().count(), 5);
    });
}

#[test]
fn ranges_live_side_by_side() {
    run(here!(), || {
        let world = lab();
        let one = world.sandbox("one", "--net lab -p 8000-8999:8000-8999 -p 192.0.2.1:7000-7009:7000-7009");
        let two = world.sandbox("two", "--net lab -p 9000-9999:9000-9999");
        serve(&one, &[8999, 7009]);
        serve(&two, &[9000]);
        for port in [8999, 9000, 7009] {
            world.outside.reaches(&format!("192.0.2.1:{port}"));
        }
        world.host.gets_nothing_from(&["127.0.0.1:7009"]);
        linkspan("sandbox rm one");
        world.outside.gets_nothing_from(&["192.0.2.1:8999"]);
        world.outside.reaches("192.0.2.1:9000");
        let three = world.sandbox("three", "--net lab -p 8990-8999:8990-8999 -p 65000-65535:65000-65535");
        serve(&three, &[8999, 65535]);
        linkspan("sandbox rm two");
        world.outside.gets_nothing_from(&["192.0.2.1:9000"]);
        world.outside.reaches("192.0.2.1:8999");
        world.outside.reaches("192.0.2.1:65535");
    });
}

#[test]
fn ports_left_to_choose_are_from_49153_up() {
    run(here!(), || {
        let world = lab();
        world.sandbox("one", "--net lab -p 80 -p 127.0.0.1::53 -P --expose 80 --expose 53/udp");
        let told = linkspan("port one");
        let expected = "53/tcp -> 127.0.0.1:49154\n53/udp -> 0.0.0.0:49155\n80/tcp -> 0.0.0.0:49153\n";
        assert_eq!(told, expected);
        world.outside.reaches("192.0.2.1:49153");
        world.host.reaches("127.0.0.1:49154");
        world.outside.gets_nothing_from(&["192.0.2.1:49154"]);
        assert_eq!(source(&world.outside, Protocol::Udp, "192.0.2.1:49155"), "192.0.2.9");
        // Another sandbox gets others, and no process loses its own.
        world.host.serve_tcp("0.0.0.0:49156");
        world.sandbox("two", "--net lab -p 80");
        assert_eq!(linkspan("port two"), "80/tcp -> 0.0.0.0:49157\n");
    });
}

#[test]
fn one_port_finds_a_place_in_a_range_of_the_host() {
    run(here!(), || {
        let world = lab();
        for (name, port) in [("a", 8000), ("b", 8001), ("c", 8002)] {
            world.sandbox(name, "--net lab -p 8000-8002:80");
            assert_eq!(linkspan(&format!("port {name}")), format!("80/tcp -> 0.0.0.0:{port}\n"));
            world.outside.reaches(&format!("192.0.2.1:{port}"));
        }
        refused("sandbox create --net lab -p 8000-8002:80 d").says(&["8000-8002"]);
        linkspan("sandbox rm b");
        world.sandbox("d", "--net lab -p 8000-8002:80");
        assert_eq!(linkspan("port d"), "80/tcp -> 0.0.0.0:8001\n");
    });
}

#[test]
fn sctp_is_published_too() {
    run(here!(), || {
        let world = lab();
        world.sandbox("web", "--net lab -p 8080:80/sctp -p 8080:53");
        assert_eq!(linkspan("port web"), "53/tcp -> 0.0.0.0:8080\n80/sctp -> 0.0.0.0:8080\n");
        assert!(sh("nft list map inet linkspan publish4_any").contains("sctp . 8080 : 10.7.0.2 . 80"));
        world.outside.reaches("192.0.2.1:8080");
        skip("traffic over SCTP; crates/kernel/tests/firewall has it where the kernel does");
    });
}

#[test]
fn a_port_of_another_sandbox_is_refused_by_its_name() {
    run(here!(), || {
        let world = lab();
        world.sandbox("web", "--net lab -p 8080:80 -p 8000-8009:8000-8009 -p 127.0.0.1:7070:80");
        let before = Snapshot::take();
        for publish in ["8080:80", "127.0.0.1:8080:80", "8009:80", "8005-8020:1005-1020", "7070:53"] {
            let refusal = refused(&format!("sandbox create --net lab -p {publish} other"));
            refusal.says(&["cannot publish", "sandbox 'web'"]).hints("another host port");
        }
        before.is_unchanged();
        // The other protocol, and another address, are free.
        world.sandbox("other", "--net lab -p 8080:53/udp -p 192.0.2.1:7070:80");
        world.outside.reaches("192.0.2.1:7070");
    });
}

#[test]
fn a_port_that_a_process_listens_on_is_refused_with_its_name_and_number() {
    run(here!(), || {
        let world = lab();
        world.host.serve_tcp("0.0.0.0:8080");
        world.host.serve_udp("192.0.2.1:5353");
        let own_name = std::fs::read_to_string("/proc/self/comm").unwrap();
        let process = format!("{} (pid {})", own_name.trim(), std::process::id());
        let before = Snapshot::take();
        for publish in ["8080:80", "127.0.0.1:8080:80", "8000-8100:8000-8100", "5353:53/udp"] {
            refused(&format!("sandbox create --net lab -p {publish} web"))
                .says(&["cannot publish", &process]);
        }
        before.is_unchanged();
        assert_eq!(linkspan("sandbox ls").lines().count(), 1);
        linkspan("sandbox create --net lab -p 127.0.0.1:5353:53/udp -p 8080:80/udp web");
    });
}

#[test]
fn an_address_that_the_host_does_not_have_is_refused() {
    run(here!(), || {
        lab();
        let before = Snapshot::take();
        refused("sandbox create --net lab -p 198.51.100.7:8080:80 web")
            .says(&["198.51.100.7", "no such address"])
            .hints("ip address");
        before.is_unchanged();
    });
}

#[test]
fn one_sandbox_cannot_publish_a_port_twice() {
    run(here!(), || {
        lab();
        refused("sandbox create --net lab -p 8080:80 -p 8080:81 web")
            .says(&["another -p of the same sandbox"]);
    });
}

/// A UDP client outside that keeps its port, as a phone or a game does.
struct Phone(UdpSocket);

impl Phone {
    fn of(world: &World) -> Self {
        let socket = world.outside.enter(|| UdpSocket::bind("192.0.2.9:4000").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Self(socket)
    }

    fn ask(&self, server: &str) -> io::Result<String> {
        self.0.send_to(b"?", server)?;
        let mut buffer = [0; 64];
        let (length, _) = self.0.recv_from(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

#[test]
fn a_udp_flow_follows_its_port_to_another_sandbox() {
    run(here!(), || {
        let world = lab();
        let phone = Phone::of(&world);
        for name in ["one", "two", "three"] {
            world.sandbox(name, "--net lab -p 5353:53/udp");
            assert_eq!(phone.ask("192.0.2.1:5353").unwrap(), "192.0.2.9:4000", "{name}");
            linkspan(&format!("sandbox rm {name}"));
            phone.ask("192.0.2.1:5353").unwrap_err();
        }
    });
}

#[test]
fn a_udp_flow_that_nobody_answered_follows_a_port_published_later() {
    run(here!(), || {
        let world = lab();
        let phone = Phone::of(&world);
        phone.ask("192.0.2.1:5353").unwrap_err();
        world.sandbox("web", "--net lab -p 5353:53/udp -p 8000-8009:8000-8009/udp");
        assert_eq!(phone.ask("192.0.2.1:5353").unwrap(), "192.0.2.9:4000");
        linkspan("sandbox rm web");
        phone.ask("192.0.2.1:8009").unwrap_err();
        let web = world.sandbox("web", "--net lab -p 8000-8009:8000-8009/udp");
        serve(&web, &[8009]);
        assert_eq!(phone.ask("192.0.2.1:8009").unwrap(), "192.0.2.9:4000");
    });
}

#[test]
fn other_udp_flows_are_not_disturbed() {
    run(here!(), || {
        let world = lab();
        let phone = Phone::of(&world);
        world.sandbox("web", "--net lab -p 5353:53/udp");
        phone.ask("192.0.2.1:5353").unwrap();
        world.sandbox("other", "--net lab -p 5354:53/udp");
        linkspan("sandbox rm other");
        assert_eq!(phone.ask("192.0.2.1:5353").unwrap(), "192.0.2.9:4000");
    });
}
