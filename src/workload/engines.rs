//! The engines, a file each.

mod deployment;
mod inference_service;
mod job;
mod job_set;
mod ray_job;
mod workflow;

use super::engine::Engine;

/// All of them.
pub static ENGINES: &[&Engine] = &[
    &job::JOB,
    &job_set::JOB_SET,
    &ray_job::RAY_JOB,
    &workflow::WORKFLOW,
    &deployment::DEPLOYMENT,
    &inference_service::INFERENCE_SERVICE,
];

/// The engine with this `apiVersion` and `kind`, if it is known.
pub fn find(api_version: &str, kind: &str) -> Option<&'static Engine> {
    ENGINES.iter().copied().find(|engine| engine.kind == kind && engine.api_version() == api_version)
}

#[cfg(test)]
pub(crate) mod tests;
