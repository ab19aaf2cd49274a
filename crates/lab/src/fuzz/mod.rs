//! CNI plugins started with mutated environments and configurations, as no runtime would: they end in time, with a code of
//! the specification and JSON, and what they made goes with DEL.

mod judge;
mod mutate;
mod seeds;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::random::Random;
use crate::tool::sh;
use judge::{Ended, traces};

/// How a plugin is started.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name that it is called by.
    pub plugin: String,
    /// Its environment, CNI's part.
    pub environment: Vec<(OsString, OsString)>,
    /// Its standard input.
    pub stdin: Vec<u8>,
}

/// What a run came to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Count {
    /// Plugins started.
    pub cases: u64,
    /// How many of them succeeded.
    pub succeeded: u64,
}

/// A host to try plugins on. It is the one of the calling thread's namespaces.
#[derive(Debug)]
pub struct Fuzz {
    names: Vec<&'static str>,
    plugins: PathBuf,
    state: PathBuf,
    run: PathBuf,
}

impl Fuzz {
    /// Prepares the host: links to `program` under every plugin's name, a namespace without and one with an interface.
    /// Those that `only` names, separated by commas, are tried, or all of them.
    pub fn new(program: &Path, only: Option<&str>) -> Self {
        let wanted = |name: &&str| only.is_none_or(|only| only.split(',').any(|word| word == *name));
        let names = seeds::NAMES.into_iter().filter(wanted).collect();
        let plugins = PathBuf::from("/run/plugins");
        let links = plugins.display();
        sh(&format!("mkdir -p {links} /run/fuzz && mkfifo /run/fuzz/fifo && echo text >/run/fuzz/file"));
        for name in seeds::NAMES {
            sh(&format!("ln -s {} {links}/{name}", program.display()));
        }
        sh(
            "ip netns add bare && ip -n bare link set lo up && ip netns add chained && ip -n chained link set lo up",
        );
        sh("ip link add cni7 type bridge && ip link set cni7 up && ip address add 10.23.0.1/16 dev cni7");
        sh(
            "ip link add fuzz0 master cni7 up type veth peer name eth0 address 02:00:00:00:00:07 netns chained",
        );
        sh("ip -n chained link set eth0 up && ip -n chained address add 10.23.0.5/16 dev eth0");
        sh("ip link add card0 type veth peer name card1 && ip link set card0 up && ip link set card1 up");
        // Whatever path a mutation names: only what is the test's own can be written.
        sh("mount -o remount,bind,ro / && { mount -t tmpfs tmpfs /var/lib || true; }");
        Self { names, plugins, state: "/run/state".into(), run: "/run/linkspan".into() }
    }

    /// Tries until an instant, by a seed; `first` is the number of the first case.
    ///
    /// # Errors
    /// What was wrong, with all that it takes to see it again.
    pub fn try_until(&self, end: Instant, seed: u64, first: u64) -> Result<Count, String> {
        let mut count = Count::default();
        self.warm_up();
        let before = traces(self);
        let mut number = first;
        while Instant::now() < end {
            let mut random = Random::seeded(seed.wrapping_add(number.wrapping_mul(0x1_0001)));
            let case = mutate::case(&mut random, &self.names, &self.plugins);
            let told = |what: String| format!("seed {seed}, case {number}: {what}\n{}", judge::shown(&case));
            let ended = self.start(&case).map_err(told)?;
            count.cases += 1;
            count.succeeded += u64::from(ended.is_success);
            let is_add = case.verb() == Some("ADD");
            if is_add {
                self.remove(&case, &ended).map_err(told)?;
            }
            if is_add && ended.is_success || number.is_multiple_of(16) {
                judge::same(self, &before).map_err(told)?;
            }
            number += 1;
        }
        Ok(count)
    }

    /// What is made once per host is no leak.
    fn warm_up(&self) {
        for name in &self.names {
            let case = seeds::case(name, "ADD", &self.plugins);
            if let Ok(ended) = self.start(&case) {
                _ = self.remove(&case, &ended);
            }
        }
    }

    /// DEL for what an ADD may have made, as a runtime does it whether or not the ADD succeeded.
    fn remove(&self, case: &Case, added: &Ended) -> Result<(), String> {
        let ended = self.start(&case.as_del(&added.result))?;
        if added.is_success && !ended.is_success {
            return Err(format!("ADD succeeded, and DEL says {}", ended.text));
        }
        Ok(())
    }

    fn start(&self, case: &Case) -> Result<Ended, String> {
        judge::start(self, case)
    }
}

impl Case {
    fn verb(&self) -> Option<&str> {
        let command = self.environment.iter().find(|(key, _)| key == "CNI_COMMAND");
        command.and_then(|(_, value)| value.to_str())
    }

    /// The same for DEL, with a result as `prevResult` where there is one.
    fn as_del(&self, result: &serde_json::Value) -> Self {
        let mut case = self.clone();
        for (key, value) in &mut case.environment {
            if key == "CNI_COMMAND" {
                *value = "DEL".into();
            }
        }
        let config = serde_json::from_slice::<serde_json::Value>(&case.stdin);
        if let (Ok(mut config), true) = (config, result.is_object())
            && config.is_object()
        {
            config["prevResult"] = result.clone();
            case.stdin = config.to_string().into_bytes();
        }
        case
    }
}
