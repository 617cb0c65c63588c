//! Tasks that have ended.

/// What a task of the operator's has returned. None is aborted and then waited for, so that one which did not end by
/// itself has panicked: the panic goes on here, and ends the process.
pub fn resume_panic<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
