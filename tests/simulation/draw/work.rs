//! Draws what people want: targets, BulkUpdates that name them, and calls of the gateways.

use ai_api_operator::api::Kind;
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Draw, Theme};
use crate::{
    cluster::{EPOCH, NAMESPACES},
    story::{Act, Asked, Called, Controller, Made, Odd, What, When, Who},
};

impl Draw {
    /// Targets, and BulkUpdates that name them.
    pub fn work(&mut self) {
        let bulk_updates = self.one(&[1, 1, 1, 2, 3]);
        for number in 0..bulk_updates {
            let namespace = if self.percent(80) { NAMESPACES[0] } else { NAMESPACES[1] };
            // Some are there before the operator is.
            let at = if self.percent(15) { self.random.u64(0..2500) } else { self.random.u64(3000..20_000) };
            self.bulk_update(number, namespace, at);
        }
    }

    /// One BulkUpdate of which it is known what it has to come to.
    pub fn calm_work(&mut self) {
        let at = self.random.u64(4000..15_000);
        self.bulk_update(0, NAMESPACES[0], at);
        for event in &mut self.events {
            match &mut event.what {
                What::Create(made) => (made.kept, event.when) = (false, When::At(1000)),
                What::Submit { user, spec, .. } => {
                    *user = Who::Editor;
                    for field in ["activeDeadlineSeconds", "startingDeadlineSeconds", "notAfter"] {
                        spec.as_object_mut().unwrap().remove(field);
                    }
                }
                _ => {}
            }
        }
    }

    pub fn bulk_update(&mut self, number: usize, namespace: &'static str, at: u64) {
        let count = if self.percent(70) { self.random.usize(8..=20) } else { self.random.usize(1..=8) };
        let mut lists = [Vec::new(), Vec::new()];
        let mut taken: Vec<(Kind, String)> = Vec::new();
        for item in 0..count {
            let kind = if self.percent(60) { Kind::Execution } else { Kind::Deployment };
            let known = self.made.iter().filter(|(ns, of, _)| *ns == namespace && *of == kind);
            let known: Vec<_> = known.map(|(_, _, name)| name.clone()).collect();
            let name = if !known.is_empty() && self.percent(15) {
                self.one(&known)
            } else {
                format!("item-{number}-{item}")
            };
            if taken.contains(&(kind, name.clone())) {
                continue;
            }
            taken.push((kind, name.clone()));
            let verb = if self.percent(50) { "STOPPED" } else { "DELETED" };
            if known.contains(&name) {
                lists[usize::from(kind == Kind::Deployment)].push(json!({"id": name, "targetStatus": verb}));
                continue;
            }
            let entry = self.item((namespace, kind, name), verb, at);
            lists[usize::from(kind == Kind::Deployment)].push(entry);
        }
        let [mut executions, deployments] = lists;
        let mut spec = json!({});
        if self.loose && self.percent(30) {
            executions.push(self.one(&[
                json!({"id": "", "targetStatus": "STOPPED"}),
                json!({"id": "restarted", "targetStatus": "RUNNING"}),
                json!("item-0-0"),
                json!({"id": "item-0-1", "targetStatus": "STOPPED", "force": true}),
                Value::Null,
            ]));
        }
        if !executions.is_empty() {
            spec["executions"] = executions.into();
        }
        if !deployments.is_empty() {
            spec["deployments"] = deployments.into();
        }
        self.options(&mut spec, at);
        let user =
            if self.percent(88) { Who::Editor } else { self.one(&[Who::Admin, Who::Stopper, Who::Viewer]) };
        let name = format!("bulk-{number}");
        self.submitted.push((namespace, name.clone(), at));
        self.at(at, What::Submit { namespace, name, spec, user, uids: true });
    }

