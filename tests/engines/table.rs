//! How long the stops and deletions of this run took.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

/// What was measured of one engine.
pub struct Row {
    /// From the BulkUpdate's creation to the stop's request to the engine, to the end of its last Pod, and to STOPPED.
    pub stop: [Duration; 3],
    /// From the creation of a second BulkUpdate until the Execution or Deployment is gone.
    pub deletion: Duration,
}

static ROWS: Mutex<BTreeMap<&str, Row>> = Mutex::new(BTreeMap::new());

pub fn measured(engine: &'static str, row: Row) {
    ROWS.lock().unwrap().insert(engine, row);
}

/// Prints what was measured.
pub fn print() {
    let rows = ROWS.lock().unwrap();
    if rows.is_empty() {
        return;
    }
    println!("Seconds from the creation of a BulkUpdate, on this machine; a Pod takes 1.5 s to end:");
    println!("{:<24}{:>15}{:>15}{:>10}{:>10}", "", "stop requested", "last Pod gone", "STOPPED", "deleted");
    for (engine, Row { stop, deletion }) in &*rows {
        let [requested, gone, stopped] = stop.map(|time| time.as_secs_f64());
        let deleted = deletion.as_secs_f64();
        println!("{engine:<24}{requested:>15.2}{gone:>15.2}{stopped:>10.2}{deleted:>10.2}");
    }
    println!();
}
