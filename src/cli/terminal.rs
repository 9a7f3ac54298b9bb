//! Lines for people: colours on a terminal, plain text in a pipe.

use std::borrow::Cow;
use std::fmt::Write as _;
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

/// A text from a cluster, fit for a terminal and for one line: control characters are written as escapes, so that what a task
/// has said can neither break a line nor command the terminal.
pub(super) fn printable(text: Cow<'_, str>) -> String {
    if !text.contains(char::is_control) {
        return text.into_owned();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => safe.push(' '),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "{}", c.escape_unicode());
            }
            c => safe.push(c),
        }
    }
    safe
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_says_cannot_command_the_terminal() {
        for (text, shown) in [
            ("plain é", "plain é"),
            ("two\nlines\tand\r", "two lines and "),
            ("\x1b[2J\x07gone", "\\u{1b}[2J\\u{7}gone"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ] {
            assert_eq!(printable(Cow::Borrowed(text)), shown);
        }
    }
}
