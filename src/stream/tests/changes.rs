//! What new versions of jobs have changed, with a paused clock: asked once for each, told once, and never waited for long.

use tokio::time::Instant;

use super::*;
use crate::changes::Changes;
use crate::event::{Batch, Event};

/// An event of the job `web`: what was written with the index, or a job as it was before.
fn shown(index: u64, create_index: u64, version: u64, written: u64) -> String {
    event(
        "DeploymentStatusUpdate",
        index,
        create_index,
        version,
        written,
    )
}

fn event(kind: &str, index: u64, create_index: u64, version: u64, written: u64) -> String {
    format!(
        r#"{{"Topic":"Job","Type":"{kind}","Key":"web","Namespace":"prod","FilterKeys":null,"Index":{index},"Payload":{{"Job":{{"ID":"web/a b","Version":{version},"CreateIndex":{create_index},"JobModifyIndex":{written}}}}}}}"#
    )
}

/// A line of these events.
fn line(index: u64, events: &[String]) -> String {
    format!(r#"{{"Index":{index},"Events":[{}]}}"#, events.join(","))
}

/// A line with a new version of the job.
fn registered(index: u64, version: u64) -> String {
    line(index, &[shown(index, 3, version, index)])
}

/// What Nomad says of versions from `newest` down to `oldest`: the image has the number of the version.
fn versions(create_index: u64, oldest: u64, newest: u64) -> String {
    let jobs: Vec<String> = (oldest..=newest)
        .rev()
        .map(|version| {
            format!(r#"{{"CreateIndex":{create_index},"Version":{version},"Stop":false}}"#)
        })
        .collect();
    let diffs: Vec<String> = (oldest + 1..=newest)
        .rev()
        .map(|version| {
            let old = version - 1;
            format!(
                r#"{{"Type":"Edited","ID":"web/a b","Fields":null,"Objects":null,"TaskGroups":[{{"Type":"Edited","Name":"g","Fields":null,"Objects":null,"Updates":null,"Tasks":[{{"Type":"Edited","Name":"t","Fields":null,"Annotations":null,"Objects":[{{"Type":"Edited","Name":"Config","Objects":null,"Fields":[{{"Type":"Edited","Name":"image","Old":"app:{old}","New":"app:{version}","Annotations":null}}]}}]}}]}}]}}"#
            )
        })
        .collect();
    format!(
        r#"{{"Diffs":[{}],"Index":9,"Versions":[{}]}}"#,
        diffs.join(","),
        jobs.join(",")
    )
}

fn answered(status: &str, body: &str) -> Vec<Act> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    vec![Act::Bytes((head + body).into()), Act::Close]
}

fn is_asked_for_versions(request: &Request) -> bool {
    request.contains("/versions?")
}

/// A server that sends these lines, each after a pause, and answers questions for versions by `answer`: the how manieth it is.
fn serving(
    lines: Vec<(Duration, String)>,
    answer: impl Fn(usize) -> Vec<Act> + Send + Sync + 'static,
) -> Arc<Memory> {
    let mut acts = vec![Act::Bytes(Framing::Close.answer([]).into())];
    for (pause, line) in lines {
        acts.extend([Act::Pause(pause), Act::Bytes((line + "\n").into())]);
    }
    acts.push(Act::Hold);
    Memory::new(move |before, request| match asked_for(request) {
        Some(_) => acts.clone(),
        None if is_asked_for_versions(request) => answer(before),
        None => list(),
    })
}

fn at_once(lines: impl IntoIterator<Item = String>) -> Vec<(Duration, String)> {
    let lines = lines.into_iter();
    lines.map(|line| (Duration::ZERO, line)).collect()
}

fn follow(memory: &Arc<Memory>, options: &str) -> EventStream {
    let options: Options = serde_json::from_str(options).unwrap();
    let settings = options.settings(|_| None).unwrap();
    EventStream::follow_over(settings, Arc::new(Dialer(Arc::clone(memory))), None)
}

const ASKING: &str = r#"{"job_changes": true, "status_interval_secs": 3600, "token": "1234-5678"}"#;

/// The next batch, answered for.
async fn batch(stream: &mut EventStream) -> Batch {
    let next = async {
        loop {
            if let Item::Batch(batch) = stream.next().await.unwrap() {
                return batch;
            }
        }
    };
    let batch = tokio::time::timeout(Duration::from_secs(60), next)
        .await
        .unwrap();
    stream.acknowledger().resolve(batch.id, Delivery::Delivered);
    batch
}

/// The events of the next so many batches.
async fn events(stream: &mut EventStream, batches: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..batches {
        events.extend(batch(stream).await.events);
    }
    events
}

/// `old -> new` of the image, why nothing is known, or `-` where nothing is said.
fn said(event: &Event) -> String {
    match event.changes.as_deref() {
        None => "-".to_owned(),
        Some(Changes::Unknown(why)) => why.clone(),
        Some(Changes::Known(changes)) => {
            let field = &changes.fields[0];
            assert_eq!(field.name, "Config.image");
            assert_eq!(field.new, format!("app:{}", changes.version));
            format!("{} -> {}", field.old, field.new)
        }
    }
}

fn all_said(events: &[Event]) -> Vec<String> {
    events.iter().map(said).collect()
}

fn questions(memory: &Memory) -> Vec<Request> {
    let requests = memory.requests().into_iter();
    requests.filter(is_asked_for_versions).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_event_of_a_version_says_what_it_has_changed_and_no_other_does() {
    let again = line(9, &[shown(9, 3, 2, 9), shown(9, 3, 2, 9)]);
    let before = line(10, &[shown(10, 3, 2, 9)]);
    let lines = at_once([
        registered(5, 0),
        registered(7, 1),
        again,
        before,
        registered(11, 3),
    ]);
    let memory = serving(lines, |before| match before {
        0 => answered("200 OK", &versions(3, 0, 1)),
        1 => answered("200 OK", &versions(3, 0, 2)),
        _ => answered("200 OK", &versions(3, 0, 3)),
    });
    let mut stream = follow(&memory, ASKING);
    let events = events(&mut stream, 5).await;
    assert_eq!(
        all_said(&events),
        [
            "-",
            "app:0 -> app:1",
            "app:1 -> app:2",
            "-",
            "-",
            "app:2 -> app:3"
        ]
    );
    let questions = questions(&memory);
    assert_eq!(questions.len(), 3);
    assert!(
        questions[0]
            .starts_with("GET /v1/job/web%2Fa%20b/versions?diffs=true&namespace=prod HTTP/1.1\r\n"),
        "{}",
        questions[0]
    );
    assert!(questions[0].contains("1234-5678"), "with the token");
}

#[tokio::test(start_paused = true)]
async fn one_answer_serves_all_versions_that_are_caught_up_with() {
    let memory = serving(
        at_once((0..=4).map(|version| registered(5 + version, version))),
        |_| answered("200 OK", &versions(3, 1, 4)),
    );
    let mut stream = follow(&memory, ASKING);
    let events = events(&mut stream, 5).await;
    assert_eq!(
        all_said(&events),
        [
            "-",
            "Nomad does not have the version before any more",
            "app:1 -> app:2",
            "app:2 -> app:3",
            "app:3 -> app:4"
        ]
    );
    assert_eq!(questions(&memory).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_purged_and_made_anew_is_another_one() {
    let anew = line(20, &[shown(20, 19, 1, 20)]);
    let lines = at_once([registered(7, 1), anew]);
    let memory = serving(lines, |before| match before {
        // It had been purged by the time of the question.
        0 => answered("200 OK", &versions(19, 0, 1)),
        _ => answered("200 OK", &versions(19, 0, 1)),
    });
    let mut stream = follow(&memory, ASKING);
    let events = events(&mut stream, 2).await;
    assert_eq!(
        all_said(&events),
        [
            "Nomad does not have this version any more",
            "app:0 -> app:1"
        ]
    );
    assert_eq!(questions(&memory).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_unless_somebody_wants_to_know() {
    let memory = serving(at_once([registered(7, 1)]), |_| Vec::new());
    let mut stream = follow(&memory, r#"{"status_interval_secs": 3600}"#);
    let events = events(&mut stream, 1).await;
    assert_eq!(all_said(&events), ["-"]);
    assert_eq!(questions(&memory).len(), 0);
}

/// What does not answer must not hold up a stream: three seconds, and then nothing is asked for nine times as long.
#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_holds_up_the_stream_for_a_tenth_of_the_time_at_most() {
    let pauses = [0, 1, 20, 10];
    let lines = pauses.iter().zip(1..).map(|(&pause, version)| {
        let pause = Duration::from_secs(pause);
        (pause, registered(5 + version, version))
    });
    let memory = serving(lines.collect(), |before| match before {
        0 => vec![Act::Hold],
        _ => answered("200 OK", &versions(3, 3, 4)),
    });
    let begun = Instant::now();
    let mut stream = follow(&memory, ASKING);
    let mut came = Vec::new();
    for _ in 0..4 {
        let said = said(&batch(&mut stream).await.events[0]);
        came.push((begun.elapsed().as_secs(), said));
    }
    let resting = "not asked: the question before had failed, or too much has changed at once";
    assert_eq!(
        came,
        [
            (3, "no answer within 3 s".to_owned()),
            // It had come meanwhile.
            (3, resting.to_owned()),
            (23, resting.to_owned()),
            (33, "app:3 -> app:4".to_owned()),
        ]
    );
    assert_eq!(questions(&memory).len(), 2);
    // The connection was alive all the time.
    assert_eq!(stream.acknowledger().status().disconnects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_said_without_the_token_and_the_event_goes_on() {
    let memory = serving(at_once([registered(7, 1)]), |_| {
        answered("403 Forbidden", "Permission denied for 1234-5678")
    });
    let mut stream = follow(&memory, ASKING);
    let events = events(&mut stream, 1).await;
    let said = said(&events[0]);
    assert!(
        said.starts_with("answered 403 \"Permission denied for"),
        "{said}"
    );
    assert!(!said.contains("1234-5678"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_of_nomads_is_said_to_be_none() {
    for body in [
        "[]",
        "{",
        r#"{"Versions":[{"Version":-1}]}"#,
        r#"{"Versions":"x"}"#,
    ] {
        let memory = serving(at_once([registered(7, 1)]), move |_| {
            answered("200 OK", body)
        });
        let mut stream = follow(&memory, ASKING);
        let events = events(&mut stream, 1).await;
        assert_eq!(
            said(&events[0]),
            "what http://127.0.0.1:4646 answers is no list of versions",
            "{body}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_errored_comes_again_with_the_same_changes_and_nothing_is_asked_again() {
    let memory = serving(at_once([registered(7, 1)]), |_| {
        answered("200 OK", &versions(3, 0, 1))
    });
    let mut stream = follow(&memory, ASKING);
    let mut told = Vec::new();
    while told.len() < 2 {
        if let Item::Batch(batch) = stream.next().await.unwrap() {
            let delivery = match batch.redelivery {
                0 => Delivery::Errored,
                _ => Delivery::Delivered,
            };
            stream.acknowledger().resolve(batch.id, delivery);
            told.push(batch.events);
        }
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(all_said(&told[1]), ["app:0 -> app:1"]);
    assert_eq!(questions(&memory).len(), 1);
}

/// A restored snapshot has the same jobs, and their versions come again as other ones.
#[tokio::test(start_paused = true)]
async fn versions_of_before_a_reset_are_forgotten() {
    let begins = |lines: &[String]| {
        let lines = lines.iter().map(String::as_str);
        vec![Act::Bytes(Framing::Close.answer(lines).into())]
    };
    let first = [registered(50, 1), registered(51, 2)];
    let anew = [registered(8, 1), registered(9, 2)];
    let memory = Memory::new(move |before, request| match asked_for(request) {
        Some(0) if before == 0 => begins(&first),
        Some(0) => {
            let mut acts = begins(&anew);
            acts.push(Act::Hold);
            acts
        }
        // Nothing but older lines, so the tables are asked: they are at 9.
        Some(_) => {
            let mut acts = begins(&[]);
            acts.push(Act::Hold);
            acts
        }
        None if is_asked_for_versions(request) => answered("200 OK", &versions(3, 0, 2)),
        None => list(),
    });
    let mut stream = follow(&memory, r#"{"job_changes": true, "topics": ["Job"]}"#);
    let mut said = Vec::new();
    while said.len() < 4 {
        let batch = batch(&mut stream);
        let batch = batch.await;
        said.push((batch.epoch.0, all_said(&batch.events).join(",")));
    }
    assert_eq!(
        said.iter()
            .map(|(_, said)| said.as_str())
            .collect::<Vec<_>>(),
        [
            "app:0 -> app:1",
            "app:1 -> app:2",
            "app:0 -> app:1",
            "app:1 -> app:2"
        ]
    );
    assert!(said[3].0 > said[0].0, "{said:?}");
    assert_eq!(questions(&memory).len(), 2, "asked anew");
}
