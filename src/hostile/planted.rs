//! A secret planted in any of the places of the table comes out nowhere, whatever it looks like and whatever stands around it.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::fields::{FIELDS, Fate, Field, plant, recorded_payloads, shown};
use super::{Bytes, Envelope, RaftIndex, Received, raw, read, take};
use crate::envelope;

/// A part of a secret that is so long (characters) is a leak.
const LEAK: usize = 6;

static RECORDED: LazyLock<Vec<(String, String)>> = LazyLock::new(recorded_payloads);

/// A random text; its ends are what is looked for, its middle is what might mislead a parser.
#[derive(Clone, Debug)]
pub(super) struct Secret {
    head: String,
    middle: String,
    tail: String,
}

impl Secret {
    pub(super) fn text(&self) -> String {
        format!("{}{}{}", self.head, self.middle, self.tail)
    }

    /// A part of it that stands in a text.
    pub(super) fn leak(&self, text: &str) -> Option<String> {
        [&self.head, &self.tail]
            .into_iter()
            .flat_map(|end| (0..=end.len() - LEAK).map(move |start| &end[start..start + LEAK]))
            .find(|part| text.contains(part))
            .map(str::to_owned)
    }
}

fn secret(middle: &'static str) -> impl Strategy<Value = Secret> {
    ("[A-Za-z0-9]{10}", middle, "[A-Za-z0-9]{10}").prop_map(|(head, middle, tail)| Secret {
        head,
        middle,
        tail,
    })
}

/// How a secret stands in its place.
#[derive(Clone, Debug)]
enum Shape {
    /// As Nomad's own fields have it, or as a value of a driver's option.
    Plain,
    /// HCL's blocks are lists of objects.
    Block,
    Nested,
    /// In a URL, or in what is said about one.
    Quoted(&'static str),
    Digits,
}

/// A secret and where it goes.
#[derive(Clone, Debug)]
struct Planted {
    field: &'static Field,
    secret: Secret,
    shape: Shape,
    names: Vec<&'static str>,
    places: Vec<Index>,
}

impl Planted {
    fn value(&self) -> Value {
        let text = self.secret.text();
        match &self.shape {
            Shape::Plain => json!(text),
            Shape::Block => json!([{"username": "me", "password": text}]),
            Shape::Nested => json!({"a": [[1, {"b": {"c": [null, text]}}]], "d": text}),
            Shape::Quoted(message) => json!(message.replace('§', &text)),
            Shape::Digits => json!([self.digits(), {"pin": self.digits()}]),
        }
    }

    fn digits(&self) -> u64 {
        self.secret
            .head
            .bytes()
            .fold(1, |number, byte| number * 31 + u64::from(byte))
    }

    fn leak(&self, text: &str) -> Option<String> {
        match self.shape {
            Shape::Digits => Some(self.digits().to_string()).filter(|digits| text.contains(digits)),
            _ => self.secret.leak(text),
        }
    }

