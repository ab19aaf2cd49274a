//! The examples, as a new user runs them: their checks hold, what they show is seen from outside too, and nothing is
//! left of them.

use std::path::Path;

use crate::support::*;

/// Applies an example, looks at it, and deletes it.
fn example(name: &str, look: impl FnOnce()) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.toml"));
    let file = file.display();
    // What is made once for a host: sysctls, and directories.
    linkspan("sandbox create warm");
    linkspan("sandbox rm warm");
    linkspan("network prune");
    let host = Snapshot::take();
    let bridges = || sh("bridge link; bridge vlan; bridge fdb show | grep -v lan0 | sort");
    let before = bridges();
    linkspan(&format!("plan -f {file}"));
    host.is_unchanged();
    let told = linkspan(&format!("apply -f {file}"));
    assert!(told.contains("RESULT") && !told.contains("FAILED"), "{told}");
    println!("{told}");
    assert_eq!(linkspan(&format!("plan -f {file}")), "no difference\n");
    let again = linkspan(&format!("apply -f {file}"));
    assert!(again.starts_with("nothing to change\n") && !again.contains("FAILED"), "{again}");
    look();
    linkspan(&format!("delete -f {file}"));
    host.is_unchanged();
    assert_eq!(bridges(), before);
    assert_eq!(linkspan(&format!("delete -f {file}")), "nothing to remove\n");
    assert!(!run_tool("pidof -x python3").0, "a program is left");
}

/// The first line of what a page server answers.
fn page(from: &Net, address: &str) -> String {
    let host = address.replace(':', "/");
    from.sh(&format!(
        "bash -c 'exec 3<>/dev/tcp/{host}; echo -e \"GET / HTTP/1.0\\r\\n\\r\" >&3; head -1 <&3'"
    ))
}

#[test]
fn nat_with_a_published_port() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        example("nat-publish", || {
            assert!(page(&world.outside, "192.0.2.1/8080").contains("200 OK"));
            // Of its own accord a sandbox goes out under the host's address; nobody comes in but by the port.
            assert_eq!(source(&Net::pinned("pc"), Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
            world.outside.gets_nothing_from(&["10.7.0.80:80", "192.0.2.1:80"]);
        });
    });
}

#[test]
fn sandboxes_on_the_lan_of_the_host() {
    run(here!(), || {
        let lan = Lan::new();
        serve(&lan.outside, &[80]);
        example("l2-flat", || {
            // A machine of the LAN and one behind its router see the sandbox's own address, and it sees theirs.
            assert!(page(&lan.neighbour, "192.168.0.64/80").contains("200 OK"));
            assert!(page(&lan.outside, "192.168.0.64/80").contains("200 OK"));
            assert_eq!(source(&Net::pinned("web"), Protocol::Tcp, "198.51.100.9:80"), "192.168.0.64");
            lan.neighbour.pings("192.168.0.5");
        });
        lan.neighbour.pings("192.168.0.5");
    });
}

#[test]
fn the_lan_of_a_company() {
    run(here!(), || {
        let world = World::new();
        serve(&world.outside, &[80]);
        example("company-lan", || {
            assert_eq!(source(&Net::pinned("pc1"), Protocol::Tcp, "192.0.2.9:80"), "192.0.2.1");
            world.outside.gets_nothing_from(&["192.168.10.20:80"]);
            // The access bridges have no address: the LAN has one router.
            assert_eq!(sh("ip -o -4 address | grep -c 192.168.10.").trim(), "1");
        });
    });
}

#[test]
fn bridges_of_bridges() {
    run(here!(), || {
        World::new();
        example("two-tier", || {
            // Frames cross from bridge to bridge: the other end is a neighbour by its own MAC.
            let seen = Net::pinned("c1").sh("ip neigh show 10.20.2.1");
            let b1 = &json("sandbox inspect b1")[0]["NetworkSettings"]["Networks"]["acc2"];
            assert!(seen.contains(b1["MacAddress"].as_str().unwrap()), "{seen} is not {b1}");
        });
    });
}
