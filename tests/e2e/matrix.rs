//! Who reaches whom, as one table: every kind of network, from everywhere and to everywhere, by traffic.
//!
//! `cargo test --test e2e matrix -- --nocapture` prints it. A cell names what came through: `tcp` and `icmp` to the
//! sandbox's own address, `port` to its published port at an address of the host. Each is tried over IPv4 and IPv6, and
//! on two ways: as routed, and around by the gateway address of the network in question. A word stands alone if it
//! held on all of these, and else has the ways behind it on which it did.

use std::path::Path;
use std::thread;

use crate::support::*;

const KINDS: [&str; 4] = ["plain", "internal", "icc-off", "published"];
const PLACES: [&str; 4] = ["same network", "other network", "host", "outside"];

/// What is expected: a row for each place, a cell for each kind of network.
type Expected = [[&'static str; 4]; 4];

/// From each place to a sandbox on each kind of network. Of these icc-off and published have a published port.
const INTO: Expected = [
    ["tcp icmp", "tcp icmp", "port", "tcp icmp port"],
    ["-", "-", "port", "port"],
    ["tcp icmp", "tcp icmp", "tcp icmp port", "tcp icmp port"],
    ["-", "-", "port", "port"],
];

/// From a sandbox on each kind of network to each place; the port is that of network published.
const OUT_OF: Expected = [
    ["tcp icmp", "tcp icmp", "-", "tcp icmp"],
    ["port", "-", "port", "port"],
    ["tcp icmp", "tcp icmp", "tcp icmp", "tcp icmp"],
    ["tcp icmp", "-", "tcp icmp", "tcp icmp"],
];

/// While bridged frames pass the host's IP firewall, isolated ports stay so for what is redirected from one to the other
/// (see "Absent on purpose" in ARCHITECTURE.md).
const WITH_BRIDGE_NETFILTER: (usize, usize, &str) = (0, 2, "-");

/// A way from one machine to an address, in both families.
struct Way<'a> {
    name: &'static str,
    from: &'a Net,
    /// The address over IPv4 and over IPv6.
    to: [String; 2],
    /// Where the published port is asked for.
    host: [String; 2],
}

/// One cell: the ways to try, the server's port, and the published port if there is one.
struct Cell<'a> {
    ways: [Way<'a>; 2],
    port: u16,
    published: Option<u16>,
}

impl Cell<'_> {
    /// What came through.
    fn seen(&self, expected: &str) -> String {
        let words = thread::scope(|scope| {
            let tried = ["tcp", "icmp", "port"].map(|word| scope.spawn(move || self.word(word, expected)));
            tried.into_iter().filter_map(|word| word.join().expect("it ends")).collect::<Vec<_>>()
        });
        if words.is_empty() { "-".to_owned() } else { words.join(" ") }
    }

    fn word(&self, word: &str, expected: &str) -> Option<String> {
        let tries = self.tries(word, expected.split(' ').any(|other| other == word));
        let through: Vec<_> =
            tries.iter().filter(|(_, through)| *through).map(|(way, _)| way.as_str()).collect();
        match through.len() {
            0 => None,
            all if all == tries.len() => Some(word.to_owned()),
            _ => Some(format!("{word}({})", through.join(", "))),
        }
    }

    /// Each way with whether `word` came through on it; all are tried at once.
    fn tries(&self, word: &str, patient: bool) -> Vec<(String, bool)> {
        thread::scope(|scope| {
            let mut running = Vec::new();
            for way in &self.ways {
                for (family, (to, host)) in ["v4", "v6"].into_iter().zip(way.to.iter().zip(&way.host)) {
                    let through = move || match word {
                        "tcp" => way.from.ask_tcp(&socket(to, self.port)).is_ok(),
                        "icmp" => way.from.succeeds(&format!("ping -n -c 1 -W 0.5 {to}")),
                        _ => self.published.is_some_and(|port| way.from.ask_tcp(&socket(host, port)).is_ok()),
                    };
                    // The machine may be busy; what is expected to fail fails once.
                    let tries = if patient { 3 } else { 1 };
                    let tried = scope.spawn(move || (0..tries).any(|_| through()));
                    running.push((format!("{family} {}", way.name), tried));
                }
            }
            running.into_iter().map(|(way, tried)| (way, tried.join().expect("it ends"))).collect()
        })
    }
}

