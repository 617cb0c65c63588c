//! Results of tasks.

/// The result of a task. No task is aborted and then waited for, so one without a result has panicked: the panic continues
/// here, and ends the process.
pub fn resume_panic<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
