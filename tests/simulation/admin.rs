//! What is done to BulkUpdates, and what admins do; and callers of the gateway.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::{
    cluster::{
        ADMISSION, ENGINE_RIGHTS, ENGINES, HOME, META, NAMESPACES, OWN_RIGHTS, POLICY, RIGHTS,
        WORK_ADMISSION, WORK_POLICY, role_binding,
    },
    people::{FINALIZER, target_path},
    story::{Admin, Asked, BulkAct, Called, GuardAct, Guarded, Weakness, What, Who},
    works::runs_something,
    world::World,
};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ai-api-system/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ai-api-system/leases/ai-api-operator";
const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/ai-api-operator";
const OWN_BINDING: &str =
    "/apis/rbac.authorization.k8s.io/v1/namespaces/ai-api-system/rolebindings/ai-api-operator";

/// An Execution that no BulkUpdate names.
pub const BYSTANDER: &str = "bystander";

/// Neither true nor false.
const SPOILT: &str = "perhaps";

/// The flag as it is at first.
pub const ON: &str = r#"{"executions": true, "deployments": true}"#;

impl World {
    pub fn act_on_bulk(&mut self, namespace: &str, name: &str, act: BulkAct) {
        let path = target_path(namespace, "bulkupdates", name);
        let (status, bulk) = self.as_admin(Method::GET, &path, &Value::Null);
        if !status.is_success() {
            return;
        }
        let kept = json!({"metadata": {"finalizers": [FINALIZER]}});
        match act {
            BulkAct::Delete => drop(self.as_admin(Method::DELETE, &path, &Value::Null)),
            BulkAct::Recreate => {
                self.as_admin(Method::DELETE, &path, &Value::Null);
                let again = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
                    "metadata": {"name": name}, "spec": bulk["spec"]});
                self.as_admin(Method::POST, path.rsplit_once('/').unwrap().0, &again);
            }
            BulkAct::Keep => {
                self.as_admin(Method::PATCH, &path, &kept);
                self.as_admin(Method::DELETE, &path, &Value::Null);
            }
            BulkAct::Finalize => drop(self.as_admin(Method::PATCH, &path, &kept)),
            BulkAct::Relabel => {
                let label = json!({"metadata": {"labels": {"changed": self.now.to_string()}}});
                self.as_admin(Method::PATCH, &path, &label);
            }
            BulkAct::TimeToLive(seconds) => {
                let ttl = json!({"spec": {"ttlSecondsAfterFinished": seconds}});
                self.as_admin(Method::PATCH, &path, &ttl);
            }
            BulkAct::Reorder => {
                let mut spec = json!({});
                for plural in ["executions", "deployments"] {
                    if let Some(items) = bulk["spec"][plural].as_array() {
                        spec[plural] = items.iter().rev().cloned().collect();
                    }
                }
                self.as_admin(Method::PATCH, &path, &json!({"spec": spec}));
            }
            BulkAct::Widen | BulkAct::Forget | BulkAct::Finish | BulkAct::Pretend | BulkAct::Backdate => {
                let mut bystander = Value::Null;
                if act == BulkAct::Widen {
                    let path = target_path(namespace, "executions", BYSTANDER);
                    bystander = self.as_admin(Method::GET, &path, &Value::Null).1;
                }
                let uid = &bystander["metadata"]["uid"];
                let status = forged(&bulk, act, &self.time().to_string(), uid);
                self.as_admin(Method::PATCH, &format!("{path}/status"), &json!({"status": status}));
            }
            // Where the schema is kept, this is refused.
            BulkAct::Spoil => self.spoil(&path, name, &bulk),
            // What was never planned and cannot be read would have no end, nor would what has ended already.
            BulkAct::Blot if bulk["status"]["startTime"].is_null() => {}
            BulkAct::Blot if bulk["status"]["completionTime"].is_string() => {}
            BulkAct::Blot => {
                self.as_admin(Method::PATCH, &format!("{path}/status"), &json!({"status": "all is well"}));
            }
        }
    }

    /// Makes its spec unreadable, and a condition with it, or its spec readable again.
    fn spoil(&mut self, path: &str, name: &str, bulk: &Value) {
        if bulk["spec"]["dryRun"] == SPOILT {
            return self.mend(path, name);
        }
        let (spoilt, _) = self.as_admin(Method::PATCH, path, &json!({"spec": {"dryRun": SPOILT}}));
        let mut conditions = bulk["status"]["conditions"].clone();
        if spoilt.is_success() && conditions[0].is_object() {
            conditions[0]["status"] = SPOILT.into();
            let status = json!({"status": {"conditions": conditions}});
            self.as_admin(Method::PATCH, &format!("{path}/status"), &status);
        }
    }

    /// Makes its spec what it was.
    fn mend(&mut self, path: &str, name: &str) {
        let asked = self.story.events.iter().find_map(|event| match &event.what {
            What::Submit { name: of, spec, .. } if of == name => Some(spec["dryRun"].clone()),
            _ => None,
        });
        self.as_admin(Method::PATCH, path, &json!({"spec": {"dryRun": asked}}));
    }

    pub fn administer(&mut self, admin: &Admin) {
        match admin {
            Admin::Flag(text) => self.set_flag(*text),
            Admin::KeepFlag(kept) => self.keep_flag(*kept),
            Admin::Policy(of, act) => self.change_admission(*of, *act),
            Admin::Rights(granted) => self.grant(BINDING, RIGHTS, *granted),
            Admin::OwnRights(granted) => self.grant(OWN_BINDING, OWN_RIGHTS, *granted),
            Admin::EngineRights(granted) => self.grant_engines(*granted),
            Admin::UserRights(who, granted) => self.grant_user(*who, *granted),
            Admin::TakeLease => self.patch_lease(&json!({"spec": {"holderIdentity": "somebody-else"}})),
            Admin::FreeLease => self.patch_lease(&json!({"spec": {"holderIdentity": null}})),
            Admin::DeleteLease => drop(self.as_admin(Method::DELETE, LEASE, &Value::Null)),
            Admin::FillLease => {
                let full = json!({"metadata": {"annotations": {"full": "x".repeat(261_900)}}});
                self.patch_lease(&full);
            }
            Admin::SpoilLease => self.patch_lease(&json!({
                "metadata": {"annotations": {"aiapi.dev/admission-record": "garbage", "example.com/note": "ours"}},
                "spec": {"renewTime": null, "leaseTransitions": 2_147_483_647}
            })),
        }
    }

    fn patch_lease(&mut self, patch: &Value) {
        if !self.as_admin(Method::PATCH, LEASE, patch).0.is_success() {
            let mut new = patch.clone();
            new["apiVersion"] = "coordination.k8s.io/v1".into();
            new["kind"] = "Lease".into();
            new["metadata"]["name"] = "ai-api-operator".into();
            self.as_admin(Method::POST, LEASES, &new);
        }
    }

    fn set_flag(&mut self, text: Option<&str>) {
        let path = format!("/api/v1/namespaces/{HOME}/configmaps/{META}");
        let Some(text) = text else {
            self.as_admin(Method::DELETE, &path, &Value::Null);
            return;
        };
        let data = json!({"data": {"bulkUpdates": text}});
        if !self.as_admin(Method::PATCH, &path, &data).0.is_success() {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": META},
                "data": {"bulkUpdates": text}});
            self.as_admin(Method::POST, path.rsplit_once('/').unwrap().0, &map);
        }
    }

    fn keep_flag(&mut self, kept: bool) {
        let path = format!("/api/v1/namespaces/{HOME}/configmaps/{META}");
        let finalizers = if kept { json!([FINALIZER]) } else { Value::Null };
        self.as_admin(Method::PATCH, &path, &json!({"metadata": {"finalizers": finalizers}}));
        if kept {
            self.as_admin(Method::DELETE, &path, &Value::Null);
        } else {
            self.set_flag(Some(ON));
        }
    }

    fn change_admission(&mut self, of: Guarded, act: GuardAct) {
        let (plural, name, shipped) = match of {
            Guarded::Policy => ("validatingadmissionpolicies", POLICY, ADMISSION),
            Guarded::Binding => ("validatingadmissionpolicybindings", POLICY, ADMISSION),
            Guarded::WorkPolicy => ("validatingadmissionpolicies", WORK_POLICY, WORK_ADMISSION),
            Guarded::WorkBinding => ("validatingadmissionpolicybindings", WORK_POLICY, WORK_ADMISSION),
        };
        let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}/{name}");
        if matches!(act, GuardAct::Delete | GuardAct::Recreate) {
            self.as_admin(Method::DELETE, &path, &Value::Null);
        }
        match act {
            GuardAct::Delete => {}
            GuardAct::Weaken(weakness) => {
                let (status, mut object) = self.as_admin(Method::GET, &path, &Value::Null);
                if status.is_success() {
                    weaken(&mut object["spec"], of, weakness);
                    self.as_admin(Method::PUT, &path, &object);
                }
            }
            GuardAct::Exempt => {
                let nobody =
                    json!({"spec": {"matchConditions": [{"name": "nobody", "expression": "false"}]}});
                self.as_admin(Method::PATCH, &path, &nobody);
            }
            GuardAct::Restore | GuardAct::Recreate => self.apply(shipped),
        }
    }

    fn grant(&mut self, path: &str, manifest: &str, granted: bool) {
        if granted {
            self.apply(manifest);
        } else {
            self.as_admin(Method::DELETE, path, &Value::Null);
        }
    }

    fn grant_engines(&mut self, granted: bool) {
        for (name, rights) in ENGINES.into_iter().zip(ENGINE_RIGHTS) {
            let path = format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}");
            self.grant(&path, rights, granted);
        }
    }

    fn grant_user(&mut self, who: Who, granted: bool) {
        for namespace in NAMESPACES {
            let path = format!(
                "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/{}",
                who.token()
            );
            self.grant(&path, &role_binding(namespace, who), granted);
        }
    }

    fn apply(&mut self, manifest: &str) {
        self.server.apply(manifest);
    }

    /// Puts everything into a state in which all can end.
    pub fn restore(&mut self) {
        let changed = |of: fn(&Admin) -> bool| {
            self.story.events.iter().any(|event| matches!(&event.what, What::Admin(admin) if of(admin)))
        };
        let (policy, rights) = (
            changed(|admin| matches!(admin, Admin::Policy(..))),
            changed(|admin| matches!(admin, Admin::Rights(_) | Admin::OwnRights(_) | Admin::EngineRights(_))),
        );
        let works = self.story.setup.works;
        if policy {
            self.apply(ADMISSION);
        }
        if rights {
            self.apply(RIGHTS);
            self.apply(OWN_RIGHTS);
        }
        if works {
            self.apply(WORK_ADMISSION);
            self.grant_engines(true);
            // A stop waits for it.
            self.set_flag(Some(ON));
            self.label_works();
            self.clear_strangers();
        }
        let lease = self.as_admin(Method::GET, LEASE, &Value::Null).1;
        if lease["metadata"]["annotations"]["full"].is_string() {
            self.as_admin(Method::PATCH, LEASE, &json!({"metadata": {"annotations": {"full": null}}}));
        }
        let flag = format!("/api/v1/namespaces/{HOME}/configmaps/{META}");
        let (found, map) = self.as_admin(Method::GET, &flag, &Value::Null);
        if found.is_client_error() || map["metadata"]["deletionTimestamp"].is_string() {
            self.keep_flag(false);
        }
        for namespace in NAMESPACES {
            for plural in ["executions", "deployments", "bulkupdates"] {
                self.release_all(namespace, plural);
            }
        }
        self.controllers_obey();
    }

    /// Removes the finalizers of others, and does what was asked for.
    fn release_all(&mut self, namespace: &str, plural: &str) {
        let all = format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/{plural}");
        for object in self.objects(&all) {
            if object["spec"]["dryRun"] == SPOILT {
                let name = object["metadata"]["name"].as_str().unwrap();
                self.mend(&format!("{all}/{name}"), name);
            }
            let status = &object["status"];
            let state = status["state"].as_str();
            let runs = matches!(state, Some("PENDING" | "RUNNING" | "STOPPING"));
            let has_ended = matches!(state, Some("STOPPED" | "COMPLETED" | "DEAD"));
            let obeys = runs && object["spec"]["managedBy"].is_string();
            let asked =
                status["targetStatus"] == "STOPPED" && !has_ended && !obeys && !runs_something(&object);
            if asked || (status["targetStatus"] == "RUNNING" && runs) {
                // Somebody has undone a stop, never began with it, takes it back, or hides what has come of it.
                let path = format!("{all}/{}/status", object["metadata"]["name"].as_str().unwrap());
                self.as_admin(Method::PATCH, &path, &json!({"status": {"state": "STOPPED"}}));
            }
            if let Some(finalizers) = object["metadata"]["finalizers"].as_array() {
                let path = format!("{all}/{}", object["metadata"]["name"].as_str().unwrap());
                // The garbage collector's own stays.
                let kept: Vec<_> = finalizers.iter().filter(|name| **name != FINALIZER).cloned().collect();
                let kept = if kept.is_empty() { Value::Null } else { kept.into() };
                self.as_admin(Method::PATCH, &path, &json!({"metadata": {"finalizers": kept}}));
            }
        }
    }

    pub fn call_gateway(&mut self, called: &Called) {
        let gateways: Vec<_> = (0..self.slots.len()).filter(|slot| self.slots[*slot].is_gateway).collect();
        let Some(slot) = gateways.get(called.gateway % gateways.len().max(1)).copied() else { return };
        self.bring_up(slot);
        let Some(process) = &self.slots[slot].process else { return };
        let all = format!("/v2/lm/{}", called.kind.plural());
        let (method, path, body) = match &called.what {
            Asked::Bulk(items) => {
                let items = items.iter().map(|(id, status)| json!({"id": id, "targetStatus": status}));
                let list = items.collect::<Value>();
                (Method::PATCH, all, json!({called.kind.plural(): list}))
            }
            Asked::Stop(id) => (Method::PATCH, format!("{all}/{id}"), json!({"targetStatus": "STOPPED"})),
            Asked::Delete(id) => (Method::DELETE, format!("{all}/{id}"), Value::Null),
            Asked::Get(id) => (Method::GET, format!("{all}/{id}"), Value::Null),
            Asked::List => (Method::GET, all, Value::Null),
            Asked::Count => (Method::GET, format!("{all}/$count"), Value::Null),
            Asked::Meta => (Method::GET, "/v2/lm/meta".to_owned(), Value::Null),
        };
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", called.user.token()))
            .header("ai-resource-group", called.namespace)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        process.call(self.calls, request);
        self.slots[slot].reached = true;
        let (life, time) = (self.slots[slot].life, self.time());
        self.recorded.calls(life, called, time);
        self.calls += 1;
    }
}

