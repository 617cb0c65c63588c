//! Whether the admission policies admit a write.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    handle::Asked,
    kinds::Definition,
    metadata,
    policies::{Policy, Validation},
    refusal::{Outcome, Refusal},
    request::Call,
    state::State,
    users::Identity,
    work_admission::{self, Check, Permission},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    const fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// The items of the shipped policy's variables.
const EXECUTIONS: &str =
    "request.operation == 'CREATE' && has(object.spec.executions) ? object.spec.executions : []";
const DEPLOYMENTS: &str =
    "request.operation == 'CREATE' && has(object.spec.deployments) ? object.spec.deployments : []";
const IN_NAMESPACE: &str = "' in namespace ' + request.namespace";
const REQUESTER: &str = "object.metadata.?annotations[?'aiapi.dev/requester']";
/// The shipped validations that are not about items.
const TTL: &str = "request.operation == 'CREATE' || !has(object.spec.ttlSecondsAfterFinished) || \
    (has(oldObject.spec.ttlSecondsAfterFinished) && \
    object.spec.ttlSecondsAfterFinished >= oldObject.spec.ttlSecondsAfterFinished) || \
    authorizer.group('aiapi.dev').resource('bulkupdates').namespace(request.namespace).check('delete').allowed()";
const REQUESTER_IS_AUTHOR: &str = "request.operation == 'CREATE' ? \
    variables.requester.orValue(request.userInfo.username) == request.userInfo.username : \
    variables.requester == oldObject.metadata.?annotations[?'aiapi.dev/requester']";

/// What an expression can look at.
struct Context<'a> {
    state: &'a State,
    policy: &'a Policy,
    operation: Operation,
    namespace: &'a str,
    user: &'a Identity,
    object: Option<&'a Value>,
    old: Option<&'a Value>,
}

/// Why an expression has no result.
struct Unknown;

/// Asks the policies in force; the error is the first denial.
pub fn admit(
    state: &mut State,
    definition: &Definition,
    asked: &Asked,
    operation: Operation,
    (object, old): (Option<&Value>, Option<&Value>),
) -> Outcome<()> {
    let policies: Arc<Vec<Policy>> = state.policies.in_force(state.clock.now);
    let call = asked.call;
    let resource = match call.subresource.as_str() {
        "" => definition.plural.clone(),
        subresource => format!("{}/{subresource}", definition.plural),
    };
    let mut warnings = Vec::new();
    for policy in policies.iter() {
        if policy.bindings.is_empty() || !policy.is_about(definition, &resource, operation.word()) {
            continue;
        }
        let context =
            Context { state, policy, operation, namespace: &call.namespace, user: asked.user, object, old };
        let Some((reason, message)) = context.denial() else { continue };
        for binding in &policy.bindings {
            let (name, by) = (&policy.name, &binding.name);
            if binding.actions.iter().any(|action| action == "Deny") {
                let said = format!(
                    "ValidatingAdmissionPolicy '{name}' with binding '{by}' denied request: {message}"
                );
                return Err(denied(definition, object.or(old), reason, &said));
            }
            if binding.actions.iter().any(|action| action == "Warn") {
                warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{by}': {message}"
                ));
            }
        }
    }
    state.warnings.append(&mut warnings);
    Ok(())
}

fn denied(definition: &Definition, object: Option<&Value>, reason: &'static str, said: &str) -> Refusal {
    let name = object.map_or("", |object| metadata::text(object, "name"));
    let mut refusal = Refusal::forbidden(&definition.group, &definition.plural, name, said);
    refusal.reason = reason;
    refusal.code = match reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    refusal.because(json!({"message": said}))
}

