//! IPAM plugins of others, here as scripts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use linkspan_cni::ipam::delegate::{add, find, tell};
use linkspan_cni::{Call, CniError, CniResult, Environment, Verb, Version};

const CONFIG: &str =
    r#"{"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "theirs"}, "strange": [1, 2]}"#;

/// A directory with the plugin `theirs`, gone at the end.
struct Theirs(PathBuf);

impl Theirs {
    fn new(name: &str, script: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("linkspan-ipam-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("theirs");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(directory)
    }

    fn call(&self, config: &str) -> Call {
        let get = |name: &str| match name {
            "CNI_COMMAND" => Some("ADD".into()),
            "CNI_CONTAINERID" | "CNI_NETNS" | "CNI_IFNAME" => Some("x".into()),
            "CNI_PATH" => Some(format!("/nowhere:{}", self.0.display()).into()),
            _ => None,
        };
        Call::read(&Environment::from_fn(get), config.as_bytes(), Version::ALL).unwrap()
    }

    fn add(&self) -> Result<CniResult, CniError> {
        let call = self.call(CONFIG);
        add(&call, &find(&call, "theirs").unwrap())
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn it_gets_the_whole_configuration_and_the_verb() {
    let theirs = Theirs::new("given", "cat >${0%/*}/stdin; echo $CNI_COMMAND >${0%/*}/verb");
    let call = theirs.call(CONFIG);
    let plugin = find(&call, "theirs").unwrap();
    for verb in [Verb::Del, Verb::Check, Verb::Gc, Verb::Status] {
        tell(&call, &plugin, verb).unwrap();
        assert_eq!(fs::read_to_string(theirs.0.join("stdin")).unwrap(), CONFIG);
        assert_eq!(fs::read_to_string(theirs.0.join("verb")).unwrap().trim(), verb.as_str());
    }
}

#[test]
fn its_result_is_read_by_its_own_version() {
    for text in [
        r#"{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1"}}"#,
        r#"{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.2/24", "gateway": "10.0.0.1"}]}"#,
        r#"{"ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}]}"#,
    ] {
        let result = Theirs::new("result", &format!("cat >/dev/null; echo '{text}'")).add().unwrap();
        assert_eq!(result.ips[0].address, "10.0.0.2/24".parse().unwrap());
        assert_eq!(result.ips[0].gateway, Some("10.0.0.1".parse().unwrap()));
    }
}

#[test]
fn its_error_becomes_ours() {
    let error = r#"{"cniVersion": "1.0.0", "code": 11, "msg": "busy", "details": "wait"}"#;
    let error = Theirs::new("error", &format!("echo '{error}'; exit 1")).add().unwrap_err();
    assert_eq!((error.code.0, error.msg.as_str(), error.details.as_str()), (11, "busy", "wait"));
    let error = Theirs::new("silent", "exit 3").add().unwrap_err();
    assert!(error.details.contains('3'), "{error}");
}

#[test]
fn what_is_not_json_is_shown() {
    for (name, script) in
        [("nonsense", "echo nonsense"), ("crash", "echo nonsense; exit 2"), ("list", "echo '[\"nonsense\"]'")]
    {
        let error = Theirs::new(name, script).add().unwrap_err();
        assert_eq!(error.code.0, 6);
        assert!(error.msg.contains("nonsense"), "{error}");
    }
}

#[test]
fn one_that_is_not_there_is_named_with_where_it_was_looked_for() {
    let theirs = Theirs::new("absent", "");
    let call = theirs.call(CONFIG);
    let error = find(&call, "other").unwrap_err();
    assert!(error.msg.starts_with(r#"failed to find plugin "other" in path [/nowhere "#), "{error}");
    assert_eq!(find(&call, "../theirs").unwrap_err().code.0, 7);
    assert!(find(&call, "").is_err());
}

#[test]
fn a_file_that_cannot_be_executed_is_an_error() {
    let theirs = Theirs::new("plain", "");
    fs::set_permissions(theirs.0.join("theirs"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(theirs.add().unwrap_err().msg.starts_with("cannot execute "));
}
