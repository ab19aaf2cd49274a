//! The links by which runtimes find what this program is to them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use linkspan_model::Invalid;
use serde::Serialize;

/// What became of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// It was made.
    Created,
    /// It took the place of another.
    Replaced,
    /// It was there.
    Unchanged,
}

/// A link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Link {
    /// The name that it has there.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What it leads to, as it is written in it.
    pub target: PathBuf,
    /// What became of it.
    pub done: Done,
}

/// Makes a link to `program` under each of `names` in `directory`, which is made if it is missing. A link is replaced at once:
/// whoever looks finds the old one or the new one.
///
/// # Errors
/// If a name is taken by something that is not a link to a program called as this one, unless `force` is given; then
/// nothing was changed. If a link cannot be made.
pub fn install(
    directory: &Path,
    program: &Path,
    names: impl IntoIterator<Item = &'static str>,
    force: bool,
) -> Result<Vec<Link>, Invalid> {
    let cannot = |path: &Path| {
        let what = format!("cannot make {}", path.display());
        move |error: io::Error| Invalid::new(what).because(error.to_string())
    };
    fs::create_dir_all(directory).map_err(cannot(directory))?;
    let directory = directory.canonicalize().map_err(cannot(directory))?;
    // So the directory can be moved, or seen under another name, as a whole.
    let beside = program.parent() == Some(&directory);
    let target = program.file_name().filter(|_| beside).map_or(program, Path::new);
    let mut plan = Vec::new();
    let mut foreign = Vec::new();
    for name in names {
        let path = directory.join(name);
        match found(&path, program, target).map_err(cannot(&path))? {
            Found::Foreign if !force => foreign.push(path.display().to_string()),
            found => plan.push((name, path, found)),
        }
    }
    if !foreign.is_empty() {
        return Err(Invalid::new(format!("will not replace {}", foreign.join(", ")))
            .because("nothing of that is a link to Linkspan")
            .hint("--force replaces it all the same"));
    }
    let make = |(name, path, found): (&'static str, PathBuf, Found)| {
        let done = link(&path, target, found).map_err(cannot(&path))?;
        Ok(Link { name, path, target: target.to_owned(), done })
    };
    plan.into_iter().map(make).collect()
}

/// What is in the place of a link.
enum Found {
    Nothing,
    /// The very link, or the program itself.
    Same,
    /// A link to a program of the same name, elsewhere or gone.
    Former,
    Foreign,
}

fn found(path: &Path, program: &Path, target: &Path) -> io::Result<Found> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        other => other?,
    };
    if !metadata.is_symlink() {
        return Ok(if path == program { Found::Same } else { Found::Foreign });
    }
    let there = fs::read_link(path)?;
    Ok(match there == target {
        true => Found::Same,
        false if there.file_name() == program.file_name() => Found::Former,
        false => Found::Foreign,
    })
}

fn link(path: &Path, target: &Path, found: Found) -> io::Result<Done> {
    match found {
        Found::Same => Ok(Done::Unchanged),
        // Fails if something has come to be there since.
        Found::Nothing => symlink(target, path).map(|()| Done::Created),
        Found::Former | Found::Foreign => {
            let mut name = std::ffi::OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{}", std::process::id()));
            let aside = path.with_file_name(name);
            symlink(target, &aside)?;
            fs::rename(&aside, path).inspect_err(|_| _ = fs::remove_file(&aside))?;
            Ok(Done::Replaced)
        }
    }
}
