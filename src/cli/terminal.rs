//! Lines for people: colours on a terminal, plain text in a pipe.

use std::io::{self, BufWriter, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

/// Standard output, buffered; colours are taken out where it is no terminal.
pub(super) struct Terminal {
    out: BufWriter<AutoStream<io::Stdout>>,
    colours: bool,
}

impl Terminal {
    pub(super) fn stdout() -> Self {
        let out = AutoStream::auto(io::stdout());
        let colours = out.current_choice() != anstream::ColorChoice::Never;
        Self {
            out: BufWriter::with_capacity(64 * 1024, out),
            colours,
        }
    }

    /// Writes a line of pieces, each in its style.
    ///
    /// # Errors
    ///
    /// As the output has it; a closed pipe is [`io::ErrorKind::BrokenPipe`].
    pub(super) fn line(&mut self, pieces: &[(Style, &str)]) -> io::Result<()> {
        for (style, text) in pieces {
            if self.colours && *style != Style::new() {
                write!(self.out, "{style}{text}{style:#}")?;
            } else {
                self.out.write_all(text.as_bytes())?;
            }
        }
        self.out.write_all(b"\n")
    }

    /// Shows what was written.
    ///
    /// # Errors
    ///
    /// As for [`line`](Self::line).
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The colour of a topic.
pub(super) fn topic_style(topic: &str) -> Style {
    let colour = match topic {
        "Job" => AnsiColor::Blue,
        "Allocation" => AnsiColor::Green,
        "Evaluation" => AnsiColor::Magenta,
        "Deployment" => AnsiColor::Cyan,
        "Node" => AnsiColor::Yellow,
        "Service" => AnsiColor::BrightBlue,
        "NomadEvents" => AnsiColor::BrightBlack,
        _ => AnsiColor::White,
    };
    colour.on_default()
}

/// How a level stands out.
pub(super) fn level_style(level: &str) -> Style {
    match level {
        "error" => AnsiColor::Red.on_default().bold(),
        "warn" => AnsiColor::Yellow.on_default(),
        "debug" => Style::new().dimmed(),
        _ => Style::new(),
    }
}
