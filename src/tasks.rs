//! What tasks leave behind when they panic: their results, and the locks that they held.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The result of a task. No task is aborted and then waited for, so one without a result has panicked: the panic continues
/// here, and ends the process.
pub fn resume_panic<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Locks it. A panic elsewhere ends the process; until then the data is consistent, because nothing that holds such a lock
/// panics halfway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
