//! The documents say what the code says: the tables of docs/api.md, docs/use.md, docs/troubleshooting.md, docs/settings.md,
//! docs/monitoring.md, docs/workloads.md and docs/architecture.md against the types, the engines, the decisions, the metrics, the
//! command line and the modules.
//!
//! With `UPDATE_DOCS=1` the generated parts of docs/api.md and docs/architecture.md are updated.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod architecture;
mod commands;
mod engines;
mod fields;
mod imports;
mod links;
mod rights_used;
mod workloads_document;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use ai_api_operator::{
    api::{
        BulkUpdate, BulkUpdateItem, BulkUpdateSpec, BulkUpdateStatus, ConditionReason, ItemResult,
        ItemStatus, Kind, Reason, State, TargetStatus, crds,
    },
    bulk_update::{
        Live, MissedDeadline, Obstacle, Phase, Rejection, Request, Rules, Work, status, unreadable, verdict,
    },
    client::{Failure, clock::Clock, leadership::Leadership},
    observed::{InvalidFlag, Target},
    server::probes,
    telemetry::{Health, Metrics},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use strum::VariantArray;

const BEGIN: &str = "<!-- Generated from the types. To update it: UPDATE_DOCS=1 cargo test --test docs -->\n";
const END: &str = "<!-- End of the generated part. -->\n";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_field_reference_is_what_the_types_say() {
    let (name, text) = ("docs/api.md", read("docs/api.md"));
    is_generated(name, &text, (BEGIN, END), &fields::field_reference());
}

/// Checks what is between the two marks of a document; with `UPDATE_DOCS=1` it is updated.
fn is_generated(name: &str, text: &str, (begin, end): (&str, &str), wanted: &str) {
    let (before, rest) = text.split_once(begin).expect("the document marks where the generated part begins");
    let (generated, after) = rest.split_once(end).expect("the document marks where it ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(name), format!("{before}{begin}{wanted}{end}{after}")).unwrap();
    } else {
        assert_eq!(
            generated, wanted,
            "{name} is not what the code says: UPDATE_DOCS=1 cargo test --test docs"
        );
    }
}

/// The cells of a table's rows below a heading, without code marks.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let section =
        text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}")).1;
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in section.lines() {
        if line.starts_with('#') {
            break;
        }
        if line.starts_with("|---") {
            in_table = true;
        } else if !line.starts_with('|') {
            in_table = false;
        } else if in_table {
            let cells = line.split('|').map(|cell| cell.trim().replace('`', ""));
            rows.push(cells.skip(1).collect());
        }
    }
    rows
}

fn first_cells(rows: &[Vec<String>]) -> BTreeSet<String> {
    let cells: BTreeSet<_> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(cells.len(), rows.len(), "each is listed once: {rows:?}");
    cells
}

/// The words of an enum in the schema of an item's status, which is made from the types.
fn words<T: serde::de::DeserializeOwned>(field: &str) -> Vec<T> {
    let crds = crds().unwrap();
    let crd = serde_json::to_value(crds.last()).unwrap();
    let schema =
        &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let words = &schema["executions"]["items"]["properties"][field]["enum"];
    let words = words.as_array().unwrap().iter().filter(|word| !word.is_null());
    words.map(|word| serde_json::from_value(word.clone()).unwrap()).collect()
}

#[test]
fn every_result_and_reason_of_an_item_is_described() {
    let reasons = words::<Reason>("reason").iter().map(|r| format!("{r:?}")).collect();
    let results: BTreeSet<_> = words::<ItemResult>("result").iter().map(|r| format!("{r:?}")).collect();
    let api = read("docs/api.md");
    assert_eq!(first_cells(&table(&api, "## Results")), results);
    let rows = table(&api, "## Reasons");
    assert_eq!(first_cells(&rows), reasons);
    for row in rows {
        assert!(row[1].split(", ").all(|result| results.contains(result)), "{row:?}");
    }
    assert_eq!(first_cells(&table(&read("docs/troubleshooting.md"), "## The result of an item")), reasons);
}

