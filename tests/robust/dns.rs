//! Names while everything changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use linkspan_lab::{Backend, churn, here, sh};

use crate::host::{RUN, STATE};

/// How many questions a second; `cargo xtask churn` asks a program built as it is shipped ten times as many.
const RATE: u32 = 2000;
const COUNT: usize = 60;
/// Of a hundred answers, 99 take no longer.
const SOON: Duration = Duration::from_millis(20);
/// What changes delay is late every time; a busy machine is not.
const ATTEMPTS: usize = 3;

/// Podman's backend under the names that Podman calls it by.
fn backend() -> Backend {
    let directory = Path::new("/run/backend");
    fs::create_dir(directory).unwrap();
    let link = |name: &str| {
        let path = Path::new("/run").join(name);
        symlink(env!("CARGO_BIN_EXE_linkspan"), &path).unwrap();
        path
    };
    let (program, names) = (link("netavark"), link("aardvark-dns"));
    let backend = Backend::new(&program, &names, directory);
    backend.env("LINKSPAN_STATE_DIR", Path::new(STATE)).env("LINKSPAN_RUN_DIR", Path::new(RUN))
}

#[test]
fn no_question_is_lost_while_containers_come_and_go() {
    linkspan_lab::run(here!(), || {
        let backend = backend();
        let is_soon = || {
            let churned = churn(&backend, COUNT, 2, RATE).unwrap_or_else(|what| panic!("{what}"));
            let replies = churned.replies;
            assert!(replies.asked > 100, "{replies:?}");
            assert_eq!((replies.lost(), replies.wrong), (0, 0), "of {}", replies.asked);
            let late = replies.within(99);
            println!("{late:?}, {COUNT} containers took {:?}", churned.came.1);
            sh("ip -all netns delete");
            late < SOON
        };
        assert!((0..ATTEMPTS).any(|_| is_soon()), "answers are late, see above");
    });
}
