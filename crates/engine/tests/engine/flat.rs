//! Networks on a LAN of the host.

use std::thread::sleep;
use std::time::Duration;

use linkspan_kernel::fake::Fault;
use linkspan_model::Mac;

use crate::site::{Site, on_lan, on_parent, publishing, sandbox, told};

const CONFIRM: (&str, &str) = ("linkspan.uplink.confirm", "1s");

fn with_card() -> Site {
    let site = Site::new();
    site.give_card("eth1", &["192.168.0.5/24"]);
    site
}

fn with_lan() -> Site {
    let site = with_card();
    site.engine().create_network(on_lan("lan", &[])).unwrap();
    site
}

fn mac() -> Mac {
    "52:54:00:00:00:99".parse().unwrap()
}

#[test]
fn what_is_not_given_is_the_cards() {
    let site = with_card();
    let network = site.engine().create_network(on_lan("lan", &[])).unwrap();
    let pool = &network.pools[0];
    assert_eq!(pool.subnet.to_string(), "192.168.0.0/24");
    assert_eq!(pool.gateway.to_string(), "192.168.0.5");
    assert_eq!(pool.default_gateway().to_string(), "192.168.0.254");
    assert_eq!(network.bridge_mac().unwrap().to_string(), "52:54:00:00:00:01");
    assert_eq!(
        site.notes.lock().unwrap().join("\n"),
        "",
        "the card's own prefix is no overlap, nothing is forwarded"
    );
    assert!(site.card_addresses("eth1").is_empty());
    site.engine().remove_network("lan").unwrap();
    assert_eq!(site.card_addresses("eth1"), ["192.168.0.5/24"]);
    assert!(site.machine.state().bridges.is_empty());
}

#[test]
fn who_renews_an_address_is_told_where() {
    let site = with_card();
    site.machine.with(|fake| {
        let card = fake.cards.values_mut().next().unwrap();
        card.facts.leased = vec!["192.168.0.5/24".parse().unwrap()];
    });
    site.engine().create_network(on_lan("lan", &[])).unwrap();
    let notes = site.notes.lock().unwrap().join("\n");
    assert!(notes.contains("eth1 has 192.168.0.5/24 for a time only"), "{notes}");
}

#[test]
fn addresses_that_changed_meanwhile_come_back_as_they_are() {
    let site = with_lan();
    site.machine.with(|fake| {
        let bridge = fake.state.bridges.values_mut().next().unwrap();
        bridge.addresses = ["192.168.0.44/24".parse().unwrap()].into();
    });
    site.assert_in_order();
    site.engine().remove_network("lan").unwrap();
    assert_eq!(site.card_addresses("eth1"), ["192.168.0.44/24"]);
}

#[test]
fn a_bridge_deleted_by_hand_takes_nothing_along_for_good() {
    for repaired in [false, true] {
        let site = with_lan();
        site.machine.with(|fake| {
            fake.state.bridges.clear();
            fake.cards.values_mut().for_each(|card| card.bridge = None);
        });
        if repaired {
            site.engine().repair(false).unwrap();
            site.assert_in_order();
            site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
            site.engine().remove_sandbox("a", false).unwrap();
        }
        site.engine().remove_network("lan").unwrap();
        assert_eq!(site.card_addresses("eth1"), ["192.168.0.5/24"], "repaired: {repaired}");
    }
}

#[test]
fn a_card_unplugged_by_hand_is_plugged_in_again() {
    let site = with_lan();
    site.machine.with(|fake| fake.cards.values_mut().for_each(|card| card.bridge = None));
    site.engine().repair(false).unwrap();
    assert!(site.machine.with(|fake| fake.cards.values().all(|card| card.bridge.is_some())));
    site.assert_in_order();
}

#[test]
fn a_card_that_is_pulled_out_is_in_nobodys_way() {
    let site = with_lan();
    site.machine.with(|fake| fake.cards.clear());
    site.assert_in_order();
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    site.engine().remove_sandbox("a", false).unwrap();
    site.engine().remove_network("lan").unwrap();
    site.assert_in_order();
}

