//! Log lines: each event is one line, whatever its fields contain. Users and servers write some of them, and a line of their own
//! would look as if the operator had logged it.

use std::io::{Result, Write};

/// Writes each event, which arrives in one piece, as one line.
pub struct OneLine<W>(pub W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let line = text.replace('\n', "\\n").replace('\r', "\\r") + "\n";
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_it_contains() {
        let written = Written::default();
        let writer = written.clone();
        let lines =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || OneLine(writer.clone())).finish();
        tracing::subscriber::with_default(lines, || {
            let uid = "7\n2026-01-01T00:00:00Z  INFO ai_api_operator: it is all done\r\n";
            tracing::info!(uid = %uid, failure = %format_args!("422: {uid}"), "{uid}");
            tracing::info!("the next one");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() == 2 && lines[1].ends_with("the next one"), "{text}");
        assert!(lines[0].contains("7\\n2026-01-01T00:00:00Z  INFO") && lines[0].contains("\\r\\n"), "{text}");
    }
}
