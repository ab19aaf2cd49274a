//! Addresses from directories that the reference's host-local works in too, in turns and at once.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use linkspan_lab::{Attachment, Random, Runtime, sh};
use serde_json::{Value, json};

use super::calling::{LINKS, install};
use super::chain::REFERENCE;
use crate::support::{RUN, STATE, has, here, run};

const DIRECTORY: &str = "/run/cni/networks/pods";

/// A runtime that calls host-local by itself, which is looked for in `plugins`.
fn runtime(plugins: &str, version: &str) -> Runtime {
    let list = json!({
        "cniVersion": version,
        "name": "pods",
        "plugins": [{
            "type": "host-local",
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": "10.22.0.0/16" }], [{ "subnet": "fd00:22::/64" }]],
                "dataDir": "/run/cni/networks",
            },
        }],
    });
    Runtime::new([plugins], list).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN)
}

fn ours() -> Runtime {
    install();
    runtime(LINKS, "1.1.0")
}

/// Ours, and the reference's if this machine has it.
fn both() -> Option<(Runtime, Runtime)> {
    let there = has(&format!("{REFERENCE}/host-local"));
    there.then(|| (ours(), runtime(REFERENCE, "1.0.0")))
}

fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().unwrap().iter();
    ips.map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
}

/// The files that bear addresses.
fn held() -> Vec<String> {
    let names = fs::read_dir(DIRECTORY).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.parse::<IpAddr>().is_ok());
    names.sort();
    names
}

#[test]
fn one_directory_serves_two_programs_in_turns() {
    run(here!(), || {
        let Some((ours, theirs)) = both() else { return };
        let (a, b, c) = (Attachment::of("a"), Attachment::of("b"), Attachment::of("c"));
        assert_eq!(addresses(&ours.add(&a).unwrap()), ["10.22.0.2/16", "fd00:22::2/64"]);
        assert_eq!(addresses(&theirs.add(&b).unwrap()), ["10.22.0.3/16", "fd00:22::3/64"]);
        assert_eq!(addresses(&ours.add(&c).unwrap()), ["10.22.0.4/16", "fd00:22::4/64"]);
        for (runtime, attachment) in [(&ours, &a), (&ours, &b), (&theirs, &a)] {
            let refused = runtime.add(attachment).unwrap_err().text;
            assert!(refused.contains("duplicate allocation is not allowed"), "{refused}");
        }
        for attachment in [&a, &b, &c] {
            ours.check(attachment).unwrap();
            theirs.check(attachment).unwrap();
        }
        theirs.del(&a).unwrap();
        ours.del(&b).unwrap();
        assert!(ours.check(&a).is_err() && theirs.check(&b).is_err());
        assert_eq!(addresses(&ours.add(&a).unwrap()), ["10.22.0.5/16", "fd00:22::5/64"]);
        assert_eq!(held(), ["10.22.0.4", "10.22.0.5", "fd00:22::4", "fd00:22::5"]);
        theirs.add(&b).unwrap();
        ours.gc(&[&b]).unwrap();
        assert_eq!(held(), ["10.22.0.6", "fd00:22::6"]);
    });
}

#[test]
fn one_directory_serves_two_programs_at_once() {
    run(here!(), || {
        let Some((ours, theirs)) = both() else { return };
        let work = |number: usize| {
            let (one, other) = if number.is_multiple_of(2) { (&ours, &theirs) } else { (&theirs, &ours) };
            let attachment = Attachment::of(&format!("c{number}"));
            let given = addresses(&one.add(&attachment).unwrap());
            // Every third goes again, by the other program.
            if number.is_multiple_of(3) {
                other.del(&attachment).unwrap();
                return Vec::new();
            }
            given
        };
        let mut given: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..45).map(|number| scope.spawn(move || work(number))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 60);
        let held: Vec<String> = held();
        assert!(given.iter().all(|address| held.contains(&address.split('/').next().unwrap().to_owned())));
        assert_eq!(held.len(), 60);
    });
}

#[test]
fn whoever_is_killed_leaves_no_address_behind() {
    run(here!(), || {
        let mut ours = ours();
        let mut random = Random::from_environment();
        let kept = Attachment::of("kept");
        ours.add(&kept).unwrap();
        let before = held();
        let started = Instant::now();
        ours.add(&Attachment::of("timed")).unwrap();
        let longest = started.elapsed();
        ours.del(&Attachment::of("timed")).unwrap();
        for round in 0..24 {
            let attachment = Attachment::of(&format!("c{}", round % 5));
            let instant = Instant::now() + longest.mul_f64(random.below(1000) as f64 / 1000.0);
            if round % 2 == 0 {
                _ = ours.killed_at(instant, |ours| ours.add(&attachment));
            } else {
                ours.add(&attachment).unwrap();
                _ = ours.killed_at(instant, |ours| ours.del(&attachment));
            }
            match round % 3 {
                0 => ours.gc(&[&kept]).unwrap(),
                _ => ours.del(&attachment).unwrap(),
            }
            assert_eq!(held(), before, "round {round}");
        }
    });
}

#[test]
fn a_boot_frees_what_was_held_before() {
    run(here!(), || {
        let ours = ours();
        ours.add(&Attachment::of("a")).unwrap();
        ours.add(&Attachment::of("b")).unwrap();
        // Whatever other program has put there since.
        fs::write(format!("{DIRECTORY}/10.22.0.2"), "new\r\neth0").unwrap();
        fs::write("/run/boot", "another\n").unwrap();
        sh("mount --bind /run/boot /proc/sys/kernel/random/boot_id");
        let next = addresses(&ours.add(&Attachment::of("a")).unwrap());
        assert_eq!(next, ["10.22.0.4/16", "fd00:22::4/64"]);
        assert_eq!(held(), ["10.22.0.2", "10.22.0.4", "fd00:22::4"]);
    });
}

#[test]
fn del_frees_whatever_the_configuration_says_by_then() {
    run(here!(), || {
        let ours = ours();
        ours.add(&Attachment::of("a")).unwrap();
        let mut broken =
            json!({ "cniVersion": "1.1.0", "name": "pods", "plugins": [{ "type": "host-local" }] });
        broken["plugins"][0]["ipam"] =
            json!({ "type": "host-local", "subnet": "10.22.0.1/16", "dataDir": "/run/cni//networks/" });
        let broken =
            Runtime::new([LINKS], broken).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN);
        let refused = broken.del(&Attachment::of("a")).unwrap_err().text;
        assert!(refused.contains("invalid range set 0: Network has host bits set"), "{refused}");
        assert_eq!(held(), [""; 0]);
        let started = Instant::now();
        ours.del(&Attachment::of("a")).unwrap();
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}
