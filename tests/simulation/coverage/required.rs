//! What has to be seen: derived from the code, so that nothing new can be forgotten.

use ai_api_operator::api::{ConditionReason, Kind, Reason, State, TargetStatus};
use judge::Verdict;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use strum::{VariantArray, VariantNames};
use support::call::Call;

use super::situations;
use crate::{
    draw::CODES,
    story::{Act, Admin, BulkAct, Fault, View, What, WorkAct},
};

/// In how many lives the states, reasons and situations are all seen.
const ENOUGH: u64 = 3000;

/// The same of all decisions. In fewer, chance decides which of the rare ones are missing.
const ENOUGH_FOR_DECISIONS: u64 = 30_000;

/// The same of all answers, races and pairs of faults.
const ENOUGH_FOR_PAIRS: u64 = 60_000;

/// Who runs a target: the operator, or another controller.
pub const WHOSE: [&str; 2] = ["own", "other"];

const VERBS: [&str; 2] = ["STOPPED", "DELETED"];

/// The outcomes that cannot be, and why.
const IMPOSSIBLE: [(&str, &str); 5] = [
    ("DELETED Refused StopPending", "what is asked to stop is refused for its state"),
    ("DELETED Failed StopPending", "the same"),
    ("DELETED Failed Gone", "it has settled"),
    ("DELETED Failed Replaced", "the planned object is gone: it has settled"),
    ("DELETED Failed Terminating", "it is scheduled"),
];

/// What each life or some life has to show: the group, and what.
pub fn all(lives: u64) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if lives >= ENOUGH {
        all.extend(ConditionReason::VARIANTS.iter().map(|r| ("conditions", <&str>::from(*r).to_owned())));
        all.extend(Reason::VARIANTS.iter().map(|r| ("reasons", <&str>::from(*r).to_owned())));
        all.extend(["Planned", "Eligible", "Scheduled", "Settled"].map(|r| ("items", r.to_owned())));
        all.extend(situations::ALL.map(|situation| ("situations", situation.to_owned())));
        all.extend(work_states().map(|state| ("work states", state)));
        all.extend(WORK_REASONS.map(|reason| ("work reasons", reason.to_owned())));
        all.extend(WorkAct::VARIANTS.iter().map(|act| ("work acts", (*act).to_owned())));
    }
    if lives >= ENOUGH_FOR_DECISIONS {
        all.extend(decisions().map(|row| ("decisions", row)));
    }
    if lives >= ENOUGH_FOR_PAIRS {
        all.extend(outcomes().map(|row| ("outcomes", row)));
        all.extend(effects().map(|row| ("effects", row)));
        all.extend(answers().map(|answer| ("answers", answer)));
        all.extend(races().map(|race| ("races", race)));
        all.extend(pairs().into_iter().map(|pair| ("pairs", pair)));
    }
    all
}

/// The reasons of conditions of what runs (`Reason` in src/workload/status.rs), but for `StopImpossible`, of engines that are not
/// simulated, and `Stopped`: what has stopped has no conditions.
const WORK_REASONS: [&str; 15] = [
    "Pending",
    "Running",
    "Completed",
    "Dead",
    "Stopping",
    "Unreadable",
    "NameTaken",
    "NameInvalid",
    "EngineNotServed",
    "Forbidden",
    "Refused",
    "NotAuthorized",
    "NotAdoptable",
    "Waiting",
    "BulkUpdatesDisabled",
];

/// The states of what runs. What serves does not complete.
fn work_states() -> impl Iterator<Item = String> {
    Kind::ALL.into_iter().flat_map(|kind| {
        let states = State::ALL
            .iter()
            .filter(move |state| kind == Kind::Execution || !matches!(state, State::Completed | State::Dead));
        states.map(move |state| format!("{} {}", kind.name(), state.word()))
    })
}

/// Each state, asked to stop and to be deleted, of the operator's own and of another controller's, and what is decided.
fn decisions() -> impl Iterator<Item = String> {
    State::ALL.iter().flat_map(|state| {
        VERBS.into_iter().flat_map(move |verb| {
            WHOSE.map(|whose| format!("{} {verb} {whose} {}", state.word(), decision(*state, verb)))
        })
    })
}

/// What is decided about an object in this state, by the judge's rules.
fn decision(state: State, verb: &str) -> String {
    let object = json!({"status": {"state": state.word()}});
    let version = judge::Version {
        revision: 1,
        plural: Kind::Deployment.plural().into(),
        namespace: String::new(),
        name: String::new(),
        uid: String::new(),
        deleted: false,
        object: object.into(),
        at: Timestamp::UNIX_EPOCH,
    };
    let verb = if verb == "DELETED" { TargetStatus::Deleted } else { TargetStatus::Stopped };
    match judge::verdict(&version, verb, &judge::Settings::default()) {
        Verdict::Eligible => "Planned".into(),
        Verdict::Not(reason) => format!("Refused {reason:?}"),
    }
}

