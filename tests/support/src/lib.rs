//! What the tests against a real API server share: one control plane for each test program, and for each test its own
//! [`World`]: a namespace with the shipped RBAC, and an operator that runs as the ServiceAccount in it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, reason = "a panic fails the test")]
#![allow(clippy::missing_errors_doc, clippy::must_use_candidate, reason = "only tests and benchmarks use it")]

pub mod audit;
pub mod bench;
pub mod built;
pub mod call;
pub mod control_plane;
mod engines;
pub mod etcd;
pub mod gateway;
pub mod on_nodes;
pub mod operator;

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ai_api_operator::api::{BulkUpdate, BulkUpdateStatus, ItemResult, ItemStatus, Kind};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        core::v1::ConfigMap,
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use self::{control_plane::ControlPlane, operator::Operator};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// The flag, on for both kinds.
pub const ON: &str = r#"{"executions": true, "deployments": true}"#;

/// The namespace of one test, and what the test does in it as its admin.
pub struct World {
    pub client: Client,
    /// Where targets and BulkUpdates are.
    pub namespace: String,
    /// Where the operator is, and the flag.
    pub home: String,
    pub operator: Operator,
    pub plane: &'static ControlPlane,
    /// The second in which the last target was created.
    last_target: AtomicI64,
    /// The length of the audit log before this world existed. Everything before belongs to other tests; reading it
    /// repeatedly is too slow for a test that waits for a moment in the middle of something.
    since: u64,
}

/// Waits for `condition`, and fails with `what` after the deadline.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl FnMut() -> F) {
    let came_true = within(DEADLINE, Duration::from_millis(20), condition).await;
    assert!(came_true, "not within {DEADLINE:?}: {what}");
}

/// Polls `condition` at this interval; returns whether it became true within this time.
pub async fn within<F: Future<Output = bool>>(
    time: Duration,
    every: Duration,
    mut condition: impl FnMut() -> F,
) -> bool {
    let end = std::time::Instant::now() + time;
    loop {
        if condition().await {
            return true;
        }
        if std::time::Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(every).await;
    }
}

/// As [`until`], for a condition that says what is still missing.
pub async fn until_ok<F: Future<Output = Result<(), String>>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = std::time::Instant::now() + DEADLINE;
    while let Err(missing) = condition().await {
        assert!(std::time::Instant::now() < end, "not within {DEADLINE:?}: {what} {missing}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the admission policy of this name and its binding have been in force for so long that a BulkUpdate created now
/// counts as checked.
pub async fn policy_in_force(client: &Client, name: &str) {
    let (policies, bindings) = (
        Api::<ValidatingAdmissionPolicy>::all(client.clone()),
        Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()),
    );
    until("the admission policy is in force", || async {
        let made = [
            policies.get(name).await.unwrap().metadata.creation_timestamp.unwrap().0,
            bindings.get(name).await.unwrap().metadata.creation_timestamp.unwrap().0,
        ];
        // Ten seconds, and one more because timestamps have whole seconds.
        made.into_iter().all(|made| made + SignedDuration::from_secs(11) <= Timestamp::now())
    })
    .await;
}

/// Sends a signal, by its name without SIG, to a process that a test has started.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success(), "SIG{name} to {process}");
}

/// How much memory a process has, in kB, by the name of the line in `/proc/PID/status` (`VmRSS`: now, `VmHWM`: at the most).
pub fn memory(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with(&format!("{line}:"))).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

impl World {
    /// A namespace with the flag on for both kinds; the operator does not run yet.
    pub async fn new(name: &str) -> Self {
        static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let is_new = NAMES.lock().unwrap().insert(name.to_owned());
        assert!(is_new, "another test of this program uses the namespace {name}");
        let plane = ControlPlane::get();
        let client = plane.client().await;
        let namespace = name.to_owned();
        let since = plane.audited();
        plane.install_operator(&client, &namespace).await;
        let operator = Operator::new(plane, &client, &namespace).await;
        let (home, last_target) = (namespace.clone(), AtomicI64::new(0));
        let world = Self { client, namespace, home, operator, plane, last_target, since };
        world.flag(Some(ON)).await;
        world
    }

    /// As [`Self::new`], with targets and BulkUpdates in another namespace than the operator.
    pub async fn with_tenant(name: &str, tenant: &str) -> Self {
        Self::new(name).await.in_tenant(tenant).await
    }

