//! Who creates targets that something runs for, and what people do to that; and whether nothing is left to do for it.

use ai_api_operator::api::Kind;
use http::Method;
use serde_json::{Value, json};

use crate::{
    cluster::NAMESPACES,
    engines::{APPS, JOBS, controller_of, has_ended, is_terminating},
    people::target_path,
    story::{By, Course, Propagation, Run, WorkAct},
    world::World,
};

/// The object that owns what is somebody else's.
const STRANGER: &str = "stranger";

/// Where the objects of an engine are, and its kind.
fn engine(kind: Kind, namespace: &str) -> (String, &'static str, &'static str) {
    match kind {
        Kind::Execution => (format!("{JOBS}/namespaces/{namespace}/jobs"), "batch/v1", "Job"),
        Kind::Deployment => (format!("{APPS}/namespaces/{namespace}/deployments"), "apps/v1", "Deployment"),
    }
}

/// What runs, without its name.
fn manifest(kind: Kind, name: &str, course: Course) -> Value {
    let (_, version, of) = engine(kind, "");
    let pod = json!({"containers": [{"name": "main", "image": "example.com/model:1"}]});
    let template =
        json!({"metadata": {"annotations": course.annotations(), "labels": {"app": name}}, "spec": pod});
    let mut object = json!({"apiVersion": version, "kind": of, "spec": {"template": template}});
    let spec = &mut object["spec"];
    if kind == Kind::Execution {
        spec["template"]["spec"]["restartPolicy"] = "Never".into();
        (spec["parallelism"], spec["completions"]) = (course.replicas.into(), course.replicas.into());
        spec["backoffLimit"] = 0.into();
    } else {
        spec["replicas"] = course.replicas.into();
        spec["selector"] = json!({"matchLabels": {"app": name}});
    }
    object
}

