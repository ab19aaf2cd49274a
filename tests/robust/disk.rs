//! Disks that are full or cannot be written.

use linkspan_lab::{here, sh};

use crate::host::{Answer, RUN, STATE, assert_in_order, linkspan, make_lab, try_linkspan};
use crate::snapshot::Snapshot;

const CREATE: &str = "sandbox create --net lab -p 8080:80 x";

#[track_caller]
fn assert_refused(answer: &Answer, names: &str) {
    assert_eq!(answer.code, Some(1), "{}", answer.err);
    assert!(answer.err.starts_with("error: ") && answer.err.contains("\ncause: "), "{}", answer.err);
    assert!(answer.err.contains(names), "{} is not named: {}", names, answer.err);
}

/// Mounts a small file system at `directory` before there is anything.
fn mount_small(directory: &str, size: &str) {
    sh(&format!("mkdir -p {directory} && mount -t tmpfs -o size={size} tmpfs {directory}"));
}

/// Leaves so many KiB free.
fn fill(directory: &str, free: usize) {
    let available = sh(&format!("df --output=avail -k {directory} | tail -1"));
    let available: usize = available.trim().parse().unwrap();
    if available > free {
        sh(&format!("dd if=/dev/zero of={directory}/filler bs=1k count={} status=none", available - free));
    }
}

#[test]
fn a_full_disk_for_the_state_refuses_or_undoes() {
    linkspan_lab::run(here!(), || {
        mount_small(STATE, "2m");
        make_lab();
        let before = Snapshot::take();
        let mut refused = 0;
        for free in (0..64).step_by(4) {
            fill(STATE, free);
            let answer = try_linkspan(CREATE);
            if answer.code != Some(0) {
                assert_refused(&answer, "full");
                refused += 1;
            }
            sh(&format!("rm -f {STATE}/filler"));
            linkspan("sandbox rm -f x");
            before.assert_restored(&format!("with {free} KiB free"));
            assert_in_order(&format!("with {free} KiB free"));
        }
        assert!(refused > 0, "the disk was never full");
    });
}

#[test]
fn removal_on_a_full_disk_is_finished_when_there_is_room() {
    linkspan_lab::run(here!(), || {
        mount_small(STATE, "2m");
        make_lab();
        let before = Snapshot::take();
        for free in (0..64).step_by(8) {
            linkspan(CREATE);
            fill(STATE, free);
            let answer = try_linkspan("sandbox rm x");
            sh(&format!("rm -f {STATE}/filler"));
            if answer.code != Some(0) {
                assert_refused(&answer, "full");
            }
            linkspan("sandbox rm -f x");
            before.assert_restored(&format!("with {free} KiB free"));
        }
    });
}

#[test]
fn a_full_disk_for_names_undoes() {
    linkspan_lab::run(here!(), || {
        mount_small(RUN, "64k");
        make_lab();
        let before = Snapshot::take();
        fill(RUN, 0);
        let filled = Snapshot::take();
        assert_refused(&try_linkspan(CREATE), RUN);
        filled.assert_restored("after a refusal");
        sh(&format!("rm {RUN}/filler"));
        linkspan(CREATE);
        linkspan("sandbox rm x");
        before.assert_restored("with room again");
    });
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        sh(&format!("mount --bind {STATE} {STATE} && mount -o remount,bind,ro {STATE}"));
        for line in [CREATE, "network rm lab", "network create other"] {
            assert_refused(&try_linkspan(line), STATE);
        }
        sh(&format!("umount {STATE}"));
        before.assert_restored("after refusals");
        assert_in_order("after refusals");
    });
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    linkspan_lab::run(here!(), || {
        make_lab();
        sh(&format!("rm {STATE}/linkspan.db-*; head -c 65536 /dev/urandom > {STATE}/linkspan.db"));
        let before = sh(&format!("sha256sum {STATE}/linkspan.db"));
        for line in [CREATE, "sandbox ls", "repair"] {
            assert_refused(&try_linkspan(line), STATE);
        }
        assert_eq!(sh(&format!("sha256sum {STATE}/linkspan.db")), before);
    });
}
