//! The decisions, row by row of the tables that they come from.

mod eligible;
mod plan;
mod planned;
mod scheduled;
