//! Whole labs from a file: plan, apply, delete.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

const PATIENCE: Duration = Duration::from_secs(2);
/// Where the labs of these tests are.
const FILE: &str = "/run/lab.toml";

/// Writes the file, and applies it.
fn apply(text: &str) -> String {
    fs::write(FILE, text).unwrap();
    linkspan(&format!("apply -f {FILE}"))
}

fn plan() -> String {
    linkspan(&format!("plan -f {FILE}"))
}

fn delete() -> String {
    linkspan(&format!("delete -f {FILE}"))
}

/// What `sandbox inspect` says of an attachment.
fn attachment(sandbox: &str, network: &str) -> Value {
    json(&format!("sandbox inspect {sandbox}"))[0]["NetworkSettings"]["Networks"][network].clone()
}

const OFFICE: &str = r#"
name = "office"
network.lan.subnet = "10.7.0.0/24"
network.dmz = { subnet = "10.8.0.0/24", internal = true }

[sandbox.web]
net = ["lan,ip=10.7.0.80"]
publish = "8080:80"
run = "exec busybox httpd -f -p 80 -h /run/www"

[sandbox.pc]
net = "lan"

[sandbox.old]
net = ["lan", "dmz"]

[[check]]
from = "pc"
http = "web/hello"
contains = "from the web"

[[check]]
from = "old"
tcp = "web:81"
fails = true
"#;

const HELLO: &str = "hello from the web\n";

fn pages() {
    sh("mkdir -p /run/www && echo hello from the web > /run/www/hello");
}

#[test]
fn a_file_is_made_and_changed_and_removed() {
    run(here!(), || {
        let world = World::new();
        pages();
        let before = Snapshot::take();
        let made = apply(OFFICE);
        for line in [
            "+ network dmz: subnet 10.8.0.0/24, internal",
            "+ network lan: subnet 10.7.0.0/24",
            "+ sandbox pc: net lan",
            "+ sandbox web: net lan,ip=10.7.0.80, publish 8080:80, run exec busybox httpd -f -p 80 -h /run/www",
        ] {
            assert!(made.lines().any(|made| made == line), "no '{line}' in\n{made}");
        }
        assert!(
            made.lines().any(|line| line == "pc     http web:80/hello   ok       'from the web'"),
            "{made}"
        );
        assert!(made.lines().any(|line| line.starts_with("old    tcp web:81, fails   ok ")), "{made}");
        assert_eq!(page(&world.outside, "192.0.2.1:8080").unwrap(), HELLO);
        let (web, pc) = (attachment("web", "lan"), json("sandbox inspect pc"));

        assert_eq!(plan(), "no difference\n");
        assert!(apply(OFFICE).starts_with("nothing to change\n"));
        assert_eq!(attachment("web", "lan"), web);

        let changed = OFFICE
            .replace("net = [\"lan,ip=10.7.0.80\"]", "net = [\"lan,ip=10.7.0.80\", { network = \"dmz\" }]")
            .replace("8080:80", "8081:80")
            .replace("[sandbox.old]", "[sandbox.new]")
            .replace("from = \"old\"", "from = \"new\"");
        fs::write(FILE, &changed).unwrap();
        let expected = "- sandbox old\n\
                        ~ sandbox web: connect to dmz, publish 8081:80, no longer publish 0.0.0.0:8080 -> 80/tcp\n\
                        + sandbox new: net lan, net dmz\n";
        let mut lines: Vec<_> = plan().lines().map(str::to_owned).collect();
        let mut wanted: Vec<_> = expected.lines().map(str::to_owned).collect();
        lines.sort();
        wanted.sort();
        assert_eq!(lines, wanted);
        apply(&changed);
        assert_eq!(attachment("web", "lan"), web, "what did not change stays as it is");
        assert_eq!(json("sandbox inspect pc"), pc);
        assert_eq!(page(&world.outside, "192.0.2.1:8081").unwrap(), HELLO);
        assert!(page(&world.outside, "192.0.2.1:8080").is_err());
        assert_eq!(plan(), "no difference\n");

        delete();
        assert_eq!(delete(), "nothing to remove\n");
        before.is_unchanged();
        assert!(!run_tool("pidof busybox").0, "a program is left");
    });
}

/// What a page server at `address` answers, as `from` sees it.
fn page(from: &Net, address: &str) -> io::Result<String> {
    from.enter(|| {
        let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /hello HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
    })
}

