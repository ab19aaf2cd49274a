//! Who holds which address, and which comes back first.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use linkspan_store::{StoreError, Tx};

const FIRST: &str = "10.0.0.1";
const LAST: &str = "10.0.0.254";

fn oldest(tx: &Tx<'_>) -> Result<Option<String>, StoreError> {
    Ok(tx.oldest_released(id(1), ip(FIRST), ip(LAST))?.map(|address| address.to_string()))
}

#[test]
fn an_address_is_held_released_and_held_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (v4, v6) = (ip("10.0.0.5"), ip("fd00::5"));
    let dual = endpoint(5, &["10.0.0.5", "fd00::5"]);
    write(&mut store, |tx| {
        assert!(!tx.was_used(id(1), v4)?);
        tx.insert_endpoint(&dual)?;
        assert_eq!(tx.lease_holder(id(1), v6)?, Some(dual.id));
        assert_eq!(tx.lease_holder(id(2), v4)?, None, "another network's");
        assert_eq!(oldest(tx)?, None);
        tx.delete_endpoint(dual.id)?;
        assert_eq!((tx.lease_holder(id(1), v4)?, tx.was_used(id(1), v4)?), (None, true));
        assert_eq!(oldest(tx)?.as_deref(), Some("10.0.0.5"));
        assert_eq!(tx.oldest_released(id(1), ip("fd00::1"), ip("fd00::ffff"))?, Some(v6));
        tx.insert_endpoint(&endpoint(6, &["10.0.0.5"]))?;
        assert_eq!((tx.lease_holder(id(1), v4)?, oldest(tx)?), (Some(id(6)), None));
        Ok(())
    });
    let error = store.write(|tx| tx.insert_endpoint(&dual)).unwrap_err();
    assert_eq!(error.to_string(), "address 10.0.0.5 is held by endpoint 060606060606");
    assert_eq!(store.read(|tx| tx.lease_holder(id(1), v6)).unwrap(), None, "half an endpoint was stored");
}

#[test]
fn released_longest_ago_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    write(&mut store, |tx| {
        for (byte, address) in [(2, "10.0.0.2"), (3, "10.0.0.3"), (4, "10.0.0.4")] {
            tx.insert_endpoint(&endpoint(byte, &[address]))?;
        }
        [4, 2, 3].into_iter().try_for_each(|byte| tx.delete_endpoint(id(byte)))?;
        assert_eq!(oldest(tx)?.as_deref(), Some("10.0.0.4"));
        assert_eq!(tx.oldest_released(id(1), ip("10.0.0.1"), ip("10.0.0.3"))?, Some(ip("10.0.0.2")));
        // The last released is taken and another released in its stead: it is still the last.
        tx.insert_endpoint(&endpoint(9, &["10.0.0.3"]))?;
        tx.insert_endpoint(&endpoint(4, &["10.0.0.4"]))?;
        tx.delete_endpoint(id(4))?;
        tx.delete_endpoint(id(9))?;
        for (byte, expected) in [(2, "10.0.0.2"), (4, "10.0.0.4"), (9, "10.0.0.3")] {
            assert_eq!(oldest(tx)?.as_deref(), Some(expected));
            tx.insert_endpoint(&endpoint(byte, &[expected]))?;
        }
        Ok(())
    });
}

#[test]
fn families_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    write(&mut store, |tx| {
        // a00:1:: begins with the bytes 10.0.0.1, and lies between 10.0.0.1 and 10.0.0.254 as bytes do.
        tx.insert_endpoint(&endpoint(2, &["a00:1::"]))?;
        tx.delete_endpoint(id(2))?;
        assert_eq!(oldest(tx)?, None);
        Ok(())
    });
}

#[test]
fn an_update_moves_leases_and_ports() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut moved = endpoint(5, &["10.0.0.5", "fd00::5"]);
    moved.published = vec![published("0.0.0.0", 80, 80), published("0.0.0.0", 90, 99)];
    write(&mut store, |tx| {
        tx.insert_endpoint(&moved)?;
        moved.leases = endpoint(5, &["10.0.0.6", "fd00::5"]).leases;
        moved.published = vec![published("0.0.0.0", 80, 85)];
        tx.update_endpoint(&moved)?;
        assert_eq!(tx.endpoint(id(5))?.as_ref(), Some(&moved));
        assert_eq!(oldest(tx)?.as_deref(), Some("10.0.0.5"));
        assert_eq!(tx.lease_holder(id(1), ip("10.0.0.6"))?, Some(id(5)));
        assert_eq!(tx.lease_holder(id(1), ip("fd00::5"))?, Some(id(5)));
        assert_eq!(tx.publish_conflict(&published("0.0.0.0", 84, 84))?, Some(id(5)));
        assert_eq!(tx.publish_conflict(&published("0.0.0.0", 95, 95))?, None);
        Ok(())
    });
}

#[test]
fn cursors_are_kept_by_subnet_and_forgotten_with_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (four, six) = ("10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap());
    write(&mut store, |tx| {
        assert_eq!(tx.fresh_cursor(id(1), &four)?, None);
        tx.set_fresh_cursor(id(1), &four, ip("10.0.0.2"))?;
        tx.set_fresh_cursor(id(1), &four, ip("10.0.0.3"))?;
        tx.set_fresh_cursor(id(1), &six, ip("fd00::2"))?;
        assert_eq!(tx.fresh_cursor(id(1), &four)?, Some(ip("10.0.0.3")));
        assert_eq!(tx.fresh_cursor(id(1), &six)?, Some(ip("fd00::2")));
        tx.insert_endpoint(&endpoint(5, &["10.0.0.5"]))?;
        tx.delete_endpoint(id(5))?;
        tx.delete_network(id(1))?;
        assert_eq!((tx.fresh_cursor(id(1), &four)?, oldest(tx)?), (None, None));
        assert_eq!(tx.port_cursor()?, None);
        tx.set_port_cursor(49_153)?;
        assert_eq!(tx.port_cursor()?, Some(49_153));
        Ok(())
    });
}
