//! Containers of the reference plugins, taken over while they are at work.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use linkspan_lab::{Attachment, Net, Runtime, sh};
use serde_json::{Value, json};

use super::calling::{LINKS, install};
use super::chain::{REFERENCE, usual};
use crate::support::{RUN, Reach, STATE, Snapshot, World, has, here, linkspan, run, serve};

const CACHE: &str = "/run/cni/results";

/// What libcni writes down of an attachment.
fn remember(list: &Value, attachment: &Attachment, result: &Value) {
    fs::create_dir_all(CACHE).unwrap();
    let Attachment { container, ifname, netns, capabilities, .. } = attachment;
    fs::write("/run/cni/list", list.to_string()).unwrap();
    let config = sh("base64 -w0 /run/cni/list");
    let name = list["name"].as_str().unwrap();
    let cached = json!({
        "kind": "cniCacheV1",
        "containerId": container,
        "config": config.trim(),
        "ifName": ifname,
        "networkName": name,
        "netns": netns,
        "capabilityArgs": capabilities,
        "result": result,
    });
    fs::write(format!("{CACHE}/{name}-{container}-{ifname}"), cached.to_string()).unwrap();
}

fn migrate(flags: &str) -> Vec<Value> {
    let said = linkspan(&format!("--format json cni migrate --cache {CACHE} {flags}"));
    serde_json::from_str::<Value>(&said).unwrap().as_array().unwrap().clone()
}

/// A connection that both ends have open.
struct Open(TcpStream, TcpStream);

impl Open {
    fn new(from: &Net, address: &str, server: &Net, port: u16) -> Self {
        let listener = server.enter(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
        let caller = from.enter(|| TcpStream::connect(address).unwrap());
        let (called, _) = listener.accept().unwrap();
        for end in [&caller, &called] {
            end.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        Self(caller, called)
    }

    fn works(&mut self) {
        let Self(caller, called) = self;
        let mut heard = [0; 4];
        caller.write_all(b"ping").unwrap();
        called.read_exact(&mut heard).unwrap();
        called.write_all(b"pong").unwrap();
        caller.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
    }
}

/// The usual chain by the plugins in `directory`.
fn runtime(directory: &str) -> Runtime {
    Runtime::new([directory], usual("1.0.0")).env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN)
}

#[test]
fn a_container_of_the_reference_chain_is_taken_over_without_a_break() {
    run(here!(), || {
        if !has(&format!("{REFERENCE}/bridge")) || !has("iptables") {
            return;
        }
        let world = World::new();
        let theirs = runtime(REFERENCE);
        let (web, _other) = (Net::new("web"), Net::new("other"));
        let eth0 = Attachment::of("web").port(8080, 80);
        // What the plugins make for all containers stays with them: bridge and chains.
        let first = Attachment::of("other").port(8081, 81);
        theirs.add(&first).unwrap();
        theirs.del(&first).unwrap();
        let before = sh("iptables-save | grep -v '^[#:]'; ls /run/netns");

        let result = theirs.add(&eth0).unwrap();
        remember(&usual("1.0.0"), &eth0, &result);
        let mut open = Open::new(&world.outside, "192.0.2.1:8080", &web, 80);
        open.works();
        let gone = Attachment { netns: "/run/netns/gone".to_owned(), ..Attachment::of("gone") };
        remember(&usual("1.0.0"), &gone, &result);

        let snapshot = Snapshot::take();
        let would = migrate("--dry-run");
        assert_eq!((&would[0]["fate"], &would[1]["fate"]), (&json!("left"), &json!("taken")), "{would:#?}");
        snapshot.is_unchanged();

        let pinging = thread::scope(|scope| {
            let ping = scope.spawn(|| web.sh("ping -n -i 0.05 -c 60 -W 2 192.0.2.9"));
            thread::sleep(Duration::from_millis(300));
            let done = migrate("");
            assert!(done[0]["notes"][0].as_str().unwrap().contains("namespace is gone"), "{done:#?}");
            assert_eq!(done[1]["fate"], "taken", "{done:#?}");
            assert!(!done[1]["notes"].to_string().contains("not as"), "{done:#?}");
            assert!(done[1]["rules"].as_u64().unwrap() > 0, "{done:#?}");
            open.works();
            ping.join().unwrap()
        });
        assert!(pinging.contains(" 0% packet loss"), "{pinging}");
        open.works();
        assert_eq!(migrate("")[1]["fate"], "known");
        assert!(linkspan("sandbox ls").contains("web"));
        assert!(linkspan("network inspect pods").contains("10.22.0."));

        drop(open);
        serve(&web, &[80]);
        world.outside.reaches("192.0.2.1:8080");
        web.pings("192.0.2.9");
        install();
        let ours = runtime(LINKS);
        ours.recall(&eth0, result);
        ours.check(&eth0).unwrap();
        ours.del(&eth0).unwrap();
        world.outside.gets_nothing_from(&["192.0.2.1:8080"]);
        assert_eq!(web.sh("ip -br link").lines().count(), 1);
        assert!(!linkspan("sandbox ls").contains("web"));
        assert_eq!(sh("iptables-save | grep -v '^[#:]'; ls /run/netns"), before);
        assert!(!sh("ls /run/cni/networks/pods").contains("10.22."));
    });
}
