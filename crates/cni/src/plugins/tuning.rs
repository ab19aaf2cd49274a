//! `tuning`: settings of an interface that another plugin made, and sysctls of its container's network.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use linkspan_kernel::DeviceFacts;
use linkspan_model::{Fixture, Guests, IfName, Mac, Part, Setting, Side};
use regex_lite::Regex;
use serde::Serialize;

use crate::error::Code;
use crate::part::found;
use crate::{Call, CniError, CniResult, Host, Json, Object, Plugin};

const NAME: &str = "tuning";
/// Where the reference plugin keeps what settings were.
const DATA_DIR: &str = "/run/cni/tuning";
/// The sysctls that the host's owner lets be set: a regular expression a line.
const ALLOWLIST: &str = "/etc/cni/tuning/allowlist.conf";

/// The plugin.
pub struct Tuning;

/// A sysctl of the container's namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sysctl {
    /// As the configuration calls it.
    key: String,
    /// Its path below /proc/sys.
    path: String,
    value: String,
}

/// Its configuration.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Config {
    sysctls: Vec<Sysctl>,
    /// The MAC as it was written, for the result.
    mac: Option<String>,
    /// What the interface is set to, in this order.
    settings: Vec<Setting>,
}

impl Config {
    fn read(call: &Call) -> Result<Self, CniError> {
        let mut sysctls = Vec::new();
        if let Some(object) = call.config.object("sysctl")? {
            unambiguous(object)?;
            add_sysctls(&mut sysctls, object, &call.ifname)?;
        }
        if let Some(object) = call.conventional()?.map_or(Ok(None), |args| args.object("sysctl"))? {
            add_sysctls(&mut sysctls, object, &call.ifname)?;
        }
        let mac = mac(call)?;
        let switch = |key| asked(call, |object| object.boolean(key));
        let number = |key| asked(call, |object| object.number::<u32>(key));
        let settings = [
            mac.as_deref().map(parsed).transpose()?.map(Setting::Mac),
            switch("promisc")?.filter(|on| *on).map(Setting::Promisc),
            number("mtu")?.filter(|mtu| *mtu != 0).map(Setting::Mtu),
            switch("allmulti")?.map(Setting::AllMulti),
            number("txQLen")?.map(Setting::TxQueue),
        ];
        Ok(Self { sysctls, mac, settings: settings.into_iter().flatten().collect() })
    }

    const fn is_empty(&self) -> bool {
        self.sysctls.is_empty() && self.settings.is_empty()
    }

    /// That a host's allowlist, of which these are the lines, has all sysctls.
    fn allowed(&self, lines: &str) -> Result<(), CniError> {
        let lines: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        for Sysctl { key, .. } in &self.sysctls {
            let mut is_allowed = false;
            for line in &lines {
                let wrong = |error| CniError::other(format!("{line:?} in {ALLOWLIST}")).because(error);
                is_allowed |= Regex::new(line).map_err(wrong)?.is_match(key);
            }
            if !is_allowed {
                return Err(CniError::config(format!("Sysctl {key} is not allowed"))
                    .because(format!("{ALLOWLIST} allows {lines:?}")));
            }
        }
        Ok(())
    }

    /// What is to be made where the interface is as `found`, if its settings are to change.
    fn fixtures(&self, device: &IfName, found: Option<&DeviceFacts>) -> Vec<Fixture> {
        let sysctl = |Sysctl { path, value, .. }: &Sysctl| Fixture::Sysctl {
            side: Side::Inside,
            key: path.clone(),
            value: value.clone(),
        };
        let setting = |to: &Setting| Fixture::Setting {
            device: device.clone(),
            to: *to,
            before: found.and_then(|found| current(*to, found)),
        };
        self.sysctls.iter().map(sysctl).chain(self.settings.iter().map(setting)).collect()
    }
}

