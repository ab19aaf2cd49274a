//! Making the store, meeting another boot, and refusing what is not ours.
#![allow(clippy::unwrap_used)]

mod common;

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::*;
use linkspan_model::NamespaceSource;
use linkspan_store::{Object, Store, StoreError};
use rusqlite::Connection;

/// That opening is refused, with a message that names the file and a hint, and the file stays as it is.
fn refused(dir: &Path) -> StoreError {
    let path = dir.join("linkspan.db");
    let before = fs::read(&path).unwrap();
    let error = Store::open(dir, BOOT).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), before, "the file was changed");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(error.hint().is_some(), "{error}");
    error
}

#[test]
fn the_directory_is_made_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    assert!(open(&dir).is_new_boot());
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!open(&dir).is_new_boot());
}

#[test]
fn another_boot_leaves_only_the_networks() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let subnet = "10.0.0.0/24".parse().unwrap();
    write(&mut store, |tx| {
        tx.insert_network(&network(1, "web"))?;
        tx.insert_sandbox(&sandbox(1, "a", NamespaceSource::New))?;
        let mut endpoint = endpoint(1, &["10.0.0.2"]);
        endpoint.published = vec![published("0.0.0.0", 80, 80)];
        tx.insert_endpoint(&endpoint)?;
        tx.set_fresh_cursor(id(1), &subnet, ip("10.0.0.3"))?;
        tx.set_port_cursor(50_000)?;
        tx.record_sysctl("a", "0", "1")?;
        tx.reserve("/d", &reservation("10.0.0.2", "c"))?;
        tx.set_last_reserved("/d", 0, ip("10.0.0.2"))?;
        tx.begin(&Object::Network(name("web")), "create", "")
    });
    let mut store = Store::open(dir.path(), "boot-2").unwrap();
    assert!(store.is_new_boot());
    store
        .read(|tx| {
            assert_eq!(tx.networks()?, [network(1, "web")]);
            assert!(tx.sandboxes()?.is_empty() && tx.endpoints()?.is_empty() && tx.journal()?.is_empty());
            assert!(!tx.was_used(id(1), ip("10.0.0.2"))? && tx.sysctls()?.is_empty());
            assert_eq!((tx.fresh_cursor(id(1), &subnet)?, tx.port_cursor()?), (None, None));
            assert_eq!(tx.publish_conflict(&published("0.0.0.0", 80, 80))?, None);
            assert_eq!(tx.formerly_reserved("/d")?, [reservation("10.0.0.2", "c")]);
            assert_eq!((tx.former_directories()?, tx.last_reserved("/d", 0)?), (vec!["/d".to_owned()], None));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert!(!Store::open(dir.path(), "boot-2").unwrap().is_new_boot());
}

#[test]
fn earlier_formats_are_brought_up_to_date() {
    // What each format had not yet, or had otherwise.
    let third = "ALTER TABLE network RENAME TO later_network; ALTER TABLE sandbox RENAME TO later_sandbox;
        DROP INDEX sandbox_joined;
        CREATE TABLE network (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE sandbox (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, joined TEXT, doc TEXT NOT NULL)
            STRICT, WITHOUT ROWID;
        CREATE INDEX sandbox_joined ON sandbox (joined) WHERE joined IS NOT NULL;
        INSERT INTO network SELECT * FROM later_network; INSERT INTO sandbox SELECT * FROM later_sandbox;
        DROP TABLE later_network; DROP TABLE later_sandbox; PRAGMA user_version = 3;";
    let second =
        "DROP TABLE attachment; DROP TABLE reservation; DROP TABLE last_reserved; PRAGMA user_version = 2;";
    let first = "DROP TABLE access; PRAGMA user_version = 1;";
    for changes in [vec![third], vec![third, second], vec![third, second, first]] {
        let dir = tempfile::tempdir().unwrap();
        let network = endpoint(1, &["10.0.0.2"]).network;
        write(&mut open(dir.path()), |tx| {
            tx.insert_network(&common::network(1, "web"))?;
            tx.insert_sandbox(&sandbox(1, "a", NamespaceSource::New))?;
            tx.insert_sandbox(&sandbox(2, "b", NamespaceSource::Sandbox(name("a"))))?;
            tx.insert_endpoint(&endpoint(1, &["10.0.0.2"]))
        });
        let path = dir.path().join("linkspan.db");
        Connection::open(&path).unwrap().execute_batch(&changes.concat()).unwrap();
        let mut store = open(dir.path());
        assert_eq!(store.read(|tx| tx.networks()).unwrap(), [common::network(1, "web")]);
        assert_eq!(store.read(|tx| tx.sandboxes_in(&name("a"))).unwrap()[0].id, id(2));
        assert_eq!(store.read(|tx| tx.bridge_with_room(network, 2)).unwrap(), 0);
        assert_eq!(store.read(|tx| tx.bridge_with_room(network, 1)).unwrap(), 1);
        assert_eq!(store.read(|tx| tx.reserved_in("/d")).unwrap(), []);
        assert_eq!(store.read(|tx| tx.attachments_on(&"n".parse().unwrap())).unwrap(), []);
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("linkspan.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 8").unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, StoreError::Newer { found: 8, known: 4, .. }), "{error:?}");
}

#[test]
fn a_database_of_another_application_is_refused() {
    for batch in [
        "CREATE TABLE mine (a)",
        "PRAGMA journal_mode = WAL; CREATE TABLE mine (a); PRAGMA user_version = 1",
        "PRAGMA application_id = 1; PRAGMA user_version = 1",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let connection = Connection::open(dir.path().join("linkspan.db")).unwrap();
        connection.execute_batch(batch).unwrap();
        drop(connection);
        let error = refused(dir.path());
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
    }
}

#[test]
fn what_is_no_database_or_a_damaged_one_is_refused() {
    let damage = |spoil: &dyn Fn(&mut Vec<u8>)| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("linkspan.db");
        drop(open(dir.path()));
        // Opened and closed by plain SQLite, which writes the log back.
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
        let mut bytes = fs::read(&path).unwrap();
        spoil(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.source().is_some());
    };
    damage(&|bytes| *bytes = b"not a database, but long enough to look at".repeat(20));
    damage(&|bytes| bytes[..16].fill(0));
    damage(&|bytes| bytes[100..2048].fill(0xff));
    damage(&|bytes| bytes.truncate(2048));
}

