//! Networks on a device of the host.

use linkspan_engine::NetworkRequest;
use linkspan_model::{Driver, Network};

use crate::site::{Site, network, on_parent, sandbox};

/// A network on eth1, whose subnet it takes.
fn plain(driver: Driver, options: &[(&str, &str)]) -> NetworkRequest {
    let mut request = NetworkRequest { driver, ..network("lan", "192.0.2.0/24") };
    request.ipam.subnets.clear();
    request.options.extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    request
}

/// A host that has an address on eth1, and there its default route.
fn on_lan() -> Site {
    let site = Site::new().with_card();
    site.machine.with(|fake| {
        let card = fake.parents.values_mut().next().unwrap();
        card.addresses = vec!["192.0.2.7/24".parse().unwrap(), "2001:db8::7/64".parse().unwrap()];
        card.gateways = vec!["192.0.2.254".parse().unwrap(), "fe80::1".parse().unwrap()];
    });
    site
}

fn made(site: &Site, request: NetworkRequest) -> Network {
    site.engine().create_network(request).unwrap()
}

#[test]
fn a_network_takes_the_lan_of_its_parent() {
    let site = on_lan();
    let lan = made(&site, NetworkRequest { ipv6: true, ..plain(Driver::Macvlan, &[]) });
    assert_eq!(lan.parent.unwrap().device.as_str(), "eth1");
    let pools: Vec<_> = lan.pools.iter().map(|pool| format!("{} {}", pool.subnet, pool.gateway)).collect();
    assert_eq!(pools, ["192.0.2.0/24 192.0.2.254", "2001:db8::/64 fe80::1"]);
    let mut attach = crate::site::to("lan");
    attach.ip = Some([192, 0, 2, 7].into());
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    let error = site.engine().connect(&attach, "a").unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    site.engine().disconnect("lan", "a", false).unwrap();
    let error = site.engine().connect(&attach, "a").unwrap_err();
    assert!(error.causes()[0].contains("reserved as host"), "{error:?}");
    let state = site.machine.state();
    assert_eq!((state.firewall, state.sysctls.len(), state.bridges.len()), (None, 0, 0));
    site.assert_in_order();
}

#[test]
fn a_sub_interface_goes_with_the_last_network_on_it() {
    let site = Site::new().with_card();
    for (name, subnet) in [("one", "10.1.0.0/24"), ("two", "10.2.0.0/24")] {
        made(&site, on_parent(name, "eth1.10", subnet));
    }
    assert_eq!(site.machine.state().upper.vlans.len(), 1);
    site.engine().remove_network("one").unwrap();
    assert_eq!(site.machine.state().upper.vlans.len(), 1);
    site.engine().remove_network("two").unwrap();
    assert!(site.machine.state().upper.is_empty());
}

#[test]
fn a_sub_interface_that_is_there_is_not_ours() {
    let site = Site::new().with_card();
    site.machine.with(|fake| {
        let mut card = fake.parents.values().next().unwrap().clone();
        card.name = "eth1.10".parse().unwrap();
        fake.parents.insert(card.name.clone(), card);
    });
    assert_eq!(made(&site, on_parent("lan", "eth1.10", "10.1.0.0/24")).parent.unwrap().vlan, None);
    site.engine().remove_network("lan").unwrap();
    assert!(!site.machine.with(|fake| fake.made.iter().any(|step| step.to_string().contains("vlan eth1"))));
}

#[test]
fn a_parent_that_is_down_is_set_up() {
    let site = on_lan();
    site.machine.with(|fake| fake.parents.values_mut().next().unwrap().up = false);
    made(&site, plain(Driver::Macvlan, &[("parent", "eth1")]));
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    assert!(site.notes.lock().unwrap().iter().any(|note| note.contains("eth1 was down")));
}

#[test]
fn what_cannot_sit_together_is_refused() {
    for (first, driver, options) in [
        (&[][..], Driver::Ipvlan, &[][..]),
        (&[], Driver::Macvlan, &[("macvlan_mode", "passthru")]),
        (&[("macvlan_mode", "passthru")], Driver::Macvlan, &[]),
    ] {
        let site = on_lan();
        made(&site, plain(Driver::Macvlan, first));
        let mut second = plain(driver, options);
        (second.name, second.ipam.subnets) = ("other".parse().unwrap(), vec!["10.1.0.0/24".parse().unwrap()]);
        let error = site.engine().create_network(second).unwrap_err();
        assert!(error.to_string().contains("cannot sit on eth1"), "{error}");
        assert!(error.hint().is_some());
        site.assert_in_order();
    }
}

#[test]
fn a_parent_is_for_one_sandbox_in_mode_passthru() {
    let site = on_lan();
    made(&site, plain(Driver::Macvlan, &[("macvlan_mode", "passthru")]));
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    let error = site.engine().create_sandbox(&sandbox("b", &["lan"])).unwrap_err();
    assert!(error.causes()[0].contains("sandbox 'a' has eth1 for itself"), "{error:?}");
    site.engine().remove_sandbox("a", false).unwrap();
    site.engine().create_sandbox(&sandbox("b", &["lan"])).unwrap();
    let mac = site.engine().create_sandbox(&sandbox("c", &["lan,mac=02:00:00:00:00:07"])).unwrap_err();
    assert!(mac.to_string().contains("cannot be given"), "{mac}");
}

#[test]
fn a_device_that_was_deleted_comes_back() {
    let site = Site::new().with_card();
    made(&site, on_parent("lan", "eth1.10", "10.1.0.0/24"));
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    let before = site.picture();
    site.machine.with(|fake| {
        let name = "eth1.10".parse().unwrap();
        fake.state.apply(&linkspan_plan::Step::Upper(linkspan_plan::UpperStep::DeleteVlan(name)));
    });
    assert_eq!(site.engine().repair(false).unwrap().steps.len(), 5);
    assert_eq!(site.picture(), before);
    site.assert_in_order();
}

#[test]
fn an_address_that_somebody_on_the_lan_has_is_passed_over() {
    let site = on_lan();
    made(&site, plain(Driver::Macvlan, &[]));
    site.machine.with(|fake| {
        fake.neighbours.insert("192.0.2.1".parse().unwrap(), "02:00:00:00:00:99".parse().unwrap());
    });
    let made = site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    assert_eq!(made.attached[0].0.leases[0].address.to_string(), "192.0.2.2");
    let error = site.engine().create_sandbox(&sandbox("b", &["lan,ip=192.0.2.1"])).unwrap_err();
    assert!(error.causes()[0].contains("02:00:00:00:00:99"), "{error:?}");
    site.assert_in_order();
}

#[test]
fn a_sub_interface_comes_again_after_a_boot() {
    let mut site = Site::new().with_card();
    made(&site, on_parent("lan", "eth1.10", "10.1.0.0/24"));
    site.reboot();
    assert!(site.machine.state().upper.is_empty());
    site.engine().create_sandbox(&sandbox("a", &["lan"])).unwrap();
    assert_eq!(site.machine.state().upper.vlans.len(), 1);
    site.assert_in_order();
}