/// What `args.cni` says, else the configuration.
fn asked<T>(
    call: &Call,
    read: impl Fn(&Object) -> Result<Option<T>, CniError>,
) -> Result<Option<T>, CniError> {
    let configured = read(&call.config)?;
    Ok(call.conventional()?.map_or(Ok(None), read)?.or(configured))
}

/// The MAC that is asked for. Unlike with other plugins `args.cni` goes before the runtime; an empty one there means none.
fn mac(call: &Call) -> Result<Option<String>, CniError> {
    let arguments = call.args.load(&["MAC"])?;
    let texts = [
        call.conventional()?.map_or(Ok(None), |args| args.string("mac"))?,
        call.runtime()?.map_or(Ok(None), |runtime| runtime.text("mac"))?,
        arguments.get("MAC").filter(|mac| !mac.is_empty()).map(str::to_owned),
        call.config.text("mac")?,
    ];
    Ok(texts.into_iter().flatten().next().filter(|mac| !mac.is_empty()))
}

fn parsed(mac: &str) -> Result<Mac, CniError> {
    mac.parse().map_err(|error| CniError::config(format!("invalid args {mac} for MAC addr")).because(error))
}

/// That no key is given twice: which one holds would be left to chance.
fn unambiguous(object: &Object) -> Result<(), CniError> {
    let mut keys: Vec<&str> = object.pairs().iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(CniError::config("duplicated sysctl keys are not allowed").because(format!("{:?}", pair[0])))
        }
        None => Ok(()),
    }
}

/// Adds the sysctls of `object`, each in place of what was said of it before.
fn add_sysctls(sysctls: &mut Vec<Sysctl>, object: &Object, ifname: &str) -> Result<(), CniError> {
    for (key, value) in object.pairs() {
        let Json::String(value) = value else {
            let what = format!("key '{}' must be a string", object.path_of(key));
            return Err(CniError::new(Code::DECODING, what).because(format!("it is {}", value.kind())));
        };
        let path = below_sys(key, ifname);
        if !path.starts_with("net/") {
            return Err(CniError::config(format!("invalid net sysctl key: {key:?}"))
                .because("only what is below net is of the container's network namespace"));
        }
        sysctls.retain(|sysctl| sysctl.path != path);
        sysctls.push(Sysctl { key: key.clone(), path, value: value.clone() });
    }
    Ok(())
}

/// The path below /proc/sys that a key means, written with dots or slashes. It leads nowhere else, as no part is `..`.
fn below_sys(key: &str, ifname: &str) -> String {
    let path = key.replace('.', "/").replacen("IFNAME", ifname, 1);
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// What the setting that `wanted` is about is now; none if the device has no such.
fn current(wanted: Setting, found: &DeviceFacts) -> Option<Setting> {
    Some(match wanted {
        Setting::Mac(_) => Setting::Mac(found.mac?),
        Setting::Mtu(_) => Setting::Mtu(found.mtu),
        Setting::Promisc(_) => Setting::Promisc(found.promisc),
        Setting::AllMulti(_) => Setting::AllMulti(found.allmulti),
        Setting::TxQueue(_) => Setting::TxQueue(found.tx_queue),
    })
}

/// What settings were, as the reference plugin writes it down. Linkspan gives back what its own record has; others look
/// for the file.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Backup {
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<Mac>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promisc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allmulti: Option<bool>,
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    tx_queue: Option<u32>,
}

impl Backup {
    fn of(fixtures: &[Fixture]) -> Self {
        let mut backup = Self::default();
        for fixture in fixtures {
            let Fixture::Setting { before: Some(before), .. } = fixture else { continue };
            match *before {
                Setting::Mac(mac) => backup.mac = Some(mac),
                Setting::Promisc(on) => backup.promisc = Some(on),
                Setting::Mtu(mtu) => backup.mtu = Some(mtu),
                Setting::AllMulti(on) => backup.allmulti = Some(on),
                Setting::TxQueue(frames) => backup.tx_queue = Some(frames),
            }
        }
        backup
    }

