//! What stands in the file.

use super::format::{FORMAT_VERSION, FormatError, decode, encode};
use super::*;
use crate::position::proof::MAX_PROOFS;

fn text(state: &State) -> String {
    String::from_utf8(encode(state).unwrap()).unwrap()
}

/// The file of a state whose JSON was changed, with the checksum of the changed one.
fn with_state(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let text = text(&state(7, 2));
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    change(&mut json["state"]);
    format::seal(&json["state"].to_string()).unwrap()
}

proptest! {
    #[test]
    fn any_state_comes_back_as_it_was(state in any_state()) {
        prop_assert_eq!(decode(&encode(&state).unwrap()), Ok(state));
    }

    #[test]
    fn whatever_is_changed_in_a_file_is_found(
        state in any_state(),
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        other in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = encode(&state).unwrap();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + length);
        bytes.splice(at..end, other);
        if let Ok(read) = decode(&bytes) {
            prop_assert_eq!(read, state);
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }
}

#[test]
fn a_file_that_is_cut_off_is_found_wherever_it_was_cut() {
    let state = state(7, 2);
    let bytes = encode(&state).unwrap();
    // Without the line end it is whole.
    assert_eq!(decode(&bytes[..bytes.len() - 1]), Ok(state));
    for end in 0..bytes.len() - 1 {
        assert_eq!(
            decode(&bytes[..end]),
            Err(FormatError::CutOff { bytes: end })
        );
    }
}

#[test]
fn every_single_byte_that_changes_is_found() {
    let state = state(7, 2);
    let bytes = encode(&state).unwrap();
    let flips = (0..8).map(|bit| 1u8 << bit);
    let mut found = 0;
    for at in 0..bytes.len() {
        let was = bytes[at];
        let others = flips.clone().map(|flip| was ^ flip);
        for other in others.chain(*b" \n\"\\{}[]:,0129afntA\0\xff") {
            let mut changed = bytes.clone();
            changed[at] = other;
            match decode(&changed) {
                Ok(read) => assert_eq!(read, state),
                Err(_) => found += 1,
            }
        }
    }
    // What is none is blanks around the document.
    assert!(found > bytes.len() * 20, "{found}");
}

/// Files of this version are to be read by later ones, so this text never changes.
#[test]
fn the_format_stays_as_it_is() {
    let mut saved = state(7, 1);
    saved.gaps.add(OpenGap {
        epoch: Epoch::default(),
        from: RaftIndex(5),
        to: None,
        cause: GapCause::Unproven,
        namespace: None,
        topics_left: saved.subscription.topics.clone(),
        newest: None,
    });
    let expected = concat!(
        r#"{"format":"nomad-events position","version":1,"checksum":"0a80c7e134ee7bf7222261aa6fe0723d","state":{"#,
        r#""position":{"epoch":1,"index":7},"newest":1790000000123456789,"#,
        r#""subscription":{"region":null,"topics":["Job:web"],"namespace":"*"},"#,
        r#""gaps":[{"epoch":0,"from":5,"to":null,"cause":"unproven","namespace":null,"topics_left":["Job:web"],"newest":null}],"#,
        r#""namespaces":{"listed":{"default":1}},"#,
        r#""key":"5ec7e75ec7e75ec7e75ec7e75ec7e7e7","#,
        r#""taken":{"proofs":["00000000000000070000000000000000"]}}}"#,
        "\n"
    );
    assert_eq!(text(&saved), expected);
    let other = |taken, namespaces| {
        let text = text(&State {
            taken,
            namespaces,
            ..state(7, 0)
        });
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        format!("{} {}", json["state"]["taken"], json["state"]["namespaces"])
    };
    assert_eq!(
        other(Taken::Nothing, KnownNamespaces::Unknown),
        r#""nothing" "unknown""#
    );
    assert_eq!(
        other(Taken::All, KnownNamespaces::AskedFrom(RaftIndex(4))),
        r#""all" {"asked_from":4}"#
    );
    assert_eq!(
        other(Taken::All, KnownNamespaces::FirstLine(RaftIndex(4))),
        r#""all" {"first_line":4}"#
    );
}