/// The results that an item can have with this reason.
const fn results_with(reason: Reason) -> &'static [&'static str] {
    match reason {
        Reason::NotFound | Reason::CreatedLater => &["Refused"],
        Reason::Replaced
        | Reason::Terminating
        | Reason::Unreadable
        | Reason::StopPending
        | Reason::WrongState => &["Refused", "Failed"],
        Reason::Gone => &["Settled", "Failed"],
        Reason::BulkUpdatesDisabled
        | Reason::DeadlineExceeded
        | Reason::WriteFailed
        | Reason::Forbidden
        | Reason::NotSettledInTime
        | Reason::OutcomeUnknown => &["Failed"],
    }
}

fn outcomes() -> impl Iterator<Item = String> {
    let with_reason = Reason::VARIANTS.iter().flat_map(|reason| {
        results_with(*reason)
            .iter()
            .flat_map(move |result| VERBS.map(|verb| format!("{verb} {result} {}", <&str>::from(*reason))))
    });
    with_reason.filter(|outcome| IMPOSSIBLE.iter().all(|(impossible, _)| impossible != outcome))
}

fn effects() -> impl Iterator<Item = String> {
    VERBS.into_iter().flat_map(|verb| {
        WHOSE
            .into_iter()
            .flat_map(move |whose| ["Scheduled", "Settled"].map(|result| format!("{verb} {whose} {result}")))
    })
}

/// The class of a request, for answers.
pub const fn class_of(call: Call) -> &'static str {
    match call {
        Call::List(_) => CLASSES[0],
        Call::Watch(_) => CLASSES[1],
        Call::ReadFlag => CLASSES[2],
        Call::ReadBulkUpdate => CLASSES[3],
        Call::ReadTarget => CLASSES[4],
        Call::Record => CLASSES[5],
        Call::Expire => CLASSES[6],
        Call::Stop => CLASSES[7],
        Call::Delete => CLASSES[8],
        Call::Event => CLASSES[9],
        Call::ReadLease | Call::CreateLease | Call::RenewLease => CLASSES[10],
        Call::Preflight => CLASSES[11],
        Call::ReadWork => CLASSES[12],
        Call::CreateWork => CLASSES[13],
        Call::StopWork | Call::AdoptWork | Call::ApplyWork => CLASSES[14],
        Call::ListPods => CLASSES[15],
        Call::RecordWork => CLASSES[16],
        // The gateways' own.
        Call::Unknown | Call::WorkPolicy => "other",
    }
}

const CLASSES: [&str; 17] = [
    "list",
    "watch",
    "read flag",
    "read bulkupdate",
    "read target",
    "record",
    "expire",
    "stop",
    "delete",
    "event",
    "lease",
    "preflight",
    "read work",
    "create work",
    "change work",
    "list pods",
    "record work",
];

/// Each answer that can be made up, to each class of requests; and no answer, and no connection.
fn answers() -> impl Iterator<Item = String> {
    CLASSES.into_iter().flat_map(|class| {
        let codes = CODES.into_iter().map(move |code| format!("{class} {code}"));
        codes.chain(["none", "not sent"].map(|how| format!("{class} {how}")))
    })
}

/// What somebody does before a write or a record is carried out.
fn races() -> impl Iterator<Item = String> {
    let of_targets = Act::VARIANTS.iter().map(|act| format!("race {act}"));
    let of_bulk_updates = BulkAct::VARIANTS.iter().map(|act| format!("bulk race {act}"));
    // There is hardly ever a finalizer to be removed.
    let acts = of_targets.chain(of_bulk_updates).filter(|act| act != "race Free");
    acts.flat_map(|act| [Call::Stop, Call::Delete, Call::Record].map(|call| format!("{act} at {call}")))
}

/// All kinds of faults, as `kind_of` names them.
fn kinds() -> Vec<&'static str> {
    // Either no faults, or their kinds have names of their own.
    let others = ["Create", "Run", "Submit", "Call", "Fault", "Admin", "View"];
    let whats = What::VARIANTS.iter().filter(|what| !others.contains(what));
    let all = Fault::VARIANTS.iter().chain(Admin::VARIANTS).chain(View::VARIANTS).chain(whats);
    let mut all: Vec<_> = all.copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn pairs() -> Vec<String> {
    let kinds = kinds();
    let mut pairs = Vec::new();
    for (n, first) in kinds.iter().enumerate() {
        pairs.extend(kinds[n + 1..].iter().map(|second| format!("{first} + {second}")));
    }
    pairs
}
