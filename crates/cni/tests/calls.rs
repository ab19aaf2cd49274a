//! Calls as a runtime makes them: which mistake is told, and with which code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use linkspan_cni::{Attachment, Call, CniError, Code, Environment, Verb, Version};

const ADD: [(&str, &str); 5] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/run/netns/c1"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
];
const CONFIG: &str = r#"{"cniVersion": "1.0.0", "name": "net", "type": "bridge"}"#;

/// ADD's variables with `changes`; an empty value takes one away.
fn environment(changes: &[(&str, &str)]) -> Environment {
    let mut all: BTreeMap<&str, &str> = ADD.into();
    all.extend(changes.iter().copied());
    Environment::from_fn(|name| all.get(name).map(Into::into))
}

fn read(changes: &[(&str, &str)], config: &str) -> Result<Call, CniError> {
    Call::read(&environment(changes), config.as_bytes(), Version::ALL)
}

fn refused(changes: &[(&str, &str)], config: &str) -> (u32, String) {
    let error = read(changes, config).expect_err("a refusal");
    (error.code.0, error.msg)
}

fn versioned(version: &str) -> String {
    CONFIG.replace("1.0.0", version)
}

#[test]
fn a_whole_call_is_read() {
    let call = read(&[("CNI_ARGS", "IP=10.0.0.9"), ("CNI_NETNS_OVERRIDE", "TRUE")], CONFIG).unwrap();
    assert_eq!((call.verb, call.version), (Verb::Add, Version::V100));
    assert_eq!((call.container.as_str(), call.ifname.as_str(), call.name.as_str()), ("c1", "eth0", "net"));
    assert_eq!(call.netns().unwrap().to_str(), Some("/run/netns/c1"));
    assert_eq!(call.path, ["/opt/cni/bin", "/usr/lib/cni"].map(std::path::PathBuf::from));
    assert_eq!(call.args.as_str(), "IP=10.0.0.9");
    assert_eq!(call.stdin, CONFIG.as_bytes());
    assert!(call.may_be_own && call.prev.is_none());
    assert_eq!(call.previous().unwrap_err().code, Code::CONFIG);
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let none = [("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", ""), ("CNI_PATH", "")];
    let told = |verb: &'static str| refused(&[&none[..], &[("CNI_COMMAND", verb)]].concat(), "");
    let missing = |names: &str| (4, format!("required env variables [{names}] missing"));
    assert_eq!(told("ADD"), missing("CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"));
    assert_eq!(told("CHECK"), missing("CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"));
    assert_eq!(told("DEL"), missing("CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"));
    assert_eq!(told("GC"), missing("CNI_PATH"));
    assert_eq!(told("STATUS"), missing("CNI_PATH"));
}