#[test]
fn other_files_are_told_apart() {
    let of = |text: &str| decode(text.as_bytes()).unwrap_err();
    assert_eq!(of("{}"), FormatError::Foreign);
    assert_eq!(of("[1]"), FormatError::Foreign);
    assert_eq!(of("null"), FormatError::Foreign);
    assert_eq!(
        of(r#"{"format":"something else","version":1}"#),
        FormatError::Foreign
    );
    assert_eq!(
        of(r#"{"format":"nomad-events position","version":0}"#),
        FormatError::Foreign
    );
    assert_eq!(
        of("[sources.nomad]\ntype = \"nomad_events\"\n"),
        FormatError::NotJson { line: 1, column: 2 }
    );
    assert_eq!(
        decode(&[0; 512]),
        Err(FormatError::NotJson { line: 1, column: 1 })
    );
    assert_eq!(
        of(r#"{"format":"nomad-events position","version":1}"#),
        FormatError::NotAState
    );
}

#[test]
fn a_newer_version_is_refused_whatever_it_looks_like() {
    for rest in [
        "",
        r#","checksum":"zip","state":[]"#,
        r#","pages":{"a":[1]}"#,
    ] {
        let text = format!(r#"{{"format":"nomad-events position","version":7{rest}}}"#);
        assert_eq!(
            decode(text.as_bytes()),
            Err(FormatError::Newer { version: 7 })
        );
    }
    assert_eq!(FORMAT_VERSION, 1);
}

#[test]
fn what_this_version_has_not_written_is_refused() {
    assert_eq!(decode(&with_state(|_| {})), Ok(state(7, 2)));
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 9] = [
        ("a field more", |state| state["shards"] = 4.into()),
        ("a field more within", |state| {
            state["position"]["term"] = 4.into()
        }),
        ("a field less", |state| {
            state.as_object_mut().unwrap().remove("gaps");
        }),
        ("a key of another length", |state| {
            state["key"] = "abc".into()
        }),
        ("a proof that is none", |state| {
            state["taken"]["proofs"][0] = "X".repeat(32).into();
        }),
        ("another way of taking", |state| {
            state["taken"] = "some".into()
        }),
        ("an index below none", |state| {
            state["position"]["index"] = (-1).into()
        }),
        ("too many gaps", |state| {
            let gap = serde_json::json!({
                "from": 1, "to": null, "cause": "unproven", "namespace": null, "topics_left": [], "newest": null
            });
            state["gaps"] = vec![gap; MAX_OPEN_GAPS + 1].into();
        }),
        ("too many proofs", |state| {
            let proofs = (0..=MAX_PROOFS).map(|number| format!("{number:032x}"));
            state["taken"]["proofs"] = proofs.collect::<Vec<_>>().into();
        }),
    ];
    for (what, change) in changes {
        assert_eq!(
            decode(&with_state(change)),
            Err(FormatError::NotAState),
            "{what}"
        );
    }
}

#[test]
fn the_largest_state_can_be_read_again() {
    let mut largest = state(u64::MAX, MAX_PROOFS as u64);
    let names = (0..20_000).map(|number| (format!("{number:0128}"), Some(RaftIndex(u64::MAX))));
    largest.namespaces = KnownNamespaces::Listed(names.collect());
    for number in 0..MAX_OPEN_GAPS {
        largest.gaps.add(OpenGap {
            epoch: Epoch::default(),
            from: RaftIndex(u64::MAX),
            to: Some(RaftIndex(u64::MAX)),
            cause: GapCause::SubscriptionChanged,
            namespace: Some(format!("{number:0128}")),
            topics_left: vec![
                TopicFilter {
                    topic: "Allocation".to_owned(),
                    key: Some("k".repeat(36)),
                };
                200
            ],
            newest: Some(i64::MAX),
        });
    }
    let bytes = encode(&largest).unwrap();
    assert!((bytes.len() as u64) < MAX_FILE_BYTES / 2, "{}", bytes.len());
    assert_eq!(decode(&bytes), Ok(largest));
}

#[test]
fn neither_the_key_nor_a_proof_is_shown() {
    let state = state(0xfeed_beef, 3);
    let file = text(&state);
    let json: serde_json::Value = serde_json::from_str(&file).unwrap();
    let key = json["state"]["key"].as_str().unwrap();
    let proof = json["state"]["taken"]["proofs"][2].as_str().unwrap();
    let numbers = [key, proof].map(|hex| u128::from_str_radix(hex, 16).unwrap());
    let mut shown = format!("{state:?}{state:#?}");
    for end in [0, 1, file.len() / 2, file.len() - 3] {
        let error = decode(&file.as_bytes()[..end]).unwrap_err();
        shown += &format!("{error}{error:?}");
    }
    // The key where another type is expected, which serde would quote.
    let moved = with_state(|state| state["newest"] = state["key"].clone());
    let error = decode(&moved).unwrap_err();
    shown += &format!("{error}{error:?}");
    for secret in [key, proof, &numbers[0].to_string(), &numbers[1].to_string()] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("Proofs(3)"), "{shown}");
}
