use serde_json::{Value, value::to_raw_value};

use super::*;
use crate::{
    decode::json::Malformed,
    workload::engine::{Parts, Seen},
};

/// What `engine` sees of an object.
pub fn see(engine: &Engine, object: &Value) -> Result<Seen, Malformed> {
    let raw = |field: &str| object.get(field).map(|part| to_raw_value(part).unwrap());
    let (metadata, spec, status) = (raw("metadata"), raw("spec"), raw("status"));
    let metadata = metadata.as_deref();
    (engine.observe)(&Parts {
        name: "work",
        uid: "uid",
        metadata,
        spec: spec.as_deref(),
        status: status.as_deref(),
    })
}

#[test]
fn each_engine_is_found_by_its_kind() {
    for engine in ENGINES {
        assert!(std::ptr::eq(of(engine.kind).unwrap(), *engine));
    }
}
