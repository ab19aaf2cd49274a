use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::{Answer, Asker, Link, Member, Network, Question, Records, Style, Verdict, Zones};

const A: u16 = 1;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn server(text: &str) -> SocketAddr {
    SocketAddr::new(ip(text), 53)
}

fn member(container: &str, addresses: &[&str], names: &[&str]) -> Member {
    Member {
        container: container.into(),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        names: names.iter().map(|n| (*n).into()).collect(),
        ..Member::default()
    }
}

/// Networks `a` and `b`; `c1` on both, `c2` on `a`, `c3` on `b`.
fn podman() -> Zones {
    let mut zones = Zones::new(Style::Podman { suffixes: vec![".dns.podman".into()], forward: true });
    zones.set_network("a", Network::default());
    zones.set_network("b", Network { internal: true, servers: vec![] });
    zones.set_member("a", member("c1", &["10.0.0.2", "fd00::2"], &["one", "web"]));
    zones.set_member("b", member("c1", &["10.1.0.2"], &["one"]));
    zones.set_member("a", member("c2", &["10.0.0.3"], &["Two", "web"]));
    zones.set_member("b", member("c3", &["10.1.0.3"], &["three"]));
    zones
}

fn ask(zones: &Zones, from: &str, network: &str, kind: u16, name: &str) -> Verdict {
    let asker = Asker::Address { from: ip(from), network };
    zones.decide(asker, Question { name: name.as_bytes(), kind })
}

fn v4(ttl: u32, shuffle: bool, all: &[&str]) -> Verdict {
    let all = all.iter().map(|a| a.parse().unwrap()).collect();
    Verdict::Answer(Answer { ttl, records: Records::V4(all), shuffle })
}

fn names(ttl: u32, all: &[&str]) -> Verdict {
    let all = all.iter().map(|a| (*a).into()).collect();
    Verdict::Answer(Answer { ttl, records: Records::Names(all), shuffle: false })
}

fn forward(servers: &[&str]) -> Verdict {
    Verdict::Forward(servers.iter().map(|s| server(s)).collect())
}

#[test]
fn members_know_the_names_of_their_networks_and_no_others() {
    let zones = podman();
    assert_eq!(ask(&zones, "10.0.0.3", "a", A, "one"), v4(0, false, &["10.0.0.2"]));
    assert_eq!(ask(&zones, "10.0.0.3", "a", A, "two"), v4(0, false, &["10.0.0.3"]));
    assert_eq!(ask(&zones, "10.0.0.3", "a", A, "web"), v4(0, false, &["10.0.0.2", "10.0.0.3"]));
    assert_eq!(ask(&zones, "10.0.0.3", "a", A, "three"), forward(&[]));
    assert_eq!(ask(&zones, "10.1.0.3", "b", A, "one"), v4(0, false, &["10.1.0.2"]));
}

#[test]
fn who_is_on_two_networks_knows_both_wherever_it_asks() {
    let zones = podman();
    for (from, network) in [("10.0.0.2", "a"), ("10.1.0.2", "b"), ("10.0.0.2", "b")] {
        assert_eq!(ask(&zones, from, network, A, "three"), v4(0, false, &["10.1.0.3"]));
        assert_eq!(ask(&zones, from, network, A, "one"), v4(0, false, &["10.0.0.2", "10.1.0.2"]));
    }
}

#[test]
fn who_is_unknown_is_a_member_of_the_network_that_was_asked() {
    let zones = podman();
    assert_eq!(ask(&zones, "10.0.0.1", "a", A, "one"), v4(0, false, &["10.0.0.2"]));
    assert_eq!(ask(&zones, "10.0.0.1", "a", A, "three"), forward(&[]));
    assert_eq!(ask(&zones, "10.0.0.1", "b", A, "elsewhere.org"), Verdict::NxDomain);
    assert_eq!(ask(&zones, "10.0.0.1", "a", PTR, "2.0.0.10.in-addr.arpa"), forward(&[]));
    assert_eq!(ask(&zones, "10.0.0.1", "gone", A, "one"), Verdict::Refused);
}

