//! The results: each figure beside the bare client's of the same round, as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

use serde_json::{Value, json};
use support::built;

use crate::machine::Machine;

/// Which value of a figure has a limit.
#[derive(Clone, Copy)]
pub enum Of {
    /// The median of the ratios to the bare client.
    Ratio,
    /// The median.
    Median,
    /// The highest.
    Highest,
}

/// The goal of a figure.
#[derive(Clone, Copy)]
pub struct Goal {
    of: Of,
    at_most: bool,
    limit: f64,
}

/// At most this.
pub const fn at_most(of: Of, limit: f64) -> Goal {
    Goal { of, at_most: true, limit }
}

/// At least this.
pub const fn at_least(of: Of, limit: f64) -> Goal {
    Goal { of, at_most: false, limit }
}

/// One figure: a value for each round, and the bare client's.
pub struct Figure {
    group: &'static str,
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    bare: Vec<f64>,
    /// How many rounds make a ratio.
    together: usize,
    goal: Option<Goal>,
}

/// How many rounds make a ratio where the order alternates from round to round: two, if there are enough. The one that
/// goes first may be slowed down by the API server's garbage collection after the targets were created.
const fn in_turns(rounds: usize) -> usize {
    if rounds >= 10 { 2 } else { 1 }
}

impl Figure {
    /// The ratio to the bare client's.
    fn ratios(&self) -> Vec<f64> {
        let parts = self.values.chunks(self.together).zip(self.bare.chunks(self.together));
        parts.map(|(values, bare)| values.iter().sum::<f64>() / bare.iter().sum::<f64>()).collect()
    }

    /// The value that the goal is about.
    fn reached_value(&self) -> Option<f64> {
        self.goal.map(|goal| match goal.of {
            Of::Ratio => percentile(&self.ratios(), 50),
            Of::Median => percentile(&self.values, 50),
            Of::Highest => percentile(&self.values, 100),
        })
    }

    fn reached(&self) -> Option<bool> {
        let (goal, value) = (self.goal?, self.reached_value()?);
        Some(if goal.at_most { value <= goal.limit } else { value >= goal.limit })
    }

    fn row(&self) -> String {
        let of = |values: &[f64], percent| {
            if values.is_empty() { String::new() } else { short(percentile(values, percent)) }
        };
        let ratios = self.ratios();
        let spread = if ratios.is_empty() {
            if self.values.len() < 2 {
                String::new()
            } else {
                format!("values {} to {}", of(&self.values, 0), of(&self.values, 100))
            }
        } else {
            format!("{} to {}", of(&ratios, 0), of(&ratios, 100))
        };
        let goal = match (self.goal, self.reached()) {
            (Some(goal), Some(reached)) => {
                let sign = if goal.at_most { "≤" } else { "≥" };
                let what = if matches!(goal.of, Of::Ratio) { "× " } else { "" };
                let outcome = if reached { "reached" } else { "**missed**" };
                format!("{what}{sign} {}: {outcome}", short(goal.limit))
            }
            _ => String::new(),
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {spread} | {} | {goal} |",
            self.group,
            self.name,
            self.unit,
            of(&self.values, 50),
            of(&self.values, 95),
            of(&self.bare, 50),
            of(&self.bare, 95),
            of(&ratios, 50),
            self.values.len()
        )
    }

    fn json(&self) -> Value {
        let summary = |values: &[f64]| {
            if values.is_empty() {
                return Value::Null;
            }
            let at = |percent| percentile(values, percent);
            json!({"p50": at(50), "p95": at(95), "min": at(0), "max": at(100), "rounds": values})
        };
        let mut value = json!({"group": self.group, "name": self.name, "unit": self.unit,
            "operator": summary(&self.values), "bare": summary(&self.bare), "ratio": summary(&self.ratios())});
        if let Some(goal) = self.goal {
            value["goal"] = json!({
                "of": match goal.of { Of::Ratio => "ratio p50", Of::Median => "p50", Of::Highest => "max" },
                (if goal.at_most { "atMost" } else { "atLeast" }): goal.limit,
                "value": self.reached_value(),
                "reached": self.reached(),
            });
        }
        value
    }
}

/// What was measured so far.
pub struct Figures {
    began: Instant,
    file: &'static str,
    all: Vec<Figure>,
    seconds: BTreeMap<&'static str, f64>,
}

impl Figures {
    pub fn new(began: Instant, file: &'static str) -> Self {
        eprintln!("(rows as they are measured; the table is at the end)");
        Self { began, file, all: Vec::new(), seconds: BTreeMap::new() }
    }

    /// Adds a figure that the bare client has too.
    pub fn compared(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        both: (&[f64], &[f64]),
        goal: Option<Goal>,
    ) {
        self.add(group, name.into(), unit, both, 1, goal);
    }

    /// The same, where the order alternates from round to round; in milliseconds. Returns the median of the ratios.
    pub fn in_turns(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        both: (&[f64], &[f64]),
        goal: Option<Goal>,
    ) -> f64 {
        let figure = self.add(group, name.into(), "ms", both, in_turns(both.0.len()), goal);
        percentile(&figure.ratios(), 50)
    }

    fn add(
        &mut self,
        group: &'static str,
        name: String,
        unit: &'static str,
        (values, bare): (&[f64], &[f64]),
        together: usize,
        goal: Option<Goal>,
    ) -> &Figure {
        let (values, bare) = (values.to_vec(), bare.to_vec());
        let figure = Figure { group, name, unit, values, bare, together, goal };
        eprintln!("{:4.0} s {}", self.began.elapsed().as_secs_f64(), figure.row());
        self.all.push(figure);
        &self.all[self.all.len() - 1]
    }

    /// Adds one that the bare client does not have.
    pub fn alone(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        values: &[f64],
        goal: Option<Goal>,
    ) {
        self.compared(group, name, unit, (values, &[]), goal);
    }

    /// Records how long a group has taken.
    pub fn took(&mut self, group: &'static str, since: Instant) {
        self.seconds.insert(group, since.elapsed().as_secs_f64().round());
    }

    /// Prints the table and writes the JSON file.
    pub fn print(&self, machine: &Machine) {
        let mut text = String::new();
        writeln!(text, "\n{}\n", machine.sentence()).unwrap();
        text +=
            "| group | figure | unit | p50 | p95 | bare p50 | bare p95 | ratio | spread | rounds | goal |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|---|\n";
        for figure in &self.all {
            writeln!(text, "{}", figure.row()).unwrap();
        }
        println!("{text}");
        let whole = json!({
            "machine": machine.json(),
            "seconds": {"all": self.began.elapsed().as_secs(), "groups": self.seconds},
            "figures": self.all.iter().map(Figure::json).collect::<Vec<_>>(),
        });
        let file = built::bench_folder().join(self.file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, serde_json::to_string_pretty(&whole).unwrap()).unwrap();
        println!("The same, with each round, is in target/bench/{}.", self.file);
    }
}

/// The percentile, interpolated between two values; 0 is the lowest.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() - 1) * percent;
    let (below, part) = (place / 100, (place % 100) as f64 / 100.0);
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * part
}

/// With three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
