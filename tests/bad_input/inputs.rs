//! The inputs, generated from a seed before anything is sent.

use proptest::{
    option,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    string::string_regex,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::{
    flag::{self, Text},
    hostile::{anything, documents, garbled, mutated, odd, odd_names, texts},
    metadata,
    midway::{self, Waiting},
    schema::{Care, Schemas, part},
    stored::{self, Stored},
};

/// One of the three kinds of custom resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sort {
    pub kind: &'static str,
    pub plural: &'static str,
    /// A spec of it that only a loosened CRD accepts.
    pub loose_spec: &'static str,
    crd: &'static str,
}

pub const EXECUTION: Sort = Sort {
    kind: "Execution",
    plural: "executions",
    loose_spec: r#"{"managedBy": 7}"#,
    crd: include_str!("../../crds/executions.aiapi.dev.yaml"),
};
pub const DEPLOYMENT: Sort = Sort {
    kind: "Deployment",
    plural: "deployments",
    loose_spec: r#"{"managedBy": 7}"#,
    crd: include_str!("../../crds/deployments.aiapi.dev.yaml"),
};
pub const BULK_UPDATE: Sort = Sort {
    kind: "BulkUpdate",
    plural: "bulkupdates",
    loose_spec: r#"{"executions": 7}"#,
    crd: include_str!("../../crds/bulkupdates.aiapi.dev.yaml"),
};

/// An object to create, and what is to be written into its status after that.
#[derive(Clone, Debug)]
pub struct Input {
    pub sort: Sort,
    pub body: Vec<u8>,
    pub status: Option<Vec<u8>>,
    /// A patch of its metadata that follows.
    pub edit: Option<Vec<u8>>,
}

/// One batch: first the targets, then the BulkUpdates; then everything is checked.
#[derive(Debug, Default)]
pub struct Round {
    pub targets: Vec<Input>,
    pub bulk_updates: Vec<Input>,
}

#[derive(Debug)]
pub struct Inputs {
    /// Under the CRDs as they are.
    pub strict: Vec<Round>,
    /// Under CRDs that accept anything in the specs, and in the status of targets.
    pub loose: Round,
    /// BulkUpdates with anything in their status.
    pub forged: Vec<Input>,
    /// After the CRDs were restored: they name the targets of the loose round.
    pub after: Vec<Input>,
    /// Waiting BulkUpdates that somebody edits.
    pub midway: Waiting,
    /// Written into etcd while the operator runs, and while it does not.
    pub stored: [Vec<Stored>; 2],
    /// Sent while the operator does not run.
    pub meanwhile: Round,
    pub flags: Vec<Text>,
}

/// A placeholder for the name of an object until it has one.
pub const NAME: &str = "$NAME";

/// The maximum number of objects in a round.
const ROUND: usize = 900;

/// Everything that is sent for a seed.
pub fn generate(seed: u64, count: usize) -> Inputs {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut random = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));

    let percent = |part| count * part / 100;
    let (flags, loose, forged, after) = (percent(3), percent(12), percent(3), percent(2));
    let (midway, stored, meanwhile) = (percent(4), percent(5), percent(4));
    let strict = count - flags - loose - forged - after - midway - 2 * stored - meanwhile;
    let rounds = strict.div_ceil(ROUND);
    let mut inputs = Inputs {
        strict: Vec::new(),
        loose: loose_round(&mut random, loose),
        forged: forged_ones(&mut random, forged),
        after: bulk_updates(&mut random, "after", &ids("loose", loose / 2), after),
        midway: midway::waiting(&mut random, midway),
        stored: ["stored", "unseen"].map(|round| stored::generate(&mut random, round, stored)),
        meanwhile: round_of(&mut random, "meanwhile", meanwhile, None),
        flags: flag::texts(&mut random, flags),
    };
    for n in 0..rounds {
        let size = strict / rounds + usize::from(n < strict % rounds);
        // Some of them name objects of an earlier round.
        let earlier = (0..=n).prop_flat_map(move |n| ids(&format!("r{n}"), size * 2 / 5)).boxed();
        inputs.strict.push(round_of(&mut random, &format!("r{n}"), size, Some(earlier)));
    }
    inputs
}

/// Targets, and BulkUpdates that name them, and some that name others.
fn round_of(
    random: &mut TestRunner,
    name: &str,
    size: usize,
    others: Option<BoxedStrategy<String>>,
) -> Round {
    let targets = size * 2 / 5;
    let own = ids(name, targets);
    let ids = match others {
        Some(others) => prop_oneof![4 => own, 1 => others].boxed(),
        None => own,
    };
    Round {
        targets: targets_of(random, name, targets),
        bulk_updates: bulk_updates(random, name, &ids, size - targets),
    }
}

