//! `dhcp`: the address that a DHCP server leases, through the interface that is to have it. The daemon gets the lease and
//! keeps it.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use linkspan_dhcp::{Allocated, Applicant, Attached, DAEMON_SOCKET, Order, order};

use super::section;
use crate::error::Code;
use crate::{Call, CniError, CniResult, Dns, Host, Ip, Object, Plugin, Route};

/// Options by the names of dhcp-options(5).
const NAMES: [(&str, u8); 6] = [
    ("dhcp-client-identifier", 61),
    ("subnet-mask", 1),
    ("routers", 3),
    ("host-name", 12),
    ("user-class", 77),
    ("vendor-class-identifier", 60),
];
/// What is asked for unless `skipDefault` says not to: routers and the mask.
const ASKED: [u8; 2] = [3, 1];
/// The length of an option is a byte.
const LONGEST: usize = 255;
/// linux/rtnetlink.h: RT_SCOPE_LINK.
const ON_LINK: u8 = 253;

/// The plugin.
pub struct Dhcp;

/// What the configuration has for it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Config {
    socket: PathBuf,
    provide: Vec<(u8, Vec<u8>)>,
    request: Vec<u8>,
    priority: Option<u32>,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let ipam = section(call)?;
        let socket = ipam.text("daemonSocketPath")?.unwrap_or_else(|| DAEMON_SOCKET.to_owned());
        let mut provide = Vec::new();
        for object in ipam.objects("provide")? {
            let code = code(&object.string("option")?.unwrap_or_default())?;
            let by_argument = object.text("fromArg")?.and_then(|key| argument(call, &key));
            for value in object.text("value")?.into_iter().chain(by_argument) {
                if value.len() > LONGEST {
                    return Err(CniError::config(format!("value too long for option {code}: {value:?}")));
                }
                provide.push((code, value.into_bytes()));
            }
        }
        let priority = ipam.number::<u32>("priority")?.filter(|metric| *metric != 0);
        Ok(Self { socket: socket.into(), provide, request: request(ipam)?, priority })
    }

    fn order(&self, what: &Order) -> Result<Option<Allocated>, CniError> {
        order(&self.socket, what).map_err(CniError::other)
    }

    fn result(&self, allocated: Allocated) -> CniResult {
        let route = |(to, hop): (ipnet::Ipv4Net, Option<std::net::Ipv4Addr>)| Route {
            priority: self.priority,
            scope: hop.is_none().then_some(ON_LINK),
            ..Route::new(IpNet::V4(to), hop.map(IpAddr::V4))
        };
        let address = IpNet::V4(allocated.address);
        let gateway = allocated.gateway.map(IpAddr::V4);
        CniResult {
            interfaces: Vec::new(),
            ips: vec![Ip { address, gateway, interface: None }],
            routes: allocated.routes.into_iter().map(route).collect(),
            dns: Dns::default(),
        }
    }
}

/// The codes of the options to ask for.
fn request(ipam: &Object) -> Result<Vec<u8>, CniError> {
    let mut codes = Vec::new();
    let mut with_default = true;
    for object in ipam.objects("request")? {
        with_default &= !object.boolean("skipDefault")?.unwrap_or_default();
        if let Some(name) = object.text("option")? {
            codes.push(code(&name)?);
        }
    }
    if with_default {
        codes.extend(ASKED.into_iter().filter(|code| !codes.contains(code)).collect::<Vec<_>>());
    }
    Ok(codes)
}

/// The code of an option, by its name or as a number.
fn code(name: &str) -> Result<u8, CniError> {
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
    named.or_else(|| name.parse().ok().filter(|code| !matches!(code, 0 | 255))).ok_or_else(|| {
        let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        CniError::config(format!("Can not parse option {name:?}"))
            .because(format!("it may be a number from 1 to 254, or one of: {}", known.join(", ")))
    })
}

