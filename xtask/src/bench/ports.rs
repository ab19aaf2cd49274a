//! A range of ports: as cheap to publish as one, and every port of it as fast to reach.

use super::table::{Samples, Table};
use super::{await_veths, traffic};
use crate::failure::Result;
use crate::inside::{Host, ip};

const FIRST: u16 = 20_000;
const LAST: u16 = 22_999;
const CREATE_GOAL: f64 = 2.0;
const CONNECT_GOAL: f64 = 1.2;
/// The host as its neighbour sees it; addresses are from the block for documentation.
const HOST: &str = "198.51.100.1";

/// Creates with a range and with one port by turns, `count` times each; then connects from a neighbour.
pub fn measure(host: &Host, count: u32, table: &mut Table) -> Result<()> {
    let range = format!("sandbox create --net bridge -p {FIRST}-{LAST}:{FIRST}-{LAST} range");
    let single = format!("sandbox create --net bridge -p {FIRST}:{FIRST} single");
    let mut ranges = Samples::of(format!("create, {} ports published as a range", LAST - FIRST + 1));
    let mut singles = Samples::of("create, one port published");
    let mut ranges_removed = Samples::of("rm of the range");
    let mut singles_removed = Samples::of("rm of the one port");
    for _ in 0..count {
        ranges.push(host.timed(&mut host.linkspan(&range))?);
        await_veths(1)?;
        ranges_removed.push(host.timed(&mut host.linkspan("sandbox rm range"))?);
        await_veths(0)?;
        singles.push(host.timed(&mut host.linkspan(&single))?);
        await_veths(1)?;
        singles_removed.push(host.timed(&mut host.linkspan("sandbox rm single"))?);
        await_veths(0)?;
    }
    table.title("port ranges");
    table.compare(&ranges, &singles, CREATE_GOAL);
    table.compare(&ranges_removed, &singles_removed, CREATE_GOAL);
    host.timed(&mut host.linkspan(&range))?;
    let (first, last) = reach()?;
    table.compare(&last, &first, CONNECT_GOAL);
    host.timed(&mut host.linkspan("sandbox rm range"))?;
    await_veths(0)
}

/// Connects from a neighbouring host to the first and the last port of the range.
fn reach() -> Result<(Samples, Samples)> {
    ip("netns add neighbour")?;
    ip("link add vhost up type veth peer name eth0 netns neighbour")?;
    ip(&format!("address add {HOST}/24 dev vhost"))?;
    ip("-n neighbour link set eth0 up")?;
    ip("-n neighbour address add 198.51.100.2/24 dev eth0")?;
    let _server = traffic::server("range", &[FIRST, LAST])?;
    let found = traffic::connects("neighbour", HOST, &[FIRST, LAST], 500)?;
    ip("netns del neighbour")?;
    let mut first = Samples::of(format!("TCP connect from a neighbour to port {FIRST}"));
    let mut last = Samples::of(format!("TCP connect from a neighbour to port {LAST}"));
    for (port, time) in found {
        if port == FIRST { first.push(time) } else { last.push(time) }
    }
    Ok((first, last))
}
