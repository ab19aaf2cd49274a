//! A network's bridge plugged into a bridge of Open vSwitch.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::*;

/// Open vSwitch with the bridge br-eth1, a machine there at 10.7.0.200, and the network lab plugged into it.
fn lab() -> Option<(OpenVSwitch, Net)> {
    let switch = OpenVSwitch::start()?;
    let machine = switch.bridge("br-eth1").machine("br-eth1", "phys", "10.7.0.200/24");
    serve(&machine, &[80]);
    linkspan("network create --subnet 10.7.0.0/24 -o linkspan.uplink=ovs:br-eth1 lab");
    Some((switch, machine))
}

fn sandbox(name: &str, flags: &str) -> Net {
    linkspan(&format!("sandbox create {flags} {name}"));
    let net = Net::pinned(name);
    serve(&net, &[80]);
    net
}

/// Sends more than any segment holds.
fn transfer(from: &Net, to: &Net, address: &str) {
    const LENGTH: usize = 1 << 20;
    let listener = to.enter(|| TcpListener::bind(address).unwrap());
    let patience = Some(Duration::from_secs(5));
    let mut sender =
        from.enter(|| TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(5)).unwrap());
    sender.set_write_timeout(patience).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(patience).unwrap();
    let thread = std::thread::spawn(move || sender.write_all(&vec![7; LENGTH]).unwrap());
    let mut received = vec![0; LENGTH];
    receiver.read_exact(&mut received).unwrap();
    thread.join().unwrap();
}

/// The machine reaches the sandbox again within the time that daemons may take to come up, and to forget the flows of
/// before.
fn comes_back(machine: &Net, address: &str) {
    let start = Instant::now();
    while machine.ask_tcp(address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "{address} stays away");
    }
}

#[test]
fn sandboxes_and_machines_behind_open_vswitch_share_a_segment() {
    run(here!(), || share_a_segment(Datapath::Netdev));
}

#[test]
fn vm_the_same_where_the_kernel_moves_the_packets() {
    run(here!(), || share_a_segment(Datapath::System));
}

#[test]
fn who_knew_another_machine_at_an_address_finds_a_sandbox_there() {
    run(here!(), || {
        let Some((switch, machine)) = lab() else { return };
        let old = switch.machine("br-eth1", "old", "10.7.0.50/24");
        machine.pings("10.7.0.50");
        old.sh("ip address flush dev eth0");
        sandbox("new", "--net lab --ip 10.7.0.50");
        machine.reaches("10.7.0.50:80");
    });
}

fn share_a_segment(datapath: Datapath) {
    let Some(switch) = OpenVSwitch::with(datapath) else { return };
    let machine = switch.bridge("br-eth1").machine("br-eth1", "phys", "10.7.0.200/24");
    serve(&machine, &[80]);
    let (before, shown) = (Snapshot::take(), switch.show());
    linkspan("network create --subnet 10.7.0.0/24 -o linkspan.uplink=ovs:br-eth1 lab");
    let web = sandbox("web", "--net lab -p 8080:80");
    serve(&Net::here(), &[90]);
    // Each is seen under its own address: there is no router in between.
    assert_eq!(source(&web, Protocol::Tcp, "10.7.0.200:80"), "10.7.0.2");
    assert_eq!(source(&web, Protocol::Udp, "10.7.0.200:80"), "10.7.0.2");
    assert_eq!(source(&machine, Protocol::Tcp, "10.7.0.2:80"), "10.7.0.200");
    machine.reaches("10.7.0.1:90");
    Net::here().reaches("10.7.0.200:80");
    transfer(&web, &machine, "10.7.0.200:7000");
    transfer(&machine, &web, "10.7.0.2:7000");
    if datapath == Datapath::System {
        // What the kernel moves may stay as it is until it leaves the machine.
        assert!(
            sh("ethtool -k $(ip -o link | grep -o 'lsu[0-9a-f]*' | head -1)").contains("tx-checksumming: on")
        );
    }
    // The port is marked as ours.
    let id = json("network inspect lab")[0]["Id"].as_str().unwrap().to_owned();
    assert!(sh(&format!("ovs-vsctl find port external_ids:linkspan-network={id}")).contains("lsd"));
    linkspan("sandbox rm web");
    linkspan("network rm lab");
    before.is_unchanged();
    assert_eq!(switch.show(), shown);
}

