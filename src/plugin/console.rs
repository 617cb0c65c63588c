//! The terminal: standard output for results, standard error for everything else, and the one question.

use std::{
    fmt::Display,
    io::{self, BufRead, IsTerminal, Write},
};

use rustix::termios::{QueueSelector, tcflush};

use super::{problem::Problem, signals::Signals};
use crate::tasks::resume_panic;

/// The narrowest width to which a table is cut.
const NARROWEST: usize = 40;

/// How the process talks to its user.
#[derive(Clone, Debug)]
pub struct Console {
    /// The width of the terminal that standard output is; absent if it is none.
    pub width: Option<usize>,
    /// Whether standard error is a terminal, on which a line may be drawn over.
    pub draws: bool,
    colors: bool,
    asks: bool,
}

/// What a word is about, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
}

#[allow(clippy::unused_self, reason = "who has no console does not talk to its user")]
impl Console {
    /// That of this process. Colours on a terminal only, and not with `NO_COLOR`.
    pub fn of_process() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        let width = terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
        Self {
            // A pseudo-terminal that nobody has sized has no columns.
            width: width
                .map(|size| size.ws_col.into())
                .filter(|columns| *columns > 0)
                .map(|columns: usize| columns.max(NARROWEST)),
            draws: io::stderr().is_terminal() && !dumb,
            colors: terminal && !dumb && !is_set("NO_COLOR"),
            asks: io::stdin().is_terminal() && io::stderr().is_terminal(),
        }
    }

    /// Prints a line to standard output.
    pub fn print(&self, text: impl Display) -> Result<(), Problem> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Prints to standard output what may be asked about; if that is not the terminal on which it is asked, there too.
    pub fn show(&self, text: impl Display, will_ask: bool) -> Result<(), Problem> {
        if will_ask && self.asks && !io::stdout().is_terminal() {
            self.note(&text);
        }
        self.print(text)
    }

    /// Prints a line to standard error; if that fails, there is nowhere to report it.
    pub fn note(&self, text: impl Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Asks a question, whose answer is no unless it is yes.
    ///
    /// # Errors
    /// If there is no terminal: nobody could answer. If it is interrupted.
    pub async fn ask(&self, question: &str) -> Result<bool, Problem> {
        if !self.asks {
            let why = "standard input and standard error must be a terminal for the question whether to go on; add --yes to go on \
                       without it, or --dry-run=client to see only what was chosen";
            return Err(Problem::Usage(why.into()));
        }
        let mut signals = Signals::new()?;
        // What was typed before the question was there does not answer it.
        tcflush(io::stdin(), QueueSelector::IFlush).map_err(io::Error::from)?;
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let _ = io::stderr().flush();
        let read = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            io::stdin().lock().read_line(&mut answer).map(|_| answer)
        });
        let answer = tokio::select! {
            () = signals.recv() => {
                self.note("");
                return Err(Problem::CalledOff);
            }
            read = read => resume_panic(read)?,
        };
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// The word in the colour of its tone.
    pub fn toned(&self, word: impl Display, tone: Tone) -> String {
        let color = if tone == Tone::Good { 32 } else { 31 };
        if self.colors { format!("\u{1b}[{color}m{word}\u{1b}[0m") } else { word.to_string() }
    }
}
