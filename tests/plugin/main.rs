//! `kubectl aiapi` as its users run it: the program itself, with a kubeconfig of its user, who has the shipped role of an editor in one
//! namespace and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod adopt;
mod choosing;
mod commands;
mod failures;
mod faults;
mod interrupted;
mod manifests;
mod nightly;
mod plugin;
mod proxy;
mod release;
mod terminal;
