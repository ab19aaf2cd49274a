//! Whatever comes in, no plugin falls over it; and results come through every version as far as it can say them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt;

use ipnet::IpNet;
use linkspan_cni::{
    Args, Call, CniResult, Dns, Environment, Interface, Ip, Json, Object, Route, Version, answer, find,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn bytes(of: impl Strategy<Value = u8>) -> impl Strategy<Value = OsString> {
    vec(of, 0..20).prop_map(OsString::from_vec)
}

fn value() -> impl Strategy<Value = Option<OsString>> {
    const KNOWN: &[&str] =
        &["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "eth0", "/nowhere", "IP=1;IgnoreUnknown=1"];
    let words = prop::sample::select(KNOWN).prop_map(OsString::from);
    prop_oneof![3 => words.prop_map(Some), 1 => bytes(1..=255u8).prop_map(Some), 1 => Just(None)]
}

/// JSON with the keys that are looked at, and values that often do not belong there.
fn json() -> impl Strategy<Value = String> {
    const WORDS: &[&str] =
        &["null", "true", "1.1.0", "0.4.0", "net", "10.0.0.2/24", "10.0.0.1", "::1/128", "0.0.0.0/0"];
    let leaf = prop_oneof![
        prop::sample::select(WORDS).prop_map(|word| format!("{word:?}")),
        Just("null".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f32>().prop_filter("a JSON number", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
    ];
    const KEYS: &[&str] = &[
        "name",
        "NAME",
        "cniVersion",
        "prevResult",
        "ips",
        "ip4",
        "ip",
        "address",
        "gateway",
        "interface",
        "interfaces",
        "routes",
        "dst",
        "gw",
        "mtu",
        "dns",
        "nameservers",
        "args",
        "cni",
        "runtimeConfig",
        "cni.dev/valid-attachments",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let pair = (prop::sample::select(KEYS), inner.clone());
        let object = vec(pair, 0..6).prop_map(|pairs| {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        });
        let list = vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![3 => object, 1 => list]
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from(bits))),
    ]
}

fn prefix() -> impl Strategy<Value = IpNet> {
    (address(), 0..=128u8).prop_map(|(address, length)| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(longest)).unwrap()
    })
}

fn result() -> impl Strategy<Value = CniResult> {
    let text = || of("[ -~äß]{1,12}");
    let number = || of(1..u32::MAX);
    let interface = ("[ -~]{0,12}", text(), number(), text(), text(), text()).prop_map(
        |(name, mac, mtu, sandbox, socket_path, pci_id)| Interface {
            name,
            mac,
            mtu,
            sandbox,
            socket_path,
            pci_id,
        },
    );
    let ip = (prefix(), of(address()), of(any::<i64>())).prop_map(|(address, gateway, interface)| Ip {
        address,
        gateway,
        interface,
    });
    let route = (prefix(), of(address()), number(), number(), number(), of(any::<u32>()), of(any::<u8>()))
        .prop_map(|(dst, gw, mtu, advmss, priority, table, scope)| Route {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
        });
    let words = || vec("[ -~]{0,9}", 0..3);
    let dns = (words(), text(), words(), words()).prop_map(|(nameservers, domain, search, options)| Dns {
        nameservers,
        domain,
        search,
        options,
    });
    (vec(interface, 0..3), vec(ip, 0..4), vec(route, 0..4), dns)
        .prop_map(|(interfaces, ips, routes, dns)| CniResult { interfaces, ips, routes, dns })
}

fn read(text: &str, version: Version) -> CniResult {
    let Json::Object(object) = Json::parse(text.as_bytes()).unwrap() else { panic!("{text}") };
    CniResult::read(&object, version).unwrap()
}

/// What `version` can say of a result.
fn sayable(result: &CniResult, version: Version) -> CniResult {
    let mut said = result.clone();
    if version < Version::V110 {
        for interface in &mut said.interfaces {
            (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
        }
    }
    if version < Version::V030 {
        let first = |is_ipv4| result.ips.iter().find(|ip| ip.address.addr().is_ipv4() == is_ipv4);
        let firsts: Vec<&Ip> = [first(true), first(false)].into_iter().flatten().collect();
        let routes_of = |ip: &&Ip| {
            let is_ipv4 = ip.address.addr().is_ipv4();
            let of_family = result.routes.iter().filter(move |route| route.dst.addr().is_ipv4() == is_ipv4);
            of_family.map(|route| Route::new(route.dst, route.gw)).collect::<Vec<_>>()
        };
        said.routes = firsts.iter().flat_map(routes_of).collect();
        said.ips = firsts.iter().map(|ip| Ip { interface: None, ..(*ip).clone() }).collect();
        said.interfaces = Vec::new();
    }
    said
}

proptest! {
    #[test]
    fn a_result_comes_back_from_every_version(result in result(), index in 0..Version::ALL.len()) {
        let version = Version::ALL[index];
        match result.print(version) {
            Ok(text) => prop_assert_eq!(read(&text, Version::NEWEST), sayable(&result, version)),
            Err(_) => prop_assert!(version < Version::V030 && result.ips.is_empty()),
        }
    }

    #[test]
    fn a_result_goes_through_two_versions(result in result(), a in 2..Version::ALL.len(), b in 2..Version::ALL.len()) {
        let (a, b) = (Version::ALL[a], Version::ALL[b]);
        let text = read(&result.print(a).unwrap(), a).print(b).unwrap();
        prop_assert_eq!(read(&text, b), sayable(&result, a.min(b)));
    }

    #[test]
    fn no_bytes_make_a_call_panic(values in vec(value(), 7), stdin in vec(any::<u8>(), 0..200)) {
        call(&values, &stdin);
    }

    #[test]
    fn no_json_makes_a_call_panic(values in vec(value(), 7), stdin in json()) {
        call(&values, stdin.as_bytes());
    }

    #[test]
    fn no_text_makes_arguments_panic(text in ".{0,40}") {
        _ = Args::new(text).load(&["IP"]);
    }

    #[test]
    fn getters_take_any_value(text in json()) {
        if let Ok(Json::Object(object)) = Json::parse(text.as_bytes()) {
            get(&object);
        }
    }
}

/// Reads a call, and where no plugin would be started has one answer it.
fn call(values: &[Option<OsString>], stdin: &[u8]) {
    let names = [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_NETNS",
        "CNI_IFNAME",
        "CNI_ARGS",
        "CNI_PATH",
        "CNI_NETNS_OVERRIDE",
    ];
    let get = |name: &str| values[names.iter().position(|other| *other == name)?].clone();
    let environment = Environment::from_fn(get);
    match Call::read(&environment, stdin, Version::ALL) {
        Ok(call) => {
            _ = (call.conventional(), call.runtime(), call.valid_attachments(), call.args.load(&["IP"]));
        }
        Err(error) => {
            let answer = answer(find("loopback").unwrap(), &environment, stdin);
            match environment.command().as_deref() {
                None => assert!(answer.is_success && answer.out.is_empty() && answer.err.contains("0.4.0")),
                Some("VERSION") => assert!(answer.is_success && answer.out.contains("0.4.0")),
                Some(_) => {
                    let printed: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
                    assert_eq!(printed["code"], error.code.0);
                    assert!(!answer.is_success);
                }
            }
        }
    }
}

fn get(object: &Object) {
    for (key, value) in object.pairs() {
        _ = (object.string(key), object.boolean(key), object.number::<u8>(key), object.strings(key));
        _ = (object.list(key), object.objects(key));
        if let Json::Object(inner) = value {
            get(inner);
        }
    }
}
