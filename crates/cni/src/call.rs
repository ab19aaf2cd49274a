//! One call of a plugin: the environment and what is on its standard input, checked in the order in which the
//! reference library checks them, so that of several mistakes the same one is told.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::PathBuf;

use crate::error::Code;
use crate::{Args, CniError, CniResult, Json, Object, Version};

/// linux/if.h: IFNAMSIZ without the NUL.
const IFNAME_MAX: usize = 15;

/// What a plugin is to do. VERSION is answered for all of them alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Compare what is there with what was made.
    Check,
    /// Free what belongs to no attachment that the runtime knows.
    Gc,
    /// Say whether ADD would work.
    Status,
}

/// An attachment that the runtime knows: container and interface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Attachment {
    /// The container.
    pub container: String,
    /// The name of its interface.
    pub ifname: String,
}

/// A call. What its verb does not need may be empty.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to do.
    pub verb: Verb,
    /// The container.
    pub container: String,
    /// The file of its network namespace. It may be gone, and DEL may come without it.
    pub netns: Option<PathBuf>,
    /// The name that the interface has or gets in the container.
    pub ifname: String,
    /// Where other plugins are.
    pub path: Vec<PathBuf>,
    /// CNI_ARGS.
    pub args: Args,
    /// The version of the configuration, which results are printed in.
    pub version: Version,
    /// The configuration.
    pub config: Object,
    /// The name of the network.
    pub name: String,
    /// What the plugins before this one made, or all together at CHECK and DEL.
    pub prev: Option<CniResult>,
    /// The configuration as it came, for a plugin that this one calls.
    pub stdin: Vec<u8>,
    /// Whether the plugin's own namespace may be meant.
    pub may_be_own: bool,
}

/// The variables that a call comes in.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Environment(Vec<(&'static str, OsString)>);

impl Environment {
    /// All that are looked at, in the order that they are checked in.
    const NAMES: [&'static str; 7] = [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_NETNS",
        "CNI_IFNAME",
        "CNI_ARGS",
        "CNI_PATH",
        "CNI_NETNS_OVERRIDE",
    ];

    /// This process's.
    pub fn of_process() -> Self {
        Self::from_fn(|name| std::env::var_os(name))
    }

    /// What `get` has for each.
    pub fn from_fn(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &'static str| Some((name, get(name).filter(|value| !value.is_empty())?));
        Self(Self::NAMES.into_iter().filter_map(set).collect())
    }

    /// What is set, and not to nothing.
    fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_os_str())
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The verb, as it is written; none if there is none.
    pub fn command(&self) -> Option<String> {
        self.get("CNI_COMMAND").map(|value| value.to_string_lossy().into_owned())
    }

    /// That the variables which the verb needs are there and make sense.
    fn check(&self, verb: Option<Verb>) -> Result<(), CniError> {
        let needed = verb.map_or(&[][..], Verb::needs);
        for name in needed {
            let Some(value) = self.get(name) else { continue };
            match *name {
                "CNI_CONTAINERID" => check_container(value)?,
                "CNI_IFNAME" => check_ifname(value)?,
                _ => {}
            }
        }
        let missing: Vec<&str> = needed.iter().copied().filter(|name| self.get(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(wrong(format!("required env variables [{}] missing", missing.join(","))))
    }
}

impl Verb {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            _ => return None,
        })
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
        }
    }

    const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Self::Gc | Self::Status => &["CNI_PATH"],
        }
    }

    /// The version that it came with.
    const fn since(self) -> Version {
        match self {
            Self::Add | Self::Del => Version::V010,
            Self::Check => Version::V040,
            Self::Gc | Self::Status => Version::V110,
        }
    }
}

/// A call of which it is known what it says, but not whether it makes sense.
#[derive(Clone, Debug)]
pub struct Letter {
    stdin: Vec<u8>,
    config: Object,
    name: String,
}

