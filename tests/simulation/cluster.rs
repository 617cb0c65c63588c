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

/// The binding of the operator's `ClusterRole`, and of its Role.
pub const RIGHTS: &str = include_str!("../../deploy/base/clusterrolebinding.yaml");
pub const OWN_RIGHTS: &str = MANIFESTS[7];

/// A cluster in which the policy has been in force for a minute.
pub fn fresh(setup: &Setup) -> Server {
    type Made = Vec<((Kubernetes, bool, bool), Server)>;
    thread_local! {
        static MADE: RefCell<Made> = const { RefCell::new(Vec::new()) };
    }
    let wanted = (setup.kubernetes, setup.loose, setup.managed_fields);
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

/// Gives a user the role in a namespace.
pub fn role_binding(namespace: &str, who: Who) -> String {
    let role = match who {
        Who::Admin => "cluster-admin",
        Who::Editor => "aiapi-editor",
        Who::Stopper => "stopper",
        Who::Viewer => "aiapi-viewer",
    };
    let user = who.token();
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: {user}, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
         subjects:\n- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}\n"
    )
}

/// Who has the token.
pub fn user_of(token: &str) -> User {
    let named = |name: &str| User::Named { name: name.into(), groups: Vec::new() };
    match token {
        "editor" | "stopper" | "viewer" => named(token),
        "admin" => User::Admin,
        _ => User::Unknown,
    }
}

impl Who {
    pub const fn token(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Stopper => "stopper",
            Self::Viewer => "viewer",
        }
    }

    pub fn user(self) -> User {
        user_of(self.token())
    }
}
