//! What a test's own thread logs.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that this thread logs, at every level, until it is dropped.
pub(crate) struct Log {
    written: Written,
    _another: Dispatch,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on.
    pub(crate) fn start() -> Self {
        let written = Written::default();
        let everything = || {
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(tracing::Level::TRACE)
                .with_writer(written.clone())
                .finish()
        };
        Self {
            // With a single subscriber `tracing` lets the thread that comes to a place first decide whether it is ever logged,
            // and threads of other tests have none.
            _another: Dispatch::new(everything()),
            _guard: tracing::subscriber::set_default(everything()),
            written,
        }
    }

    /// All lines.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
