//! wip
use crate::{State, Step};
/// wip
pub fn diff(_desired: &State, _observed: &State) -> Vec<Step> {
    Vec::new()
}