fn weaken(spec: &mut Value, of: Guarded, weakness: Weakness) {
    match (of, weakness) {
        (Guarded::Binding | Guarded::WorkBinding, _) => spec["validationActions"] = json!(["Warn"]),
        (_, Weakness::Refusal) => spec["failurePolicy"] = "Ignore".into(),
        (_, Weakness::Operations) => {
            spec["matchConstraints"]["resourceRules"][0]["operations"] = json!(["CREATE"]);
        }
        (_, Weakness::Scope) => spec["matchConstraints"]["resourceRules"][0]["scope"] = "Cluster".into(),
        // Of the first one nothing depends.
        (Guarded::WorkPolicy, Weakness::Validation) => {
            for at in 1..4 {
                spec["validations"][at]["expression"] = "true".into();
            }
        }
        (Guarded::WorkPolicy, Weakness::Variable) => {
            spec["variables"][1]["expression"] = "optional.none()".into();
        }
        (_, Weakness::Validation) => spec["validations"][0]["expression"] = "true".into(),
        (_, Weakness::Variable) => spec["variables"][0]["expression"] = "[]".into(),
    }
}

/// A status that the operator has not written.
fn forged(bulk: &Value, act: BulkAct, now: &str, bystander: &Value) -> Value {
    let entries = |plural: &str| bulk["status"][plural].as_array().cloned().unwrap_or_default();
    let mut status = json!({});
    match act {
        BulkAct::Widen => {
            let mut items = entries("executions");
            let item =
                json!({"id": BYSTANDER, "uid": bystander, "targetStatus": "DELETED", "result": "Planned"});
            items.push(item);
            status["executions"] = items.into();
        }
        BulkAct::Backdate => {
            let mut conditions = bulk["status"]["conditions"].as_array().cloned().unwrap_or_default();
            // In UTC it is in the year before the year 0.
            conditions.push(json!({"type": "example.com/Reviewed", "status": "True", "reason": "Reviewed",
                "message": "", "lastTransitionTime": "0000-01-01T00:00:00+01:00"}));
            status["conditions"] = conditions.into();
        }
        BulkAct::Forget => {
            status["executions"] = Value::Null;
            status["deployments"] = Value::Null;
        }
        BulkAct::Finish => {
            status["completionTime"] = format!("{}Z", now.split(['.', 'Z']).next().unwrap()).into();
        }
        _ => {
            for plural in ["executions", "deployments"] {
                let mut items = entries(plural);
                for item in &mut items {
                    item["result"] = "Settled".into();
                }
                if !items.is_empty() {
                    status[plural] = items.into();
                }
            }
        }
    }
    status
}