/// The conditions of a status: for each of Ready's reasons the status of Accepted, Ready, Reconciling and Stalled, and
/// Accepted's reason.
type Conditions = BTreeMap<String, ([String; 4], String)>;

/// All that the status can say, over every phase and every set of results.
fn conditions() -> Conditions {
    let mut all = Conditions::new();
    let mut add = |work: &Work, phase: &Phase| {
        let status = status(work, phase, Timestamp::now().into());
        let said = |type_| status.condition(type_).map_or(String::new(), |c| c.status.clone());
        let ready = status.condition("Ready").unwrap().reason.clone();
        let row = ["Accepted", "Ready", "Reconciling", "Stalled"].map(said);
        let accepted = status.condition("Accepted").unwrap().reason.clone();
        for shown in ["Reconciling", "Stalled"].iter().filter_map(|type_| status.condition(type_)) {
            assert_eq!(shown.reason, ready, "the document says that the reason is the same");
        }
        let before = all.insert(ready.clone(), (row.clone(), accepted.clone()));
        assert!(
            before.is_none_or(|before| before == (row, accepted)),
            "{ready} does not always come with the same"
        );
    };
    let results: Vec<ItemResult> = words("result");
    // A new one has to be added to its list: this match does not compile without it.
    let (kind, place) = (Kind::Execution, String::new());
    let failure = Failure::NoAnswer(String::new());
    for why in [Obstacle::Flag { place: place.clone(), failure }, Obstacle::NotListed(kind)] {
        match why {
            Obstacle::Flag { .. }
            | Obstacle::Admission(_)
            | Obstacle::NotListed(_)
            | Obstacle::Read { .. }
            | Obstacle::Write { .. }
            | Obstacle::NoUid { .. }
            | Obstacle::StaleCache { .. } => add(&unplanned(), &Phase::Waiting(why)),
        }
    }
    for why in [
        Rejection::Disabled { kind, config_map: String::new() },
        Rejection::InvalidFlag { place, why: InvalidFlag::Empty },
        Rejection::TooLate { deadline: MissedDeadline::NotAfter, remark: None },
        Rejection::NotAuthorized,
    ] {
        match why {
            Rejection::Disabled { .. }
            | Rejection::InvalidFlag { .. }
            | Rejection::TooLate { .. }
            | Rejection::NotAuthorized => add(&unplanned(), &Phase::Rejected(why)),
        }
    }
    for bits in 1..1_usize << results.len() {
        let set: Vec<_> = (0..results.len()).filter(|n| bits & (1 << n) != 0).map(|n| results[n]).collect();
        // A dry run has only Eligible and Refused, and only a dry run has Eligible.
        let dry_run = set.contains(&ItemResult::Eligible);
        if !dry_run || set.iter().all(|r| matches!(r, ItemResult::Eligible | ItemResult::Refused)) {
            add(&work(&set, dry_run), &Phase::Planned(None));
        }
    }
    add(&work(&[ItemResult::Refused], true), &Phase::Planned(None));
    let status = unreadable::status(&BulkUpdateStatus::default(), 1, "it is odd", Timestamp::now());
    let said = |type_| status.condition(type_).map_or(String::new(), |c| c.status.clone());
    let row = ["Accepted", "Ready", "Reconciling", "Stalled"].map(said);
    let unreadable = ConditionReason::Unreadable.to_string();
    all.insert(unreadable, (row, status.condition("Accepted").unwrap().reason.clone()));
    // Planned is only a reason of Accepted.
    let of_ready = ConditionReason::VARIANTS.iter().filter(|reason| **reason != ConditionReason::Planned);
    assert!(all.keys().eq(of_ready.map(ToString::to_string).collect::<BTreeSet<_>>().iter()), "{all:?}");
    all
}