    fn path(call: &Call) -> Result<PathBuf, CniError> {
        let directory = call.config.text("dataDir")?.unwrap_or_else(|| DATA_DIR.to_owned());
        Ok(PathBuf::from(directory).join(format!("{}_{}.json", call.container, call.ifname)))
    }

    fn save(&self, call: &Call) -> Result<(), CniError> {
        let path = Self::path(call)?;
        let failed =
            |error| CniError::new(Code::IO, format!("cannot write {}", path.display())).because(error);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        drop_file(&path).map_err(failed)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let text = crate::print::pretty(self);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
    }

    fn forget(call: &Call) -> Result<(), CniError> {
        let path = Self::path(call)?;
        let what = || format!("cannot remove {}", path.display());
        drop_file(&path).map_err(|error| CniError::new(Code::IO, what()).because(error))
    }
}

fn drop_file(path: &PathBuf) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn allowlist() -> Result<Option<String>, CniError> {
    match fs::read_to_string(ALLOWLIST) {
        Ok(lines) => Ok(Some(lines)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CniError::new(Code::IO, format!("cannot read {ALLOWLIST}")).because(error)),
    }
}

fn previous(call: &Call) -> Result<&CniResult, CniError> {
    call.prev.as_ref().ok_or_else(|| CniError::config("Required prevResult missing"))
}

/// Says what differs as the reference plugin does, whose words its users look for.
fn compare(what: &str, wanted: &str, is: Option<&str>) -> Result<(), CniError> {
    if is.is_some_and(|is| is.split_whitespace().eq(wanted.split_whitespace())) {
        return Ok(());
    }
    let is = is.unwrap_or("not there");
    Err(CniError::other(format!("Error: Tuning configured {what} is {wanted}, current value is {is}")))
}

