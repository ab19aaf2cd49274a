//! Which host ports are chosen: every spec of a table, and whatever proptest thinks of.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use linkspan_model::{PublishSpec, Published};
use linkspan_plan::ports::{Chosen, FIRST_DYNAMIC, HostPorts, Refusal, Target, choose};
use proptest::prelude::*;

/// What others publish.
struct Others(Vec<Published>);

impl HostPorts for Others {
    type Error = Infallible;

    fn holder(&mut self, published: &Published) -> Result<Option<String>, Infallible> {
        Ok(self.0.iter().find(|other| other.conflicts(published)).map(|_| "others".to_owned()))
    }
}

const V4: Target = Target { default_host: IpAddr::V4(Ipv4Addr::UNSPECIFIED), v4: true, v6: false };

fn specs(texts: &[&str]) -> Vec<PublishSpec> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What is published of `texts` where `taken` is published already; or why not.
fn chosen(target: Target, cursor: u16, taken: &[&str], texts: &[&str]) -> Result<Chosen, String> {
    let others = choose(&specs(taken), target, FIRST_DYNAMIC, &mut Others(Vec::new())).unwrap();
    choose(&specs(texts), target, cursor, &mut Others(others.published))
        .map_err(|refusal| refusal.to_string())
}

fn hosts(chosen: &Chosen) -> Vec<String> {
    chosen.published.iter().map(|published| format!("{}:{}", published.host_ip, published.host)).collect()
}

#[test]
fn a_table_of_requests() {
    let table: [(&[&str], &[&str], &[&str]); 10] = [
        (&[], &["8080:80"], &["0.0.0.0:8080"]),
        (&[], &["127.0.0.1:8080:80"], &["127.0.0.1:8080"]),
        (&[], &["80"], &["0.0.0.0:49153"]),
        (&[], &["80", "81/udp", "82"], &["0.0.0.0:49153", "0.0.0.0:49154", "0.0.0.0:49155"]),
        (&[], &["80-82", "90"], &["0.0.0.0:49153-49155", "0.0.0.0:49156"]),
        (&["49153:80"], &["80-82"], &["0.0.0.0:49154-49156"]),
        (&["49154:80"], &["80-82"], &["0.0.0.0:49155-49157"]),
        (&[], &["8000-8010:80"], &["0.0.0.0:8000"]),
        (&["8000-8008:80-88"], &["8000-8010:80", "8000-8010:81"], &["0.0.0.0:8009", "0.0.0.0:8010"]),
        (&["127.0.0.1:8080:80"], &["127.0.0.2:8080:80"], &["127.0.0.2:8080"]),
    ];
    for (taken, wanted, expected) in table {
        let found =
            chosen(V4, FIRST_DYNAMIC, taken, wanted).unwrap_or_else(|why| panic!("{wanted:?}: {why}"));
        assert_eq!(hosts(&found), expected, "{wanted:?} beside {taken:?}");
    }
}

#[test]
fn a_table_of_refusals() {
    let table: [(&[&str], &[&str], &str); 6] = [
        (&["8080:80"], &["8080:81"], "port 0.0.0.0:8080 -> 81/tcp is taken by others"),
        (&["8080:80"], &["127.0.0.1:8080:81"], "taken by others"),
        (&[], &["8080:80", "8080:81"], "taken by another -p of the same sandbox"),
        (&[], &["8000-8100:80-180", "127.0.0.1:8050:80"], "taken by another -p of the same sandbox"),
        (&["8000-8010:80-90"], &["8000-8010:80"], "no 1 free host port(s) in a row in 8000-8010"),
        (&[], &["[::1]:80:80"], "the sandbox has no IPv6 address"),
    ];
    for (taken, wanted, why) in table {
        let refused = chosen(V4, FIRST_DYNAMIC, taken, wanted).expect_err("it cannot be");
        assert!(refused.contains(why), "{wanted:?} beside {taken:?}: {refused}");
    }
}

#[test]
fn both_families_get_the_same_port_where_the_sandbox_has_both() {
    let both = Target { v6: true, ..V4 };
    let found = chosen(both, FIRST_DYNAMIC, &["[::]:49153:80"], &["80", "8080:80"]).unwrap();
    assert_eq!(hosts(&found), ["0.0.0.0:49154", ":::49154", "0.0.0.0:8080", ":::8080"]);
    let only_v6 = Target { v4: false, v6: true, ..V4 };
    assert_eq!(hosts(&chosen(only_v6, FIRST_DYNAMIC, &[], &["8080:80"]).unwrap()), [":::8080"]);
}