    fn plant_in(&self, payload: &mut Value) {
        let mut names = self.names.iter().cycle();
        let mut places = self.places.iter().cycle();
        plant(
            payload,
            &self.field.path,
            self.value(),
            &mut || (*names.next().unwrap()).to_owned(),
            &mut |length| places.next().unwrap().index(length),
        );
    }
}

/// Keys of maps: what users call things, among it what is a field or a rule elsewhere. `image` and `ports` of a driver are
/// shown, so they are not among them.
const NAMES: &[&str] = &[
    "name",
    "PASSWORD",
    "Env",
    "Meta",
    "Config",
    "Job",
    "Args",
    "Payload",
    "SecretID",
    "TaskStates",
    "Checks",
    "Volumes",
    "CNI",
    "Secrets",
    "Artifacts",
    "a.b",
    "[]",
    "*",
    "",
    "ü\n\"",
    "https://",
];

/// User information and queries, alone and quoted as Nomad, Go and `git` quote them.
const ADDRESSES: &[&str] = &[
    "https://me:§@h/x.tgz",
    "git::https://me:§@h/r.git?ref=main",
    "s3::https://h/x?aws_access_key_secret=§",
    "git@github.com:o/r.git?depth=1&sshkey=§",
];
const MESSAGES: &[&str] = &[
    "failed to download artifact \"https://me:§@h:1/x.tgz\": getter subprocess failed: Get \"https://me:***@h:1\": no",
    "failed to download artifact \"git@h:o/r?sshkey=§&depth=1\": exit status 128",
    "cloning 'https://me:§@h/r': authentication failed for 'https://me:§@h/r'",
    "parse \"https://me:§@h:1\": invalid port \":§\" after host",
    "get https://h/x?sig=§",
    "a://b c://d:§@e/f?g=§ h",
];
/// A path of a check has no user information.
const PATHS: &[&str] = &["/health?token=§", "?§"];

/// What may stand in a URL, and some of what may not and does.
const IN_ADDRESSES: &str = "[-._~!$&'()*+,;=%:/é]{0,4}";
const ANYWHERE: &str = "[-._~!$&'()*+,;=%:/?#@\"\\\\<>` \n\t\u{0}é😀{}\\[\\]]{0,6}";

fn planted(fates: &'static [Fate]) -> impl Strategy<Value = Planted> {
    let fields: Vec<&'static Field> = FIELDS
        .iter()
        .filter(|field| fates.contains(&field.fate) && matches!(&*field.json_type, "text" | "any"))
        .collect();
    proptest::sample::select(fields).prop_flat_map(|field| {
        let is_path = field.path.last() == Some(&super::fields::Step::Field("Path".to_owned()));
        let is_state = field
            .path
            .iter()
            .any(|step| matches!(step, super::fields::Step::Field(name) if name == "TaskStates"));
        let quoted = |messages: &'static [&'static str]| {
            proptest::sample::select(messages)
                .prop_map(Shape::Quoted)
                .boxed()
        };
        let (shape, middle) = match (field.fate, &*field.json_type) {
            (Fate::Redacted, "any") => (
                prop_oneof![
                    Just(Shape::Plain),
                    Just(Shape::Block),
                    Just(Shape::Nested),
                    Just(Shape::Digits),
                ]
                .boxed(),
                ANYWHERE,
            ),
            (Fate::Redacted, _) => (Just(Shape::Plain).boxed(), ANYWHERE),
            (Fate::Masked, _) if is_path => (quoted(PATHS), ANYWHERE),
            (Fate::Masked, _) if is_state => (quoted(MESSAGES), IN_ADDRESSES),
            (Fate::Masked, _) => (quoted(ADDRESSES), IN_ADDRESSES),
            // Wherever a URL stands, its user information goes.
            (Fate::Kept, _) => (quoted(&ADDRESSES[..2]), IN_ADDRESSES),
        };
        (
            secret(middle),
            shape,
            proptest::collection::vec(proptest::sample::select(NAMES), 4),
            proptest::collection::vec(any::<Index>(), 4),
        )
            .prop_map(move |(secret, shape, names, places)| Planted {
                field,
                secret,
                shape,
                names,
                places,
            })
    })
}

/// The same JSON with some characters of its texts and names written as escapes.
fn escaped(json: &str, which: &[bool]) -> String {
    let mut result = String::with_capacity(json.len());
    let mut which = which.iter().cycle();
    let (mut in_text, mut after_backslash, mut of_an_escape) = (false, false, 0);
    for letter in json.chars() {
        let untouched = after_backslash || of_an_escape > 0;
        of_an_escape = match (after_backslash, letter) {
            (true, 'u') => 4,
            _ => usize::saturating_sub(of_an_escape, 1),
        };
        if in_text && !untouched && letter.is_ascii_alphanumeric() && *which.next().unwrap() {
            result.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            result.push(letter);
        }
        if letter == '"' && !after_backslash {
            in_text = !in_text;
        }
        after_backslash = letter == '\\' && !after_backslash;
    }
    result
}

/// A payload of the topic of the first of some planted secrets, with all of that topic in it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    planted: Vec<Planted>,
    pub(super) topic: &'static str,
    pub(super) payload: String,
}

