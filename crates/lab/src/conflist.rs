//! A container runtime's half of CNI: runs the plugins of a conflist as the reference library (libcni) does.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// What a plugin said when it failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PluginFailure {
    /// The plugin's type.
    pub plugin: String,
    /// The code of the CNI specification; 0 if the plugin printed no error.
    pub code: u64,
    /// Message and details, or all that was printed.
    pub text: String,
}

impl std::error::Error for PluginFailure {}

impl std::fmt::Display for PluginFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} (code {})", self.plugin, self.text, self.code)
    }
}

/// What a verb came to.
pub type Outcome<T> = Result<T, PluginFailure>;

/// A container's interface on a network, as a runtime asks for it.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// CNI_CONTAINERID.
    pub container: String,
    /// CNI_NETNS; may be empty for DEL.
    pub netns: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// CNI_ARGS, if any.
    pub args: Option<String>,
    /// What each plugin gets of it in `runtimeConfig` if it declares the capability.
    pub capabilities: Map<String, Value>,
}

impl Attachment {
    /// `eth0` of the container `name`, in the namespace pinned under that name.
    pub fn of(name: &str) -> Self {
        let netns = format!("/run/netns/{name}");
        let (container, ifname) = (name.to_owned(), "eth0".to_owned());
        Self { container, netns, ifname, args: None, capabilities: Map::new() }
    }

    /// The same with another interface name.
    #[must_use]
    pub fn at(self, ifname: &str) -> Self {
        Self { ifname: ifname.to_owned(), ..self }
    }

    /// The same with CNI_ARGS.
    #[must_use]
    pub fn args(self, args: &str) -> Self {
        Self { args: Some(args.to_owned()), ..self }
    }

    /// The same with a value for a capability.
    #[must_use]
    pub fn with(mut self, capability: &str, value: Value) -> Self {
        self.capabilities.insert(capability.to_owned(), value);
        self
    }

    /// The same with a TCP port of the host published.
    #[must_use]
    pub fn port(self, host: u16, container: u16) -> Self {
        self.with(
            "portMappings",
            json!([{ "hostPort": host, "containerPort": container, "protocol": "tcp" }]),
        )
    }
}

/// A runtime with one conflist, and the results that it has cached.
#[derive(Debug)]
pub struct Runtime {
    directories: Vec<PathBuf>,
    list: Value,
    environment: Vec<(String, String)>,
    results: Mutex<BTreeMap<(String, String), Value>>,
    killed: Option<Instant>,
}

impl Runtime {
    /// One that looks for plugins in these directories, the first that has one.
    pub fn new<P: Into<PathBuf>>(directories: impl IntoIterator<Item = P>, list: Value) -> Self {
        let directories = directories.into_iter().map(Into::into).collect();
        Self { directories, list, environment: Vec::new(), results: Mutex::default(), killed: None }
    }

    /// The same with a variable in the environment of all plugins.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same with the same cache, but the plugin that runs at this instant is killed.
    pub fn killed_at<T>(&mut self, instant: Instant, work: impl FnOnce(&Self) -> T) -> T {
        self.killed = Some(instant);
        let done = work(self);
        self.killed = None;
        done
    }

    /// Attaches: every plugin in order, each with the result of the one before. What the last one gave is cached.
    ///
    /// # Errors
    /// Those of the plugin that failed; what was done by then stays until [`Self::del`].
    pub fn add(&self, attachment: &Attachment) -> Outcome<Value> {
        let mut result = Value::Null;
        for plugin in self.plugins() {
            let config = self.config(plugin, Some(attachment), &result);
            let text = self.exec("ADD", &name_of(plugin), Some(attachment), &config)?;
            result = serde_json::from_str(&text)
                .map_err(|error| failure(plugin, 0, &format!("{error} in its result '{text}'")))?;
        }
        self.results().insert(key(attachment), result.clone());
        Ok(result)
    }

    /// Detaches: every plugin in reverse order, each with the cached result.
    ///
    /// # Errors
    /// Those of the plugin that failed; the result is still cached then.
    pub fn del(&self, attachment: &Attachment) -> Outcome<()> {
        self.del_by(attachment, self.plugins().iter().rev())
    }

    /// The same from the first plugin to the last, which no runtime does but plugins bear.
    ///
    /// # Errors
    /// As for [`Self::del`].
    pub fn del_forwards(&self, attachment: &Attachment) -> Outcome<()> {
        self.del_by(attachment, self.plugins().iter())
    }

