//! The network that a configuration means: one of Linkspan's by its name, or one that it describes.

use std::collections::BTreeMap;

use ipnet::IpNet;
use linkspan_engine::NetworkRequest;
use linkspan_model::{Driver, IpamRequest, Name, Network, OptionMap, nearest};

use super::attach::invalid;
use crate::error::Code;
use crate::{Call, CniError, Host, Json, Object};

/// The label of networks that a configuration made.
const LABEL: &str = "linkspan.cni.network";
/// What describes a network.
const DESCRIPTION: [&str; 12] = [
    "driver", "subnet", "subnets", "bridge", "mtu", "internal", "ipv6", "ipMasq", "icc", "parent", "mode",
    "options",
];
/// What every configuration may have.
const COMMON: [&str; 18] = [
    "cniVersion",
    "name",
    "type",
    "args",
    "capabilities",
    "runtimeConfig",
    "prevResult",
    "network",
    "dns",
    "routes",
    "sysctl",
    "bandwidth",
    "mac",
    "gwPriority",
    "names",
    "disableCheck",
    "disableGC",
    "comment",
];
/// The capabilities that are made use of.
const CAPABILITIES: [&str; 7] = ["portMappings", "ips", "ipRanges", "mac", "bandwidth", "aliases", "dns"];

/// A network as a configuration means it.
pub enum Wanted {
    /// One that is there, by its name.
    Known(String),
    /// One that is made at its first use.
    Described(Box<NetworkRequest>),
}

impl Wanted {
    /// Reads it, and refuses what would be of no effect.
    pub fn read(call: &Call) -> Result<Self, CniError> {
        refuse_unknown(call)?;
        let Some(name) = call.config.text("network")? else {
            return Ok(Self::Described(Box::new(described(call)?)));
        };
        match DESCRIPTION.iter().find(|key| call.config.get(key).is_some()) {
            None => Ok(Self::Known(name)),
            Some(key) => {
                Err(CniError::new(Code::FIELD, format!("key '{key}' says what network '{name}' is")).because(
                    format!("`linkspan network create` does that; leave out {key}, or leave out network"),
                ))
            }
        }
    }

    /// The name of the network.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Described(request) => request.name.as_str(),
        }
    }

    /// Makes it if it is to be made and is not there.
    pub fn provide(&self, host: &mut Host) -> Result<(), CniError> {
        let Self::Described(request) = self else { return Ok(()) };
        let engine = host.engine()?;
        match engine.find_network(request.name.as_str())? {
            Some(network) => compare(request, &network),
            None => match engine.create_network((**request).clone()) {
                Ok(_) => Ok(()),
                // Somebody else may have been faster.
                Err(error) => match engine.find_network(request.name.as_str())? {
                    Some(network) => compare(request, &network),
                    None => Err(error.into()),
                },
            },
        }
    }

    /// Looks whether an attachment would find it.
    pub fn examine(&self, host: &mut Host) -> Result<(), CniError> {
        let found = host.engine()?.find_network(self.name())?;
        match (self, found) {
            (Self::Described(request), Some(network)) => compare(request, &network),
            (Self::Known(name), None) => Err(CniError::other(format!("there is no network '{name}'"))
                .because("`linkspan network create` makes it")),
            _ => Ok(()),
        }
    }
}

/// That a network is the one described. What the description leaves open may be anything.
fn compare(request: &NetworkRequest, network: &Network) -> Result<(), CniError> {
    let differs = |what: &str| {
        let name = &network.name;
        Err(CniError::config(format!("network '{name}' is not as the configuration says: {what}")).because(
            format!("`linkspan network inspect {name}` shows it; `linkspan network rm {name}` lets it be made anew"),
        ))
    };
    if network.labels.get(LABEL) != request.labels.get(LABEL) {
        return differs("it was made otherwise; a configuration uses it with the key network");
    }
    if network.driver != request.driver || network.internal != request.internal {
        return differs("driver or internal");
    }
    if network.options != request.options {
        return differs("options");
    }
    let has = |subnet: &IpNet| network.pools.iter().any(|pool| pool.subnet == subnet.trunc());
    match request.ipam.subnets.iter().find(|subnet| !has(subnet)) {
        Some(subnet) => differs(&format!("it has no subnet {subnet}")),
        None => Ok(()),
    }
}

fn described(call: &Call) -> Result<NetworkRequest, CniError> {
    let config = &call.config;
    let name: Name = call.network()?;
    let driver: Driver =
        config.text("driver")?.map_or(Ok(Driver::Bridge), |text| text.parse().map_err(invalid))?;
    let ipam = ipam(call)?;
    let ipv6 = config.boolean("ipv6")?.unwrap_or_default();
    Ok(NetworkRequest {
        labels: BTreeMap::from([(LABEL.to_owned(), name.to_string())]),
        name,
        driver,
        ipv4: ipam.subnets.is_empty() || ipam.subnets.iter().any(|net| net.addr().is_ipv4()),
        ipv6: ipv6 || ipam.subnets.iter().any(|net| net.addr().is_ipv6()),
        ipam,
        ipam_driver: "default".to_owned(),
        ipam_options: OptionMap::new(),
        options: options(config, driver)?,
        internal: config.boolean("internal")?.unwrap_or_default(),
    })
}

