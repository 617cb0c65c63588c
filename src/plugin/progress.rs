//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;

/// How often a line is printed where there is no terminal, at most.
const LINES: Duration = Duration::from_secs(5);

/// How many items of a run are at which point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: usize,
    /// Accepted by the API server, but not seen to have taken hold.
    pub scheduled: usize,
    pub settled: usize,
    /// Of a dry run: would be carried out.
    pub eligible: usize,
    pub refused: usize,
    pub failed: usize,
}

impl Counts {
    /// How many are over.
    pub const fn over(&self) -> usize {
        self.settled + self.eligible + self.refused + self.failed
    }

    /// In words, without zeros.
    pub fn text(&self) -> String {
        let parts = [
            (self.settled, "settled"),
            (self.eligible, "eligible"),
            (self.scheduled, "scheduled"),
            (self.refused, "refused"),
            (self.failed, "failed"),
        ];
        let said =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        let said: Vec<_> = said.collect();
        if said.is_empty() { "nothing yet".into() } else { said.join(", ") }
    }
}

pub struct Progress {
    console: Console,
    bar: ProgressBar,
    started: Instant,
    /// What was printed last, and when.
    printed: (Instant, Counts),
}

impl Progress {
    pub fn new(console: &Console) -> Self {
        let target = if console.draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        let started = Instant::now();
        Self { console: console.clone(), bar, started, printed: (started, Counts::default()) }
    }

    pub fn show(&mut self, counts: Counts) {
        let seconds = self.started.elapsed().as_secs_f64().max(0.1);
        let rate = f64::from(u32::try_from(counts.over()).unwrap_or(u32::MAX)) / seconds;
        self.bar.set_length(counts.total as u64);
        self.bar.set_position(counts.over() as u64);
        self.bar.set_message(format!("{}, {rate:.0}/s", counts.text()));
        let (at, before) = self.printed;
        let is_due = at.elapsed() >= LINES && before != counts;
        if !self.console.draws && is_due && counts.over() < counts.total {
            self.printed = (Instant::now(), counts);
            self.console.note(format_args!("{} of {}: {}", counts.over(), counts.total, counts.text()));
        }
    }

    /// Says something without disturbing the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| self.console.note(text));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
