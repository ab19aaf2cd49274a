//! What each step costs on this machine: `cargo run --release -p linkspan-kernel --example timings`.
#![allow(clippy::unwrap_used)]

use std::env;
use std::time::{Duration, Instant};

use linkspan_kernel::{Host, isolation::isolated};
use linkspan_model::{IfName, Mac, Name};
use linkspan_plan::{Bridge, Element, Kernel, Namespace, Peer, Port, Route, Scope, State, Step};

const RUNS: usize = 30;
const INSIDE: &str = "LINKSPAN_TIMINGS";

fn main() {
    if env::var_os(INSIDE).is_none() {
        let code = isolated(&env::current_exe().unwrap(), &[], &[(INSIDE.into(), "1".into())]).unwrap();
        std::process::exit(code);
    }
    println!("{RUNS} runs, in ms {:>28} {:>8}", "fastest tenth", "median");
    let times: Vec<Vec<(&str, Duration)>> = (0..RUNS).map(|_| round()).collect();
    for (column, (name, _)) in times[0].iter().enumerate() {
        let mut times: Vec<Duration> = times.iter().map(|round| round[column].1).collect();
        times.sort();
        let [tenth, median] = [10, 2].map(|part| times[RUNS / part].as_secs_f64() * 1000.0);
        println!("{name:40} {tenth:8.3} {median:8.3}");
    }
}

struct Clock(Vec<(&'static str, Duration)>);

impl Clock {
    /// What came before has had its time: the kernel goes on with it in the background.
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        if !name.ends_with("right behind") {
            std::thread::sleep(Duration::from_millis(60));
        }
        let start = Instant::now();
        let done = work();
        self.0.push((name, start.elapsed()));
        done
    }
}

fn round() -> Vec<(&'static str, Duration)> {
    let mut clock = Clock(Vec::new());
    let mut host = clock.time("open", Host::open).unwrap();
    let bridge: IfName = "br0".parse().unwrap();
    let policy = [Step::CreateFirewall, Step::AddElement(Element::Bridge(bridge.clone()))];
    clock.time("create firewall", || host.apply(&policy)).unwrap();
    clock.time("create bridge", || host.apply(&[create_bridge(&bridge)])).unwrap();
    clock.time("create namespace", || host.apply(&[create_namespace(0)])).unwrap();
    let port = create_port(&bridge, 0, false);
    let mut wanted = State::default();
    port.iter().for_each(|step| wanted.apply(step));
    clock.time("create port and route", || host.apply(&port)).unwrap();
    wanted.apply(&create_bridge(&bridge));
    wanted.apply(&create_namespace(0));
    wanted.firewall = Some([Element::Bridge(bridge.clone())].into());
    let seen = clock.time("observe", || host.observe(&Scope::of([&wanted]))).unwrap();
    assert_eq!(seen, wanted);
    let mut fresh = Host::open().unwrap();
    clock.time("observe, sockets not yet open", || fresh.observe(&Scope::of([&wanted]))).unwrap();
    drop(fresh);
    clock.time("delete port: the call", || host.apply(&[delete_port(0)])).unwrap();
    clock.time("create port and route right behind", || host.apply(&port)).unwrap();
    clock.time("delete namespace: the call", || host.apply(&[delete_namespace(0)])).unwrap();
    clock.time("delete namespace: port gone, right behind", || until_gone(&mut host, 0));
    many(&mut clock, &mut host, &bridge);
    clock
        .time("delete element", || host.apply(&[Step::DeleteElement(Element::Bridge(bridge.clone()))]))
        .unwrap();
    clock.time("delete bridge: the call", || host.apply(&[Step::DeleteBridge(bridge.clone())])).unwrap();
    clock.time("delete firewall", || host.apply(&[Step::DeleteFirewall])).unwrap();
    clock.time("linger", || host.linger(false));
    clock.time("drop", || drop(host));
    clock.0
}

fn many(clock: &mut Clock, host: &mut Host, bridge: &IfName) {
    host.apply(&[create_namespace(1)]).unwrap();
    clock.time("create port with IPv6", || host.apply(&create_port(bridge, 1, true))).unwrap();
    for number in 2..=8 {
        host.apply(&[create_namespace(number)]).unwrap();
        host.apply(&create_port(bridge, number, false)).unwrap();
    }
    let ports: Vec<Step> = (1..=8).map(delete_port).collect();
    clock.time("delete 8 ports: the call", || host.apply(&ports)).unwrap();
    host.apply(&(1..=8).map(delete_namespace).collect::<Vec<_>>()).unwrap();
}

fn until_gone(host: &mut Host, number: u8) {
    let port = (port_name(number), (name(number), "eth0".parse().unwrap()));
    let scope = Scope { ports: [port].into(), ..Scope::default() };
    while !host.observe(&scope).unwrap().ports.is_empty() {}
}

fn name(number: u8) -> Name {
    format!("box{number}").parse().unwrap()
}

fn port_name(number: u8) -> IfName {
    format!("veth{number}").parse().unwrap()
}

fn create_bridge(name: &IfName) -> Step {
    let mac = "02:42:0a:00:00:01".parse().unwrap();
    let addresses = ["10.0.0.1/24".parse().unwrap()].into();
    Step::CreateBridge(name.clone(), Bridge { mac, mtu: 1500, addresses, switch: false, stp: false })
}

fn create_namespace(number: u8) -> Step {
    Step::CreateNamespace(name(number), Namespace::New)
}

fn delete_namespace(number: u8) -> Step {
    Step::DeleteNamespace(name(number))
}

fn delete_port(number: u8) -> Step {
    Step::DeletePort(port_name(number))
}

fn create_port(bridge: &IfName, number: u8, ipv6: bool) -> [Step; 2] {
    let (namespace, ifname): (_, IfName) = (name(number), "eth0".parse().unwrap());
    let address = format!("10.0.0.{}", number + 2);
    let mac = Mac::for_ip(address.parse().unwrap());
    let v6 = ipv6.then(|| "fd00::2/64".parse().unwrap());
    let addresses = [format!("{address}/24").parse().unwrap()].into_iter().chain(v6).collect();
    let peer =
        Some(Peer { namespace: namespace.clone(), ifname: ifname.clone(), mac, addresses, announce: false });
    let port = Port { bridge: bridge.clone(), mtu: 1500, isolated: false, hairpin: false, peer };
    let route = Route { namespace, via: "10.0.0.1".parse().unwrap(), ifname };
    [Step::CreatePort(port_name(number), port), Step::AddRoute(route)]
}