impl Plugin for Tuning {
    fn name(&self) -> &'static str {
        NAME
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let config = Config::read(call)?;
        if let Some(lines) = allowlist()? {
            config.allowed(&lines)?;
        }
        let prev = previous(call)?;
        if config.is_empty() {
            return Ok(prev.clone());
        }
        let device: IfName = call.ifname.parse()?;
        let engine = host.engine()?;
        let before = if config.settings.is_empty() {
            None
        } else {
            // What a dead process had set is no state to come back to.
            engine.settle()?;
            let there = engine.kernel().device(Some(call.netns()?), &device)?;
            Some(there.ok_or_else(|| CniError::other(format!("failed to get {device:?}")))?)
        };
        let fixtures = config.fixtures(&device, before.as_ref());
        if before.is_some() && host.found().is_none() {
            Backup::of(&fixtures).save(call)?;
        }
        let part = Part { owner: NAME.to_owned(), fixtures, ..Part::default() };
        let fitted = call.fit(host, (part, Guests::default()), found(call, prev, None), false);
        fitted.inspect_err(|_| _ = Backup::forget(call))?;
        let mut result = prev.clone();
        let ours = result.interfaces.iter_mut().filter(|interface| interface.name == call.ifname);
        if let Some(mac) = config.mac {
            ours.for_each(|interface| interface.mac = Some(mac.clone()));
        }
        Ok(result)
    }

    /// Never fails: the settings go with the interface at the latest.
    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let nothing = Config::read(call).is_ok_and(|config| config.is_empty());
        if nothing && Backup::path(call).is_ok_and(|path| !path.exists()) {
            return Ok(());
        }
        let given_back = call.unfit(host, NAME).and_then(|_| Backup::forget(call));
        if let Err(error) = given_back {
            eprintln!("note: settings of {} are not given back: {error}", call.ifname);
        }
        Ok(())
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let config = Config::read(call)?;
        previous(call)?;
        let (netns, kernel) = (call.netns()?, host.engine()?.kernel());
        for Sysctl { path, value, .. } in &config.sysctls {
            let is = kernel.sysctl(netns, path)?;
            compare(&format!("value of /proc/sys/{path}"), value, is.as_deref())?;
        }
        let device: IfName = call.ifname.parse()?;
        let there = kernel.device(Some(netns), &device)?;
        let there = there.ok_or_else(|| CniError::other(format!("Cannot find container link {device}")))?;
        let told = config.settings.iter().any(|setting| matches!(setting, Setting::Promisc(_)));
        let untold = (!told).then_some(Setting::Promisc(false));
        for wanted in config.settings.into_iter().chain(untold) {
            let is = current(wanted, &there).map(|is| is.to_string());
            compare(&format!("state of {device}"), &wanted.to_string(), is.as_deref())?;
        }
        Ok(())
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.collect(host)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugins::pair::tests::call;

    fn read(config: Value) -> Result<Config, String> {
        Config::read(&call(config)).map_err(|error| error.to_string())
    }

    fn settings(config: Value) -> Vec<String> {
        read(config).unwrap().settings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn args_go_before_the_configuration() {
        let config = json!({
            "mac": "02:00:00:00:00:01", "promisc": true, "mtu": 1400, "txQLen": 0, "allmulti": true,
            "runtimeConfig": { "mac": "02:00:00:00:00:02" },
        });
        let set = ["mac 02:00:00:00:00:02", "promisc on", "mtu 1400", "allmulticast on", "txqueuelen 0"];
        assert_eq!(settings(config.clone()), set);
        let mut config = config;
        config["args"] = json!({ "cni": {
            "mac": "02:00:00:00:00:03", "promisc": false, "mtu": 1300, "txQLen": 7, "allmulti": false,
        }});
        let set = ["mac 02:00:00:00:00:03", "mtu 1300", "allmulticast off", "txqueuelen 7"];
        assert_eq!(settings(config), set);
        assert!(read(json!({ "promisc": false, "mtu": 0, "mac": "", "sysctl": {} })).unwrap().is_empty());
        assert!(read(json!({ "mac": "fast" })).unwrap_err().contains("invalid args fast for MAC addr"));
        assert!(read(json!({ "mtu": -1 })).is_err());
    }

    #[test]
    fn sysctls_are_of_the_network() {
        let config = read(json!({
            "sysctl": { "net.ipv4.conf.IFNAME.rp_filter": "0", "/net//core/somaxconn": "1" },
            "args": { "cni": { "sysctl": { "net.core.somaxconn": "2" } } },
        }));
        let texts: Vec<String> =
            config.unwrap().sysctls.iter().map(|one| format!("{} {}", one.path, one.value)).collect();
        assert_eq!(texts, ["net/ipv4/conf/eth0/rp_filter 0", "net/core/somaxconn 2"]);
        for key in ["kernel.hostname", "net", "", "vm.net.x"] {
            let error = read(json!({ "sysctl": { key: "1" } })).unwrap_err();
            assert!(error.contains("invalid net sysctl key"), "{key}: {error}");
        }
        assert!(read(json!({ "sysctl": { "net.core.somaxconn": 1 } })).is_err());
    }

    #[test]
    fn a_sysctl_is_given_once() {
        let Ok(Json::Object(twice)) = Json::parse(br#"{"net.a": "1", "net.b": "1", "net.a": "1"}"#) else {
            panic!();
        };
        assert_eq!(unambiguous(&twice).unwrap_err().msg, "duplicated sysctl keys are not allowed");
    }

    #[test]
    fn the_host_allows_sysctls_by_patterns() {
        let config = read(json!({ "sysctl": { "net.ipv4.conf.eth0.rp_filter": "0" } })).unwrap();
        for lines in ["^net\\.ipv4\\.", "x\n  rp_filter \n", "net.ipv4.conf.(eth|net)[0-9]+."] {
            config.allowed(lines).unwrap();
        }
        for lines in ["", "^net.ipv6", "^rp_filter"] {
            assert!(config.allowed(lines).unwrap_err().msg.contains("is not allowed"), "{lines}");
        }
        assert!(config.allowed("(").is_err());
    }
}
