//! The operator against a real API server. All tests share one control plane: each has namespaces of its own, with an
//! operator that watches no others, and none changes what all of them rest on (`tests/exclusive` has those that do).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod after_a_crash;
mod blind;
mod cost;
mod flag;
mod hundred;
mod installations;
mod lifecycle;
mod manifests;
mod odd_objects;
mod rights;
mod same_second;
mod states;
mod upgrade;
