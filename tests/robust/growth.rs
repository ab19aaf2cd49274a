//! The three hundredth sandbox costs what the first did.

use std::time::Duration;

use linkspan_lab::here;

use crate::host::{make_lab, timed};
use crate::snapshot::Snapshot;

const SANDBOXES: usize = 300;
const SAMPLE: usize = 30;
/// Other tests run beside this one, so it compares the fastest; `cargo xtask bench growth` holds medians to 1.2.
const BOUND: f64 = 1.5;

#[test]
fn the_last_of_three_hundred_costs_what_the_first_did() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        let create = |n: &usize| timed(&format!("sandbox create --net lab -p {}:80 s{n}", 10_000 + n));
        let created: Vec<_> = (0..SANDBOXES).collect::<Vec<_>>().iter().map(create).collect();
        let removed: Vec<_> = (0..SANDBOXES).map(|n| timed(&format!("sandbox rm s{n}"))).collect();
        before.assert_restored("after three hundred came and went");
        for (what, times) in [("create", created), ("rm", removed)] {
            let (first, last) = (&times[..SAMPLE], &times[SANDBOXES - SAMPLE..]);
            let ratio = fastest(last).as_secs_f64() / fastest(first).as_secs_f64();
            println!(
                "{what}: first {SAMPLE} {:?} (median {:?}), last {SAMPLE} {:?} (median {:?}), ratio {ratio:.2}",
                fastest(first),
                median(first),
                fastest(last),
                median(last)
            );
            assert!(ratio < BOUND, "{what} got slower");
        }
    });
}

/// Whatever else the machine does can only make it slower.
fn fastest(times: &[Duration]) -> Duration {
    times.iter().copied().min().unwrap()
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}
