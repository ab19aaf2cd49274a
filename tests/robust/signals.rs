//! Signals, and what becomes of sandboxes that live for a command.

use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_lab::{Random, here, run_tool, sh};

use crate::host::{assert_in_order, command, finish, linkspan, listed, make_lab, start_words, timed};
use crate::snapshot::Snapshot;

const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a shell command in a sandbox made for it, and waits until it has printed a line.
fn start_run(script: &str) -> Child {
    let child =
        start_words(&["run", "--net", "lab", "-p", "8080:80", "--name", "job", "--", "sh", "-c", script]);
    let deadline = Instant::now() + PATIENCE;
    while !run_tool("test -e /run/started").0 {
        assert!(Instant::now() < deadline, "the command does not start");
        sleep(Duration::from_millis(10));
    }
    sh("rm /run/started");
    child
}

#[test]
fn an_interrupted_creation_leaves_nothing() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let create = "sandbox create --net lab -p 8080:80 x";
        let usual = timed(create);
        linkspan("sandbox rm x");
        let before = Snapshot::take();
        let mut random = Random::from_environment();
        for _ in 0..10 {
            let mut child = command(create).spawn().unwrap();
            sleep(usual.mul_f64(random.below(100) as f64 / 100.0));
            run_tool(&format!("kill -INT {}", child.id()));
            child.wait().unwrap();
            linkspan("sandbox rm -f x");
            before.assert_restored("after Ctrl-C and the next command");
            assert_in_order("after Ctrl-C and the next command");
        }
    });
}

#[test]
fn a_command_has_its_sandbox_for_as_long_as_it_runs() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
            let answer = finish(start_words(&["run", "--net", "lab", "--", "sh", "-c", script]));
            assert_eq!(answer.code, Some(code), "{script}: {}", answer.err);
            before.assert_restored(script);
        }
        let answer = finish(start_words(&["run", "--net", "lab", "--", "no-such-program"]));
        assert_eq!(answer.code, Some(127), "{}", answer.err);
        before.assert_restored("after a program that is not there");
    });
}

#[test]
fn signals_reach_the_command_and_the_sandbox_goes_with_it() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        for (signal, code) in [("TERM", 9), ("INT", 8), ("HUP", 7)] {
            let script =
                format!("trap 'exit {code}' {signal}; touch /run/started; while :; do sleep 0.01; done");
            let child = start_run(&script);
            assert_eq!(listed("sandbox"), ["job"]);
            assert_in_order("while a command runs");
            sh(&format!("kill -{signal} {}", child.id()));
            assert_eq!(finish(child).code, Some(code), "the command's own code");
            before.assert_restored(signal);
        }
    });
}

#[test]
fn repair_removes_what_a_killed_run_leaves() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let before = Snapshot::take();
        let mut child = start_run("touch /run/started; exec sleep 1000 >/dev/null 2>&1");
        sh(&format!("kill -9 {}", child.id()));
        child.wait().unwrap();
        assert_eq!(linkspan("repair"), "sandbox job is held by nothing: undone\n");
        before.assert_restored("after repair");
        assert_in_order("after repair");

        // Nor does it take repair, if somebody wants what it had.
        let mut child = start_run("touch /run/started; exec sleep 1000 >/dev/null 2>&1");
        sh(&format!("kill -9 {}", child.id()));
        child.wait().unwrap();
        linkspan("sandbox create --net lab -p 8080:80 job");
        linkspan("sandbox rm job");
        before.assert_restored("after its name was used");

        for _ in 0..2 {
            let mut child = start_run("touch /run/started; exec sleep 1000 >/dev/null 2>&1");
            sh(&format!("kill -9 {}", child.id()));
            child.wait().unwrap();
        }
        linkspan("repair");
        before.assert_restored("after two runs of a name");
    });
}

#[test]
fn a_run_removes_its_own_sandbox_and_no_other_of_that_name() {
    linkspan_lab::run(here!(), || {
        make_lab();
        let child = start_run("touch /run/started; while ! test -e /run/stop; do sleep 0.01; done");
        linkspan("sandbox rm job");
        linkspan("sandbox create --net lab job");
        sh("touch /run/stop");
        assert_eq!(finish(child).code, Some(0));
        assert_eq!(listed("sandbox"), ["job"]);
        assert_in_order("after the run");
    });
}