impl Context<'_> {
    /// The reason and the message of a denial, if the policy denies the request.
    fn denial(&self) -> Option<(&'static str, String)> {
        for condition in &self.policy.conditions {
            match self.constant(condition) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(Unknown) => return self.failure(condition),
            }
        }
        for validation in &self.policy.validations {
            match self.holds(&validation.expression) {
                Ok(false) => return Some((reason(validation), self.message(validation))),
                Err(Unknown) if self.policy.fails_closed => return self.failure(&validation.expression),
                Ok(true) | Err(Unknown) => {}
            }
        }
        None
    }

    fn failure(&self, expression: &str) -> Option<(&'static str, String)> {
        let message = format!("expression '{expression}' resulted in error: api_server does not know it");
        self.policy.fails_closed.then_some(("Invalid", message))
    }

    #[allow(clippy::unused_self, reason = "it reads like the others")]
    fn constant(&self, expression: &str) -> Result<bool, Unknown> {
        match expression {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Unknown),
        }
    }

    fn holds(&self, expression: &str) -> Result<bool, Unknown> {
        match expression {
            TTL => Ok(self.ttl_is_kept() || self.may("bulkupdates", "delete")),
            REQUESTER_IS_AUTHOR if self.policy.variable("requester") == Some(REQUESTER) => {
                let requester = self.object.and_then(self::requester);
                Ok(match self.operation {
                    Operation::Create => requester.is_none_or(|name| name == self.user.name),
                    _ => requester == self.old.and_then(self::requester),
                })
            }
            expression => match ItemCheck::read(expression) {
                Some(check) => self.items_are_permitted(&check),
                None => match self.work().and_then(|work| work.check(expression)) {
                    Some(Check::Holds(holds)) => Ok(holds),
                    Some(Check::If(asked)) => Ok(self.is_permitted(&asked)),
                    None => self.constant(expression),
                },
            },
        }
    }

    /// What is asked to run, if the policy is that for what runs.
    fn work(&self) -> Option<work_admission::Asked<'_>> {
        work_admission::Asked::read(self.policy, self.object, self.old)
    }

    /// Whether the object keeps its TTL, or has a longer one.
    fn ttl_is_kept(&self) -> bool {
        let ttl = |object: Option<&Value>| object?["spec"]["ttlSecondsAfterFinished"].as_i64();
        match (self.operation, ttl(self.object), ttl(self.old)) {
            (Operation::Create, ..) | (_, None, _) => true,
            (_, Some(new), Some(old)) => new >= old,
            (_, Some(_), None) => false,
        }
    }

    fn items_are_permitted(&self, check: &ItemCheck) -> Result<bool, Unknown> {
        let items = match (check.variable, self.policy.variable(check.variable).ok_or(Unknown)?) {
            ("executions", EXECUTIONS) | ("deployments", DEPLOYMENTS)
                if self.operation == Operation::Create =>
            {
                self.object.and_then(|object| object["spec"][check.variable].as_array())
            }
            ("executions", EXECUTIONS) | ("deployments", DEPLOYMENTS) | (_, "[]") => None,
            _ => return Err(Unknown),
        };
        let concerned = |item: &Value| (item["targetStatus"] == "DELETED") == check.deleted;
        let none = !items.into_iter().flatten().any(concerned);
        Ok(none || self.may(check.resource, check.verb))
    }

    /// Whether the user has this permission in the namespace of the request.
    fn may(&self, resource: &str, verb: &str) -> bool {
        const VERBS: [&str; 4] = ["stop", "delete", "create", "update"];
        let Some(verb) = VERBS.into_iter().find(|known| *known == verb) else { return false };
        self.is_permitted(&Permission { group: "aiapi.dev", resource, name: "", verb })
    }

    fn is_permitted(&self, asked: &Permission<'_>) -> bool {
        let call = Call {
            verb: asked.verb,
            is_resource: true,
            group: asked.group.to_owned(),
            version: "*".to_owned(),
            resource: asked.resource.to_owned(),
            namespace: self.namespace.to_owned(),
            name: asked.name.to_owned(),
            ..Call::default()
        };
        self.state.rbac.allows(self.user, &call).is_ok()
    }

    fn message(&self, validation: &Validation) -> String {
        let made = self.text(&validation.message_expression);
        made.unwrap_or_else(|| match validation.message.as_str() {
            "" => format!("failed expression: {}", validation.expression),
            message => message.to_owned(),
        })
    }

    /// The value of an expression that puts a text together.
    fn text(&self, expression: &str) -> Option<String> {
        if let Some(cases) = expression.strip_prefix("request.operation == 'CREATE' ? ") {
            let (create, other) = cases.split_once(" : '")?;
            let other = format!("'{other}");
            return self.text(if self.operation == Operation::Create { create } else { &other });
        }
        let mut text = String::new();
        for term in terms(expression) {
            match term.strip_prefix('\'').and_then(|term| term.strip_suffix('\'')) {
                Some(literal) => text += literal,
                None => match term {
                    "request.userInfo.username" => text += &self.user.name,
                    "request.namespace" => text += self.namespace,
                    "variables.inNamespace" if self.policy.variable("inNamespace") == Some(IN_NAMESPACE) => {
                        text += " in namespace ";
                        text += self.namespace;
                    }
                    "variables.kind" => text += &self.work()?.kind,
                    "variables.inNamespace" => {
                        let work = self.work()?;
                        text =
                            format!("{text}{}.{} in namespace {}", work.resource, work.group, self.namespace);
                    }
                    _ => return None,
                },
            }
        }
        Some(text).filter(|text| !text.is_empty())
    }
}

/// What `+` puts together.
fn terms(expression: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut from, mut quoted) = (0, false);
    for (at, c) in expression.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '+' if !quoted => {
                terms.push(expression[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    terms.push(expression[from..].trim());
    terms
}

fn reason(validation: &Validation) -> &'static str {
    match validation.reason.as_str() {
        "Forbidden" => "Forbidden",
        "Unauthorized" => "Unauthorized",
        "RequestEntityTooLarge" => "RequestEntityTooLarge",
        _ => "Invalid",
    }
}

fn requester(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"]["aiapi.dev/requester"].as_str()
}

/// `!variables.X.exists(item, item.targetStatus != 'DELETED') || authorizer....check('stop').allowed()`
struct ItemCheck<'a> {
    variable: &'a str,
    /// Whether it is about the items to delete, or about all others.
    deleted: bool,
    resource: &'a str,
    verb: &'a str,
}

impl<'a> ItemCheck<'a> {
    fn read(expression: &'a str) -> Option<Self> {
        let (variable, rest) =
            expression.strip_prefix("!variables.")?.split_once(".exists(item, item.targetStatus ")?;
        let (operator, rest) = rest.split_once(" 'DELETED') || authorizer.group('aiapi.dev').resource('")?;
        let (resource, rest) = rest.split_once("').namespace(request.namespace).check('")?;
        let verb = rest.strip_suffix("').allowed()")?;
        let deleted = match operator {
            "==" => true,
            "!=" => false,
            _ => return None,
        };
        Some(Self { variable, deleted, resource, verb })
    }
}
