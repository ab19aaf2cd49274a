//! Which host ports sandboxes get.

use std::net::{IpAddr, SocketAddr};

use linkspan_engine::{Error, NetworkRequest, SandboxRequest};
use linkspan_kernel::fake::Listener;
use linkspan_model::Protocol;

use crate::site::{Site, network, publishing, sandbox, to, told};

fn create(site: &Site, name: &str, ports: &[&str]) -> Result<Vec<String>, Error> {
    let view = site.engine().create_sandbox(&publishing(name, &["lab"], ports))?;
    Ok(view.attached.iter().flat_map(|(endpoint, _)| &endpoint.published).map(ToString::to_string).collect())
}

fn host_ports(site: &Site, request: &SandboxRequest) -> Vec<u16> {
    let view = site.engine().create_sandbox(request).unwrap();
    view.attached
        .iter()
        .flat_map(|(endpoint, _)| &endpoint.published)
        .map(|published| published.host.first)
        .collect()
}

#[test]
fn exposed_ports_get_the_next_free_ones_from_49153_up() {
    let site = Site::with_networks();
    let all = |name: &str| SandboxRequest {
        publish_all: true,
        expose: ["80/tcp", "53/udp", "8000-8002/tcp"].map(|port| port.parse().unwrap()).into(),
        ..sandbox(name, &["lab"])
    };
    assert_eq!(host_ports(&site, &all("first")), [49153, 49154, 49155]);
    site.engine().remove_sandbox("first", false).unwrap();
    // Those given back are not the next to be given out: clients may still have the old ones in mind.
    assert_eq!(host_ports(&site, &all("second")), [49158, 49159, 49160]);
    let mut both = all("third");
    both.publish = vec!["8080:80".parse().unwrap()];
    assert_eq!(host_ports(&site, &both), [8080, 49163, 49164]);
}

#[test]
fn the_search_steps_over_what_is_taken_and_begins_anew_at_the_end() {
    let site = Site::with_networks();
    create(&site, "a", &["49153-49160:80-87"]).unwrap();
    let at: SocketAddr = "127.0.0.1:49161".parse().unwrap();
    site.machine.with(|fake| fake.listeners = vec![Listener { protocol: Protocol::Tcp, at, process: None }]);
    assert_eq!(host_ports(&site, &publishing("b", &["lab"], &["80"])), [49162]);
    site.store().write(|tx| tx.set_port_cursor(u16::MAX)).unwrap();
    assert_eq!(host_ports(&site, &publishing("c", &["lab"], &["80", "81"])), [u16::MAX, 49163]);
}

#[test]
fn conflicts_are_refused_by_name() {
    let site = Site::with_networks();
    site.machine.with(|fake| {
        fake.addresses.extend(["192.0.2.1".parse::<IpAddr>().unwrap(), "192.0.2.2".parse().unwrap()]);
        let at = "0.0.0.0:22".parse().unwrap();
        fake.listeners =
            vec![Listener { protocol: Protocol::Tcp, at, process: Some("sshd (pid 7)".to_owned()) }];
    });
    create(&site, "web", &["8080:80", "192.0.2.1:443:443", "9000-9009:9000-9009"]).unwrap();
    let before = site.picture();
    for (port, by) in [
        ("8080:81", "sandbox 'web'"),
        ("127.0.0.1:8080:81", "sandbox 'web'"),
        ("8000-8100:8000-8100", "sandbox 'web'"),
        ("443:443", "sandbox 'web'"),
        ("192.0.2.1:400-500:400-500", "sandbox 'web'"),
        ("9009:1", "sandbox 'web'"),
        ("192.0.2.1:9005:1", "sandbox 'web'"),
        ("22:22", "process sshd (pid 7), listening on port 22"),
        ("192.0.2.2:20-30:20-30", "process sshd (pid 7), listening on port 22"),
        ("198.51.100.1:80:80", "this host has no such address"),
        ("[::1]:80:80", "the sandbox has no IPv6 address"),
    ] {
        let text = told(&create(&site, "new", &[port]).expect_err(port));
        assert!(text.contains(by), "{port}: {text}");
        assert!(site.picture() == before, "{text} left something");
    }
    let text = told(&create(&site, "new", &["7000:80", "7000:81"]).unwrap_err());
    assert!(text.contains("another -p of the same sandbox"), "{text}");
}

#[test]
fn what_does_not_conflict_is_published() {
    let site = Site::with_networks();
    site.machine.with(|fake| {
        fake.addresses.extend(["192.0.2.1".parse::<IpAddr>().unwrap(), "192.0.2.2".parse().unwrap()]);
        let at = "192.0.2.1:22".parse().unwrap();
        fake.listeners = vec![Listener { protocol: Protocol::Tcp, at, process: None }];
    });
    create(&site, "web", &["192.0.2.1:443:443", "9000-9009:9000-9009"]).unwrap();
    for (name, port) in [
        ("other-address", "192.0.2.2:443:443"),
        ("other-protocol", "9000-9009:9000-9009/udp"),
        ("beside", "9010:80"),
        ("not-where-sshd-listens", "192.0.2.2:22:22"),
        ("a-free-one-of-a-range", "9005-9015:80"),
    ] {
        create(&site, name, &[port]).unwrap_or_else(|error| panic!("{port}: {}", told(&error)));
    }
    site.assert_in_order();
}

