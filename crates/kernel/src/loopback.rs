//! The loopback device of a network namespace that somebody else has made.

use std::path::Path;

use ipnet::IpNet;
use linkspan_plan::KernelError;

use crate::error::{Refusal, Result};
use crate::netlink::{Family, Socket};
use crate::netns::{self, Namespace};
use crate::rtnl::address::{self, Address};
use crate::rtnl::link::{self, Link};

/// Its index, in every namespace.
const INDEX: u32 = 1;

/// Sets it up in the namespace that the file `path` stands for; gives its addresses.
///
/// # Errors
/// If there is no such namespace, or the kernel refuses.
pub fn up(path: &Path) -> std::result::Result<Vec<IpNet>, KernelError> {
    let up = |socket: &mut Socket| {
        socket.batch(vec![link::up(INDEX)])?;
        let answers = socket.dump(|| address::dump(INDEX))?;
        let addresses = answers.iter().filter_map(|answer| Address::parse(&answer.body));
        // Kernels before 4.20 give the addresses of all devices.
        Ok(addresses.filter(|address| address.index == INDEX).map(|address| address.net).collect())
    };
    inside(path, up).map_err(|refusal| refusal.of(format!("set lo up in {}", path.display())))
}

/// Sets it down there.
///
/// # Errors
/// As [`up`].
pub fn down(path: &Path) -> std::result::Result<(), KernelError> {
    let down = |socket: &mut Socket| Ok(socket.batch(vec![link::down(INDEX)]).map(drop)?);
    inside(path, down).map_err(|refusal| refusal.of(format!("set lo down in {}", path.display())))
}

/// Whether it is up there.
///
/// # Errors
/// As [`up`].
pub fn is_up(path: &Path) -> std::result::Result<bool, KernelError> {
    let look = |socket: &mut Socket| {
        let answers = socket.batch(vec![link::get_by_index(INDEX)])?;
        Ok(answers.iter().filter_map(|answer| Link::parse(&answer.body)).any(|link| link.is_up()))
    };
    inside(path, look).map_err(|refusal| refusal.of(format!("look at lo in {}", path.display())))
}

/// Does `work` with a socket that speaks to the namespace.
fn inside<T>(path: &Path, work: impl FnOnce(&mut Socket) -> Result<T>) -> Result<T> {
    let home = Namespace::own().map_err(|error| Refusal::from(netns::errno(&error)))?;
    let socket = netns::at(path)?.within(&home, || Socket::open(Family::Route))?;
    work(&mut socket?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use linkspan_plan::Failure;

    use super::{down, is_up, up};

    #[test]
    fn a_namespace_that_is_gone_is_not_found() {
        let gone = Path::new("/run/netns/there-is-none-such");
        assert_eq!(up(gone).unwrap_err().failure, Failure::NotFound);
        assert_eq!(down(gone).unwrap_err().failure, Failure::NotFound);
        assert_eq!(is_up(gone).unwrap_err().failure, Failure::NotFound);
    }
}
