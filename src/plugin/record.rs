//! The record of a run that is being sent, in a file on this machine, so that what was not sent yet can be sent after an interruption.
//!
//! It holds the BulkUpdates as they were made, before the first one is sent; beside it is a list of those whose creation was
//! confirmed. One that is confirmed is never sent again, even if it is gone since.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};
use serde::{Deserialize, Serialize};

use crate::api::BulkUpdate;

/// What others may do with a file or folder that is still trusted: nothing that changes it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What a run consists of.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The API server that it is meant for.
    pub server: String,
    /// Who has chosen it, as the API server knows them.
    pub user: String,
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
    /// Locked by the one process that sends the run.
    held: Option<File>,
}

impl Record {
    /// Where that of this run is; none without a home.
    pub fn of(run: &str) -> Option<Self> {
        let folder = folder()?;
        let file = |extension| folder.join(format!("{run}.{extension}"));
        Some(Self { plan: file("json"), sent: file("sent"), held: None })
    }

    /// The runs that are on record.
    pub fn runs() -> Vec<String> {
        let files = folder().and_then(|folder| fs::read_dir(folder).ok());
        let name = |file: io::Result<fs::DirEntry>| file.ok()?.file_name().into_string().ok();
        let names = files.into_iter().flatten().filter_map(name);
        names.filter_map(|name| name.strip_suffix(".json").map(ToOwned::to_owned)).collect()
    }

    /// Writes it, before anything is sent, and holds it.
    pub fn write(&mut self, plan: &Plan) -> io::Result<()> {
        if let Some(folder) = self.plan.parent() {
            // What somebody deletes is nobody else's business.
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            own(folder, &fs::symlink_metadata(folder)?)?;
        }
        // What cannot be read again whole is not there.
        let draft = self.plan.with_extension(format!("{:08x}", fastrand::u32(..)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let held = written(file, plan).and_then(|file| fs::rename(&draft, &self.plan).map(|()| file));
        self.held = Some(held.inspect_err(|_| _ = fs::remove_file(&draft))?);
        Ok(())
    }

    /// Holds it, unless another process does: then that one is still sending the run.
    pub fn hold(&mut self) -> io::Result<bool> {
        let file = File::open(&self.plan)?;
        match file.try_lock() {
            Ok(()) => self.held = Some(file),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(true)
    }

    /// Notes that one was created.
    pub fn confirm(&self, name: &str) -> io::Result<()> {
        let mut file = OpenOptions::new();
        file.append(true).create(true).mode(0o600).custom_flags(no_follow());
        writeln!(file.open(&self.sent)?, "{name}")
    }

    /// The plan, and the names of those that were created; nothing if there is no record.
    ///
    /// # Errors
    /// If it cannot be read, or if somebody else could have written it.
    pub fn read(&self) -> io::Result<Option<(Plan, HashSet<String>)>> {
        let Some(plan) = open(&self.plan)? else { return Ok(None) };
        let plan = serde_json::from_reader(BufReader::new(plan))?;
        let mut sent = String::new();
        if let Some(mut file) = open(&self.sent)? {
            file.read_to_string(&mut sent)?;
        }
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

/// Writes the plan to where it stays, and locks it.
fn written(file: File, plan: &Plan) -> io::Result<File> {
    let mut file = BufWriter::new(file);
    serde_json::to_writer(&mut file, plan)?;
    let file = file.into_inner()?;
    file.sync_all()?;
    file.try_lock()?;
    Ok(file)
}

/// A file that nobody else could have written; nothing if there is none.
fn open(path: &Path) -> io::Result<Option<File>> {
    if let Some(folder) = path.parent() {
        match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => own(folder, &metadata?)?,
        }
    }
    match OpenOptions::new().read(true).custom_flags(no_follow()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => {
            let file = file?;
            own(path, &file.metadata()?)?;
            Ok(Some(file))
        }
    }
}

/// Checks that it is this user's, and that nobody else may change it.
fn own(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let mine = metadata.uid() == geteuid().as_raw() && metadata.mode() & WRITABLE_BY_OTHERS == 0;
    if mine && !metadata.is_symlink() {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::other(format!("{path} is a link, is not yours, or can be changed by others: remove it")))
}

/// A link in place of a file would be somebody's trick.
const fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

/// As the XDG base directory specification has it for what an application needs again, but nobody backs up.
fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("kubectl-aiapi"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const RUN: &str = "20261130-081500-0a1b";

    /// A record in a folder of its own.
    fn record(name: &str) -> Record {
        let folder = std::env::temp_dir().join(format!("record-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let file = |extension| folder.join(format!("{RUN}.{extension}"));
        Record { plan: file("json"), sent: file("sent"), held: None }
    }

    fn plan() -> Plan {
        Plan { server: "https://one".into(), user: "anna".into(), bulk_updates: Vec::new() }
    }

    fn removed(record: &Record) {
        record.remove();
        fs::remove_dir(record.plan.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_was_written_is_read_by_its_user_and_nobody_else() {
        let mut written = record("written");
        assert!(written.read().unwrap().is_none());
        written.write(&plan()).unwrap();
        written.confirm("stop-1").unwrap();
        let (read, sent) = written.read().unwrap().unwrap();
        assert_eq!((&*read.user, sent.contains("stop-1"), sent.len()), ("anna", true, 1));
        for file in [&written.plan, &written.sent] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        }
        removed(&written);
    }

    #[test]
    fn one_process_sends_a_run_at_a_time() {
        let mut first = record("held");
        first.write(&plan()).unwrap();
        let mut second = Record { plan: first.plan.clone(), sent: first.sent.clone(), held: None };
        assert!(!second.hold().unwrap());
        // It ends, or is killed.
        first.held = None;
        assert!(second.hold().unwrap());
        removed(&second);
    }

    #[test]
    fn what_somebody_else_could_have_written_is_not_used() {
        let mut record = record("foreign");
        record.write(&plan()).unwrap();
        let folder = record.plan.parent().unwrap().to_owned();
        let with_mode =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for path in [&record.plan, &folder] {
            let before = fs::metadata(path).unwrap().mode();
            with_mode(path, 0o777);
            assert!(record.read().is_err(), "{}", path.display());
            with_mode(path, before);
            assert!(record.read().unwrap().is_some());
        }
        let elsewhere = folder.with_extension("elsewhere");
        fs::rename(&record.plan, &elsewhere).unwrap();
        symlink(&elsewhere, &record.plan).unwrap();
        assert!(record.read().is_err(), "a link");
        fs::remove_file(&elsewhere).unwrap();
        removed(&record);
    }
}
