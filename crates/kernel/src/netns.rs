//! Network namespaces: handles, and pins in /run/netns that `ip netns` sees.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use linkspan_model::Name;
use linkspan_plan::Failure;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, fstatfs};

use crate::error::{Refusal, Result};

/// Where pins stand, as for iproute2.
const PINS: &str = "/run/netns";
/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// Enough for the few calls that a thread makes in a new namespace.
const STACK: usize = 256 << 10;
/// The file system of namespaces (linux/magic.h).
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);
/// `_IO(0xb7, 0x3)`: which kind of namespace a file stands for (linux/nsfs.h).
const NS_GET_NSTYPE: u32 = 0xb703;

/// The file that pins a namespace under `name`.
pub fn pin_path(name: &Name) -> PathBuf {
    Path::new(PINS).join(name.as_str())
}

/// A network namespace, kept alive by an open file.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    identity: (u64, u64),
}

impl Namespace {
    /// Opens the network namespace that the file `path` stands for: a pin or /proc/PID/ns/net.
    ///
    /// # Errors
    /// ENOENT if there is no such file, EINVAL if it is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A pipe, which would wait for its other end, is to be refused like everything else.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if fstatfs(&file)?.filesystem_type() != NSFS_MAGIC || kind(file.as_fd())? != libc::CLONE_NEWNET {
            return Err(Errno::EINVAL.into());
        }
        let identity = identity(&file.metadata()?);
        Ok(Self { file, identity })
    }

    /// The calling thread's.
    ///
    /// # Errors
    /// If /proc is not there.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new(OWN))
    }

    /// The one that a process is in.
    ///
    /// # Errors
    /// ENOENT if there is no such process.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// Moves the calling thread into it.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN.
    pub fn enter(&self) -> nix::Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
    }

    /// Whether it is the same namespace as `other`.
    pub fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Whether `path` stands for it now.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| identity(&metadata) == self.identity)
    }

    /// Whether a process that can be seen from here has a thread in it.
    pub(crate) fn is_inhabited(&self) -> bool {
        let threads = |process: fs::DirEntry| fs::read_dir(process.path().join("task")).ok();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut threads = processes.filter_map(threads).flatten().flatten();
        threads.any(|thread| self.is_at(&thread.path().join("ns/net")))
    }

    /// Does `work` with the calling thread inside, which then goes back to `home`, where it came from.
    pub(crate) fn within<T>(&self, home: &Self, work: impl FnOnce() -> T) -> Result<T> {
        self.enter().map_err(|errno| Refusal::from(errno).at("enter the namespace"))?;
        let _back = Back(home);
        Ok(work())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Returns the thread to a namespace at the end of its scope.
struct Back<'a>(&'a Namespace);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if self.0.enter().is_err() {
            // Everything from here on would change the wrong namespace; the journal takes care of an abrupt end.
            std::process::abort();
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[allow(unsafe_code)]
fn kind(file: BorrowedFd<'_>) -> nix::Result<i32> {
    // SAFETY: this request takes no argument and only reads the open file.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) })
}

/// What is found under the name of a pin.
pub(crate) enum Pin {
    /// Nothing.
    Absent,
    /// A file that stands for no network namespace: left by a pinning or unpinning that was cut short.
    Stale,
    /// A namespace.
    Alive(Namespace),
}

impl Pin {
    /// Looks at the pin `name`.
    pub(crate) fn look(name: &Name) -> Result<Self> {
        match Namespace::open(&pin_path(name)) {
            Ok(namespace) => Ok(Self::Alive(namespace)),
            Err(error) => match errno(&error) {
                Errno::ENOENT => Ok(Self::Absent),
                Errno::EINVAL => Ok(Self::Stale),
                errno => Err(Refusal::from(errno).at(pin_path(name).display())),
            },
        }
    }
}

/// Makes a namespace on a thread of its own, which never has to come back from it, and does `work` inside. It is
/// nobody's until it is pinned: it goes with the process.
pub(crate) fn create<T: Send + 'static>(
    work: impl FnOnce(Namespace) -> Result<T> + Send + 'static,
) -> Result<JoinHandle<Result<T>>> {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Refusal::from(errno).at("unshare"))?;
        work(Namespace::own().map_err(|error| Refusal::from(errno(&error)))?)
    };
    let thread = thread::Builder::new().stack_size(STACK).spawn(inside);
    thread.map_err(|error| Refusal::from(errno(&error)).at("start a thread"))
}

