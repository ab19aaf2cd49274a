//! What the two plugins read.

use super::*;
use crate::Environment;

/// A call with `args` as CNI_ARGS, and a configuration of `version` that has `rest` besides.
pub fn call(version: &str, args: &str, rest: &str) -> Call {
    let config = format!(r#"{{"cniVersion": "{version}", "name": "net", "type": "x", {rest}}}"#);
    let environment = Environment::from_fn(|name| {
        let value = match name {
            "CNI_COMMAND" => "ADD",
            "CNI_CONTAINERID" => "dummy",
            "CNI_NETNS" => "/some/where",
            "CNI_IFNAME" => "eth0",
            "CNI_PATH" => "/nowhere",
            "CNI_ARGS" => args,
            _ => return None,
        };
        Some(value.into())
    });
    Call::read(&environment, config.as_bytes(), Version::ALL).unwrap()
}

fn fixed(args: &str, rest: &str) -> Result<CniResult, String> {
    Static::ALONE.add(&call("1.0.0", args, rest), &mut Host::new()).map_err(|error| error.to_string())
}

/// Addresses with their gateways.
fn given(result: Result<CniResult, String>) -> Vec<String> {
    let text = |ip: &crate::Ip| match ip.gateway {
        Some(gateway) => format!("{} via {gateway}", ip.address),
        None => ip.address.to_string(),
    };
    result.unwrap().ips.iter().map(text).collect()
}

fn ranges(version: &str, args: &str, rest: &str) -> Result<String, String> {
    let sets = HostLocal::ALONE.sets_of(&call(version, args, rest)).map_err(|error| error.msg)?;
    Ok(sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

const TWO: &str = r#""ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}"#;

#[test]
fn ranges_come_from_three_places() {
    let mixed = r#""IPAM": {"Subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "", "gateway": null,
            "ranges": [[{"subnet": "11.1.2.0/24"}, {"subnet": "12.1.2.0/24"}]]},
        "runtimeConfig": {"ipRanges": [[{"subnet": "2001:db8::/64", "rangeEnd": "2001:db8::f"}]]}"#;
    let expected = "2001:db8::1-2001:db8::f 10.1.2.9-10.1.2.254 11.1.2.1-11.1.2.254,12.1.2.1-12.1.2.254";
    assert_eq!(ranges("0.3.1", "", mixed).unwrap(), expected);
}

#[test]
fn what_is_wrong_with_ranges_is_told_in_the_words_users_know() {
    let refused = |version: &str, args: &str, rest: &str| ranges(version, args, rest).unwrap_err();
    let too_many = "CNI version 0.2.0 does not support more than 1 address per family";
    assert_eq!(refused("0.2.0", "", TWO), too_many);
    assert!(ranges("0.3.0", "", TWO).is_ok());
    assert_eq!(refused("1.0.0", "", r#""dns": {}"#), "IPAM config missing 'ipam' key");
    assert_eq!(refused("1.0.0", "", r#""ipam": {"ranges": []}"#), "no IP ranges specified");
    let same = TWO.replace("10.2.0.0", "10.1.0.0");
    assert_eq!(refused("1.0.0", "", &same), "range set 0 overlaps with 1");
    let mixed = r#""ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]}"#;
    assert_eq!(refused("1.0.0", "", mixed), "invalid range set 0: mixed address families");
    for (subnet, why) in [
        ("10.1.0.0/31", "too small"),
        ("10.1.0.1/24", "host bits"),
        ("10.1.0.0", "invalid CIDR"),
        ("::ffff:10.1.0.0/120", "invalid CIDR"),
    ] {
        let rest = format!(r#""ipam": {{"subnet": "{subnet}"}}"#);
        assert!(refused("1.0.0", "", &rest).contains(why), "{subnet}");
    }
    assert!(
        refused("1.0.0", "", r#""ipam": {"ranges": [{"subnet": "10.1.0.0/24"}]}"#).contains("'ipam.ranges'")
    );
    assert!(refused("1.0.0", "MAC=02:00:00:00:00:01", TWO).contains("MAC"));
    assert!(ranges("1.0.0", "IgnoreUnknown=1;MAC=02:00:00:00:00:01", TWO).is_ok());
}

#[test]
fn addresses_are_asked_for_in_three_places() {
    let rest = format!(
        r#"{TWO}, "args": {{"cni": {{"ips": ["10.2.0.8", ""]}}}}, "runtimeConfig": {{"ips": ["::ffff:10.2.0.9"]}}"#
    );
    let ips = HostLocal::ALONE.ips_of(&call("1.0.0", "IP=10.1.0.7/24", &rest)).unwrap();
    assert_eq!(ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.7", "10.2.0.8", "10.2.0.9"]);
    let error = HostLocal::ALONE.ips_of(&call("1.0.0", "IP=10.1.0", TWO)).unwrap_err();
    assert_eq!(error.msg, "invalid IP address 10.1.0");
}

#[test]
fn fixed_addresses_come_from_four_places_of_which_the_last_counts() {
    let ipam = r#""ipam": {"addresses": [{"address": "10.10.0.1/24", "gateway": "10.10.0.254"},
        {"address": "3ffe:ffff:0:01ff::1/64"}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "example.com"}}"#;
    let result = fixed("", ipam).unwrap();
    assert_eq!((result.routes.len(), result.dns.domain.as_deref()), (1, Some("example.com")));
    assert_eq!(given(Ok(result)), ["10.10.0.1/24 via 10.10.0.254", "3ffe:ffff:0:1ff::1/64"]);

    let args = "IP=10.10.0.1/24, 11.11.0.1/24;GATEWAY=10.10.0.254";
    assert_eq!(given(fixed(args, r#""ipam": {}"#)), ["10.10.0.1/24 via 10.10.0.254", "11.11.0.1/24"]);
    let listed = format!(r#"{ipam}, "args": {{"cni": {{"ips": ["10.10.0.2/24"]}}}}"#);
    assert_eq!(given(fixed(args, &listed)), ["10.10.0.2/24"]);
    let runtime = format!(r#"{listed}, "RuntimeConfig": {{"ips": ["10.10.0.3/24"]}}"#);
    assert_eq!(given(fixed(args, &runtime)), ["10.10.0.3/24"]);
}

#[test]
fn what_is_wrong_with_fixed_addresses_is_told_in_the_words_users_know() {
    let refused = |args, rest| fixed(args, rest).unwrap_err();
    let wrong = r#""ipam": {"addresses": [{"address": "10.10.0.1"}]}"#;
    assert_eq!(
        refused("", wrong),
        "the 'address' field is expected to be in CIDR notation, got: '10.10.0.1'"
    );
    let wrong = refused("IP=10.10.0.1", r#""ipam": {}"#);
    assert_eq!(wrong, "the 'ip' field is expected to be in CIDR notation, got: '10.10.0.1'");
    let wrong = refused("", r#""ipam": {}, "runtimeConfig": {"ips": ["10.10.0.1"]}"#);
    assert_eq!(wrong, "an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.1'");
    assert_eq!(refused("IP=10.0.0.1/8", r#""x": 1"#), "IPAM config missing 'ipam' key");
    assert!(refused("", r#""ipam": {}"#).starts_with("no address is given"));
    assert!(
        refused("IP=10.0.0.1/8;GATEWAY=11.0.0.1", r#""ipam": {}"#).contains("in the subnet of no address")
    );
    let two = call("0.2.0", "IP=10.0.0.1/8,11.0.0.1/8", r#""ipam": {}"#);
    let error = Static::ALONE.add(&two, &mut Host::new()).unwrap_err();
    assert_eq!(error.to_string(), "CNI version 0.2.0 does not support more than 1 address per family");
}

#[test]
fn who_gives_out_addresses_is_found() {
    let giver_of = |path: &str, kind: &str| {
        let mut call = call("1.0.0", "", &format!(r#""ipam": {{"type": "{kind}"}}"#));
        call.path = vec![path.into()];
        giver(&call).map(|giver| matches!(giver, Giver::Ours(_))).map_err(|error| error.msg)
    };
    assert_eq!(giver_of("/nowhere", "host-local"), Ok(true));
    assert!(giver_of("/nowhere", "other").unwrap_err().contains("failed to find plugin"));
    assert!(giver_of("/nowhere", "").unwrap_err().contains("ipam.type"));
    let name = format!("linkspan-ipam-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("host-local"), "another").unwrap();
    std::os::unix::fs::symlink("/proc/self/exe", directory.join("static")).unwrap();
    let path = directory.to_str().unwrap();
    assert_eq!((giver_of(path, "host-local"), giver_of(path, "static")), (Ok(false), Ok(true)));
    fs::remove_dir_all(&directory).unwrap();
}