/// Keys that stand for options of the driver, and the options themselves.
fn options(config: &Object, driver: Driver) -> Result<OptionMap, CniError> {
    let mut options = OptionMap::new();
    if let Some(given) = config.object("options")? {
        for (key, value) in given.pairs() {
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Bool(value) => value.to_string(),
                Json::Number(number) => number.to_string(),
                _ => return Err(CniError::new(Code::DECODING, format!("option {key} must be a string"))),
            };
            options.insert(key.clone(), text);
        }
    }
    let mut set =
        |key: &str, value: Option<String>| options.extend(value.map(|value| (key.to_owned(), value)));
    set("com.docker.network.bridge.name", config.text("bridge")?);
    set("com.docker.network.driver.mtu", config.number::<u32>("mtu")?.map(|mtu| mtu.to_string()));
    let switch = |key| Ok::<_, CniError>(config.boolean(key)?.map(|on| on.to_string()));
    set("com.docker.network.bridge.enable_ip_masquerade", switch("ipMasq")?);
    set("com.docker.network.bridge.enable_icc", switch("icc")?);
    set("parent", config.text("parent")?);
    set(&format!("{driver}_mode"), config.text("mode")?);
    Ok(options)
}

/// The subnets: each as text, or with a range to choose from and a gateway; else those of the capability `ipRanges`.
fn ipam(call: &Call) -> Result<IpamRequest, CniError> {
    let mut ipam = IpamRequest::default();
    if let Some(text) = call.config.text("subnet")? {
        ipam.subnets.push(net("subnet", &text)?);
    }
    for item in call.config.list("subnets")?.unwrap_or_default() {
        match item {
            Json::String(text) => ipam.subnets.push(net("subnets", text)?),
            Json::Object(object) => pool(object, &mut ipam)?,
            _ => return Err(CniError::new(Code::DECODING, "key 'subnets' must be a list of subnets")),
        }
    }
    if !ipam.subnets.is_empty() {
        return Ok(ipam);
    }
    let ranges = call.runtime()?.map_or(Ok(None), |runtime| runtime.list("ipRanges"))?.unwrap_or_default();
    for set in ranges {
        let Json::List(alternatives) = set else {
            return Err(CniError::new(Code::DECODING, "key 'ipRanges' must be a list of lists"));
        };
        for object in alternatives {
            let Json::Object(object) = object else { continue };
            pool(object, &mut ipam)?;
        }
    }
    Ok(ipam)
}

fn pool(object: &Object, ipam: &mut IpamRequest) -> Result<(), CniError> {
    for key in ["rangeStart", "rangeEnd"] {
        if let Some(value) = object.text(key)? {
            return Err(CniError::new(Code::FIELD, format!("{} {value}", object.path_of(key)))
                .because("a part of a subnet is given as \"range\": \"10.1.128.0/17\""));
        }
    }
    let subnet = object.text("subnet")?.unwrap_or_default();
    ipam.subnets.push(net(&object.path_of("subnet"), &subnet)?);
    if let Some(range) = object.text("range")? {
        ipam.ranges.push(net(&object.path_of("range"), &range)?);
    }
    if let Some(gateway) = object.text("gateway")? {
        let parsed = gateway.parse();
        ipam.gateways
            .push(parsed.map_err(|_| CniError::config(format!("gateway {gateway:?} is no IP address")))?);
    }
    Ok(())
}

fn net(key: &str, text: &str) -> Result<IpNet, CniError> {
    text.parse().map_err(|_| CniError::config(format!("{key} {text:?} is no subnet, as 10.1.0.0/16 is")))
}

/// A key that means nothing here is a mistake: this plugin's are its own. Keys of others have a domain in front.
fn refuse_unknown(call: &Call) -> Result<(), CniError> {
    let known = || DESCRIPTION.into_iter().chain(COMMON);
    let is_known =
        |key: &str| known().any(|known| known.eq_ignore_ascii_case(key)) || key.contains(['.', '/']);
    if let Some((key, value)) = call.config.pairs().iter().find(|(key, _)| !is_known(key)) {
        let error = CniError::new(Code::FIELD, format!("unknown key '{key}', which is {}", value.kind()));
        return Err(match (key.as_str(), nearest(key, known())) {
            ("ipam", _) => error.because("the network gives addresses: say its subnets"),
            (_, Some(nearest)) => error.because(format!("did you mean {nearest}?")),
            _ => error.because(format!("known keys: {}", known().collect::<Vec<_>>().join(", "))),
        });
    }
    let Some(runtime) = call.runtime()? else { return Ok(()) };
    let useless = |key: &str| !CAPABILITIES.iter().any(|known| known.eq_ignore_ascii_case(key));
    match runtime.pairs().iter().find(|(key, _)| useless(key)) {
        Some((key, _)) => Err(CniError::new(Code::FIELD, format!("capability '{key}' is not supported"))
            .because(format!("supported: {}", CAPABILITIES.join(", ")))),
        None => Ok(()),
    }
}
