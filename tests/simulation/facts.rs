//! What the judge is given of a life.

use judge::{Facts, Others, Program};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    cluster::{WORK_POLICY, time_at},
    record::Head,
    run::History,
    story::Asked,
    world::World,
};
use ai_api_operator::api::TargetStatus;

impl World {
    /// All that is known of this life.
    pub fn facts(&mut self, history: History) -> Facts {
        let setup = &self.story.setup;
        let mut facts = Facts {
            settings: judge::Settings {
                delete_completed: setup.delete_completed,
                require_admission_policy: setup.require_admission_policy,
                max_in_flight: setup.max_in_flight,
                watch_namespaces: setup.watch_namespaces.clone(),
                keeps_the_schema: !setup.loose,
                ..judge::Settings::default()
            },
            tolerances: judge::Tolerances {
                // Timers have whole milliseconds, and clocks drift.
                operator: SignedDuration::from_millis(2),
                // Until two answers in a row have shown the step.
                clock: self.step.map_or(SignedDuration::ZERO, |step| step.by.abs()),
                ..judge::Tolerances::default()
            },
            versions: history.versions.into_iter().map(|version| self.version(version)).collect(),
            requests: self.requests(history.requests),
            lives: self.recorded.lives.iter().map(life).collect(),
            calls: self.calls(),
            exchanges: std::mem::take(&mut self.recorded.exchanges).into_iter().map(exchange).collect(),
            sights: std::mem::take(&mut self.recorded.sights),
            end: self.recorded.end,
            ..Facts::default()
        };
        facts.others = Others {
            disturbed: self.recorded.faults + self.recorded.events_of_faults + self.recorded.views > 0,
            blind: self.recorded.views > 0,
            ..Others::of(&facts)
        };
        // The garbage collector sends no requests here.
        let collected = |version: &&judge::Version| {
            version.deleted && version.object["metadata"]["ownerReferences"].is_array()
        };
        facts.quiet_since = self.quiet_since(&facts);
        if setup.calm && !facts.others.disturbed {
            facts.calm = judge::Calm::expected(&facts).map(|calm| judge::Calm { undisturbed: true, ..calm });
        }
        facts
            .others
            .deleted
            .extend(facts.versions.iter().filter(collected).map(|version| version.uid.clone()));
        facts
    }

    /// When a version was stored, by a clock that was not set.
    pub fn steady(&self, version: &api_server::Version) -> Timestamp {
        let step = self.step.filter(|step| version.revision > step.revision);
        version.time - step.map_or(SignedDuration::ZERO, |step| step.by)
    }

    fn version(&self, version: api_server::Version) -> judge::Version {
        judge::Version {
            at: self.steady(&version),
            revision: version.revision,
            plural: plural(&version.group, version.plural, &version.name),
            namespace: version.namespace,
            name: version.name,
            uid: version.uid,
            deleted: version.deleted,
            object: version.object.into(),
        }
    }

    /// Since when nothing has failed any more, a process was running, and nobody but the operator has changed anything.
    fn quiet_since(&self, facts: &Facts) -> Option<Timestamp> {
        let calm = self.calm_since.map(time_at)?;
        let others = facts.requests.iter().filter(|r| r.life.is_none() && r.revision.is_some());
        let changes = others.map(|r| r.received);
        let starts = facts.lives.iter().map(|life| life.started.at);
        changes.chain(starts).chain([calm]).max()
    }

    fn requests(&self, requests: Vec<api_server::Request>) -> Vec<judge::Request> {
        let mut revision = 0;
        let mut all = Vec::with_capacity(requests.len());
        // What was there before the life began was not asked for here.
        let before = requests.len().saturating_sub(self.recorded.of_requests.len());
        for (nth, (request, of)) in
            requests.into_iter().skip(before).zip(&self.recorded.of_requests).enumerate()
        {
            let by =
                self.step.filter(|step| nth >= step.handled).map_or(SignedDuration::ZERO, |step| step.by);
            let made = (request.revision > revision).then_some(request.revision);
            revision = revision.max(request.revision);
            all.push(judge::Request {
                life: of.map(|number| self.recorded.exchanges[number].life),
                exchange: *of,
                user: request.user,
                agent: request.agent,
                verb: request.verb.to_owned(),
                resource: match of {
                    Some(number) => self.recorded.exchanges[*number].head.resource.clone(),
                    None => plural(&request.group, request.resource, &request.name),
                },
                subresource: request.subresource,
                namespace: request.namespace,
                name: request.name,
                body: request.body.into(),
                dry_run: request.dry_run,
                code: request.code,
                received: request.time - by,
                answered: request.time - by,
                revision: made,
                delayed: false,
            });
        }
        all
    }

    fn calls(&self) -> Vec<judge::Call> {
        let call = |record: &crate::record::CallRecord| {
            let of = |(id, deleted): (String, bool)| {
                (record.called.kind, id, if deleted { TargetStatus::Deleted } else { TargetStatus::Stopped })
            };
            let answer = record.answered.as_ref().map(|(_, answer)| answer);
            let id = answer.and_then(|answer| answer.headers().get("x-request-id")?.to_str().ok());
            judge::Call {
                user: record.called.user.token().to_owned(),
                namespace: record.called.namespace.to_owned(),
                items: record.called.items().into_iter().map(of).collect(),
                bulk: matches!(record.called.what, Asked::Bulk(_)),
                request_id: id.unwrap_or_default().to_owned(),
                sent: record.sent,
                answered: record.answered.as_ref().map(|(at, _)| *at),
                code: answer.map_or(0, |answer| answer.status().as_u16()),
                body: answer.map(|answer| body(answer.body())).unwrap_or_default(),
            }
        };
        self.recorded.calls_made.iter().map(call).collect()
    }
}

/// How the judge names a kind: what runs, and the policy for that, otherwise than those of the same name.
fn plural(group: &str, plural: String, name: &str) -> String {
    match group {
        "apps" if plural == "deployments" => "deployments.apps".into(),
        "admissionregistration.k8s.io" if name == WORK_POLICY => format!("work-{plural}"),
        _ => plural,
    }
}

fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn life(life: &crate::record::Life) -> judge::Life {
    judge::Life {
        program: if life.is_gateway { Program::Gateway } else { Program::Operator },
        name: life.name.clone(),
        started: life.started,
        ended: life.ended,
        killed: life.killed,
        asked_to_end: life.asked_to_end,
        pauses: life.pauses.clone(),
        // One that fails, as when it loses its Lease, ends before it has logged everything.
        log: (!life.log.is_empty() && !matches!(life.end, Some(Err(_)))).then(|| life.log.clone()),
    }
}

fn exchange(exchange: crate::record::Exchange) -> judge::Exchange {
    let Head { verb, resource, subresource, namespace, name, dry_run } = exchange.head;
    judge::Exchange {
        life: exchange.life,
        verb: verb.to_owned(),
        resource,
        subresource,
        namespace,
        name,
        body: exchange.body.into(),
        dry_run,
        sent: exchange.sent,
        ended: exchange.ended,
    }
}
