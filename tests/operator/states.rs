//! Who may be stopped or deleted, on a real API server: the table of states, both verbs, both kinds, both owners.

use ai_api_operator::api::{Kind, State};
use serde_json::{Value, json};
use support::{World, outcome};

const OTHER: &str = "pipelines.example.com/runner";

/// What the table says about an item in this state. A stop of a managed target is a request, so the item stays
/// Scheduled.
fn expected(state: State, verb: &str, other: bool) -> &'static str {
    match (verb, state) {
        ("STOPPED", State::Pending | State::Running) if other => "Scheduled",
        ("STOPPED", State::Pending | State::Running)
        | ("DELETED", State::Unknown | State::Stopped | State::Dead) => "Settled",
        _ => "Refused WrongState",
    }
}

fn name(state: State, verb: &str, other: bool) -> String {
    format!("{}-{}-{other}", state.word().to_lowercase(), verb.to_lowercase())
}

async fn every_state(kind: Kind, namespace: &str) {
    let world = World::new(namespace).await;
    let mut items = Vec::new();
    let mut cases = Vec::new();
    for other in [false, true] {
        for &state in State::ALL {
            // The operator takes a STOPPING of its own to STOPPED whenever it sees it, so it may be either by the time
            // it is decided on; another test checks it.
            if state == State::Stopping && !other {
                continue;
            }
            for verb in ["STOPPED", "DELETED"] {
                let id = name(state, verb, other);
                let spec = if other { json!({"managedBy": OTHER}) } else { json!({}) };
                world.target(kind, &id, spec, json!({"state": state.word()})).await;
                items.push(json!({"id": id, "targetStatus": verb}));
                cases.push((state, verb, other));
            }
        }
    }
    let mut world = world;
    world.operator.start(&[]);
    world.submit("all", json!({kind.plural(): items})).await;
    let status = world.ready_reason("all", "Settling").await;

    for (state, verb, other) in cases {
        let id = name(state, verb, other);
        assert_eq!(outcome(&status, kind, &id), expected(state, verb, other), "{id}");
        let now = world.find(kind, &id).await;
        let field = |field: &str| now.as_ref().map(|o| o.data["status"][field].clone());
        match expected(state, verb, other) {
            "Settled" if verb == "DELETED" => assert_eq!(field("state"), None, "{id}"),
            "Settled" => {
                assert_eq!(field("state"), Some("STOPPED".into()), "{id}");
                assert_eq!(field("targetStatus"), Some("STOPPED".into()), "{id}");
            }
            "Scheduled" => {
                assert_eq!(field("state"), Some(state.word().into()), "{id}: the field has another owner");
                assert_eq!(field("targetStatus"), Some("STOPPED".into()), "{id}");
                assert_eq!(now.unwrap().data["status"]["stopRequest"]["bulkUpdate"], "all", "{id}");
            }
            _ => {
                assert_eq!(field("state"), Some(state.word().into()), "{id}");
                assert_eq!(field("targetStatus"), Some(Value::Null), "{id}");
            }
        }
    }

    // The other controller does as requested, with either of the two possible outcomes.
    for (state, end) in [(State::Pending, json!("STOPPED")), (State::Running, json!("DEAD"))] {
        world.set_status(kind, &name(state, "STOPPED", true), json!({"state": end})).await;
    }
    let status = world.finished("all").await;
    for state in [State::Pending, State::Running] {
        assert_eq!(outcome(&status, kind, &name(state, "STOPPED", true)), "Settled", "{state:?}");
    }
    let dead = support::item(&status, kind, &name(State::Running, "STOPPED", true));
    assert_eq!(dead.message.as_deref(), Some("it was DEAD before the stop took effect"));
}

#[tokio::test]
async fn executions_in_every_state() {
    every_state(Kind::Execution, "states-executions").await;
}

#[tokio::test]
async fn deployments_in_every_state() {
    every_state(Kind::Deployment, "states-deployments").await;
}
