//! No right is granted that is never used: reads the audit logs of all the other tests.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
};

use serde_json::Value;
use support::built;

/// Group, resource with subresource, verb.
type Right = (String, String, String);

fn granted() -> BTreeSet<Right> {
    let mut granted = BTreeSet::new();
    for file in ["cluster/rbac.yaml", "installation/rbac.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
        let roles: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap();
        for rule in roles.iter().filter_map(|role| role["rules"].as_array()).flatten() {
            let list =
                |field: &str| rule[field].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
            for resource in list("resources") {
                for verb in list("verbs") {
                    granted.insert((list("apiGroups").next().unwrap(), resource.clone(), verb));
                }
            }
        }
    }
    granted
}

fn read(log: &Path, used: &mut BTreeSet<Right>) {
    // A request's body is logged as it was sent, which need not be UTF-8.
    for line in BufReader::new(File::open(log).unwrap()).split(b'\n').map(Result::unwrap) {
        let line = String::from_utf8_lossy(&line);
        if !line.contains(":ai-api-operator\"") {
            continue;
        }
        let entry: Value = serde_json::from_str(&line).unwrap();
        // Preflight checks do not count as use.
        let for_real = !entry["requestURI"].as_str().unwrap_or_default().contains("dryRun=All");
        let allowed = for_real && entry["annotations"]["authorization.k8s.io/decision"] == "allow";
        let who = entry["user"]["username"].as_str().unwrap_or_default();
        if !(allowed && who.starts_with("system:serviceaccount:") && who.ends_with(":ai-api-operator")) {
            continue;
        }
        let text = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let subresource = text("subresource");
        let resource = if subresource.is_empty() {
            text("resource")
        } else {
            format!("{}/{subresource}", text("resource"))
        };
        used.insert((text("apiGroup"), resource, entry["verb"].as_str().unwrap().to_owned()));
    }
}

#[test]
#[ignore = "it reads what the other tests have left: make test runs it last"]
fn every_right_that_is_granted_was_used() {
    let mut all = BTreeSet::new();
    let mut logs = 0;
    for program in fs::read_dir(built::folder()).unwrap() {
        let log = program.unwrap().path().join("audit.log");
        if log.is_file() {
            logs += 1;
            read(&log, &mut all);
        }
    }
    let granted = granted();
    assert!(granted.len() > 25 && logs > 5, "{} rights, {logs} logs", granted.len());
    let unused: Vec<_> = granted.difference(&all).collect();
    println!("{} rights, {logs} audit logs, unused: {unused:?}", granted.len());
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}
