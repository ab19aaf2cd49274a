//! One plugin, called as a runtime calls it.
#![allow(clippy::disallowed_methods, reason = "a runtime executes plugins")]

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{BINARY, RUN, STATE, linkspan};

/// Where the links are.
pub const LINKS: &str = "/run/cni/bin";

/// Makes the links to the program under test.
pub fn install() {
    linkspan(&format!("cni install {LINKS}"));
}

/// A call of a plugin that is complete but for the configuration: container `c1`, its `eth0`.
pub struct Call {
    command: Command,
    stdin: Option<File>,
}

/// What came of it.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Call {
    /// Of the link `plugin`, with `netns` for the container's namespace.
    pub fn new(plugin: &str, verb: &str, netns: &str) -> Self {
        Self::of(&format!("{LINKS}/{plugin}"), verb, netns)
    }

    /// Of the program itself.
    pub fn native(verb: &str, netns: &str) -> Self {
        Self::of(BINARY, verb, netns)
    }

    fn of(program: &str, verb: &str, netns: &str) -> Self {
        let mut command = Command::new(program);
        command.env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN);
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", "c1").env("CNI_NETNS", netns);
        command.env("CNI_IFNAME", "eth0").env("CNI_PATH", LINKS);
        Self { command, stdin: None }
    }

    /// The same with another value for a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The same without a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The same with arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// The same with the file at `path` for standard input.
    pub fn stdin(mut self, path: &str) -> Self {
        self.stdin = Some(File::open(path).unwrap());
        self
    }

    /// Makes it, with `config` to read.
    pub fn with(mut self, config: &str) -> Said {
        let input = self.stdin.take().map_or_else(Stdio::piped, Stdio::from);
        self.command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("start a plugin");
        if let Some(mut pipe) = child.stdin.take() {
            // Not every call is read.
            _ = pipe.write_all(config.as_bytes());
        }
        let Output { status, stdout, stderr } = child.wait_with_output().expect("wait for a plugin");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

impl Said {
    /// The result of a success.
    pub fn result(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That it is a success without a word.
    pub fn is_silent(&self) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (Some(0), "", ""));
    }

    /// The error of a failure, which has to have this code.
    pub fn error(&self, code: u64) -> Value {
        assert_eq!(self.code, Some(1), "{self:?}");
        let error: Value =
            serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(error["code"], code, "{error:#}");
        assert!(error["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{error:#}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        error
    }
}
