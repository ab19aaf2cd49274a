//! What goes, goes whole, at once, and leaves nobody behind.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, run_tool, sh};
use linkspan_plan::{Element, Kernel, Step};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};

use crate::steps::{bridge, device, host, name, sandbox};

/// Processes that have been left to the first one: reapers.
fn orphans() -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let parent = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    pids.filter(|pid| *pid != getpid().as_raw() && parent(pid) == Some(1)).collect()
}

fn delete(number: u8) -> Step {
    Step::DeletePort(device(&format!("veth{number}")))
}

#[test]
fn ports_go_once_and_for_all() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2, 3, 4]);
        let steps = [delete(2), delete(3), delete(4), delete(5)];
        host.apply(&steps).unwrap();
        assert_eq!(sh("ip -br link show type veth; ip -n box2 -br link show type veth"), "");
        host.apply(&steps).unwrap();
        host.apply(&sandbox(2)[1..]).unwrap();
        assert!(run_tool("ip link show veth2").0);
    });
}

#[test]
fn the_caller_has_no_children_and_the_reaper_ends() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        host.apply(&[delete(2)]).unwrap();
        assert_eq!(waitpid(None, None), Err(Errno::ECHILD));
        drop(host);
        let deadline = Instant::now() + Duration::from_secs(1);
        while !orphans().is_empty() {
            assert!(Instant::now() < deadline, "a reaper does not end");
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn ports_go_even_if_the_reaper_is_killed() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    orphans().into_iter().for_each(|pid| _ = kill(Pid::from_raw(pid), Signal::SIGKILL));
                }
            });
            for _ in 0..20 {
                host.apply(&sandbox(2)).unwrap();
                host.apply(&[delete(2), Step::DeleteNamespace(name("box2"))]).unwrap();
                assert!(!run_tool("ip link show veth2").0);
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn the_reaper_keeps_no_stream_and_no_namespace() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        host.apply(&[Step::CreateFirewall, Step::AddElement(Element::Bridge(device("br0")))]).unwrap();
        host.apply(&[Step::DeleteElement(Element::Bridge(device("br0"))), delete(2)]).unwrap();
        let reapers = orphans();
        assert_eq!(reapers.len(), 1);
        let files = |pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            let mut files: Vec<String> = files
                .filter_map(|file| Some(fs::read_link(file.unwrap().path()).ok()?.to_str()?.to_owned()))
                .map(|file| file.split(':').next().unwrap_or_default().to_owned())
                .collect();
            files.sort();
            files
        };
        // Its way to the caller, and the firewall's socket.
        let wanted = ["/dev/null", "/dev/null", "/dev/null", "socket", "socket"];
        let deadline = Instant::now() + Duration::from_millis(900);
        while files(reapers[0]) != wanted {
            assert!(Instant::now() < deadline, "{:?}", files(reapers[0]));
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn whoever_lingers_leaves_the_waiting_to_a_child() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        host.linger(false);
        assert_eq!(orphans(), [] as [i32; 0]);
        host.apply(&[Step::CreateFirewall, Step::DeleteFirewall]).unwrap();
        host.linger(false);
        host.linger(false);
        assert_eq!(orphans().len(), 1);
        drop(host);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(orphans(), [] as [i32; 0]);
    });
}

#[test]
fn a_hundred_rounds_leave_the_host_as_it_was() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        // Without the state, which the bridge is late to change when its last port goes.
        let look = || {
            sh(
                "ip -br link | awk '{ print $1, $3 }'; ip -br address | awk '{ print $1, $3 }'; ip netns list; \
                cut -d' ' -f3- /proc/self/mountinfo; ls /run/netns",
            )
        };
        host.apply(&sandbox(2)).unwrap();
        host.apply(&[delete(2), Step::DeleteNamespace(name("box2"))]).unwrap();
        let before = look();
        for _ in 0..100 {
            host.apply(&sandbox(2)).unwrap();
            host.apply(&[delete(2), Step::DeleteNamespace(name("box2"))]).unwrap();
        }
        assert_eq!(look(), before);
        let open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(open < 20, "{open} open files");
    });
}

#[test]
fn a_namespace_takes_its_ports_along() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        host.apply(&[Step::DeleteNamespace(name("box2"))]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while run_tool("ip link show veth2").0 {
            assert!(Instant::now() < deadline, "something keeps the namespace alive");
        }
        host.apply(&sandbox(2)).unwrap();
        assert!(run_tool("ip link show veth2").0);
    });
}

#[test]
fn a_bridge_can_be_made_again_right_behind() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        for _ in 0..5 {
            host.apply(&[bridge(1500, &["10.0.0.1/24"])]).unwrap();
            host.apply(&[Step::DeleteBridge(device("br0"))]).unwrap();
        }
        assert_eq!(sh("ip -br link show type bridge"), "");
    });
}
