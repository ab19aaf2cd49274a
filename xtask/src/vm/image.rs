//! The kernel that the machine boots, and its first file system.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::cpio::Archive;
use crate::failure::{Doing as _, Failure, Result};
use crate::run::output;

/// What must be loaded before the host's file system can be mounted; what they need comes along.
const MODULES: &[&str] = &["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// What a machine on a network needs.
const GUEST_MODULES: &[&str] = &["virtio_pci", "virtio_net"];

/// An unpacked kernel package.
pub struct Kernel {
    /// The image that boots.
    pub image: PathBuf,
    /// The directory of its modules.
    pub modules: PathBuf,
    /// Its release, as `uname -r` prints it.
    pub release: String,
}

/// Debian's stock kernel: fetched once, then kept in the user's cache.
pub fn kernel() -> Result<Kernel> {
    let cache = cache();
    let unpacked = cache.join("kernel");
    if !unpacked.exists() {
        fetch(&cache, &unpacked)?;
    }
    let all = unpacked.join("lib/modules");
    let release = fs::read_dir(&all).doing(format!("cannot read {}", all.display()))?.flatten().next();
    let release = release.ok_or_else(|| Failure::new("the kernel package has no modules"))?.file_name();
    let release = release.to_string_lossy().into_owned();
    let image = unpacked.join(format!("boot/vmlinuz-{release}"));
    Ok(Kernel { image, modules: all.join(&release), release })
}

/// Where the kernel is kept.
pub fn cache() -> PathBuf {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| "/var/tmp".into());
    let xdg = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| home.join(".cache"));
    env::var_os("LINKSPAN_VM_CACHE").map_or_else(|| xdg.join("linkspan-vm"), PathBuf::from)
}

/// Takes the package that Debian's `linux-image-amd64` stands for. What is half-done lies under another name.
fn fetch(cache: &Path, unpacked: &Path) -> Result<()> {
    download(cache, unpacked)
        .or_else(|_| {
            output("apt-get", &["update", "-q"])?;
            download(cache, unpacked)
        })
        .map_err(|failure| failure.hint("as root: apt-get update; needs Debian's package lists, on amd64"))
}

fn download(cache: &Path, unpacked: &Path) -> Result<()> {
    let depends = output("apt-cache", &["depends", "linux-image-amd64"])?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.ok_or_else(|| Failure::new("apt knows no linux-image-amd64"))?;
    eprintln!("fetching {package} into {}", cache.display());
    let half = cache.join(format!("half-{}", std::process::id()));
    fs::create_dir_all(&half).doing(format!("cannot make {}", half.display()))?;
    let script = "cd \"$1\" && apt-get download -q \"$2\" && dpkg -x ./*.deb root && rm ./*.deb && \
                  PATH=$PATH:/usr/sbin:/sbin depmod -b root \"$(ls root/lib/modules)\"";
    let half_text = half.to_string_lossy();
    let done = output("sh", &["-c", script, "sh", &half_text, package])
        .and_then(|_| fs::rename(half.join("root"), unpacked).doing("cannot keep the kernel"));
    let _ = fs::remove_dir_all(&half);
    // Another process may have been faster.
    if unpacked.exists() { Ok(()) } else { done }
}

/// The first file system: a shell, the modules to reach the host's file system, and `init`.
pub fn first_files(kernel: &Kernel, share: &str) -> Result<Vec<u8>> {
    let (mut archive, order) = shell_and_modules(kernel, MODULES)?;
    let settings = [
        format!("modules={}", super::quoted(&kernel.modules.to_string_lossy())),
        format!("release={}", super::quoted(&kernel.release)),
        format!("share={}", super::quoted(share)),
        order,
    ];
    archive.file("settings", settings.join("\n").as_bytes());
    archive.file("init", include_bytes!("init.sh"));
    Ok(archive.finish())
}

/// The same for a machine on a network, which has no other file system.
pub fn guest_files(kernel: &Kernel) -> Result<Vec<u8>> {
    let (mut archive, order) = shell_and_modules(kernel, GUEST_MODULES)?;
    archive.file("settings", order.as_bytes());
    archive.file("init", include_bytes!("guest_init.sh"));
    Ok(archive.finish())
}

/// A shell, modules with what they need, and the setting that says in which order they are loaded.
fn shell_and_modules(kernel: &Kernel, modules: &[&str]) -> Result<(Archive, String)> {
    let list = kernel.modules.join("modules.dep");
    let list = fs::read_to_string(&list).doing(format!("cannot read {}", list.display()))?;
    let order = load_order(&list, modules);
    let busybox = crate::run::find("busybox").ok_or_else(|| Failure::new("there is no busybox here"))?;
    let mut archive = Archive::default();
    archive.directory("bin");
    archive.file("bin/busybox", &fs::read(&busybox).doing("cannot read busybox")?);
    archive.directory("modules");
    let mut names = Vec::new();
    for path in order {
        let (name, content) = module(&kernel.modules.join(path))?;
        archive.file(&format!("modules/{name}"), &content);
        names.push(name);
    }
    Ok((archive, format!("order={}", super::quoted(&names.join(" ")))))
}

/// A module's file name and content, unpacked: not every busybox reads compressed ones.
fn module(path: &Path) -> Result<(String, Vec<u8>)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(plain) = name.strip_suffix(".xz") else {
        return Ok((name, fs::read(path).doing(format!("cannot read {}", path.display()))?));
    };
    let unpacked = std::process::Command::new("xz").arg("-dc").arg(path).output();
    let unpacked = unpacked.doing(format!("cannot unpack {}", path.display()))?;
    Ok((plain.to_owned(), unpacked.stdout))
}

/// The paths of modules in the order to load them. A line of `modules.dep` names a module, then what it needs,
/// the first to be loaded last. What is not listed is built in.
fn load_order(list: &str, wanted: &[&str]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for module in wanted {
        let stem =
            |path: &str| path.rsplit('/').next().and_then(|name| name.split(".ko").next()).map(str::to_owned);
        let line = list
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| stem(path).as_deref() == Some(module));
        let Some((path, needs)) = line else { continue };
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.iter().any(|earlier| earlier == path) {
                order.push(path.to_owned());
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_what_they_need() {
        let list = "a/x.ko: a/y.ko a/z.ko\na/y.ko: a/z.ko\na/z.ko:\nb/w.ko.xz: a/z.ko\n";
        assert_eq!(load_order(list, &["x", "built_in", "w"]), ["a/z.ko", "a/y.ko", "a/x.ko", "b/w.ko.xz"]);
    }
}
