//! The operator's rights are minimal: without any one of them something fails. That every right is used is checked by
//! `tests/docs/rights_used.rs`, from the audit logs of all tests.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::{World, conditions, operator::output, outcome, until};

/// One verb that a shipped role grants.
#[derive(Clone, Debug, PartialEq)]
struct Right {
    role: String,
    rule: usize,
    resource: String,
    group: String,
    verb: String,
    /// The only object that it is for.
    name: Option<String>,
}

/// The shipped roles, given to the operator of one world as copies.
struct Roles {
    roles: Vec<Value>,
}

impl Roles {
    fn shipped(world: &World) -> Self {
        let mut roles = world.plane.manifests("base");
        roles.retain(|manifest| {
            let kind = manifest["kind"].as_str().unwrap();
            let name = manifest["metadata"]["name"].as_str().unwrap();
            ["Role", "ClusterRole"].contains(&kind) && name.starts_with("ai-api-operator")
        });
        assert_eq!(roles.len(), 3);
        Self { roles }
    }

    fn rights(&self) -> Vec<Right> {
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().into_iter().flatten();
            list.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut rights = Vec::new();
        for role in &self.roles {
            for (rule, granted) in role["rules"].as_array().unwrap().iter().enumerate() {
                for resource in texts(&granted["resources"]) {
                    for verb in texts(&granted["verbs"]) {
                        rights.push(Right {
                            role: role["metadata"]["name"].as_str().unwrap().to_owned()
                                + role["kind"].as_str().unwrap(),
                            rule,
                            resource: resource.clone(),
                            group: texts(&granted["apiGroups"])[0].clone(),
                            verb,
                            name: texts(&granted["resourceNames"]).first().cloned(),
                        });
                    }
                }
            }
        }
        rights
    }

    /// Gives the operator all rights except this one.
    async fn without(&self, world: &World, right: Option<&Right>) {
        for role in &self.roles {
            let (kind, shipped) =
                (role["kind"].as_str().unwrap(), role["metadata"]["name"].as_str().unwrap());
            let name = format!("{shipped}-{}", world.namespace);
            let mut rules = Vec::new();
            for (at, rule) in role["rules"].as_array().unwrap().iter().enumerate() {
                for resource in rule["resources"].as_array().unwrap() {
                    let mut left = rule.clone();
                    left["resources"] = json!([resource]);
                    let here = |right: &&Right| {
                        right.role == format!("{shipped}{kind}")
                            && right.rule == at
                            && resource == &right.resource
                    };
                    if let Some(right) = right.filter(here) {
                        left["verbs"].as_array_mut().unwrap().retain(|verb| verb != &right.verb);
                    }
                    if left["verbs"] != json!([]) {
                        rules.push(left);
                    }
                }
            }
            let mut copy = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                "metadata": {"name": name}, "rules": rules});
            let mut binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"),
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": "ai-api-operator", "namespace": world.namespace}]});
            if kind == "Role" {
                copy["metadata"]["namespace"] = json!(world.namespace);
                binding["metadata"]["namespace"] = json!(world.namespace);
            }
            for manifest in [copy, binding] {
                world.kubectl_ok(&["apply", "-f", "-"], &manifest.to_string());
            }
        }
        for wanted in self.rights() {
            let missing = right == Some(&wanted);
            if missing || right.is_none() {
                until("the authorizer has seen the change", || async { may(world, &wanted) != missing })
                    .await;
            }
        }
    }
}

fn may(world: &World, right: &Right) -> bool {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
    let resource =
        if right.group.is_empty() { resource.to_owned() } else { format!("{resource}.{}", right.group) };
    let object = right.name.as_ref().map_or(resource.clone(), |name| format!("{resource}/{name}"));
    let subresource = format!("--subresource={subresource}");
    world.kubectl(&["auth", "can-i", &right.verb, &object, &subresource, "--as", &world.operator.user], "").0
}

