//! What is printed when the program has a defect: where, and never with which values.
//!
//! A message that was put together at run time may quote what it was about: an index out of a text quotes the text, and the text
//! may be an event.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic;
use std::thread;

/// Replaces the text that Rust prints of a panic, for all threads.
pub(super) fn hide_values() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        eprintln!(
            "nomad-events: defect at {place} in thread {}: {}",
            thread.name().unwrap_or("without a name"),
            message(info.payload())
        );
        // Only names of functions and files, and only with RUST_BACKTRACE.
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            eprintln!("{backtrace}");
        }
        eprintln!("nomad-events: please report it, with the version of the program and of Nomad");
    }));
}

/// The message, if it is one that stands in the program as it is.
fn message(payload: &(dyn Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("its message is not shown, it may quote an event")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_values_is_not_shown() {
        let caught = |broken: fn(&str)| {
            let text = "hunter2\u{e9}".to_owned();
            panic::catch_unwind(move || broken(&text)).unwrap_err()
        };
        let quoted = caught(|text| panic!("not expected: {text}"));
        assert!(!message(&*quoted).contains("hunter2"));
        // Rust's own message quotes the text.
        let sliced = caught(|text| assert!(text[8..].is_empty()));
        assert!(!message(&*sliced).contains("hunter2"));
        assert_eq!(message(&*caught(|_| panic!("cannot be"))), "cannot be");
    }
}
