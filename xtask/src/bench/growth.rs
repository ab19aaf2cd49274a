//! Many sandboxes: the last must cost what the first did.

use super::settle;
use super::table::{Samples, Table};
use crate::failure::{Failure, Result};
use crate::inside::Host;

/// How many make a median at either end.
const SAMPLE: usize = 30;
const GOAL: f64 = 1.2;
const FIRST_PORT: usize = 20_000;

/// Creates `count` sandboxes one after another, then removes them one after another.
pub fn measure(host: &Host, count: usize, table: &mut Table) -> Result<()> {
    if count < 2 * SAMPLE {
        return Err(Failure::usage(format!("--growth takes {} or more", 2 * SAMPLE)));
    }
    let mut created = Samples::of("created");
    let mut removed = Samples::of("removed");
    for number in 0..count {
        let line = format!("sandbox create --net bridge -p {}:80 grow{number}", FIRST_PORT + number);
        created.push(host.timed(&mut host.linkspan(&line))?);
    }
    settle();
    for number in 0..count {
        removed.push(host.timed(&mut host.linkspan(&format!("sandbox rm grow{number}")))?);
        settle();
    }
    let first = 0..SAMPLE;
    let last = count - SAMPLE..count;
    table.title("growth");
    let late = created.part(format!("create, the last {SAMPLE} of {count}"), last.clone());
    table.compare(&late, &created.part(format!("create, the first {SAMPLE}"), first.clone()), GOAL);
    let full = removed.part(format!("rm, while {count} are there"), first);
    table.compare(&full, &removed.part("rm, while none is left", last), GOAL);
    Ok(())
}
