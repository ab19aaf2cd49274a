//! What passes another's chains: `FORWARD` and `INPUT` of the tables `ip filter` and `ip6 filter`, as iptables over nf_tables
//! has them (linux/netfilter/nf_tables.h). Where it drops by policy, an accept in our table saves nothing.
//!
//! Rules are of the expressions that iptables writes, so that it can list them.

use linkspan_model::Admission;
use linkspan_plan::KernelError;
use nix::errno::Errno;

use crate::netlink::{Answer, Attrs, Error, Message};

use super::apply::RACES;
use super::error::refused;
use super::nft::Family;
use super::observe::HEADER;
use super::{Firewall, filter, userdata};

/// The base chain of what is forwarded.
const FORWARD: &str = "FORWARD";
/// The base chain of what is for the host.
const INPUT: &str = "INPUT";
/// The comment of what is Linkspan's own and no device's.
const OURS: &str = "linkspan";

/// What others' chains drop if nobody has accepted it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Drops {
    /// What is forwarded.
    pub forwarded: bool,
    /// What is for the host.
    pub taken: bool,
}

/// A rule, as far as it matters here.
struct Rule {
    handle: u64,
    comment: Option<Vec<u8>>,
    /// The chain that it leads to.
    chain: Option<String>,
}

impl Rule {
    fn parse(answer: &Answer) -> Option<Self> {
        let attrs = Attrs::new(answer.body.get(HEADER..)?);
        let handle = attrs.get(filter::RULE_HANDLE)?.try_into().ok().map(u64::from_be_bytes)?;
        let comment = attrs.get(filter::RULE_USERDATA).map(<[u8]>::to_vec);
        let mut expressions = attrs.nested(filter::RULE_EXPRESSIONS);
        let chain = expressions.find_map(|(_, expression)| filter::chain_of(Attrs::new(expression)));
        Some(Self { handle, comment, chain })
    }

    fn is(&self, comment: &str) -> bool {
        self.comment.as_deref() == Some(&userdata::of_rule(comment))
    }

    fn leads_to(&self, chain: &str) -> bool {
        self.chain.as_deref() == Some(chain)
    }
}

fn comment_for(admission: &Admission) -> String {
    match admission.service {
        None => format!("{OURS} {}", admission.device),
        Some(port) => format!("{OURS} {} {port}", admission.device),
    }
}

const fn base(admission: &Admission) -> &'static str {
    if admission.service.is_some() { INPUT } else { FORWARD }
}

fn pass(family: Family, admission: &Admission, userdata: &[u8]) -> Vec<Message> {
    let Admission { device, chain, service, .. } = admission;
    match service {
        None => filter::pass(family, chain, device, userdata).into(),
        Some(port) => filter::serve(family, chain, (device, *port), userdata).into(),
    }
}

const fn family(admission: &Admission) -> Family {
    if admission.ipv6 { Family::Ip6 } else { Family::Ip }
}

