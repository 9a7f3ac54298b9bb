//! Envelopes written at random, against a reading of the whole line.

use proptest::prelude::*;

use super::*;

/// What an envelope is made of.
#[derive(Clone, Debug)]
struct Wanted {
    index: u64,
    events: Vec<WantedEvent>,
}

#[derive(Clone, Debug)]
struct WantedEvent {
    /// Topic, type, key, namespace; `None` is left out.
    texts: [Option<String>; 4],
    filter_keys: Option<Vec<String>>,
    payload: &'static str,
}

/// How it is written: which characters are escaped, in which order keys come, and what else stands there.
#[derive(Clone, Copy, Debug)]
struct Hand {
    escaped: u64,
    turn: usize,
    unknown: bool,
    blanks: bool,
}

impl Hand {
    fn text(self, text: &str) -> String {
        let mut out = String::from("\"");
        for (place, c) in text.chars().enumerate() {
            if self.escaped >> (place % 64) & 1 == 1 || c < ' ' || c == '"' || c == '\\' {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out += &format!("\\u{unit:04x}");
                }
            } else {
                out.push(c);
            }
        }
        out.push('"');
        out
    }

    fn object(self, mut entries: Vec<String>) -> String {
        if self.unknown {
            entries.push(r#""Later":{"Index":9,"Events":[{"Topic":"x"}]}"#.to_owned());
        }
        if !entries.is_empty() {
            let turn = self.turn % entries.len();
            entries.rotate_left(turn);
        }
        let comma = if self.blanks { " ,\t" } else { "," };
        format!("{{{}}}", entries.join(comma))
    }

    fn line(self, wanted: &Wanted) -> String {
        let events: Vec<String> = wanted
            .events
            .iter()
            .map(|event| self.event(event))
            .collect();
        self.object(vec![
            format!(r#""Index":{}"#, wanted.index),
            format!(r#""Events":[{}]"#, events.join(",")),
        ])
    }

    fn event(self, event: &WantedEvent) -> String {
        let names = ["Topic", "Type", "Key", "Namespace"];
        let mut entries: Vec<String> = names
            .iter()
            .zip(&event.texts)
            .filter_map(|(name, text)| {
                let text = self.text(text.as_ref()?);
                // A name can be escaped too.
                Some(format!("{}:{text}", self.text(name)))
            })
            .collect();
        if let Some(keys) = &event.filter_keys {
            let keys: Vec<String> = keys.iter().map(|key| self.text(key)).collect();
            entries.push(format!(r#""FilterKeys":[{}]"#, keys.join(",")));
        } else {
            entries.push(r#""FilterKeys":null"#.to_owned());
        }
        entries.push(format!(r#""Payload":{}"#, event.payload));
        self.object(entries)
    }
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let payloads = [
        "{}",
        "null",
        r#"{"Job":{"ID":"a\"b","N":1795343465120000001}}"#,
        "[1e5,-0.5,true]",
        r#"{"x":{"y":[{"z":"\ud83d\ude00"}]}}"#,
    ];
    let event = (
        proptest::array::uniform4(proptest::option::of(any::<String>())),
        proptest::option::of(proptest::collection::vec(any::<String>(), 0..3)),
        proptest::sample::select(payloads.to_vec()),
    )
        .prop_map(|(texts, filter_keys, payload)| WantedEvent {
            texts,
            filter_keys,
            payload,
        });
    let index = prop_oneof![0..1000u64, Just(i64::MAX.unsigned_abs())];
    (index, proptest::collection::vec(event, 1..4))
        .prop_map(|(index, events)| Wanted { index, events })
}

fn hand() -> impl Strategy<Value = Hand> {
    (any::<u64>(), 0..6usize, any::<bool>(), any::<bool>()).prop_map(
        |(escaped, turn, unknown, blanks)| Hand {
            escaped,
            turn,
            unknown,
            blanks,
        },
    )
}

proptest! {
    /// In any order of keys, with any escapes and unknown keys, a line is read as a reading of the whole line reads it.
    #[test]
    fn however_a_line_is_written_it_is_read_the_same(wanted in wanted(), hand in hand()) {
        let line = hand.line(&wanted);
        let whole: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&whole["Index"], &wanted.index);
        let Ok(Line::Batch(read)) = parse(&Bytes::from(line.clone())) else {
            panic!("not read: {line}")
        };
        prop_assert_eq!(read.index.0, wanted.index);
        prop_assert_eq!(read.events.len(), wanted.events.len());
        for (event, wanted) in read.events.iter().zip(&wanted.events) {
            let texts = [&event.topic, &event.event_type, &event.key, &event.namespace];
            for (text, wanted) in texts.into_iter().zip(&wanted.texts) {
                prop_assert_eq!(&**text, wanted.as_deref().unwrap_or_default());
            }
            let keys: Option<Vec<String>> = event
                .filter_keys
                .as_ref()
                .map(|keys| keys.iter().map(ToString::to_string).collect());
            prop_assert_eq!(&keys, &wanted.filter_keys);
            prop_assert_eq!(&event.payload, wanted.payload);
        }
        // And as the reference of the fuzzers has it.
        crate::fuzzing::envelope(line.as_bytes());
    }

    /// A key that comes twice leaves it open what is meant: the line is not taken, and announced.
    #[test]
    fn a_key_that_comes_twice_is_an_error(wanted in wanted(), hand in hand(), which in 0..6usize) {
        let names = ["Topic", "Type", "Key", "Namespace", "FilterKeys", "Index"];
        // What is unknown may have any shape.
        let hand = Hand { unknown: false, ..hand };
        let line = hand.line(&wanted);
        let twice = match names[which] {
            "Index" => line.replacen('{', r#"{"Index":1,"#, 1),
            name => {
                let value = if name == "FilterKeys" { "null" } else { r#""a""# };
                let entry = format!(r#"{{"{name}":{value},"{name}":{value},"#);
                line.replacen("[{", &format!("[{entry}"), 1)
            }
        };
        prop_assume!(twice != line);
        prop_assert!(parse(&Bytes::from(twice.clone())).is_err(), "{}", twice);
    }
}
