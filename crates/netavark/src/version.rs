//! What this is.

use std::env::consts::{ARCH, OS};
use std::{env, fs};

use serde::Serialize;

use crate::Error;

/// The version of the reference whose contract is served, which is what others look for.
const CONTRACT: &str = "2.1.0";

#[derive(Serialize)]
struct Version {
    version: &'static str,
    commit: &'static str,
    build_time: String,
    target: String,
    default_fw_driver: &'static str,
}

/// In one line.
pub fn line() -> String {
    format!("netavark {CONTRACT}\n")
}

/// As JSON, for people. The time is that of the program's file.
///
/// # Errors
/// If the program's file cannot be looked at.
pub fn json() -> Result<String, Error> {
    let file = env::current_exe().and_then(fs::metadata).and_then(|found| found.modified());
    let built = file.map_err(|cause| Error::io("cannot look at this program's file", &cause))?;
    let version = Version {
        version: CONTRACT,
        commit: concat!("linkspan ", env!("CARGO_PKG_VERSION")),
        build_time: humantime::format_rfc3339_seconds(built).to_string(),
        target: format!("{ARCH}-{OS}"),
        default_fw_driver: "nftables",
    };
    let text = serde_json::to_string_pretty(&version).map_err(|cause| Error::new(cause.to_string()))?;
    Ok(text + "\n")
}
