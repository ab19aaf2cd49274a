//! The program as such: formats, help, pages, and the demo.

use std::fs;

use serde_json::Value;

use crate::support::*;

/// Every command, by the words that lead to it.
const COMMANDS: [&str; 23] = [
    "network create",
    "network ls",
    "network inspect",
    "network rm",
    "network prune",
    "network connect",
    "network disconnect",
    "sandbox create",
    "sandbox ls",
    "sandbox inspect",
    "sandbox rm",
    "sandbox exec",
    "run",
    "exec",
    "port",
    "plan",
    "apply",
    "delete",
    "repair",
    "demo",
    "completion",
    "man",
    "",
];

#[test]
fn every_help_has_an_example() {
    run(here!(), || {
        for command in COMMANDS {
            let help = linkspan(&format!("{command} --help"));
            let examples = help.split("Example").nth(1).unwrap_or_default();
            assert!(
                examples.contains(&format!("linkspan {command}")),
                "no example in `{command} --help`:\n{help}"
            );
            let group = command.rsplit_once(' ').map_or("", |(group, _)| group);
            let (list, first) = (linkspan(&format!("{group} --help")), help.lines().next().unwrap());
            assert!(
                list.contains(first),
                "`{command} --help` begins with '{first}', which is not in\n{list}"
            );
        }
        for group in ["network --help", "sandbox --help"] {
            assert!(linkspan(group).contains("Usage:"));
        }
        // Nothing is made by looking.
        assert!(!fs::exists(STATE).unwrap());
    });
}

#[test]
fn without_a_command_it_shows_what_there_is() {
    run(here!(), || {
        let output = run_program("");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2));
        assert!(["network", "sandbox", "demo"].iter().all(|word| shown.contains(word)), "{shown}");
    });
}

#[test]
fn every_list_has_a_form_for_programs() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 --label a=b lab");
        let created = json("--format json sandbox create --net lab -p 8080:80 web");
        assert_eq!(created["Name"], "web");
        assert_eq!(json("--format json network create --subnet 10.8.0.0/24 two")["Name"], "two");
        let names = |line: &str| -> Vec<String> {
            let list: Value = json(line);
            list.as_array().unwrap().iter().map(|each| each["Name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("network ls --format json"), ["bridge", "host", "lab", "none", "two"]);
        assert_eq!(names("sandbox ls --format json"), ["web"]);
        assert_eq!(names("network inspect two lab"), ["two", "lab"]);
        assert_eq!(json("port web --format json")["80/tcp"][0]["HostPort"], "8080");
        assert_eq!(json("network inspect lab")[0]["Labels"]["a"], "b");
        assert!(json("repair --dry-run --format json")["steps"].as_array().unwrap().is_empty());
    });
}

#[test]
fn tables_are_aligned_and_without_colour() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br7 lab");
        linkspan("sandbox create --net lab -p 8080:80 web");
        for (line, words) in [
            ("network ls", ["NETWORK ID", "lab", "bridge", "10.7.0.0/24", "br7"]),
            ("sandbox ls", ["NAME", "web", "lab", "10.7.0.2", "8080"]),
        ] {
            let table = linkspan(line);
            assert!(words.iter().all(|word| table.contains(word)), "{table}");
            assert!(!table.contains('\u{1b}'), "{table}");
            assert!(table.lines().all(|row| row.trim_end() == row), "{table}");
        }
    });
}

#[test]
fn each_step_is_printed_on_request() {
    run(here!(), || {
        linkspan("network create --subnet 10.7.0.0/24 -o com.docker.network.bridge.name=br7 lab");
        let output = run_program("-v sandbox create --net lab -p 8080:80 web");
        let steps = String::from_utf8_lossy(&output.stderr).into_owned();
        for step in [
            "create namespace web",
            "on br7",
            "peer eth0 in web",
            "publish4_any { tcp . 8080 : 10.7.0.2 . 80 }",
        ] {
            assert!(steps.lines().any(|line| line.starts_with("+ ") && line.contains(step)), "{steps}");
        }
        assert_eq!(output.stdout, b"web\n");
    });
}

