//! What all plugins have in common: links, verbs, versions and errors.

use serde_json::{Value, json};

use super::calling::{Call, LINKS, install};
use crate::support::{Net, Snapshot, here, json as linkspan_json, linkspan, refused, run, sh};

const CONFIG: &str = r#"{"cniVersion": "1.1.0", "name": "net", "type": "loopback"}"#;
const ALL: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn versioned(version: &str) -> String {
    CONFIG.replace("1.1.0", version)
}

/// The plugins that are linked.
fn names() -> Vec<String> {
    sh(&format!("ls {LINKS}")).lines().map(str::to_owned).collect()
}

#[test]
fn links_are_made_once_and_replace_nothing_of_others() {
    run(here!(), || {
        let links = linkspan_json(&format!("cni install --format json {LINKS}"));
        let done =
            |links: &Value, done: &str| links.as_array().unwrap().iter().all(|link| link["done"] == done);
        assert!(done(&links, "created"), "{links:#}");
        assert!(names().contains(&"loopback".to_owned()));
        let path = links[0]["path"].as_str().unwrap();
        let program = links[0]["target"].as_str().unwrap();
        assert_eq!(sh(&format!("readlink -f {path}")).trim(), program);
        let again = linkspan_json(&format!("cni install --format json {LINKS}"));
        assert!(done(&again, "unchanged"), "{again:#}");

        // A link to where the program was before.
        sh(&format!("ln -sfn /opt/old/linkspan {path}"));
        assert!(linkspan(&format!("cni install {LINKS}")).contains("replaced"));
        assert_eq!(sh(&format!("readlink {path}")).trim(), program);

        // Somebody else's, and nothing else is changed then.
        let before = sh(&format!("rm {LINKS}/* && echo theirs >{path} && ls -l {LINKS}"));
        refused(&format!("cni install {LINKS}")).says(&["will not replace", path]).hints("--force");
        assert_eq!(sh(&format!("ls -l {LINKS}")), before);
        linkspan(&format!("cni install --force {LINKS}"));
        assert_eq!(sh(&format!("readlink {path}")).trim(), program);
        assert_eq!(sh(&format!("ls -A {LINKS} | grep -c '^\\.' || true")).trim(), "0");
    });
}

#[test]
fn links_beside_the_program_can_move_with_it() {
    run(here!(), || {
        let program = sh(&format!("readlink -f {}", crate::support::BINARY));
        sh(&format!("mkdir -p {LINKS} && cp {} {LINKS}/linkspan", program.trim()));
        sh(&format!("{LINKS}/linkspan cni install {LINKS}"));
        assert_eq!(sh(&format!("readlink {LINKS}/loopback")).trim(), "linkspan");
        assert!(sh(&format!("test -L {LINKS}/linkspan && echo link || echo file")).contains("file"));
        sh("mv /run/cni /run/moved");
        assert!(sh("/run/moved/bin/loopback 2>&1").contains("CNI loopback plugin"));
    });
}

#[test]
fn without_a_verb_a_link_says_what_it_is() {
    run(here!(), || {
        install();
        for name in names().iter().filter(|name| *name != "linkspan") {
            let said = Call::new(name, "", "").without("CNI_COMMAND").with("");
            assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{name}");
            assert!(
                said.err.contains(&format!("CNI {name} plugin")) && said.err.contains("1.1.0"),
                "{said:?}"
            );
        }
    });
}

#[test]
fn versions_are_told_whatever_else_is_said() {
    run(here!(), || {
        install();
        for name in names() {
            let told = Call::new(&name, "VERSION", "dummy").with(r#"{"cniVersion": "0.3.1"}"#).result();
            assert_eq!(told["cniVersion"], "1.1.0", "{name}");
            let versions = told["supportedVersions"].as_array().unwrap();
            assert!(
                versions.contains(&json!("0.4.0")) && versions.contains(&json!("1.1.0")),
                "{name}: {told:#}"
            );
            let bare = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
            let bare = bare.into_iter().fold(Call::new(&name, "VERSION", ""), Call::without);
            assert_eq!(bare.with("nonsense").result(), told, "{name}");
        }
        let told = Call::new("loopback", "VERSION", "").with("").result();
        assert_eq!(told["supportedVersions"], json!(ALL));
    });
}

#[test]
fn every_mistake_has_its_code_and_changes_nothing() {
    run(here!(), || {
        install();
        let box_ = Net::new("box");
        box_.sh("ip link set lo down");
        let before = Snapshot::take();
        let call = |verb: &str| Call::new("loopback", verb, "/run/netns/box");
        let error = call("ADD").with(&versioned("1.2.0")).error(1);
        assert!(error["details"].as_str().unwrap().contains("1.2.0"), "{error:#}");
        assert_eq!(call("CHECK").with(&versioned("0.3.1")).error(1)["cniVersion"], "0.3.1");
        call("GC").with(&versioned("1.0.0")).error(1);
        call("STATUS").with(&versioned("1.0.0")).error(1);
        let missing = call("ADD").without("CNI_IFNAME").env("CNI_NETNS", "").with(CONFIG).error(4);
        assert_eq!(missing["msg"], "required env variables [CNI_NETNS,CNI_IFNAME] missing");
        call("ADD").env("CNI_CONTAINERID", "../x").with(CONFIG).error(4);
        call("ADD").env("CNI_IFNAME", "a/b").with(CONFIG).error(4);
        call("FROB").with(CONFIG).error(4);
        call("ADD").stdin("/run").with("").error(5);
        call("ADD").stdin("/dev/null").with("").error(6);
        call("ADD").with("{").error(6);
        call("ADD").with("[]").error(6);
        call("ADD").with("{}").error(7);
        call("ADD").with(r#"{"name": "../net"}"#).error(7);
        for path in ["/proc/self/ns/net", "/proc/thread-self/ns/net"] {
            let error = call("ADD").env("CNI_NETNS", path).with(CONFIG).error(8);
            assert_eq!(error["cniVersion"], "1.1.0");
        }
        call("ADD").env("CNI_NETNS", "/run/netns/none").with(CONFIG).error(999);
        before.is_unchanged();
        assert!(!box_.sh("ip -br link show lo").contains("UP"));
    });
}

#[test]
fn the_own_namespace_may_be_meant_on_purpose() {
    run(here!(), || {
        install();
        for yes in ["1", "true", "TRUE"] {
            let call = Call::new("loopback", "ADD", "/proc/self/ns/net").env("CNI_NETNS_OVERRIDE", yes);
            call.with(CONFIG).result();
        }
        Call::new("loopback", "ADD", "/proc/self/ns/net")
            .env("CNI_NETNS_OVERRIDE", "0")
            .with(CONFIG)
            .error(8);
    });
}

#[test]
fn with_arguments_the_program_is_the_command_line() {
    run(here!(), || {
        let said = Call::native("ADD", "/run/netns/none").args(&["version"]).with("");
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.starts_with("linkspan "), "{said:?}");
    });
}
