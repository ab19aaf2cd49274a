//! Programs in a sandbox, judged by what they see.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use linkspan_kernel::process::{Entry, exec_in, spawn_in};
use linkspan_lab::{self as lab, Net};
use linkspan_plan::Failure;
use nix::errno::Errno;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;

fn entry() -> Entry {
    Net::new("box");
    Entry { pin: PathBuf::from("/run/netns/box"), binds: Vec::new(), hostname: None }
}

fn words(command: &[&str]) -> Vec<OsString> {
    command.iter().map(OsString::from).collect()
}

fn shell(entry: &Entry, script: &str) -> i32 {
    spawn_in(entry, &words(&["sh", "-c", script])).unwrap().wait().unwrap()
}

#[test]
fn a_program_sees_its_sandbox() {
    lab::run(lab::here!(), || {
        let mut entry = entry();
        lab::sh("ip -n box link add inside type veth peer name outside");
        fs::write("/run/hosts", "10.0.0.9 from-the-sandbox\n").unwrap();
        entry.binds.push(("/run/hosts".into(), "/etc/hosts".into()));
        entry.hostname = Some("web".to_owned());
        let host = (fs::read_to_string("/etc/hosts").unwrap(), fs::read("/proc/mounts").unwrap());

        assert_eq!(shell(&entry, "test \"$(ls /sys/class/net | tr '\\n' ' ')\" = 'inside lo outside '"), 0);
        assert_eq!(
            shell(
                &entry,
                "grep -q from-the-sandbox /etc/hosts && test $(cat /proc/sys/kernel/hostname) = web"
            ),
            0
        );
        assert_eq!(shell(&entry, "mount -t tmpfs none /mnt"), 0);
        assert_eq!(host, (fs::read_to_string("/etc/hosts").unwrap(), fs::read("/proc/mounts").unwrap()));
    });
}

#[test]
fn a_file_is_seen_behind_a_link_and_what_covers_nothing_is_left_out() {
    lab::run(lab::here!(), || {
        let mut entry = entry();
        fs::write("/run/ours", "nameserver 10.0.0.1\n").unwrap();
        fs::write("/run/theirs", "nameserver 192.0.2.1\n").unwrap();
        _ = fs::remove_file("/etc/resolv.conf");
        symlink("../run/theirs", "/etc/resolv.conf").unwrap();
        entry.binds.push(("/run/ours".into(), "/etc/resolv.conf".into()));
        entry.binds.push(("/run/ours".into(), "/etc/nothing-here".into()));
        assert_eq!(shell(&entry, "grep -q 10.0.0.1 /etc/resolv.conf && test ! -e /etc/nothing-here"), 0);
        assert_eq!(entry.unseen().collect::<Vec<_>>(), [&entry.binds[1]]);
    });
}

#[test]
fn codes_and_signals_come_back() {
    lab::run(lab::here!(), || {
        let entry = entry();
        assert_eq!((shell(&entry, "exit 3"), shell(&entry, "kill -KILL $$")), (3, 128 + 9));
        // SIGPIPE has its default action, and nothing is blocked.
        assert_eq!(shell(&entry, "kill -PIPE $$"), 128 + 13);
        assert_eq!(shell(&entry, "grep -q '^SigBlk:.0000000000000000$' /proc/self/status"), 0);
    });
}

#[test]
fn signals_are_passed_on() {
    lab::run(lab::here!(), || {
        let child =
            spawn_in(&entry(), &words(&["sh", "-c", "trap 'exit 42' TERM; sleep 60 & wait"])).unwrap();
        let waiting = pthread_self();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            pthread_kill(waiting, Signal::SIGTERM).unwrap();
        });
        assert_eq!(child.wait().unwrap(), 42);
    });
}

#[test]
fn what_cannot_be_executed_is_told_apart() {
    lab::run(lab::here!(), || {
        let entry = entry();
        let failed = spawn_in(&entry, &words(&["/no/such/program"])).unwrap_err();
        assert_eq!(
            (failed.exec, failed.error.what.as_str()),
            (Some(Errno::ENOENT), "execute /no/such/program")
        );
        assert_eq!(spawn_in(&entry, &words(&["/etc"])).unwrap_err().exec, Some(Errno::EACCES));

        let missing = Entry { pin: "/run/netns/gone".into(), ..entry.clone() };
        let failed = spawn_in(&missing, &words(&["true"])).unwrap_err();
        assert_eq!((failed.exec, failed.error.failure), (None, Failure::NotFound));
        let failed = spawn_in(&Entry { pin: "/run".into(), ..entry }, &words(&["true"])).unwrap_err();
        assert_eq!(failed.error.cause, "it stands for no network namespace");
    });
}

#[test]
fn control_groups_stay_in_sight() {
    lab::run(lab::here!(), || {
        let list = "ls /sys/fs/cgroup";
        let outside = lab::sh(list);
        if outside.is_empty() {
            return lab::skip("no control groups are mounted here");
        }
        assert_eq!(shell(&entry(), &format!("test \"$({list})\" = '{}'", outside.trim_end())), 0);
    });
}

#[test]
fn exec_becomes_the_program() {
    lab::run(lab::here!(), || {
        // Nothing behind it runs if it works, and the program's code is the test's.
        let failed = exec_in(&entry(), &words(&["sh", "-c", "test $(ls /sys/class/net) = lo"]));
        unreachable!("{failed:?}");
    });
}