#[test]
fn shells_complete_its_commands() {
    run(here!(), || {
        for shell in ["bash", "zsh", "fish"] {
            let script = linkspan(&format!("completion {shell}"));
            assert!(script.contains("linkspan"), "{shell}");
            if run_tool(&format!("command -v {shell}")).0 {
                fs::write("/run/completion", script).unwrap();
                sh(&format!("{shell} -n /run/completion"));
            }
        }
        let before = Snapshot::take();
        assert_eq!(completed("network rm ")[..3], ["bridge", "host", "none"]);
        before.is_unchanged();
        assert!(!std::path::Path::new(STATE).exists(), "a word was worth a database");
        linkspan("network create --subnet 10.7.0.0/24 lab");
        linkspan("sandbox create --net lab web");
        assert_eq!(completed("net"), ["network", "netavark"]);
        assert_eq!(completed("network connect --gw"), ["--gw-priority"]);
        assert_eq!(completed("network rm l"), ["lab"]);
        assert_eq!(completed("network disconnect lab ")[0], "web");
        assert_eq!(completed("exec w"), ["web"]);
        assert_eq!(completed("sandbox create --net container:"), ["container:web"]);
        let reader_that_has_had_enough = format!("{BINARY} completion bash | head -n 1");
        assert_eq!(sh(&reader_that_has_had_enough).lines().count(), 1);
        // One that is gone before the first word.
        for line in
            ["completion bash", "man", "version", "plan --schema", "network ls", "network inspect bridge"]
        {
            let told = sh(&format!(
                "{{ sleep 0.1; {ENVIRONMENT} {BINARY} {line} 2>&1 >&3; }} 3>&1 >/run/told | true; cat /run/told"
            ));
            assert_eq!(told, "", "{line}");
        }
    });
}

/// What bash offers for the last word of a line.
fn completed(line: &str) -> Vec<String> {
    let directory = std::path::Path::new(BINARY).parent().unwrap().display();
    let words: Vec<String> = format!("linkspan {line}").split(' ').map(|word| format!("'{word}'")).collect();
    let last = words.len() - 1;
    let ask = format!(
        "PATH={directory}:$PATH; . <(linkspan completion bash); COMP_WORDS=({}); COMP_CWORD={last}; \
         _clap_complete_linkspan linkspan {}; printf \"%s\\n\" \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words[last]
    );
    fs::write("/run/ask", ask).unwrap();
    sh(&format!("{ENVIRONMENT} bash /run/ask")).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_manual_is_a_page() {
    run(here!(), || {
        let page = linkspan("man");
        assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
        assert!(page.contains("Container networking"));
        linkspan("man --dir /run/man");
        let pages = fs::read_dir("/run/man").unwrap().count();
        assert!(pages > COMMANDS.len(), "{pages} pages");
        let page = fs::read_to_string("/run/man/linkspan-network-create.1").unwrap();
        assert!(page.contains("ip\\-range"));
        // What is there to be copied is not filled and hyphenated.
        let (_, examples) = page.split_once("\n.nf\nExamples:\n").expect("examples in lines of their own");
        assert!(examples.contains("\n.fi\n.SH "), "{examples}");
    });
}

#[test]
fn the_version_is_printed() {
    run(here!(), || {
        let version = concat!("linkspan ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(linkspan("version"), version);
        assert_eq!(linkspan("--version"), version);
    });
}

#[test]
fn the_demo_tells_its_story_and_leaves_no_trace() {
    run(here!(), || {
        let before = Snapshot::take();
        let story = linkspan("demo");
        for line in [
            "A throwaway host",
            "$ linkspan network create --subnet 10.7.0.0/24",
            "+ create namespace web",
            "curl http://192.0.2.1:8080/",
            "curl http://127.0.0.1:8080/",
            "\"Subnet\": \"10.7.0.0/24\"",
            "02:42:0a:07:00:02",
            "publish4_any { tcp . 8080 : 10.7.0.2 . 80 }",
            "as they were before",
        ] {
            assert!(story.contains(line), "no '{line}' in:\n{story}");
        }
        assert!(!story.contains('\u{1b}'), "colours in a pipe");
        before.is_unchanged();
        assert!(!fs::exists(STATE).unwrap() && !fs::exists(RUN).unwrap());
    });
}

#[test]
fn the_demo_needs_no_privileges() {
    run(here!(), || {
        if !has("setpriv") {
            return;
        }
        // Only for user 0 to be mapped in a namespace does the kernel ask for CAP_SETFCAP.
        sh(&format!("setpriv --bounding-set -all,+setfcap {BINARY} demo >/run/story"));
        assert!(fs::read_to_string("/run/story").unwrap().contains("as they were before"));
    });
}
