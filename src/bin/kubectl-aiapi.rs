//! The kubectl plugin: `kubectl aiapi`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ai_api_operator::plugin::run()
}
