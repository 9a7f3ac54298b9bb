//! What is done when no line shows that the stream goes on where it stopped.

use super::super::doubt::{LOWER_FOR, UNDECIDED_TIMEOUT};
use super::*;
use crate::position::proof::{Proof, Proofs};

/// A stream that is resumed at 7, and of which nothing comes for ten seconds: the tables are asked for.
fn in_doubt() -> Lab {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    assert!(lab.wait(9).is_empty());
    assert_eq!(lab.wait(1), ["ask 1"]);
    lab
}

/// One that goes on from a saved position.
fn saved(taken: &Taken, another_region: bool) -> Lab {
    let mut lab = Lab::new(Mark::Nothing);
    lab.machine.resume(
        RaftIndex(7),
        taken,
        KnownNamespaces::Unknown,
        another_region,
        ProofKey::new(42),
    );
    assert_eq!(
        lab.step(Input::Begin),
        ["connect 0 at 7 within 0ns"],
        "{taken:?}"
    );
    lab.step(Input::Accepted);
    assert_eq!(lab.beat(), ["connected 0 at 7"]);
    lab
}

/// The proof of the event that `Lab::line` makes of this at index 7.
fn proofs(payload: &str) -> Taken {
    let text = Bytes::from(format!(
        r#"{{"Index":7,"Events":[{{"Topic":"Job","Type":"T","Key":"k","Payload":{{"Job":"{payload}"}}}}]}}"#
    ));
    let Ok(Line::Batch(batch)) = envelope::parse(&text) else {
        panic!("no batch");
    };
    let mut proofs = Proofs::default();
    proofs.add(Proof::of(ProofKey::new(42), 7, &batch.events[0]));
    Taken::Proofs(proofs)
}

#[test]
fn a_place_that_is_forgotten_without_loss_is_shown_by_the_tables() {
    let mut lab = in_doubt();
    assert!(lab.tables(7, true).is_empty());
    assert_eq!(lab.machine.deadline(), None);
    assert_eq!(lab.line(20, &["x"]), ["emit 20 x"]);
}

/// A cluster that was made anew had come exactly as far when it was asked, and nothing showed what had been missed of the old one.
#[test]
fn a_line_of_the_index_that_is_not_what_was_taken_takes_back_what_the_tables_said() {
    let mut lab = in_doubt();
    assert!(lab.tables(7, true).is_empty());
    assert_eq!(lab.line(7, &["other"]), ["doubt at 7", "emit 7 other"]);
    assert_eq!(lab.line(9, &["x"]), ["gap 7 to 9 evicted", "emit 9 x"]);
    // And the rest of an index whose connection broke between two lines.
    let mut lab = in_doubt();
    assert!(lab.tables(7, true).is_empty());
    assert_eq!(lab.line(7, &["half"]), ["doubt at 7", "emit 7 half"]);
    assert_eq!(
        lab.line(7, &["b", "c"]),
        ["continuous at 7", "duplicates 2"]
    );
    assert_eq!(lab.line(9, &["x"]), ["emit 9 x"]);
}

#[test]
fn something_was_written_that_did_not_come() {
    let mut lab = in_doubt();
    assert_eq!(lab.tables(9, true), ["gap from 7 evicted"]);
    assert_eq!(lab.machine.deadline(), None);
    // Said once, not again for the line that then comes.
    assert_eq!(lab.line(20, &["x"]), ["emit 20 x"]);
    // Also when not all could be seen.
    assert_eq!(in_doubt().tables(9, false), ["gap from 7 evicted"]);
}

#[test]
fn a_line_that_comes_meanwhile_decides() {
    let mut lab = in_doubt();
    assert_eq!(lab.line(20, &["x"]), ["gap 7 to 20 evicted", "emit 20 x"]);
    assert!(lab.tables(20, true).is_empty());
    let mut lab = in_doubt();
    assert_eq!(lab.line(7, &["b"]), ["duplicates 1"]);
    assert!(lab.tables(9, true).is_empty());
}