#[test]
fn a_missing_table_or_row_and_an_unreadable_document_are_damage() {
    for spoil in ["DROP TABLE host", "DELETE FROM host"] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        Connection::open(dir.path().join("linkspan.db")).unwrap().execute_batch(spoil).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, StoreError::Corrupt { .. }), "{spoil}: {error:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    write(&mut store, |tx| tx.insert_network(&network(1, "web")));
    let spoil = "UPDATE network SET doc = '{}'";
    Connection::open(dir.path().join("linkspan.db")).unwrap().execute_batch(spoil).unwrap();
    let error = store.read(|tx| tx.network("web")).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("missing field"), "{error:?}");
}

#[test]
fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("state"), BOOT).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("Not a directory"), "{error:?}");
    fs::create_dir(dir.path().join("linkspan.db")).unwrap();
    assert!(matches!(Store::open(dir.path(), BOOT), Err(StoreError::Open { .. })));
}

#[test]
fn the_log_stays_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut longest = 0;
    for round in 0..200_u16 {
        let mut store = open(dir.path());
        for part in 0..10 {
            let called = format!("n{round}-{part}");
            let network = linkspan_model::Network {
                id: linkspan_model::Id::from_bytes(
                    [[round.to_be_bytes()[1], part]; 16].concat().try_into().unwrap(),
                ),
                ..network(0, &called)
            };
            write(&mut store, |tx| tx.insert_network(&network));
        }
        drop(store);
        longest = longest.max(fs::metadata(dir.path().join("linkspan.db-wal")).unwrap().len());
    }
    assert!(longest < 700 << 10, "{longest}");
    assert_eq!(open(dir.path()).read(|tx| tx.networks()).unwrap().len(), 2000);
}
