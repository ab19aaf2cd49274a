//! IPAM plugins of others: programs in the directories that the runtime names.

use std::fs;
use std::path::{Path, PathBuf};

use linkspan_kernel::ask::{Reply, ask};

use crate::{Call, CniError, CniResult, Code, Json, Object, Verb};

/// The file of the plugin `kind`.
///
/// # Errors
/// If there is none.
pub fn find(call: &Call, kind: &str) -> Result<PathBuf, CniError> {
    if kind.contains('/') {
        return Err(CniError::config(format!("invalid plugin name: {kind}")));
    }
    let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    call.path.iter().map(|directory| directory.join(kind)).find(is_file).ok_or_else(|| {
        let shown = |path: &PathBuf| path.display().to_string();
        let path: Vec<String> = call.path.iter().map(shown).collect();
        CniError::other(format!("failed to find plugin {kind:?} in path [{}]", path.join(" ")))
    })
}

/// Has `plugin` reserve addresses.
///
/// # Errors
/// Its own; and if its answer is no result.
pub fn add(call: &Call, plugin: &Path) -> Result<CniResult, CniError> {
    let output = run(call, plugin, Verb::Add)?;
    let object = match Json::parse(&output) {
        Ok(Json::Object(object)) => object,
        Ok(Json::Null) => Object::default(),
        _ => return Err(unreadable(plugin, "no result", &output)),
    };
    CniResult::read(&object, call.version)
        .map_err(|error| unreadable(plugin, "no result", &output).because(error))
}

/// Has `plugin` do something that has no result.
///
/// # Errors
/// Its own.
pub fn tell(call: &Call, plugin: &Path, verb: Verb) -> Result<(), CniError> {
    run(call, plugin, verb).map(drop)
}

/// Runs it with this call's own configuration and environment, but for the verb.
fn run(call: &Call, plugin: &Path, verb: Verb) -> Result<Vec<u8>, CniError> {
    let reply = ask(plugin, &[], &[("CNI_COMMAND".into(), verb.as_str().into())], &call.stdin)?;
    if reply.code == 0 { Ok(reply.output) } else { Err(failure(plugin, &reply)) }
}

/// The error that it printed.
fn failure(plugin: &Path, reply: &Reply) -> CniError {
    let read = |object: &Object| -> Result<CniError, CniError> {
        Ok(CniError {
            code: object.number("code")?.map_or(Code::OTHER, Code),
            msg: object.string("msg")?.unwrap_or_default(),
            details: object.string("details")?.unwrap_or_default(),
        })
    };
    match Json::parse(&reply.output) {
        Ok(Json::Object(object)) => {
            read(&object).unwrap_or_else(|_| unreadable(plugin, "no error", &reply.output))
        }
        _ if reply.output.is_empty() => {
            CniError::other(format!("{} failed without a message", plugin.display()))
                .because(format!("its exit code is {}", reply.code))
        }
        _ => unreadable(plugin, "no error", &reply.output),
    }
}

/// That what it printed is not what it should be.
fn unreadable(plugin: &Path, what: &str, output: &[u8]) -> CniError {
    const SHOWN: usize = 2000;
    let text = String::from_utf8_lossy(&output[..output.len().min(SHOWN)]);
    CniError::new(Code::DECODING, format!("what {} printed is {what}: {text:?}", plugin.display()))
}
