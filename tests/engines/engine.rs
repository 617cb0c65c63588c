//! What the tests of the life of a workload have to know of an engine, and where it runs.

use std::sync::Once;

use ai_api_operator::api::{EngineKind, Kind};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::DynamicObject, core::ApiResource};
use serde_json::{Value, json};
use support::{World, control_plane::ControlPlane, on_nodes, until};

use crate::{
    history::{Change, History},
    kueue, ray,
};

/// The folders of dev/engines, as the variable `ENGINES` chooses them.
pub const FOLDERS: [&str; 5] = ["jobset", "argo-workflows", "kserve", "kuberay", "kueue"];

/// An engine, alone or with Kueue before it.
pub struct Engine {
    /// Its row of the table.
    pub name: &'static str,
    pub kind: EngineKind,
    /// The components whose permissions the operator gets.
    pub components: &'static [&'static str],
    /// What a template has besides apiVersion and kind.
    pub template: fn() -> Value,
    /// How many Pods run.
    pub pods: usize,
    /// Whether a change shows that a stop was requested.
    pub is_stop: fn(&Change) -> bool,
}

/// The name of the one Execution or Deployment that most tests have.
pub const NAME: &str = "work-1";

impl Engine {
    /// A world with its controller, in which the operator runs and may run it.
    pub async fn world(&self, name: &str) -> World {
        start_engines();
        let world = on_nodes::world(name, self.components).await;
        if self.is_queued() {
            kueue::create_queue(&world, self.pods).await;
        } else if is_chosen("kueue") {
            // Where Kueue is, the operator stops nothing before it has looked whether Kueue manages it.
            world.may_run("engine-kueue").await;
        }
        world
    }

    fn is_queued(&self) -> bool {
        self.components.contains(&"engine-kueue")
    }

    /// Begins to watch what runs, and whom it belongs to.
    pub async fn history(&self, world: &World) -> History {
        let mut all =
            vec![ApiResource::erase::<Pod>(&()), self.kind.of().api_resource(), self.kind.api_resource()];
        if self.is_queued() {
            all.push(kueue::workloads());
        }
        History::of(world, &all).await
    }

    /// A world in which it runs under this name and is watched.
    pub async fn running_in(&self, namespace: &str, name: &str) -> (World, History) {
        let world = self.world(namespace).await;
        let history = self.history(&world).await;
        self.create(&world, name).await;
        self.running(&world, name).await;
        (world, history)
    }

    pub fn of(&self) -> Kind {
        self.kind.of()
    }

    /// The spec of an Execution or Deployment that runs it.
    pub fn spec(&self) -> Value {
        let mut template = (self.template)();
        template["apiVersion"] = self.kind.api_version().into();
        template["kind"] = self.kind.kind().into();
        json!({"template": template})
    }

    /// Its objects.
    pub fn objects(&self, world: &World) -> Api<DynamicObject> {
        Api::namespaced_with(world.client.clone(), &world.namespace, &self.kind.api_resource())
    }

    /// Creates an Execution or Deployment that runs it.
    pub async fn create(&self, world: &World, name: &str) {
        world.target(self.of(), name, self.spec(), json!({})).await;
    }

    /// Waits for a state; returns the status then.
    pub async fn state(&self, world: &World, name: &str, wanted: &str) -> Value {
        on_nodes::state(world, self.of(), name, wanted).await
    }

    /// Waits until it is RUNNING, and all its Pods are there, and no others.
    pub async fn running(&self, world: &World, name: &str) {
        self.state(world, name, "RUNNING").await;
        until("its Pods", || async { on_nodes::pods(world).await == self.pods }).await;
    }

    /// The items of a BulkUpdate.
    pub fn request(&self, name: &str, target_status: &str) -> Value {
        json!({format!("{}s", self.of().name().to_lowercase()): [{"id": name, "targetStatus": target_status}]})
    }
}

/// Starts the controllers of the chosen engines, and then the nodes: the first call does.
fn start_engines() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        for engine in FOLDERS.into_iter().filter(|folder| is_chosen(folder)) {
            let ray = [("HTTP_PROXY", ray::proxy())];
            let environment = if engine == "kuberay" { &ray[..] } else { &[] };
            ControlPlane::get().start_engine(engine, environment);
        }
        ControlPlane::with_nodes();
    });
}

/// Whether the variable `ENGINES` has this engine.
pub fn is_chosen(folder: &str) -> bool {
    std::env::var("ENGINES").is_ok_and(|all| all.split_whitespace().any(|one| one == folder))
}