impl Letter {
    /// Reads the configuration of a call that comes in `environment`.
    ///
    /// # Errors
    /// The first mistake in this order: variables (code 4), input (5), JSON (6), name (7).
    pub fn read(environment: &Environment, stdin: impl Read) -> Result<Self, CniError> {
        environment.check(Verb::parse(&environment.command().unwrap_or_default()))?;
        let stdin = drain(stdin)?;
        let (config, name) = named(&stdin)?;
        Ok(Self { stdin, config, name })
    }

    /// The version to answer in.
    pub fn version(&self) -> Version {
        let text = self.config.string("cniVersion").ok().flatten().unwrap_or_default();
        Version::parse(&text).unwrap_or(Version::NEWEST)
    }

    /// The call, of a plugin that supports `versions`.
    ///
    /// # Errors
    /// The first mistake in this order: verb (code 4), version (1, 6), result of former plugins (6).
    pub fn call(self, environment: &Environment, versions: &[Version]) -> Result<Call, CniError> {
        let command = environment.command().unwrap_or_default();
        let verb = Verb::parse(&command).ok_or_else(|| wrong(format!("unknown CNI_COMMAND: {command}")))?;
        let version = version(verb, &self.config, versions)?;
        let prev = previous(verb, &self.config, version)?;
        Ok(Call {
            verb,
            container: environment.text("CNI_CONTAINERID"),
            netns: environment.get("CNI_NETNS").map(PathBuf::from),
            ifname: environment.text("CNI_IFNAME"),
            path: environment.get("CNI_PATH").map(directories).unwrap_or_default(),
            args: Args::new(environment.text("CNI_ARGS")),
            version,
            config: self.config,
            name: self.name,
            prev,
            stdin: self.stdin,
            may_be_own: ["true", "1"].contains(&&*environment.text("CNI_NETNS_OVERRIDE").to_lowercase()),
        })
    }
}

impl Call {
    /// Reads a call of a plugin that supports `versions`.
    ///
    /// # Errors
    /// As [`Letter::read`] and then [`Letter::call`].
    pub fn read(environment: &Environment, stdin: impl Read, versions: &[Version]) -> Result<Self, CniError> {
        Letter::read(environment, stdin)?.call(environment, versions)
    }

    /// The result of the plugins before this one.
    ///
    /// # Errors
    /// Code 7 if this is the first of a chain.
    pub fn previous(&self) -> Result<&CniResult, CniError> {
        self.prev.as_ref().ok_or_else(|| {
            CniError::config("there is no prevResult")
                .because("this plugin must come after one that makes an interface")
        })
    }

    /// The file of the namespace.
    ///
    /// # Errors
    /// Code 4 if there is none.
    pub fn netns(&self) -> Result<&PathBuf, CniError> {
        self.netns.as_ref().ok_or_else(|| wrong("required env variables [CNI_NETNS] missing".to_owned()))
    }

    /// `args.cni`: what the runtime says besides, by convention.
    ///
    /// # Errors
    /// Code 6 if it is no object; so with the next one.
    pub fn conventional(&self) -> Result<Option<&Object>, CniError> {
        self.config.object("args")?.map_or(Ok(None), |args| args.object("cni"))
    }

    /// `runtimeConfig`: what the runtime says of the capabilities that the configuration declares.
    ///
    /// # Errors
    /// As [`Self::conventional`].
    pub fn runtime(&self) -> Result<Option<&Object>, CniError> {
        self.config.object("runtimeConfig")
    }

    /// At GC, the attachments that are alive. None if the runtime gave no list, which tells nothing of any; an empty list
    /// says that there are none.
    ///
    /// # Errors
    /// Code 6 if it is no such list.
    pub fn valid_attachments(&self) -> Result<Option<Vec<Attachment>>, CniError> {
        // The second was in use before the specification settled on the first.
        let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
        let Some(key) = keys.into_iter().find(|key| self.config.get(key).is_some()) else { return Ok(None) };
        let read = |object: &Object| {
            Ok(Attachment {
                container: object.string("containerID")?.unwrap_or_default(),
                ifname: object.string("ifname")?.unwrap_or_default(),
            })
        };
        self.config.objects(key)?.iter().map(read).collect::<Result<_, _>>().map(Some)
    }
}

