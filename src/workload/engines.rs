//! The engines, a file each.

mod deployment;
mod inference_service;
mod job;
mod job_set;
mod ray_job;
mod workflow;

use super::engine::Engine;
use crate::api::EngineKind;

/// All of them.
pub static ENGINES: &[&Engine] = &[
    &job::JOB,
    &job_set::JOB_SET,
    &ray_job::RAY_JOB,
    &workflow::WORKFLOW,
    &deployment::DEPLOYMENT,
    &inference_service::INFERENCE_SERVICE,
];

/// The engine of this kind.
pub fn of(kind: EngineKind) -> Option<&'static Engine> {
    ENGINES.iter().copied().find(|engine| engine.kind == kind)
}

#[cfg(test)]
pub(crate) mod tests;
