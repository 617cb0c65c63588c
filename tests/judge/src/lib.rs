//! The judge of a run: whether the operator has kept its promises (docs/guarantees.md). It implements the rules
//! independently of the operator, reads what others have recorded (every stored version, every request, what crossed
//! the wire), and does not trust the operator's status: that is judged too.
//!
//! It knows no server, no clock and no plan of faults: its input is [`Facts`]. Each module judges one promise or a group
//! of them, and says which; a history with one lie for each rule is in `forged`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test"))]

mod accounts;
mod authors;
mod basis;
mod beside;
mod bulk;
mod calm;
mod case;
mod conflicts;
mod cost;
mod created;
mod deadlines;
mod end;
mod events;
mod exchanges;
mod facts;
mod flag;
#[cfg(test)]
mod forged;
mod gateway;
mod guards;
mod intent;
mod json;
mod leases;
mod liveness;
mod log;
mod namespaces;
mod notes;
mod others;
mod outcomes;
mod plans;
mod pods;
mod reasons;
mod refusals;
mod silence;
mod slots;
mod status;
mod stops;
mod streams;
mod timers;
mod truth;
mod turns;
mod versions;
mod works;

use std::fmt;

pub use authors::is_covered;
pub use bulk::{Bulk, Claim, Record, outcome};
pub use case::Case;
pub use exchanges::verb_of;
pub use facts::*;
pub use json::Json;
pub use versions::{Verdict, kind_of, may, verdict};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number or keyword in docs/guarantees.md.
    pub promise: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.promise, self.what)
    }
}

/// What is found wrong, each once.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    pub fn say(&mut self, promise: &'static str, what: String) {
        let violation = Violation { promise, what };
        if !self.0.contains(&violation) {
            self.0.push(violation);
        }
    }
}

/// One rule, or several about the same.
type Rule = fn(&Case<'_>, &mut Violations);

/// All rules, by the module that has them.
pub const RULES: [(&str, Rule); 29] = [
    ("accounts", accounts::judge),
    ("authors", authors::judge),
    ("calm", calm::judge),
    ("conflicts", conflicts::judge),
    ("cost", cost::judge),
    ("created", created::judge),
    ("deadlines", deadlines::judge),
    ("end", end::judge),
    ("events", events::judge),
    ("flag", flag::judge),
    ("gateway", gateway::judge),
    ("guards", guards::judge),
    ("intent", intent::judge),
    ("leases", leases::judge),
    ("liveness", liveness::judge),
    ("log", log::judge),
    ("namespaces", namespaces::judge),
    ("notes", notes::judge),
    ("outcomes", outcomes::judge),
    ("plans", plans::judge),
    ("refusals", refusals::judge),
    ("silence", silence::judge),
    ("slots", slots::judge),
    ("status", status::judge),
    ("stops", stops::judge),
    ("streams", streams::judge),
    ("truth", truth::judge),
    ("turns", turns::judge),
    ("works", works::judge),
];

/// All violations of a run.
pub fn judge(facts: &Facts) -> Vec<Violation> {
    judge_case(&Case::of(facts))
}

/// The same, of facts that were arranged already.
pub fn judge_case(case: &Case<'_>) -> Vec<Violation> {
    let mut violations = Violations::default();
    for (_, rule) in RULES {
        rule(case, &mut violations);
    }
    violations.0
}