/// In the operator's notation.
fn named(right: &Right) -> String {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
    let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
    let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    let name = right.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    format!("{} {resource}{group}{subresource}{name}", right.verb)
}

async fn world(name: &str) -> (World, Roles) {
    let world = World::new(name).await;
    let roles = Roles::shipped(&world);
    roles.without(&world, None).await;
    // From here on only the copies count.
    let shipped = [format!("test-{name}"), format!("test-{name}-admission")];
    for binding in shipped {
        world.kubectl_ok(&["delete", "clusterrolebinding", &binding], "");
    }
    world.kubectl_ok(&["delete", "rolebinding", "ai-api-operator"], "");
    (world, roles)
}

#[tokio::test]
async fn without_any_one_of_its_rights_it_does_not_start_and_names_it() {
    let (world, roles) = world("rbac-start").await;
    let rights = roles.rights();
    assert!(rights.len() > 25, "{rights:#?}");
    for right in &rights {
        roles.without(&world, Some(right)).await;
        let mut command = world.operator.command();
        command.args(["--watch-namespace", "rbac-start", "--require-admission-policy"]);
        let output = output(&mut command);
        let log = String::from_utf8(output.stderr).unwrap();
        let last = log.lines().last().unwrap_or_default();
        let wanted = format!("permissions are missing: {}", named(right));
        assert!(output.status.code() == Some(2) && last.contains(&wanted), "{wanted}: {log}");
        println!("{}", last.split("ERROR ").nth(1).unwrap());
    }
}

