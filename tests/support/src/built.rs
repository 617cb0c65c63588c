//! What cargo has built, and where. Derived from the path of this program: cargo sets `CARGO_BIN_EXE_*` and
//! `CARGO_TARGET_TMPDIR` for integration tests only, not for a library that they share.

use std::path::PathBuf;

/// The folder of the profile (`target/debug`), and the name of this program without the hash that cargo appends to tests.
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

/// The operator's binary of the same profile. Cargo builds it before integration tests; for benchmarks, `make bench` does.
pub fn operator() -> PathBuf {
    this().0.join("ai-api-operator")
}

/// Where tests may write: `target/tmp`, in which each program has its own folder.
pub fn folder() -> PathBuf {
    this().0.parent().map(|target| target.join("tmp")).unwrap()
}

/// Where the results of benchmarks go: `target/bench`.
pub fn bench_folder() -> PathBuf {
    folder().with_file_name("bench")
}
