//! What the store costs a command, in microseconds: `cargo run --release -p linkspan-store --example cost [DIR]`.
//!
//! DIR (default /dev/shm) says on which file system. Every run opens the store anew while nobody else has it open,
//! as a command does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use linkspan_model::{
    Endpoint, Id, Lease, Mac, Name, NamespaceSource, PortRange, Protocol, Published, Sandbox, Shaping, Wire,
};
use linkspan_store::{Object, Store, StoreError};

const RUNS: usize = 1000;
const BOOT: &str = "00000000-0000-4000-8000-000000000000";
const NETWORK: Id = Id::from_bytes([7; 32]);

fn main() {
    let parent = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "/dev/shm".to_owned()));
    let dir = parent.join(format!("linkspan-cost-{}", std::process::id()));
    let started = Instant::now();
    drop(open(&dir));
    println!("making the store: {} us", started.elapsed().as_micros());
    let mut number = 0;
    for filled in [0, 20_000] {
        fill(&dir, &mut number, filled);
        println!("{filled} endpoints with a published port each  median     p90     max    mean");
        report("open, close", || drop(open(&dir)));
        report("open, empty write, close", || open(&dir).write(|_| Ok::<_, StoreError>(())).unwrap());
        report("open, read a sandbox by name, close", || {
            open(&dir).read(|tx| tx.sandbox("s1")).unwrap();
        });
        report("open, lock, journal, attach, close", || {
            number += 1;
            attach(&mut open(&dir), number);
        });
        let mut store = open(&dir);
        report("the same, open already", || {
            number += 1;
            attach(&mut store, number);
        });
        drop(store);
        let mut last = number;
        report("open, lock, journal, detach, close", || {
            detach(&mut open(&dir), last);
            last -= 1;
        });
    }
    crowd(&dir, number + 1);
    let _other = open(&dir);
    report("open, close while another has it open", || drop(open(&dir)));
    std::fs::remove_dir_all(dir).unwrap();
}

fn open(dir: &Path) -> Store {
    Store::open(dir, BOOT).unwrap()
}

fn report(what: &str, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort();
    let at = |part: usize| times[(RUNS - 1) * part / 100].as_micros();
    let mean = times.iter().sum::<Duration>().as_micros() / RUNS as u128;
    println!("  {what:44} {:>7} {:>7} {:>7} {mean:>7}", at(50), at(90), at(100));
}

fn fill(dir: &Path, number: &mut u32, count: u32) {
    open(dir)
        .write(|tx| {
            (0..count).try_for_each(|_| {
                *number += 1;
                tx.insert_sandbox(&sandbox(*number))?;
                tx.insert_endpoint(&endpoint(*number))
            })
        })
        .unwrap_or_else(|error: StoreError| eprintln!("{error}"));
}

/// What attaching asks of the store: two transactions, with the kernel's work between them.
fn attach(store: &mut Store, number: u32) {
    let object = Object::Sandbox(name(number));
    let _lock = store.lock(&object, linkspan_store::Mode::Exclusive, Duration::ZERO).unwrap();
    let entry = store.write(|tx| tx.begin(&object, "create", "{}")).unwrap();
    let endpoint = endpoint(number);
    let attached = store.write(|tx| {
        tx.publish_conflict(&endpoint.published[0])?;
        tx.insert_sandbox(&sandbox(number))?;
        tx.insert_endpoint(&endpoint)?;
        tx.set_fresh_cursor(NETWORK, &endpoint.leases[0].subnet, endpoint.leases[0].address)?;
        tx.end(entry)
    });
    attached.unwrap_or_else(|error: StoreError| panic!("{error}"));
}

fn detach(store: &mut Store, number: u32) {
    let object = Object::Sandbox(name(number));
    let _lock = store.lock(&object, linkspan_store::Mode::Exclusive, Duration::ZERO).unwrap();
    let entry = store.write(|tx| tx.begin(&object, "remove", "{}")).unwrap();
    let detached = store.write(|tx| {
        tx.delete_endpoint(endpoint(number).id)?;
        tx.delete_sandbox(sandbox(number).id)?;
        tx.end(entry)
    });
    detached.unwrap_or_else(|error: StoreError| panic!("{error}"));
}

/// As many attaches at once as a busy host starts, each on a connection of its own.
fn crowd(dir: &Path, first: u32) {
    const CROWD: u32 = 32;
    let rounds: Vec<Duration> = (0..30)
        .map(|round| {
            let start = Barrier::new(CROWD as usize + 1);
            std::thread::scope(|scope| {
                for member in 0..CROWD {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        attach(&mut open(dir), first + round * CROWD + member);
                    });
                }
                let started = Instant::now();
                start.wait();
                started
            })
            .elapsed()
        })
        .collect();
    let (least, most) = (rounds.iter().min().unwrap(), rounds.iter().max().unwrap());
    println!("{CROWD} attaches at once, all of them: {least:?} to {most:?}");
}

fn name(number: u32) -> Name {
    format!("s{number}").parse().unwrap()
}

fn id(kind: u8, number: u32) -> Id {
    let mut bytes = [kind; 32];
    // Spread as random identities are.
    let spread = number.wrapping_mul(0x9e37_79b1);
    bytes[..4].copy_from_slice(&spread.to_be_bytes());
    Id::from_bytes(bytes)
}

fn sandbox(number: u32) -> Sandbox {
    Sandbox {
        id: id(1, number),
        name: name(number),
        created: 1_700_000_000,
        namespace: NamespaceSource::New,
        hostname: format!("s{number}"),
        dns: Vec::new(),
        add_hosts: Vec::new(),
        links: Vec::new(),
        ephemeral: false,
        labels: BTreeMap::new(),
        netns: None,
        of_runtime: false,
    }
}

fn endpoint(number: u32) -> Endpoint {
    let address = Ipv4Addr::from(0x0a00_0002 + number).into();
    let port = u16::try_from(20_000 + number % 45_000).unwrap();
    Endpoint {
        id: id(2, number),
        network: NETWORK,
        sandbox: id(1, number),
        ifname: "eth0".parse().unwrap(),
        mac: Mac::for_ip(address),
        access: 0,
        addresses_of: None,
        leases: vec![Lease {
            subnet: "10.0.0.0/8".parse().unwrap(),
            address,
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
            reused: false,
        }],
        aliases: Vec::new(),
        named: false,
        gw_priority: 0,
        wire: Wire::Veth,
        shaping: Shaping::default(),
        parts: Vec::new(),
        published: vec![Published {
            protocol: Protocol::Tcp,
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host: PortRange::single(port),
            target: PortRange::single(80),
        }],
    }
}