impl Case {
    /// A part of one of the secrets that stands in a text.
    pub(super) fn leak(&self, text: &str) -> Option<String> {
        self.planted.iter().find_map(|one| {
            one.leak(text)
                .map(|part| format!("{part:?} of {:?}", one.field.path))
        })
    }
}

/// Secrets in places of one topic, in payloads that a server has sent or in ones that have nothing else.
pub(super) fn case() -> impl Strategy<Value = Case> {
    let any_field: &[Fate] = &[Fate::Kept, Fate::Masked, Fate::Redacted];
    (
        proptest::collection::vec(
            prop_oneof![
                6 => planted(&[Fate::Redacted]),
                3 => planted(&[Fate::Masked]),
                1 => planted(any_field),
            ],
            1..8,
        ),
        proptest::option::of(any::<Index>()),
        proptest::collection::vec(any::<bool>(), 7),
        any::<bool>(),
    )
        .prop_map(|(mut planted, recorded, which, escapes)| {
            let topic = planted[0].field.topic.as_str();
            planted.retain(|one| one.field.topic == topic);
            let recorded = recorded.and_then(|index| {
                let same: Vec<&str> = RECORDED
                    .iter()
                    .filter(|(of, _)| of == topic)
                    .map(|(_, payload)| payload.as_str())
                    .collect();
                (!same.is_empty()).then(|| *index.get(&same))
            });
            let mut payload =
                recorded.map_or_else(|| json!({}), |text| serde_json::from_str(text).unwrap());
            // A later one may take the place of an earlier one, which then cannot come out.
            for one in &planted {
                one.plant_in(&mut payload);
            }
            let text = payload.to_string();
            Case {
                planted,
                topic,
                payload: if escapes {
                    escaped(&text, &which)
                } else {
                    text
                },
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_secret_planted_in_a_listed_place_comes_out(case in case(), cut in any::<Index>()) {
        let payload = &case.payload;
        let received = Received { at: 1, live: false };
        let batch = || Envelope {
            index: RaftIndex(5),
            events: vec![raw(case.topic, payload.as_bytes())],
        };
        let shown = take(batch(), received, false);
        prop_assert_eq!(case.leak(&shown), None, "{}: {}", payload, shown);
        prop_assert!(!shown.contains("payload_error"), "{}", payload);
        // The search finds what is there to be found.
        prop_assert!(case.leak(&take(batch(), received, true)).is_some());

        // Nor out of a line that is no good, wherever that is noticed.
        let line = format!(
            r#"{{"Index":5,"Events":[{{"Topic":"{}","Key":"k","Payload":{payload}}}]}}"#,
            case.topic
        );
        let bytes = Bytes::from(line);
        let whole = format!("{:?}", envelope::parse(&bytes));
        prop_assert_eq!(case.leak(&whole), None);
        let cut = bytes.slice(..1 + cut.index(bytes.len() - 1));
        let error = envelope::parse(&cut).unwrap_err();
        let (frames, rest) = read(&cut, 100);
        let bad = format!("{error} {error:?} {frames:?} {rest:?}");
        prop_assert_eq!(case.leak(&bad), None, "{}", bad);
    }

    #[test]
    fn escapes_change_nothing_of_a_text(text in any::<String>(), which in proptest::collection::vec(any::<bool>(), 7)) {
        let plain = json!({"a": text, "b": [text]}).to_string();
        let value: Value = serde_json::from_str(&escaped(&plain, &which)).unwrap();
        prop_assert_eq!(value.to_string(), plain);
    }
}

/// A driver of that name for something else: only texts and lists of them are an image and ports.
#[test]
fn an_image_that_is_no_text_is_hidden() {
    let config = |config: &str| {
        format!(r#"{{"Job":{{"TaskGroups":[{{"Tasks":[{{"Config":{config}}}]}}]}}}}"#)
    };
    let shown = shown(
        "Job",
        &config(r#"{"image":[{"password":"hunter2"}],"ports":{"pw":"hunter2"},"Image":"hunter2"}"#),
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let plain = config(r#"{"image":"redis:7","ports":["db",6379]}"#);
    let text = super::fields::shown("Job", &plain);
    assert!(
        text.contains(r#"{"image":"redis:7","ports":["db",6379]}"#),
        "{text}"
    );
}
