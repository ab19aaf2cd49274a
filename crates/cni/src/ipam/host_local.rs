//! `host-local`: addresses of ranges, in turn, remembered in a directory of files.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use linkspan_model::{Holder, Invalid};
use linkspan_plan::ranges::{Range, RangeSet, check_apart};

use super::{address, address_at, check_count, prefix, section};
use crate::{Call, CniError, CniResult, Code, Dns, Host, Ip, Json, Object, Plugin, Route};

/// Where the directories of networks are, if the configuration does not say.
const DATA_DIR: &str = "/var/lib/cni/networks";

/// The plugin.
pub struct HostLocal {
    /// The keys of CNI_ARGS that may be there.
    pub(super) known_args: &'static [&'static str],
}

impl HostLocal {
    /// The plugin by its own name.
    pub const ALONE: Self = Self { known_args: &["IP"] };

    /// The directory that the addresses of `call` are remembered in.
    ///
    /// # Errors
    /// If the configuration has no IPAM.
    pub fn directory_of(call: &Call) -> Result<String, CniError> {
        directory(call, section(call)?)
    }

    /// The addresses that are asked for by name.
    pub(super) fn ips_of(&self, call: &Call) -> Result<Vec<IpAddr>, CniError> {
        section(call)?;
        ips(call, call.args.load(self.known_args)?.get("IP"))
    }

    /// The sets of ranges to give out addresses of.
    pub(super) fn sets_of(&self, call: &Call) -> Result<Vec<RangeSet>, CniError> {
        self.ips_of(call)?;
        let sets = sets(call, section(call)?)?;
        check_count(call, sets.iter().map(RangeSet::family))?;
        check_apart(&sets)?;
        Ok(sets)
    }
}

impl Plugin for HostLocal {
    fn name(&self) -> &'static str {
        "host-local"
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let (sets, wanted) = (self.sets_of(call)?, self.ips_of(call)?);
        let ipam = section(call)?;
        let routes = ipam.objects("routes")?.iter().map(Route::read).collect::<Result<_, _>>()?;
        let dns = ipam.text("resolvConf")?.map_or(Ok(Dns::default()), |file| resolv_conf(&file))?;
        let directory = directory(call, ipam)?;
        let reserved = host.engine()?.reserve(&directory, &holder(call), &sets, &wanted)?;
        let ips = reserved.iter().map(|reserved| Ip {
            address: reserved.address,
            gateway: Some(reserved.gateway),
            interface: None,
        });
        Ok(CniResult { interfaces: Vec::new(), ips: ips.collect(), routes, dns })
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let directory = directory(call, section(call)?)?;
        host.engine()?.release(&directory, &holder(call))?;
        // Nothing is held any more, whatever else is wrong.
        self.sets_of(call).map(drop)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        self.sets_of(call)?;
        let directory = directory(call, section(call)?)?;
        if host.engine()?.is_reserved(&directory, &holder(call))? {
            return Ok(());
        }
        let container = &call.container;
        Err(CniError::other(format!("host-local: Failed to find address added by container {container}")))
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let Some(valid) = call.valid_attachments()? else { return Ok(()) };
        let directory = directory(call, section(call)?)?;
        let alive =
            valid.into_iter().map(|alive| Holder { container: alive.container, ifname: alive.ifname });
        host.engine()?.release_others(&directory, &alive.collect::<Vec<_>>())?;
        Ok(())
    }

    fn status(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let sets = self.sets_of(call)?;
        let directory = directory(call, section(call)?)?;
        let room = host.engine()?.has_room(&directory, &sets);
        room.map_err(|error| CniError { code: Code::UNAVAILABLE, ..error.into() })
    }
}

fn holder(call: &Call) -> Holder {
    Holder { container: call.container.clone(), ifname: call.ifname.clone() }
}

/// The directory of the call's network.
fn directory(call: &Call, ipam: &Object) -> Result<String, CniError> {
    let parent = ipam.text("dataDir")?.unwrap_or_else(|| DATA_DIR.to_owned());
    let absolute = std::path::absolute(parent).map_err(|error| CniError::config(error.to_string()))?;
    // One directory must not have two names for want of a slash.
    let directory: PathBuf = absolute.join(&call.name).components().collect();
    Ok(directory.to_string_lossy().into_owned())
}