#[test]
fn nothing_is_published_where_nothing_leads_outside() {
    let site = Site::with_networks();
    let mut vault = network("vault", "10.9.0.0/24");
    vault.internal = true;
    site.engine().create_network(vault).unwrap();
    let before = site.picture();
    for nets in [&["vault"][..], &["none"]] {
        let error = site.engine().create_sandbox(&publishing("web", nets, &["80"])).unwrap_err();
        assert!(told(&error).starts_with("no port can be published"), "{}", told(&error));
        assert!(site.picture() == before);
    }
    let view = site.engine().create_sandbox(&publishing("web", &["vault", "lab"], &["8080:80"])).unwrap();
    let through: Vec<_> =
        view.attached.iter().filter(|(endpoint, _)| !endpoint.published.is_empty()).collect();
    assert_eq!(through.len(), 1);
    assert_eq!(through[0].1.name.as_str(), "lab");
}

#[test]
fn published_ports_are_given_up_only_on_purpose() {
    let site = Site::with_networks();
    create(&site, "web", &["8080:80"]).unwrap();
    site.engine().connect(&to("wide"), "web").unwrap();
    let error = site.engine().disconnect("lab", "web", false).unwrap_err();
    assert!(told(&error).contains("8080"), "{}", told(&error));
    site.engine().disconnect("lab", "web", true).unwrap();
    let view = site.engine().sandbox("web").unwrap();
    assert_eq!(view.attached.len(), 1);
    let routes: Vec<_> = site.machine.state().routes.iter().map(|route| route.via.to_string()).collect();
    assert_eq!(routes, ["10.8.0.1"], "the default route moved to the network that is left");
    create(&site, "next", &["8080:80"]).unwrap();
    site.assert_in_order();
}

#[test]
fn each_family_is_published_through_its_own_default_route() {
    let site = Site::new();
    let mut engine = site.engine();
    engine.create_network(network("four", "10.7.0.0/24")).unwrap();
    let six = NetworkRequest { ipv4: false, ipv6: true, ..network("six", "fd00:7::/64") };
    engine.create_network(six).unwrap();
    let published = |name: &str, port: &str| {
        let view = site.engine().create_sandbox(&publishing(name, &["four", "six"], &[port]))?;
        let of_each = view.attached.iter().map(|(endpoint, _)| &endpoint.published);
        let shown = of_each.map(|published| published.iter().map(ToString::to_string).collect::<Vec<_>>());
        Ok::<_, Error>(shown.collect::<Vec<_>>())
    };
    let both = [["0.0.0.0:8080 -> 80/tcp"], ["[::]:8080 -> 80/tcp"]];
    assert_eq!(published("a", "8080:80").unwrap(), both);
    assert_eq!(published("b", "[::]:8081:80").unwrap(), [vec![], vec!["[::]:8081 -> 80/tcp".to_owned()]]);
    assert!(told(&published("c", "[::]:8080:80").unwrap_err()).contains("sandbox 'a'"));
}

#[test]
fn a_living_sandbox_publishes_other_ports_and_keeps_the_rest() {
    let site = Site::with_networks();
    create(&site, "web", &["8080:80", "81"]).unwrap();
    create(&site, "other", &["9090:90"]).unwrap();
    let shown = || {
        let view = site.engine().sandbox("web").unwrap();
        let published = view.attached.iter().flat_map(|(endpoint, _)| endpoint.published.clone());
        published.map(|published| published.to_string()).collect::<Vec<_>>()
    };
    let device = site.engine().sandbox("web").unwrap().attached[0].0.host_ifname();
    let hairpin = || site.machine.state().ports[&device].hairpin;
    let revise = |ports: &[&str]| site.engine().revise_sandbox(&publishing("web", &[], ports));
    revise(&["8081:80", "81"]).unwrap();
    assert_eq!(shown(), ["0.0.0.0:49153 -> 81/tcp", "0.0.0.0:8081 -> 80/tcp"]);
    let made = site.machine.with(|fake| fake.made.len());
    revise(&["8081:80", "81"]).unwrap();
    assert_eq!(site.machine.with(|fake| fake.made.len()), made, "nothing is done for what stays");
    assert!(revise(&["9090:80"]).unwrap_err().to_string().contains("cannot publish 0.0.0.0:9090"));
    assert_eq!(shown().len(), 2);
    revise(&[]).unwrap();
    assert!(shown().is_empty() && !hairpin());
    revise(&["8080:80"]).unwrap();
    assert!(hairpin());
    site.assert_in_order();
}