#[test]
fn a_known_name_without_that_family_is_empty() {
    let zones = podman();
    assert_eq!(ask(&zones, "10.0.0.2", "a", AAAA, "two"), Verdict::Empty);
    assert_eq!(ask(&zones, "10.1.0.3", "b", AAAA, "one"), Verdict::Empty);
    let v6 = Records::V6(vec!["fd00::2".parse().unwrap()]);
    let answer = Verdict::Answer(Answer { ttl: 0, records: v6, shuffle: false });
    assert_eq!(ask(&zones, "10.0.0.2", "a", AAAA, "one"), answer);
}

#[test]
fn a_suffix_is_taken_off_and_what_is_unknown_under_it_does_not_exist() {
    let zones = podman();
    assert_eq!(ask(&zones, "10.0.0.2", "a", A, "two.dns.podman"), v4(0, false, &["10.0.0.3"]));
    assert_eq!(ask(&zones, "10.0.0.2", "a", A, "four.dns.podman"), Verdict::NxDomain);
    assert_eq!(ask(&zones, "10.0.0.2", "a", TXT, "two.dns.podman"), Verdict::NxDomain);
    assert_eq!(ask(&zones, "10.0.0.2", "a", A, "dns.podman"), forward(&[]));
    assert_eq!(ask(&zones, "10.0.0.2", "a", TXT, "two"), forward(&[]));
}

#[test]
fn members_of_internal_networks_alone_are_sent_nowhere() {
    let zones = podman();
    assert_eq!(ask(&zones, "10.1.0.3", "b", A, "elsewhere.org"), Verdict::NxDomain);
    assert_eq!(ask(&zones, "10.1.0.3", "b", MX, "three"), Verdict::NxDomain);
    assert_eq!(ask(&zones, "10.1.0.2", "b", A, "elsewhere.org"), forward(&[]));
}

