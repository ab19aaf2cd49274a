//! What a test, or the demo, finds inside its namespaces.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use linkspan_kernel::isolation::{isolated, isolated_as_root};
use linkspan_lab as lab;
use nix::unistd::{getpid, getuid};

fn shell(script: &str) -> i32 {
    let args = [OsString::from("-c"), script.into()];
    isolated(Path::new("/bin/sh"), &args, &[("WORD".into(), "given".into())]).unwrap()
}

#[test]
fn the_program_is_root_in_a_network_of_its_own() {
    lab::run(lab::here!(), || {
        assert!(getuid().is_root());
        assert_eq!(getpid().as_raw(), 2, "the first process is the one that adopts orphans");
        let devices = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(devices.collect::<Vec<_>>(), ["lo"]);
        assert_eq!(fs::read_dir("/run").unwrap().count(), 1, "only what holds the old /etc");
    });
}

#[test]
fn only_who_asks_for_it_and_is_root_stays_in_the_user_namespace() {
    let stays = |as_root: bool, space: &str| {
        let here = fs::read_link(format!("/proc/self/ns/{space}")).unwrap();
        let script = format!("test \"$(readlink /proc/self/ns/{space})\" = '{}'", here.display());
        let start = if as_root { isolated_as_root } else { isolated };
        start(Path::new("/bin/sh"), &["-c".into(), script.into()], &[]).unwrap() == 0
    };
    assert!(!stays(false, "user") && !stays(true, "net"));
    assert_eq!(stays(true, "user"), getuid().is_root());
}

#[test]
fn loopback_carries_traffic() {
    lab::run(lab::here!(), || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
    });
}

#[test]
fn etc_can_be_written_to_and_the_hosts_stays_as_it_is() {
    let name = format!("/etc/linkspan-test-{}", std::process::id());
    assert_eq!(shell(&format!("mkdir -p {name} && grep -q root: /etc/passwd")), 0);
    assert!(!Path::new(&name).exists());
}

#[test]
fn codes_signals_and_variables_come_through() {
    assert_eq!(shell("exit 7"), 7);
    assert_eq!(shell("kill -TERM $$"), 128 + 15);
    assert_eq!(shell("test \"$WORD\" = given"), 0);
}

#[test]
fn nothing_outlives_the_program() {
    let pipe = format!("/tmp/linkspan-alive-{}", std::process::id());
    nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The reader below sees the end of the pipe only when the sleeping process is gone.
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    let started = std::time::Instant::now();
    assert_eq!(shell(&format!("(echo started; exec setsid sleep 60) > {pipe} & sleep 0.2")), 0);
    assert_eq!(reader.join().unwrap(), b"started\n");
    assert!(started.elapsed().as_secs() < 30);
    fs::remove_file(pipe).unwrap();
}

#[test]
fn it_can_be_nested() {
    lab::run(lab::here!(), || assert_eq!(shell("ip link show lo | grep -q LOWER_UP"), 0));
}

#[test]
fn a_missing_program_is_an_error() {
    let error = isolated(Path::new("/nonexistent"), &[], &[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot run /nonexistent: No such file or directory");
}
