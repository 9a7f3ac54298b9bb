//! What is kept of a diff, and that nothing else is.

use proptest::prelude::*;

use super::*;

/// An answer with these versions, newest first, and these diffs.
fn answer(versions: &str, diffs: &str) -> String {
    format!(r#"{{"Diffs":{diffs},"Index":7,"KnownLeader":true,"Versions":{versions}}}"#)
}

/// The changes of the newest of two versions, which is compared by this diff.
fn changes(diff: &str) -> JobChanges {
    let versions = r#"[{"CreateIndex":5,"Version":3},{"CreateIndex":5,"Version":1}]"#;
    let read = read(answer(versions, &format!("[{diff}]")).as_bytes()).unwrap();
    read[0].changes.clone().unwrap()
}

fn shown(changes: &JobChanges) -> Vec<String> {
    let field = |field: &ChangedField| {
        let place = [&field.task_group, &field.task].map(|name| name.as_deref().unwrap_or("-"));
        format!(
            "{} {} {}: {:?} -> {:?}",
            place.join(" "),
            field.kind.as_str(),
            field.name,
            field.old,
            field.new
        )
    };
    changes.fields.iter().map(field).collect()
}

fn field(kind: &str, name: &str, old: &str, new: &str) -> String {
    let [kind, name, old, new] =
        [kind, name, old, new].map(|text| serde_json::to_string(text).unwrap());
    format!(r#"{{"Type":{kind},"Name":{name},"Old":{old},"New":{new},"Annotations":null}}"#)
}

/// The diff of a job with one task, which has these fields in its `Config`.
fn config(fields: &[String]) -> String {
    format!(
        r#"{{"Type":"Edited","ID":"web","Fields":null,"Objects":null,"TaskGroups":[{{"Type":"Edited","Name":"frontend","Fields":null,"Objects":null,"Updates":null,"Tasks":[{{"Type":"Edited","Name":"server","Annotations":null,"Fields":null,"Objects":[{{"Type":"Edited","Name":"Config","Objects":null,"Fields":[{}]}}]}}]}}]}}"#,
        fields.join(",")
    )
}

/// What a Nomad 1.11.3 answered of a job with a secret in every place that an operator may put one.
#[test]
fn of_a_real_diff_names_and_images_are_kept_and_no_secret() {
    let answer = include_bytes!("../../tests/fixtures/nomad-1.11.3-job-versions.json");
    let text = std::str::from_utf8(answer).unwrap();
    assert!(
        text.matches("fake-secret-").count() > 40,
        "the fixture has them"
    );
    let versions = read(answer).unwrap();
    let numbers: Vec<u64> = versions.iter().map(|version| version.version).collect();
    assert_eq!(numbers, [2, 1, 0]);
    assert_eq!(
        versions[2].changes, None,
        "the oldest is compared with nothing"
    );
    for version in &versions[..2] {
        let shown = format!(
            "{:?} {:?}",
            version,
            shown(version.changes.as_ref().unwrap())
        );
        assert!(!shown.contains("fake-secret-"), "{shown}");
    }
    insta::assert_snapshot!(
        versions[..2]
            .iter()
            .map(|version| {
                let changes = version.changes.as_ref().unwrap();
                format!(
                    "version {} after {}\n{}",
                    changes.version,
                    changes.previous_version,
                    shown(changes).join("\n")
                )
            })
            .collect::<Vec<_>>()
            .join("\n\n")
    );
}

#[test]
fn fields_have_their_place_and_what_did_not_change_is_no_change() {
    let diff = format!(
        r#"{{"Type":"Edited","ID":"web","Fields":[{}],"Objects":[{{"Type":"Edited","Name":"Periodic","Fields":[{}],"Objects":null}}],"TaskGroups":[
            {{"Type":"Edited","Name":"frontend","Fields":[{}],"Objects":null,"Updates":null,"Tasks":[
                {{"Type":"Edited","Name":"server","Annotations":null,"Fields":[{}],"Objects":[{{"Type":"Edited","Name":"Service","Fields":null,"Objects":[
                    {{"Type":"Edited","Name":"SidecarTask","Fields":null,"Objects":[{{"Type":"Edited","Name":"Config","Fields":[{}],"Objects":null}}]}}]}}]}},
                {{"Type":"None","Name":"idle","Annotations":null,"Fields":null,"Objects":null}}]}},
            {{"Type":"Deleted","Name":"old","Fields":[{}],"Objects":null,"Updates":null,"Tasks":null}}]}}"#,
        field("Edited", "Priority", "50", "60"),
        field("None", "TimeZone", "UTC", "UTC"),
        field("Edited", "Count", "1", "2"),
        field("Added", "Env[PASSWORD]", "", "hunter2"),
        field("Edited", "image", "envoy:1", "envoy:2"),
        field("Deleted", "Count", "1", ""),
    );
    let changes = changes(&diff);
    assert_eq!((changes.version, changes.previous_version), (3, 1));
    assert_eq!(
        shown(&changes),
        [
            r#"- - Edited Priority: "[REDACTED]" -> "[REDACTED]""#,
            r#"frontend - Edited Count: "[REDACTED]" -> "[REDACTED]""#,
            r#"frontend server Added Env[PASSWORD]: "" -> "[REDACTED]""#,
            r#"frontend server Edited Service.SidecarTask.Config.image: "[REDACTED]" -> "[REDACTED]""#,
            r#"old - Deleted Count: "[REDACTED]" -> """#,
        ]
    );
    let debug = format!("{changes:?}");
    assert!(!debug.contains("REDACTED"), "no value in Debug: {debug}");
}

