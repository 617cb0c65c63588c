//! The worlds of Jobs and Deployments.

use support::World;
pub use support::on_nodes::{pods, state, status};

/// The components whose permissions the operator gets.
const ENGINES: [&str; 2] = ["engine-job", "engine-deployment"];

/// A world on nodes, in which the operator runs and may run Jobs and Deployments.
pub async fn world(name: &str) -> World {
    support::on_nodes::world(name, &ENGINES).await
}
