//! Who may ask: a `ValidatingAdmissionPolicy` checks it when a BulkUpdate is created, and without the policy nothing is
//! planned. This follows the policy and its binding, to know since when they have stood.

use std::{
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Resource, runtime::watcher::Event};
use tokio::sync::watch;

use crate::bulk_update::request::later;

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
        spec.validations.unwrap_or_default().is_empty().then(|| "it has no validations".into())
    }
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
        // The API server fills in an empty one.
        let matches = spec.match_resources.unwrap_or_default();
        let selects = |selector: Option<LabelSelector>| {
            selector.is_some_and(|selector| selector != LabelSelector::default())
        };
        let limited = matches.resource_rules.is_some_and(|rules| !rules.is_empty())
            || matches.exclude_resource_rules.is_some_and(|rules| !rules.is_empty())
            || selects(matches.namespace_selector)
            || selects(matches.object_selector);
        limited.then(|| "its matchResources leave some BulkUpdates out".into())
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

/// Since when it stands; what is on its way out does not.
fn stands<K: Guard>(object: &K) -> Option<Result<Timestamp, String>> {
    let ObjectMeta { creation_timestamp, deletion_timestamp, .. } = object.meta();
    match (creation_timestamp, deletion_timestamp, object.flaw()) {
        (Some(created), None, None) => Some(Ok(created.0)),
        (_, None, Some(flaw)) => Some(Err(flaw)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn policy(created: i64, spec: &Value) -> ValidatingAdmissionPolicy {
        let created = Timestamp::from_second(created).unwrap();
        from_value(json!({"metadata": {"name": POLICY, "creationTimestamp": created}, "spec": spec})).unwrap()
    }

    fn binding(created: i64, spec: &Value) -> ValidatingAdmissionPolicyBinding {
        let created = Timestamp::from_second(created).unwrap();
        from_value(json!({"metadata": {"name": POLICY, "creationTimestamp": created}, "spec": spec})).unwrap()
    }

    fn whole() -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
        let matches = json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}});
        (
            policy(100, &json!({"failurePolicy": "Fail", "validations": [{"expression": "true"}]})),
            binding(
                50,
                &json!({"policyName": POLICY, "validationActions": ["Deny"], "matchResources": matches}),
            ),
        )
    }

    fn missing(policies: &Policies) -> String {
        match policies.admission() {
            Admission::Missing(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn list(policies: &Policies, policy: Option<&ValidatingAdmissionPolicy>) {
        policies.take_in_policy(Event::Init);
        if let Some(policy) = policy {
            policies.take_in_policy(Event::InitApply(policy.clone()));
        }
        policies.take_in_policy(Event::InitDone);
    }

    #[test]
    fn the_younger_of_the_two_counts_and_either_missing_is_missing() {
        let (policy, binding) = whole();
        let policies = Policies::new(true);
        assert!(missing(&policies).contains("can't be listed yet"));
        list(&policies, Some(&policy));
        assert!(missing(&policies).contains("Binding bulkupdates.aiapi.dev can't be listed yet"));
        policies.take_in_binding(Event::Init);
        policies.take_in_binding(Event::InitDone);
        assert!(missing(&policies).contains("Binding bulkupdates.aiapi.dev is missing"));
        policies.take_in_binding(Event::Apply(binding.clone()));
        assert_eq!(policies.admission(), Admission::Since(Timestamp::from_second(100).unwrap()));
        policies.take_in_policy(Event::Delete(policy.clone()));
        assert!(missing(&policies).contains("Policy bulkupdates.aiapi.dev is missing"));
        list(&policies, Some(&policy));
        assert!(matches!(policies.admission(), Admission::Since(_)));
        // A list under way takes nothing away; one without it does.
        policies.take_in_policy(Event::Init);
        assert!(matches!(policies.admission(), Admission::Since(_)));
        list(&policies, None);
        assert!(missing(&policies).contains("is missing"));
        let mut going = binding;
        going.metadata.deletion_timestamp.clone_from(&going.metadata.creation_timestamp);
        policies.take_in_binding(Event::Apply(going));
        assert!(missing(&policies).contains("is missing"));
        assert_eq!(Policies::new(false).admission(), Admission::NotRequired);
    }

    #[test]
    fn what_checks_nobody_is_as_good_as_missing() {
        let (whole_policy, whole_binding) = whole();
        let policies = Policies::new(true);
        list(
            &policies,
            Some(&policy(100, &json!({"failurePolicy": "Ignore", "validations": [{"expression": "true"}]}))),
        );
        policies.take_in_binding(Event::Apply(whole_binding));
        assert!(missing(&policies).contains("its failurePolicy is not Fail"));
        list(&policies, Some(&policy(100, &json!({"validations": []}))));
        assert!(missing(&policies).contains("it has no validations"));
        list(&policies, Some(&whole_policy));
        for (spec, flaw) in [
            (json!({"policyName": "other", "validationActions": ["Deny"]}), "it does not bind"),
            (json!({"policyName": POLICY, "validationActions": ["Warn", "Audit"]}), "lack Deny"),
            (
                json!({"policyName": POLICY, "validationActions": ["Deny"],
                    "matchResources": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}),
                "leave some BulkUpdates out",
            ),
            (
                json!({"policyName": POLICY, "validationActions": ["Deny"],
                    "matchResources": {"excludeResourceRules": [{"resources": ["*"]}]}}),
                "leave some BulkUpdates out",
            ),
        ] {
            policies.take_in_binding(Event::Apply(binding(100, &spec)));
            assert!(missing(&policies).contains(flaw), "{flaw}");
        }
    }
}
