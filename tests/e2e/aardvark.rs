//! The DNS server of Podman's networks as a process: its files, its start and end, and in company with others' programs.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use linkspan_lab::wire;

use crate::support::*;

const DIRECTORY: &str = "/run/podman/aardvark-dns";
const LINKS: &str = "/run/links";

/// A host with two containers' namespaces, each on a network of its own.
fn host() -> [Net; 2] {
    link();
    fs::create_dir_all(DIRECTORY).unwrap();
    let here = Net::here();
    ["10.89.0", "10.89.1"].map(|subnet| {
        let number = &subnet[6..];
        let net = Net::new(&format!("c{number}"));
        let device = format!("net{number}");
        wire((&here, &device, &format!("{subnet}.1/24")), (&net, "eth0", &format!("{subnet}.2/24")));
        net
    })
}

fn link() {
    fs::create_dir_all(LINKS).unwrap();
    for name in ["aardvark-dns", "netavark"] {
        sh(&format!("ln -sf {BINARY} {LINKS}/{name}"));
    }
}

fn write(network: &str, text: &str) {
    fs::write(format!("{DIRECTORY}/{network}"), text).unwrap();
}

fn start() {
    sh(&format!("{LINKS}/aardvark-dns --config {DIRECTORY} -p 53 run"));
}

fn server() -> String {
    fs::read_to_string(format!("{DIRECTORY}/aardvark.pid")).unwrap()
}

/// What a name is, asked from inside at that network's gateway.
fn asked(net: &Net, gateway: &str, name: &str) -> String {
    let line = net.sh(&format!("dig +tries=1 +time=3 +noall +comments +answer {name} @{gateway}"));
    let answer =
        line.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_whitespace().last());
    let status = line.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
    answer.or(status).unwrap_or(&line).to_owned()
}