#[test]
fn a_network_that_must_be_made_anew_takes_nothing_else_along() {
    run(here!(), || {
        pages();
        apply(OFFICE);
        let (web, old) = (attachment("web", "lan"), attachment("old", "lan"));
        let changed = OFFICE.replace("10.8.0.0/24", "10.9.0.0/24");
        let told = apply(&changed);
        assert!(told.contains("~ network dmz: subnet 10.9.0.0/24 instead of 10.8.0.0/24\n"), "{told}");
        assert!(told.contains("~ sandbox old: disconnect from dmz, connect to dmz\n"), "{told}");
        assert_eq!((attachment("web", "lan"), attachment("old", "lan")), (web, old));
        assert!(attachment("old", "dmz")["IPAddress"].as_str().unwrap().starts_with("10.9.0."));

        // Through the network that goes, a port is published.
        let told = apply(&changed.replace("10.7.0.", "10.6.0."));
        assert!(told.contains("publish as before"), "{told}");
        assert_eq!(page(&Net::here(), "127.0.0.1:8080").unwrap(), HELLO);
        assert_eq!(plan(), "no difference\n");
    });
}

#[test]
fn ports_come_and_go_while_a_sandbox_lives() {
    run(here!(), || {
        pages();
        apply(&OFFICE.replace("publish = \"8080:80\"", ""));
        let web = attachment("web", "lan");
        let port = || sh(&format!("bridge -d link show dev {}", web["HostIfName"].as_str().unwrap()));
        assert!(port().contains("hairpin off"), "{}", port());
        apply(OFFICE);
        assert!(port().contains("hairpin on"), "{}", port());
        assert_eq!(page(&Net::here(), "127.0.0.1:8080").unwrap(), HELLO);
        apply(&OFFICE.replace("publish = \"8080:80\"", ""));
        assert!(port().contains("hairpin off"), "{}", port());
        assert!(page(&Net::here(), "127.0.0.1:8080").is_err());
        assert_eq!(attachment("web", "lan"), web);
    });
}

#[test]
fn what_is_not_the_files_is_left_alone() {
    run(here!(), || {
        pages();
        fs::write(FILE, OFFICE).unwrap();
        linkspan("sandbox create --net none pc");
        let before = Snapshot::take();
        for command in ["plan", "apply"] {
            refused(&format!("{command} -f {FILE}"))
                .says(&["sandbox 'pc' exists already", "it was not made for lab 'office'"])
                .hints("linkspan sandbox rm pc");
        }
        before.is_unchanged();
        linkspan("sandbox rm pc");

        apply(OFFICE);
        let other = "name = \"other\"\nnetwork.lan.subnet = \"10.7.0.0/24\"\n";
        fs::write("/run/other.toml", other).unwrap();
        refused("apply -f /run/other.toml")
            .says(&["network 'lan' exists already", "it belongs to lab 'office'"]);
        assert_eq!(linkspan("delete -f /run/other.toml"), "nothing to remove\n");

        linkspan("sandbox create --net lan guest");
        let before = Snapshot::take();
        refused(&format!("delete -f {FILE}"))
            .says(&["network 'lan' would have to go", "sandbox 'guest'"])
            .hints("linkspan network disconnect lan guest");
        before.is_unchanged();
        linkspan("sandbox rm guest");
        delete();
    });
}

#[test]
fn a_failure_undoes_everything() {
    run(here!(), || {
        let world = World::new();
        pages();
        world.host.serve_tcp("0.0.0.0:9999");
        // Whatever is made once for a host.
        apply(OFFICE);
        delete();
        let before = Snapshot::take();
        let bad = format!("{OFFICE}\n[sandbox.zoo]\nnet = \"lan\"\npublish = \"9999:80\"\n");
        fs::write(FILE, &bad).unwrap();
        refused(&format!("apply -f {FILE}")).says(&["cannot publish 0.0.0.0:9999", "listening on port 9999"]);
        before.is_unchanged();

        apply(OFFICE);
        let state = || {
            let of = |name: &str, network: &str| {
                let there = attachment(name, network);
                (there["IPAddress"].clone(), there["MacAddress"].clone())
            };
            (of("web", "lan"), of("old", "lan"), of("old", "dmz"), linkspan("port web"), plan())
        };
        let was = state();
        let worse = bad
            .replace("8080:80", "8088:80")
            .replace("10.8.0.0/24", "10.9.0.0/24")
            .replace("[sandbox.old]", "[sandbox.new]")
            .replace("from = \"old\"", "from = \"new\"")
            .replace("-p 80 ", "-p 82 ");
        fs::write(FILE, worse).unwrap();
        let refusal = run_program(&format!("apply -f {FILE}"));
        let text = String::from_utf8_lossy(&refusal.stderr).into_owned();
        assert!(text.contains("error: cannot publish 0.0.0.0:9999"), "{text}");
        assert!(text.contains("note: sandbox old was removed and is made again"), "{text}");
        fs::write(FILE, OFFICE).unwrap();
        assert_eq!(state(), was);
        assert_eq!(page(&world.outside, "192.0.2.1:8080").unwrap(), HELLO);
        delete();
        before.is_unchanged();
    });
}