#[test]
fn after_a_boot_it_is_made_anew_at_its_next_use() {
    let mut site = with_lan();
    site.reboot();
    site.give_card("eth1", &["192.168.0.7/24"]);
    site.engine().repair(false).unwrap();
    assert!(site.machine.state().bridges.is_empty());
    site.machine.with(|fake| fake.fault = Some(Fault::Die(2)));
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap_err();
    site.machine.with(|fake| fake.fault = None);
    site.engine().repair(false).unwrap();
    assert_eq!(site.card_addresses("eth1"), ["192.168.0.7/24"]);
    site.assert_in_order();

    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    assert!(site.card_addresses("eth1").is_empty());
    site.assert_in_order();
    site.engine().remove_sandbox("a", false).unwrap();
    site.engine().remove_network("lan").unwrap();
    assert_eq!(site.card_addresses("eth1"), ["192.168.0.7/24"]);
}

#[test]
fn an_address_that_was_the_hosts_before_a_boot_may_be_anothers_now() {
    let mut site = with_lan();
    site.reboot();
    site.give_card("eth1", &["192.168.0.7/24"]);
    site.machine.with(|fake| fake.neighbours.insert("192.168.0.5".parse().unwrap(), mac()));
    let refusal = site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap_err();
    assert!(told(&refusal).contains("52:54:00:00:00:99 has it"), "{}", told(&refusal));
    assert_eq!(site.card_addresses("eth1"), ["192.168.0.7/24"]);
    assert!(site.machine.state().bridges.is_empty());
    site.engine().remove_network("lan").unwrap();
}

#[test]
fn what_nobody_confirms_is_undone_by_whoever_comes_next() {
    let site = with_card();
    site.engine().create_network(on_lan("lan", &[CONFIRM])).unwrap();
    let refusal = site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap_err();
    assert!(told(&refusal).contains("not confirmed yet"), "{refusal}");
    let refusal = site.engine().create_network(on_lan("lan", &[])).unwrap_err();
    assert!(told(&refusal).contains("exists already"), "{}", told(&refusal));
    site.engine().repair(false).unwrap();
    assert!(site.card_addresses("eth1").is_empty());
    sleep(Duration::from_millis(2100));
    let late = site.engine().confirm_network("lan").unwrap_err();
    assert!(late.to_string().contains("not confirmed in time"), "{late}");
    assert_eq!(site.card_addresses("eth1"), ["192.168.0.5/24"]);
    site.assert_in_order();
    assert!(site.engine().confirm_network("lan").unwrap_err().to_string().contains("there is no network"));
}

#[test]
fn what_is_confirmed_stays() {
    let site = with_card();
    site.engine().create_network(on_lan("lan", &[CONFIRM])).unwrap();
    assert!(site.engine().guard_network(&"lan".parse().unwrap()).unwrap().is_some());
    site.engine().confirm_network("lan").unwrap();
    assert_eq!(site.engine().guard_network(&"lan".parse().unwrap()).unwrap(), None);
    sleep(Duration::from_millis(2100));
    site.assert_in_order();
    assert!(site.card_addresses("eth1").is_empty());
    assert!(site.engine().confirm_network("lan").unwrap_err().to_string().contains("nothing to confirm"));
    site.engine().remove_network("lan").unwrap();
    site.assert_in_order();
}

#[test]
fn what_was_not_confirmed_before_a_boot_is_gone() {
    let mut site = with_card();
    site.engine().create_network(on_lan("lan", &[CONFIRM])).unwrap();
    site.reboot();
    site.give_card("eth1", &["192.168.0.5/24"]);
    assert!(site.engine().confirm_network("lan").unwrap_err().to_string().contains("there is no network"));
    site.assert_in_order();
}

#[test]
fn addresses_that_others_have_are_passed_over() {
    let site = with_lan();
    for taken in ["192.168.0.1", "192.168.0.2", "192.168.0.4"] {
        site.machine.with(|fake| fake.neighbours.insert(taken.parse().unwrap(), mac()));
    }
    let address = |name: &str| {
        let view = site.engine().create_sandbox(&sandbox(name, &["lan"])).unwrap();
        view.attached[0].0.leases[0].address.to_string()
    };
    assert_eq!((address("a"), address("b")), ("192.168.0.3".to_owned(), "192.168.0.6".to_owned()));
    let refusal = site.engine().create_sandbox(&sandbox("c", &["lan,ip=192.168.0.4"])).unwrap_err();
    let text = told(&refusal);
    assert!(
        text.contains("192.168.0.4 is in use on the LAN") && text.contains("52:54:00:00:00:99"),
        "{text}"
    );
    // Whoever had it may be gone.
    site.machine.with(|fake| fake.neighbours.clear());
    site.engine().create_sandbox(&sandbox("c", &["lan,ip=192.168.0.4"])).unwrap();
}