/// Waits until a name is as it should be: a signal says nothing about when it has an effect.
fn becomes(net: &Net, gateway: &str, name: &str, expected: &str) {
    for _ in 0..100 {
        if asked(net, gateway, name) == expected {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("{name} is {}, not {expected}", asked(net, gateway, name));
}

fn ends(server: &str) {
    for _ in 0..200 {
        if !fs::exists(format!("/proc/{server}")).unwrap() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("process {server} has not ended");
}

#[test]
fn a_server_follows_its_files() {
    run(here!(), || {
        let [first, second] = host();
        write("one", "10.89.0.1\nida 10.89.0.2  web,web1\nidb 10.89.0.9 fd00::9 db\n");
        write("two%int", "10.89.1.1\nidc 10.89.1.2  other\n");
        start();
        let server = server();
        assert_eq!(asked(&first, "10.89.0.1", "db"), "10.89.0.9");
        assert_eq!(asked(&first, "10.89.0.1", "WEB1.dns.podman"), "10.89.0.2");
        assert_eq!(asked(&first, "10.89.0.1", "none.dns.podman"), "NXDOMAIN");
        assert_eq!(asked(&second, "10.89.1.1", "other"), "10.89.1.2");
        assert_eq!(asked(&second, "10.89.1.1", "db"), "NXDOMAIN");
        write("one", "10.89.0.1\nida 10.89.0.2  web,web1\nidd 10.89.0.10  db\n");
        sh(&format!("kill -HUP {server}"));
        becomes(&first, "10.89.0.1", "db", "10.89.0.10");
        fs::remove_file(format!("{DIRECTORY}/two%int")).unwrap();
        sh(&format!("kill -HUP {server}"));
        for _ in 0..100 {
            if !sh("ss -Hlun src 10.89.1.1").contains("10.89.1.1:53") {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        assert!(!sh("ss -Hltun src 10.89.1.1").contains("10.89.1.1:53"));
        assert_eq!(asked(&first, "10.89.0.1", "db"), "10.89.0.10");
        fs::remove_file(format!("{DIRECTORY}/one")).unwrap();
        sh(&format!("kill -HUP {server}"));
        ends(&server);
        assert_eq!(fs::read_dir(DIRECTORY).unwrap().count(), 0, "its number is gone");
    });
}

#[test]
fn who_says_to_be_elsewhere_is_told_nothing() {
    run(here!(), || {
        let [first, second] = host();
        write("one", "10.89.0.1\nida 10.89.0.2  web\n");
        write("two", "10.89.1.1\nidc 10.89.1.2  other\n");
        start();
        // The host has a way to it, so an answer would come back.
        first.sh("ip addr add 192.0.2.7/32 dev eth0; ip addr add 10.89.0.77/24 dev eth0");
        sh("ip route add 192.0.2.7 dev net0");
        let from = |address: &str, how: &str| {
            first.sh(&format!("dig -b {address} +tries=1 +time=1 +short {how} web @10.89.0.1 || true"))
        };
        assert_eq!(from("10.89.0.2", "").trim(), "10.89.0.2");
        assert_eq!(from("10.89.0.77", "").trim(), "10.89.0.2", "nobody known, but on the network");
        for how in ["", "+tcp"] {
            let answer = from("192.0.2.7", how);
            assert!(!answer.contains("10.89.0.2"), "{answer}");
        }
        // A member of one network is known to the other's gateway too.
        second.sh("ip route add default via 10.89.1.1");
        assert_eq!(asked(&second, "10.89.0.1", "other"), "10.89.1.2");
    });
}

#[test]
fn a_server_stands_alone() {
    run(here!(), || {
        host();
        write("one", "10.89.0.1\nida 10.89.0.2  web\n");
        sh(&format!("exec 9>/run/marker; {LINKS}/aardvark-dns --config {DIRECTORY} -p 53 run"));
        let server = server();
        let open = sh(&format!("readlink /proc/{server}/fd/*"));
        assert!(open.contains("/dev/null") && !open.contains("marker") && !open.contains("pipe"), "{open}");
        assert_eq!(sh(&format!("ps -o sid= -p {server}")).trim(), server);
        sh(&format!("kill {server}"));
        ends(&server);
        // What a dead one left is in nobody's way.
        start();
        assert_ne!(self::server(), server);
        sh(&format!("kill -9 {}", self::server()));
        ends(&self::server());
        start();
    });
}

#[test]
fn a_server_that_cannot_listen_says_why_and_leaves_nothing() {
    run(here!(), || {
        host();
        let start = format!("{LINKS}/aardvark-dns --config {DIRECTORY} -p 53 run");
        assert_eq!(run_tool(&start), (false, format!("no network in {DIRECTORY}\n")));
        write("one", "10.89.0.1\nida 10.89.0.2  web\n");
        let here = Net::here();
        here.serve_udp("10.89.0.1:53");
        let (success, text) = run_tool(&start);
        assert!(!success);
        let expected = "failed to bind udp listener on 10.89.0.1:53: Address already in use";
        assert!(text.starts_with(expected), "{text}");
        assert!(!fs::exists(format!("{DIRECTORY}/aardvark.pid")).unwrap());
    });
}

/// A program of the reference, where it is installed.
fn theirs(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let directories =
        std::env::split_paths(&path).chain(["/usr/lib/podman", "/usr/libexec/podman"].map(PathBuf::from));
    let found = directories.map(|directory| directory.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("there is no {name} on this machine"));
    }
    found
}

/// A container's set-up on a network with names, and its end, told to `netavark` as Podman does.
struct Pair {
    netavark: String,
    aardvark: String,
}

impl Pair {
    fn call(&self, verb: &str, container: u8) -> (bool, String) {
        let (id, name) = (format!("{container:064}"), format!("box{container}"));
        let input = format!(
            r#"{{"container_id": "{id}", "container_name": "{name}",
                "networks": {{"net": {{"interface_name": "eth0", "static_ips": ["10.89.7.{container}"], "aliases": ["too{container}"]}}}},
                "network_info": {{"net": {{"name": "net", "id": "{:064}", "driver": "bridge", "network_interface": "podman7",
                    "dns_enabled": true, "internal": false, "ipv6_enabled": false,
                    "ipam_options": {{"driver": "host-local"}},
                    "subnets": [{{"subnet": "10.89.7.0/24", "gateway": "10.89.7.1"}}]}}}}}}"#,
            7
        );
        fs::write("/run/input", input).unwrap();
        run_tool(&format!(
            "{ENVIRONMENT} {} --config /run/podman --rootless=false --aardvark-binary={} --file /run/input \
             {verb} /run/netns/c{container}",
            self.netavark, self.aardvark
        ))
    }

    fn tell(&self, story: impl Fn(&Net, &str)) {
        let nets = [2, 3].map(|container| {
            let net = Net::new(&format!("c{container}"));
            let (success, text) = self.call("setup", container);
            assert!(success, "{text}");
            net
        });
        let server = server();
        story(&nets[0], "too3");
        for (container, _) in [2, 3].into_iter().zip(&nets) {
            let (success, text) = self.call("teardown", container);
            assert!(success, "{text}");
        }
        ends(&server);
        assert!(!fs::exists(format!("{DIRECTORY}/net")).unwrap());
    }
}

fn pair(netavark: Option<PathBuf>, aardvark: Option<PathBuf>) -> Pair {
    link();
    let path = |given: Option<PathBuf>, name| {
        given.map_or_else(|| format!("{LINKS}/{name}"), |path| path.display().to_string())
    };
    Pair { netavark: path(netavark, "netavark"), aardvark: path(aardvark, "aardvark-dns") }
}

#[test]
fn names_are_there_when_a_set_up_returns() {
    run(here!(), || {
        pair(None, None).tell(|net, name| {
            assert_eq!(asked(net, "10.89.7.1", name), "10.89.7.3");
        });
        assert!(!fs::exists(format!("{DIRECTORY}/aardvark.pid")).unwrap());
    });
}

#[test]
fn a_server_that_was_killed_is_replaced() {
    run(here!(), || {
        let pair = pair(None, None);
        let net = Net::new("c2");
        assert!(pair.call("setup", 2).0);
        let killed = server();
        sh(&format!("kill -9 {killed}"));
        ends(&killed);
        let _other = Net::new("c3");
        assert!(pair.call("setup", 3).0);
        assert_ne!(server(), killed);
        assert_eq!(asked(&net, "10.89.7.1", "too3"), "10.89.7.3");
        assert_eq!(asked(&net, "10.89.7.1", "box2"), "10.89.7.2");
        sh(&format!("kill -9 {}", server()));
        assert!(pair.call("teardown", 2).0 && pair.call("teardown", 3).0);
        assert!(!fs::exists(format!("{DIRECTORY}/net")).unwrap());
    });
}

#[test]
fn an_address_that_is_gone_keeps_no_server_from_the_others() {
    run(here!(), || {
        let [first, _] = host();
        write("one", "10.89.0.1\nida 10.89.0.2  web\n");
        write("left", "10.89.9.1\nidb 10.89.9.2  db\n");
        start();
        assert_eq!(asked(&first, "10.89.0.1", "web"), "10.89.0.2");
        fs::remove_file(format!("{DIRECTORY}/left")).unwrap();
        fs::remove_file(format!("{DIRECTORY}/one")).unwrap();
        let server = server();
        sh(&format!("kill -HUP {server}"));
        ends(&server);
    });
}

#[test]
fn a_server_sees_what_was_taken_away_while_it_began() {
    run(here!(), || {
        host();
        write("one", "10.89.0.1\nida 10.89.0.2  web\n");
        // It reads this one after the other, and waits for it to be written.
        sh(&format!(
            "cd {DIRECTORY} && mkfifo two && ( exec 3>two && rm one two && echo 10.89.1.1 >&3 ) & \
             sleep 0.1; {LINKS}/aardvark-dns --config {DIRECTORY} -p 53 run"
        ));
        for _ in 0..200 {
            if fs::read_dir(DIRECTORY).unwrap().count() == 0 {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("the server has not ended");
    });
}

#[test]
fn a_teardown_tells_what_one_that_was_killed_did_not() {
    run(here!(), || {
        let pair = pair(None, None);
        let _net = Net::new("c2");
        assert!(pair.call("setup", 2).0);
        let server = server();
        // So far it had come.
        fs::remove_file(format!("{DIRECTORY}/net")).unwrap();
        assert!(pair.call("teardown", 2).0);
        ends(&server);
    });
}

#[test]
fn anothers_backend_drives_the_server() {
    run(here!(), || {
        let Some(netavark) = theirs("netavark") else { return };
        pair(Some(netavark), None).tell(|net, name| becomes(net, "10.89.7.1", name, "10.89.7.3"));
    });
}

#[test]
fn another_server_is_driven_by_the_backend() {
    run(here!(), || {
        let Some(aardvark) = theirs("aardvark-dns") else { return };
        pair(None, Some(aardvark)).tell(|net, name| becomes(net, "10.89.7.1", name, "10.89.7.3"));
    });
}
