//! Creating objects.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    Kubernetes,
    admission::{self, Operation},
    builtin, cel, defaults,
    handle::{Asked, MOST_READ, Reply},
    invalid::{self, Flaw},
    kinds::{BuiltIn, Definition, Shape},
    metadata,
    options::{Unknown, WriteOptions},
    ownership,
    refusal::{Outcome, Refusal},
    schema::Schema,
    state::{State, whole_numbers},
    validate,
};

/// Decodes an object: drops unknown fields, fills in defaults.
pub fn decode(state: &mut State, definition: &Definition, body: &[u8], unknown: Unknown) -> Outcome<Value> {
    if body.len() > MOST_READ {
        return Err(Refusal::too_large(MOST_READ));
    }
    let object: Value = serde_json::from_slice(body).map_err(|error| {
        let why = format!("couldn't get version/kind; json parse error: {error}");
        unrecognized(definition, &String::from_utf8_lossy(body), &why)
    })?;
    coerce(state, definition, object, unknown)
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn unrecognized(definition: &Definition, text: &str, why: &str) -> Refusal {
    let kind = &definition.kind;
    let shown = match text.char_indices().nth(30) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    let rest = if shown.len() < text.len() { " ..." } else { "" };
    let summary = match text.bytes().next() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{shown}{rest}"),
        Some(_) => hex(shown) + rest,
    };
    Refusal::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
    ))
}

/// The same for an object that is the result of a patch.
pub fn coerce(
    state: &mut State,
    definition: &Definition,
    mut object: Value,
    unknown: Unknown,
) -> Outcome<Value> {
    let (version, kind) = types(definition, &object)?;
    let short = version.rsplit('/').next().unwrap_or_default().to_owned();
    let cannot = |why: String| {
        let own = &definition.kind;
        Refusal::bad_request(format!("{kind} in version {short:?} cannot be handled as a {own}: {why}"))
    };
    if !definition.is_custom() && (kind != definition.kind || version != definition.api_version()) {
        let why = format!("no kind {kind:?} is registered for version {version:?}");
        return Err(cannot(why));
    }
    if object.is_null() {
        object = json!({});
    }
    let fields = object.as_object_mut().unwrap();
    if definition.is_custom() && fields.get("apiVersion").is_some_and(Value::is_null) {
        let why = ".apiVersion accessor error: <nil> is of the type <nil>, expected string";
        return Err(cannot(why.to_owned()));
    }
    fields.insert("apiVersion".into(), version.as_str().into());
    fields.insert("kind".into(), kind.as_str().into());
    if let Shape::BuiltIn(kind) = definition.shape {
        // Go stops at a time that it cannot read, and at other types when it has read everything.
        builtin::decode_times(kind, fields).map_err(cannot)?;
    }
    let mut strays = Vec::new();
    match fields.entry("metadata").or_insert_with(|| json!({})) {
        Value::Object(fields) => {
            metadata::decode(fields, definition.is_custom(), &mut strays).map_err(cannot)?;
        }
        given @ Value::Null => *given = json!({}),
        _ => return Err(cannot("json: cannot unmarshal metadata".to_owned())),
    }
    shape(definition, (&kind, &version), &mut object, &mut strays).map_err(cannot)?;
    let mut said = strays.iter().map(|stray| format!("unknown field \"{stray}\""));
    match unknown {
        Unknown::Ignore => {}
        Unknown::Warn => state.warnings.extend(said),
        Unknown::Refuse if strays.is_empty() => {}
        Unknown::Refuse => {
            let all = said.by_ref().collect::<Vec<_>>().join(", ");
            return Err(cannot(format!("strict decoding error: {all}")));
        }
    }
    if version != definition.api_version() {
        let wanted = definition.api_version();
        let message = format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        );
        return Err(Refusal::bad_request(message));
    }
    Ok(object)
}

/// Fills in defaults and drops what the kind does not have.
fn shape(
    definition: &Definition,
    (kind, version): (&str, &str),
    object: &mut Value,
    strays: &mut Vec<String>,
) -> Result<(), String> {
    match &definition.shape {
        // What is of another kind is not looked at.
        Shape::Custom(_) if kind != definition.kind => {}
        // Another version of it has no schema, so no fields.
        Shape::Custom(_) if version.split('/').next() != Some(definition.group.as_str()) => {}
        Shape::Custom(_) if version != definition.api_version() => {
            let others = object.as_object().unwrap().keys();
            strays.extend(
                others.filter(|name| !["apiVersion", "kind", "metadata"].contains(&name.as_str())).cloned(),
            );
        }
        Shape::Custom(schema) => {
            defaults::fill_in(object, schema);
            let of_metadata = strays.len();
            defaults::prune(object, schema, "", strays);
            strays[of_metadata..].sort_unstable();
            defaults::drop_nulls(object, schema);
        }
        Shape::BuiltIn(kind) => builtin::decode(*kind, object, strays)?,
    }
    Ok(())
}

