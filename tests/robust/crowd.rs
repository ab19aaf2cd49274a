//! Many processes at once.

use std::collections::BTreeSet;

use linkspan_lab::{Random, here, sh};

use crate::host::{address, all_at_once, assert_in_order, failures, linkspan, listed, make_lab};
use crate::snapshot::Snapshot;

const CROWD: usize = 32;

fn lines(what: &str) -> Vec<String> {
    (0..CROWD).map(|n| what.replace("{n}", &n.to_string())).collect()
}

/// Makes and removes a crowd of sandboxes, each side all at once.
fn come_and_go(create: &str) {
    let before = Snapshot::take();
    let create = lines(create);
    let answers = all_at_once(&create);
    assert_eq!(failures(&create, &answers), "", "some could not be made");
    let addresses: BTreeSet<_> = (0..CROWD).map(|n| address(&format!("s{n}"), "eth0")).collect();
    assert_eq!(addresses.len(), CROWD, "an address was given out twice: {addresses:?}");
    assert_in_order("after a crowd was made");
    let pings: Vec<_> = addresses
        .iter()
        .map(|address| format!("ping -qc1 -W2 {address} >/dev/null || echo {address} &"))
        .collect();
    assert_eq!(sh(&format!("{} wait", pings.join(" "))), "", "these do not answer");
    let remove = lines("sandbox rm s{n}");
    let answers = all_at_once(&remove);
    assert_eq!(failures(&remove, &answers), "", "some could not be removed");
    before.assert_restored("after a crowd came and went");
    assert_in_order("after a crowd came and went");
}

#[test]
fn thirty_two_processes_get_thirty_two_addresses() {
    linkspan_lab::run(here!(), || {
        make_lab();
        come_and_go("sandbox create --net lab -p 80{n}:80 s{n}".replace("80{n}", "8{n}").as_str());
    });
}

#[test]
fn thirty_two_processes_make_the_default_network_once() {
    linkspan_lab::run(here!(), || {
        // Only the store is there: the network, its bridge and the table are not.
        linkspan("sandbox create s0");
        linkspan("sandbox rm s0");
        linkspan("network prune");
        let create = lines("sandbox create s{n}");
        let answers = all_at_once(&create);
        assert_eq!(failures(&create, &answers), "", "some could not be made");
        linkspan(&lines("s{n}").join(" ").replacen("s0", "sandbox rm s0", 1));
        come_and_go("sandbox create s{n}");
    });
}

#[test]
fn makers_and_removers_of_one_name_end_in_one_of_two_states() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let empty = Snapshot::take();
        let mut random = Random::from_environment();
        for _ in 0..3 {
            let either = |random: &mut Random| match random.below(3) {
                0 => "sandbox rm x".to_owned(),
                1 => "sandbox rm -f x".to_owned(),
                _ => "sandbox create --net lab -p 8080:80 x".to_owned(),
            };
            let lines: Vec<_> = (0..12).map(|_| either(&mut random)).collect();
            for (line, answer) in lines.iter().zip(all_at_once(&lines)) {
                let known = ["exists already", "there is no sandbox 'x'", ""];
                assert!(
                    known
                        .iter()
                        .any(|text| answer.err.contains(text) && (!text.is_empty() || answer.err.is_empty())),
                    "{line}: {}",
                    answer.err
                );
            }
            assert_in_order("after a fight about one name");
            if listed("sandbox").contains(&"x".to_owned()) {
                sh("ip netns exec x ping -c1 -W2 10.7.0.1");
                linkspan("sandbox rm x");
            }
            empty.assert_restored("after a fight about one name");
        }
    });
}

#[test]
fn networks_and_their_sandboxes_come_and_go_at_once() {
    linkspan_lab::run(here!(), || {
        make_lab();
        linkspan("network rm lab");
        let before = Snapshot::take();
        let mut random = Random::from_environment();
        for _ in 0..3 {
            let any = |random: &mut Random| {
                let n = random.below(3);
                match random.below(7) {
                    0 => "network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br7 lab"
                        .to_owned(),
                    1 => "network create --subnet 10.8.0.0/24 -o com.docker.network.bridge.name=br7 wide"
                        .to_owned(),
                    2 => "network rm lab wide".to_owned(),
                    3 => "network prune".to_owned(),
                    4 => format!("sandbox create --net lab s{n}"),
                    5 => format!("network connect wide s{n}"),
                    _ => format!("sandbox rm s{n}"),
                }
            };
            let lines: Vec<_> = (0..24).map(|_| any(&mut random)).collect();
            for (line, answer) in lines.iter().zip(all_at_once(&lines)) {
                // A refusal is fine, a kernel that says no is not.
                assert!(answer.code.is_some_and(|code| code < 2), "{line}: {answer:?}");
                assert!(
                    !answer.err.contains("netlink")
                        && !answer.err.contains("ENO")
                        && !answer.err.contains("EEXIST"),
                    "{line}: {}",
                    answer.err
                );
            }
            assert_in_order("after networks and sandboxes fought");
            listed("sandbox").iter().for_each(|name| drop(linkspan(&format!("sandbox rm {name}"))));
            linkspan("network prune");
            before.assert_restored("after networks and sandboxes fought");
        }
    });
}