#[test]
fn where_others_have_every_address_the_network_is_full() {
    let site = with_card();
    let mut request = on_lan("lan", &[]);
    request.ipam.subnets = vec!["192.168.0.0/24".parse().unwrap()];
    request.ipam.ranges = vec!["192.168.0.64/30".parse().unwrap()];
    site.engine().create_network(request).unwrap();
    for last in 64..68 {
        site.machine.with(|fake| fake.neighbours.insert([192, 168, 0, last].into(), mac()));
    }
    let refusal = site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap_err();
    assert!(told(&refusal).contains("is full"), "{}", told(&refusal));
    site.assert_in_order();
}

#[test]
fn cards_that_cannot_be_plugged_in_are_refused() {
    let refused = |site: &Site, why: &str| {
        let before = site.picture();
        let refusal = site.engine().create_network(on_lan("new", &[])).unwrap_err();
        assert!(told(&refusal).contains(why), "no '{why}' in {}", told(&refusal));
        assert_eq!(site.picture(), before);
    };
    refused(&Site::new(), "no such device");
    refused(&with_lan(), "network 'lan' has it");
    let change = |why: &str, change: fn(&mut linkspan_plan::CardFacts)| {
        let site = with_card();
        site.machine.with(|fake| fake.cards.values_mut().for_each(|card| change(&mut card.facts)));
        refused(&site, why);
    };
    change("it is loopback", |facts| facts.is_loopback = true);
    change("it is down", |facts| facts.is_up = false);
    change("a bridge itself", |facts| facts.kind = Some("bridge".to_owned()));
    change("no IPv4 address", |facts| facts.card.addresses.clear());
    change("nexthop", |facts| facts.immovable = Some("nexthop".to_owned()));
    let site = with_card().with_card();
    site.engine().create_network(on_parent("sitting", "eth1", "10.9.0.0/24")).unwrap();
    refused(&site, "network 'sitting' sits on it");
    let site = with_card();
    site.machine.with(|fake| {
        fake.cards.values_mut().for_each(|card| card.bridge = Some("br7".parse().unwrap()));
    });
    refused(&site, "a port of br7");
}

#[test]
fn requests_that_do_not_fit_the_card_are_refused() {
    let site = with_card();
    site.machine.with(|fake| fake.neighbours.insert("192.168.0.1".parse().unwrap(), mac()));
    let mut internal = on_lan("new", &[]);
    internal.internal = true;
    let mut elsewhere = on_lan("new", &[]);
    elsewhere.ipam.subnets = vec!["10.9.0.0/24".parse().unwrap()];
    let mut taken = on_lan("new", &[]);
    taken.ipam.subnets = vec!["192.168.0.0/24".parse().unwrap()];
    taken.ipam.gateways = vec!["192.168.0.1".parse().unwrap()];
    let mut six = on_lan("new", &[]);
    six.ipv6 = true;
    let large = on_lan("new", &[("com.docker.network.driver.mtu", "9000")]);
    for (request, why) in [
        (internal, "a way outside"),
        (elsewhere, "no address in 10.9.0.0/24"),
        (taken, "52:54:00:00:00:99 has it"),
        (six, "no IPv6 address"),
        (large, "MTU 9000 is too large"),
    ] {
        let refusal = site.engine().create_network(request).unwrap_err();
        assert!(told(&refusal).contains(why), "no '{why}' in {}", told(&refusal));
    }
    assert_eq!(site.card_addresses("eth1"), ["192.168.0.5/24"]);
}

#[test]
fn a_published_port_makes_the_host_forward_and_nothing_else_does() {
    let site = with_lan();
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    assert!(site.machine.state().sysctls.is_empty());
    site.engine().create_sandbox(&publishing("b", &["lan"], &["8080:80"])).unwrap();
    assert_eq!(site.machine.state().sysctls["net/ipv4/ip_forward"], "1");
}
