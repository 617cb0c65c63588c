//! The operator against a real API server. The tests run in parallel on one control plane, each in its own namespaces,
//! with an operator that watches only those. Tests that change cluster-wide objects, such as CRDs, belong to
//! `tests/exclusive`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod after_a_crash;
mod blind;
mod cost;
mod flag;
mod hundred;
mod installations;
mod lifecycle;
mod managed_by;
mod manifests;
mod odd_objects;
mod rights;
mod states;
mod upgrade;
mod work_manifests;