#[test]
fn two_networks_in_one_open_vswitch_are_one_segment() {
    run(here!(), || {
        let Some((_switch, machine)) = lab() else { return };
        linkspan("network create --subnet 10.8.0.0/24 -o linkspan.uplink=ovs:br-eth1 other");
        let (web, peer) = (sandbox("web", "--net lab"), sandbox("peer", "--net other"));
        peer.sh("ip address add 10.7.0.77/24 dev eth0");
        serve(&Net::here(), &[90]);
        for _ in 0..3 {
            assert_eq!(source(&web, Protocol::Tcp, "10.7.0.77:80"), "10.7.0.2");
            peer.reaches("10.7.0.2:80");
            // Each bridge answers for its own address only, so nobody's gateway is at the other one.
            web.sh("ip neighbour flush dev eth0");
            web.reaches("10.7.0.1:90");
            machine.sh("ip neighbour flush dev eth0");
            machine.reaches("10.7.0.1:90");
        }
        let gateway =
            sh("cat /sys/class/net/$(ip -o -4 address show to 10.7.0.1 | awk '{ print $2 }')/address");
        assert!(web.sh("ip neighbour show 10.7.0.1").contains(gateway.trim()));
    });
}

#[test]
fn a_network_outlives_open_vswitch() {
    run(here!(), || {
        let Some((switch, machine)) = lab() else { return };
        let web = sandbox("web", "--net lab");
        machine.reaches("10.7.0.2:80");
        switch.stop_daemon();
        machine.gets_nothing_from(&["10.7.0.2:80"]);
        switch.start_daemon();
        comes_back(&machine, "10.7.0.2:80");

        switch.stop_database();
        // The userspace datapath stands still without it. Sandboxes come and go, and reach each other.
        let late = sandbox("late", "--net lab");
        late.reaches("10.7.0.2:80");
        assert_eq!(linkspan("repair"), "");
        switch.start_database();
        comes_back(&machine, "10.7.0.2:80");

        // Both at once, as with a restart of the service.
        switch.stop_daemon();
        switch.stop_database();
        switch.start_database();
        switch.start_daemon();
        comes_back(&machine, "10.7.0.3:80");
        web.reaches("10.7.0.200:80");
        assert_eq!(linkspan("repair"), "");
    });
}

#[test]
fn a_port_taken_away_by_hand_comes_back() {
    run(here!(), || {
        let Some((switch, machine)) = lab() else { return };
        sandbox("web", "--net lab");
        let shown = switch.show();
        let port = sh("ovs-vsctl list-ports br-eth1 | grep ^lsd").trim().to_owned();
        sh(&format!("ovs-vsctl -t 10 del-port {port}"));
        machine.gets_nothing_from(&["10.7.0.2:80"]);
        assert!(linkspan("repair --dry-run").contains("ovs:br-eth1"));
        linkspan("repair");
        comes_back(&machine, "10.7.0.2:80");
        assert_eq!(switch.show().lines().count(), shown.lines().count());
        // What somebody sets on it is theirs.
        sh(&format!("ovs-vsctl -t 10 set port {port} tag=7"));
        assert_eq!(linkspan("repair"), "");

        // The device went and the port stayed, as after a boot.
        sh(&format!("ovs-vsctl -t 10 clear port {port} tag; ip link del {port}"));
        linkspan("repair");
        comes_back(&machine, "10.7.0.2:80");
        assert_eq!(linkspan("repair"), "");
    });
}

