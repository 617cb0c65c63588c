//! What happens in one life of the world, in lines: byte for byte the same for the same seed.

use std::{
    fmt::{self, Write},
    sync::{Arc, LazyLock, Mutex},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

/// The lines of a process, or of none: then nothing is logged, which takes less time.
#[derive(Clone, Default)]
pub struct Log(Option<(Arc<Mutex<Vec<String>>>, Dispatch)>);

/// Two collectors that nobody uses: as long as there is only one, tracing asks just the thread that comes to a line first whether
/// anybody wants it, and it may be one whose life has no log.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Collector(Arc::default()))));

impl Log {
    pub fn new(lines: bool) -> Self {
        LazyLock::force(&OTHERS);
        Self(lines.then(|| {
            let lines = Arc::<Mutex<Vec<String>>>::default();
            let dispatch = Dispatch::new(Collector(Arc::clone(&lines)));
            (lines, dispatch)
        }))
    }

    /// What is logged on this thread goes here, until the guard is dropped.
    pub fn enter(&self) -> Option<DefaultGuard> {
        self.0.as_ref().map(|(_, dispatch)| tracing::dispatcher::set_default(dispatch))
    }

    /// The lines from this one on.
    pub fn from(&self, first: usize) -> Vec<String> {
        self.0.as_ref().map(|(lines, _)| lines.lock().unwrap()[first..].to_vec()).unwrap_or_default()
    }
}

/// Writes each event of the operator as a line.
struct Collector(Arc<Mutex<Vec<String>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= tracing::Level::INFO
            && metadata.target().starts_with("ai_api_operator")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Fields(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
