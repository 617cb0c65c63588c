//! JSON that is read only if somebody looks at it, and then once; and shared, not copied.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde_json::Value;

/// An object, or the body of a request.
#[derive(Clone, Debug, Default)]
pub struct Json {
    /// As it was sent; null if it cannot be read.
    text: Bytes,
    value: OnceLock<Arc<Value>>,
}

impl Deref for Json {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.value.get_or_init(|| Arc::new(serde_json::from_slice(&self.text).unwrap_or_default()))
    }
}

impl DerefMut for Json {
    fn deref_mut(&mut self) -> &mut Value {
        let _: &Value = self;
        // It was read just now.
        self.value.get_mut().map_or_else(|| unreachable!("it has a value"), Arc::make_mut)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::fmt(self, f)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Arc::new(value).into()
    }
}

impl From<Arc<Value>> for Json {
    fn from(value: Arc<Value>) -> Self {
        Self { text: Bytes::new(), value: value.into() }
    }
}

impl From<Bytes> for Json {
    fn from(text: Bytes) -> Self {
        Self { text, value: OnceLock::new() }
    }
}
