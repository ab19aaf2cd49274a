//! Addresses put aside in directories.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use linkspan_model::Holder;
use linkspan_store::StoreError;

#[test]
fn they_are_found_by_holder_and_by_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut old = reservation("10.0.0.4", "a");
    old.holder.ifname.clear();
    write(&mut store, |tx| {
        tx.reserve("/d", &reservation("10.0.0.2", "a"))?;
        tx.reserve("/d", &reservation("fd00::2", "a"))?;
        tx.reserve("/d", &reservation("10.0.0.3", "b"))?;
        tx.reserve("/e", &reservation("10.0.0.2", "a"))?;
        tx.reserve("/d", &old)
    });
    let found = |holder: &Holder, store: &mut linkspan_store::Store| {
        let found = store.read(|tx| tx.reserved_for("/d", holder)).unwrap();
        found.iter().map(|reservation| reservation.address.to_string()).collect::<Vec<_>>()
    };
    let mut holder = reservation("10.0.0.2", "a").holder;
    let mut of_a = found(&holder, &mut store);
    of_a.sort();
    assert_eq!(of_a, ["10.0.0.2", "10.0.0.4", "fd00::2"]);
    holder.ifname = "eth1".to_owned();
    assert_eq!(found(&holder, &mut store), ["10.0.0.4"]);
    assert_eq!(store.read(|tx| tx.reserved_in("/d")).unwrap().len(), 4);
    let by_another = |store: &mut linkspan_store::Store| {
        store.read(|tx| tx.was_served_by_another("/d", &reservation("10.0.0.3", "b").holder)).unwrap()
    };
    assert!(!by_another(&mut store));
    write(&mut store, |tx| tx.reserved_by_another("/d", &reservation("10.0.0.3", "b")));
    assert!(by_another(&mut store));
    write(&mut store, |tx| tx.reserve("/d", &reservation("10.0.0.3", "b")));
    assert!(!by_another(&mut store));
    write(&mut store, |tx| tx.unreserve("/d", ip("10.0.0.4")));
    assert_eq!(found(&holder, &mut store), [""; 0]);
}

#[test]
fn whoever_reserves_an_address_anew_has_it_in_this_boot() {
    let dir = tempfile::tempdir().unwrap();
    write(&mut open(dir.path()), |tx| tx.reserve("/d", &reservation("10.0.0.2", "a")));
    let mut store = linkspan_store::Store::open(dir.path(), "boot-2").unwrap();
    write(&mut store, |tx| tx.reserve("/d", &reservation("10.0.0.2", "b")));
    let of = |container: &str, store: &mut linkspan_store::Store| {
        let holder = reservation("10.0.0.2", container).holder;
        store.read(|tx| tx.reserved_for("/d", &holder)).unwrap().len()
    };
    assert_eq!((of("a", &mut store), of("b", &mut store)), (0, 1));
    let former =
        store.read(|tx| Ok::<_, StoreError>((tx.formerly_reserved("/d")?, tx.former_directories()?)));
    assert_eq!(former.unwrap(), (vec![], vec![]));
}
