//! Networks, sandboxes, endpoints, journal and sysctls: what goes in comes out.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use linkspan_model::{Id, NamespaceSource};
use linkspan_store::{JournalEntry, Object, StoreError};

#[test]
fn networks_by_name_identity_and_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (web, db) = (network(0xab, "web"), network(0xcd, "db"));
    write(&mut store, |tx| tx.insert_network(&web).and_then(|()| tx.insert_network(&db)));
    store
        .read(|tx| {
            assert_eq!(tx.networks()?, [db.clone(), web.clone()]);
            for key in ["web", &web.id.to_string(), "abab", &web.id.to_string().to_uppercase()] {
                assert_eq!(tx.network(key)?.as_ref(), Some(&web), "{key}");
            }
            for key in ["aba", "abac", "we", "", "%", &format!("{}ab", web.id)] {
                assert_eq!(tx.network(key)?, None, "{key}");
            }
            assert_eq!(tx.network_by_id(db.id)?, Some(db.clone()));
            assert_eq!(tx.network_by_id(id(1))?, None);
            Ok::<_, StoreError>(())
        })
        .unwrap();

    let mut changed = web.clone();
    changed.internal = true;
    write(&mut store, |tx| tx.update_network(&changed));
    write(&mut store, |tx| tx.delete_network(db.id).and_then(|()| tx.delete_network(db.id)));
    assert_eq!(store.read(|tx| tx.networks()).unwrap(), [changed]);
    assert!(matches!(store.write(|tx| tx.update_network(&db)), Err(StoreError::Missing { .. })));
}

#[test]
fn names_are_unique_and_a_prefix_of_two_identities_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut close = [0xab; 32];
    close[31] = 0;
    let twin = linkspan_model::Network { id: Id::from_bytes(close), ..network(0, "b") };
    write(&mut store, |tx| tx.insert_network(&network(0xab, "a")).and_then(|()| tx.insert_network(&twin)));

    let error = store.write(|tx| tx.insert_network(&network(9, "a"))).unwrap_err();
    assert_eq!(error.to_string(), "network a exists already");
    let error = store.read(|tx| tx.network("abab")).unwrap_err();
    assert_eq!(error.to_string(), "'abab' is the beginning of more than one network's identity: a, b");
    assert!(error.hint().is_some());

    write(&mut store, |tx| tx.insert_network(&network(9, "abab")));
    assert_eq!(store.read(|tx| tx.network("abab")).unwrap().unwrap().id, id(9));
}

#[test]
fn sandboxes_and_those_that_share_their_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let pod = sandbox(1, "pod", NamespaceSource::New);
    let side = sandbox(2, "side", NamespaceSource::Sandbox(name("pod")));
    let path = sandbox(3, "ext", NamespaceSource::Path("/run/netns/x".into()));
    write(&mut store, |tx| [&pod, &side, &path].into_iter().try_for_each(|s| tx.insert_sandbox(s)));
    store
        .read(|tx| {
            assert_eq!(tx.sandboxes()?, [path.clone(), pod.clone(), side.clone()]);
            assert_eq!(tx.sandboxes_in(&pod.name)?, std::slice::from_ref(&side));
            assert_eq!(tx.sandboxes_in(&side.name)?, []);
            assert_eq!(tx.sandbox("0202")?, Some(side.clone()));
            assert_eq!(tx.sandbox_by_id(pod.id)?, Some(pod.clone()));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert!(matches!(store.write(|tx| tx.insert_sandbox(&pod)), Err(StoreError::Exists { .. })));
    write(&mut store, |tx| tx.delete_sandbox(side.id));
    assert_eq!(store.read(|tx| tx.sandbox("side")).unwrap(), None);
}

#[test]
fn endpoints_in_the_order_of_insertion() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut all: Vec<_> = [9, 3, 7].map(|byte| endpoint(byte, &[])).into();
    all[1].network = id(2);
    all[2].sandbox = id(2);
    all[2].published = vec![published("127.0.0.1", 80, 80), published("::1", 80, 90)];
    write(&mut store, |tx| all.iter().try_for_each(|e| tx.insert_endpoint(e)));
    store
        .read(|tx| {
            assert_eq!(tx.endpoints()?, all);
            assert_eq!(tx.endpoint(id(7))?.as_ref(), Some(&all[2]));
            assert_eq!(tx.endpoints_of_network(id(1))?, [all[0].clone(), all[2].clone()]);
            assert_eq!(tx.endpoints_of_sandbox(id(1))?, all[..2]);
            assert_eq!((tx.endpoint_count(id(1))?, tx.endpoint_count(id(5))?), (2, 0));
            assert_eq!((tx.network_in_use(id(2))?, tx.network_in_use(id(5))?), (true, false));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert!(matches!(store.write(|tx| tx.insert_endpoint(&all[0])), Err(StoreError::Exists { .. })));
    assert!(matches!(
        store.write(|tx| tx.update_endpoint(&endpoint(1, &[]))),
        Err(StoreError::Missing { .. })
    ));
    write(&mut store, |tx| tx.delete_endpoint(id(3)).and_then(|()| tx.delete_endpoint(id(3))));
    assert_eq!(store.read(|tx| tx.endpoint_count(id(2))).unwrap(), 0);
}

#[test]
fn the_journal_and_the_sysctls() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (web, run) = (Object::Network(name("web")), Object::Run(name("r")));
    let (first, second) =
        write(&mut store, |tx| Ok((tx.begin(&web, "create", "{}")?, tx.begin(&run, "remove", "x")?)));
    let entry = |id, object: &Object, verb: &str, detail: &str| JournalEntry {
        id,
        object: object.clone(),
        verb: verb.to_owned(),
        detail: detail.to_owned(),
    };
    let both = [entry(first, &web, "create", "{}"), entry(second, &run, "remove", "x")];
    assert_eq!(store.read(|tx| tx.journal()).unwrap(), both);
    write(&mut store, |tx| tx.end(second));
    assert!(write(&mut store, |tx| tx.begin(&run, "create", "")) > second, "a number came back");

    write(&mut store, |tx| {
        tx.record_sysctl("net.ipv4.ip_forward", "0", "1")?;
        tx.record_sysctl("net.ipv4.ip_forward", "1", "2")
    });
    let record = ("net.ipv4.ip_forward".to_owned(), "0".to_owned(), "2".to_owned());
    assert_eq!(store.read(|tx| tx.sysctls()).unwrap(), [record]);
}

#[test]
fn a_failed_write_leaves_nothing_and_a_read_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let failed = store.write(|tx| tx.insert_network(&network(1, "a")).and(Err::<(), _>(StoreError::Reading)));
    assert!(failed.is_err());
    assert!(matches!(store.read(|tx| tx.insert_network(&network(1, "a"))), Err(StoreError::Reading)));
    assert_eq!(store.read(|tx| tx.networks()).unwrap(), []);
}
