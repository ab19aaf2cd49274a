//! What one attachment asks for beside its network.

use std::net::IpAddr;

use linkspan_engine::AttachRequest;
use linkspan_model::{
    Fixture, IfName, Invalid, Mac, NAME_SERVER, Name, NetAttach, Part, PortRange, PublishSpec, Rate,
    ShapingRequest, Side, Size, TargetPort,
};

use super::NAME;
use crate::error::Code;
use crate::{Call, CniError, Dns, Object, Route, ports};

/// What CNI_ARGS may say: the last three are Kubernetes' and become labels.
const ARGS: [&str; 7] = [
    "IP",
    "MAC",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_UID",
    "K8S_POD_INFRA_CONTAINER_ID",
    "K8S_POD_RUNTIME_HANDLER",
];

/// The request that a call comes to, on `network`.
pub fn request(call: &Call, network: String) -> Result<AttachRequest, CniError> {
    let attachment = call.attachment()?;
    let mut net = NetAttach::to(network);
    net.ifname = Some(attachment.ifname.clone());
    for address in addresses(call)? {
        let twice = match address {
            IpAddr::V4(v4) => net.ip.replace(v4).is_some(),
            IpAddr::V6(v6) => net.ip6.replace(v6).is_some(),
        };
        if twice {
            return Err(CniError::new(Code::FIELD, format!("address {address} is one too many"))
                .because("an interface has one of each family here"));
        }
    }
    net.mac = mac(call)?;
    net.aliases = aliases(call)?;
    net.shaping = shaping(call)?;
    net.gw_priority = call.config.number("gwPriority")?.unwrap_or_default();
    let fixtures = sysctls(call, &attachment.ifname)?.into_iter().chain(more_routes(call)?).collect();
    let part = Part { owner: NAME.to_owned(), fixtures, ..Part::default() };
    Ok(AttachRequest {
        netns: call.netns()?.clone(),
        net,
        publish: ports::mappings(call)?.iter().map(publish).collect(),
        part: Some(part),
        named: names(call)?,
        dns: servers(call)?,
        labels: call.labels(),
        attachment,
    })
}

fn publish(mapping: &ports::Mapping) -> PublishSpec {
    PublishSpec {
        host_ip: mapping.host_ip.filter(|ip| !ip.is_unspecified()),
        host: Some(PortRange::single(mapping.host)),
        target: TargetPort { ports: PortRange::single(mapping.container), protocol: mapping.protocol },
    }
}

/// The addresses wanted: in CNI_ARGS, `args.cni`, and of the capability `ips`; the last that says any counts.
fn addresses(call: &Call) -> Result<Vec<IpAddr>, CniError> {
    let args = call.args.load(&ARGS)?;
    let given = [
        args.get("IP").map(|ip| vec![ip.to_owned()]).unwrap_or_default(),
        call.conventional()?.map_or(Ok(Vec::new()), |args| args.strings("ips"))?,
        call.runtime()?.map_or(Ok(Vec::new()), |runtime| runtime.strings("ips"))?,
    ];
    let wanted = given.into_iter().rfind(|texts| !texts.is_empty()).unwrap_or_default();
    let parse = |text: String| {
        let address = text.split_once('/').map_or(text.as_str(), |(address, _)| address);
        address.parse().map_err(|_| CniError::config(format!("{text:?} is no IP address")))
    };
    wanted.into_iter().map(parse).collect()
}

/// The MAC wanted, of the same three.
fn mac(call: &Call) -> Result<Option<Mac>, CniError> {
    let given = [
        call.args.load(&ARGS)?.get("MAC").map(str::to_owned),
        call.conventional()?.map_or(Ok(None), |args| args.text("mac"))?,
        call.runtime()?.map_or(Ok(None), |runtime| runtime.text("mac"))?,
        call.config.text("mac")?,
    ];
    let wanted = given.into_iter().flatten().next_back();
    wanted.map(|text| text.parse().map_err(invalid)).transpose()
}

fn aliases(call: &Call) -> Result<Vec<Name>, CniError> {
    let aliases = call.runtime()?.map_or(Ok(Vec::new()), |runtime| runtime.strings("aliases"))?;
    aliases.iter().map(|alias| alias.parse().map_err(invalid)).collect()
}

/// Whether names are to be answered in the container, at 127.0.0.11.
fn names(call: &Call) -> Result<bool, CniError> {
    Ok(call.config.boolean("names")?.unwrap_or_default())
}

