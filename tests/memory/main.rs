//! How much memory the operator uses: allocations, counted in this process, and the resident memory of the built
//! binary. One test at a time, so that nothing else allocates meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]

mod allocations;
mod resident;
mod under_way;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Each test holds it.
static ALONE: Mutex<()> = Mutex::const_new(());
