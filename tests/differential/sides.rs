//! The two servers, and how a request is sent to each.

use api_server::{Answer, Kubernetes, Server, User};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use support::{
    DEADLINE,
    control_plane::{self, ControlPlane},
    etcd, until,
};

use crate::place::Kind;

/// The users, by the end of their names: what they may do in the namespace of a sequence.
pub const USERS: [(&str, Option<&str>); 6] = [
    ("admin", None),
    ("editor", Some("aiapi-editor")),
    ("viewer", Some("aiapi-viewer")),
    ("operator", Some("ai-api-operator")),
    ("author", Some("differential-author")),
    ("nobody", None),
];

/// A role that the shipped ones do not have: to create and change requests without any right to what they ask for.
fn author() -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "differential-author"},
        "rules": [{"apiGroups": ["aiapi.dev"], "resources": ["bulkupdates"], "verbs": ["get", "create", "update", "patch"]}]})
}

pub struct Sides {
    real: Client,
    simulated: Server,
}

/// The answer of one side.
pub struct Answered {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Sides {
    pub async fn start() -> Self {
        let plane = ControlPlane::get();
        let real = plane.client().await;
        let version = real.apiserver_version().await.unwrap();
        let kubernetes = match version.minor.as_str() {
            "33" => Kubernetes::V1_33,
            _ => Kubernetes::V1_37,
        };
        let simulated = Server::new(kubernetes, Timestamp::now());
        let kinds = [
            "CustomResourceDefinition",
            "ClusterRole",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ];
        // The simulated one does not evaluate the policy for what runs.
        let work =
            ["validatingadmissionpolicy/work.aiapi.dev", "validatingadmissionpolicybinding/work.aiapi.dev"];
        let (ok, output) = plane.kubectl(&["delete", work[0], work[1]], "");
        assert!(ok, "{output}");
        for manifest in plane.manifests("cluster") {
            if manifest["metadata"]["name"] == "work.aiapi.dev" {
                continue;
            }
            if kinds.contains(&manifest["kind"].as_str().unwrap()) {
                simulated.apply(&manifest.to_string());
            }
        }
        simulated.apply(&author().to_string());
        control_plane::apply(&real, author()).await;
        // Both forget how they came to be. The real server does so by itself after some minutes.
        etcd::compact(plane).await;
        simulated.compact(simulated.revision());
        let sides = Self { real, simulated };
        let namespace = "differential";
        sides.prepare(namespace).await;
        let mut request = Kind::BulkUpdate.example(namespace);
        request["metadata"]["name"] = "checked".into();
        let uri = format!("{}?dryRun=All", Kind::BulkUpdate.path(namespace));
        let author = format!("{namespace}-author");
        until("the admission policy is enforced", || async {
            let create = Request::post(&uri).header("content-type", "application/json");
            let create = create.body(request.to_string().into()).unwrap();
            let refused = sides.send_real(&author, create).await;
            String::from_utf8_lossy(&refused.body).contains("ValidatingAdmissionPolicy")
        })
        .await;
        sides
    }

    /// A simulated server of its own, and both with a namespace where the users have their rights.
    pub async fn prepare(&self, namespace: &str) -> Server {
        let simulated = self.simulated.fork();
        simulated.set_time(Timestamp::now());
        let mut manifests =
            vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})];
        for (user, role) in USERS {
            let Some(role) = role else { continue };
            let group = "rbac.authorization.k8s.io";
            manifests.push(json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
                "metadata": {"name": user, "namespace": namespace},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": group, "kind": "User", "name": format!("{namespace}-{user}")}]}));
        }
        for manifest in manifests {
            simulated.apply(&manifest.to_string());
            control_plane::apply(&self.real, manifest).await;
        }
        let last = format!("{namespace}-author");
        until("the last binding is known", || async {
            let request =
                Request::get(format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/bulkupdates/none"));
            self.send_real(&last, request.body(Bytes::new()).unwrap()).await.code == 404
        })
        .await;
        simulated
    }

    pub async fn leave(&self, namespace: &str) {
        let request = Request::delete(format!("/api/v1/namespaces/{namespace}")).body(Bytes::new()).unwrap();
        self.send_real("admin", request).await;
    }

    fn to_real(user: &str, mut request: Request<Bytes>) -> Request<Body> {
        if !user.ends_with("admin") {
            request.headers_mut().insert("impersonate-user", user.parse().unwrap());
        }
        request.map(Body::from)
    }

    pub async fn send_real(&self, user: &str, request: Request<Bytes>) -> Answered {
        let response = self.real.send(Self::to_real(user, request)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(DEADLINE, body.collect()).await.unwrap();
        Answered { code: head.status.as_u16(), headers: head.headers, body: body.unwrap().to_bytes() }
    }

    /// Waits until the real server's cache of a kind has all that was written so far: a list without a resource version does.
    pub async fn update_cache(&self, list: &str) {
        self.send_real("admin", Request::get(list).body(Bytes::new()).unwrap()).await;
    }

    /// Starts a watch on the real server.
    pub async fn watch_real(&self, user: &str, request: Request<Bytes>) -> Response<Body> {
        self.real.send(Self::to_real(user, request)).await.unwrap()
    }
}

/// Sends a request to a simulated server.
pub fn send_simulated(server: &Server, user: &str, request: Request<Bytes>) -> Answer {
    server.set_time(Timestamp::now());
    let user = if user.ends_with("admin") {
        User::Admin
    } else {
        User::Named { name: user.to_owned(), groups: Vec::new() }
    };
    let agent = request.headers()["user-agent"].to_str().unwrap().to_owned();
    server.handle(&user, &agent, request)
}