/// A sampled value of a strategy.
pub fn pick<T: std::fmt::Debug>(random: &mut TestRunner, strategy: &BoxedStrategy<T>) -> T {
    strategy.new_tree(random).unwrap().current()
}

/// Ids of the targets of a round, and of objects that do not exist.
pub fn ids(round: &str, targets: usize) -> BoxedStrategy<String> {
    let round = round.to_owned();
    prop_oneof![
        // Both kinds share the numbers.
        12 => (0..(targets / 2).max(1)).prop_map(move |n| format!("{round}-{n}")),
        1 => string_regex("[A-Za-z0-9_.-]{4,64}").unwrap(),
    ]
    .boxed()
}

/// Whether the n-th target of a round is an Execution or a Deployment.
pub fn named(round: &str, n: usize) -> (Sort, String) {
    (if n.is_multiple_of(2) { EXECUTION } else { DEPLOYMENT }, format!("{round}-{}", n / 2))
}

fn targets_of(random: &mut TestRunner, round: &str, count: usize) -> Vec<Input> {
    let of = |sort: Sort| (bodies(sort), statuses(sort));
    let strategies = [of(EXECUTION), of(DEPLOYMENT)];
    let edits = edits();
    let make = |n| {
        let (sort, name) = named(round, n);
        let (bodies, statuses) = &strategies[n % 2];
        let body = with_name(pick(random, bodies), &name);
        let (status, edit) = (Some(pick(random, statuses)), pick(random, &edits));
        Input { sort, body, status, edit }
    };
    (0..count).map(make).collect()
}

fn bulk_updates(
    random: &mut TestRunner,
    round: &str,
    ids: &BoxedStrategy<String>,
    count: usize,
) -> Vec<Input> {
    let keeps = object(BULK_UPDATE, spec(BULK_UPDATE, Care::Keeps, ids), Care::Keeps);
    let strays = object(BULK_UPDATE, spec(BULK_UPDATE, Care::Strays, ids), Care::Strays);
    make_bulk_updates(random, round, &mixture(keeps, strays), count)
}

fn make_bulk_updates(
    random: &mut TestRunner,
    round: &str,
    bodies: &BoxedStrategy<Vec<u8>>,
    count: usize,
) -> Vec<Input> {
    let name = |n| format!("bulk-{round}-{n}");
    let edits = edits();
    let make = |n| Input {
        sort: BULK_UPDATE,
        body: with_name(pick(random, bodies), &name(n)),
        status: None,
        edit: pick(random, &edits),
    };
    (0..count).map(make).collect()
}

fn loose_round(random: &mut TestRunner, count: usize) -> Round {
    let targets = count / 2;
    let ids = ids("loose", targets);
    let any_id = prop_oneof![6 => ids.clone(), 1 => texts(0, 80), 1 => texts(300, 300)].boxed();
    let of = |sort, ids: &BoxedStrategy<String>| {
        let specs = [Care::Keeps, Care::Strays].map(|care| spec(sort, care, ids));
        let [keeps, strays] = specs;
        let one = prop_oneof![2 => strays, 3 => mutated(keeps.clone()), 1 => mutated(mutated(keeps)), 1 => anything()];
        object(sort, one.boxed(), Care::Keeps).prop_map(to_bytes).boxed()
    };
    let loose_statuses = |sort| {
        let keeps = status(sort, Care::Keeps);
        let one =
            prop_oneof![2 => status(sort, Care::Strays), 3 => mutated(keeps.clone()), 2 => keeps, 1 => odd()];
        one.prop_map(|status| to_bytes(json!({"status": status}))).boxed()
    };
    let strategies = [EXECUTION, DEPLOYMENT].map(|sort| (bodies(sort), of(sort, &ids), loose_statuses(sort)));
    let mut round = Round::default();
    for n in 0..targets {
        let (sort, name) = named("loose", n);
        let (strict, loose, statuses) = &strategies[n % 2];
        // Most have a bad status: those with a bad spec are refused for that alone.
        let body = pick(random, if n % 5 < 2 { loose } else { strict });
        let status = Some(pick(random, statuses));
        round.targets.push(Input { sort, body: with_name(body, &name), status, edit: None });
    }
    let too_many = (any_id.clone(), 101..140usize).prop_flat_map(|(id, many)| {
        let item = json!({"id": id, "targetStatus": "DELETED"});
        let distinct = (0..many).map(|n| json!({"id": format!("many-{n}"), "targetStatus": "STOPPED"}));
        select(vec![
            json!({"executions": vec![item; 2]}),
            json!({"deployments": distinct.collect::<Vec<_>>()}),
        ])
    });
    let many = object(BULK_UPDATE, too_many.boxed(), Care::Keeps).prop_map(to_bytes);
    let bodies = prop_oneof![12 => of(BULK_UPDATE, &any_id), 1 => many].boxed();
    round.bulk_updates = make_bulk_updates(random, "loose", &bodies, count - targets);
    round
}

