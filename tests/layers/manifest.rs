//! `Cargo.toml` files: which package depends on which, as far as the layers ask.

use crate::Violation;
use crate::rules::{By, LAB, LAYERS, LINKS};

/// A package's direct dependencies.
pub struct Manifest {
    path: String,
    /// Empty in a workspace without a package.
    pub package: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    line: usize,
    for_tests: bool,
}

impl Manifest {
    /// Reads what the layers ask for: the package's name and the names of its dependencies. A dependency
    /// is given as `name = ...`, `name.key = ...` or as a table of its own.
    pub fn parse(path: &str, text: &str) -> Self {
        let mut manifest = Self { path: path.to_owned(), package: String::new(), dependencies: Vec::new() };
        let mut section = String::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                header.clone_into(&mut section);
                if let Some((kind, name)) = section.rsplit_once('.').filter(|(kind, _)| is_dependencies(kind))
                {
                    manifest.add(kind, name, index + 1);
                }
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                manifest.entry(&section, key.trim(), value.trim(), index + 1);
            }
        }
        manifest
    }

    fn entry(&mut self, section: &str, key: &str, value: &str, line: usize) {
        if section == "package" && key == "name" {
            unquoted(value).clone_into(&mut self.package);
        } else if is_dependencies(section) && !section.starts_with("workspace") {
            let renamed = value.split_once("package = ").map(|(_, rest)| unquoted(rest));
            let name = renamed.unwrap_or_else(|| unquoted(key.split('.').next().unwrap_or(key)));
            self.add(section, name, line);
        }
    }

    fn add(&mut self, section: &str, name: &str, line: usize) {
        let for_tests = section.ends_with("dev-dependencies");
        self.dependencies.push(Dependency { name: name.to_owned(), line, for_tests });
    }

    fn violation(&self, dependency: &Dependency, why: &'static str) -> Violation {
        let kind = if dependency.for_tests { "depends in tests on" } else { "depends on" };
        let what = format!("{} {kind} {}", self.package, dependency.name);
        Violation { path: self.path.clone(), line: dependency.line, what, why }
    }
}

fn is_dependencies(section: &str) -> bool {
    section.ends_with("dependencies")
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix(['"', '\'']).and_then(|rest| rest.split(['"', '\'']).next()).unwrap_or(value)
}

/// The dependencies that break a rule.
pub fn check(manifest: &Manifest) -> Vec<Violation> {
    if manifest.package.is_empty() {
        return Vec::new();
    }
    let Some(layer) = LAYERS.iter().find(|layer| layer.package == manifest.package) else {
        let what = format!("{} has no layer", manifest.package);
        let why = "say in tests/layers/rules.rs what it may use, and why";
        return vec![Violation { path: manifest.path.clone(), line: 1, what, why }];
    };
    let mut found = Vec::new();
    for dependency in &manifest.dependencies {
        let name = dependency.name.as_str();
        let ours = LAYERS.iter().any(|layer| layer.package == name) || name.starts_with("linkspan");
        let allowed = layer.may_use.contains(&name)
            || dependency.for_tests && (layer.in_tests.contains(&name) || name == LAB);
        if ours && !allowed {
            found.push(manifest.violation(dependency, layer.why));
        }
        for link in LINKS.iter().filter(|link| link.crates.contains(&name)) {
            let free = match link.by {
                By::Only(packages) => packages.contains(&layer.package),
                By::AllBut(packages) => !packages.contains(&layer.package),
            };
            if !free && (link.in_tests || !dependency.for_tests) {
                found.push(manifest.violation(dependency, link.why));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check(&Manifest::parse("Cargo.toml", text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn upward_dependency_is_caught_with_its_line_and_reason() {
        let text = "[package]\nname = \"linkspan-model\"\n\n[dependencies]\nserde.workspace = true\nlinkspan-plan.workspace = true\n";
        assert_eq!(
            found(text),
            ["Cargo.toml:6: linkspan-model depends on linkspan-plan: the model is what all others share: \
             it knows none of them"]
        );
    }

    #[test]
    fn engine_may_use_the_kernel_in_tests_only() {
        let text = "[package]\nname = \"linkspan-engine\"\n[dev-dependencies]\nlinkspan-kernel = { path = \"../kernel\" }\n";
        assert!(found(text).is_empty());
        assert_eq!(found(&text.replace("dev-dependencies", "dependencies")).len(), 1);
        assert_eq!(found(&text.replace("dev-dependencies", "target.'cfg(unix)'.dependencies")).len(), 1);
    }

    #[test]
    fn every_way_to_write_a_dependency_is_read() {
        for entry in [
            "[dependencies]\nrusqlite = \"0.37\"",
            "[dependencies]\nrusqlite.workspace = true",
            "[dependencies]\ndb = { version = \"0.37\", package = \"rusqlite\" }",
            "[dependencies.rusqlite]\nversion = \"0.37\"",
            "[dev-dependencies.rusqlite]\nworkspace = true",
            "[build-dependencies]\n\"rusqlite\" = \"0.37\"",
        ] {
            let text = format!("[package]\nname = \"linkspan-engine\"\n{entry}\n");
            assert_eq!(found(&text).len(), 1, "{entry}");
            assert!(found(&text.replace("-engine", "-store")).is_empty(), "{entry}");
        }
    }

    #[test]
    fn lab_and_xtask_stay_out_of_what_ships() {
        let text = "[package]\nname = \"linkspan\"\n[dependencies]\nlinkspan-lab.workspace = true\nxtask = { path = \"xtask\" }\n";
        assert_eq!(found(text).len(), 2);
        let text = "[package]\nname = \"linkspan\"\n[dev-dependencies]\nlinkspan-lab.workspace = true\n";
        assert!(found(text).is_empty());
    }

    #[test]
    fn package_without_layer_is_caught_and_workspace_tables_are_not_dependencies() {
        assert_eq!(found("[package]\nname = \"linkspan-new\"\n").len(), 1);
        let text = "[workspace.dependencies]\nrusqlite = \"0.37\"\n[package]\nname = \"linkspan\"\n";
        assert!(found(text).is_empty());
    }
}
