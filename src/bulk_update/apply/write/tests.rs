//! What a write sends, for each kind of target.

use std::sync::Arc;

use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::{
    api::{ItemResult, Kind},
    bulk_update::{
        apply::Outgoing,
        fixtures::{ID, MEANT, OWN, WORK, at, bulk, context_of, eligible, record, spec, work_on},
        status::status,
        work::{ItemPlan, Phase, Plan},
    },
    observed::Target,
};

/// The body of the only request, and what became of it.
async fn written(kind: Kind, verb: TargetStatus, target: Target, answer: Value) -> (Value, Answer) {
    let (bodies, mut sent) = unbounded_channel();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (bodies, answer) = (bodies.clone(), answer.to_string());
        async move {
            bodies.send(request.into_body().collect().await?.to_bytes()).unwrap();
            Ok::<_, kube::Error>(http::Response::new(Body::from(answer.into_bytes())))
        }
    });
    let ctx = context_of(Client::new(service, "default"));
    let mut planned = bulk(&spec(kind, verb));
    let work = work_on(&planned, None);
    let record = record(&work.request().items[0], ItemResult::Planned);
    let plan = ItemPlan { record, based_on: Some(eligible(verb).into()) };
    let phase = Phase::Proposed(Plan::new(work.entries(), vec![plan], at(0).into()));
    planned.status = Some(status(&work, &phase, at(0).into()));
    let work = work_on(&planned, None);
    let Some(Outgoing::Write(intent)) = Outgoing::of(&work, Vec::new(), vec![(0, Arc::new(target))]).pop()
    else {
        panic!("nothing is planned");
    };
    let answer = write(&ctx, intent).await;
    let body = sent.recv().await.unwrap();
    assert!(sent.try_recv().is_err(), "one request");
    (serde_json::from_slice(&body).unwrap(), answer)
}

/// The object that the API server answers with.
fn object(deleted: bool) -> Value {
    let time = deleted.then_some("2026-01-01T00:00:00Z");
    json!({"metadata": {"name": ID, "uid": MEANT, "resourceVersion": "11", "deletionTimestamp": time}})
}

#[tokio::test]
async fn a_delete_waits_for_the_work_only_where_there_is_some() {
    for kind in Kind::ALL {
        for (work, policy) in [(None, Value::Null), (Some(WORK), json!("Foreground"))] {
            let target = Target { work, ..eligible(TargetStatus::Deleted) };
            let (body, answer) = written(kind, TargetStatus::Deleted, target, object(work.is_some())).await;
            assert_eq!(body["propagationPolicy"], policy);
            assert_eq!(body["preconditions"], json!({"uid": MEANT, "resourceVersion": "10"}));
            let Answer::Written(_, _, Ok(Accepted::Left(left))) = answer else { panic!("{answer:?}") };
            assert_eq!(left.terminating, work.is_some());
        }
    }
}

#[tokio::test]
async fn a_stop_says_what_is_true_of_each_kind_of_target() {
    for (managed_by_other, work, state) in [
        (false, None, json!("STOPPED")),
        (false, Some(WORK), json!("STOPPING")),
        (true, None, Value::Null),
        (true, Some(WORK), Value::Null),
    ] {
        let target = Target { managed_by_other, work, ..eligible(TargetStatus::Stopped) };
        let (body, _) = written(Kind::Execution, TargetStatus::Stopped, target, object(false)).await;
        let status = &body["status"];
        assert_eq!(body["metadata"], json!({"resourceVersion": "10"}));
        assert_eq!((&status["state"], &status["targetStatus"]), (&state, &json!("STOPPED")));
        assert_eq!(
            (&status["stopRequest"]["bulkUpdate"], &status["stopRequest"]["uid"]),
            (&json!("nightly"), &json!(OWN))
        );
        // The time of the state is written with the state, and by nobody else.
        let time = if state.is_null() { &Value::Null } else { &status["stopRequest"]["time"] };
        assert_eq!(&status["stateTime"], time);
    }
}