/// What fails at runtime without this right; the others are only used at the start.
async fn failure_without(world: &mut World, roles: &Roles, right: &Right) -> Option<String> {
    let number = right.rule.to_string() + &right.verb + &right.resource.replace('/', "-");
    let name = |what: &str| format!("{what}-{number}");
    let kind = if right.resource.starts_with("deployments") { Kind::Deployment } else { Kind::Execution };
    let item = |id: &str, target: &str| json!({"id": id, "targetStatus": target});
    let one = |id: &str, target: &str| json!({kind.plural(): [item(id, target)]});
    let logged = async |world: &World, text: &str| {
        until(text, || async { world.operator.log().contains(text) }).await;
    };
    match (&*right.resource, &*right.verb) {
        ("executions" | "deployments", "get") => {
            roles.without(world, Some(right)).await;
            world.submit(&name("waits"), one("no-such-name", "STOPPED")).await;
            let status = world.ready_reason(&name("waits"), "Waiting").await;
            Some(format!("a refusal is not confirmed: {}", conditions(&status)[1]))
        }
        ("executions" | "deployments", "delete") => {
            world.own(kind, "stopped-1", "STOPPED").await;
            roles.without(world, Some(right)).await;
            let status = world.carry_out(&name("delete"), one("stopped-1", "DELETED")).await;
            let outcome = outcome(&status, kind, "stopped-1");
            assert_eq!(outcome, "Failed Forbidden");
            Some(format!("nothing is deleted: {outcome}"))
        }
        ("executions/status" | "deployments/status", "patch") => {
            world.own(kind, "running-1", "RUNNING").await;
            roles.without(world, Some(right)).await;
            let status = world.carry_out(&name("stop"), one("running-1", "STOPPED")).await;
            let outcome = outcome(&status, kind, "running-1");
            assert_eq!(outcome, "Failed Forbidden");
            Some(format!("nothing is stopped: {outcome}"))
        }
        ("bulkupdates", "get") => {
            // A stored plan is read before it is continued.
            let managed = json!({"managedBy": "example.com/other"});
            world.target(kind, "managed-1", managed, json!({"state": "RUNNING"})).await;
            world.submit(&name("planned"), one("managed-1", "STOPPED")).await;
            world.ready_reason(&name("planned"), "Settling").await;
            roles.without(world, Some(right)).await;
            // A conflict makes it read again: somebody has written a label since.
            let bulk = format!("bu/{}", name("planned"));
            world.kubectl_ok(&["label", &bulk, "seen=yes"], "");
            world.set_status(kind, "managed-1", json!({"state": "STOPPED"})).await;
            logged(world, "cannot write the status; retrying").await;
            Some("after a conflict the record is not written".into())
        }
        ("bulkupdates", "delete") => {
            roles.without(world, Some(right)).await;
            let mut spec = one("no-such-name", "STOPPED");
            spec["ttlSecondsAfterFinished"] = json!(0);
            world.submit(&name("expires"), spec).await;
            logged(world, "cannot delete it after its TTL; retrying").await;
            Some("what has finished is not deleted after its TTL".into())
        }
        ("bulkupdates/status", "update" | "patch") => {
            roles.without(world, Some(right)).await;
            // If somebody else owns a label, the status is patched.
            let labels = if right.verb == "patch" { json!({"team": "a"}) } else { Value::Null };
            let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
                "metadata": {"name": name("unrecorded"), "labels": labels}, "spec": one("no-such-name", "STOPPED")});
            world.kubectl_ok(&["create", "-f", "-"], &bulk.to_string());
            let text = format!("rbac/{}", name("unrecorded"));
            until("the status is not written", || async {
                let log = world.operator.log();
                log.lines().any(|line| line.contains(&text) && line.contains("cannot write the status"))
            })
            .await;
            let labels = if right.verb == "patch" { " of what has labels" } else { "" };
            Some(format!("no plan{labels} is recorded, and nothing is carried out"))
        }
        ("events", "create") => {
            roles.without(world, Some(right)).await;
            world.carry_out(&name("no-event"), one("no-such-name", "STOPPED")).await;
            logged(world, "cannot publish an event").await;
            Some("there are no events".into())
        }
        ("configmaps", "get") => {
            roles.without(world, Some(right)).await;
            world.submit(&name("flag"), one("no-such-name", "STOPPED")).await;
            let status = world.ready_reason(&name("flag"), "FlagUnreadable").await;
            Some(format!("the flag is not read: {}", conditions(&status)[1]))
        }
        ("leases", "update") => {
            roles.without(world, Some(right)).await;
            until("it ends", || std::future::ready(world.operator.ended().is_some())).await;
            assert!(world.operator.log().contains("lost the Lease: it could not be renewed: 403"));
            world.kubectl_ok(&["delete", "lease", "ai-api-operator"], "");
            roles.without(world, None).await;
            world.operator.start(&["--require-admission-policy"]);
            Some("the Lease is not renewed, and it ends".into())
        }
        ("leases", "create") => {
            roles.without(world, Some(right)).await;
            world.kubectl_ok(&["delete", "lease", "ai-api-operator"], "");
            until("it ends", || std::future::ready(world.operator.ended().is_some())).await;
            roles.without(world, None).await;
            world.operator.start(&["--require-admission-policy"]);
            Some("there is no Lease, and it ends".into())
        }
        _ => None,
    }
}

#[tokio::test]
async fn without_any_one_of_its_rights_something_fails_while_it_runs() {
    let (mut world, roles) = world("rbac").await;
    world.operator.start(&["--require-admission-policy"]);
    let accepts = || async { world.operator.log().contains("the admission policy is in force") };
    until("BulkUpdates are accepted", accepts).await;
    let mut at_the_start = Vec::new();
    for right in &roles.rights() {
        match failure_without(&mut world, &roles, right).await {
            Some(feature) => {
                println!("{:60} {feature}", named(right));
                roles.without(&world, None).await;
                world.operator.until_ready().await;
            }
            None => at_the_start.push(named(right)),
        }
    }
    // Lists of a start are only repeated when a watch fails.
    at_the_start.retain(|right| !right.starts_with("list ") && !right.starts_with("watch "));
    at_the_start.sort();
    let only = ["get leases.coordination.k8s.io ai-api-operator"];
    assert_eq!(at_the_start, only, "nothing fails without it");
}
