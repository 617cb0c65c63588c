//! The record of a run that is being sent, in a file on this machine, so that what was not sent yet can be sent after an interruption.
//!
//! It holds the BulkUpdates as they were made, before the first one is sent; beside it is a list of those whose creation was
//! confirmed. One that is confirmed is never sent again, even if it is gone since.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::api::BulkUpdate;

/// What a run consists of.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The API server that it is meant for.
    pub server: String,
    pub bulk_updates: Vec<BulkUpdate>,
}

impl Plan {
    /// The namespaces in which the run is.
    pub fn namespaces(&self) -> BTreeSet<String> {
        self.bulk_updates.iter().filter_map(|bulk| bulk.metadata.namespace.clone()).collect()
    }
}

/// The record of one run.
#[derive(Debug)]
pub struct Record {
    plan: PathBuf,
    sent: PathBuf,
}

impl Record {
    /// Where that of this run is; none without a home.
    pub fn of(run: &str) -> Option<Self> {
        let folder = folder()?;
        Some(Self { plan: folder.join(format!("{run}.json")), sent: folder.join(format!("{run}.sent")) })
    }

    /// Writes it, before anything is sent.
    pub fn write(&self, plan: &Plan) -> io::Result<()> {
        if let Some(folder) = self.plan.parent() {
            // What somebody deletes is nobody else's business.
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // What cannot be read again whole is not there.
        let draft = self.plan.with_extension("draft");
        let mut file = BufWriter::new(File::create(&draft)?);
        serde_json::to_writer(&mut file, plan)?;
        file.into_inner()?.sync_all()?;
        fs::rename(draft, &self.plan)
    }

    /// Notes that one was created.
    pub fn confirm(&self, name: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.sent)?;
        writeln!(file, "{name}")
    }

    /// The plan, and the names of those that were created; nothing if there is no record.
    pub fn read(&self) -> io::Result<Option<(Plan, HashSet<String>)>> {
        let file = match File::open(&self.plan) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let plan = serde_json::from_reader(BufReader::new(file))?;
        let sent = match fs::read_to_string(&self.sent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        Ok(Some((plan, sent.lines().map(ToOwned::to_owned).collect())))
    }

    /// Whether it is still there: who removes it has called the run off.
    pub fn is_there(&self) -> bool {
        self.plan.exists()
    }

    /// Removes it: all is sent, or called off.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.plan);
        let _ = fs::remove_file(&self.sent);
    }
}

/// As the XDG base directory specification has it for what an application needs again, but nobody backs up.
fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("kubectl-aiapi"))
}