#[test]
fn addresses_have_names_for_who_is_on_their_network() {
    let zones = podman();
    assert_eq!(ask(&zones, "10.0.0.3", "a", PTR, "2.0.0.10.in-addr.arpa"), names(0, &["one", "web"]));
    assert_eq!(ask(&zones, "10.0.0.2", "a", PTR, "3.0.0.10.in-addr.arpa"), names(0, &["Two", "web"]));
    assert_eq!(ask(&zones, "10.0.0.3", "a", PTR, "3.0.1.10.in-addr.arpa"), forward(&[]));
    let name = format!("2.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
    assert_eq!(ask(&zones, "10.0.0.3", "a", PTR, &name), names(0, &["one", "web"]));
    for odd in
        ["256.0.0.10.in-addr.arpa", "0.0.10.in-addr.arpa", "1.2.0.0.10.in-addr.arpa", "2.ip6.arpa", "x"]
    {
        assert_eq!(ask(&zones, "10.0.0.3", "a", PTR, odd), forward(&[]), "{odd}");
    }
}

#[test]
fn a_member_has_its_own_servers_or_those_of_its_networks() {
    let mut zones = podman();
    zones.set_network("a", Network { internal: false, servers: vec![server("9.9.9.9")] });
    assert_eq!(ask(&zones, "10.0.0.3", "a", A, "example.org"), forward(&["9.9.9.9"]));
    let mut own = member("c2", &["10.0.0.3"], &["two"]);
    own.servers = vec![server("1.1.1.1"), server("8.8.8.8")];
    zones.set_member("a", own);
    assert_eq!(ask(&zones, "10.0.0.3", "a", A, "example.org"), forward(&["1.1.1.1", "8.8.8.8"]));
    assert_eq!(ask(&zones, "10.0.0.2", "a", A, "example.org"), forward(&["9.9.9.9"]));
}

#[test]
fn without_servers_what_is_unknown_does_not_exist() {
    let mut zones = Zones::new(Style::Podman { suffixes: vec![], forward: false });
    zones.set_member("a", member("c1", &["10.0.0.2"], &["one"]));
    assert_eq!(ask(&zones, "10.0.0.2", "a", A, "example.org"), Verdict::NxDomain);
    assert_eq!(ask(&zones, "10.0.0.2", "a", A, "one"), v4(0, false, &["10.0.0.2"]));
}

#[test]
fn a_version_stays_as_it_was_when_the_next_one_is_made() {
    let before = podman();
    let mut after = before.clone();
    after.remove_member("a", "c1");
    after.set_member("a", member("c4", &["10.0.0.4"], &["four"]));
    assert_eq!(ask(&before, "10.0.0.3", "a", A, "web"), v4(0, false, &["10.0.0.2", "10.0.0.3"]));
    assert_eq!(ask(&after, "10.0.0.3", "a", A, "web"), v4(0, false, &["10.0.0.3"]));
    assert_eq!(ask(&before, "10.0.0.3", "a", A, "four"), forward(&[]));
    assert_eq!(ask(&after, "10.0.0.3", "a", A, "four"), v4(0, false, &["10.0.0.4"]));
    assert_eq!(ask(&after, "10.1.0.2", "b", A, "two"), Verdict::NxDomain, "it is only on b now");
    after.remove_network("a");
    assert!(!after.has_network("a") && before.has_network("a"));
    assert_eq!(ask(&after, "10.0.0.3", "a", A, "two"), Verdict::Refused);
    assert_eq!(ask(&after, "10.1.0.2", "b", A, "one"), v4(0, false, &["10.1.0.2"]));
}

fn sandboxes() -> Zones {
    let mut zones = Zones::new(Style::Sandboxes);
    zones.set_network("front", Network::default());
    zones.set_network("back", Network { internal: true, servers: vec![] });
    zones.set_member("front", member("s1", &["10.0.0.2"], &["web", "www"]));
    let mut db = member("s2", &["10.0.0.3"], &["db"]);
    db.links = vec![
        Link { alias: "www".into(), target: "db".into() },
        Link { alias: "w".into(), target: "web".into() },
    ];
    zones.set_member("front", db);
    zones.set_member("back", member("s2", &["10.1.0.3"], &["db"]));
    zones.set_member("back", member("s3", &["10.1.0.4"], &["web"]));
    zones
}

fn inside(zones: &Zones, sandbox: &str, kind: u16, name: &str) -> Verdict {
    zones.decide(Asker::Container(sandbox), Question { name: name.as_bytes(), kind })
}

#[test]
fn a_sandbox_asks_by_name_alone_or_with_the_network() {
    let zones = sandboxes();
    assert_eq!(inside(&zones, "s1", A, "db"), v4(600, true, &["10.0.0.3"]));
    assert_eq!(inside(&zones, "s2", A, "web"), v4(600, true, &["10.0.0.2"]), "its first network has one");
    assert_eq!(inside(&zones, "s2", A, "web.back"), v4(600, true, &["10.1.0.4"]));
    assert_eq!(inside(&zones, "s1", A, "web.back"), forward(&[]));
    assert_eq!(inside(&zones, "s1", AAAA, "db"), Verdict::Empty);
    assert_eq!(inside(&zones, "s1", MX, "db"), Verdict::Empty);
    assert_eq!(inside(&zones, "s1", TXT, "db"), forward(&[]));
    assert_eq!(inside(&zones, "s3", A, "www"), Verdict::NxDomain);
    assert_eq!(inside(&zones, "s3", TXT, "web"), Verdict::NxDomain);
    assert_eq!(inside(&zones, "nobody", A, "web"), Verdict::Refused);
}

#[test]
fn links_come_before_names_and_for_one_asker() {
    let zones = sandboxes();
    assert_eq!(inside(&zones, "s2", A, "www"), v4(600, true, &["10.0.0.3"]));
    assert_eq!(inside(&zones, "s1", A, "www"), v4(600, true, &["10.0.0.2"]));
    assert_eq!(inside(&zones, "s2", A, "w.front"), v4(600, true, &["10.0.0.2"]));
    assert_eq!(inside(&zones, "s1", A, "w"), forward(&[]));
}

#[test]
fn an_address_in_a_sandboxes_network_has_the_first_name_there() {
    let zones = sandboxes();
    assert_eq!(inside(&zones, "s2", PTR, "2.0.0.10.in-addr.arpa"), names(600, &["web.front"]));
    assert_eq!(inside(&zones, "s2", PTR, "4.0.1.10.in-addr.arpa"), names(600, &["web.back"]));
    assert_eq!(inside(&zones, "s1", PTR, "4.0.1.10.in-addr.arpa"), forward(&[]));
}

/// A change of who is where: containers, networks, names and addresses are few, so that they meet.
#[derive(Clone, Debug)]
enum Change {
    Set(u8, u8, Vec<u8>, Vec<u8>),
    Remove(u8, u8),
    Drop(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let few = || prop::collection::vec(0..6u8, 0..3);
    prop_oneof![
        4 => (0..3u8, 0..5u8, few(), few()).prop_map(|(n, c, names, ips)| Change::Set(n, c, names, ips)),
        2 => (0..3u8, 0..5u8).prop_map(|(n, c)| Change::Remove(n, c)),
        1 => (0..3u8).prop_map(Change::Drop),
    ]
}

/// Who is where when all is done, in the order it came to be.
fn outcome(changes: &[Change]) -> Vec<(u8, Member)> {
    let mut all: Vec<(u8, Member)> = Vec::new();
    for change in changes {
        match change {
            Change::Set(network, container, names, ips) => {
                all.retain(|(n, m)| (n, m.container.as_str()) != (network, &format!("c{container}")));
                let mut member = member(&format!("c{container}"), &[], &[]);
                member.names = names.iter().map(|n| format!("Name{n}")).collect();
                member.addresses = ips.iter().map(|ip| [10, 0, 0, *ip].into()).collect();
                all.push((*network, member));
            }
            Change::Remove(network, container) => {
                all.retain(|(n, m)| (n, m.container.as_str()) != (network, &format!("c{container}")));
            }
            Change::Drop(network) => all.retain(|(n, _)| n != network),
        }
    }
    all
}

/// Every answer there can be, the same for the same members whatever the order they came in.
fn told(zones: &Zones) -> Vec<String> {
    let mut all = Vec::new();
    for from in 0..7u8 {
        for network in ["n0", "n1", "n2"] {
            let asker = Asker::Address { from: [10, 0, 0, from].into(), network };
            for n in 0..6 {
                for (kind, name) in [(A, format!("name{n}")), (PTR, format!("{n}.0.0.10.in-addr.arpa"))] {
                    let mut verdict = zones.decide(asker, Question { name: name.as_bytes(), kind });
                    if let Verdict::Answer(answer) = &mut verdict {
                        match &mut answer.records {
                            Records::V4(all) => all.sort(),
                            Records::V6(all) => all.sort(),
                            // An address that two networks have is named by the asker's first.
                            Records::Names(all) => all.clear(),
                        }
                    }
                    all.push(format!("{from} {network} {name}: {verdict:?}"));
                }
            }
        }
    }
    all
}

fn difference(one: &[String], other: &[String]) -> Option<(String, String)> {
    let mut both = one.iter().cloned().zip(other.iter().cloned());
    both.find(|(one, other)| one != other)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changes_one_by_one_come_to_the_same_as_all_at_once(changes in prop::collection::vec(change(), 0..30)) {
        let new = || {
            let mut zones = Zones::new(Style::Podman { suffixes: vec![], forward: true });
            ["n0", "n1", "n2"].iter().for_each(|name| zones.set_network(name, Network::default()));
            zones
        };
        let mut zones = new();
        let mut versions = Vec::new();
        for change in &changes {
            match change {
                Change::Set(network, container, ..) => {
                    let member = outcome(std::slice::from_ref(change)).remove(0).1;
                    prop_assert_eq!(&member.container, &format!("c{container}"));
                    zones.set_member(&format!("n{network}"), member);
                }
                Change::Remove(network, container) => {
                    zones.remove_member(&format!("n{network}"), &format!("c{container}"));
                }
                Change::Drop(network) => {
                    zones.remove_network(&format!("n{network}"));
                    zones.set_network(&format!("n{network}"), Network::default());
                }
            }
            if versions.len() < 3 {
                versions.push((zones.clone(), told(&zones)));
            }
        }
        let mut whole = new();
        for (network, member) in outcome(&changes) {
            whole.set_member(&format!("n{network}"), member);
        }
        prop_assert_eq!(difference(&told(&zones), &told(&whole)), None);
        for (version, said) in versions {
            prop_assert_eq!(difference(&told(&version), &said), None);
        }
    }
}