/// Name servers that are asked for what is not among these names.
fn servers(call: &Call) -> Result<Vec<IpAddr>, CniError> {
    if !names(call)? {
        return Ok(Vec::new());
    }
    let parse = |text: &String| {
        text.parse().map_err(|_| CniError::config(format!("name server {text:?} is no IP address")))
    };
    said_of_dns(call)?.nameservers.iter().map(parse).collect()
}

/// The limits: in the configuration, else of the capability `bandwidth`. Rates are bits a second, bursts bits.
fn shaping(call: &Call) -> Result<ShapingRequest, CniError> {
    let given = match call.config.object("bandwidth")? {
        Some(object) => Some(object),
        None => call.runtime()?.map_or(Ok(None), |runtime| runtime.object("bandwidth"))?,
    };
    let Some(object) = given else { return Ok(ShapingRequest::default()) };
    let rate = |key: &str| -> Result<Option<Rate>, CniError> {
        let bits = object.number::<u64>(key)?.filter(|bits| *bits != 0);
        bits.map(|bits| bits.to_string().parse().map_err(invalid)).transpose()
    };
    let burst = |key: &str| -> Result<Option<Size>, CniError> {
        let bits = object.number::<u64>(key)?.filter(|bits| *bits != 0);
        bits.map(|bits| (bits / 8).to_string().parse().map_err(invalid)).transpose()
    };
    Ok(ShapingRequest {
        ingress_rate: rate("ingressRate")?,
        ingress_burst: burst("ingressBurst")?,
        egress_rate: rate("egressRate")?,
        egress_burst: burst("egressBurst")?,
    })
}

/// Sysctls of the container's namespace; IFNAME in a key stands for the interface.
fn sysctls(call: &Call, ifname: &IfName) -> Result<Vec<Fixture>, CniError> {
    let Some(object) = call.config.object("sysctl")? else { return Ok(Vec::new()) };
    let read = |(key, value): &(String, crate::Json)| {
        let value = value.as_str().ok_or_else(|| {
            CniError::new(Code::DECODING, format!("key '{}' must be a string", object.path_of(key)))
        })?;
        let path = key.replace('.', "/").replace("IFNAME", ifname.as_str());
        if !path.starts_with("net/") || path.contains("..") {
            return Err(CniError::new(Code::FIELD, format!("sysctl {key} = {value}"))
                .because("only those below net are of the container's network namespace"));
        }
        Ok(Fixture::Sysctl { side: Side::Inside, key: path, value: value.to_owned() })
    };
    object.pairs().iter().map(read).collect()
}

/// Routes beside the default ones.
pub fn routes(call: &Call) -> Result<Vec<Route>, CniError> {
    call.config.objects("routes")?.iter().map(Route::read).collect()
}

fn more_routes(call: &Call) -> Result<Vec<Fixture>, CniError> {
    let device: IfName = call.ifname.parse().map_err(invalid)?;
    let fixture = |route: Route| {
        Fixture::Route(linkspan_model::RouteFixture {
            side: Side::Inside,
            to: route.dst,
            device: device.clone(),
            via: route.gw,
            onlink: false,
            source: None,
            table: route.table,
            scope: route.scope,
            priority: route.priority,
            mtu: route.mtu,
            advmss: route.advmss,
            shared: false,
        })
    };
    Ok(routes(call)?.into_iter().map(fixture).collect())
}

/// What the container is to know of name servers: 127.0.0.11 if names are answered there.
pub fn dns(call: &Call) -> Result<Dns, CniError> {
    let said = said_of_dns(call)?;
    if !names(call)? {
        return Ok(said);
    }
    Ok(Dns { nameservers: vec![NAME_SERVER.to_string()], ..said })
}

/// Name servers: of the configuration, else of the capability `dns`, which has other names for the same.
fn said_of_dns(call: &Call) -> Result<Dns, CniError> {
    if let Some(dns) = call.config.object("dns")? {
        return Dns::read(dns);
    }
    let given = call.runtime()?.map_or(Ok(None), |runtime| runtime.object("dns"))?;
    let read = |object: &Object| {
        Ok(Dns {
            nameservers: object.strings("servers")?,
            search: object.strings("searches")?,
            options: object.strings("options")?,
            domain: None,
        })
    };
    given.map_or_else(|| Ok(Dns::default()), read)
}

pub fn invalid(invalid: Invalid) -> CniError {
    let error = CniError::config(invalid.what);
    invalid.cause.into_iter().chain(invalid.hint).fold(error, CniError::because)
}