/// The addresses that are asked for by name.
fn ips(call: &Call, arg: Option<&str>) -> Result<Vec<IpAddr>, CniError> {
    let list = |object: Option<&Object>| object.map_or(Ok(Vec::new()), |object| object.strings("ips"));
    let mut texts: Vec<String> = arg.into_iter().map(str::to_owned).collect();
    texts.extend(list(call.conventional()?)?);
    texts.extend(list(call.runtime()?)?);
    let parse = |text: &String| {
        // A prefix may be given, and is that of the subnet.
        let alone = if text.contains('/') {
            prefix(text).map(|net| net.addr().to_canonical())
        } else {
            address(text)
        };
        alone.ok_or_else(|| CniError::config(format!("invalid IP address {text}")))
    };
    texts.iter().filter(|text| !text.is_empty()).map(parse).collect()
}

/// The sets of ranges: first those of the runtime, then the one written without a list, then the list.
fn sets(call: &Call, ipam: &Object) -> Result<Vec<RangeSet>, CniError> {
    let mut sets = Vec::new();
    if let Some(runtime) = call.runtime()? {
        sets.extend(lists(runtime, "ipRanges")?);
    }
    if ipam.text("subnet")?.is_some() {
        sets.push(vec![ipam.clone()]);
    }
    sets.extend(lists(ipam, "ranges")?);
    if sets.is_empty() {
        return Err(CniError::config("no IP ranges specified"));
    }
    let canonical = |(number, ranges): (usize, &Vec<Object>)| {
        let ranges = ranges.iter().map(range).collect::<Result<_, _>>();
        let set = ranges.and_then(|ranges| RangeSet::new(ranges).map_err(CniError::from));
        set.map_err(|error| CniError { msg: format!("invalid range set {number}: {}", error.msg), ..error })
    };
    sets.iter().enumerate().map(canonical).collect()
}

/// A list of lists of objects; empty if it is not given.
fn lists(object: &Object, key: &str) -> Result<Vec<Vec<Object>>, CniError> {
    let wrong = || {
        let path = object.path_of(key);
        CniError::new(Code::DECODING, format!("key '{path}' must be a list of lists of ranges"))
    };
    let one = |value: &Json| match value {
        Json::Object(object) => Ok(object.clone()),
        _ => Err(wrong()),
    };
    let several = |value: &Json| match value {
        Json::List(items) => items.iter().map(one).collect(),
        Json::Null => Ok(Vec::new()),
        _ => Err(wrong()),
    };
    object.list(key)?.unwrap_or_default().iter().map(several).collect()
}

fn range(object: &Object) -> Result<Range, CniError> {
    let text = object.text("subnet")?.unwrap_or_default();
    let is_plain = |address: IpAddr| address == address.to_canonical();
    let subnet = prefix(&text).filter(|subnet| is_plain(subnet.addr()));
    let subnet = subnet.ok_or_else(|| Invalid::new(format!("invalid CIDR address: '{text}'")))?;
    let at = |key: &str| address_at(object, key);
    Ok(Range::new(subnet, at("rangeStart")?, at("rangeEnd")?, at("gateway")?)?)
}

/// What a resolver's file says (resolv.conf(5)).
fn resolv_conf(file: &str) -> Result<Dns, CniError> {
    let failed = |error| CniError::new(Code::IO, format!("cannot read {file}")).because(error);
    let text = fs::read(Path::new(file)).map_err(failed)?;
    Ok(resolver(&String::from_utf8_lossy(&text)))
}

fn resolver(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        match (words.next().as_deref(), words.next()) {
            (Some("nameserver"), Some(server)) => dns.nameservers.push(server),
            (Some("domain"), Some(domain)) => dns.domain = Some(domain),
            (Some("search"), Some(first)) => dns.search.extend([first].into_iter().chain(words)),
            (Some("options"), Some(first)) => dns.options.extend([first].into_iter().chain(words)),
            _ => {}
        }
    }
    dns
}
