//! Calls for the tests of single plugins.

use crate::{Call, CniResult, Environment, Ip, Version};

/// ADD of `eth0` in `/run/netns/box`, with `args` as CNI_ARGS and `rest` in the configuration.
pub fn call(args: &str, rest: &str) -> Call {
    let config = format!(r#"{{"cniVersion": "1.1.0", "name": "net", "type": "x", {rest}}}"#);
    let environment = Environment::from_fn(|name| {
        let value = match name {
            "CNI_COMMAND" => "ADD",
            "CNI_CONTAINERID" => "box",
            "CNI_NETNS" => "/run/netns/box",
            "CNI_IFNAME" => "eth0",
            "CNI_PATH" => "/nowhere",
            "CNI_ARGS" => args,
            _ => return None,
        };
        Some(value.into())
    });
    Call::read(&environment, config.as_bytes(), Version::ALL).unwrap()
}

/// A result with these addresses, each with its gateway after a space if it has one.
pub fn addressed(texts: &[&str]) -> CniResult {
    let ip = |text: &&str| {
        let (address, gateway) = text.split_once(' ').map_or((*text, None), |(one, two)| (one, Some(two)));
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        Ip { address: address.parse().unwrap(), gateway, interface: None }
    };
    CniResult { ips: texts.iter().map(ip).collect(), ..CniResult::default() }
}