#[test]
fn what_is_plugged_in_goes_and_comes_back_with_what_it_is_plugged_into() {
    run(here!(), || {
        let tiers = "network.core = { subnet = '10.7.0.0/24', aux-address = { printer = '10.7.0.9' } }
            network.floor.uplink = 'network:core'
            sandbox.pc.net = 'floor,ip=10.7.0.11'
            sandbox.nas.net = 'core,ip=10.7.0.20'
            check = [{ from = 'pc', ping = 'nas' }]\n";
        apply(tiers);
        let other = tiers.replace("10.7.0.", "10.9.0.");
        let bad = other.clone() + "sandbox.zoo = { net = 'core', publish = '203.0.113.99:80:80' }\n";
        fs::write(FILE, bad).unwrap();
        let refusal = run_program(&format!("apply -f {FILE}"));
        let text = String::from_utf8_lossy(&refusal.stderr).into_owned();
        assert!(text.contains("error: cannot publish on 203.0.113.99"), "{text}");
        assert!(apply(tiers).starts_with("nothing to change\n"), "{text}");
        let told = apply(&other);
        assert!(told.contains("~ network floor: its uplink is made anew\n"), "{told}");
        assert_eq!(plan(), "no difference\n");
        delete();
    });
}

/// A lab of many sandboxes, which takes a while.
fn crowd() -> String {
    let sandbox =
        |text: String, n| text + &format!("[sandbox.s{n}]\nnet = \"lan\"\nrun = \"exec sleep 1000\"\n");
    (0..60).fold("[network.lan]\n".to_owned(), sandbox)
}

#[test]
fn whoever_interrupts_it_finds_what_was_before() {
    run(here!(), || {
        let before = Snapshot::take();
        let start = Instant::now();
        apply(&crowd());
        let usual = start.elapsed();
        delete();
        let mut interrupted = 0;
        for (signal, part) in [("INT", 0.2), ("TERM", 0.5), ("INT", 0.8)] {
            let mut command = program(&format!("apply -f {FILE}"));
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(usual.mul_f64(part));
            sh(&format!("kill -{signal} {}", child.id()));
            if child.wait().unwrap().success() {
                delete();
            } else {
                interrupted += 1;
            }
            before.is_unchanged();
            assert!(!run_tool("pidof sleep").0, "a program is left");
        }
        assert!(interrupted > 0, "it was always faster than the signal");
    });
}

