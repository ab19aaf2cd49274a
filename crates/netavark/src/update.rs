//! `update`: a network's name servers change while containers are on it.

use std::net::IpAddr;

use crate::{Error, Global};

/// Where the DNS server's files are, below the run directory.
pub const DNS: &str = "aardvark-dns";

/// Gives `network` the name servers of a list with commas; an empty one takes them all away. Without a container on the
/// network that asks for names there is nothing to do.
///
/// # Errors
/// If there is no such list, or it cannot be; if the DNS server's files cannot be written.
pub fn update(global: &Global, network: &str, servers: Option<&str>) -> Result<(), Error> {
    let directory = global.required_config("update")?.join(DNS);
    let servers = servers.ok_or_else(|| {
        Error::new("required arguments were not provided: --network-dns-servers <NETWORK_DNS_SERVERS>")
    })?;
    let addresses = read(servers)?;
    linkspan_aardvark::update(&directory, network, &addresses)
        .map_err(|error| Error::new(format!("unable to modify network dns servers: {error}")))
}

fn read(servers: &str) -> Result<Vec<IpAddr>, Error> {
    let parse = |text: &str| {
        text.parse().map_err(|error| Error::new(format!("invalid DNS server {text:?}: {error}")))
    };
    servers.split(',').map(str::trim).filter(|text| !text.is_empty()).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_list_is_read_and_may_be_empty() {
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(read("192.0.2.1,2001:db8::1").unwrap(), addresses);
        assert!(read("").unwrap().is_empty());
        assert_eq!(read("x").unwrap_err().to_string(), "invalid DNS server \"x\": invalid IP address syntax");
    }

    #[test]
    fn the_first_line_of_the_networks_file_changes() {
        let config = std::env::temp_dir().join(format!("linkspan-update-{}", std::process::id()));
        let global = Global { config: Some(config.clone()), ..Global::default() };
        let change = |servers| update(&global, "n1", servers).map_err(|error| error.to_string());
        assert_eq!(change(Some("192.0.2.1")), Ok(()));
        fs::create_dir_all(config.join(DNS)).unwrap();
        let file = config.join(DNS).join("n1");
        fs::write(&file, "10.1.0.1\nc 10.1.0.2  web\n").unwrap();
        assert_eq!(change(Some("192.0.2.1,192.0.2.2")), Ok(()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "10.1.0.1 192.0.2.1,192.0.2.2\nc 10.1.0.2  web\n");
        assert_eq!(change(Some("")), Ok(()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "10.1.0.1\nc 10.1.0.2  web\n");
        let own = change(Some("10.1.0.1")).unwrap_err();
        assert!(own.starts_with("unable to modify network dns servers: "), "{own}");
        assert!(change(None).unwrap_err().contains("--network-dns-servers"));
        fs::remove_dir_all(&config).unwrap();
        let without = update(&Global::default(), "n1", Some("")).unwrap_err().to_string();
        assert_eq!(without, "--config not specified but required for netavark update");
    }
}
