//! What cargo has built, and where: found from this program, for a crate that several programs share is not told.

use std::path::PathBuf;

/// The folder of the profile (`target/debug`), and the name of this program, without the hash that cargo appends to those
/// of tests.
fn this() -> (PathBuf, String) {
    let path = std::env::current_exe().unwrap();
    let (folder, name) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
    match name.rsplit_once('-') {
        Some((name, _)) if folder.ends_with("deps") => (folder.parent().unwrap().to_owned(), name.to_owned()),
        _ => (folder.to_owned(), name.to_owned()),
    }
}

/// The name of this program.
pub fn program() -> String {
    this().1
}

/// The operator's binary, built with this program.
pub fn operator() -> PathBuf {
    this().0.join("ai-api-operator")
}

/// Where cargo lets tests write: `target/tmp`, which each program has a folder of its own in.
pub fn folder() -> PathBuf {
    this().0.parent().map(|target| target.join("tmp")).unwrap()
}

/// Where measurements are written to: `target/bench`.
pub fn bench_folder() -> PathBuf {
    folder().with_file_name("bench")
}
