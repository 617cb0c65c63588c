//! Policies and bindings that differ from the shipped ones, as a real API server stores them: which ones count.

use serde_json::{Value, json};
use support::{World, until, until_ok};

use super::{BINDING, POLICY, accepted, in_force, says_accepted};
use crate::alone;

/// The object as it is, without what the API server adds to metadata.
fn get(world: &World, object: &str) -> Value {
    let text = world.kubectl_ok(&["get", object, "-o", "json"], "");
    let mut object: Value = serde_json::from_str(&text).unwrap();
    object["metadata"] = json!({"name": object["metadata"]["name"]});
    object
}

/// Creates the object with this change of its spec, a merge patch.
fn replace(world: &World, object: &Value, change: &Value) {
    let mut object = object.clone();
    merge(&mut object["spec"], change);
    world.kubectl_ok(&["replace", "-f", "-"], &object.to_string());
}

fn merge(value: &mut Value, change: &Value) {
    match change {
        Value::Object(fields) if value.is_object() => {
            fields.iter().for_each(|(field, change)| merge(&mut value[field], change));
        }
        _ => *value = change.clone(),
    }
}

/// The shipped rule with one field replaced.
fn rule(field: &str, value: &Value) -> Value {
    let mut rule = json!({"apiGroups": ["aiapi.dev"], "apiVersions": ["*"], "resources": ["bulkupdates"],
        "operations": ["CREATE", "UPDATE"]});
    rule[field] = value.clone();
    json!({"matchConstraints": {"resourceRules": [rule]}})
}

#[allow(clippy::too_many_lines, reason = "it is a table")]
#[tokio::test]
async fn only_what_checks_as_much_as_the_shipped_one_counts() {
    let _alone = alone().await;
    let mut world = World::new("admission-neighbours").await;
    in_force(&world, true).await;
    world.operator.start(&["--require-admission-policy"]);
    // With the API server's defaults.
    accepted(&world).await;

    let [policy, binding] = [POLICY, BINDING].map(|object| get(&world, object));
    let changed = |list: &str, number: usize, expression: &str| {
        let mut entries = policy["spec"][list].clone();
        entries[number]["expression"] = expression.into();
        json!({list: entries})
    };
    let labels = json!({"matchLabels": {"a": "b"}});
    let no_create = "have no rule for CREATE";
    let exclude = json!([{"apiGroups": ["aiapi.dev"], "apiVersions": ["*"], "resources": ["bulkupdates"],
        "operations": ["CREATE"]}]);
    let mut submitted = false;
    for (object, change, flaw) in [
        (&policy, json!({"failurePolicy": "Ignore"}), "its failurePolicy is not Fail"),
        (
            &policy,
            json!({"matchConditions": [{"name": "a", "expression": "false"}]}),
            "it has matchConditions",
        ),
        (&policy, json!({"matchConstraints": {"matchPolicy": "Exact"}}), "matchPolicy is not Equivalent"),
        (
            &policy,
            json!({"matchConstraints": {"namespaceSelector": labels}}),
            "namespaceSelector is not empty",
        ),
        (&policy, json!({"matchConstraints": {"objectSelector": labels}}), "objectSelector is not empty"),
        (
            &policy,
            json!({"matchConstraints": {"excludeResourceRules": exclude}}),
            "excludeResourceRules is not empty",
        ),
        (&policy, rule("scope", &json!("Cluster")), no_create),
        (&policy, rule("operations", &json!(["CREATE"])), "have no rule for UPDATE"),
        (&policy, rule("operations", &json!(["UPDATE"])), no_create),
        (&policy, rule("apiVersions", &json!(["v1alpha1"])), no_create),
        (&policy, rule("resources", &json!(["bulkupdates/status"])), no_create),
        (&policy, rule("resourceNames", &json!(["one"])), no_create),
        (&policy, changed("validations", 4, "true"), "it lacks the shipped validation"),
        (&policy, changed("variables", 0, "[]"), "its variable executions is not the shipped one"),
        (&binding, json!({"validationActions": ["Warn"]}), "its validationActions lack Deny"),
        (
            &binding,
            json!({"matchResources": {"namespaceSelector": labels}}),
            "namespaceSelector is not empty",
        ),
        (
            &binding,
            json!({"matchResources": {"excludeResourceRules": exclude}}),
            "excludeResourceRules is not empty",
        ),
        (
            &binding,
            json!({"matchResources": rule("scope", &json!("Cluster"))["matchConstraints"]}),
            no_create,
        ),
    ] {
        replace(&world, object, &change);
        if object == &binding {
            // If both are weak, the policy is named.
            replace(&world, &policy, &json!({}));
        }
        if !submitted {
            // From the start the message says why it waits.
            until("it is not accepted", || async { says_accepted(&world).is_empty() }).await;
            world.submit("waits", json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]})).await;
            submitted = true;
        }
        until_ok("the message says what is wrong", || async {
            let status = world.bulk_updates().get("waits").await.unwrap().status.unwrap_or_default();
            let said =
                status.condition("Ready").map(|c| format!("{}: {}", c.reason, c.message)).unwrap_or_default();
            if said.starts_with("Waiting") && said.contains(flaw) {
                Ok(())
            } else {
                Err(format!("{change}: {said}"))
            }
        })
        .await;
        assert_eq!(says_accepted(&world), "", "{change}");
    }

    // Each of these checks as much, or more.
    let more = json!({"validations": [], "variables": [{"name": "more", "expression": "1"}],
        "auditAnnotations": [{"key": "who", "valueExpression": "request.userInfo.username"}],
        "matchConstraints": {"namespaceSelector": {"matchLabels": {}}, "resourceRules": [
            {"apiGroups": ["aiapi.dev"], "apiVersions": ["*"], "resources": ["bulkupdates"], "operations": ["CREATE"]},
            {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["bulkupdates", "bulkupdates/status"],
                "operations": ["UPDATE"], "scope": "Namespaced"}]}});
    let mut widened = policy.clone();
    let mut more = more;
    more["variables"].as_array_mut().unwrap().extend(policy["spec"]["variables"].as_array().unwrap().clone());
    let mut validations = policy["spec"]["validations"].as_array().unwrap().clone();
    validations.reverse();
    for validation in &mut validations {
        validation["reason"] = "Invalid".into();
        validation["message"] = "in other words".into();
        validation.as_object_mut().unwrap().remove("messageExpression");
    }
    validations.push(json!({"expression": "variables.more == 1"}));
    more["validations"] = validations.into();
    merge(&mut widened["spec"], &more);
    replace(&world, &widened, &json!({}));
    let rules = policy["spec"]["matchConstraints"]["resourceRules"].clone();
    replace(
        &world,
        &binding,
        &json!({"validationActions": ["Deny", "Audit"], "matchResources": {"resourceRules": rules}}),
    );
    accepted(&world).await;
}
