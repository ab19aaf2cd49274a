//! The MAC that is asked for, in all places where that can be said.

use linkspan_model::Mac;

use crate::{Call, CniError};

/// The MAC that the runtime wants (`runtimeConfig.mac`, else `args.cni.mac`, else `MAC` in CNI_ARGS), else that of the
/// configuration.
///
/// # Errors
/// If one is no MAC, or CNI_ARGS has a key beside `MAC`.
pub fn asked(call: &Call) -> Result<Option<Mac>, CniError> {
    let arguments = call.args.load(&["MAC"])?;
    let texts = [
        call.runtime()?.map_or(Ok(None), |runtime| runtime.text("mac"))?,
        call.conventional()?.map_or(Ok(None), |args| args.text("mac"))?,
        arguments.get("MAC").filter(|mac| !mac.is_empty()).map(str::to_owned),
        call.config.text("mac")?,
    ];
    Ok(texts.into_iter().flatten().next().map(|text| text.parse()).transpose()?)
}
