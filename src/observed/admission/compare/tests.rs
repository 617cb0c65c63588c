//! What checks as much as the shipped one, and what does not: each field in each way.

use serde_json::json;

use super::*;

/// The shipped policy's spec, as the API server sends it.
pub fn policy() -> Value {
    let mut spec = Shipped::for_bulk_updates().unwrap().policy.clone();
    let constraints = &mut spec["matchConstraints"];
    constraints["matchPolicy"] = json!("Equivalent");
    constraints["namespaceSelector"] = json!({});
    constraints["objectSelector"] = json!({});
    constraints["resourceRules"][0]["scope"] = json!("*");
    spec
}

/// The shipped binding's.
pub fn binding() -> Value {
    let manifests: Vec<Value> = serde_saphyr::from_multiple(FOR_BULK_UPDATES).unwrap();
    manifests.into_iter().find(|m| m["kind"] == "ValidatingAdmissionPolicyBinding").unwrap()["spec"].take()
}

/// The same with something else in that place; null takes it away.
fn with(mut spec: Value, at: &str, value: Value) -> Value {
    let (parent, field) = at.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap() {
        Value::Array(list) if field == "+" => list.push(value),
        Value::Array(list) if value.is_null() => drop(list.remove(field.parse().unwrap())),
        Value::Array(list) => list[field.parse::<usize>().unwrap()] = value,
        fields => fields[field] = value,
    }
    spec
}

#[test]
fn the_shipped_ones_can_be_read_and_are_as_good_as_themselves() {
    let shipped = Shipped::for_bulk_updates().unwrap();
    assert_eq!(list(&shipped.policy["validations"]).len(), 6);
    assert_eq!(list(&shipped.policy["variables"]).len(), 4);
    let rules = list(&shipped.policy["matchConstraints"]["resourceRules"]);
    assert_eq!(
        rules.iter().flat_map(combinations).collect::<Vec<_>>(),
        [("aiapi.dev", "*", "bulkupdates", "CREATE"), ("aiapi.dev", "*", "bulkupdates", "UPDATE")]
    );
    assert_eq!(shipped.check_policy(&shipped.policy), Ok(()));
    assert_eq!(shipped.check_policy(&policy()), Ok(()));
    assert_eq!(shipped.check_binding(&binding()), Ok(()));
}

