//! Containers as far as a benchmark needs them: their namespaces.

use super::settle;
use crate::failure::Result;
use crate::inside::ip;

/// Namespaces as a runtime makes them beforehand; they go with the value.
pub struct Namespaces(usize);

impl Namespaces {
    /// Makes so many, called as [`name`] says.
    pub fn new(count: usize) -> Result<Self> {
        let namespaces = Self(count);
        (0..count).try_for_each(|number| ip(&format!("netns add {}", name(number))).map(drop))?;
        Ok(namespaces)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for number in 0..self.0 {
            let _ = ip(&format!("netns del {}", name(number)));
        }
        settle();
    }
}

/// The name of a container, and of its namespace.
pub fn name(number: usize) -> String {
    format!("container{number}")
}
