//! What the firewall costs: `cargo test --release -p linkspan-kernel --test firewall cost -- --ignored --nocapture`.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use linkspan_kernel::firewall::{Firewall, port_holder};
use linkspan_lab as lab;
use linkspan_model::{PortRange, Protocol};
use linkspan_plan::{Element, Elements, Step};
use nix::time::{ClockId, clock_gettime};

use crate::net::{bridge, created, inside, lay_out, networks, publish, range};

const RUNS: usize = 300;

/// Prints the median of `work`, in microseconds.
fn measure(what: &str, mut work: impl FnMut()) {
    let mut micros: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    println!("{what}: {:.1} us (least {:.1})", micros[RUNS / 2], micros[0]);
}

fn one_element(firewall: &mut Firewall, size: &str, element: &Element) {
    let set = element.set();
    let add = [Step::AddElement(element.clone())];
    let delete = [Step::DeleteElement(element.clone())];
    let (mut adding, mut deleting) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        firewall.apply(&add).unwrap();
        adding.push(start.elapsed().as_secs_f64() * 1e6);
        let start = Instant::now();
        firewall.apply(&delete).unwrap();
        deleting.push(start.elapsed().as_secs_f64() * 1e6);
    }
    adding.sort_by(f64::total_cmp);
    deleting.sort_by(f64::total_cmp);
    println!("{set}, {size}: add {:.1} us, delete {:.1} us", adding[RUNS / 2], deleting[RUNS / 2]);
}

#[test]
#[ignore = "prints what it costs"]
fn of_elements() {
    lab::run(lab::here!(), || {
        measure("open", || drop(Firewall::open().unwrap()));
        let mut firewall = created(&[bridge("br-1"), bridge("br-2")]);
        measure("delete and create the table", || {
            firewall.apply(&[Step::DeleteFirewall, Step::CreateFirewall]).unwrap();
        });
        let many: Vec<Step> = (1..=20_000)
            .map(|port| Step::AddElement(publish(Protocol::Tcp, "0.0.0.0", port, "172.18.0.2:80")))
            .collect();
        let ranges = (0..1000)
            .map(|number| range(Protocol::Tcp, 20_001 + 20 * number, 20_010 + 20 * number, "10.0.0.2"));
        let ranges: Vec<Step> = ranges.map(Step::AddElement).collect();
        let udp = |port| publish(Protocol::Udp, "0.0.0.0", port, "172.18.0.2:80");
        let four = Elements::These([1, 2, 3, 4].map(udp).into());
        let one_range = range(Protocol::Tcp, 10, 12, "10.0.0.2");
        for size in ["empty", "20,000 elements, 100 ranges", "20,000 elements, 1,000 ranges"] {
            one_element(&mut firewall, size, &udp(7));
            one_element(&mut firewall, size, &one_range);
            measure(&format!("observe 4, {size}"), || _ = firewall.observe(&four).unwrap());
            let these = Elements::These([one_range.clone()].into());
            measure(&format!("observe 1 range, {size}"), || _ = firewall.observe(&these).unwrap());
            let start = Instant::now();
            firewall.apply(if size == "empty" { &many } else { &[] }).unwrap();
            println!("add all: {:?}", start.elapsed());
            firewall.apply(if size == "empty" { &ranges[..100] } else { &ranges }).unwrap();
        }
        let start = Instant::now();
        firewall.observe(&Elements::All).unwrap();
        println!("observe all: {:?}", start.elapsed());
        let deletes: Vec<Step> = many
            .into_iter()
            .map(|step| match step {
                Step::AddElement(element) => Step::DeleteElement(element),
                other => other,
            })
            .collect();
        let start = Instant::now();
        firewall.apply(&deletes).unwrap();
        println!("delete all: {:?}", start.elapsed());
    });
}

/// CPU time of a datagram from `namespace` to `address`, in nanoseconds: all of its way is the sender's, to the last queue.
fn of_a_datagram(namespace: &str, address: &'static str) -> f64 {
    inside(namespace, move || {
        const COUNT: u32 = 20_000;
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(address).unwrap();
        let spent = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let start = spent();
        (0..COUNT).for_each(|_| _ = socket.send(b"who?"));
        (spent() - start).as_secs_f64() * 1e9 / f64::from(COUNT)
    })
}

#[test]
#[ignore = "prints what it costs"]
fn of_a_packets_way() {
    lab::run(lab::here!(), || {
        lay_out();
        // Nobody reads them, and where nobody listens an answer would come back.
        let _queues = ["a2", "out"].map(|name| inside(name, || UdpSocket::bind("0.0.0.0:80").unwrap()));
        for (way, address) in [("routed", "192.0.2.2:80"), ("bridged", "172.18.0.3:80")] {
            let (mut without, mut with) = (f64::MAX, f64::MAX);
            for _ in 0..10 {
                let mut firewall = created(&networks());
                with = with.min(of_a_datagram("a1", address));
                firewall.apply(&[Step::DeleteFirewall]).unwrap();
                without = without.min(of_a_datagram("a1", address));
            }
            println!("{way}: {with:.0} ns, without the tables {without:.0} ns");
        }
    });
}

#[test]
#[ignore = "prints what it costs"]
fn of_flushing_flows() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&[]);
        let flush = |port| Step::FlushFlows {
            protocol: Protocol::Udp,
            host: Ipv4Addr::UNSPECIFIED.into(),
            ports: PortRange::single(port),
        };
        measure("flush, no flows", || firewall.apply(&[flush(5353)]).unwrap());
        let server = UdpSocket::bind("127.0.0.1:5000").unwrap();
        for port in 10_000..30_000 {
            UdpSocket::bind(("127.0.0.1", port))
                .unwrap()
                .send_to(b"x", server.local_addr().unwrap())
                .unwrap();
        }
        measure("flush, 20,000 other flows", || firewall.apply(&[flush(5353)]).unwrap());
        measure("flush two ports, 20,000 other flows", || {
            firewall.apply(&[flush(5353), flush(5354)]).unwrap()
        });
        let start = Instant::now();
        firewall.apply(&[flush(5000)]).unwrap();
        println!("flush 20,000 flows: {:?}", start.elapsed());
    });
}

#[test]
#[ignore = "prints what it costs"]
fn of_looking_for_listeners() {
    lab::run(lab::here!(), || {
        let _listeners: Vec<TcpListener> =
            (20_000..20_500).map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap()).collect();
        for (protocol, first, last) in [
            (Protocol::Tcp, 80, 80),
            (Protocol::Udp, 80, 80),
            (Protocol::Tcp, 80, 83),
            (Protocol::Tcp, 80, 3079),
            (Protocol::Udp, 80, 3079),
        ] {
            measure(&format!("{protocol} {first}-{last}"), || {
                port_holder(protocol, Ipv4Addr::UNSPECIFIED.into(), PortRange { first, last }).unwrap();
            });
        }
    });
}
