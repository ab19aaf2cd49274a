//! Rules that another program made, to be taken out by whoever took its work over. What they mean is for him to say: here they
//! are read as far as that needs, and removed.

use std::net::IpAddr;

use linkspan_plan::KernelError;
use nix::errno::Errno;

use crate::netlink::{Attrs, Message};

use super::Firewall;
use super::error::refused;
use super::nft::{CHAIN_NAME, CHAIN_TABLE, NLM_F_DUMP, message_of};
use super::nft::{RULE_CHAIN, RULE_TABLE};
use super::observe::HEADER;

// linux/netfilter/nf_tables.h
const DELCHAIN: u16 = 5;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;
const RULE_HANDLE: u16 = 3;
/// NFTA_DATA_VALUE.
const DATA_VALUE: u16 = 1;

/// What passes a table (linux/netfilter.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeignFamily {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// IPv6.
    Ip6 = 10,
}

/// A table of another program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForeignTable {
    /// What passes it.
    pub family: ForeignFamily,
    /// Its name.
    pub name: &'static str,
}

/// A rule of another program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRule {
    /// The table.
    pub table: ForeignTable,
    /// The chain.
    pub chain: String,
    handle: u64,
    /// The rule as the kernel tells it.
    bytes: Vec<u8>,
}

impl ForeignTable {
    fn get_rules(self) -> Message {
        let mut rules = message_of(self.family as u8, GETRULE, NLM_F_DUMP);
        rules.attr_str(RULE_TABLE, self.name);
        rules
    }

    fn delete_chain(self, chain: &str) -> Message {
        let mut message = message_of(self.family as u8, DELCHAIN, 0);
        message.attr_str(CHAIN_TABLE, self.name).attr_str(CHAIN_NAME, chain);
        message
    }
}

impl ForeignRule {
    fn parse(table: ForeignTable, body: &[u8]) -> Option<Self> {
        let attrs = Attrs::new(body.get(HEADER..)?);
        let handle = attrs.get(RULE_HANDLE)?.try_into().ok().map(u64::from_be_bytes)?;
        let is_of_table = attrs.text(RULE_TABLE)? == table.name;
        let bytes = body.to_vec();
        is_of_table.then_some(Self { table, chain: attrs.text(RULE_CHAIN)?, handle, bytes })
    }

    fn delete(&self) -> Message {
        let mut rule = message_of(self.table.family as u8, DELRULE, 0);
        rule.attr_str(RULE_TABLE, self.table.name).attr_str(RULE_CHAIN, &self.chain);
        rule.attr(RULE_HANDLE, &self.handle.to_be_bytes());
        rule
    }

    /// Whether these bytes are in it somewhere: text of a comment, wherever a program keeps comments.
    pub fn says(&self, bytes: &[u8]) -> bool {
        self.bytes.windows(bytes.len().max(1)).any(|window| window == bytes)
    }

    /// Whether it compares something with precisely this address.
    pub fn compares(&self, address: IpAddr) -> bool {
        let value = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let length = u16::try_from(value.len() + 4).unwrap_or_default();
        let header = [length.to_ne_bytes(), DATA_VALUE.to_ne_bytes()].concat();
        self.says(&[header, value].concat())
    }

    /// The words in it that begin with `prefix` and end with a NUL, as names of chains do that it jumps to.
    pub fn words(&self, prefix: &str) -> Vec<String> {
        let words = self.bytes.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
        words.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
    }
}

impl Firewall {
    /// The rules of a table; none if there is no such table.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn rules_of(&mut self, table: ForeignTable) -> Result<Vec<ForeignRule>, KernelError> {
        match self.socket.dump(|| table.get_rules()) {
            Ok(answers) => {
                Ok(answers.iter().filter_map(|answer| ForeignRule::parse(table, &answer.body)).collect())
            }
            Err(error) if error.errno == Errno::ENOENT => Ok(Vec::new()),
            Err(error) => Err(refused(format!("look at firewall table {}", table.name), &error)),
        }
    }

    /// Removes rules and then chains, all of them or none.
    ///
    /// # Errors
    /// If one of them is gone meanwhile, or another rule jumps to such a chain.
    pub fn remove_foreign(
        &mut self,
        rules: &[&ForeignRule],
        chains: &[(ForeignTable, String)],
    ) -> Result<(), KernelError> {
        let rules = rules.iter().map(|rule| rule.delete());
        let chains = chains.iter().map(|(table, chain)| table.delete_chain(chain));
        let messages: Vec<_> = rules.chain(chains).collect();
        if messages.is_empty() {
            return Ok(());
        }
        let removed = self.socket.transaction(messages, None);
        removed.map_err(|error| refused("remove the firewall rules of another program", &error))
    }
}
