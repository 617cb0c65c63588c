//! Why a command ends without everything done, and with which exit code.

use std::io;

use crate::{client::Failure, misconfigured::Misconfigured};

/// The exit code of a command line that cannot be carried out.
pub const USAGE: u8 = 2;
/// The exit code of what was called off.
pub const CALLED_OFF: u8 = 4;
/// After a closed pipe (128 + SIGPIPE), as in `kubectl aiapi get | head -1`: kubectl has the same.
const CLOSED_PIPE: u8 = 141;

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The command line, or what it refers to, makes no sense: nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// It failed, for the reason in the sentence.
    #[error("{0}")]
    Failed(String),
    /// Some items were refused or failed, as was said before.
    #[error("not everything was done")]
    NotAllDone,
    /// The time that the command was given is over, as was said before.
    #[error("timed out")]
    TimedOut,
    /// Its user, or somebody else, called it off, as was said before.
    #[error("called off")]
    CalledOff,
    #[error("standard output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Problem {
    /// What is still to be said about it.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::NotAllDone | Self::TimedOut | Self::CalledOff => None,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            _ => Some(self.to_string()),
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => CLOSED_PIPE,
            Self::Failed(_) | Self::NotAllDone | Self::Output(_) => 1,
            Self::Usage(_) => USAGE,
            Self::TimedOut => 3,
            Self::CalledOff => CALLED_OFF,
        }
    }
}

impl From<Misconfigured> for Problem {
    fn from(problem: Misconfigured) -> Self {
        Self::Usage(problem.to_string())
    }
}

/// What a failed request means for the one who asked for `what`.
pub fn failed(what: impl std::fmt::Display, failure: &Failure) -> Problem {
    Problem::Failed(match failure {
        Failure::NotServed(_) => format!(
            "{what}: this cluster does not serve aiapi.dev/v1alpha1; install ai-api-operator first (kubectl aiapi check)"
        ),
        Failure::Refused { code: 401, message, .. } => {
            format!("{what}: the cluster does not accept your credentials ({message}); log in again")
        }
        Failure::Refused { code: 403, message, .. } => {
            format!(
                "{what}: you are not permitted to ({message}); ask an administrator for a role, see docs/security.md"
            )
        }
        Failure::NotSent(why) | Failure::NoAnswer(why) => {
            format!("{what}: the API server cannot be reached ({why})")
        }
        failure => format!("{what}: {failure}"),
    })
}
