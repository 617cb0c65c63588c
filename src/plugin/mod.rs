//! `kubectl aiapi`: chooses Executions and Deployments, shows what would happen, sends BulkUpdates, and follows them.
//!
//! With nobody's rights but its user's, and nothing that plain manifests could not do. Choosing, splitting and counting are pure
//! functions; `session` holds the client, and `console` is the only way to the terminal.

mod adopt;
mod arguments;
mod batches;
mod cancel;
mod check;
mod choice;
mod completion;
mod console;
mod explain;
mod follow;
mod found;
mod get;
mod meta;
mod modify;
mod named;
mod names;
mod preflight;
mod problem;
mod progress;
mod record;
mod resume;
mod retry;
mod selection;
mod session;
mod show;
mod signals;
mod status;
mod table;

use std::{path::Path, process::ExitCode};

use clap::{CommandFactory, Parser};

use self::{
    arguments::{Arguments, Command},
    console::Console,
    problem::Problem,
    session::Session,
};

/// Runs the plugin with the arguments of this process.
pub fn run() -> ExitCode {
    let console = Console::of_process();
    let arguments = match Arguments::try_parse_from(completion::words(std::env::args_os())) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            console.note(error.render());
            return ExitCode::from(problem::USAGE);
        }
        Err(help) => return finished(&console, console.print(help.render().to_string().trim_end())),
    };
    let ended = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = ended.map_err(|error| Problem::Failed(error.to_string()));
    let ended = ended.and_then(|runtime| {
        let ended = runtime.block_on(dispatch(arguments, &console));
        // A question that nobody has answered is not waited for.
        runtime.shutdown_background();
        ended
    });
    finished(&console, ended)
}

fn finished(console: &Console, ended: Result<(), Problem>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            if let Some(text) = problem.text() {
                console.note(format_args!("error: {text}"));
            }
            ExitCode::from(problem.exit_code())
        }
    }
}

/// Writes a man page for the plugin and for each of its subcommands.
fn man(folder: &Path) -> Result<(), Problem> {
    // Of each page, the name is what one types.
    Ok(clap_mangen::generate_to(Arguments::command().display_name("kubectl-aiapi"), folder)?)
}

async fn dispatch(arguments: Arguments, console: &Console) -> Result<(), Problem> {
    let Arguments { cluster, command } = arguments;
    let own = console.clone();
    signals::end_where_nobody_listens(move || own.note("Interrupted"))?;
    let connect = || Session::connect(&cluster, console);
    match command {
        Command::Stop(arguments) => modify::stop(&connect()?, &arguments).await,
        Command::Delete(arguments) => modify::delete(&connect()?, &arguments).await,
        Command::Resume(arguments) => resume::resume(&connect()?, &arguments).await,
        Command::Cancel(arguments) => cancel::cancel(&connect()?, &arguments).await,
        Command::Retry(arguments) => retry::retry(&connect()?, &arguments).await,
        Command::Adopt(arguments) => adopt::adopt(&connect()?, &arguments).await,
        Command::Get(arguments) => get::get(&connect()?, &arguments).await,
        Command::Status(arguments) => status::status(&connect()?, &arguments).await,
        Command::Meta(arguments) => meta::meta(&connect()?, &arguments).await,
        Command::Check => check::check(&connect()?).await,
        Command::Explain(arguments) => explain::explain(console, &arguments),
        Command::Man(arguments) => man(&arguments.folder),
        Command::Complete(arguments) => completion::complete(&cluster, console, &arguments).await,
    }
}