/// `apiVersion` and `kind`, which built-in kinds may leave out.
fn types(definition: &Definition, object: &Value) -> Outcome<(String, String)> {
    let not_parsed = || {
        let why = "couldn't get version/kind; json parse error: json: cannot unmarshal";
        unrecognized(definition, &object.to_string(), why)
    };
    let nothing = Map::new();
    let fields = match object {
        Value::Object(fields) => fields,
        Value::Null => &nothing,
        _ => return Err(not_parsed()),
    };
    let given = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(not_parsed()),
    };
    let (mut version, mut kind) = (given("apiVersion")?, given("kind")?);
    if definition.is_custom() && kind.is_empty() {
        let text = object.to_string();
        let why = format!("Object 'Kind' is missing in '{text}'");
        if version.is_empty() {
            return Err(unrecognized(definition, &text, &why));
        }
        let (own, short) = (&definition.kind, version.rsplit('/').next().unwrap_or_default());
        let message = format!("{own} in version {short:?} cannot be handled as a {own}: {why}");
        return Err(Refusal::bad_request(message));
    }
    if !definition.is_custom() && version.is_empty() {
        definition.api_version().clone_into(&mut version);
    }
    if kind.is_empty() {
        kind.clone_from(&definition.kind);
    }
    Ok((version, kind))
}

/// Creates an object.
pub fn create(state: &mut State, kind: usize, asked: &Asked) -> Outcome<Reply> {
    let definition = Arc::clone(&state.kinds[kind]);
    if asked.body.len() > MOST_READ {
        return Err(Refusal::too_large(MOST_READ));
    }
    let options = WriteOptions::read(asked, state.kubernetes, "CreateOptions")?;
    let object = decode(state, &definition, &asked.body, options.unknown)?;
    create_decoded(state, kind, asked, &options, object).map(|bytes| Reply::new(201, bytes))
}

/// Creates a decoded object; returns it as it is answered.
pub fn create_decoded(
    state: &mut State,
    kind: usize,
    asked: &Asked,
    options: &WriteOptions,
    mut object: Value,
) -> Outcome<Bytes> {
    let definition = Arc::clone(&state.kinds[kind]);
    wipe(&mut object);
    place(&definition, &mut object, &asked.call.namespace)?;
    let write = ownership::Write {
        manager: &options.manager,
        subresource: "",
        api_version: definition.api_version(),
        time: &state.clock.text,
        schema: definition.schema(),
        has_status: definition.status,
        kubernetes: state.kubernetes,
        is_tracked: state.tracks_managers,
    };
    let empty = match definition.shape {
        Shape::Custom(_) => Value::Null,
        Shape::BuiltIn(kind) => builtin::empty(kind),
    };
    let owners = ownership::after(&empty, &object, &write);
    if !owners.is_empty() {
        object["metadata"]["managedFields"] = owners.into();
    }
    admit_namespace(state, &definition, &object)?;
    let version = metadata::text(&object, "resourceVersion").to_owned();
    name(state, &mut object);
    prepare(&definition, &mut object);
    let flaws = flaws_of(state, &definition, &object);
    let name = metadata::text(&object, "name").to_owned();
    if !flaws.is_empty() {
        return Err(invalid(state.kubernetes, &definition, &object, &flaws));
    }
    metadata::warn(state, &definition, &object, None);
    admission::admit(state, &definition, asked, Operation::Create, (Some(&object), None))?;
    let key = definition.key(&asked.call.namespace, &name);
    if !options.dry_run && version.parse::<u64>().is_ok_and(|version| version != 0) {
        return Err(Refusal::unclassified("resourceVersion should not be set on objects to be created"));
    }
    if let Some(existing) = state.objects[kind].get(key.as_str()) {
        let mut refusal = Refusal::already_exists(&definition, &name);
        if metadata::is_terminating(&existing.object) {
            refusal.message = format!("object is being deleted: {}", refusal.message);
        }
        return Err(refusal);
    }
    let mut without_defaults = false;
    if let Some(schema) = definition.schema() {
        // It is stored without a status, and read with the default.
        defaults::fill_in(&mut object, schema);
        without_defaults = definition.status && object.get("status").is_some();
    }
    if options.dry_run {
        whole_numbers(&mut object);
        return Ok(serde_json::to_vec(&object).unwrap().into());
    }
    let stored = state.put_as(kind, &key, object, without_defaults)?;
    Ok(stored.bytes.clone())
}

