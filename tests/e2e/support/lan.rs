//! A LAN that the host is on with a network card: a switch, a router with a machine behind it, and a neighbour.
//!
//! | machine | device | address |
//! |---|---|---|
//! | the host | eth1 | 192.168.0.5/24, 2001:db8::5/64 |
//! | router | lan0 | 192.168.0.254/24, 2001:db8::fe/64 |
//! | neighbour | lan0 | 192.168.0.9/24, 2001:db8::9/64 |
//! | outside, behind the router | wan0 | 198.51.100.9/24 |

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use linkspan_lab::{Net, sh, wire};

/// The LAN, with the host on it.
pub struct Lan {
    pub switch: Net,
    pub router: Net,
    pub neighbour: Net,
    pub outside: Net,
}

impl Lan {
    /// The host's card has addresses and default routes of both families.
    pub fn new() -> Self {
        let lan = Self {
            switch: Net::new("switch"),
            router: Net::new("router"),
            neighbour: Net::new("neighbour"),
            outside: Net::new("outside"),
        };
        lan.switch.sh("ip link add sw type bridge mcast_snooping 0 && ip link set sw up");
        lan.plug(&Net::here(), "eth1", &["192.168.0.5/24", "2001:db8::5/64"]);
        lan.plug(&lan.router, "lan0", &["192.168.0.254/24", "2001:db8::fe/64"]);
        lan.plug(&lan.neighbour, "lan0", &["192.168.0.9/24", "2001:db8::9/64"]);
        wire((&lan.router, "wan0", "198.51.100.1/24"), (&lan.outside, "wan0", "198.51.100.9/24"));
        lan.router.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        lan.outside.sh("ip route add default via 198.51.100.1");
        sh("ip route add default via 192.168.0.254 && ip -6 route add default via 2001:db8::fe dev eth1");
        lan.neighbour.sh("ip route add default via 192.168.0.254");
        // New devices lose what is sent before the kernel has seen their carrier.
        for machine in ["192.168.0.5", "192.168.0.9"] {
            lan.outside
                .sh(&format!("for i in $(seq 20); do ping -n -c 1 -W 1 {machine} && exit; done; exit 1"));
        }
        lan
    }

    /// Plugs a machine into the switch by a new card with these addresses.
    pub fn plug(&self, machine: &Net, card: &str, addresses: &[&str]) {
        let port = format!("to-{}", machine.name());
        self.switch.sh(&format!("ip link add {port} type veth peer name new0"));
        // By way of this process: the host's namespace has no name.
        let pid = std::process::id();
        match machine.name() {
            "here" => self.switch.sh(&format!("ip link set new0 netns {pid} name {card}")),
            name => self.switch.sh(&format!("ip link set new0 netns {name} name {card}")),
        };
        self.switch.sh(&format!("ip link set {port} master sw up"));
        // A search for duplicates of IPv6 addresses takes its time; the host's card has it as cards do.
        if machine.name() != "here" {
            machine.sh(&format!("echo 0 > /proc/sys/net/ipv6/conf/{card}/accept_dad"));
        }
        machine.sh(&format!("ip link set {card} up"));
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            machine.sh(&format!("ip addr add {address} dev {card} {nodad}"));
        }
        // A link-local address of IPv6 comes by itself, some time later.
        machine.sh(&format!("for i in $(seq 300); do ip -6 addr show dev {card} scope link | grep -v tentative | grep -q inet6 && exit; sleep 0.01; done; exit 1"));
    }
}

/// A router that tells hosts of a prefix and of itself, twice a second and whenever it is asked (RFC 4861).
const ROUTER: &str = r#"
import select, socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
i = socket.if_nametoindex("lan0")
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, i)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::2") + struct.pack("@I", i))
prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:1::")
advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
advertisement += struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 86400, 14400, 0) + prefix
while True:
    s.sendto(advertisement, ("ff02::1", 0, 0, i))
    while select.select([s], [], [], 0.5)[0] and s.recv(200)[0] != 133:
        pass
"#;

/// A program that runs in the background until this is dropped.
pub struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Lan {
    /// The router tells the LAN of the prefix 2001:db8:1::/64 and of itself.
    #[allow(clippy::disallowed_methods, reason = "a machine of the LAN")]
    pub fn advertise(&self) -> Background {
        // One that does not forward says itself that it is no router.
        self.router.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        self.router.sh("ip -6 addr add 2001:db8:1::fe/64 dev lan0 nodad");
        let mut python = Command::new("python3");
        self.router.enter(|| Background(python.args(["-c", ROUTER]).spawn().expect("run python3")))
    }
}

/// What the host has by way of `device`, as the system's tools print it; what counts down is left out.
pub fn ways(device: &str) -> String {
    let seconds = "sed -E 's/[0-9]+sec/Nsec/g'";
    let neighbours = format!("ip neigh show nud permanent dev {device}");
    let commands = [
        format!("ip addr show dev {device} | tail -n +3 | {seconds}"),
        format!("ip -4 route show table all | grep -w {device}"),
        format!("ip -6 route show table all | grep -w {device} | {seconds}"),
        neighbours,
        "ip rule; ip -6 rule".to_owned(),
    ];
    commands.iter().map(|command| sh(&format!("{command} || true"))).collect()
}

/// A TCP session from here to a server, in which a byte goes there and comes back every few milliseconds.
pub struct Session {
    thread: JoinHandle<Duration>,
    stop: TcpStream,
}

impl Session {
    /// Begins one with `server`, which listens at `address`.
    pub fn begin(server: &Net, address: &str) -> Self {
        let listener = server.enter(|| TcpListener::bind(address)).expect("listen");
        thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let mut byte = [0];
            while client.read_exact(&mut byte).is_ok() && client.write_all(&byte).is_ok() {}
        });
        let mut stream = TcpStream::connect(address).expect("a session");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
        let stop = stream.try_clone().expect("another descriptor");
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            let mut byte = [7];
            loop {
                let begin = Instant::now();
                if stream.write_all(&byte).is_err() || stream.read_exact(&mut byte).is_err() {
                    return longest;
                }
                longest = longest.max(begin.elapsed());
                sleep(Duration::from_millis(2));
            }
        });
        Self { thread, stop }
    }

    /// That it lives; the longest that a byte took there and back.
    #[track_caller]
    pub fn end(self) -> Duration {
        assert!(!self.thread.is_finished(), "the TCP session broke off");
        self.stop.shutdown(std::net::Shutdown::Both).expect("the session lives");
        self.thread.join().expect("its thread")
    }
}