fn unplanned() -> Work {
    let executions = Some(vec![item("some", TargetStatus::Stopped)]);
    let spec = BulkUpdateSpec { executions, ..BulkUpdateSpec::default() };
    Work::unplanned(&BulkUpdate::new("some", spec), None).unwrap()
}

/// A planned BulkUpdate, with an item of each of these results.
fn work(results: &[ItemResult], dry_run: bool) -> Work {
    let items = results.iter().enumerate().map(|(n, _)| item(&format!("item-{n}"), TargetStatus::Stopped));
    let executions = Some(items.collect());
    let spec = BulkUpdateSpec { executions, dry_run: Some(dry_run), ..BulkUpdateSpec::default() };
    let mut bulk = BulkUpdate::new("some", spec);
    let text = |text: &str| Some(text.to_owned());
    (bulk.metadata.namespace, bulk.metadata.uid) = (text("team-a"), text("uid"));
    (bulk.metadata.resource_version, bulk.metadata.creation_timestamp) =
        (text("1"), Some(Time(Timestamp::now())));
    let recorded = results.iter().enumerate().map(|(n, result)| ItemStatus {
        id: format!("item-{n}").into(),
        target_status: TargetStatus::Stopped,
        result: *result,
        reason: None,
        message: None,
        uid: None,
        observed_state: None,
    });
    bulk.status = Some(BulkUpdateStatus {
        start_time: Some(Time(Timestamp::now())),
        executions: Some(recorded.collect()),
        ..BulkUpdateStatus::default()
    });
    let live: Live = serde_json::from_slice(&serde_json::to_vec(&bulk).unwrap()).unwrap();
    assert_eq!(live.flaw(), None);
    Work::new(&live, None)
}

fn item(id: &str, target_status: TargetStatus) -> BulkUpdateItem {
    BulkUpdateItem { id: id.to_owned(), target_status, uid: None }
}

#[test]
fn every_condition_is_described() {
    let conditions = conditions();
    let api = read("docs/api.md");
    let rows = table(&api, "## Conditions");
    let documented: BTreeMap<_, _> = rows.iter().map(|row| (row[0].clone(), row[1..5].to_vec())).collect();
    let said: BTreeMap<_, _> =
        conditions.iter().map(|(reason, (row, _))| (reason.clone(), row.to_vec())).collect();
    assert_eq!(documented, said);

    // Accepted has the same reason as Ready, and its own where it is True.
    for (ready, (row, accepted)) in &conditions {
        assert_eq!(accepted, if row[0] == "True" { "Planned" } else { ready });
    }
    let section = api.split_once("\n## Conditions\n").unwrap().1;
    assert!(section.contains("reason `Planned`"), "that of Accepted is described");

    let reasons: BTreeSet<_> = conditions.into_keys().collect();
    assert_eq!(first_cells(&table(&read("docs/troubleshooting.md"), "## The reason of Ready")), reasons);
}

#[test]
fn the_table_of_states_is_what_is_decided() {
    let said = |state: &str| if state.starts_with("yes") { "yes" } else { "no" };
    let rows = table(&read("docs/use.md"), "## Which states can be stopped or deleted");
    let mut seen = BTreeSet::new();
    for row in &rows {
        for word in row[0].split(", ") {
            let state: State = serde_json::from_value(word.into()).unwrap();
            for (asked, cell) in [(TargetStatus::Stopped, &row[1]), (TargetStatus::Deleted, &row[2])] {
                for kind in Kind::ALL {
                    let may = if is_eligible(state, asked, kind) { "yes" } else { "no" };
                    assert_eq!(said(cell), may, "{word} {asked:?} {kind:?}");
                }
            }
            seen.insert(word.to_owned());
        }
    }
    assert_eq!(seen, State::ALL.iter().map(|state| state.word().to_owned()).collect());
}