/// Removes what only the server sets.
fn wipe(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(field);
    }
}

/// Puts it into the namespace of the request.
fn place(definition: &Definition, object: &mut Value, namespace: &str) -> Outcome<()> {
    if !definition.namespaced {
        return Ok(());
    }
    let given = metadata::text(object, "namespace");
    if !given.is_empty() && given != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(message));
    }
    object["metadata"]["namespace"] = namespace.into();
    Ok(())
}

/// Nothing is created in a namespace that does not exist, or is being deleted.
fn admit_namespace(state: &State, definition: &Definition, object: &Value) -> Outcome<()> {
    if !definition.namespaced {
        return Ok(());
    }
    let namespace = metadata::text(object, "namespace");
    let of_namespaces = &state.kinds[state.built_in(BuiltIn::Namespace)];
    let Some(found) = state.namespace(namespace) else {
        return Err(Refusal::not_found(of_namespaces, namespace));
    };
    if !metadata::is_terminating(&found.object) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = json!({
        "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    });
    let name = metadata::text(object, "name");
    Err(Refusal::forbidden(&definition.group, &definition.plural, name, &why).because(cause))
}

/// Gives it a name, if it wants a generated one, its uid and its time.
fn name(state: &mut State, object: &mut Value) {
    if metadata::text(object, "name").is_empty() && !metadata::text(object, "generateName").is_empty() {
        let prefix: String = metadata::text(object, "generateName").chars().take(58).collect();
        object["metadata"]["name"] = format!("{prefix}{}", state.new_suffix()).into();
    }
    object["metadata"]["uid"] = state.new_id().into();
    object["metadata"]["creationTimestamp"] = state.clock.text.as_str().into();
}

fn prepare(definition: &Definition, object: &mut Value) {
    if definition.has_generation() {
        object["metadata"]["generation"] = 1.into();
    }
    if definition.status {
        object.as_object_mut().unwrap().remove("status");
    }
    if let Shape::BuiltIn(kind) = definition.shape {
        builtin::prepare(kind, object);
    }
}

/// What is wrong with a new object.
fn flaws_of(state: &State, definition: &Definition, object: &Value) -> Vec<Flaw> {
    let mut flaws = type_flaws(definition, object);
    if let (false, Shape::Custom(schema)) = (flaws.is_empty(), &definition.shape) {
        validate::uniqueness(object, schema, "", &mut flaws);
        rules(state.kubernetes, (object, None), schema, &mut flaws);
        return flaws;
    }
    metadata::validate_new(&object["metadata"], definition, state.kubernetes, &mut flaws);
    match &definition.shape {
        Shape::Custom(schema) => {
            validate::validate(state.kubernetes, object, schema, "", &mut flaws);
            validate::uniqueness(object, schema, "", &mut flaws);
            rules(state.kubernetes, (object, None), schema, &mut flaws);
        }
        Shape::BuiltIn(kind) => builtin::validate(*kind, object, None, &mut flaws),
    }
    flaws
}

/// The refusal of an object, which names its own kind.
pub fn invalid(kubernetes: Kubernetes, definition: &Definition, object: &Value, flaws: &[Flaw]) -> Refusal {
    // Inside, events are of the core group.
    let group = if definition.is(BuiltIn::Event) { "" } else { definition.group.as_str() };
    let kind = object["kind"].as_str().unwrap_or_default();
    invalid::refusal(kubernetes, (group, kind), metadata::text(object, "name"), flaws)
}

/// The kind has to be the one of the path.
pub fn type_flaws(definition: &Definition, object: &Value) -> Vec<Flaw> {
    let wanted = [("kind", definition.kind.clone()), ("apiVersion", definition.api_version().to_owned())];
    let wrong = wanted.into_iter().filter(|(field, wanted)| object[*field] != wanted.as_str());
    wrong.map(|(field, wanted)| Flaw::invalid(field, &object[field], &format!("must be {wanted}"))).collect()
}

/// Checks the CEL rules, unless something else is wrong that they rely on.
pub fn rules(
    kubernetes: Kubernetes,
    change: (&Value, Option<&Value>),
    schema: &Schema,
    flaws: &mut Vec<Flaw>,
) {
    if invalid::block_rules(flaws) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors \
            to complete validation";
        flaws.push(Flaw::invalid("<nil>", &Value::Null, detail));
    } else {
        cel::check(kubernetes, change, schema, "", flaws);
    }
}
