//! Answers that are no success: a `Status`, worded as the real server words it.

use serde_json::{Map, Value, json};

use crate::{kinds::Definition, request::Call};

/// A `Status` of a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: u16,
    /// Empty for some internal errors.
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Value>,
    /// The token of a list that may go on inconsistently.
    pub continues: Option<String>,
    /// A path that nothing serves: an answer in plain text.
    pub plain: bool,
}

pub type Outcome<T> = Result<T, Refusal>;

/// What the server says about an optimistic lock.
const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, continues: None, plain: false }
    }

    fn with(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// An error that the server does not classify.
    pub fn unclassified(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    pub fn no_such_path() -> Self {
        let mut refusal = Self::new(404, "NotFound", "404 page not found\n");
        refusal.plain = true;
        refusal
    }

    /// A subresource that no kind has.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with(json!({}))
    }

    /// What a resource does not support.
    pub fn no_such_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with(json!({}))
    }

    pub fn not_found(of: &Definition, name: &str) -> Self {
        let message = format!("{} {name:?} not found", of.resource());
        Self::new(404, "NotFound", message).with(of.details(name))
    }

    pub fn already_exists(of: &Definition, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", of.resource());
        Self::new(409, "AlreadyExists", message).with(of.details(name))
    }

    pub fn conflict(of: &Definition, name: &str, why: &str) -> Self {
        Self::conflict_about(&of.resource(), &of.plural, &of.group, name, why)
    }

    /// A conflict about the resource version.
    pub fn modified(of: &Definition, name: &str) -> Self {
        Self::conflict(of, name, MODIFIED)
    }

    /// A conflict with a precondition of a deletion, which names the kind as the resource.
    pub fn unmet(of: &Definition, name: &str, why: &str) -> Self {
        let resource = qualified(&of.kind, &of.group);
        Self::conflict_about(&resource, &of.kind, &of.group, name, why)
    }

    fn conflict_about(resource: &str, kind: &str, group: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(409, "Conflict", message).with(details(name, group, kind))
    }

    /// What RBAC refuses; `why` is why it could not be decided otherwise.
    pub fn unauthorized_call(call: &Call, user: &str, why: &str) -> Self {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        if !call.is_resource {
            let message = format!("forbidden: User {user:?} cannot {} path {:?}{why}", call.verb, call.path);
            return Self::new(403, "Forbidden", message).with(json!({}));
        }
        let resource = match call.subresource.as_str() {
            "" => call.resource.clone(),
            subresource => format!("{}/{subresource}", call.resource),
        };
        let place = match call.namespace.as_str() {
            "" => " at the cluster scope".to_owned(),
            namespace => format!(" in the namespace {namespace:?}"),
        };
        let what = format!(
            "User {user:?} cannot {} resource {resource:?} in API group {:?}{place}{why}",
            call.verb, call.group
        );
        Self::forbidden(&call.group, &call.resource, &call.name, &what)
    }

    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let qualified = qualified(resource, group);
        let message = match name {
            "" => format!("{qualified} is forbidden: {why}"),
            name => format!("{qualified} {name:?} is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).with(details(name, group, resource))
    }

    /// Adds a cause.
    pub fn because(mut self, cause: Value) -> Self {
        if let Some(Value::Object(details)) = &mut self.details {
            let causes = details.entry("causes").or_insert_with(|| json!([]));
            causes.as_array_mut().unwrap().push(cause);
        }
        self
    }

    /// A list or watch of a revision that is forgotten.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// The object of the answer.
    pub fn status(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continues {
            metadata.insert("continue".into(), token.as_str().into());
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

/// Such as `executions.aiapi.dev`.
pub fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// What a `Status` says about its object.
pub fn details(name: &str, group: &str, kind: &str) -> Value {
    let fields = [("name", name), ("group", group), ("kind", kind)];
    let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Value::Object(given.map(|(field, value)| (field.to_owned(), value.into())).collect())
}
