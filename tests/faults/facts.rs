//! What the judge has to know of a plan's run.

use std::sync::Arc;

use ai_api_operator::api::Kind;
use judge::{Calm, Facts, Others, Request, Settings, Tolerances, Version};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use support::{audit, call::is_about_work_policy};

use crate::{cluster::Cluster, life::Life, operator::TIMING, plan::Plan, wires::Wires};

/// How inexact the times of the observers are, and how slow a busy machine.
const TOLERANCES: Tolerances = Tolerances {
    observer: SignedDuration::from_millis(500),
    in_transit: SignedDuration::from_millis(700),
    // Less than what the harness leaves the operator to process what a watch has shown it.
    operator: SignedDuration::from_millis(90),
    clock: SignedDuration::from_millis(500),
};

pub fn of(plan: &Plan, cluster: &Cluster, lives: &[Arc<Life>], wires: &Wires) -> Facts {
    let mut versions = versions(cluster);
    versions.sort_by_key(|version| version.revision);
    let audited = cluster.audit();
    let requests: Vec<_> =
        audited.iter().map(|r| request(plan, cluster, lives.len(), &versions, r)).collect();
    // Otherwise what is based on that shows nothing. (The first request, for the version, may be sent without a wire.)
    let linked = |r: &Request| r.exchange.is_some() && r.life.is_some() || r.resource.is_empty();
    let strange = requests.iter().find(|r| !linked(r));
    assert!(strange.is_none(), "no life has sent {strange:?}");
    // Whichever process is hit by a crash, it may have died before it has done what it was about to do.
    let killed = plan.crashes();
    let mut facts = Facts {
        settings: settings(plan, cluster),
        tolerances: TOLERANCES,
        versions,
        requests,
        lives: lives.iter().map(|life| life.account(killed)).collect(),
        exchanges: wires.exchanges(),
        sights: wires.sights(),
        calm: plan.is_calm().then(|| calm(plan)),
        ..Facts::default()
    };
    facts.others = Others {
        disturbed: !plan.is_undisturbed() || plan.unseen.is_some(),
        blind: plan.view.is_some(),
        ..Others::of(&facts)
    };
    facts
}

fn settings(plan: &Plan, cluster: &Cluster) -> Settings {
    let duration = |duration: std::time::Duration| duration.try_into().unwrap();
    Settings {
        namespace: cluster.world.home.clone(),
        meta_configmap: "ai-api-meta".into(),
        watch_namespaces: Vec::new(),
        delete_completed: false,
        keeps_the_schema: false,
        require_admission_policy: plan.shipped,
        elects: plan.shipped,
        max_in_flight: plan.scenario.max_in_flight,
        lease_duration: duration(TIMING.lease_duration),
        renew_deadline: duration(TIMING.renew_deadline),
        retry_period: duration(TIMING.retry_period),
    }
}

fn versions(cluster: &Cluster) -> Vec<Version> {
    let shipped = cluster.shipped.iter().flat_map(|shipped| shipped.versions());
    let all = cluster.history.versions().into_iter().chain(cluster.flags.versions()).chain(shipped);
    all.filter(|version| version.name != "observer-end").collect()
}

/// Each accepted write is guarded by a version, so the next one of that object is its effect.
fn request(
    plan: &Plan,
    cluster: &Cluster,
    lives: usize,
    versions: &[Version],
    r: &audit::Request,
) -> Request {
    let life = r.agent.strip_prefix("life-").and_then(|number| number.parse().ok());
    let exchange = r.id.strip_prefix(&format!("{}/", cluster.world.home)).and_then(|id| id.parse().ok());
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let text = |at: &str| r.body.pointer(at).and_then(|value| value.as_str()).unwrap_or_default();
    let name = if r.name.is_empty() { text("/metadata/name") } else { &r.name };
    let guard: Option<u64> = r.guard().and_then(|guard| guard.parse().ok());
    let effect = guard.filter(|_| r.succeeded() && !r.dry_run).and_then(|guard| {
        let of_object = |v: &&Version| v.plural == r.resource && v.name == name;
        versions.iter().filter(of_object).map(|v| v.revision).find(|revision| *revision > guard)
    });
    Request {
        life: life.filter(|life| *life < lives),
        exchange,
        user: cluster.world.operator.user.clone(),
        agent: r.agent.clone(),
        verb: r.verb.clone(),
        resource: if is_about_work_policy(name) {
            format!("work-{}", r.resource)
        } else {
            r.resource.clone()
        },
        subresource: r.subresource.clone(),
        namespace: r.namespace.clone(),
        name: name.to_owned(),
        body: r.body.clone().into(),
        dry_run: r.dry_run,
        code: r.code.try_into().unwrap(),
        received: time(&r.received),
        answered: time(&r.answered),
        revision: effect,
        delayed: plan.is_sent_late(r),
    }
}

fn calm(plan: &Plan) -> Calm {
    let outcome = |(kind, id, outcome): &(Kind, &str, &str)| (*kind, (*id).to_owned(), (*outcome).to_owned());
    Calm {
        outcomes: plan.scenario.outcomes.iter().map(outcome).collect(),
        written: plan.scenario.written.iter().map(ToString::to_string).collect(),
        undisturbed: plan.is_undisturbed() && !plan.scenario.outcomes.is_empty(),
    }
}
