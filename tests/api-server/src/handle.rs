//! One request: who sends it, whether they may, and where it goes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::Value;

use crate::{
    Answer, User, create, delete, discovery,
    history::Request,
    kinds::BuiltIn,
    list,
    refusal::{Outcome, Refusal},
    request::Call,
    scale,
    state::State,
    update,
    users::Identity,
    watch,
};

/// The largest body that is read.
pub const MOST_READ: usize = 3 << 20;

/// A request on its way.
pub struct Asked<'a> {
    pub call: &'a Call,
    pub user: &'a Identity,
    pub agent: &'a str,
    pub body: Bytes,
    pub content_type: &'a str,
}

/// A successful answer.
pub struct Reply {
    pub code: u16,
    pub body: Bytes,
}

impl Reply {
    pub fn new(code: u16, body: Bytes) -> Self {
        Self { code, body }
    }

    pub fn of(code: u16, object: &Value) -> Self {
        Self::new(code, serde_json::to_vec(object).unwrap().into())
    }
}

enum Success {
    Whole(Reply),
    Watch(watch::Watch),
}

pub fn handle(state: &mut State, user: &User, agent: &str, request: http::Request<Bytes>) -> Answer {
    let call = Call::read(&request);
    let identity = state.identity(user);
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let outcome = match &identity {
        None => Err(Refusal::unauthorized()),
        Some(user) => {
            let content_type = content_type.unwrap_or_default();
            answer(state, &Asked { call: &call, user, agent, body: body.clone(), content_type })
        }
    };
    let audit_id = HeaderValue::try_from(state.new_id()).unwrap();
    let answer = match outcome {
        Ok(Success::Watch(events)) => {
            let mut head = Response::new(());
            head_of(state, &mut head, audit_id, "application/json");
            Answer::Watch(head, events)
        }
        Ok(Success::Whole(reply)) => Answer::Whole(whole(state, audit_id, reply)),
        Err(refusal) => Answer::Whole(refused(state, audit_id, &refusal)),
    };
    let code = match &answer {
        Answer::Whole(response) => response.status().as_u16(),
        Answer::Watch(response, _) => response.status().as_u16(),
    };
    let dry_run = call.parameter("dryRun").is_some();
    state.history.requests.push(Request {
        verb: call.verb,
        group: call.group,
        resource: call.resource,
        subresource: call.subresource,
        namespace: call.namespace,
        name: call.name,
        code,
        body,
        dry_run,
        user: identity.map(|identity| identity.name.clone()).unwrap_or_default(),
        agent: agent.to_owned(),
        time: state.clock.now,
        revision: state.revision,
    });
    answer
}

fn head_of<T>(state: &State, response: &mut Response<T>, audit_id: HeaderValue, content_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert("audit-id", audit_id);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::DATE, state.clock.date.clone());
}

fn whole(state: &mut State, audit_id: HeaderValue, reply: Reply) -> Response<Bytes> {
    let length = reply.body.len();
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.code.try_into().unwrap();
    head_of(state, &mut response, audit_id, "application/json");
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    for warning in state.warnings.drain(..) {
        let quoted = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::try_from(quoted) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn refused(state: &mut State, audit_id: HeaderValue, refusal: &Refusal) -> Response<Bytes> {
    if refusal.plain {
        let mut response = Response::new(Bytes::from(refusal.message.clone()));
        *response.status_mut() = refusal.code.try_into().unwrap();
        head_of(state, &mut response, audit_id, "text/plain; charset=utf-8");
        return response;
    }
    let mut response = whole(state, audit_id, Reply::of(refusal.code, &refusal.status()));
    if let Some(seconds) = refusal.details.as_ref().and_then(|details| details["retryAfterSeconds"].as_u64())
    {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn answer(state: &mut State, asked: &Asked) -> Outcome<Success> {
    let call = asked.call;
    let rbac = Arc::clone(&state.rbac);
    if let Err(why) = rbac.allows(asked.user, call) {
        return Err(Refusal::unauthorized_call(call, &asked.user.name, &why));
    }
    if let Some(reply) = discovery::answer(state, asked)? {
        return Ok(Success::Whole(reply));
    }
    let kind = state.kind(&call.group, &call.version, &call.resource).ok_or_else(Refusal::no_such_path)?;
    let definition = &state.kinds[kind];
    match call.subresource.as_str() {
        "" => {}
        "status" if definition.status => {}
        "scale" if definition.is(BuiltIn::Deployment) => {
            return match call.verb {
                "get" => scale::get(state, kind, call),
                "patch" => scale::patch(state, kind, asked),
                _ => Err(Refusal::no_such_method()),
            }
            .map(Success::Whole);
        }
        _ if definition.is_custom() => return Err(Refusal::not_found(definition, &call.name)),
        _ => return Err(Refusal::no_such_resource()),
    }
    if call.has_more && !definition.is_custom() {
        return Err(Refusal::no_such_resource());
    }
    if definition.namespaced && call.namespace.is_empty() && !matches!(call.verb, "list" | "watch") {
        return Err(if call.verb == "deletecollection" || call.verb == "create" {
            Refusal::no_such_method()
        } else {
            Refusal::no_such_path()
        });
    }
    let is_status = !call.subresource.is_empty();
    let reply = match call.verb {
        "get" => Reply::new(200, list::get(state, kind, call)?),
        "list" => Reply::new(200, list::list(state, kind, call)?),
        "watch" => return watch::start(state, kind, call).map(Success::Watch),
        "create" if !is_status && call.name.is_empty() => create::create(state, kind, asked)?,
        "update" => update::replace(state, kind, asked)?,
        "patch" => update::patch(state, kind, asked)?,
        "delete" if !is_status => delete::delete(state, kind, asked)?,
        "deletecollection" => delete::delete_all(state, kind, asked)?,
        _ => return Err(Refusal::no_such_method()),
    };
    Ok(Success::Whole(reply))
}
