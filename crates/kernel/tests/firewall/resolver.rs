//! What leads questions for names in a sandbox to where they are answered.

use std::path::Path;
use std::time::{Duration, Instant};

use linkspan_kernel::resolver::Resolver;
use linkspan_lab::{self as lab, Net};

/// To take a transaction back, the kernel waits for all processors, which is no question of load.
const SOON: Duration = Duration::from_millis(4);

#[test]
fn what_somebody_who_was_killed_has_left_is_replaced_at_once() {
    lab::run(lab::here!(), || {
        let inside = Net::new("inside");
        inside.sh("ip link set lo up");
        let opens = |_| {
            let start = Instant::now();
            let opened = Resolver::open(Path::new("/run/netns/inside")).unwrap().unwrap();
            let took = start.elapsed();
            let port = opened.udp.local_addr().unwrap().port().to_string();
            let table = inside.sh("nft list table ip linkspan");
            assert!(table.contains(&port) && table.matches("dnat").count() == 2, "{table}");
            took
        };
        let times: Vec<Duration> = (0..10).map(opens).collect();
        assert!(times[1..].iter().any(|time| *time < SOON), "{times:?}");
    });
}