#[test]
fn two_at_once_make_one_lab() {
    run(here!(), || {
        let before = Snapshot::take();
        fs::write(FILE, crowd()).unwrap();
        let start = |line: &str| program(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let line = format!("apply -f {FILE}");
        let both = [start(&line), start(&line)].map(|child| child.wait_with_output().unwrap());
        assert!(both.iter().all(|output| output.status.success()), "{both:?}");
        let idle = both.iter().filter(|output| output.stdout == b"nothing to change\n").count();
        assert_eq!(idle, 1, "{both:?}");
        assert_eq!(sh("pidof sleep").split_whitespace().count(), 60);
        delete();
        before.is_unchanged();
    });
}

#[test]
fn whatever_a_killed_one_leaves_is_known() {
    run(here!(), || {
        let before = Snapshot::take();
        fs::write(FILE, crowd()).unwrap();
        for (pause, finish) in [(40, "delete"), (150, "apply"), (300, "delete")] {
            let mut command = program(&format!("apply -f {FILE}"));
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(Duration::from_millis(pause));
            sh(&format!("kill -9 {}", child.id()));
            child.wait().unwrap();
            linkspan(&format!("{finish} -f {FILE}"));
            if finish == "apply" {
                assert_eq!(plan(), "no difference\n");
                assert_eq!(sh("pidof sleep").split_whitespace().count(), 60);
                delete();
            }
            before.is_unchanged();
            assert!(!run_tool("pidof sleep").0, "a program is left");
        }
    });
}

#[test]
fn programs_are_kept_running() {
    run(here!(), || {
        pages();
        apply(OFFICE);
        let web = sh("pidof busybox");
        sh("kill -9 $(pidof busybox); while pidof busybox; do sleep 0.01; done");
        assert_eq!(plan(), "~ sandbox web: run exec busybox httpd -f -p 80 -h /run/www\n");
        apply(OFFICE);
        let again = sh("pidof busybox");
        assert_ne!(again, web);

        let two = OFFICE.replace(
            "run = \"exec busybox httpd -f -p 80 -h /run/www\"",
            "run = [\"exec busybox httpd -f -p 80 -h /run/www\", [\"sleep\", \"1000\"]]",
        );
        assert!(apply(&two).starts_with("~ sandbox web: run sleep 1000\n"));
        assert_eq!(sh("pidof busybox"), again, "a program that stays is not touched");
        // Another of the same command is nobody's to end.
        sh("sleep 1000 >/dev/null 2>&1 &");
        assert!(apply(OFFICE).starts_with("~ sandbox web: stop sleep 1000\n"));
        assert_eq!(sh("pidof sleep").split_whitespace().count(), 1);
        linkspan("sandbox rm web");
        delete();
        assert!(!run_tool("pidof busybox").0, "a program is left");
    });
}

#[test]
fn a_namespace_that_is_gone_is_made_anew() {
    run(here!(), || {
        pages();
        apply(OFFICE);
        sh("ip netns del web");
        let plan = plan();
        assert!(plan.contains("~ sandbox web: ") && plan.contains("its namespace is gone"), "{plan}");
        apply(OFFICE);
        delete();
    });
}

#[test]
fn a_check_that_fails_is_told_and_all_stays_up() {
    run(here!(), || {
        pages();
        let wrong = OFFICE.replace("contains = \"from the web\"", "contains = \"from the moon\"\nwithin = 1");
        fs::write(FILE, &wrong).unwrap();
        let output = run_program(&format!("apply -f {FILE}"));
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{out}");
        assert!(out.contains("FAILED   no 'from the moon' in 'hello from the web'"), "{out}");
        assert_eq!(plan(), "no difference\n");
        linkspan(&format!("apply --no-check -f {FILE}"));

        // What cannot be tried does not hold, not even if it must fail.
        let vain = "sandbox.lone.net = 'none'
            check = [{ ping = 'lone', fails = true }, { run = ['no-such-program'], fails = true }]";
        fs::write("/run/vain.toml", vain).unwrap();
        let output = run_program("apply -f /run/vain.toml");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("error: 2 of 2 checks failed"), "{text}");
        linkspan("delete -f /run/vain.toml");

        // A program that ends is named, with what it said.
        let dead = OFFICE.replace("exec busybox httpd", "echo no such thing; exit 3; exec busybox httpd");
        let dead = dead.replace("contains = \"from the web\"", "within = 1");
        fs::write(FILE, dead).unwrap();
        refused(&format!("apply -f {FILE}"))
            .says(&["1 of 2 checks failed", "in web has ended: no such thing"]);
        delete();
    });
}

#[test]
fn what_a_file_cannot_mean_is_said_where_it_stands() {
    run(here!(), || {
        let cases: [(&str, &[&str]); 9] = [
            (
                "[network.lan]\nsubnt = \"10.7.0.0/24\"",
                &["/run/lab.toml:2:1: unknown key 'subnt'", "did you mean subnet?"],
            ),
            ("[network.lan]\nsubnet = \"10.7.0/24\"", &["/run/lab.toml:2:10: '10.7.0/24' is no subnet"]),
            ("[sandbox.web]\nnet = \"lan\"", &["sandbox 'web': there is no network 'lan'"]),
            (
                "network.lan = {}\nsandbox.web.net = \"lna\"",
                &["there is no network 'lna'", "did you mean lan?"],
            ),
            (
                "[sandbox.web]\npublish = \"80:80:80:80\"",
                &["/run/lab.toml:2:11: '80:80:80:80' cannot be published"],
            ),
            ("[sandbox.web]\nlink = \"db\"", &["there is no sandbox 'db' in this file"]),
            ("[[check]]\nping = \"web\"", &["/run/lab.toml:1:1: there is no sandbox 'web' in this file"]),
            ("[network.a]\nuplink = \"network:b\"\n[network.b]\nuplink = \"network:a\"", &["a -> b -> a"]),
            ("network = [", &["/run/lab.toml:1:"]),
        ];
        let before = Snapshot::take();
        for (text, words) in cases {
            fs::write(FILE, text).unwrap();
            refused(&format!("apply -f {FILE}")).says(words);
        }
        refused("plan -f /run/none.toml").says(&["cannot read /run/none.toml"]);
        before.is_unchanged();
    });
}