    fn del_by<'a>(&self, attachment: &Attachment, plugins: impl Iterator<Item = &'a Value>) -> Outcome<()> {
        let result = if self.is_before(0, 4) { Value::Null } else { self.cached(attachment) };
        for plugin in plugins {
            let config = self.config(plugin, Some(attachment), &result);
            self.exec("DEL", &name_of(plugin), Some(attachment), &config)?;
        }
        self.results().remove(&key(attachment));
        Ok(())
    }

    /// Checks: every plugin in order with the cached result.
    ///
    /// # Errors
    /// Those of the plugin that failed.
    pub fn check(&self, attachment: &Attachment) -> Outcome<()> {
        let result = self.cached(attachment);
        for plugin in self.plugins() {
            self.exec(
                "CHECK",
                &name_of(plugin),
                Some(attachment),
                &self.config(plugin, Some(attachment), &result),
            )?;
        }
        Ok(())
    }

    /// Collects garbage: all but `valid` goes. As libcni does, what is cached is detached first.
    ///
    /// # Errors
    /// The first of a plugin; all of them are asked.
    pub fn gc(&self, valid: &[&Attachment]) -> Outcome<()> {
        let stale: Vec<_> = {
            let known: Vec<_> = valid.iter().map(|attachment| key(attachment)).collect();
            self.results().keys().filter(|key| !known.contains(key)).cloned().collect()
        };
        for (container, ifname) in stale {
            let gone = Attachment { netns: String::new(), ..Attachment::of(&container).at(&ifname) };
            self.del(&gone)?;
        }
        let ids: Vec<_> =
            valid.iter().map(|one| json!({ "containerID": one.container, "ifname": one.ifname })).collect();
        let mut first = Ok(());
        for plugin in self.plugins() {
            let mut config = self.config(plugin, None, &Value::Null);
            config["cni.dev/valid-attachments"] = json!(ids);
            config["cni.dev/attachments"] = json!(ids);
            let outcome = self.exec("GC", &name_of(plugin), None, &config).map(drop);
            first = first.and(outcome);
        }
        first
    }

    /// Asks every plugin whether it could attach.
    ///
    /// # Errors
    /// Those of the first plugin that could not.
    pub fn status(&self) -> Outcome<()> {
        for plugin in self.plugins() {
            self.exec("STATUS", &name_of(plugin), None, &self.config(plugin, None, &Value::Null))?;
        }
        Ok(())
    }

    /// Forgets what is cached of an attachment, as if somebody had emptied the cache.
    pub fn forget(&self, attachment: &Attachment) {
        self.results().remove(&key(attachment));
    }

    /// Takes over what another runtime had cached of an attachment.
    pub fn recall(&self, attachment: &Attachment, result: Value) {
        self.results().insert(key(attachment), result);
    }

    fn results(&self) -> MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plugins(&self) -> &[Value] {
        self.list["plugins"].as_array().map_or(&[], Vec::as_slice)
    }

    fn cached(&self, attachment: &Attachment) -> Value {
        self.results().get(&key(attachment)).cloned().unwrap_or(Value::Null)
    }

    fn is_before(&self, major: u32, minor: u32) -> bool {
        let text = self.list["cniVersion"].as_str().unwrap_or("0.1.0");
        let mut numbers = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (major, minor)
    }

    /// A plugin's object with all that a runtime puts into it.
    fn config(&self, plugin: &Value, attachment: Option<&Attachment>, result: &Value) -> Value {
        let mut config = plugin.clone();
        for shared in ["name", "cniVersion"] {
            if let Some(value) = self.list.get(shared) {
                config[shared] = value.clone();
            }
        }
        let declared = |capability: &str| plugin["capabilities"][capability] == json!(true);
        let given = attachment.map(|attachment| &attachment.capabilities);
        let given: Map<_, _> = given
            .into_iter()
            .flatten()
            .filter(|(name, _)| declared(name))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if !given.is_empty() {
            config["runtimeConfig"] = Value::Object(given);
        }
        if !result.is_null() {
            config["prevResult"] = result.clone();
        }
        config
    }

    #[allow(clippy::disallowed_methods, reason = "a runtime executes plugins")]
    fn prepare(&self, verb: &str, plugin: &str, attachment: Option<&Attachment>) -> Command {
        let there =
            self.directories.iter().map(|directory| directory.join(plugin)).find(|file| file.exists());
        let mut command =
            Command::new(there.unwrap_or_else(|| panic!("no plugin {plugin} in {:?}", self.directories)));
        let path: Vec<_> = self.directories.iter().map(|directory| directory.to_string_lossy()).collect();
        command.env("CNI_COMMAND", verb).env("CNI_PATH", path.join(":"));
        if let Some(attachment) = attachment {
            command.env("CNI_CONTAINERID", &attachment.container).env("CNI_IFNAME", &attachment.ifname);
            command.env("CNI_NETNS", &attachment.netns);
            command.env("CNI_ARGS", attachment.args.as_deref().unwrap_or_default());
        }
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    fn exec(
        &self,
        verb: &str,
        plugin: &str,
        attachment: Option<&Attachment>,
        config: &Value,
    ) -> Outcome<String> {
        let mut command = self.prepare(verb, plugin, attachment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {plugin}: {error}"));
        // A plugin may end without having read all of it.
        _ = child.stdin.take().expect("its input").write_all(config.to_string().as_bytes());
        if let Some(instant) = self.killed {
            kill_at(&mut child, instant);
        }
        let output = child.wait_with_output().expect("wait for a plugin");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let said: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let failure = |code, text: String| PluginFailure { plugin: plugin.to_owned(), code, text };
        Err(match said["code"].as_u64() {
            Some(code) => {
                let part = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
                failure(code, [part("msg"), part("details")].join("; "))
            }
            None => {
                failure(0, format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
            }
        })
    }
}

/// Kills a process at an instant, unless it has ended by then.
fn kill_at(child: &mut Child, instant: Instant) {
    while child.try_wait().is_ok_and(|status| status.is_none()) {
        if Instant::now() >= instant {
            _ = child.kill();
            return;
        }
        sleep(Duration::from_micros(20));
    }
}

fn key(attachment: &Attachment) -> (String, String) {
    (attachment.container.clone(), attachment.ifname.clone())
}

fn name_of(plugin: &Value) -> String {
    plugin["type"].as_str().unwrap_or_default().to_owned()
}

fn failure(plugin: &Value, code: u64, text: &str) -> PluginFailure {
    PluginFailure { plugin: name_of(plugin), code, text: text.to_owned() }
}
