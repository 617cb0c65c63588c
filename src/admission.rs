//! Who may ask: a `ValidatingAdmissionPolicy` checks it when a BulkUpdate is created, and without the policy nothing is
//! planned. This follows the policy and its binding, to know since when they have stood.

use std::{
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchResources, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Resource, runtime::watcher::Event};
use tokio::sync::watch;

use crate::{api::GROUP, bulk_update::request::later};

/// The name of the policy, and of its binding.
pub const POLICY: &str = "bulkupdates.aiapi.dev";

/// The annotation with the name of who asked. While the policy stands, nobody can set it to another's.
pub const REQUESTER: &str = "aiapi.dev/requester";

/// How many seconds after its creation the policy is in force on every API server.
pub const SPREADS: i64 = 10;

/// What the check of authors has to say about BulkUpdates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nobody asks for it: authors are authorized otherwise.
    NotRequired,
    /// Policy and binding stand, the younger of the two since then.
    Since(Timestamp),
    /// They do not; why.
    Missing(String),
}

impl Admission {
    /// Whether the author of a BulkUpdate was checked that was made then. Both times have whole seconds: one more makes up
    /// for what they lack.
    #[must_use]
    pub fn covers(&self, created: Timestamp) -> bool {
        match self {
            Self::NotRequired => true,
            Self::Since(since) => created > later(*since, SPREADS),
            Self::Missing(_) => false,
        }
    }
}

/// One of the two, as its watch has it.
#[derive(Debug, Default)]
struct Seen {
    listed: bool,
    /// Since when it stands, or what is wrong with it; absent where there is none.
    stands: Option<Result<Timestamp, String>>,
    /// What a list under way has shown so far.
    listing: Option<Result<Timestamp, String>>,
}

#[derive(Debug, Default)]
struct Known {
    policy: Seen,
    binding: Seen,
}

/// Follows policy and binding; one for the whole operator.
#[derive(Debug)]
pub struct Policies {
    required: bool,
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

/// What can be followed here.
pub trait Guard: Resource<DynamicType = ()> + Clone + Debug {
    /// What keeps it from doing what it is there for, if anything does.
    fn flaw(&self) -> Option<String>;
}

impl Guard for ValidatingAdmissionPolicy {
    fn flaw(&self) -> Option<String> {
        let spec = self.spec.clone().unwrap_or_default();
        if spec.failure_policy.is_some_and(|policy| policy != "Fail") {
            return Some("its failurePolicy is not Fail".into());
        }
        if spec.validations.unwrap_or_default().is_empty() {
            return Some("it has no validations".into());
        }
        if spec.param_kind.is_some() || !spec.match_conditions.unwrap_or_default().is_empty() {
            return Some("its paramKind or matchConditions leave some BulkUpdates out".into());
        }
        let constraints = spec.match_constraints.unwrap_or_default();
        if leaves_some_out(&constraints) {
            return Some("its matchConstraints leave some BulkUpdates out".into());
        }
        let rules = constraints.resource_rules.unwrap_or_default();
        let has = |list: Option<&Vec<String>>, wanted: &str| {
            list.is_some_and(|list| list.iter().any(|entry| entry == "*" || entry == wanted))
        };
        let for_all = rules.iter().any(|rule| {
            rule.resource_names.as_ref().is_none_or(Vec::is_empty)
                && has(rule.api_groups.as_ref(), GROUP)
                && has(rule.api_versions.as_ref(), "*")
                && has(rule.resources.as_ref(), "bulkupdates")
                && has(rule.operations.as_ref(), "CREATE")
        });
        (!for_all).then(|| "it has no rule for the creation of every BulkUpdate".into())
    }
}

/// Whether selectors or exclusions do so. The API server fills in empty ones.
fn leaves_some_out(matches: &MatchResources) -> bool {
    let selects = |selector: &Option<LabelSelector>| {
        selector.as_ref().is_some_and(|selector| *selector != LabelSelector::default())
    };
    matches.exclude_resource_rules.as_ref().is_some_and(|rules| !rules.is_empty())
        || selects(&matches.namespace_selector)
        || selects(&matches.object_selector)
}

impl Guard for ValidatingAdmissionPolicyBinding {
    fn flaw(&self) -> Option<String> {
        let spec = self.spec.clone().unwrap_or_default();
        if spec.policy_name.as_deref() != Some(POLICY) {
            return Some(format!("it does not bind {POLICY}"));
        }
        if !spec.validation_actions.unwrap_or_default().iter().any(|action| action == "Deny") {
            return Some("its validationActions lack Deny".into());
        }
        let matches = spec.match_resources.unwrap_or_default();
        let limited =
            leaves_some_out(&matches) || matches.resource_rules.is_some_and(|rules| !rules.is_empty());
        (limited || spec.param_ref.is_some())
            .then(|| "its matchResources or paramRef leave some BulkUpdates out".into())
    }
}

impl Policies {
    /// Without anything seen yet; `required` is whether planning waits for them.
    #[must_use]
    pub fn new(required: bool) -> Self {
        Self { required, known: Mutex::default(), changed: watch::Sender::default() }
    }