#[test]
fn a_policy_that_checks_less_is_found_out() {
    let shipped = Shipped::for_bulk_updates().unwrap();
    let selector = json!({"matchLabels": {"a": "b"}});
    let expression = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
    let rule = "/matchConstraints/resourceRules/0";
    let no_rule = "have no rule for";
    let not_known = "which this version does not know";
    let mut cases = vec![
        ("/failurePolicy".to_owned(), json!("Ignore"), "its failurePolicy is not Fail"),
        ("/failurePolicy".into(), json!("fail"), "its failurePolicy is not Fail"),
        ("/paramKind".into(), json!({"apiVersion": "v1", "kind": "ConfigMap"}), "it has a paramKind"),
        ("/paramKind".into(), json!({}), "it has a paramKind"),
        ("/matchConditions".into(), json!([{"name": "a", "expression": "true"}]), "it has matchConditions"),
        ("/matchConditions".into(), json!({}), "it has matchConditions"),
        ("/exceptFor".into(), json!(["alice"]), not_known),
        ("/exceptFor".into(), json!(false), not_known),
        ("/matchConstraints".into(), json!(null), no_rule),
        ("/matchConstraints".into(), json!([]), not_known),
        ("/matchConstraints/exceptFor".into(), json!("alice"), not_known),
        ("/matchConstraints/matchPolicy".into(), json!("Exact"), "matchConstraints.matchPolicy is not"),
        ("/matchConstraints/namespaceSelector".into(), selector.clone(), "namespaceSelector is not empty"),
        ("/matchConstraints/namespaceSelector".into(), expression.clone(), "namespaceSelector is not empty"),
        ("/matchConstraints/namespaceSelector".into(), json!({"new": {}}), "namespaceSelector is not empty"),
        ("/matchConstraints/objectSelector".into(), selector, "objectSelector is not empty"),
        ("/matchConstraints/objectSelector".into(), expression, "objectSelector is not empty"),
        ("/matchConstraints/objectSelector".into(), json!("none"), "objectSelector is not empty"),
        (
            "/matchConstraints/excludeResourceRules".into(),
            json!([{"resources": ["a"]}]),
            "excludeResourceRules is not empty",
        ),
        ("/matchConstraints/resourceRules".into(), json!([]), no_rule),
        (rule.into(), json!({}), no_rule),
        (rule.into(), json!("x"), no_rule),
        (format!("{rule}/operations"), json!(["CREATE"]), "have no rule for UPDATE of"),
        (format!("{rule}/operations"), json!(["UPDATE", "DELETE"]), "have no rule for CREATE of"),
        (format!("{rule}/operations"), json!([]), no_rule),
        (format!("{rule}/operations"), json!("*"), no_rule),
        (format!("{rule}/apiGroups"), json!(["apps"]), no_rule),
        (format!("{rule}/apiGroups"), json!(null), no_rule),
        (format!("{rule}/apiVersions"), json!(["v1alpha1"]), no_rule),
        (format!("{rule}/resources"), json!(["executions"]), no_rule),
        (format!("{rule}/resources"), json!(["bulkupdates/status"]), no_rule),
        (format!("{rule}/resources"), json!(["*/status"]), no_rule),
        (format!("{rule}/scope"), json!("Cluster"), no_rule),
        (format!("{rule}/scope"), json!("new"), no_rule),
        (format!("{rule}/resourceNames"), json!(["one"]), no_rule),
        (format!("{rule}/new"), json!("x"), no_rule),
        ("/validations".into(), json!([]), "lacks the shipped validation !variables.executions"),
        ("/validations".into(), json!(null), "lacks the shipped validation"),
        ("/validations".into(), json!([{"expression": "true"}]), "lacks the shipped validation"),
        ("/variables".into(), json!([]), "its variable executions is not the shipped one"),
        ("/variables/+".into(), json!({"name": "requester", "expression": "'a'"}), "its variable requester"),
    ];
    for (at, of) in [("validations", 5), ("variables", 4)] {
        for number in 0..of {
            let place = format!("/{at}/{number}");
            let expression = policy()[at][number]["expression"].as_str().unwrap().to_owned();
            let flaw =
                if at == "variables" { "is not the shipped one" } else { "lacks the shipped validation" };
            cases.extend([
                (place.clone(), json!(null), flaw),
                (format!("{place}/expression"), json!("true"), flaw),
                (format!("{place}/expression"), json!(format!("{expression} || true")), flaw),
                (format!("{place}/expression"), json!(format!("{expression} ")), flaw),
                (format!("{place}/expression"), json!(expression.replacen('\'', "' ", 1)), flaw),
                (format!("{place}/expression"), json!(null), flaw),
                (format!("{place}/onlyFor"), json!("bob"), flaw),
            ]);
        }
    }
    for (at, value, flaw) in cases {
        let changed = with(policy(), &at, value.clone());
        assert_ne!(changed, policy(), "{at}: {value} changes nothing");
        let found = shipped.check_policy(&changed).expect_err(&format!("{at}: {value}")).to_string();
        assert!(found.contains(flaw) && found.len() < 200, "{at}: {value}: {found}");
    }
    for odd in [json!(null), json!([]), json!("spec"), json!({})] {
        assert!(shipped.check_policy(&odd).is_err(), "{odd}");
        assert!(shipped.check_binding(&odd).is_err(), "{odd}");
    }
}

#[test]
fn a_policy_that_checks_as_much_or_more_counts() {
    let shipped = Shipped::for_bulk_updates().unwrap();
    let rule = "/matchConstraints/resourceRules/0";
    let narrow = |operations: &[&str]| json!({"apiGroups": ["aiapi.dev"], "apiVersions": ["*"], "resources": ["bulkupdates"], "operations": operations});
    let mut cases = vec![
        ("/failurePolicy".to_owned(), json!(null)),
        ("/matchConditions".into(), json!([])),
        ("/auditAnnotations".into(), json!([{"key": "who", "valueExpression": "request.userInfo.username"}])),
        ("/exceptFor".into(), json!(null)),
        ("/matchConstraints/matchPolicy".into(), json!(null)),
        ("/matchConstraints/namespaceSelector".into(), json!(null)),
        ("/matchConstraints/objectSelector".into(), json!({"matchLabels": {}, "matchExpressions": []})),
        ("/matchConstraints/excludeResourceRules".into(), json!([])),
        (format!("{rule}/resourceNames"), json!([])),
        (format!("{rule}/scope"), json!("Namespaced")),
        (format!("{rule}/scope"), json!(null)),
        (format!("{rule}/operations"), json!(["*"])),
        (format!("{rule}/operations"), json!(["DELETE", "UPDATE", "CREATE"])),
        (format!("{rule}/apiGroups"), json!(["*"])),
        (format!("{rule}/apiGroups"), json!(["other", "aiapi.dev"])),
        (format!("{rule}/apiVersions"), json!(["v1alpha1", "*"])),
        (format!("{rule}/resources"), json!(["*"])),
        (format!("{rule}/resources"), json!(["*/*"])),
        (format!("{rule}/resources"), json!(["bulkupdates/*"])),
        (format!("{rule}/resources"), json!(["bulkupdates", "bulkupdates/status"])),
        ("/matchConstraints/resourceRules/+".into(), json!({"resources": ["a"], "resourceNames": ["b"]})),
        ("/matchConstraints/resourceRules".into(), json!([narrow(&["UPDATE"]), narrow(&["CREATE"])])),
        (
            "/validations/+".into(),
            json!({"expression": "!has(object.spec.dryRun)", "message": "no dry runs"}),
        ),
        ("/variables/+".into(), json!({"name": "more", "expression": "1"})),
    ];
    for number in 0..5 {
        for (field, value) in
            [("messageExpression", json!(null)), ("message", json!("no")), ("reason", json!("Invalid"))]
        {
            cases.push((format!("/validations/{number}/{field}"), value));
        }
    }
    for (at, value) in cases {
        let found = shipped.check_policy(&with(policy(), &at, value.clone()));
        assert_eq!(found, Ok(()), "{at}: {value}");
    }
    let mut reversed = policy();
    reversed["validations"].as_array_mut().unwrap().reverse();
    assert_eq!(shipped.check_policy(&reversed), Ok(()));
}

