//! Workloads that really run: on a control plane with nodes, where KWOK plays the kubelet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod bulk;
mod deployment;
mod environment;
mod job;
mod on_nodes;
mod people;
