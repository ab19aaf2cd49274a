//! Many at once: threads and processes on one store, and the locks between them.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::*;
use linkspan_model::Network;
use linkspan_store::{Mode, Object, StoreError};

/// Set for a copy of this test binary: the state directory, and what it is to do there.
const CHILD_DIR: &str = "LINKSPAN_TEST_CHILD_DIR";
const CROWD: u8 = 32;

/// A copy of this test binary that runs only the test `role`, on the store in `dir`.
#[allow(clippy::disallowed_methods, reason = "what is tested takes several processes")]
fn child(role: &str, dir: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", role, "--include-ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn child_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD_DIR).map(Into::into)
}

fn web() -> Object {
    Object::Sandbox(name("web"))
}

#[test]
fn threads_make_one_store_of_a_missing_directory() {
    for _ in 0..50 {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let start = Barrier::new(CROWD.into());
        let new_boots: usize = std::thread::scope(|scope| {
            let join = |byte: u8| {
                let (start, dir) = (&start, &dir);
                scope.spawn(move || {
                    start.wait();
                    let mut store = open(dir);
                    write(&mut store, |tx| tx.insert_network(&network(byte, &format!("n{byte}"))));
                    usize::from(store.is_new_boot())
                })
            };
            (0..CROWD).map(join).collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(new_boots, 1);
        assert_eq!(open(&dir).read(|tx| tx.networks()).unwrap().len(), usize::from(CROWD));
    }
}

#[test]
fn processes_make_one_store_of_a_missing_directory() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let children: Vec<Child> = (0..CROWD).map(|_| child("child_inserts", &dir)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(open(&dir).read(|tx| tx.networks()).unwrap().len(), usize::from(CROWD));
}

#[test]
#[ignore = "run by processes_make_one_store_of_a_missing_directory"]
fn child_inserts() {
    let Some(dir) = child_dir() else { return };
    let number = std::process::id();
    let bytes = [number.to_be_bytes(); 8].concat().try_into().unwrap();
    let network = Network { id: linkspan_model::Id::from_bytes(bytes), ..network(0, &format!("n{number}")) };
    write(&mut open(&dir), |tx| tx.insert_network(&network));
}

#[test]
fn a_lock_excludes_others_until_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let held = one.try_lock(&web(), Mode::Exclusive).unwrap().unwrap();
    for store in [&one, &two] {
        assert!(store.try_lock(&web(), Mode::Exclusive).unwrap().is_none());
        assert!(store.try_lock(&web(), Mode::Shared).unwrap().is_none());
    }
    assert!(
        two.try_lock(&Object::Network(name("web")), Mode::Exclusive).unwrap().is_some(),
        "another object"
    );

    let started = Instant::now();
    let error = two.lock(&web(), Mode::Shared, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(&error, StoreError::Busy { object, .. } if *object == web()));
    assert!(error.to_string().starts_with("sandbox web is busy"), "{error}");
    assert!((50..1000).contains(&started.elapsed().as_millis()));

    drop(held);
    let shared = one.try_lock(&web(), Mode::Shared).unwrap().unwrap();
    let also = two.try_lock(&web(), Mode::Shared).unwrap().unwrap();
    drop(shared);
    assert!(one.try_lock(&web(), Mode::Exclusive).unwrap().is_none(), "the other shared lock holds");
    drop(also);
    assert!(one.try_lock(&web(), Mode::Exclusive).unwrap().is_some());
}

#[test]
fn a_waiting_lock_is_had_when_the_other_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path()).try_lock(&web(), Mode::Exclusive).unwrap().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| open(dir.path()).lock(&web(), Mode::Exclusive, Duration::MAX).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        drop(held);
    });
}

#[test]
fn a_killed_process_leaves_its_journal_entry_and_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut child = child("child_locks", dir.path());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("locked")));
    assert!(store.try_lock(&web(), Mode::Exclusive).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    let entry = &store.read(|tx| tx.journal()).unwrap()[0];
    assert!(store.try_lock(&entry.object, Mode::Exclusive).unwrap().is_some());
}

#[test]
#[ignore = "run by a_killed_process_leaves_its_journal_entry_and_no_lock"]
fn child_locks() {
    let Some(dir) = child_dir() else { return };
    let mut store = open(&dir);
    let _held = store.try_lock(&web(), Mode::Exclusive).unwrap().unwrap();
    write(&mut store, |tx| tx.begin(&web(), "create", ""));
    println!("locked");
    std::thread::sleep(Duration::from_secs(60));
}