/// The namespace that the file `path` stands for, which has to be there and another than `home`: its routes and
/// addresses would become the host's.
pub(crate) fn foreign(path: &Path, home: &Namespace) -> Result<Namespace> {
    let namespace = at(path)?;
    if namespace.is(home) {
        let cause = format!("{} stands for the host's own namespace", path.display());
        return Err(Refusal::new(Failure::Other, cause).hint(Failure::Other, "use --net host"));
    }
    Ok(namespace)
}

/// The namespace that the file `path` stands for, which has to be there.
pub(crate) fn at(path: &Path) -> Result<Namespace> {
    Namespace::open(path).map_err(|error| match errno(&error) {
        Errno::ENOENT if process_of(path).is_some_and(|process| !process.exists()) => {
            let cause = format!("there is no process behind {}", path.display());
            Refusal::new(Failure::NotFound, cause)
        }
        Errno::EINVAL => {
            Refusal::new(Failure::Other, format!("{} stands for no network namespace", path.display()))
        }
        errno => Refusal::from(errno).at(path.display()),
    })
}

/// The directory of the process whose namespace file `path` is: /proc/PID of /proc/PID/ns/net.
fn process_of(path: &Path) -> Option<&Path> {
    path.parent().and_then(Path::parent).filter(|process| process.parent() == Some(Path::new("/proc")))
}

/// Pins a namespace under `name`.
pub(crate) fn pin(name: &Name, namespace: &Namespace) -> Result<()> {
    // Not by the path that it was opened by, which may stand for something else by now.
    let source = format!("/proc/self/fd/{}", namespace.file.as_raw_fd());
    PinFile::create(name)?.bind(Path::new(&source))
}

/// Removes the pin `name`, whole or half made. None there is no error.
pub(crate) fn unpin(name: &Name) -> Result<()> {
    let path = pin_path(name);
    match umount2(&path, MntFlags::MNT_DETACH) {
        // EINVAL: it is no mount.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(errno) => return Err(Refusal::from(errno).at(format!("umount {}", path.display()))),
    }
    match fs::remove_file(&path).map_err(|error| errno(&error)) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(Refusal::from(errno).at(format!("unlink {}", path.display()))),
    }
}

/// A file made to mount a namespace on.
struct PinFile(PathBuf);

impl PinFile {
    fn create(name: &Name) -> Result<Self> {
        share_pins().map_err(|errno| Refusal::from(errno).at(format!("make {PINS} a shared mount")))?;
        let path = pin_path(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path);
        made.map_err(|error| {
            let hint = format!(
                "pick another name; or, to use the namespace that is there, --netns {}",
                path.display()
            );
            Refusal::from(errno(&error)).at(path.display()).hint(Failure::Exists, hint)
        })?;
        Ok(Self(path))
    }

    fn bind(self, source: &Path) -> Result<()> {
        bind(source, &self.0, MsFlags::MS_BIND).map_err(|errno| {
            _ = fs::remove_file(&self.0);
            Refusal::from(errno).at(format!("mount on {}", self.0.display()))
        })
    }
}

/// Makes the directory of pins a shared mount, as `ip netns add` does: so a pin made or removed in one mount
/// namespace is made or removed in all.
fn share_pins() -> nix::Result<()> {
    if share().is_ok() {
        return Ok(());
    }
    fs::create_dir_all(PINS).map_err(|error| errno(&error))?;
    let directory = File::open(PINS).map_err(|error| errno(&error))?;
    // Two that mount at once would each cover what the other has pinned in between.
    let _lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    share().or_else(|_| {
        bind(Path::new(PINS), Path::new(PINS), MsFlags::MS_BIND | MsFlags::MS_REC)?;
        share()
    })
}

/// Fails unless the directory of pins is a mount. That it is shared already makes no difference.
fn share() -> nix::Result<()> {
    mount(None::<&CStr>, PINS, None::<&CStr>, MsFlags::MS_SHARED, None::<&CStr>)
}

fn bind(source: &Path, target: &Path, flags: MsFlags) -> nix::Result<()> {
    mount(Some(source), target, None::<&CStr>, flags, None::<&CStr>)
}

pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
