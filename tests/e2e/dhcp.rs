//! Leases for Podman's containers, from dnsmasq: the proxy as netavark calls it.
#![allow(clippy::disallowed_methods, reason = "a service manager executes the proxy")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use linkspan_dhcp::{Leased, Wanted, setup, teardown};
use serde_json::Value;

use crate::support::{BINARY, Dnsmasq, Net, here, run, sh, until};

const DIR: &str = "/run/podman";
const SOCKET: &str = "/run/podman/nv-proxy.sock";
const FILE: &str = "/run/podman/nv-proxy.lease";

/// The proxy as its users start it.
pub struct Proxy(Child);

impl Proxy {
    pub fn start(more: &str) -> Self {
        sh(&format!("mkdir -p /run/bin && ln -sf {BINARY} /run/bin/netavark"));
        let mut command = Command::new("/run/bin/netavark");
        command.args(["dhcp-proxy", "--dir", DIR]).args(more.split_whitespace());
        let proxy = Self(command.spawn().expect("start the proxy"));
        until("the proxy listens", || std::os::unix::net::UnixStream::connect(SOCKET).is_ok());
        proxy
    }

    /// Ends it without letting it know.
    fn kill(mut self) {
        self.0.kill().expect("kill the proxy");
        self.0.wait().expect("wait for the proxy");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn wanted(name: &str, mac: &str) -> Wanted {
    Wanted {
        host_interface: "br0".to_owned(),
        interface: "eth0".to_owned(),
        mac: mac.to_owned(),
        netns: format!("/run/netns/{name}"),
        host_name: format!("host-{name}"),
        container: format!("id-{name}"),
    }
}

fn lease(name: &str, mac: &str) -> Leased {
    setup(Path::new(SOCKET), &wanted(name, mac)).unwrap_or_else(|error| panic!("{error}"))
}

/// The file of leases.
fn file() -> Value {
    serde_json::from_slice(&fs::read(FILE).unwrap()).unwrap()
}

fn addresses(net: &Net) -> String {
    net.sh("ip -4 -o address show eth0; ip route")
}

#[test]
fn a_container_has_a_lease_until_it_goes() {
    run(here!(), || {
        let Some(mut server) = Dnsmasq::start() else { return };
        let _proxy = Proxy::start("");
        let (net, mac) = server.container("c1");
        let leased = lease("c1", &mac);
        assert!(leased.address.to_string().starts_with("10.77.0.5"), "{leased:?}");
        assert_eq!(leased.gateway, Some("10.77.0.1".parse().unwrap()));
        assert_eq!((leased.dns.len(), leased.domain.as_deref()), (1, Some("example.org")));
        let address = leased.address.addr();
        assert!(
            addresses(&net).contains(&format!("inet {}/24 brd 10.77.0.255", address)),
            "{}",
            addresses(&net)
        );
        assert!(
            addresses(&net).contains("default via 10.77.0.1 dev eth0 proto static metric 100"),
            "{}",
            addresses(&net)
        );
        net.sh("ping -c 1 -W 2 10.77.0.1");
        // Servers know it by its identity and its host name.
        let id: Vec<String> = b"\0id-c1".iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(server.leased(), [format!("{address} host-c1 {}", id.join(":"))]);
        assert_eq!(file()[&mac][0]["yiaddr"], address.to_string());
        // Another one beside it.
        let (other, other_mac) = server.container("c2");
        assert_ne!(lease("c2", &other_mac).address, leased.address);
        teardown(Path::new(SOCKET), &wanted("c1", &mac)).unwrap();
        until("the lease is given back", || server.leased().len() == 1);
        assert_eq!((file().get(&mac), file().as_object().map(|all| all.len())), (None, Some(1)));
        // Once more is no error.
        teardown(Path::new(SOCKET), &wanted("c1", &mac)).unwrap();
        // A namespace is not kept alive by its lease, also while nobody answers.
        server.stop();
        std::thread::sleep(Duration::from_secs(4));
        drop(other);
        sh("ip netns delete c2");
        until("the device is gone", || !server.net.succeeds("ip link show c2"));
        until("the lease is let go", || file().as_object().is_some_and(|all| all.is_empty()));
    });
}

#[test]
fn a_lease_is_renewed_and_rebound_when_its_server_has_moved() {
    run(here!(), || {
        let Some(server) = Dnsmasq::start() else { return };
        let _proxy = Proxy::start("");
        let (net, mac) = server.container("c1");
        let leased = lease("c1", &mac);
        until("it is renewed", || server.said("DHCPACK") >= 3);
        assert!(addresses(&net).contains(&leased.address.to_string()));
        // What is sent to its old MAC is lost from now on; a broadcast is not.
        server.net.sh("ip link set br0 address 02:00:00:00:77:01");
        let acks = server.said("DHCPACK");
        until("it is rebound", || server.said("DHCPACK") > acks);
        until("it is renewed with the new one", || server.said("DHCPACK") > acks + 2);
        assert_eq!(server.said("DHCPDISCOVER"), 1, "the lease was never given up");
        assert!(addresses(&net).contains(&leased.address.to_string()));
    });
}

#[test]
fn an_address_that_the_server_takes_away_is_exchanged() {
    run(here!(), || {
        let Some(mut server) = Dnsmasq::start() else { return };
        let _proxy = Proxy::start("");
        let (net, mac) = server.container("c1");
        let leased = lease("c1", &mac);
        server.forget();
        server.serve(
            "10.77.0.70,10.77.0.79",
            "--dhcp-option=3,10.77.0.2 --dhcp-option=121,0.0.0.0/0,10.77.0.3,10.9.0.0/16,0.0.0.0",
        );
        until("another address is there", || addresses(&net).contains("inet 10.77.0.7"));
        let now = addresses(&net);
        assert!(!now.contains(&leased.address.to_string()), "{now}");
        // Classless routes go before routers.
        assert!(
            now.contains("default via 10.77.0.3 dev eth0") && now.contains("10.9.0.0/16 dev eth0"),
            "{now}"
        );
        assert_eq!(now.matches("default").count(), 1, "{now}");
        until("the file has it", || file()[&mac][0]["yiaddr"].as_str().unwrap().starts_with("10.77.0.7"));
        assert_eq!(file()[&mac][0]["gateways"][0], "10.77.0.3");
    });
}

#[test]
fn a_lease_that_cannot_be_kept_is_given_back_at_once() {
    run(here!(), || {
        let Some(mut server) = Dnsmasq::start() else { return };
        let _proxy = Proxy::start("");
        let (net, mac) = server.container("c1");
        lease("c1", &mac);
        // The kernel takes no route by way of a multicast address.
        server.serve("10.77.0.50,10.77.0.59", "--dhcp-option=121,10.9.0.0/16,224.0.0.9");
        until("it is refused", || !addresses(&net).contains("default"));
        let start = Instant::now();
        teardown(Path::new(SOCKET), &wanted("c1", &mac)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        until("the lease is given back", || server.leased().is_empty());
    });
}

#[test]
fn a_proxy_takes_up_the_leases_of_one_that_was_killed() {
    run(here!(), || {
        let Some(server) = Dnsmasq::start() else { return };
        let proxy = Proxy::start("");
        let (net, mac) = server.container("c1");
        let (_gone, gone_mac) = server.container("c2");
        let leased = lease("c1", &mac);
        lease("c2", &gone_mac);
        proxy.kill();
        sh("ip netns delete c2");
        drop(_gone);
        let acks = server.said("DHCPACK");
        let _proxy = Proxy::start("");
        until("the other lease is let go", || file().as_object().is_some_and(|all| all.len() == 1));
        until("it asks for its address again", || server.said("DHCPACK") > acks);
        until("it is renewed", || server.said("DHCPACK") > acks + 1);
        assert!(addresses(&net).contains(&leased.address.to_string()));
        teardown(Path::new(SOCKET), &wanted("c1", &mac)).unwrap();
        until("the lease is given back", || {
            !server.leased().iter().any(|line| line.starts_with(&leased.address.addr().to_string()))
        });
    });
}

#[test]
fn what_does_not_work_is_told_in_the_words_that_users_know() {
    run(here!(), || {
        let Some(mut server) = Dnsmasq::start() else { return };
        let (_net, mac) = server.container("c1");
        let refused = |wanted: &Wanted| setup(Path::new(SOCKET), wanted).unwrap_err().to_string();
        let unheard = refused(&wanted("c1", &mac));
        assert!(
            unheard.starts_with(&format!("unable to obtain lease: socket \"{SOCKET}\": No such file")),
            "{unheard}"
        );
        assert!(unheard.ends_with("is the netavark-dhcp-proxy.socket unit enabled?"), "{unheard}");
        let _proxy = Proxy::start("-t 1");
        let other = Wanted { interface: "eth9".to_owned(), ..wanted("c1", &mac) };
        assert!(refused(&other).contains("No such device"));
        assert!(refused(&wanted("c9", &mac)).contains("c9"));
        assert!(refused(&wanted("c1", "123")).contains("unable to parse mac address 123"));
        server.stop();
        assert!(refused(&wanted("c1", &mac)).contains("no DHCP server has given a lease within 1 seconds"));
        assert_eq!(file().as_object().map(|all| all.len()), Some(0));
    });
}

#[test]
fn a_proxy_that_nobody_needs_ends_and_leaves_the_sockets_of_others() {
    run(here!(), || {
        let mut proxy = Proxy::start("-a 1");
        until("it ends", || proxy.0.try_wait().unwrap().is_some());
        assert!(proxy.0.wait().unwrap().success() && !Path::new(SOCKET).exists());
        let mut proxy = Proxy::start("-a 0");
        sh(&format!("kill -TERM {}", proxy.0.id()));
        until("a signal ends it", || proxy.0.try_wait().unwrap().is_some());
        assert!(proxy.0.wait().unwrap().success() && !Path::new(SOCKET).exists());
        // Somebody else's socket is taken over and left there.
        let python = format!(
            "import os, socket\n\
             s = socket.socket(socket.AF_UNIX); s.bind('{SOCKET}'); s.listen()\n\
             os.dup2(s.fileno(), 3)\n\
             os.set_inheritable(3, True)\n\
             os.execve('/run/bin/netavark', ['netavark', 'dhcp-proxy', '-d', '{DIR}', '-a', '1'], {{'LISTEN_FDS': '1'}})"
        );
        let done = Command::new("python3").args(["-c", &python]).status();
        assert!(done.unwrap().success() && Path::new(SOCKET).exists());
        // And one that nobody listens at is replaced.
        let _proxy = Proxy::start("");
    });
}
