//! The three hundredth sandbox costs what the first did.

use std::time::Duration;

use linkspan_lab::{Net, here};

use crate::host::{linkspan, make_lab, timed, timed_on_another};
use crate::snapshot::Snapshot;

const SANDBOXES: usize = 300;
const SAMPLE: usize = 30;
/// `cargo xtask bench growth`, for a release build on a machine with nothing else to do, is held to 1.2.
const BOUND: f64 = 1.4;
/// What grows is slower every time; a busy machine is not.
const ATTEMPTS: usize = 3;

/// Other tests run beside this one, and come and go. So the last sandboxes of a host with many are measured in turn
/// with the first ones of a host with few.
#[test]
fn the_last_of_three_hundred_costs_what_the_first_did() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        let small = Net::new("small");
        let on_small = |line: &str| small.enter(|| timed_on_another(line));
        on_small("network create --subnet 10.7.0.0/16 lab");
        on_small("sandbox create --net lab warm");
        on_small("sandbox rm warm");

        let create =
            |prefix: &str, n: usize| format!("sandbox create --net lab -p {}:80 {prefix}{n}", 10_000 + n);
        (0..SANDBOXES - SAMPLE).for_each(|n| drop(linkspan(&create("big", n))));
        let last = || SANDBOXES - SAMPLE..SANDBOXES;
        let measure = || {
            let created = last().map(|n| (on_small(&create("small", n)), timed(&create("big", n))));
            let created = ratio("create", created.collect());
            let removed = last()
                .map(|n| (on_small(&format!("sandbox rm small{n}")), timed(&format!("sandbox rm big{n}"))));
            created.max(ratio("rm", removed.collect()))
        };
        assert!((0..ATTEMPTS).any(|_| measure() < BOUND), "it gets slower, see above");

        let rest: Vec<_> = (0..SANDBOXES - SAMPLE).map(|n| format!("big{n}")).collect();
        linkspan(&format!("sandbox rm {}", rest.join(" ")));
        on_small("network rm lab");
        linkspan_lab::sh("ip netns del small; rm -r /run/linkspan2");
        before.assert_restored("after three hundred came and went");
    });
}

fn ratio(what: &str, times: Vec<(Duration, Duration)>) -> f64 {
    let (first, last): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    let (first, last) = (median(first), median(last));
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    println!("{what}: first {SAMPLE} {first:?}, last {SAMPLE} of {SANDBOXES} {last:?}, ratio {ratio:.2}");
    ratio
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
