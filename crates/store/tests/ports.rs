//! Published ports conflict as `Published::conflicts` says.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use linkspan_model::{PortRange, Protocol, Published};
use linkspan_store::StoreError;
use proptest::prelude::*;

/// Few ports and addresses, so that they meet often.
fn any_published() -> impl Strategy<Value = Published> {
    let hosts = ["0.0.0.0", "127.0.0.1", "10.0.0.1", "255.255.255.255", "::", "::1", "fd00::1"];
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    (protocol, prop::sample::select(hosts.to_vec()), 1_u16..20, prop_oneof![Just(0_u16), 0..6_u16]).prop_map(
        |(protocol, host, first, more)| {
            let host_ports = PortRange { first, last: first + more };
            Published { protocol, host_ip: ip(host), host: host_ports, target: host_ports }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn conflicts_are_those_of_the_model(wanted in prop::collection::vec(any_published(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let mut taken: Vec<Published> = Vec::new();
        for (index, published) in (0_u8..).zip(wanted) {
            let expected: Vec<_> = taken.iter().filter(|other| other.conflicts(&published)).collect();
            let found = store.read(|tx| {
                let Some(holder) = tx.publish_conflict(&published)? else { return Ok(None) };
                tx.endpoint(holder).map(|endpoint| endpoint.map(|e| e.published[0].clone()))
            });
            match found.map_err(|e: StoreError| TestCaseError::fail(e.to_string()))? {
                Some(found) => prop_assert!(expected.contains(&&found), "{published} met {found}"),
                None => prop_assert!(expected.is_empty(), "{published} missed {expected:?}"),
            }
            let mut endpoint = endpoint(index, &[]);
            endpoint.published = vec![published.clone()];
            let stored = store.write(|tx| tx.insert_endpoint(&endpoint));
            prop_assert_eq!(stored.is_ok(), expected.is_empty());
            if stored.is_ok() {
                taken.push(published);
            }
        }
    }
}

#[test]
fn a_conflict_names_both_sides_and_ends_with_its_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (mut one, mut two) = (endpoint(1, &[]), endpoint(2, &[]));
    one.published = vec![published("0.0.0.0", 8000, 8010)];
    two.published = vec![published("127.0.0.1", 8005, 8005)];
    write(&mut store, |tx| tx.insert_endpoint(&one));
    let error = store.write(|tx| tx.insert_endpoint(&two)).unwrap_err();
    let expected = "port 127.0.0.1:8005 -> 8005/tcp conflicts with one that endpoint 010101010101 publishes";
    assert_eq!(error.to_string(), expected);
    write(&mut store, |tx| tx.delete_endpoint(one.id).and_then(|()| tx.insert_endpoint(&two)));
}
