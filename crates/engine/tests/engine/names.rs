//! What sandboxes know each other by.

use linkspan_engine::SandboxRequest;

use crate::site::{Site, sandbox, to, told};

fn with_options(name: &str, nets: &[&str], links: &[&str], hosts: &[&str]) -> SandboxRequest {
    SandboxRequest {
        links: links.iter().map(|link| link.parse().unwrap()).collect(),
        add_hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        ..sandbox(name, nets)
    }
}

fn names_of<'a>(hosts: &'a str, address: &str) -> Vec<&'a str> {
    let line = hosts.lines().find(|line| line.split_whitespace().next() == Some(address));
    line.map(|line| line.split_whitespace().skip(1).collect()).unwrap_or_default()
}

#[test]
fn peers_of_a_network_of_ones_own_come_and_go_in_the_hosts_file() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab,ip=10.7.0.5"])).unwrap();
    assert_eq!(names_of(&site.file("web", "hosts"), "10.7.0.5"), ["web"]);
    let mut db = sandbox("db", &["lab,ip=10.7.0.6,alias=sql"]);
    db.hostname = Some("database".to_owned());
    site.engine().create_sandbox(&db).unwrap();
    for reader in ["web", "db"] {
        let hosts = site.file(reader, "hosts");
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"), "{hosts}");
        assert_eq!(names_of(&hosts, "10.7.0.6"), ["database", "db", "sql"], "as {reader} sees it");
    }
    site.engine().remove_sandbox("db", false).unwrap();
    assert!(names_of(&site.file("web", "hosts"), "10.7.0.6").is_empty());
}

#[test]
fn a_sandbox_with_a_file_of_its_own_sees_them_come_and_go_too() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("both", &["lab", "wide"])).unwrap();
    site.engine().create_sandbox(&with_options("told", &["lab"], &[], &["nas:10.7.0.6"])).unwrap();
    let before = site.picture();
    site.engine().create_sandbox(&sandbox("db", &["lab,ip=10.7.0.6", "wide,ip=10.8.0.6"])).unwrap();
    let hosts = site.file("both", "hosts");
    assert_eq!((names_of(&hosts, "10.7.0.6"), names_of(&hosts, "10.8.0.6")), (vec!["db"], vec!["db"]));
    let hosts = site.file("told", "hosts");
    assert!(hosts.contains("10.7.0.6 nas\n") && hosts.contains("10.7.0.6\tdb\n"), "{hosts}");
    site.engine().disconnect("lab", "db", false).unwrap();
    assert!(!site.file("both", "hosts").contains("10.7.0.6"));
    assert!(site.file("both", "hosts").contains("10.8.0.6\tdb\n"));
    site.engine().remove_sandbox("db", false).unwrap();
    assert_eq!(site.picture(), before);
    // Nor does it see what it left.
    site.engine().disconnect("wide", "both", false).unwrap();
    site.engine().create_sandbox(&sandbox("db", &["lab,ip=10.7.0.6", "wide,ip=10.8.0.6"])).unwrap();
    let hosts = site.file("both", "hosts");
    assert!(hosts.contains("10.7.0.6\tdb\n") && !hosts.contains("10.8.0.6"), "{hosts}");
    site.engine().disconnect("lab", "both", false).unwrap();
    assert_eq!(site.file("both", "hosts"), "127.0.0.1\tlocalhost\n");
    for name in ["db", "both", "told"] {
        site.engine().remove_sandbox(name, false).unwrap();
    }
    site.assert_in_order();
}

#[test]
fn addresses_that_begin_alike_are_told_apart() {
    let site = Site::with_networks();
    for n in [111, 11] {
        site.engine().create_sandbox(&sandbox(&format!("s{n}"), &[&format!("lab,ip=10.7.0.{n}")])).unwrap();
    }
    site.engine().remove_sandbox("s11", false).unwrap();
    let hosts = site.file("s111", "hosts");
    assert!(names_of(&hosts, "10.7.0.11").is_empty());
    assert_eq!(names_of(&hosts, "10.7.0.111"), ["s111"]);
}

#[test]
fn on_the_default_network_only_links_are_known() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("db", &[])).unwrap();
    site.engine()
        .create_sandbox(&with_options("web", &[], &["db:sql"], &["up:host-gateway", "far:192.0.2.7"]))
        .unwrap();
    let db = site.engine().sandbox("db").unwrap().attached[0].0.leases[0].address.to_string();
    let hosts = site.file("web", "hosts");
    assert_eq!(names_of(&hosts, &db), ["sql", "db"]);
    assert_eq!(names_of(&hosts, "172.17.0.1"), ["up"]);
    assert_eq!(names_of(&hosts, "192.0.2.7"), ["far"]);
    assert!(!site.file("db", "hosts").contains("web"));
}

#[test]
fn a_link_to_nowhere_is_refused_and_leaves_nothing() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("db", &["wide"])).unwrap();
    let before = site.picture();
    for (request, why) in [
        (with_options("web", &["lab"], &["db:sql"], &[]), "on no network in common"),
        (with_options("web", &["lab"], &["nobody:sql"], &[]), "there is no sandbox 'nobody'"),
        (with_options("web", &["none"], &[], &["up:host-gateway"]), "the sandbox is on none"),
    ] {
        let text = told(&site.engine().create_sandbox(&request).unwrap_err());
        assert!(text.contains(why), "{text}");
        assert!(site.picture() == before, "{text} left something");
    }
}

#[test]
fn a_link_whose_target_is_gone_is_in_the_way_of_nothing() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("db", &["lab,ip=10.7.0.6"])).unwrap();
    site.engine().create_sandbox(&with_options("web", &["lab"], &["db:sql"], &["up:host-gateway"])).unwrap();
    assert!(site.file("web", "hosts").contains("10.7.0.6 sql db\n"));
    site.engine().remove_sandbox("db", false).unwrap();
    site.engine().connect(&to("wide"), "web").unwrap();
    assert!(!site.file("web", "hosts").contains("sql"));
    site.engine().disconnect("lab", "web", false).unwrap();
    assert!(site.file("web", "hosts").contains("10.8.0.1 up\n"));
    site.engine().disconnect("wide", "web", false).unwrap();
    assert!(!site.file("web", "hosts").contains("up"));
    site.assert_in_order();
}

#[test]
fn name_servers_of_the_host_are_taken_over_but_for_those_on_its_loopback() {
    let site = Site::with_networks();
    site.write_resolv_conf(
        "# made by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n",
    );
    site.engine().create_sandbox(&sandbox("web", &["bridge"])).unwrap();
    assert_eq!(site.file("web", "resolv.conf"), "# made by hand\nsearch example.org\nnameserver 192.0.2.1\n");
    let mut own = sandbox("own", &["bridge"]);
    own.dns = vec!["192.0.2.9".parse().unwrap()];
    site.engine().create_sandbox(&own).unwrap();
    assert!(site.file("own", "resolv.conf").ends_with("search example.org\nnameserver 192.0.2.9\n"));
}

#[test]
fn who_shares_a_namespace_shares_its_names() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
    site.engine().create_sandbox(&sandbox("debug", &["container:web"])).unwrap();
    assert_eq!(site.file("debug", "hosts"), site.file("web", "hosts"));
    let error = site.engine().remove_sandbox("web", false).unwrap_err();
    assert!(told(&error).contains("shared by debug"), "{}", told(&error));
    site.engine().remove_sandbox("debug", false).unwrap();
    assert!(site.file("web", "hosts").contains("web"));
    site.engine().remove_sandbox("web", false).unwrap();
    assert!(site.machine.state().namespaces.is_empty());
}