fn wrong(what: String) -> CniError {
    CniError::new(Code::ENVIRONMENT, what)
}

fn drain(mut stdin: impl Read) -> Result<Vec<u8>, CniError> {
    let mut bytes = Vec::new();
    match stdin.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(CniError::new(Code::IO, "cannot read from stdin").because(error)),
    }
}

/// The configuration, with the network's name.
fn named(stdin: &[u8]) -> Result<(Object, String), CniError> {
    let what = "cannot read the network configuration";
    let config = match Json::parse(stdin) {
        Ok(Json::Object(config)) => config,
        Ok(Json::Null) => Object::default(),
        Ok(other) => {
            return Err(
                CniError::new(Code::DECODING, what).because(format!("it is {}, not an object", other.kind()))
            );
        }
        Err(error) => return Err(CniError::new(Code::DECODING, what).because(error)),
    };
    let name = config.string("name")?.unwrap_or_default();
    if name.is_empty() {
        return Err(CniError::config("missing network name"));
    }
    if !is_identifier(&name) {
        return Err(CniError::config("invalid characters found in network name").because(format!("{name:?}")));
    }
    Ok((config, name))
}

/// The version of the configuration, if the plugin supports it and it has the verb.
fn version(verb: Verb, config: &Object, supported: &[Version]) -> Result<Version, CniError> {
    let text = config.string("cniVersion")?.unwrap_or_default();
    let since = verb.since();
    if since > Version::V010 {
        let older = numbers(&text)
            .ok_or_else(|| CniError::new(Code::DECODING, format!("cniVersion {text:?} is no version")))?
            < numbers(since.as_str()).unwrap_or_default();
        if older {
            // No details: users compare the whole text with the reference library's.
            let what = format!("config version does not allow {}", verb.as_str());
            return Err(CniError::new(Code::VERSION, what));
        }
    }
    let version = Version::parse(&text).filter(|version| supported.contains(version));
    version.ok_or_else(|| {
        let supported: Vec<&str> = supported.iter().map(|version| version.as_str()).collect();
        CniError::new(Code::VERSION, "incompatible CNI versions")
            .because(format!("config is {text:?}, plugin supports {supported:?}"))
    })
}

/// The numbers of a version, of which the last ones may be left out; nothing at all means 0.1.0.
fn numbers(text: &str) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    let text = if text.is_empty() { Version::V010.as_str() } else { text };
    for (index, part) in text.split('.').enumerate() {
        *numbers.get_mut(index)? = part.parse().ok()?;
    }
    Some(numbers)
}

/// Whoever cleans up must not be held back by a record of what was made that nobody can read.
fn previous(verb: Verb, config: &Object, version: Version) -> Result<Option<CniResult>, CniError> {
    let read = || config.object("prevResult")?.map(|object| CniResult::read(object, version)).transpose();
    match read() {
        Err(error) if verb == Verb::Del => {
            eprintln!("note: prevResult is not used: {error}");
            Ok(None)
        }
        other => other,
    }
}

fn directories(list: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// Whether it is what containers and networks may be called.
fn is_identifier(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}

fn check_container(value: &OsStr) -> Result<(), CniError> {
    if value.to_str().is_some_and(is_identifier) {
        return Ok(());
    }
    Err(wrong("invalid characters in containerID".to_owned()).because(value.to_string_lossy()))
}

fn check_ifname(value: &OsStr) -> Result<(), CniError> {
    let parted = |c: char| c == '/' || c == ':' || c.is_whitespace();
    let what = match value.to_str() {
        _ if value.len() > IFNAME_MAX => "interface name is too long",
        Some("." | "..") => "interface name is . or ..",
        Some(name) if name.contains(parted) => "interface name contains / or : or whitespace characters",
        None => "interface name is not UTF-8",
        Some(_) => return Ok(()),
    };
    Err(wrong(what.to_owned()).because(format!("{:?}", value.to_string_lossy())))
}