#[test]
fn an_image_is_one_in_the_configuration_of_a_driver_only_and_has_no_password() {
    let changes = changes(&config(&[
        field(
            "Edited",
            "image",
            "https://me:hunter2@r.example.com/app:1",
            "r.example.com/app:2",
        ),
        field("Edited", "image_pull_timeout", "5m", "hunter2"),
        field("Edited", "auth[0][password]", "hunter2", "hunter3"),
        field("Edited", "labels[image]", "hunter2", "hunter3"),
    ]));
    assert_eq!(
        shown(&changes)[0],
        r#"frontend server Edited Config.image: "https://[REDACTED]@r.example.com/app:1" -> "r.example.com/app:2""#
    );
    assert!(!shown(&changes).concat().contains("hunter"));
    let meta = config(&[field("Edited", "image", "hunter2", "hunter3")]).replace("Config", "Env");
    assert!(!shown(&self::changes(&meta)).concat().contains("hunter"));
}

#[test]
fn what_is_kept_is_bounded_and_images_are_not_left_out() {
    let long = "ä".repeat(MAX_TEXT_BYTES);
    let mut fields: Vec<String> = (0..MAX_FIELDS + 10)
        .map(|number| field("Added", &format!("labels[{number}]{long}"), "", "x"))
        .collect();
    fields.push(field("Edited", "image", "app:1", &format!("app:{long}")));
    let changes = changes(&config(&fields));
    assert_eq!(changes.fields.len(), MAX_FIELDS);
    assert_eq!(changes.fields_left_out, 11);
    assert_eq!(changes.fields[0].name, "Config.image");
    assert_eq!(changes.fields[1].name[..16], *"Config.labels[0]");
    for field in &changes.fields {
        assert!(field.name.len() <= MAX_TEXT_BYTES && field.new.len() <= MAX_TEXT_BYTES);
    }
    assert!(changes.fields[0].new.ends_with("..."));
    let most = MAX_FIELDS * (size_of::<ChangedField>() + 5 * MAX_TEXT_BYTES) + 1024;
    assert!(Changes::Known(changes).bytes() <= most);
}

#[test]
fn an_object_in_an_object_in_an_object_costs_no_more_than_its_own_length() {
    let name = "n".repeat(1000);
    let open = format!(
        r#"{{"Type":"Edited","Name":"{name}","Fields":[{}],"Objects":["#,
        field("Edited", "a", "1", "2")
    );
    let diff = format!(
        r#"{{"Type":"Edited","ID":"web","Fields":null,"TaskGroups":null,"Objects":[{}{}]}}"#,
        open.repeat(40),
        "]}".repeat(40)
    );
    let changes = changes(&diff);
    assert_eq!(changes.fields.len(), 40);
    assert!(
        changes
            .fields
            .iter()
            .all(|field| field.name.len() <= MAX_TEXT_BYTES)
    );
}

#[test]
fn versions_that_are_missing_and_empty_lists_are_no_mistake() {
    let one = read(answer(r#"[{"CreateIndex":5,"Version":0}]"#, "null").as_bytes()).unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].changes, None);
    assert_eq!(read(answer("[]", "[]").as_bytes()), Some(Vec::new()));
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"Versions":null}"#,
        r#"{"Versions":[{}]}"#,
    ] {
        assert_eq!(read(text.as_bytes()), None, "{text}");
    }
}

proptest! {
    /// Whatever a job has where, of its values only images are shown.
    #[test]
    fn no_value_but_that_of_an_image_is_shown(
        names in prop::collection::vec(prop_oneof![Just("image".to_owned()), "[A-Za-z.\\[\\]]{1,12}"], 1..8),
        object in prop_oneof![Just("Config".to_owned()), "[A-Za-z]{1,12}"],
        secret in "secret[a-z0-9]{12}",
    ) {
        let fields: Vec<String> = names
            .iter()
            .map(|name| field("Edited", name, &format!("x{secret}"), &format!("{secret}y")))
            .collect();
        let diff = config(&fields).replace("Config", &object);
        let changes = changes(&diff);
        for (name, changed) in names.iter().zip(&changes.fields) {
            let is_image = name == "image" && object == "Config";
            prop_assert_eq!(changed.new.contains(&secret), is_image);
            prop_assert_eq!(changed.old.contains(&secret), is_image);
        }
    }
}