fn is_eligible(state: State, asked: TargetStatus, kind: Kind) -> bool {
    let items = Some(vec![item("some", asked)]);
    let spec = match kind {
        Kind::Execution => BulkUpdateSpec { executions: items, ..BulkUpdateSpec::default() },
        Kind::Deployment => BulkUpdateSpec { deployments: items, ..BulkUpdateSpec::default() },
    };
    let mut bulk = BulkUpdate::new("some", spec);
    bulk.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1).unwrap()));
    let request = Request::from(&bulk);
    let target = Target {
        uid: "u".into(),
        resource_version: "1".into(),
        created: 0,
        first_seen: 1,
        state: Ok(state),
        stop_asked: false,
        stop_request: None,
        managed_by_other: false,
        work: None,
        terminating: false,
        unobserved: false,
    };
    verdict(&request, &request.items[0], Some(&target), Rules::default()).is_ok()
}

#[test]
fn every_setting_is_described() {
    let help =
        Command::new(env!("CARGO_BIN_EXE_ai-api-operator")).args(["controller", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let settings = help.lines().filter_map(|line| line.trim().strip_prefix("--"));
    let name_of = |s: &str| s.split([' ', '=', '[']).next().unwrap().to_owned();
    let flags: BTreeSet<_> = settings.map(|s| format!("--{}", name_of(s))).collect();
    let variables = help.split("[env: ").skip(1).map(|rest| rest.split('=').next().unwrap().to_owned());
    let rows = table(&read("docs/settings.md"), "## Flags");
    let column = |n: usize| rows.iter().map(|row| row[n].clone()).collect::<BTreeSet<_>>();
    assert_eq!(column(0).iter().map(|cell| name_of(cell)).collect::<BTreeSet<_>>(), flags);
    assert_eq!(column(1), variables.collect());
}

/// What a replica serves before anything has happened.
fn metrics() -> String {
    let metrics = Metrics::default();
    let mut registry = probes::registry();
    metrics.register(&mut registry);
    let clock = Clock::default();
    clock.register(&mut registry);
    metrics.refresh(&Health::default(), &Leadership::default(), &clock);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

#[test]
fn every_metric_is_described_with_its_labels() {
    let text = metrics();
    let mut labels = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (family, type_) = line.split_once(' ').unwrap();
        let suffix = match type_ {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let name = format!("{family}{suffix}");
        let of_it = labels.entry(name.clone()).or_default();
        for series in text.lines().filter_map(|line| line.strip_prefix(&name)?.strip_prefix('{')) {
            for label in series.split_once('}').unwrap().0.split(',') {
                let (label, value) = label.split_once('=').unwrap();
                of_it.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
            }
        }
    }
    // It is missing before the first watch.
    let resource = BTreeMap::from([("resource".to_owned(), BTreeSet::new())]);
    labels.insert("aiapi_watch_last_event_timestamp_seconds".into(), resource);

    let monitoring = read("docs/monitoring.md");
    let rows = table(&monitoring, "## Metrics");
    assert_eq!(first_cells(&rows), labels.keys().cloned().collect());
    let cells: Vec<_> = rows.iter().map(|row| row[2].clone()).collect();
    let text = cells.join(" ");
    let words: BTreeSet<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').collect();
    for row in &rows {
        let documented: BTreeSet<_> =
            row[1].split(", ").filter(|label| !label.is_empty()).map(ToOwned::to_owned).collect();
        assert_eq!(documented, labels[&row[0]].keys().cloned().collect(), "{}", row[0]);
        // The version differs each time.
        for value in labels[&row[0]].iter().filter(|(label, _)| *label != "version").flat_map(|(_, v)| v) {
            assert!(words.contains(value.as_str()), "{} has {value}; the table lacks it", row[0]);
        }
    }

    // The outcome of a BulkUpdate is one of the conditions' reasons. An unreadable one is counted as such.
    let ends = conditions().into_iter().filter(|(_, (row, _))| row[2] != "True").map(|(reason, _)| reason);
    let read = ends.filter(|reason| *reason != ConditionReason::Unreadable.to_string());
    assert_eq!(labels["aiapi_bulkupdates_finished_total"]["outcome"], read.collect());
}