#[test]
fn a_port_comes_back_where_open_vswitch_sees_late_that_its_device_went() {
    run(here!(), || {
        let Some((switch, machine)) = lab() else { return };
        sandbox("web", "--net lab");
        machine.reaches("10.7.0.2:80");
        let port = sh("ovs-vsctl list-ports br-eth1 | grep ^lsd").trim().to_owned();
        let mut repair = switch.busy(|| {
            sh(&format!("ip link del {port}"));
            let repair = program("repair").spawn().unwrap();
            std::thread::sleep(Duration::from_secs(1));
            repair
        });
        assert!(repair.wait().unwrap().success());
        comes_back(&machine, "10.7.0.2:80");
    });
}

#[test]
fn a_process_killed_half_way_leaves_neither_port_nor_pair() {
    run(here!(), || {
        let Some(switch) = OpenVSwitch::start() else { return };
        switch.bridge("br-eth1");
        linkspan("network create --subnet 10.8.0.0/24 other");
        let (before, shown) = (Snapshot::take(), switch.show());
        // Without the daemon the port is in the database, and the command waits.
        switch.stop_daemon();
        let line = "network create --subnet 10.7.0.0/24 -o linkspan.uplink=ovs:br-eth1 lab";
        let mut command = program(line).spawn().unwrap();
        while !sh("ovs-vsctl --no-wait show").contains("lsd") {
            std::thread::sleep(Duration::from_millis(10));
        }
        command.kill().unwrap();
        command.wait().unwrap();
        assert!(linkspan("repair").contains("interrupted"));
        before.is_unchanged();
        assert_eq!(switch.show(), shown);
    });
}

#[test]
fn a_network_goes_while_open_vswitch_is_stopped() {
    run(here!(), || {
        let Some(switch) = OpenVSwitch::start() else { return };
        switch.bridge("br-eth1");
        let before = Snapshot::take();
        let shown = switch.show();
        linkspan("network create --subnet 10.7.0.0/24 -o linkspan.uplink=ovs:br-eth1 lab");
        switch.stop_database();
        let output = run_program("network rm lab");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        let (_, command) = told.split_once('`').unwrap();
        let (command, _) = command.split_once('`').unwrap();
        assert!(command.starts_with("ovs-vsctl --if-exists del-port br-eth1 lsd"), "{told}");
        before.is_unchanged();
        switch.start_database();
        sh(command);
        assert_eq!(switch.show(), shown);
    });
}

#[test]
fn what_cannot_be_plugged_in_is_refused_and_leaves_nothing() {
    run(here!(), || {
        let create = "network create --subnet 10.7.0.0/24 -o linkspan.uplink=ovs:br-eth1 lab";
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        let before = Snapshot::take();
        refused(create)
            .says(&["Open vSwitch does not run", "/var/run/openvswitch/db.sock"])
            .hints("OVS_RUNDIR");
        before.is_unchanged();
        let Some(switch) = OpenVSwitch::start() else { return };
        switch.bridge("br-other");
        let (before, shown) = (Snapshot::take(), switch.show());
        refused(create).says(&["no bridge br-eth1"]).hints("ovs-vsctl add-br br-eth1");
        // The database has the bridge, but nobody makes it.
        switch.stop_daemon();
        refused(&create.replace("br-eth1", "br-other")).says(&["ovs-vswitchd"]);
        before.is_unchanged();
        assert_eq!(switch.show(), shown);
        switch.start_daemon();
        linkspan(&create.replace("br-eth1", "br-other"));
        linkspan("network rm lab");
        assert_eq!(switch.show(), shown);
        assert_eq!(linkspan("repair"), "");
    });
}

#[test]
fn a_bridge_that_its_daemon_cannot_make_is_refused() {
    run(here!(), || {
        let Some(switch) = OpenVSwitch::start() else { return };
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward; mount --bind /dev/null /dev/net/tun");
        sh("ovs-vsctl --no-wait add-br br0 -- set bridge br0 datapath_type=netdev");
        let (before, shown) = (Snapshot::take(), switch.show());
        refused("network create --subnet 10.7.0.0/24 -o linkspan.uplink=ovs:br0 lab")
            .says(&["cannot create patch", "ovs-vswitchd cannot make a port"])
            .hints("log");
        before.is_unchanged();
        assert_eq!(switch.show(), shown);
    });
}
