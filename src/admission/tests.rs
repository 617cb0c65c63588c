//! What counts as a check of authors, and since when.

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
        policy(100, &whole_policy()),
        binding(50, &json!({"policyName": POLICY, "validationActions": ["Deny"], "matchResources": matches})),
    )
}

fn whole_policy() -> Value {
    json!({"failurePolicy": "Fail", "validations": [{"expression": "true"}], "matchConstraints": {
        "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        "resourceRules": [{"apiGroups": ["aiapi.dev"], "apiVersions": ["*"], "resources": ["bulkupdates"],
            "operations": ["CREATE", "UPDATE"], "scope": "*"}]}})
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
    let (sound_policy, sound_binding) = whole();
    let policies = Policies::new(true);
    policies.take_in_binding(Event::Apply(sound_binding));
    let some_out = json!({"matchLabels": {"a": "b"}});
    for (at, value, flaw) in [
        ("/failurePolicy", json!("Ignore"), "its failurePolicy is not Fail"),
        ("/validations", json!([]), "it has no validations"),
        ("/paramKind", json!({"apiVersion": "v1", "kind": "ConfigMap"}), "paramKind or matchConditions"),
        ("/matchConditions", json!([{"name": "a", "expression": "false"}]), "paramKind or matchConditions"),
        ("/matchConstraints/namespaceSelector", some_out.clone(), "its matchConstraints leave some"),
        ("/matchConstraints/objectSelector", some_out.clone(), "its matchConstraints leave some"),
        (
            "/matchConstraints/excludeResourceRules",
            json!([{"resources": ["*"]}]),
            "its matchConstraints leave some",
        ),
        ("/matchConstraints/resourceRules", json!([]), "no rule for the creation"),
        ("/matchConstraints/resourceRules/0/operations", json!(["UPDATE"]), "no rule for the creation"),
        ("/matchConstraints/resourceRules/0/apiVersions", json!(["v1alpha1"]), "no rule for the creation"),
        ("/matchConstraints/resourceRules/0/resources", json!(["executions"]), "no rule for the creation"),
        ("/matchConstraints/resourceRules/0/resourceNames", json!(["one"]), "no rule for the creation"),
    ] {
        list(&policies, Some(&policy(100, &with(whole_policy(), at, value))));
        assert!(missing(&policies).contains(flaw), "{at}: {}", missing(&policies));
    }
    list(&policies, Some(&sound_policy));
    assert_eq!(policies.admission(), Admission::Since(Timestamp::from_second(100).unwrap()));
    let spec = json!({"policyName": POLICY, "validationActions": ["Deny"], "matchResources": {}});
    for (at, value, flaw) in [
        ("/policyName", json!("other"), "it does not bind"),
        ("/validationActions", json!(["Warn", "Audit"]), "lack Deny"),
        ("/paramRef", json!({"name": "some"}), "paramRef leave some"),
        ("/matchResources/namespaceSelector", some_out.clone(), "paramRef leave some"),
        ("/matchResources/excludeResourceRules", json!([{"resources": ["*"]}]), "paramRef leave some"),
        ("/matchResources/resourceRules", json!([{"resources": ["*"]}]), "paramRef leave some"),
    ] {
        policies.take_in_binding(Event::Apply(binding(100, &with(spec.clone(), at, value))));
        assert!(missing(&policies).contains(flaw), "{at}: {}", missing(&policies));
    }
}

/// The same with this in that place.
fn with(mut spec: Value, at: &str, value: Value) -> Value {
    let (parent, field) = at.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
    spec
}

#[test]
fn what_was_changed_stands_since_then() {
    let (sound_policy, sound_binding) = whole();
    let policies = Policies::new(true);
    list(&policies, Some(&sound_policy));
    let changed = |generation: i64, managed: Value| {
        let mut binding = sound_binding.clone();
        binding.metadata.generation = Some(generation);
        binding.metadata.managed_fields = from_value(managed).unwrap();
        policies.take_in_binding(Event::Apply(binding));
        match policies.admission() {
            Admission::Since(since) => since,
            other => panic!("{other:?}"),
        }
    };
    let second = |second| Timestamp::from_second(second).unwrap();
    let entry = |field: &str, time| json!({"time": second(time), "fieldsV1": {field: {}}});
    let fields =
        json!([entry("f:metadata", 900), entry("f:spec", 500), entry("f:spec", 300), entry("f:status", 800)]);
    assert_eq!(changed(1, fields.clone()), second(100), "it is as it was made");
    assert_eq!(changed(2, fields), second(500));
    // Who keeps no record of it may have changed it just now.
    assert!(changed(2, json!([])) > second(1_700_000_000));
}