    /// Makes a target, usually, and the item that names it.
    pub fn item(
        &mut self,
        (namespace, kind, name): (&'static str, Kind, String),
        verb: &'static str,
        at: u64,
    ) -> Value {
        if self.percent(3) {
            return json!({"id": self.one(&["NOT_A_NAME", "not.a-name-", "...."]), "targetStatus": verb});
        }
        let mut entry = json!({"id": name, "targetStatus": verb});
        if self.percent(15) {
            entry["uid"] = if self.percent(80) { "its".into() } else { "another".into() };
        }
        if self.percent(4) {
            return entry;
        }
        let eligible: &[&str] =
            if verb == "STOPPED" { &["RUNNING", "PENDING"] } else { &["STOPPED", "DEAD", "UNKNOWN", ""] };
        *(if verb == "STOPPED" { &mut self.stops } else { &mut self.deletions }) += 1;
        let any = ["UNKNOWN", "PENDING", "RUNNING", "COMPLETED", "DEAD", "STOPPING", "STOPPED", "GARBAGE"];
        let state = if self.percent(80) { self.one(eligible) } else { self.one(&any) };
        let mut status = if state.is_empty() { Value::Null } else { json!({"state": state}) };
        if self.loose && self.percent(20) {
            status = self.one(&[
                json!({"state": 7}),
                json!({"state": "GARBAGE"}),
                json!({"targetStatus": []}),
                json!({}),
                json!([state, null, null]),
                json!("STOPPED"),
            ]);
        } else if self.percent(4) && status.is_object() {
            status["targetStatus"] = self.one(&["STOPPED", "RUNNING", "COMPLETED"]).into();
        }
        let controllers = self.has(Theme::Controllers);
        let controller = (controllers && self.percent(50)).then(|| {
            let after = self.one(&[0, 100, 1000, 5000, 15_000]);
            self.one(&[
                Controller::Stops(after),
                Controller::Stops(after),
                Controller::Completes(after),
                Controller::Refuses,
            ])
        });
        let odd = self.has(Theme::Odd) && self.percent(20);
        let odd = odd.then(|| self.one(&[Odd::ManyLabels, Odd::LongAnnotation, Odd::Owner]));
        let made =
            Made { namespace, kind, name: name.clone(), status, controller, kept: self.percent(5), odd };
        let when = if self.has(Theme::SameMoment) && self.percent(40) {
            // In the same second, before or after.
            (at / 1000 * 1000 + self.random.u64(0..1000)).min(at + 300)
        } else if self.percent(3) {
            at + self.random.u64(0..3000)
        } else {
            at.saturating_sub(1000 + self.random.u64(0..4000))
        };
        self.made.push((namespace, kind, name.clone()));
        self.at(when, What::Create(made));
        if when.abs_diff(at) < 1000 && self.has(Theme::SameMoment) && self.percent(30) {
            // What was seen of it before tells that it is older.
            let changed = at + self.random.u64(1..100);
            self.at(changed, What::Act { namespace, kind, name, act: Act::Relabel });
        }
        entry
    }

    pub fn options(&mut self, spec: &mut Value, at: u64) {
        if self.percent(8) {
            spec["dryRun"] = true.into();
        }
        if self.percent(15) {
            self.expires = true;
            spec["ttlSecondsAfterFinished"] = self.one(&[0, 1, 5, 3600]).into();
        }
        if self.percent(if self.has(Theme::Deadlines) { 50 } else { 5 }) {
            let seconds = self.one(&[1, 2, 5, 15]);
            match self.random.u8(..8) {
                0..3 => spec["activeDeadlineSeconds"] = seconds.into(),
                3 | 4 => spec["startingDeadlineSeconds"] = seconds.into(),
                // Never.
                5 => spec["notAfter"] = "9999-12-31T23:59:59Z".into(),
                _ => spec["notAfter"] = end_of(at, seconds),
            }
        }
    }

    pub fn callers(&mut self, gateways: usize) {
        let mut at = self.moment();
        for _ in 0..self.random.usize(1..=4) {
            let (namespace, kind, name) = match self.made.len() {
                0 => (NAMESPACES[0], Kind::Execution, "nothing".to_owned()),
                _ => self.one(&self.made.clone()),
            };
            let items = self.made.iter().filter(|(ns, of, _)| *ns == namespace && *of == kind);
            let names: Vec<String> = items.map(|(_, _, name)| name.clone()).collect();
            let mut items = Vec::new();
            for name in names.iter().take(10) {
                items.push((name.clone(), self.one(&["STOPPED", "DELETED"])));
            }
            let what = self.one(&[
                Asked::Bulk(items.clone()),
                Asked::Bulk(items),
                Asked::Stop(name.clone()),
                Asked::Delete(name.clone()),
                Asked::Get(name),
                Asked::List,
                Asked::Count,
                Asked::Meta,
            ]);
            let user = self.one(&[Who::Editor, Who::Editor, Who::Editor, Who::Viewer]);
            // Some call at the same moment.
            if self.percent(60) {
                at = self.moment();
            }
            let gateway = self.random.usize(..gateways);
            self.at(at, What::Call(Called { gateway, user, namespace, kind, what }));
        }
    }
}

/// So many seconds after a moment, as an end.
pub fn end_of(at: u64, seconds: i64) -> Value {
    let after = i64::try_from(at).unwrap() + seconds * 1000;
    let end = EPOCH + SignedDuration::from_millis(after);
    end.strftime("%FT%TZ").to_string().into()
}