    /// The same world with its targets and BulkUpdates in this namespace, which is created.
    pub async fn in_tenant(self, tenant: &str) -> Self {
        let new = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant}});
        control_plane::apply(&self.client, new).await;
        Self { namespace: tenant.to_owned(), ..self }
    }

    /// The same with the operator running, and its watches: if only its first list shows a BulkUpdate, its creation was
    /// not seen, so nothing from the same second counts as older.
    pub async fn running(name: &str) -> Self {
        let mut world = Self::new(name).await;
        world.operator.start(&[]);
        world.operator.until_ready().await;
        world
    }

    pub fn targets(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.api_resource())
    }

    pub fn bulk_updates(&self) -> Api<BulkUpdate> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn flags(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.home)
    }

    /// Sets the flag's text; `None` removes the ConfigMap.
    pub async fn flag(&self, text: Option<&str>) {
        let Some(text) = text else {
            self.flags().delete("ai-api-meta", &DeleteParams::default()).await.unwrap();
            return;
        };
        self.config_map(json!({"bulkUpdates": text})).await;
    }

    /// Sets what the ConfigMap holds.
    pub async fn config_map(&self, data: Value) {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ai-api-meta"}, "data": data});
        let params = PatchParams::apply("admin").force();
        self.flags().patch("ai-api-meta", &params, &Patch::Apply(map)).await.unwrap();
    }

    /// Creates a target with this spec and status; returns its uid.
    pub async fn target(&self, kind: Kind, name: &str, spec: Value, status: Value) -> String {
        self.try_target(kind, name, spec, status).await.unwrap()
    }

    async fn try_target(&self, kind: Kind, name: &str, spec: Value, status: Value) -> kube::Result<String> {
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind.name(),
            "metadata": {"name": name}, "spec": spec});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let made = self.targets(kind).create(&PostParams::default(), &object).await?;
        self.target_created(made.creation_timestamp().unwrap().0);
        // It may be gone by now.
        if status.as_object().is_none_or(|status| !status.is_empty()) {
            self.set_status(kind, name, status).await;
        }
        Ok(made.uid().unwrap())
    }

    /// As [`Self::own`], unless there is one of that name already.
    pub async fn own_unless_there(&self, kind: Kind, name: &str, state: &str) {
        match self.try_target(kind, name, json!({}), json!({"state": state})).await {
            Err(kube::Error::Api(refused)) if refused.code == 409 => {}
            made => drop(made.unwrap()),
        }
    }

    /// Creates a target without a `managedBy`, in this state; returns its uid.
    pub async fn own(&self, kind: Kind, name: &str, state: &str) -> String {
        self.target(kind, name, json!({}), json!({"state": state})).await
    }

    pub async fn set_status(&self, kind: Kind, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.targets(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The target as it is now, if there is one.
    pub async fn find(&self, kind: Kind, name: &str) -> Option<DynamicObject> {
        self.targets(kind).get_opt(name).await.unwrap()
    }

    /// Notes when a target was created in another way than by this type.
    pub fn target_created(&self, time: Timestamp) {
        self.last_target.fetch_max(time.as_second(), Ordering::Relaxed);
    }

    /// Waits for a second in which no target was created so far: an operator that was not running cannot know whether targets of the
    /// same second as a BulkUpdate are older than it.
    pub async fn next_second(&self) {
        let passed = || Timestamp::now().as_second() > self.last_target.load(Ordering::Relaxed);
        until("the next second", || std::future::ready(passed())).await;
    }

    /// Creates a BulkUpdate in a later second than the targets that there are.
    pub async fn submit(&self, name: &str, spec: Value) -> BulkUpdate {
        self.next_second().await;
        self.submit_at_once(name, spec).await
    }

    /// Creates a BulkUpdate.
    pub async fn submit_at_once(&self, name: &str, spec: Value) -> BulkUpdate {
        let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
            "metadata": {"name": name}, "spec": spec});
        let bulk: BulkUpdate = serde_json::from_value(bulk).unwrap();
        self.bulk_updates().create(&PostParams::default(), &bulk).await.unwrap()
    }

    /// Waits until `condition` holds for a BulkUpdate.
    pub async fn bulk_until(
        &self,
        name: &str,
        what: &str,
        condition: impl Fn(&BulkUpdate) -> bool,
    ) -> BulkUpdate {
        let wanted = |bulk: Option<&BulkUpdate>| bulk.is_some_and(&condition);
        let found = await_condition(self.bulk_updates(), name, wanted);
        if let Ok(found) = tokio::time::timeout(DEADLINE, found).await {
            return found.unwrap().unwrap();
        }
        let now = self.bulk_updates().get_opt(name).await.unwrap();
        panic!("not within {DEADLINE:?}: {what}; it is {now:#?}\n{}", self.operator.log());
    }

    /// Waits until a BulkUpdate is finished.
    pub async fn finished(&self, name: &str) -> BulkUpdateStatus {
        let is_finished = |b: &BulkUpdate| b.status.as_ref().is_some_and(|s| s.completion_time.is_some());
        self.bulk_until(name, "the end", is_finished).await.status.unwrap()
    }

    /// Creates a BulkUpdate and waits for its end.
    pub async fn carry_out(&self, name: &str, spec: Value) -> BulkUpdateStatus {
        self.submit(name, spec).await;
        self.finished(name).await
    }

    /// Waits until the Ready condition has this reason.
    pub async fn ready_reason(&self, name: &str, reason: &str) -> BulkUpdateStatus {
        let there = |b: &BulkUpdate| {
            let ready = b.status.as_ref().and_then(|s| s.condition("Ready"));
            ready.is_some_and(|c| c.reason == reason)
        };
        self.bulk_until(name, reason, there).await.status.unwrap()
    }

    /// The requests of the operator.
    pub fn requests(&self) -> Vec<audit::Request> {
        self.plane.requests_since(self.since, &self.operator.user)
    }

    /// The operator's writes to targets that the API server has accepted.
    pub fn writes(&self) -> Vec<audit::Request> {
        self.requests().into_iter().filter(|r| r.is_target_write() && r.succeeded()).collect()
    }

    /// The requests of all users about objects in the namespaces of this world.
    pub fn requests_of_all(&self) -> Vec<audit::Request> {
        let mut all = self.plane.requests_since(self.since, "");
        all.retain(|r| r.namespace == self.namespace || r.namespace == self.home);
        all
    }

    /// Removes the schema of these fields from a CRD.
    pub fn loosen(&self, crd: &str, parts: &[&str]) {
        let json = self.kubectl_ok(&["get", "crd", crd, "-o", "json"], "");
        let mut crd: Value = serde_json::from_str(&json).unwrap();
        let version = &mut crd["spec"]["versions"][0];
        // They have to be in the schema.
        version["selectableFields"] = json!(null);
        let schema = &mut version["schema"]["openAPIV3Schema"]["properties"];
        for part in parts {
            schema[part] = json!({"x-kubernetes-preserve-unknown-fields": true});
        }
        crd["metadata"]["managedFields"] = json!(null);
        self.kubectl_ok(&["replace", "-f", "-"], &crd.to_string());
    }

    /// Deletes the binding of the admission policy, without which no BulkUpdate is planned where the policy is required.
    pub fn delete_binding(&self) -> Value {
        let binding = ["validatingadmissionpolicybinding", "bulkupdates.aiapi.dev"];
        let json = self.kubectl_ok(&[&["get", "-o", "json"], binding.as_slice()].concat(), "");
        self.kubectl_ok(&[&["delete"], binding.as_slice()].concat(), "");
        serde_json::from_str(&json).unwrap()
    }

    /// Creates it again.
    pub fn restore_binding(&self, mut binding: Value) {
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            binding["metadata"].as_object_mut().unwrap().remove(field);
        }
        self.kubectl_ok(&["create", "-f", "-"], &binding.to_string());
    }

    /// Runs kubectl in this namespace as the admin; returns whether it succeeded, and what it printed.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> (bool, String) {
        self.plane.kubectl(&[&["--namespace", &self.namespace], arguments].concat(), input)
    }

    /// As [`Self::kubectl`], which must succeed.
    pub fn kubectl_ok(&self, arguments: &[&str], input: &str) -> String {
        let (ok, output) = self.kubectl(arguments, input);
        assert!(ok, "kubectl {arguments:?}: {output}");
        output
    }
}

/// The entry of one item.
pub fn item<'a>(status: &'a BulkUpdateStatus, kind: Kind, id: &str) -> &'a ItemStatus {
    let found = status.items(kind).iter().find(|i| *i.id == *id);
    found.unwrap_or_else(|| panic!("{id} is not in {status:#?}"))
}

/// Result and reason of an item, as one word or two.
pub fn outcome(status: &BulkUpdateStatus, kind: Kind, id: &str) -> String {
    let entry = item(status, kind, id);
    let reason = entry.reason.map(|r| format!(" {r:?}")).unwrap_or_default();
    format!("{:?}{reason}", entry.result)
}

/// Type, status and reason of each condition.
pub fn conditions(status: &BulkUpdateStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{} {} {}", c.type_, c.status, c.reason)).collect()
}

/// How many items have this result.
pub fn count(status: &BulkUpdateStatus, result: ItemResult) -> usize {
    let lists = Kind::ALL.map(|kind| status.items(kind));
    lists.into_iter().flatten().filter(|i| i.result == result).count()
}