#[test]
fn tables_that_cannot_all_be_read_decide_nothing_and_are_asked_for_again() {
    let mut lab = in_doubt();
    let mut asked = 1;
    let began = lab.now;
    loop {
        let said = match asked % 3 {
            0 => lab.tables(7, false),
            1 => lab.step(Input::Tables(None)),
            _ => lab.tables(3, false),
        };
        assert!(said.is_empty(), "{said:?}");
        let deadline = lab.machine.deadline().unwrap();
        lab.now = deadline;
        let said = lab.step(Input::Deadline);
        if said == ["gap from 7 unproven"] {
            break;
        }
        assert_eq!(said, ["ask 1"]);
        asked += 1;
    }
    assert_eq!(lab.now - began, UNDECIDED_TIMEOUT);
    // 1, 2, 4, 8, 16 and then 30 s between two questions.
    assert!((10..=16).contains(&asked), "{asked}");
    assert_eq!(lab.machine.deadline(), None);
}

#[test]
fn an_answer_that_never_comes_is_a_gap_after_five_minutes() {
    let mut lab = in_doubt();
    assert!(lab.wait(299).is_empty());
    assert_eq!(lab.wait(1), ["gap from 7 unproven"]);
}

#[test]
fn tables_that_stay_behind_for_thirty_seconds_are_those_of_another_cluster() {
    let mut lab = in_doubt();
    let began = lab.now;
    let mut said = lab.tables(5, true);
    while said.is_empty() {
        lab.now = lab.machine.deadline().unwrap();
        assert_eq!(lab.step(Input::Deadline), ["ask 1"]);
        // Its own lines come meanwhile, and are known to be older.
        assert_eq!(lab.line(3, &["x"]), ["duplicates 1"]);
        said = lab.tables(6, true);
    }
    assert_eq!(lab.now - began, LOWER_FOR);
    assert_eq!(
        said,
        ["reset at 7, tables at 6", "connect 1 at 0 within 0ns"]
    );
    lab.step(Input::Accepted);
    assert_eq!(lab.line(3, &["x"]), ["connected 1 at 0", "emit 3 x"]);
}

#[test]
fn tables_that_catch_up_are_those_of_the_same_cluster() {
    let mut lab = in_doubt();
    assert!(lab.tables(5, true).is_empty());
    lab.wait(29);
    assert!(lab.tables(7, true).is_empty());
    assert_eq!(lab.machine.deadline(), None);
    // What could not be seen interrupts the thirty seconds too.
    let mut lab = in_doubt();
    lab.tables(5, true);
    lab.wait(29);
    lab.tables(5, false);
    lab.wait(30);
    assert!(lab.tables(5, true).is_empty());
}

#[test]
fn a_server_that_sends_only_older_lines_is_asked_about_and_may_lag() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    let mut said = Vec::new();
    for _ in 0..7 {
        said.extend(lab.line(6, &["old"]));
        said.extend(lab.wait(9));
    }
    said.retain(|said| said != "duplicates 1");
    assert_eq!(said, ["only older than 7", "ask 1"]);
    // The leader is further on: the server will be.
    assert!(lab.tables(12, true).is_empty());
    assert_eq!(lab.line(7, &["b", "c"]), ["duplicates 2"]);
    assert_eq!(lab.line(12, &["x"]), ["emit 12 x"]);
}

#[test]
fn a_server_that_lags_behind_its_leader_is_no_gap() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    assert_eq!(lab.line(6, &["old"]), ["duplicates 1"]);
    assert_eq!(lab.wait(10), ["ask 1"]);
    assert!(lab.tables(12, true).is_empty());
    assert_eq!(lab.line(7, &["b", "c"]), ["duplicates 2"]);
    assert_eq!(lab.line(12, &["x"]), ["emit 12 x"]);
}