#[test]
fn detaching_needs_no_namespace() {
    let call = read(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")], CONFIG).unwrap();
    assert_eq!(call.netns, None);
    assert_eq!(call.netns().unwrap_err().code, Code::ENVIRONMENT);
}

#[test]
fn names_that_cannot_be_are_refused() {
    for container in ["-a", ".a", "a/b", "a b", "ä", "a;b"] {
        assert_eq!(refused(&[("CNI_CONTAINERID", container)], CONFIG).0, 4, "{container}");
    }
    for ifname in [".", "..", "a/b", "a:b", "a b", "a\u{a0}b", "sixteen-letters-"] {
        assert_eq!(refused(&[("CNI_IFNAME", ifname)], CONFIG).0, 4, "{ifname}");
    }
    for name in ["-a", "a/b", "a b", "ä"] {
        assert_eq!(refused(&[], &CONFIG.replace("net", name)).0, 7, "{name}");
    }
    read(&[("CNI_CONTAINERID", "0_.-Z"), ("CNI_IFNAME", "fifteen-letters")], CONFIG).unwrap();
    // What a verb does not need is not looked at.
    let strange = [("CNI_COMMAND", "GC"), ("CNI_CONTAINERID", "-"), ("CNI_IFNAME", "a/b")];
    read(&strange, &versioned("1.1.0")).unwrap();
}

#[test]
fn of_several_mistakes_the_first_is_told() {
    let bad = [("CNI_CONTAINERID", "-"), ("CNI_IFNAME", "")];
    assert_eq!(refused(&bad, "").1, "invalid characters in containerID");
    assert_eq!(refused(&[("CNI_IFNAME", "")], "").0, 4);
    let verb = [("CNI_COMMAND", "FROB")];
    assert_eq!(refused(&verb, "{").0, 6);
    assert_eq!(refused(&verb, "{}").0, 7);
    assert_eq!(refused(&verb, &versioned("9.9.9")), (4, "unknown CNI_COMMAND: FROB".to_owned()));
    assert_eq!(refused(&[], r#"{"cniVersion": "9.9.9", "name": "-"}"#).0, 7);
    assert_eq!(refused(&[], r#"{"cniVersion": "9.9.9", "name": "a", "prevResult": 7}"#).0, 1);
}

#[test]
fn what_is_no_configuration_is_refused() {
    for text in ["", "{", "[]", "7", "\"name\"", r#"{"name": 7}"#, r#"{"name": "a", "cniVersion": 1}"#] {
        assert_eq!(refused(&[], text).0, 6, "{text}");
    }
    for text in ["null", "{}", r#"{"name": ""}"#, r#"{"name": null}"#] {
        assert_eq!(refused(&[], text), (7, "missing network name".to_owned()), "{text}");
    }
}

#[test]
fn input_that_cannot_be_read_is_told() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let error = Call::read(&environment(&[]), Broken, Version::ALL).unwrap_err();
    assert_eq!(error.code, Code::IO);
}

#[test]
fn versions_are_those_that_the_plugin_has() {
    for version in Version::ALL {
        assert_eq!(read(&[], &versioned(version.as_str())).unwrap().version, *version);
    }
    for none in [r#"{"name": "a"}"#, r#"{"name": "a", "CNIVERSION": ""}"#] {
        assert_eq!(read(&[], none).unwrap().version, Version::V010);
    }
    for unknown in ["0.3.2", "1.0", "1.2.0", "v1.0.0", " 1.0.0", "x"] {
        assert_eq!(
            refused(&[], &versioned(unknown)),
            (1, "incompatible CNI versions".to_owned()),
            "{unknown}"
        );
    }
    let error = Call::read(&environment(&[]), versioned("0.3.1").as_bytes(), Version::V040.and_later());
    assert!(error.unwrap_err().details.contains(r#"config is "0.3.1", plugin supports ["0.4.0""#));
}

#[test]
fn verbs_come_with_versions() {
    for (verb, since) in [("CHECK", Version::V040), ("GC", Version::V110), ("STATUS", Version::V110)] {
        let verb = [("CNI_COMMAND", verb)];
        for version in Version::ALL {
            let answer = read(&verb, &versioned(version.as_str()));
            assert_eq!(
                answer.map(drop).map_err(|error| error.code.0),
                if *version < since { Err(1) } else { Ok(()) }
            );
        }
        assert_eq!(refused(&verb, r#"{"name": "a"}"#).0, 1);
        assert_eq!(refused(&verb, &versioned("9.9.9")).0, 1);
        assert_eq!(refused(&verb, &versioned("x.y")).0, 6);
        assert_eq!(refused(&verb, &versioned("1.1.0.0")).0, 6);
    }
}

#[test]
fn a_former_result_has_the_version_of_the_configuration_or_its_own() {
    let with = |result: &str| {
        let config = format!(r#"{{"cniVersion": "0.2.0", "name": "a", "prevResult": {result}}}"#);
        read(&[], &config).map(|call| call.prev)
    };
    let addresses = |result: &str| with(result).unwrap().unwrap().ips.len();
    assert_eq!(addresses(r#"{"ip4": {"ip": "10.0.0.2/24"}}"#), 1);
    assert_eq!(addresses(r#"{"CNIVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]}"#), 1);
    assert_eq!(addresses("{}"), 0);
    assert_eq!(with("null").unwrap(), None);
    for wrong in ["7", r#"{"cniVersion": "7"}"#, r#"{"ip4": {"ip": "10.0.0.2"}}"#, r#"{"ip4": {}}"#] {
        assert_eq!(with(wrong).unwrap_err().code, Code::DECODING, "{wrong}");
        // Whoever cleans up is not held back.
        let config = format!(r#"{{"name": "a", "prevResult": {wrong}}}"#);
        assert_eq!(read(&[("CNI_COMMAND", "DEL")], &config).unwrap().prev, None);
    }
}

#[test]
fn an_absent_list_of_attachments_is_not_an_empty_one() {
    let with = |rest: &str| {
        let config = format!(r#"{{"cniVersion": "1.1.0", "name": "a"{rest}}}"#);
        read(&[("CNI_COMMAND", "GC")], &config).unwrap().valid_attachments()
    };
    let one = || vec![Attachment { container: "c".into(), ifname: "eth0".into() }];
    assert_eq!(with("").unwrap(), None);
    assert_eq!(with(r#", "cni.dev/valid-attachments": null"#).unwrap(), None);
    assert_eq!(with(r#", "cni.dev/valid-attachments": []"#).unwrap(), Some(vec![]));
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let list = format!(r#", "{key}": [{{"containerID": "c", "ifname": "eth0"}}]"#);
        assert_eq!(with(&list).unwrap(), Some(one()));
    }
    assert!(with(r#", "cni.dev/attachments": ["c"]"#).is_err());
}
