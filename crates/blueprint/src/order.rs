//! The order in which objects that need each other are made.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_model::{Invalid, Name};

/// Names in levels: each needs only such of earlier levels, or of another origin than these.
///
/// # Errors
/// If some need each other in a circle, which is named.
pub fn levels(kind: &str, needs: &BTreeMap<Name, BTreeSet<Name>>) -> Result<Vec<Vec<Name>>, Invalid> {
    let mut left: BTreeSet<&Name> = needs.keys().collect();
    let mut levels = Vec::new();
    while !left.is_empty() {
        let ready = |name: &&Name| needs[*name].iter().all(|other| !left.contains(other));
        let level: Vec<_> = left.iter().copied().filter(ready).collect();
        if level.is_empty() {
            return Err(circle(kind, &left, needs));
        }
        left.retain(|name| !level.contains(name));
        levels.push(level.into_iter().cloned().collect());
    }
    Ok(levels)
}

/// Follows what is needed until it comes back.
fn circle(kind: &str, left: &BTreeSet<&Name>, needs: &BTreeMap<Name, BTreeSet<Name>>) -> Invalid {
    let mut way: Vec<&Name> = left.iter().copied().take(1).collect();
    while let Some(next) = way.last().and_then(|name| needs[*name].iter().find(|other| left.contains(other)))
    {
        if let Some(start) = way.iter().position(|name| *name == next) {
            let names = way[start..].iter().chain([&next]).map(|name| name.as_str());
            return Invalid::new(format!("{kind}s need each other in a circle"))
                .because(names.collect::<Vec<_>>().join(" -> "));
        }
        way.push(next);
    }
    Invalid::new(format!("{kind}s need each other in a circle"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(pairs: &[(&str, &[&str])]) -> BTreeMap<Name, BTreeSet<Name>> {
        let name = |text: &&str| text.parse().unwrap();
        pairs.iter().map(|(of, others)| (name(of), others.iter().map(name).collect())).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_the_rest_together() {
        let levels =
            levels("network", &needs(&[("a", &["core"]), ("b", &["core", "host"]), ("core", &[])])).unwrap();
        assert_eq!(format!("{levels:?}"), "[[core], [a, b]]");
    }

    #[test]
    fn a_circle_is_named() {
        let error = levels("network", &needs(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]))
            .unwrap_err();
        assert_eq!(error.cause.unwrap(), "b -> c -> b");
    }
}
