//! Subnets and addresses.

use super::*;

/// Makes a sandbox on a network; gives the IPv6 address that its device has.
fn address_of(name: &str, net: &str) -> String {
    linkspan(&format!("sandbox create --net {net} {name}"));
    let shown = inside(name, "ip -6 -o address show dev eth0 scope global");
    shown.split_whitespace().nth(3).unwrap().to_owned()
}

#[test]
fn addresses_are_given_out_in_order_or_as_they_were_asked_for() {
    run(here!(), || {
        linkspan(&format!("network create --aux-address nas=fd00:7::3 {LAB}"));
        assert_eq!(address_of("a", "lab"), "fd00:7::2/64");
        assert_eq!(address_of("b", "lab"), "fd00:7::4/64");
        assert_eq!(address_of("c", "lab,ip6=fd00:7::a:b:c"), "fd00:7::a:b:c/64");
        assert!(inside("c", "ping -n -c 1 -W 1 fd00:7::4").contains("1 received"));
    });
}
