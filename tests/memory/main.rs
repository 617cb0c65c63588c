//! How much memory the operator takes: what it allocates, counted in this process, and what is resident of its own. One test
//! at a time, so that nothing else allocates meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]

mod allocations;
mod resident;
mod under_way;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Whoever measures holds it.
static ALONE: Mutex<()> = Mutex::const_new(());
