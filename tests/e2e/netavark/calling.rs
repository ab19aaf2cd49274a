//! The backend, called as Podman calls it.
#![allow(clippy::disallowed_methods, reason = "Podman executes the backend")]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{BINARY, RUN, STATE, sh};

/// Where the backend's name leads to the program under test.
const LINK: &str = "/run/helpers/netavark";
/// The directory that Podman gives it.
pub const CONFIG: &str = "/run/podman-networks";

/// A command line with the flags that Podman always gives.
pub struct Backend {
    command: Command,
}

/// What came of it.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Backend {
    /// With Podman's flags.
    pub fn new() -> Self {
        sh(&format!("mkdir -p {CONFIG} $(dirname {LINK}) && ln -sf {BINARY} {LINK}"));
        let mut command = Command::new(LINK);
        command.env("LINKSPAN_STATE_DIR", STATE).env("LINKSPAN_RUN_DIR", RUN);
        command.args(["--config", CONFIG, "--rootless=false", "--aardvark-binary="]);
        Self { command }
    }

    /// The same with the words of a line.
    pub fn args(mut self, line: &str) -> Self {
        self.command.args(line.split_whitespace());
        self
    }

    /// The same with a variable of the environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Calls it, with `input` to read.
    pub fn with(mut self, input: &Value) -> Said {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("start the backend");
        // Not every call is read.
        _ = child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes());
        let output = child.wait_with_output().expect("wait for the backend");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// What a success answers.
    pub fn result(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That it is a success without a word.
    pub fn is_silent(&self) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (Some(0), "", ""));
    }

    /// What a failure says.
    pub fn error(&self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        let told: Value = serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let keys: Vec<&String> = told.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["error"]);
        told["error"].as_str().expect("text").to_owned()
    }
}

/// The container `name`, whose namespace has that name too, on one network.
#[derive(Clone)]
pub struct Container {
    name: &'static str,
    /// How it is on the network.
    pub per: Value,
    /// The network.
    pub network: Value,
    /// Whether Podman is of version 6.
    pub podman6: bool,
}

impl Container {
    pub fn new(name: &'static str, network: &Value, per: &Value) -> Self {
        let mut whole = json!({"name": "n1", "id": "a".repeat(64)});
        lay(&mut whole, network);
        let mut place = json!({"name": "n1", "interface_name": "eth0"});
        lay(&mut place, per);
        Self { name, per: place, network: whole, podman6: true }
    }

    /// What Podman sends.
    pub fn input(&self) -> Value {
        let networks = if self.podman6 { json!([self.per]) } else { json!({"n1": self.per}) };
        json!({
            "container_id": format!("id-of-{}", self.name),
            "container_name": self.name,
            "networks": networks,
            "network_info": {"n1": self.network},
        })
    }

    fn call(&self, command: &str) -> Said {
        Backend::new().args(&format!("{command} /run/netns/{}", self.name)).with(&self.input())
    }

    /// Sets it up; gives what Podman is told of its network.
    pub fn setup(&self) -> Value {
        self.call("setup").result()["n1"].clone()
    }

    /// Fails to set it up; gives what Podman is told.
    pub fn refused(&self) -> String {
        self.call("setup").error()
    }

    /// Tears it down.
    pub fn teardown(&self) {
        self.call("teardown").is_silent();
    }
}

/// Lays `over` over `base`, object by object.
fn lay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
