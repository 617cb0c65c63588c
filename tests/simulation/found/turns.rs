//! Who is next for a slot.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};

use super::{at, log_of, story};
use crate::story::{Made, Story, What, Who};

/// How many items each BulkUpdate has: more than it can send in three passes.
const ITEMS: usize = 30;

/// Three BulkUpdates of one namespace, which share one slot, and nothing else.
fn three_in_line() -> Story {
    let mut story = story(json!({}), Vec::new());
    (story.setup.max_in_flight, story.setup.latency) = (1, (10, 20));
    story.events.clear();
    for (number, submitted) in [6_000, 6_100, 6_200].into_iter().enumerate() {
        let (namespace, name) = ("team-a", format!("bulk-{number}"));
        let names: Vec<_> = (0..ITEMS).map(|item| format!("item-{number}-{item}")).collect();
        let items: Vec<Value> =
            names.iter().map(|name| json!({"id": name, "targetStatus": "STOPPED"})).collect();
        for name in names {
            let (kind, status) = (Kind::Execution, json!({"state": "RUNNING"}));
            let made = Made { namespace, kind, name, status, controller: None, kept: false, odd: None };
            story.events.push(at(4_000, What::Create(made)));
        }
        let spec = json!({"executions": items});
        let submit = What::Submit { namespace, name, spec, user: Who::Editor, uids: false };
        story.events.push(at(submitted, submit));
    }
    story
}

/// Once a second each of them looks for changes, and leaves the line for that. It came back to the end of its round, or, if it had
/// had its turn, to the beginning: another one had two turns while it waited for one. It now keeps its place.
///
/// On a real API server nobody can say who waits at a moment: `lib
/// client::slots::tests::a_place_is_kept_for_one_that_leaves_the_line_and_comes_back`.
#[test]
fn a_look_for_changes_costs_no_turn() {
    for seed in 0..20 {
        log_of(&Story { seed, ..three_in_line() });
    }
}