fn socket(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The addresses of a host on the network of a number.
fn both(number: usize, host: usize) -> [String; 2] {
    [format!("10.{number}.0.{host}"), format!("fd00:{number}::{host}")]
}

fn addresses(v4: &str, v6: &str) -> [String; 2] {
    [v4.to_owned(), v6.to_owned()]
}

/// The network that is the other one of all others.
const OTHER: usize = 9;

/// A host with a network of each kind and one other; on each a target, a sandbox beside it, and one that goes around.
struct Site {
    world: World,
    beside: Vec<Net>,
    around: Vec<Net>,
    other: [Net; 2],
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        for (net, address) in [(&world.host, "2001:db8::1"), (&world.outside, "2001:db8::9")] {
            net.sh(&format!("ip address replace {address}/64 dev lan0 nodad"));
        }
        world.outside.sh("ip -6 route replace default via 2001:db8::1");
        let flags = ["", "--internal", "-o com.docker.network.bridge.enable_icc=false", ""];
        let networks = KINDS.into_iter().zip(flags).enumerate().chain([(OTHER, ("other", ""))]);
        let (mut beside, mut around) = (Vec::new(), Vec::new());
        for (number, (kind, flags)) in networks {
            let subnets = format!("--subnet 10.{number}.0.0/24 --subnet fd00:{number}::/64 --ipv6");
            world.network(&format!("{subnets} {flags} -o com.docker.network.bridge.name=m{number} {kind}"));
            let publish =
                if number == 2 || number == 3 { format!("-p {0}:80", 8000 + number) } else { String::new() };
            linkspan(&format!("sandbox create --net {kind} {publish} target-{kind}"));
            Net::pinned(&format!("target-{kind}")).serve_tcp("[::]:80");
            for (name, nets) in [("beside", &mut beside), ("around", &mut around)] {
                linkspan(&format!("sandbox create --net {kind} {name}-{kind}"));
                nets.push(Net::pinned(&format!("{name}-{kind}")));
            }
        }
        let other = [beside.pop().expect("the last"), around.pop().expect("the last")];
        world.host.serve_tcp("[::]:22");
        world.outside.serve_tcp("[::]:80");
        Self { world, beside, around, other }
    }

    /// Has the sandboxes that go around send what is for a target or for outside to a gateway address: those beside it
    /// to their own, the one of the other network to that of the target's network.
    fn lead_around(&self) {
        for (number, net) in self.around.iter().enumerate() {
            let ([to4, to6], [via4, via6]) = (both(number, 2), both(number, 1));
            net.sh(&format!("ip route add {to4} via {via4} && ip route add {to6} via {via6}"));
            net.sh(&format!("ip route replace default via {via4} && ip route replace default via {via6}"));
            // Answers go around too: where ports are isolated, they would not get there by themselves.
            let target = Net::pinned(&format!("target-{}", KINDS[number]));
            for back in both(number, 4) {
                let via = if back.contains(':') { &via6 } else { &via4 };
                target.sh(&format!("ip route add {back} via {via}"));
            }
            let gateway = sh("cat /sys/class/net/m9/address");
            for (to, via) in [(to4, via4), (to6, via6)] {
                let [_, around] = &self.other;
                around.sh(&format!("ip neighbour replace {via} lladdr {} dev eth0", gateway.trim()));
                around.sh(&format!("ip route add {to} via {via} dev eth0 onlink"));
            }
        }
    }

    fn way_into(&self, place: usize, kind: usize) -> Cell<'_> {
        let from = match place {
            0 => [&self.beside[kind], &self.around[kind]],
            1 => [&self.other[0], &self.other[1]],
            2 => [&self.world.host; 2],
            _ => [&self.world.outside; 2],
        };
        let published = matches!(KINDS[kind], "icc-off" | "published");
        let way = |name, from, host| Way { name, from, to: both(kind, 2), host };
        Cell {
            ways: [
                way("direct", from[0], addresses("192.0.2.1", "2001:db8::1")),
                way("around", from[1], both(kind, 1)),
            ],
            port: 80,
            published: published.then_some(8000 + kind as u16),
        }
    }

    fn way_out_of(&self, place: usize, kind: usize) -> Cell<'_> {
        let (to, port) = match place {
            0 => (both(kind, 2), 80),
            1 => (both(OTHER, 2), 80),
            2 => (both(kind, 1), 22),
            _ => (addresses("192.0.2.9", "2001:db8::9"), 80),
        };
        let way = |name, from, host| Way { name, from, to: to.clone(), host };
        Cell {
            ways: [
                way("direct", &self.beside[kind], addresses("192.0.2.1", "2001:db8::1")),
                way("around", &self.around[kind], both(3, 1)),
            ],
            port,
            published: (place == 1).then_some(8003),
        }
    }
}