impl Firewall {
    /// Whether the host has a chain that drops what is forwarded and nobody has accepted, of IPv4 or of IPv6.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn drops_forwarded(&mut self, ipv6: bool) -> Result<bool, KernelError> {
        let family = if ipv6 { Family::Ip6 } else { Family::Ip };
        Ok(self.foreign_chain(family, FORWARD)?.as_ref().is_some_and(drops))
    }

    /// What others' chains drop, of IPv4 and of IPv6: one question.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn drops(&mut self) -> Result<[Drops; 2], KernelError> {
        let chains = [Family::Ip, Family::Ip6].map(|family| [FORWARD, INPUT].map(|chain| (family, chain)));
        let questions = chains.as_flattened().iter().map(|(family, chain)| filter::get_chain(*family, chain));
        let asked = self.socket.attempt(questions.collect());
        let (answers, errors) = asked.map_err(|error| refused(ASKING, &error))?;
        if let Some(error) = errors.iter().find(|error| !is_absence(error)) {
            return Err(refused(ASKING, error));
        }
        let at = |index| answers.iter().any(|answer| answer.index == index && drops(answer));
        Ok([0, 2].map(|first| Drops { forwarded: at(first), taken: at(first + 1) }))
    }

    /// Whether there is a chain of this name beside `FORWARD`, of IPv4 or of IPv6.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn has_beside_forward(&mut self, chain: &str) -> Result<bool, KernelError> {
        Ok(self.foreign_chain(Family::Ip, chain)?.is_some()
            || self.foreign_chain(Family::Ip6, chain)?.is_some())
    }

    /// Whether a device is let pass.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn admits(&mut self, admission: &Admission) -> Result<bool, KernelError> {
        Ok(self.outstanding(admission)?.is_empty())
    }

    /// Lets a device pass, with the chains for that, as far as it is not let pass yet.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn admit(&mut self, admission: &Admission) -> Result<(), KernelError> {
        self.repeat(|firewall| firewall.outstanding(admission))
    }

    /// Lets it pass no longer. The chains go with the last device, as far as they are Linkspan's alone.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn expel(&mut self, admission: &Admission) -> Result<(), KernelError> {
        self.repeat(|firewall| firewall.remains(admission))?;
        let family = family(admission);
        let made = |answer: Answer| {
            let attrs = Attrs::new(answer.body.get(HEADER..).unwrap_or_default());
            attrs.get(filter::CHAIN_USERDATA) == Some(&userdata::of_chain(OURS))
        };
        let deserted = self.foreign_chain(family, &admission.chain)?.is_none();
        if let Some(admin) = admission.admin.as_ref().filter(|_| deserted)
            && self.foreign_chain(family, admin)?.is_some_and(made)
        {
            // It stays where somebody has filled it.
            _ = self.socket.transaction(vec![filter::delete_chain(family, admin)], None);
        }
        Ok(())
    }

    /// Makes the changes that `plan` sees fit, unless somebody changes the tables meanwhile: then it looks again.
    fn repeat(
        &mut self,
        plan: impl Fn(&mut Self) -> Result<Vec<Message>, KernelError>,
    ) -> Result<(), KernelError> {
        let mut races = 0;
        loop {
            let generation = self.generation()?;
            let messages = plan(self)?;
            if messages.is_empty() {
                return Ok(());
            }
            match self.socket.transaction(messages, generation) {
                Err(error) if error.errno == Errno::ERESTART && races < RACES => races += 1,
                done => return done.map_err(|error| refused(CHANGING, &error)),
            }
        }
    }

    /// The messages that let a device pass; none if it is.
    fn outstanding(&mut self, admission: &Admission) -> Result<Vec<Message>, KernelError> {
        let Admission { chain, admin, .. } = admission;
        let (family, base) = (family(admission), base(admission));
        let comment = comment_for(admission);
        let rules = self.foreign_rules(family, chain)?;
        let of_device: Vec<&Rule> = rules.iter().filter(|rule| rule.is(&comment)).collect();
        let wanted = pass(family, admission, &userdata::of_rule(&comment));
        let (led, entered) = (
            admin.as_ref().is_none_or(|admin| rules.iter().any(|rule| rule.leads_to(admin))),
            self.foreign_rules(family, base)?.iter().any(|rule| rule.leads_to(chain)),
        );
        if led && entered && of_device.len() == wanted.len() {
            return Ok(Vec::new());
        }
        let mut messages = vec![filter::add_table(family)];
        if self.foreign_chain(family, base)?.is_none() {
            messages.push(filter::add_base(family, base, admission.service.is_some()));
        }
        for name in [chain].into_iter().chain(admin) {
            if self.foreign_chain(family, name)?.is_none() {
                messages.push(filter::add_chain(family, name, &userdata::of_chain(OURS)));
            }
        }
        let ours = userdata::of_rule(OURS);
        if let Some(admin) = admin.as_ref().filter(|_| !led) {
            messages.push(filter::jump_first(family, chain, admin, &ours));
        }
        if of_device.len() != wanted.len() {
            messages.extend(of_device.iter().map(|rule| filter::delete_rule(family, chain, rule.handle)));
            messages.extend(wanted);
        }
        if !entered {
            messages.push(filter::jump_first(family, base, chain, &ours));
        }
        Ok(messages)
    }

    /// The messages that take away what is left of a device.
    fn remains(&mut self, admission: &Admission) -> Result<Vec<Message>, KernelError> {
        let chain = &admission.chain;
        let (family, base) = (family(admission), base(admission));
        let comment = comment_for(admission);
        let rules = self.foreign_rules(family, chain)?;
        let (gone, others): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| rule.is(&comment));
        let delete = |chain: &str, rule: &Rule| filter::delete_rule(family, chain, rule.handle);
        let mut messages: Vec<_> = gone.iter().map(|rule| delete(chain, rule)).collect();
        let entrance = self.foreign_rules(family, base)?;
        let mut jumps = entrance.iter().filter(|rule| rule.leads_to(chain));
        let alone = others.iter().all(|rule| rule.is(OURS)) && jumps.all(|rule| rule.is(OURS));
        if alone && self.foreign_chain(family, chain)?.is_some() {
            messages.extend(others.iter().map(|rule| delete(chain, rule)));
            let jumps = entrance.iter().filter(|rule| rule.leads_to(chain));
            messages.extend(jumps.map(|rule| delete(base, rule)));
            messages.push(filter::delete_chain(family, chain));
        }
        Ok(messages)
    }

    fn foreign_chain(&mut self, family: Family, chain: &str) -> Result<Option<Answer>, KernelError> {
        let asked = self.socket.attempt(vec![filter::get_chain(family, chain)]);
        let (answers, errors) = asked.map_err(|error| refused(ASKING, &error))?;
        match errors.iter().find(|error| !is_absence(error)) {
            Some(error) => Err(refused(ASKING, error)),
            None => Ok(answers.into_iter().next().filter(|_| errors.is_empty())),
        }
    }

    fn foreign_rules(&mut self, family: Family, chain: &str) -> Result<Vec<Rule>, KernelError> {
        match self.socket.dump(|| filter::dump_rules(family, chain)) {
            Ok(answers) => Ok(answers.iter().filter_map(Rule::parse).collect()),
            Err(error) if is_absence(&error) => Ok(Vec::new()),
            Err(error) => Err(refused(ASKING, &error)),
        }
    }
}

/// Whether a chain drops what comes to its end.
fn drops(answer: &Answer) -> bool {
    let policy = answer.body.get(HEADER..).and_then(|attrs| Attrs::new(attrs).be32(filter::CHAIN_POLICY));
    policy == Some(filter::NF_DROP)
}

/// That there is no such table or chain, or no such family.
fn is_absence(error: &Error) -> bool {
    matches!(error.errno, Errno::ENOENT | Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)
}

const ASKING: &str = "look at the chains of the table filter";
const CHANGING: &str = "change the chains of the table filter";
