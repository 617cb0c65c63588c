//! The engines, a file each.

mod job;

use super::engine::Engine;
use crate::api::EngineKind;

/// All of them.
pub static ENGINES: &[&Engine] = &[&job::JOB];

/// The engine of this kind.
pub fn of(kind: EngineKind) -> Option<&'static Engine> {
    ENGINES.iter().copied().find(|engine| engine.kind == kind)
}

#[cfg(test)]
mod tests;
