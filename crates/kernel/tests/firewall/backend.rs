//! Published ports in the table that users of Podman know: they may delete it, and have it made anew.

use linkspan_kernel::firewall::Firewall;
use linkspan_lab as lab;
use linkspan_model::Protocol;
use linkspan_plan::{Element, Elements, Step};

use crate::net::{
    HOST, bridge, created, gets_nowhere, lay_out, networks, publish_to, range, reaches, serve, sh,
};

fn of_backend(published: Element) -> Element {
    Element::Backend(Box::new(published))
}

fn ports() -> [Element; 4] {
    [
        of_backend(publish_to("0.0.0.0", 8080, "172.18.0.2:80")),
        of_backend(publish_to("::", 8080, "[fd0a::2]:80")),
        of_backend(publish_to("192.0.2.1", 8081, "172.18.0.2:80")),
        of_backend(range(Protocol::Tcp, 80, 82, "172.18.0.2")),
    ]
}

#[test]
fn ports_in_a_table_of_their_own_are_reached_until_it_goes_and_again_when_they_are_added() {
    lab::run(lab::here!(), || {
        lay_out();
        serve(Protocol::Tcp, "a1", "[::]:80");
        let mut firewall = created(&networks());
        assert!(!sh("nft list tables").contains("netavark"), "nobody publishes there yet");
        let add: Vec<_> = ports().into_iter().map(Step::AddElement).collect();
        firewall.apply(&add).unwrap();
        let reached = ["192.0.2.1:8080", "[2001:db8::1]:8080", "192.0.2.1:8081", "192.0.2.1:80"];
        for address in reached {
            reaches(
                Protocol::Tcp,
                "out",
                address,
                if address.contains('[') { "a1 2001:db8::2" } else { "a1 192.0.2.2" },
            );
        }
        reaches(Protocol::Tcp, HOST, "127.0.0.1:8080", "a1 172.18.0.1");
        let wanted = Elements::These(ports().into());
        assert_eq!(firewall.observe(&wanted).unwrap(), Some(ports().into()));
        sh("nft delete table inet netavark");
        for address in reached {
            gets_nowhere(Protocol::Tcp, "out", address);
        }
        assert_eq!(firewall.observe(&wanted).unwrap(), Some([].into()), "the other table is there as before");
        // As others keep one of the same name.
        sh("nft add table inet netavark && nft add chain inet netavark FORWARD");
        firewall.apply(&add).unwrap();
        reaches(Protocol::Tcp, "out", "192.0.2.1:8080", "a1 192.0.2.2");
        let all = firewall.observe(&Elements::All).unwrap().unwrap();
        assert!(ports().iter().chain([&bridge("br-a")]).all(|element| all.contains(element)));
        let delete: Vec<_> = ports().into_iter().map(Step::DeleteElement).collect();
        firewall.apply(&delete).unwrap();
        gets_nowhere(Protocol::Tcp, "out", "192.0.2.1:8080");
        firewall.apply(&delete).unwrap();
        sh("nft delete table inet netavark");
        firewall.apply(&delete).unwrap();
    });
}

#[test]
fn names_are_asked_for_although_the_host_takes_nothing_else_in() {
    lab::run(lab::here!(), || {
        lay_out();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            serve(protocol, HOST, "172.18.0.1:53");
            serve(protocol, HOST, "172.18.0.1:54");
        }
        let mut firewall = created(&networks());
        firewall.apply(&[Step::AddElement(Element::Named("br-a".parse().unwrap()))]).unwrap();
        sh("nft 'add chain inet netavark INPUT { type filter hook input priority 0; policy drop; }'");
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            reaches(protocol, "a1", "172.18.0.1:53", " 172.18.0.2");
            gets_nowhere(protocol, "a1", "172.18.0.1:54");
            gets_nowhere(protocol, "out", "172.18.0.1:53");
        }
    });
}

#[test]
fn all_of_it_is_made_anew_together_with_the_rest() {
    lab::run(lab::here!(), || {
        lay_out();
        serve(Protocol::Tcp, "a1", "[::]:80");
        let all = || networks().into_iter().chain(ports());
        let mut firewall = created(&all().collect::<Vec<_>>());
        let again: Vec<_> = [Step::DeleteFirewall, Step::CreateFirewall]
            .into_iter()
            .chain(all().map(Step::AddElement))
            .collect();
        for harm in ["flush table inet netavark", "delete table inet netavark", "flush table inet linkspan"] {
            reaches(Protocol::Tcp, "out", "192.0.2.1:8080", "a1 192.0.2.2");
            sh(&format!("nft {harm}"));
            let there = firewall.observe(&Elements::All).unwrap();
            assert_eq!(there.is_none(), harm.starts_with("flush"), "{harm}: whether it is to be made anew");
            firewall.apply(&again).unwrap();
        }
        reaches(Protocol::Tcp, "out", "[2001:db8::1]:8080", "a1 2001:db8::2");
        assert_eq!(firewall.observe(&Elements::All).unwrap(), Some(all().collect()));
    });
}

#[test]
fn of_several_who_make_it_nobody_loses_what_is_in_it() {
    lab::run(lab::here!(), || {
        created(&networks());
        for _ in 0..10 {
            std::thread::scope(|scope| {
                for port in 1..=4 {
                    scope.spawn(move || {
                        let published = of_backend(publish_to("0.0.0.0", port, "172.18.0.2:80"));
                        Firewall::open().unwrap().apply(&[Step::AddElement(published)]).unwrap();
                    });
                }
            });
            let found = sh("nft list map inet netavark ports4_any");
            assert_eq!(found.matches("172.18.0.2").count(), 4, "{found}");
            sh("nft delete table inet netavark");
        }
    });
}