/// Tries every cell at once, prints what was seen, and gives what was not expected.
fn table<'a>(
    title: &str,
    expected: &Expected,
    cell: impl Fn(usize, usize) -> Cell<'a> + Sync,
) -> Vec<String> {
    let mut seen: Vec<Vec<String>> = thread::scope(|scope| {
        let row = |place: usize| {
            let cells: Vec<_> = (0..KINDS.len())
                .map(|kind| {
                    let cell = &cell;
                    scope.spawn(move || cell(place, kind).seen(expected[place][kind]))
                })
                .collect();
            cells
        };
        let rows: Vec<_> = (0..PLACES.len()).map(row).collect();
        let join = |row: Vec<thread::ScopedJoinHandle<'_, String>>| {
            row.into_iter().map(|cell| cell.join().expect("it ends")).collect()
        };
        rows.into_iter().map(join).collect()
    });
    // With all at once a slow machine may have been too busy to answer in time: such cells have another try by themselves.
    for (place, row) in seen.iter_mut().enumerate() {
        for (kind, seen) in row.iter_mut().enumerate().filter(|(kind, seen)| *seen != expected[place][*kind])
        {
            *seen = cell(place, kind).seen(expected[place][kind]);
        }
    }
    let mut wrong = Vec::new();
    let mut lines =
        vec![[&[title][..], &KINDS].concat().iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()];
    for (place, row) in seen.iter().enumerate() {
        let mut line = vec![PLACES[place].to_owned()];
        for (kind, seen) in row.iter().enumerate() {
            let wanted = expected[place][kind];
            let mark = if seen == wanted { "" } else { "! " };
            line.push(format!("{mark}{seen}"));
            if seen != wanted {
                wrong.push(format!("{title} {}, {}: {seen}, not {wanted}", PLACES[place], KINDS[kind]));
            }
        }
        lines.push(line);
    }
    print(&lines);
    wrong
}

fn print(lines: &[Vec<String>]) {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    for line in lines {
        let cells = line.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        println!("{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
    println!();
}

#[test]
fn who_reaches_whom() {
    run(here!(), || {
        if !Path::new("/proc/sys/net/ipv6").exists() {
            return skip("this kernel has no IPv6");
        }
        let site = Site::new();
        site.lead_around();
        let mut wrong = Vec::new();
        for setting in ["0", "1"] {
            if !bridge_netfilter(setting) && setting == "1" {
                skip("the kernel passes no bridged frames to the IP firewall");
                continue;
            }
            println!("bridge-nf-call-iptables = {setting}");
            let mut into = INTO;
            if setting == "1" {
                let (place, kind, seen) = WITH_BRIDGE_NETFILTER;
                into[place][kind] = seen;
            }
            wrong.extend(table("into, from", &into, |place, kind| site.way_into(place, kind)));
            wrong.extend(table("out of, to", &OUT_OF, |place, kind| site.way_out_of(place, kind)));
        }
        assert!(wrong.is_empty(), "not as expected:\n  {}", wrong.join("\n  "));
    });
}
