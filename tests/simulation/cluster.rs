//! The cluster as it is before anything happens: the shipped manifests, two namespaces of users, and their rights.

use std::{cell::RefCell, fmt::Write};

use api_server::{Kubernetes, Server, User};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::story::{Setup, Who};

/// Where users have their objects.
pub const NAMESPACES: [&str; 2] = ["team-a", "team-b"];

/// Where the operator runs.
pub const HOME: &str = "ai-api-system";

/// The name of the flag's ConfigMap.
pub const META: &str = "ai-api-meta";

/// The name of the policy and its binding.
pub const POLICY: &str = "bulkupdates.aiapi.dev";

/// When each life begins: at noon on January 5th, 2026.
pub const EPOCH: Timestamp = Timestamp::constant(1_767_614_400, 0);

/// The API server's time so many milliseconds later.
pub fn time_at(now: u64) -> Timestamp {
    EPOCH + SignedDuration::from_millis(i64::try_from(now).unwrap())
}

/// How many of the manifests are CRDs.
const CRDS: usize = 3;

const MANIFESTS: [&str; 10] = [
    include_str!("../../crds/bulkupdates.aiapi.dev.yaml"),
    include_str!("../../crds/deployments.aiapi.dev.yaml"),
    include_str!("../../crds/executions.aiapi.dev.yaml"),
    include_str!("../../deploy/installation/namespace.yaml"),
    include_str!("../../deploy/cluster/rbac.yaml"),
    include_str!("../../deploy/cluster/people.yaml"),
    include_str!("../../deploy/cluster/admission.yaml"),
    include_str!("../../deploy/installation/rbac.yaml"),
    concat!(
        include_str!("../../deploy/base/clusterrolebinding.yaml"),
        "---\n",
        include_str!("../../deploy/base/clusterrolebinding-admission.yaml")
    ),
    include_str!("../../deploy/gateway/rbac.yaml"),
];

/// The shipped policy and binding.
pub const ADMISSION: &str = MANIFESTS[6];

/// The policy and binding for what runs, and the operator's rights about that.
pub const WORK_ADMISSION: &str = include_str!("../../deploy/cluster/work-admission.yaml");
pub const WORK_POLICY: &str = "work.aiapi.dev";
pub const ENGINE_RIGHTS: [&str; 3] = [
    include_str!("../../deploy/components/engine-job/rbac.yaml"),
    include_str!("../../deploy/components/engine-deployment/rbac.yaml"),
    include_str!("../../deploy/components/engine-jobset/rbac.yaml"),
];

/// The bindings among these.
pub const ENGINES: [&str; 3] =
    ["ai-api-operator-engine-job", "ai-api-operator-engine-deployment", "ai-api-operator-engine-jobset"];

/// The binding of the operator's `ClusterRole`, and of its Role.
pub const RIGHTS: &str = include_str!("../../deploy/base/clusterrolebinding.yaml");
pub const OWN_RIGHTS: &str = MANIFESTS[7];

/// A cluster in which the policy has been in force for a minute.
pub fn fresh(setup: &Setup) -> Server {
    type Made = Vec<((Kubernetes, [bool; 3]), Server)>;
    thread_local! {
        static MADE: RefCell<Made> = const { RefCell::new(Vec::new()) };
    }
    let wanted = (setup.kubernetes, [setup.loose, setup.managed_fields, setup.works]);
    MADE.with_borrow_mut(|made| {
        if let Some((_, server)) = made.iter().find(|(of, _)| *of == wanted) {
            return server.fork();
        }
        let server = new(setup);
        made.push((wanted, server.clone()));
        server.fork()
    })
}

/// A CRD without a schema for spec and status.
fn loosened(manifest: &str) -> String {
    let mut crd: Value = serde_saphyr::from_str(manifest).unwrap();
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    for part in ["spec", "status"] {
        schema[part] = json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    crd.to_string()
}

fn new(setup: &Setup) -> Server {
    let server = Server::new(setup.kubernetes, EPOCH - SignedDuration::from_mins(1));
    if !setup.managed_fields {
        server.leave_out_managed_fields();
    }
    for manifest in MANIFESTS {
        server.apply(manifest);
    }
    if setup.loose {
        MANIFESTS[..CRDS].iter().for_each(|manifest| server.apply(&loosened(manifest)));
    }
    server.apply(&users());
    if setup.works {
        server.apply(WORK_ADMISSION);
        for manifest in ENGINE_RIGHTS {
            server.apply(manifest);
        }
        server.apply(&trainers());
    }
    server.set_time(EPOCH);
    server
}

/// The namespaces and rights of the users, and the flag.
fn users() -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {META}, namespace: {HOME}}}\n\
         data:\n  bulkUpdates: '{{\"executions\": true, \"deployments\": true}}'\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: stopper}}\nrules:\n\
         - {{apiGroups: [aiapi.dev], resources: [bulkupdates], verbs: [get, list, watch, create]}}\n\
         - {{apiGroups: [aiapi.dev], resources: [executions, deployments], verbs: [get, list, watch, stop]}}\n"
    );
    for namespace in NAMESPACES {
        let _ = write!(text, "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        for user in [Who::Editor, Who::Stopper, Who::Viewer] {
            text.push_str(&role_binding(namespace, user));
        }
    }
    text
}

/// Those who may run something, and the rights of others to create what runs for them: the policy is in their way.
fn trainers() -> String {
    let mut text = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: trainer}\nrules:\n\
         - {apiGroups: [aiapi.dev], resources: [bulkupdates, executions, deployments], verbs: ['*']}\n\
         - {apiGroups: [batch, apps, jobset.x-k8s.io], resources: [jobs, deployments, jobsets], verbs: ['*']}\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: creator}\nrules:\n\
         - {apiGroups: [aiapi.dev], resources: [executions, deployments], verbs: [create, patch]}\n"
        .to_owned();
    for namespace in NAMESPACES {
        text.push_str(&role_binding(namespace, Who::Trainer));
        text.push_str(&binding_of(namespace, "creator", Who::Editor.token(), "creator"));
    }
    text
}

/// Gives a user the role in a namespace.
pub fn role_binding(namespace: &str, who: Who) -> String {
    let role = match who {
        Who::Admin => "cluster-admin",
        Who::Editor => "aiapi-editor",
        Who::Trainer => "trainer",
        Who::Stopper => "stopper",
        Who::Viewer => "aiapi-viewer",
    };
    let user = who.token();
    binding_of(namespace, user, user, role)
}

fn binding_of(namespace: &str, name: &str, user: &str, role: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
         subjects:\n- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}\n"
    )
}

/// Who has the token.
pub fn user_of(token: &str) -> User {
    let named = |name: &str| User::Named { name: name.into(), groups: Vec::new() };
    match token {
        "editor" | "trainer" | "stopper" | "viewer" => named(token),
        "admin" => User::Admin,
        _ => User::Unknown,
    }
}

impl Who {
    pub const fn token(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Trainer => "trainer",
            Self::Stopper => "stopper",
            Self::Viewer => "viewer",
        }
    }

    pub fn user(self) -> User {
        user_of(self.token())
    }
}