    /// Whether planning waits for them.
    #[must_use]
    pub const fn required(&self) -> bool {
        self.required
    }

    /// Waits until both were listed once, if they are required.
    pub async fn listed(&self) {
        let mut changes = self.changes();
        while self.required && !self.both_listed() {
            // The sender is a part of self, so that waiting can't fail.
            let _ = changes.changed().await;
        }
    }

    fn both_listed(&self) -> bool {
        let known = self.known();
        known.policy.listed && known.binding.listed
    }

    /// What can be said now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        if !self.required {
            return Admission::NotRequired;
        }
        let known = self.known();
        let stands = |what, seen: &Seen| match &seen.stands {
            Some(Ok(since)) => Ok(*since),
            Some(Err(flaw)) => Err(format!("the {what} {POLICY} checks nobody: {flaw}")),
            None if seen.listed => Err(format!("the {what} {POLICY} is missing")),
            None => Err(format!("the {what} {POLICY} can't be listed yet; the operator's log says why")),
        };
        let policy = stands("ValidatingAdmissionPolicy", &known.policy);
        let binding = stands("ValidatingAdmissionPolicyBinding", &known.binding);
        match (policy, binding) {
            (Ok(policy), Ok(binding)) => Admission::Since(policy.max(binding)),
            (Err(why), _) | (_, Err(why)) => Admission::Missing(format!(
                "{why}: nothing is planned without it, for nobody would know whether authors may do what they ask for"
            )),
        }
    }

    /// Takes in what the watch of the policy says.
    pub fn take_in_policy(&self, event: Event<ValidatingAdmissionPolicy>) {
        self.known().policy.take_in(event);
        self.changed.send_replace(());
    }

    /// Takes in what the watch of the binding says.
    pub fn take_in_binding(&self, event: Event<ValidatingAdmissionPolicyBinding>) {
        self.known().binding.take_in(event);
        self.changed.send_replace(());
    }

    /// Is told whenever a watch has said something.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take_in<K: Guard>(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.listing = None,
            Event::InitApply(object) => self.listing = stands(&object),
            Event::InitDone => {
                self.listed = true;
                self.stands = self.listing.take();
            }
            Event::Apply(object) => self.stands = stands(&object),
            Event::Delete(_) => self.stands = None,
        }
    }
}

/// Since when it stands as it is; what is on its way out does not.
fn stands<K: Guard>(object: &K) -> Option<Result<Timestamp, String>> {
    let meta = object.meta();
    match (&meta.creation_timestamp, &meta.deletion_timestamp, object.flaw()) {
        (Some(created), None, None) => {
            Some(Ok(changed_last(meta).map_or(created.0, |time| time.max(created.0))))
        }
        (_, None, Some(flaw)) => Some(Err(flaw)),
        _ => None,
    }
}

/// When its spec was changed last, if ever: before that it may have checked nobody. Whoever keeps no record of that says that
/// it was just now.
fn changed_last(meta: &ObjectMeta) -> Option<Timestamp> {
    if meta.generation.unwrap_or_default() <= 1 {
        return None;
    }
    let of_spec = meta
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some()));
    of_spec
        .filter_map(|entry| entry.time.as_ref())
        .map(|time| time.0)
        .max()
        .or_else(|| Some(Timestamp::now()))
}

#[cfg(test)]
mod tests;