#[test]
fn a_binding_that_puts_less_into_force_is_found_out_and_one_that_does_as_much_counts() {
    let shipped = Shipped::for_bulk_updates().unwrap();
    let selector = json!({"matchLabels": {"a": "b"}});
    let spec =
        with(binding(), "/matchResources", json!({"matchPolicy": "Equivalent", "namespaceSelector": {}}));
    for (at, value, flaw) in [
        ("/policyName", json!("other"), "its policyName is not bulkupdates.aiapi.dev"),
        ("/policyName", json!(null), "its policyName is not bulkupdates.aiapi.dev"),
        ("/validationActions", json!(["Warn", "Audit"]), "lack Deny"),
        ("/validationActions", json!([]), "lack Deny"),
        ("/validationActions", json!(null), "lack Deny"),
        ("/validationActions", json!("Deny"), "lack Deny"),
        ("/validationActions", json!(["Deny", "DryRun"]), "which this version does not know"),
        ("/paramRef", json!({"name": "some"}), "it has a paramRef"),
        ("/exceptFor", json!("alice"), "which this version does not know"),
        ("/matchResources/namespaceSelector", selector.clone(), "namespaceSelector is not empty"),
        ("/matchResources/objectSelector", selector, "objectSelector is not empty"),
        (
            "/matchResources/excludeResourceRules",
            json!([{"resources": ["*"]}]),
            "excludeResourceRules is not empty",
        ),
        ("/matchResources/resourceRules", json!([{"resources": ["*"]}]), "have no rule for CREATE"),
        ("/matchResources/resourceRules", json!({}), "have no rule for CREATE"),
        ("/matchResources/matchPolicy", json!("Exact"), "matchResources.matchPolicy is not"),
        ("/matchResources/exceptFor", json!("alice"), "which this version does not know"),
        ("/matchResources", json!("all"), "which this version does not know"),
    ] {
        let found = shipped.check_binding(&with(spec.clone(), at, value.clone())).expect_err(at).to_string();
        assert!(found.contains(flaw), "{at}: {value}: {found}");
    }
    for (at, value) in [
        ("/validationActions", json!(["Deny", "Audit"])),
        ("/matchResources", json!(null)),
        ("/matchResources", json!({})),
        ("/matchResources/objectSelector", json!({"matchLabels": null})),
        ("/matchResources/resourceRules", json!([])),
        ("/matchResources/resourceRules", policy()["matchConstraints"]["resourceRules"].clone()),
    ] {
        assert_eq!(shipped.check_binding(&with(spec.clone(), at, value.clone())), Ok(()), "{at}: {value}");
    }
}

#[test]
fn both_policies_are_shipped_with_a_binding_that_names_them() {
    for (shipped, manifests) in
        [(Shipped::for_bulk_updates(), FOR_BULK_UPDATES), (Shipped::for_work(), FOR_WORK)]
    {
        let shipped = shipped.unwrap();
        let manifests: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
        for manifest in &manifests {
            assert_eq!(manifest["metadata"]["name"], shipped.name);
        }
        shipped.check_policy(&manifests[0]["spec"]).unwrap();
        shipped.check_binding(&manifests[1]["spec"]).unwrap();
    }
}