/// The value of a key of CNI_ARGS, which may have any others.
fn argument(call: &Call, key: &str) -> Option<String> {
    let mut pairs = call.args.as_str().split(';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
}

fn attached(call: &Call) -> Attached {
    Attached { container: call.container.clone(), network: call.name.clone(), ifname: call.ifname.clone() }
}

impl Plugin for Dhcp {
    fn name(&self) -> &'static str {
        "dhcp"
    }

    fn add(&self, call: &Call, _host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        let netns = std::path::absolute(call.netns()?);
        let netns =
            netns.map_err(|error| CniError::new(Code::NETNS, format!("no path of a netns: {error}")))?;
        let applicant = Applicant {
            attached: attached(call),
            netns,
            provide: config.provide.clone(),
            request: config.request.clone(),
            found: Default::default(),
        };
        let allocated = config.order(&Order::Allocate(applicant))?;
        let allocated = allocated.ok_or_else(|| CniError::other("the DHCP daemon has no lease"))?;
        Ok(config.result(allocated))
    }

    fn del(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        Config::read(call)?.order(&Order::Release(attached(call))).map(drop)
    }

    fn check(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        let held = Config::read(call)?.order(&Order::Look(attached(call)))?;
        let lost =
            || CniError::other(format!("the DHCP daemon keeps no lease for {}", attached(call).name()));
        let held = IpNet::V4(held.ok_or_else(lost)?.address);
        let told = call.previous()?.ips.iter().any(|ip| ip.address == held);
        if told {
            Ok(())
        } else {
            Err(CniError::other(format!("the lease is {held}, which prevResult has not")))
        }
    }

    fn gc(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        let Some(valid) = call.valid_attachments()? else { return Ok(()) };
        let network = call.name.clone();
        let attached = |known: crate::Attachment| Attached {
            container: known.container,
            network: network.clone(),
            ifname: known.ifname,
        };
        let valid = valid.into_iter().map(attached).collect();
        Config::read(call)?.order(&Order::Collect { network: network.clone(), valid }).map(drop)
    }

    fn status(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        let asked = Config::read(call)?.order(&Order::Look(attached(call)));
        asked.map(drop).map_err(|error| CniError { code: Code::UNAVAILABLE, ..error })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::call;
    use super::*;

    fn read(args: &str, ipam: &str) -> Result<Config, CniError> {
        Config::read(&call("1.1.0", args, &format!(r#""ipam": {{"type": "dhcp", {ipam}}}"#)))
    }

    #[test]
    fn options_are_told_and_asked_for() {
        let plain = read("", r#""x": 1"#).unwrap();
        let nothing = Config {
            socket: DAEMON_SOCKET.into(),
            provide: Vec::new(),
            request: ASKED.to_vec(),
            priority: None,
        };
        assert_eq!(plain, nothing);
        let all = r#""daemonSocketPath": "/x.sock", "priority": 50,
            "provide": [{"option": "host-name", "fromArg": "K8S_POD_NAME"}, {"option": "60", "value": "v"},
                        {"option": "12", "fromArg": "OTHER"}],
            "request": [{"skipDefault": true, "option": "121"}, {"option": "routers"}]"#;
        let config = read("IgnoreUnknown=1;K8S_POD_NAME=web", all).unwrap();
        assert_eq!((config.socket, config.priority), ("/x.sock".into(), Some(50)));
        assert_eq!(config.provide, [(12, b"web".to_vec()), (60, b"v".to_vec())]);
        assert_eq!(config.request, [121, 3]);
        assert_eq!(read("", r#""request": [{"option": "subnet-mask"}]"#).unwrap().request, [1, 3]);
        let long = format!(r#""provide": [{{"option": "12", "value": "{}"}}]"#, "x".repeat(256));
        assert!(read("", &long).unwrap_err().msg.contains("too long"));
        for name in ["", "name", "0", "255", "256"] {
            let error = read("", &format!(r#""provide": [{{"option": "{name}"}}]"#)).unwrap_err();
            assert_eq!((error.code, error.msg), (Code::CONFIG, format!("Can not parse option {name:?}")));
        }
    }

    #[test]
    fn a_lease_becomes_a_result() {
        let config = read("", r#""priority": 7"#).unwrap();
        let gateway = "10.1.2.1".parse().unwrap();
        let result = config.result(Allocated {
            address: "10.1.2.50/24".parse().unwrap(),
            gateway: Some(gateway),
            routes: vec![
                ("0.0.0.0/0".parse().unwrap(), Some(gateway)),
                ("10.9.0.0/16".parse().unwrap(), None),
            ],
        });
        assert_eq!(
            (result.ips[0].address.to_string(), result.ips[0].gateway),
            ("10.1.2.50/24".to_owned(), Some(gateway.into()))
        );
        assert_eq!((result.routes[0].gw, result.routes[0].scope), (Some(gateway.into()), None));
        assert_eq!((result.routes[1].gw, result.routes[1].scope), (None, Some(253)));
        assert!(result.routes.iter().all(|route| route.priority == Some(7)));
    }

    #[test]
    fn without_a_daemon_everything_says_so() {
        let rest = r#""ipam": {"type": "dhcp", "daemonSocketPath": "/nowhere/dhcp.sock"}"#;
        let call = call("1.1.0", "", rest);
        let host = &mut Host::new();
        assert!(Dhcp.add(&call, host).unwrap_err().msg.starts_with("error dialing DHCP daemon"));
        assert!(Dhcp.del(&call, host).is_err());
        assert_eq!(Dhcp.status(&call, host).unwrap_err().code, Code::UNAVAILABLE);
    }
}
