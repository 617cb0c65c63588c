//! The settings of the operator.

/// The operator's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace, where the flag's ConfigMap is.
    pub namespace: String,
    /// The name of that ConfigMap.
    pub meta_configmap: String,
    /// The namespaces to watch; all if empty.
    pub watch_namespaces: Vec<String>,
    /// How many requests may be in flight at once; those of the watches, the flag and the events do not count.
    pub max_in_flight: usize,
    /// Whether COMPLETED Executions may be deleted.
    pub delete_completed: bool,
    /// Whether nothing is planned without the admission policy that checks authors.
    pub require_admission_policy: bool,
}
