//! The files in which the reference library (libcni) keeps what it attached: kind `cniCacheV1`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::call::{Call, Verb};
use crate::{Args, CniError, CniResult, Json, Object, Plugin, Version};

/// What files of the cache are called inside.
const KIND: &str = "cniCacheV1";

/// An attachment as the runtime remembers it.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The network.
    pub network: String,
    /// The container.
    pub container: String,
    /// Its interface.
    pub ifname: String,
    /// The file of its namespace.
    pub netns: PathBuf,
    /// What the chain gave.
    pub result: CniResult,
    args: Args,
    capabilities: Object,
    /// What all plugins share: version and name.
    shared: Object,
    plugins: Vec<Object>,
}

/// A file of a cache by its name, read or with the reason why it cannot be.
pub type File = (String, Result<Cached, CniError>);

/// All files of a cache.
///
/// # Errors
/// If the directory cannot be listed.
pub fn read_all(directory: &Path) -> Result<Vec<File>, CniError> {
    let cannot = |error| CniError::other(format!("cannot read {}", directory.display())).because(error);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if entry.file_type().map_err(cannot)?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    let read = |file: &Path| {
        let bytes = fs::read(file)
            .map_err(|error| CniError::other(format!("cannot read {}", file.display())).because(error))?;
        Cached::read(&bytes)
    };
    let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(files.iter().map(|file| (name(file), read(file))).collect())
}

impl Cached {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is of another kind, or a key is missing or wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, CniError> {
        let file = object(Json::parse(bytes)?)?;
        if file.text("kind")?.as_deref() != Some(KIND) {
            return Err(CniError::config(format!("it is not of the kind {KIND}")));
        }
        let text =
            |key: &str| file.text(key)?.ok_or_else(|| CniError::config(format!("key '{key}' is not given")));
        let config = decode(&text("config")?).ok_or_else(|| CniError::config("key 'config' is no base64"))?;
        let shared = object(Json::parse(&config)?)?;
        let plugins = match shared.list("plugins")? {
            Some(_) => shared.objects("plugins")?,
            None => vec![shared.clone()],
        };
        let version = version(&shared)?;
        let result = file.object("result")?.map(|result| CniResult::read(result, version)).transpose()?;
        Ok(Self {
            network: text("networkName")?,
            container: text("containerId")?,
            ifname: text("ifName")?,
            netns: text("netns")?.into(),
            result: result.unwrap_or_default(),
            args: args(&file)?,
            capabilities: file.object("capabilityArgs")?.cloned().unwrap_or_default(),
            shared,
            plugins,
        })
    }

    /// The plugins' names, in the order of the chain.
    ///
    /// # Errors
    /// If one has none.
    pub fn types(&self) -> Result<Vec<String>, CniError> {
        self.plugins.iter().map(|plugin| Ok(plugin.string("type")?.unwrap_or_default())).collect()
    }

    /// The call by which the `number`-th plugin, `plugin`, would make its part now that all is there.
    ///
    /// # Errors
    /// If the plugin does not support the version.
    pub fn call(&self, number: usize, plugin: &dyn Plugin) -> Result<Call, CniError> {
        let version = version(&self.shared)?;
        if !plugin.versions().contains(&version) {
            return Err(CniError::config(format!("{} does not support version {version}", plugin.name())));
        }
        let own = self.plugins.get(number).cloned().unwrap_or_default();
        let declared = own.object("capabilities")?.cloned().unwrap_or_default();
        let mut runtime = Object::default();
        for (name, value) in self.capabilities.pairs() {
            if declared.boolean(name)?.unwrap_or_default() {
                runtime = runtime.with(name, value.clone());
            }
        }
        let mut config = own.with("name", Json::String(self.network.clone()));
        config = config.with("cniVersion", Json::String(version.to_string()));
        if !runtime.pairs().is_empty() {
            config = config.with("runtimeConfig", Json::Object(runtime));
        }
        Ok(Call {
            verb: Verb::Add,
            container: self.container.clone(),
            netns: Some(self.netns.clone()),
            ifname: self.ifname.clone(),
            path: Vec::new(),
            args: self.args.clone(),
            version,
            config,
            name: self.network.clone(),
            prev: (number > 0).then(|| self.result.clone()),
            stdin: Vec::new(),
            may_be_own: false,
        })
    }
}

fn version(config: &Object) -> Result<Version, CniError> {
    let text = config.text("cniVersion")?.unwrap_or_default();
    Version::parse(&text).ok_or_else(|| CniError::config(format!("cniVersion {text:?} is not known")))
}

fn object(json: Json) -> Result<Object, CniError> {
    match json {
        Json::Object(object) => Ok(object),
        other => Err(CniError::config(format!("it is {}, not an object", other.kind()))),
    }
}

/// `cniArgs`: a list of pairs, each a list of two.
fn args(file: &Object) -> Result<Args, CniError> {
    let mut pairs = Vec::new();
    for pair in file.list("cniArgs")?.unwrap_or_default() {
        let Json::List(pair) = pair else { continue };
        if let [Json::String(key), Json::String(value)] = pair.as_slice() {
            pairs.push(format!("{key}={value}"));
        }
    }
    Ok(Args::new(pairs.join(";")))
}

/// Base64 with padding (RFC 4648), as Go writes bytes.
fn decode(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(value(byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("fn5+", "~~~")] {
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode("Zm9v!"), None);
    }

    #[test]
    fn a_chain_is_called_as_it_was_with_the_final_result() {
        // {"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge"},
        //  {"type":"portmap","capabilities":{"portMappings":true}}]}
        let config = "eyJjbmlWZXJzaW9uIjoiMS4wLjAiLCJuYW1lIjoicG9kcyIsInBsdWdpbnMiOlt7InR5cGUiOiJicmlkZ2UifSx7InR5cGUi\
                      OiJwb3J0bWFwIiwiY2FwYWJpbGl0aWVzIjp7InBvcnRNYXBwaW5ncyI6dHJ1ZX19XX0=";
        let file = format!(
            r#"{{"kind":"cniCacheV1","containerId":"c1","config":"{config}","ifName":"eth0","networkName":"pods",
            "netns":"/run/netns/c1","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAME","web"]],
            "capabilityArgs":{{"portMappings":[],"mac":"02:00:00:00:00:01"}},
            "result":{{"cniVersion":"1.0.0","ips":[{{"address":"10.1.2.3/24"}}]}}}}"#
        );
        let cached = Cached::read(file.as_bytes()).unwrap();
        assert_eq!(cached.types().unwrap(), ["bridge", "portmap"]);
        let portmap = crate::find("portmap").unwrap();
        let call = cached.call(1, portmap).unwrap();
        let runtime = call.runtime().unwrap().unwrap();
        assert!(runtime.get("portMappings").is_some() && runtime.get("mac").is_none());
        assert_eq!(call.args.as_str(), "IgnoreUnknown=1;K8S_POD_NAME=web");
        assert_eq!(call.prev.as_ref().unwrap().ips.len(), 1);
        assert!(cached.call(0, portmap).unwrap().prev.is_none());
        assert!(Cached::read(b"{}").is_err());
    }
}