/// BulkUpdates that could be carried out, except for what somebody writes into their status.
fn forged_ones(random: &mut TestRunner, count: usize) -> Vec<Input> {
    let ids = ids("loose", count);
    let good =
        object(BULK_UPDATE, spec(BULK_UPDATE, Care::Keeps, &ids), Care::Keeps).prop_map(to_bytes).boxed();
    let keeps = Schemas { care: Care::Keeps, ids }.values(&part(BULK_UPDATE.crd, "status"));
    let forged = prop_oneof![2 => keeps.clone(), 3 => mutated(keeps), 1 => odd(), 1 => anything()];
    let forged = forged.prop_map(|status| to_bytes(json!({"status": status}))).boxed();
    let mut inputs = make_bulk_updates(random, "forged", &good, count);
    for input in &mut inputs {
        input.status = Some(pick(random, &forged));
    }
    inputs
}

/// For some, a patch of the metadata.
fn edits() -> BoxedStrategy<Option<Vec<u8>>> {
    let patches = prop_oneof![3 => metadata::patches(Care::Keeps), 1 => metadata::patches(Care::Strays)];
    option::weighted(0.15, patches.prop_map(|patch| metadata::nested(patch.to_string()).into_bytes())).boxed()
}

/// What is sent to create a target: valid, nearly valid, or invalid.
fn bodies(sort: Sort) -> BoxedStrategy<Vec<u8>> {
    let of = |care| object(sort, spec(sort, care, &Just(String::new()).boxed()), care);
    mixture(of(Care::Keeps), of(Care::Strays))
}

/// What is sent as its status.
fn statuses(sort: Sort) -> BoxedStrategy<Vec<u8>> {
    let of = |care| status(sort, care).prop_map(|status| json!({"status": status})).boxed();
    // Many of them are plain: if nothing can be stopped, the BulkUpdates show little.
    let states = select(vec!["UNKNOWN", "PENDING", "RUNNING", "COMPLETED", "DEAD", "STOPPING", "STOPPED"]);
    let bare = states.prop_map(|state| to_bytes(json!({"status": {"state": state}})));
    prop_oneof![2 => bare, 3 => mixture(of(Care::Keeps), of(Care::Strays))].boxed()
}

fn mixture(keeps: BoxedStrategy<Value>, strays: BoxedStrategy<Value>) -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        55 => keeps.clone().prop_map(to_bytes),
        18 => strays.prop_map(to_bytes),
        13 => mutated(keeps.clone()).prop_map(to_bytes),
        10 => garbled(keeps),
        4 => documents(),
    ]
    .boxed()
}

pub fn spec(sort: Sort, care: Care, ids: &BoxedStrategy<String>) -> BoxedStrategy<Value> {
    Schemas { care, ids: ids.clone() }.values(&part(sort.crd, "spec"))
}

pub fn status(sort: Sort, care: Care) -> BoxedStrategy<Value> {
    Schemas { care, ids: Just(String::new()).boxed() }.values(&part(sort.crd, "status"))
}

/// A whole object, with a placeholder for its name.
fn object(sort: Sort, spec: BoxedStrategy<Value>, care: Care) -> BoxedStrategy<Value> {
    let names = match care {
        Care::Keeps => Just(Some(json!(NAME))).boxed(),
        Care::Strays => {
            prop_oneof![20 => Just(Some(json!(NAME))), 2 => odd_names().prop_map(Some), 1 => Just(None)]
                .boxed()
        }
    };
    (names, metadata::sent(care), spec)
        .prop_map(move |(name, mut metadata, spec)| {
            if let Some(name) = name {
                metadata["name"] = name;
            }
            json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": sort.kind, "metadata": metadata, "spec": spec})
        })
        .boxed()
}

#[allow(clippy::needless_pass_by_value, reason = "prop_map passes it by value")]
fn to_bytes(value: Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn with_name(body: Vec<u8>, name: &str) -> Vec<u8> {
    match String::from_utf8(body) {
        Ok(text) => metadata::nested(text.replace(NAME, name)).into_bytes(),
        Err(error) => error.into_bytes(),
    }
}
