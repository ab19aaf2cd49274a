//! The one error of this crate: text that does not describe a valid value.

use thiserror::Error;

/// Input that was refused, with the value, the reason and, where there is one, the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct Invalid {
    /// What was refused, naming the value.
    pub what: String,
    /// Why, one line.
    pub cause: Option<String>,
    /// What to do instead.
    pub hint: Option<String>,
}

impl Invalid {
    /// An error about `what` with neither cause nor hint yet.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None, hint: None }
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// All of it in one line, for where there is room for no more.
    pub fn one_line(&self) -> String {
        let cause = self.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        let hint = self.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}{cause}{hint}", self.what)
    }
}

/// The candidate most like `given`, if any is near enough to have been meant: one slip away, or much the same.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slip = |candidate: &str| candidate.len() > 2 && strsim::osa_distance(given, candidate) == 1;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate))
        .filter(|(likeness, candidate)| *likeness > 0.8 || slip(candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_the_likely_word_and_nothing_for_the_unlike() {
        assert_eq!(nearest("brige", ["bridge", "host"]), Some("bridge"));
        assert_eq!(nearest("wbe", ["bridge", "web"]), Some("web"));
        assert_eq!(nearest("zzz", ["bridge", "host"]), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