impl World {
    /// A user creates a target that something runs for.
    pub fn create_run(&mut self, run: &Run) {
        let Run { namespace, kind, name, user, by, course } = run;
        let (engines, version, of) = engine(*kind, namespace);
        let mut template = manifest(*kind, name, *course);
        let mut reference = json!({"apiVersion": version, "kind": of, "name": name, "uid": "unknown"});
        if *by == By::Reference {
            let (_, found) = self.as_admin(Method::GET, &format!("{engines}/{name}"), &Value::Null);
            if found["metadata"]["uid"].is_string() {
                reference["uid"] = found["metadata"]["uid"].clone();
            }
        }
        let spec = match by {
            By::Template => json!({"template": template}),
            By::Refused => {
                template["spec"]["template"]["spec"]["containers"] = json!([]);
                json!({"template": template})
            }
            By::NotServed => {
                template["apiVersion"] = "jobset.x-k8s.io/v1alpha2".into();
                template["kind"] = "JobSet".into();
                json!({"template": template})
            }
            By::Nameless => {
                reference["name"] = "NOT_A_NAME".into();
                json!({"workloadRef": reference})
            }
            By::Reference | By::Stranger => json!({"workloadRef": reference}),
        };
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind.name(), "metadata": {"name": name}, "spec": spec});
        let path = format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/{}", kind.plural());
        self.ask(&user.user(), Method::POST, &path, &object);
    }

    /// Does something to what has the name of a target.
    pub fn act_on_work(&mut self, namespace: &str, kind: Kind, name: &str, act: WorkAct) {
        let (engines, ..) = engine(kind, namespace);
        let path = format!("{engines}/{name}");
        let change = |world: &mut Self, patch: Value| drop(world.as_admin(Method::PATCH, &path, &patch));
        let of_target = target_path(namespace, kind.plural(), name);
        match act {
            WorkAct::Create(course) => self.create_work((namespace, name), kind, course, false),
            WorkAct::CreateOwned(course) => self.create_work((namespace, name), kind, course, true),
            WorkAct::Delete(propagation) => self.delete_by(&path, propagation),
            WorkAct::Recreate(course) => {
                self.delete_by(&path, Propagation::Background);
                self.create_work((namespace, name), kind, course, false);
            }
            WorkAct::Resume if kind == Kind::Execution => change(self, json!({"spec": {"suspend": false}})),
            WorkAct::Resume => change(self, json!({"spec": {"replicas": 1}})),
            WorkAct::Stop if kind == Kind::Execution => change(self, json!({"spec": {"suspend": true}})),
            WorkAct::Stop => change(self, json!({"spec": {"replicas": 0}})),
            WorkAct::Orphan => change(self, json!({"metadata": {"ownerReferences": null}})),
            WorkAct::Own => {
                let owner = self.stranger(namespace);
                change(self, json!({"metadata": {"ownerReferences": [owner]}}));
            }
            WorkAct::Unlabel => change(self, json!({"metadata": {"labels": {"aiapi.dev/owner-uid": null}}})),
            WorkAct::Touch => {
                let now = self.now.to_string();
                change(self, json!({"metadata": {"annotations": {"example.com/touched": now}}}));
            }
            WorkAct::Change(who) => {
                let now = self.now.to_string();
                let changed = json!({"metadata": {"annotations": {"example.com/changed": now}}});
                let spec = json!({"spec": {"template": {"spec": {"template": changed}}}});
                if kind == Kind::Deployment {
                    self.ask(&who.user(), Method::PATCH, &of_target, &spec);
                }
            }
            WorkAct::DeleteOwner(propagation) => self.delete_by(&of_target, propagation),
        }
    }

    fn delete_by(&mut self, path: &str, propagation: Propagation) {
        let options = match propagation {
            Propagation::Default => Value::Null,
            other => json!({"propagationPolicy": format!("{other:?}")}),
        };
        self.as_admin(Method::DELETE, path, &options);
    }

    fn create_work(&mut self, (namespace, name): (&str, &str), kind: Kind, course: Course, owned: bool) {
        let mut object = manifest(kind, name, course);
        object["metadata"]["name"] = name.into();
        if owned {
            object["metadata"]["ownerReferences"] = json!([self.stranger(namespace)]);
        }
        self.as_admin(Method::POST, &engine(kind, namespace).0, &object);
    }

    /// Another controller, as an owner.
    fn stranger(&mut self, namespace: &str) -> Value {
        let all = format!("/api/v1/namespaces/{namespace}/configmaps");
        let path = format!("{all}/{STRANGER}");
        let (found, mut owner) = self.as_admin(Method::GET, &path, &Value::Null);
        if !found.is_success() {
            let new = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STRANGER}});
            self.as_admin(Method::POST, &all, &new);
            owner = self.as_admin(Method::GET, &path, &Value::Null).1;
        }
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": STRANGER, "uid": owner["metadata"]["uid"],
            "controller": true})
    }

    /// Gives what runs the label back by which the operator finds it: it sees nothing of what has lost it.
    pub fn label_works(&mut self) {
        for (kind, namespace) in
            Kind::ALL.into_iter().flat_map(|kind| NAMESPACES.map(|namespace| (kind, namespace)))
        {
            let (engines, ..) = engine(kind, namespace);
            for object in self.objects(&engines) {
                let Some(owner) = controller_of(&object).filter(|owner| owner["kind"] == kind.name()) else {
                    continue;
                };
                let path = format!("{engines}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
                let label = json!({"metadata": {"labels": {"aiapi.dev/owner-uid": owner["uid"]}}});
                self.as_admin(Method::PATCH, &path, &label);
            }
        }
    }

    /// Deletes what serves under the name of a target and is not its own (any more): its Pods look like those that the target's
    /// own has left behind, so a stop rightly does not end before they do.
    pub fn clear_strangers(&mut self) {
        for namespace in NAMESPACES {
            for plural in ["deployments", "replicasets"] {
                let all = format!("/apis/apps/v1/namespaces/{namespace}/{plural}");
                let strangers = self.objects(&all).into_iter();
                let is_stranger =
                    |object: &Value| controller_of(object).is_none_or(|owner| owner["kind"] != "Deployment");
                for stranger in strangers.filter(is_stranger) {
                    let name = stranger["metadata"]["name"].as_str().unwrap_or_default();
                    self.delete_by(&format!("{all}/{name}"), Propagation::Background);
                }
            }
        }
    }

    /// What is still to be done for what runs.
    pub fn works_not_ended(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        if !self.story.setup.works {
            return left;
        }
        for namespace in NAMESPACES {
            let pods = self.objects(&format!("/api/v1/namespaces/{namespace}/pods"));
            let mut words = |object: &Value, why: &str| {
                left.push(format!("{} {why}", object["metadata"]["name"].as_str().unwrap_or_default()));
            };
            pods.iter().filter(|pod| is_terminating(pod)).for_each(|pod| words(pod, "is ending"));
            let work = [
                "batch/v1/namespaces/*/jobs",
                "apps/v1/namespaces/*/replicasets",
                "apps/v1/namespaces/*/deployments",
            ];
            let mut owned = Vec::new();
            for path in work.map(|path| format!("/apis/{}", path.replace('*', namespace))) {
                owned.extend(self.objects(&path));
            }
            owned.iter().filter(|object| is_terminating(object)).for_each(|object| words(object, "is going"));
            let targets: Vec<_> = Kind::ALL
                .map(Kind::plural)
                .iter()
                .flat_map(|plural| {
                    self.objects(&format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/{plural}"))
                })
                .collect();
            let all = || pods.iter().chain(&owned);
            let is_there =
                |uid: &Value| all().chain(&targets).any(|object| object["metadata"]["uid"] == *uid);
            let owners = ["Job", "ReplicaSet", "Execution", "Deployment"];
            let is_left = |object: &&Value| {
                controller_of(object).is_some_and(|owner| {
                    owners.iter().any(|kind| owner["kind"] == *kind) && !is_there(&owner["uid"])
                })
            };
            all().filter(is_left).for_each(|object| words(object, "is to be collected"));
            let watched = &self.story.setup.watch_namespaces;
            if !watched.is_empty() && !watched.iter().any(|watched| watched == namespace) {
                continue;
            }
            for target in targets.iter().filter(|target| runs_something(target)) {
                if let Some(why) = not_ended(target) {
                    words(target, why);
                }
                let stopped = target["status"]["state"] == "STOPPED";
                if stopped && pods.iter().any(|pod| runs_for(pod, target, &owned)) {
                    words(target, "has stopped and runs");
                }
            }
        }
        left
    }
}

/// Whether the operator is to run something for it.
pub fn runs_something(target: &Value) -> bool {
    let spec = &target["spec"];
    spec["managedBy"].is_null() && (spec["template"].is_object() || spec["workloadRef"].is_object())
}

fn not_ended(target: &Value) -> Option<&'static str> {
    let status = &target["status"];
    let state = status["state"].as_str().unwrap_or("UNKNOWN");
    let over = matches!(state, "STOPPED" | "COMPLETED" | "DEAD");
    if is_terminating(target) {
        return Some("is going");
    }
    if status["targetStatus"] == "STOPPED" && !over {
        return Some("is being stopped");
    }
    let says = status["conditions"].as_array().is_some_and(|all| !all.is_empty());
    (state == "UNKNOWN" && !says).then_some("has not been looked at")
}

/// Whether a Pod runs for a target, by an object that the operator can find.
fn runs_for(pod: &Value, target: &Value, owned: &[Value]) -> bool {
    if has_ended(pod) {
        return false;
    }
    let mut object = pod;
    let mut found = true;
    while let Some(owner) = controller_of(object) {
        if owner["uid"] == target["metadata"]["uid"] {
            return found;
        }
        let Some(next) = owned.iter().find(|one| one["metadata"]["uid"] == owner["uid"]) else {
            return false;
        };
        found = next["metadata"]["labels"]["aiapi.dev/owner-uid"].is_string();
        object = next;
    }
    false
}
