//! What was seen, and how often: faults and pairs of them, answers, results and reasons.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use ai_api_operator::api::{ConditionReason, Reason};
use api_server::Version;
use strum::VariantArray;

use crate::{
    story::{What, When},
    world::World,
};

/// How often each thing was seen, by what it is.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, BTreeMap<String, usize>>);

impl Coverage {
    fn count(&mut self, group: &'static str, what: String) {
        *self.0.entry(group).or_default().entry(what).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (group, counts) in &other.0 {
            for (what, count) in counts {
                *self.0.entry(group).or_default().entry(what.clone()).or_default() += count;
            }
        }
    }

    /// What one life has shown.
    pub fn of(world: &World, versions: &[Version]) -> Self {
        let mut coverage = Self::default();
        coverage.events(world);
        for exchange in &world.recorded.exchanges {
            let answer = match &exchange.ended {
                None => "never".to_owned(),
                Some((_, judge::Answer::None)) => "none".to_owned(),
                Some((_, judge::Answer::NotSent)) => "not sent".to_owned(),
                Some((_, judge::Answer::Whole(whole))) => whole.code.to_string(),
            };
            let head = &exchange.head;
            coverage.count("answers", format!("{} {} {answer}", head.verb, head.resource));
        }
        for life in &world.recorded.lives {
            let end = match (&life.end, life.killed) {
                (Some(Ok(())), _) => "ended",
                (Some(Err(_)), _) => "failed",
                (None, true) => "killed",
                (None, false) => "ran on",
            };
            coverage.count("lives", end.to_owned());
        }
        coverage.statuses(versions);
        coverage
    }

    fn events(&mut self, world: &World) {
        let mut faults = Vec::new();
        for event in world.story.events.iter().filter(|event| event.what.is_fault()) {
            let name = name_of(&event.what);
            let place = match event.when {
                When::At(_) => "any time".to_owned(),
                When::On { call, .. } => call.to_string(),
            };
            self.count("faults", format!("{name} at {place}"));
            faults.push(name);
        }
        faults.sort();
        faults.dedup();
        for (n, first) in faults.iter().enumerate() {
            for second in &faults[n + 1..] {
                self.count("pairs", format!("{first} + {second}"));
            }
        }
    }

    fn statuses(&mut self, versions: &[Version]) {
        let mut seen = BTreeSet::new();
        for version in versions {
            let fields = &version.object["status"];
            if version.plural != "bulkupdates" {
                if let Some(state) = fields["state"].as_str() {
                    self.count("states", state.to_owned());
                }
                continue;
            }
            for condition in fields["conditions"].as_array().into_iter().flatten() {
                let reason = condition["reason"].as_str().unwrap_or_default();
                seen.insert(("conditions", version.uid.clone(), reason.to_owned()));
            }
            for plural in ["executions", "deployments"] {
                for item in fields[plural].as_array().into_iter().flatten() {
                    let (result, reason) =
                        (item["result"].as_str().unwrap_or_default(), item["reason"].as_str());
                    let both =
                        reason.map_or_else(|| result.to_owned(), |reason| format!("{result} {reason}"));
                    let which = format!("{}{}", version.uid, item["id"]);
                    seen.extend(reason.map(|reason| ("reasons", which.clone(), reason.to_owned())));
                    seen.insert(("items", which, both));
                }
            }
        }
        for (group, _, what) in seen {
            self.count(group, what);
        }
    }

    /// The reasons that were never seen.
    pub fn missing(&self) -> Vec<String> {
        let seen =
            |group: &str, what: &str| self.0.get(group).is_some_and(|counts| counts.contains_key(what));
        let conditions = ConditionReason::VARIANTS.iter().map(|reason| ("conditions", <&str>::from(*reason)));
        let items = Reason::VARIANTS.iter().map(|reason| ("reasons", <&str>::from(*reason)));
        let results = ["Planned", "Eligible", "Scheduled", "Settled"].map(|result| ("items", result));
        let all = conditions.chain(items).chain(results).filter(|(group, what)| !seen(group, what));
        all.map(|(group, what)| format!("{group}: {what}")).collect()
    }

    pub fn report(&self, groups: &[&str]) -> String {
        let mut text = String::new();
        for group in groups {
            let counts = self.0.get(group);
            let _ = writeln!(text, "{group} ({}):", counts.map_or(0, BTreeMap::len));
            for (what, count) in counts.into_iter().flatten() {
                let _ = writeln!(text, "  {count:>9}  {what}");
            }
        }
        text
    }
}

/// The name of a kind of event, without its numbers.
pub fn name_of(what: &What) -> String {
    let text = match what {
        What::Fault(fault) | What::Weather { fault, .. } => format!("{fault:?}"),
        What::View { view, resource, .. } => {
            return format!("{} of {}", word(&format!("{view:?}")), resource.word());
        }
        What::Act { act, .. } => format!("{act:?}"),
        What::ActOnBulk { act, .. } => format!("{act:?}"),
        What::Admin(admin) => format!("{admin:?}"),
        other => format!("{other:?}"),
    };
    let weather = if matches!(what, What::Weather { .. }) { "weather of " } else { "" };
    let code =
        text.split_once("code: ").and_then(|(_, rest)| rest.split([',', ' ']).next()).unwrap_or_default();
    format!("{weather}{}{code}", word(&text))
}

/// The words of a debug text, without its fields.
fn word(text: &str) -> String {
    let end = text.find([' ', '{']).unwrap_or(text.len());
    text[..end].trim_end_matches('(').to_owned()
}