#[test]
fn lines_of_the_index_that_nothing_is_known_of_are_not_made_good_by_the_tables() {
    let mut lab = Lab::resumed_at_seven();
    lab.beat();
    lab.line(7, &["other"]);
    assert_eq!(lab.wait(10), ["ask 1"]);
    // A cluster made anew that has just come to this index, or half of it evicted.
    assert!(lab.tables(7, true).is_empty());
    assert_eq!(lab.wait(290), ["ask 1"]);
    assert_eq!(lab.wait(10), ["gap from 7 unproven"]);
}

#[test]
fn a_saved_position_is_proved_as_a_reconnect_is() {
    let mut lab = saved(&proofs("a"), false);
    assert_eq!(
        lab.line(7, &["b", "a"]),
        ["duplicates 1", "emit 7 b"],
        "what was answered for is known, the rest is new"
    );
    assert_eq!(lab.line(9, &["x"]), ["emit 9 x"]);
    let mut lab = saved(&proofs("a"), false);
    assert_eq!(lab.line(9, &["x"]), ["gap 7 to 9 evicted", "emit 9 x"]);
}

#[test]
fn a_saved_start_mark_goes_on_quietly_with_a_line_at_or_below_it() {
    for (taken, first) in [
        (Taken::Nothing, vec!["emit 7 x"]),
        (Taken::All, vec!["duplicates 1"]),
    ] {
        let mut lab = saved(&taken, false);
        assert_eq!(lab.line(7, &["x"]), first);
        assert_eq!(lab.line(9, &["y"]), ["emit 9 y"]);
        let mut lab = saved(&taken, false);
        assert_eq!(lab.line(6, &["x"]), ["duplicates 1"]);
        assert_eq!(lab.line(9, &["y"]), ["emit 9 y"]);
        let mut lab = saved(&taken, false);
        assert_eq!(lab.line(9, &["y"]), ["gap 7 to 9 evicted", "emit 9 y"]);
    }
}

#[test]
fn a_saved_start_mark_of_a_cluster_that_was_made_anew_is_found_out() {
    for taken in [Taken::Nothing, Taken::All] {
        let mut lab = saved(&taken, false);
        let mut said = Vec::new();
        for _ in 0..7 {
            said.extend(lab.line(3, &["x"]));
            said.extend(lab.wait(9));
        }
        said.retain(|said| said != "duplicates 1");
        assert_eq!(said, ["only older than 7", "ask 0"]);
        assert!(lab.tables(5, true).is_empty());
        lab.wait(30);
        assert_eq!(
            lab.tables(5, true),
            ["reset at 7, tables at 5", "connect 0 at 0 within 0ns"]
        );
    }
}

#[test]
fn a_start_index_that_is_still_to_come_is_waited_for() {
    let mut lab = Lab::new(Mark::From(RaftIndex(50)));
    lab.step(Input::Begin);
    lab.step(Input::Accepted);
    lab.beat();
    assert_eq!(lab.wait(10), ["ask 0"]);
    assert!(lab.tables(20, true).is_empty());
    assert_eq!(lab.machine.deadline(), None);
    assert_eq!(lab.line(30, &["x"]), ["duplicates 1"]);
    assert_eq!(lab.line(50, &["y"]), ["emit 50 y"]);
}

#[test]
fn another_region_is_another_cluster_unless_a_proof_shows_the_opposite() {
    let mut lab = saved(&proofs("a"), true);
    assert_eq!(lab.line(6, &["old"]), ["duplicates 1"]);
    assert_eq!(
        lab.line(7, &["a"]),
        ["continuous at 7", "duplicates 1"],
        "the same cluster under another name"
    );
    assert_eq!(lab.line(9, &["x"]), ["emit 9 x"]);

    let reset = ["reset at 7", "connect 0 at 0 within 0ns"];
    for index in [7, 9] {
        assert_eq!(saved(&proofs("a"), true).line(index, &["x"]), reset);
    }
    assert_eq!(saved(&proofs("a"), true).wait(10), reset);
    let mut lab = saved(&proofs("a"), true);
    let mut said = Vec::new();
    while said.is_empty() {
        lab.line(3, &["x"]);
        said = lab.wait(9);
    }
    assert_eq!(said[1..], reset, "{said:?}");
}
