//! The capability `portMappings`: what is to be reached from outside.

use std::net::IpAddr;

use linkspan_model::Protocol;

use crate::error::Code;
use crate::{Call, CniError, Object};

/// One port of the container under one of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The address of the host; none for all of them.
    pub host_ip: Option<IpAddr>,
    /// The port of the host.
    pub host: u16,
    /// The port of the container.
    pub container: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// What `runtimeConfig` says of ports.
///
/// # Errors
/// If a port is none, a protocol or address unknown.
pub fn mappings(call: &Call) -> Result<Vec<Mapping>, CniError> {
    let Some(runtime) = call.runtime()? else { return Ok(Vec::new()) };
    runtime.objects("portMappings")?.iter().map(read).collect()
}

fn read(object: &Object) -> Result<Mapping, CniError> {
    let port = |key: &str| {
        let number = object.number::<i64>(key)?.unwrap_or_default();
        u16::try_from(number).ok().filter(|port| *port != 0).ok_or_else(|| {
            let what = format!("invalid {}: {number}", object.path_of(key));
            CniError::config(what).because("a port is a number from 1 to 65535; none is chosen for you here")
        })
    };
    let protocol = object.text("protocol")?.unwrap_or_else(|| "tcp".to_owned());
    let unknown = || {
        CniError::new(Code::FIELD, format!("unknown {} {protocol:?}", object.path_of("protocol")))
            .because("it is tcp, udp or sctp")
    };
    let host_ip = object.text("hostIP")?.map(|text| {
        text.parse::<IpAddr>()
            .map_err(|_| CniError::config(format!("{} {text:?} is no IP address", object.path_of("hostIP"))))
    });
    Ok(Mapping {
        host_ip: host_ip.transpose()?,
        host: port("hostPort")?,
        container: port("containerPort")?,
        protocol: protocol.to_ascii_lowercase().parse().map_err(|_| unknown())?,
    })
}