#[test]
fn the_cursor_goes_on_and_begins_anew() {
    let next = |cursor, texts: &[&str]| {
        let found = chosen(V4, cursor, &[], texts).unwrap();
        (found.published[0].host.first, found.cursor)
    };
    assert_eq!(next(FIRST_DYNAMIC, &["80"]), (49153, 49154));
    assert_eq!(next(50_000, &["80-89"]), (50_000, 50_010));
    assert_eq!(next(u16::MAX, &["80"]), (u16::MAX, FIRST_DYNAMIC));
    // Ten in a row do not fit behind it.
    assert_eq!(next(u16::MAX - 5, &["80-89"]), (FIRST_DYNAMIC, FIRST_DYNAMIC + 10));
    // What was asked for by number does not move it.
    assert_eq!(next(50_000, &["8080:80"]), (8080, 50_000));
    assert_eq!(next(0, &["80"]), (49153, 49154));
}

#[test]
fn more_ports_than_there_are_is_refused() {
    let texts = ["1-16383", "1-2"];
    assert_eq!(hosts(&chosen(V4, FIRST_DYNAMIC, &[], &texts[..1]).unwrap()), ["0.0.0.0:49153-65535"]);
    let refused = chosen(V4, FIRST_DYNAMIC, &[], &texts).unwrap_err();
    assert_eq!(refused, "no 2 free host port(s) in a row in 49153-65535");
    assert!(chosen(V4, FIRST_DYNAMIC, &[], &["1-16384"]).is_err());
}

/// A spec in a small part of all ports, so that conflicts are frequent.
fn spec() -> impl Strategy<Value = PublishSpec> {
    let host_ip = prop_oneof![Just(""), Just("127.0.0.1:"), Just("127.0.0.2:"), Just("0.0.0.0:")];
    let protocol = prop_oneof![Just("tcp"), Just("udp")];
    (host_ip, 0_u16..4, 1_u16..40, 0_u16..6, protocol).prop_map(|(host_ip, kind, first, more, protocol)| {
        let (low, high) = (8000 + first, 8000 + first + more);
        let text = match kind {
            0 => format!("{host_ip}{low}-{high}:{first}-{}/{protocol}", first + more),
            1 => format!("{host_ip}{low}-{high}:{first}/{protocol}"),
            _ if host_ip.is_empty() => format!("{first}-{}/{protocol}", first + more),
            _ => format!("{host_ip}:{first}-{}/{protocol}", first + more),
        };
        text.parse().unwrap()
    })
}

proptest! {
    #[test]
    fn nothing_chosen_conflicts(
        taken in proptest::collection::vec(spec(), 0..6),
        wanted in proptest::collection::vec(spec(), 1..6),
        cursor in FIRST_DYNAMIC..,
    ) {
        let mut others = Others(Vec::new());
        for spec in taken {
            if let Ok(more) = choose(&[spec], V4, FIRST_DYNAMIC, &mut Others(others.0.clone())) {
                others.0.extend(more.published);
            }
        }
        match choose(&wanted, V4, cursor, &mut others) {
            Err(Refusal::Taken { published, .. }) => {
                // Only what was asked for by number can be taken.
                prop_assert!(wanted.iter().any(|spec| spec.host == Some(published.host)));
            }
            Err(Refusal::NoneFree { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
            Ok(found) => {
                prop_assert!(found.cursor >= FIRST_DYNAMIC);
                prop_assert_eq!(found.published.len(), wanted.len());
                for (n, (published, spec)) in found.published.iter().zip(&wanted).enumerate() {
                    prop_assert_eq!(published.target, spec.target.ports);
                    prop_assert_eq!(published.host.count(), published.target.count());
                    let within = |first, last| (first..=last).contains(&published.host.first)
                        && (first..=last).contains(&published.host.last);
                    match spec.host {
                        Some(range) => prop_assert!(within(range.first, range.last)),
                        None => prop_assert!(within(FIRST_DYNAMIC, u16::MAX)),
                    }
                    prop_assert!(!others.0.iter().any(|other| other.conflicts(published)));
                    prop_assert!(!found.published[..n].iter().any(|other| other.conflicts(published)));
                }
            }
        }
    }
}
