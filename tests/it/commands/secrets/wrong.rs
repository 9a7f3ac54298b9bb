//! Configurations that are wrong, or suspicious, while they carry secrets: what is said of them repeats none.

use std::fs;
use std::path::Path;

use super::super::{Place, finished, nomad_events};
use super::Planted;

/// Where a line of the table stands.
const SOURCE: &str = "[sources.nomad]\ntype = \"nomad_events\"\nLINE\n\
    [sinks.out]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n";
const LOKI: &str = "[sources.nomad]\ntype = \"nomad_events\"\n\
    [sinks.loki]\ntype = \"loki\"\ninputs = [\"nomad\"]\nencoding.codec = \"json\"\nLINE\n";
const HTTP: &str = "[sources.nomad]\ntype = \"nomad_events\"\n\
    [sinks.webhook]\ntype = \"http\"\ninputs = [\"nomad\"]\nencoding.codec = \"json\"\nLINE\n";
const EXPORTER: &str = "[sources.metrics]\ntype = \"internal_metrics\"\n\
    [sinks.exporter]\ntype = \"prometheus_exporter\"\ninputs = [\"metrics\"]\nLINE\n";
const REMAP: &str = "[sources.nomad]\ntype = \"nomad_events\"\n\
    [transforms.shape]\ntype = \"remap\"\ninputs = [\"nomad\"]\nLINE\n\
    [sinks.out]\ntype = \"blackhole\"\ninputs = [\"shape\"]\n";
const FILTER: &str = "[sources.nomad]\ntype = \"nomad_events\"\n\
    [transforms.shape]\ntype = \"filter\"\ninputs = [\"nomad\"]\nLINE\n\
    [sinks.out]\ntype = \"blackhole\"\ninputs = [\"shape\"]\n";
const TEST: &str = "[sources.nomad]\ntype = \"nomad_events\"\n\
    [transforms.shape]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = '.a = 1'\n\
    [sinks.out]\ntype = \"blackhole\"\ninputs = [\"shape\"]\n\
    [[tests]]\nname = \"t\"\n[[tests.inputs]]\ninsert_at = \"shape\"\ntype = \"log\"\nlog_fields.message = \"x\"\n\
    [[tests.outputs]]\nextract_from = \"shape\"\nconditions = [LINE]\n";
const TOP: &str = "LINE\n[sources.nomad]\ntype = \"nomad_events\"\n\
    [sinks.out]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n";

/// In each of them S is a secret of its own, and NUMBER is one of digits.
const LINES: &[(&str, &[&str])] = &[
    (
        SOURCE,
        &[
            "token = NUMBER",
            "token = [\"S\"]",
            "token = { \"S\" = 1 }",
            "token = \"S S\"",
            "token = \"S\"\ntoken_file = \"S\"",
            "token_file = [\"S\"]",
            "tokne = \"S\"",
            "Token = \"S\"",
            "\"S\" = 1",
            "token.\"S\" = 1",
            "endpoints = \"http://me:S@h\"",
            "endpoints = [\"ht tp://S@h\"]",
            "endpoints = [\"http://me:S/x@h:1\"]",
            "endpoints = [\"http://S#x@h\"]",
            "endpoints = [\"http://S?x@h\"]",
            "endpoints = [\"http://S/x@h\"]",
            "endpoints = [\"S:4646\"]",
            "endpoints = [\"S://h\"]",
            "endpoints = [\"S\"]",
            "endpoints = [\"http://me:S@h/v1?token=S\"]",
            "endpoints = [\"unix:S\"]",
            "endpoints = [\"http://me:S@\"]",
            "tls = \"S\"",
            "tls.key_pass = \"S\"",
            "endpoints = [\"https://h\"]\ntls.key_pass = \"S\"",
            "endpoints = [\"https://h\"]\ntls.key_pass = [\"S\"]",
            "endpoints = [\"https://h\"]\ntls.pass = \"S\"",
            "endpoints = [\"https://h\"]\ntls = { crt_file = \"client.crt\", key_file = \"client.key\", key_pass = \"S\" }",
            "endpoints = [\"https://h\"]\ntls = { crt_file = \"client.crt\", key_file = \"S\" }",
            "endpoints = [\"https://h\"]\ntls = { crt_file = \"client.crt\", key_file = \"-----BEGIN PRIVATE KEY-----\\nS\" }",
            "endpoints = [\"https://h\"]\ntls = { crt_file = \"client.crt\", key_file = \"-----BEGIN PRIVATE KEY\\nS\" }",
            "start_at = \"S\"",
            "redact = \"S\"",
            "region = [\"S\"]",
            "namespace = \"${PLANTED}*\"",
            "topics = [\"${SHORT}\"]",
            "\"${SHORT}\" = 1",
            "\"${PLANTED}\" = 1",
        ],
    ),
    (
        LOKI,
        &[
            "labels.a = \"b\"\nendpoint = \"S\"",
            "labels.a = \"b\"\nendpoint = \"ht tp://S@h\"",
            "labels.a = \"b\"\nendpoint = \"http://me:S@\"",
            "labels.a = \"b\"\nendpoint = \"ftp://me:S@h\"",
            "labels.a = \"b\"\nendpoint = [\"S\"]",
            "labels.a = \"b\"\nendpoint = \"http://me:S@h\"\npath = \"S S\"",
            "labels.a = \"b\"\nendpoint = \"http://me:S@h\"\nauth = { strategy = \"bearer\", token = \"S\" }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = \"S\"",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"S\" }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"Bearer S\", token = \"S\" }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"basic\", user = \"me\", password = [\"S\"] }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"basic\", user = \"me\", password = NUMBER }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"basic\", password = \"S\" }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"bearer\", token = \"S\\n\" }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"bearer\", tokn = \"S\" }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"bearer\", token = \"S\", \"S\" = 1 }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nauth = { strategy = \"aws\", \"S\" = \"S\" }",
            "labels.a = \"b\"\nendpoint = \"http://h\"\ntenant_id = \"{{ S..S }}\"",
            "labels.a = \"b\"\nendpoint = \"http://h\"\ncompression = \"S\"",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nproxy.http = \"http://S@h\"",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nrequest.headers.X = \"S\"",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nrequest.\"S\" = 1",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nhealthcheck = \"S\"",
            "labels.a = \"b\"\nendpoint = \"http://h\"\nhealthcheck.uri = \"http://me:S@h\"",
            "labels.\"S S\" = \"b\"\nendpoint = \"http://h\"",
            "labels.\"S\" = [1]\nendpoint = \"http://h\"",
            "labels.\"{{ S..S }}\" = \"b\"\nendpoint = \"http://h\"",
            "labels.a = \"{{ S..S }}\"\nendpoint = \"http://h\"",
            "labels.a = \"S %!\"\nendpoint = \"http://h\"",
        ],
    ),
    (
        HTTP,
        &[
            "uri = \"S\"",
            "uri = \"ht tp://h/S\"",
            "uri = \"http://h/S/{{ a..b }}\"",
            "uri = \"http://h/S %!\"",
            "uri = [\"S\"]",
            "uri = \"http://me:S@h/S\"\nauth = { strategy = \"bearer\", token = \"S\" }",
            "uri = \"http://h\"\nrequest.headers = \"S\"",
            "uri = \"http://h\"\nrequest.headers.\"Authorization: Bearer S\" = \"x\"",
            "uri = \"http://h\"\nrequest.headers.\"S\" = \"\\n\"",
            "uri = \"http://h\"\nrequest.headers.\"S\" = 5",
            "uri = \"http://h\"\nrequest.headers.X = [\"S\"]",
            "uri = \"http://h\"\nrequest.headers.X = \"S\\n\"",
            "uri = \"http://h\"\nrequest.headers.Authorization = \"S\"\nauth = { strategy = \"bearer\", token = \"S\" }",
            "uri = \"http://h\"\nhealthcheck.uri = \"S\"",
            "uri = \"http://h\"\nmethod = \"S\"",
            "uri = \"http://h\"\npayload_prefix = \"{S\"",
        ],
    ),
    (
        EXPORTER,
        &[
            "auth = \"S\"",
            "auth = { strategy = \"S\" }",
            "auth = { strategy = \"basic\", user = \"me\", password = [\"S\"] }",
            "auth = { strategy = \"custom\", value = NUMBER }",
            "auth = { strategy = \"custom\", values = \"S\" }",
            "auth = { strategy = \"bearer\", token = \"S\", \"S\" = 1 }",
            "auth = { strategy = \"aws\", secret_access_key = \"S\" }",
            "address = \"http://me:S@h:1\"",
            "tls = { key_pass = \"S\" }",
        ],
    ),
    (
        REMAP,
        &[
            "source = '.x = \"S\" + .y'",
            "source = '.x = \"S'",
            "source = '.x = \"a\\\"S\" + .y'",
            "source = '.x = \"a\\nS\" + .y'",
            "source = '''.x = s'S' + .y'''",
            "source = '''.x = parse_regex!(.y, r'S(')'''",
            "source = '.x = parse_timestamp(\"S\", \"S\")'",
            "source = '.x = {\"S\": \"S\"} + .y'",
            "source = '.x = to_int(.y) # the password is S'",
            "source = '.x = upcase(\"S\", \"S\")'",
            "source = '.x = encode_base64(.y, charset: \"S\")'",
            "source = 'if true { \"S\" } else { 5 + \"S\" }'",
            // No mistake, but a warning.
            "source = '\"S\"; .x = 1'",
            "source = '.x = \"${PLANTED}\" + .y'",
            "source = '.x = \"${SHORT}\" + .y'",
            "source = '.${SHORT} = to_int(.y)'",
            "source = \"S\"\nfile = \"S\"",
            "file = \"S\"",
            "file = \"${SHORT}\"",
            "drop_on_error = \"S\"\nsource = ''",
        ],
    ),
    (
        FILTER,
        &[
            "condition = '.x == \"S\" + .y'",
            "condition = '\"S\"'",
            "condition = { type = \"S\", source = \"S\" }",
            "condition = [\"S\"]",
        ],
    ),
    (
        TEST,
        &[
            "'.x == \"${PLANTED}\" + .y'",
            "'.x == \"${SHORT}\" + .y'",
            "'.x == \"S\" + .y'",
            // It compiles, and fails.
            "'.x == \"${PLANTED}\"'",
            "'.x == \"${SHORT}\"'",
            "{ type = \"vrl\", sources = \"S\" }",
        ],
    ),
    (
        TOP,
        &[
            "\"S\" = 1",
            "\"${SHORT}\" = 1",
            "token = \"S\"",
            "api = \"S\"",
            "api.\"S\" = 1",
            "api.address = \"http://me:S@h\"",
            "acknowledgements = \"S\"",
            "[sources.token]\n\"S\" = \"S\"",
            "[sources.other]\ntype = \"S\"",
            "[sources]\ntoken = \"S\"",
        ],
    ),
];

/// Texts that cannot be read as what they are, by the ending of their files.
const BROKEN: &[(&str, &str)] = &[
    ("toml", "[sources.nomad]\ntoken = \"S"),
    ("toml", "[sources.nomad]\ntoken = S"),
    ("toml", "[sources.nomad]\ntoken = \"a\" S"),
    ("toml", "[sources.nomad]\ntoken = \"\\S\""),
    ("toml", "[sources.nomad]\nS"),
    ("toml", "[sources.nomad]\ntoken = \"S\"\ntoken = \"S\""),
    ("toml", "[sources.nomad]\n\"S\" = 1\n\"S\" = 2"),
    ("toml", "[sources.nomad]\ntoken = {S}"),
    ("toml", "[sources.nomad]\ntoken = 5S"),
    ("json", "{\"sources\": {\"nomad\": {\"token\": \"S\", }}}"),
    ("json", "{\"sources\": {\"nomad\": {\"token\": \"S"),
    ("json", "{\"sources\": {\"nomad\": {\"token\": S}}}"),
    ("json", "{\"sources\": {\"nomad\": {\"token\": \"\\S\"}}}"),
    ("json", "{\"sources\": {\"S\": 1, \"S\": 2}}"),
    ("json", "{\"sources\": {\"S\": null}}"),
    ("json", "\"S\""),
    ("json", "[\"S\"]"),
    ("yaml", "sources:\n  nomad:\n    token: \"S"),
    ("yaml", "sources:\n  nomad:\n    token: S: S"),
    ("yaml", "sources:\n  nomad:\n    token: @S"),
    ("yaml", "sources:\n  nomad:\n    token: *S"),
    ("yaml", "sources:\n  nomad:\n    token: !S S"),
    ("yaml", "sources:\n  nomad:\n    token: {S"),
    ("yaml", "sources:\n  nomad:\n    token: \"\\S\""),
    ("yaml", "sources:\n  nomad:\n   S: 1\n   S: 2"),
    ("yaml", "sources:\n  nomad:\n    S: ~"),
    ("yaml", "sources:\n  nomad:\n    ? [S]\n    : 1"),
    ("yaml", "sources:\n  nomad:\n    <<: S"),
    ("yaml", "S"),
    ("yaml", "- S"),
    ("yaml", "sources:\n\tnomad: S"),
    ("yaml", "token: |\n S\nS"),
];

/// What all commands know of.
struct Told {
    place: Place,
    secrets: usize,
}

impl Told {
    fn new() -> Self {
        let place = Place::new();
        for (name, fixture) in [
            ("client.crt", "client.crt"),
            ("client.key", "client-encrypted.key"),
        ] {
            let path = super::super::root()
                .join("tests/fixtures/tls")
                .join(fixture);
            place.file(name, &fs::read_to_string(path).unwrap());
        }
        Self { place, secrets: 0 }
    }

    fn folder(&self) -> &Path {
        self.place.0.path()
    }

    /// Puts new secrets into a text.
    fn plant(&mut self, text: &str) -> (Planted, String) {
        let mut planted = Planted::default();
        self.secrets += 1;
        let secret = planted.secret(&format!("secret {}", self.secrets));
        planted.add("a number", "73519462058");
        planted.add("a variable", PLANTED);
        planted.add("a short variable", SHORT);
        // The letter alone, and not that of a word.
        let letters: Vec<char> = text.chars().collect();
        let is_of_a_word = |place: usize| {
            let letter = letters.get(place).copied().unwrap_or(' ');
            letter.is_ascii_alphanumeric() || letter == '_'
        };
        let mut done = String::new();
        for (at, letter) in letters.iter().enumerate() {
            let escaped = at >= 2 && letters[at - 2] == '\\' && letters[at - 1] == 'n';
            let begins = at == 0 || !is_of_a_word(at - 1) || escaped;
            if *letter == 'S' && begins && !is_of_a_word(at + 1) {
                done.push_str(&secret);
            } else {
                done.push(*letter);
            }
        }
        (planted, done.replace("NUMBER", "73519462058"))
    }

    /// Lets a command look at a file, and looks at what it says. Gives the exit code and what was said.
    async fn by(&self, command: &str, file: &str, planted: &Planted) -> (i32, String) {
        let arguments: &[&str] = match command {
            "graph" => &["graph", "--config", file],
            "run" => &["run", "--config", file],
            _ => &[command, file],
        };
        let mut process = nomad_events(arguments);
        process
            .current_dir(self.folder())
            .env("NOMAD_EVENTS_LOG", "trace")
            .env("PLANTED", PLANTED)
            .env("SHORT", SHORT);
        let (code, output, errors) = finished(&mut process).await;
        let text = fs::read_to_string(self.folder().join(file)).unwrap();
        let way = format!("{command} of {file}:\n{text}\n");
        planted.assert_absent(&way, &output);
        planted.assert_absent(&way, &errors);
        (code, output + &errors)
    }
}

/// What the environment puts into files.
const PLANTED: &str = "Wq7Kz9-TnVxR4";
/// Shorter than what is a leak elsewhere.
const SHORT: &str = "xQ9k";

#[tokio::test]
async fn a_mistake_beside_a_secret_is_told_without_it() {
    let mut told = Told::new();
    let mut refused = 0;
    let mut looked = 0;
    for (form, lines) in LINES {
        for line in *lines {
            let (planted, text) = told.plant(&form.replace("LINE", line));
            let file = told.place.file("wrong.toml", &text);
            let (code, said) = told.by("validate", &file, &planted).await;
            assert!([0, 78].contains(&code), "{line}: {code} {said}");
            looked += 1;
            refused += usize::from(code == 78);
            if code == 78 {
                // The same by another command; `run` would go on running where nothing is wrong.
                let other = ["run", "graph", "test"][looked % 3];
                told.by(other, &file, &planted).await;
            } else {
                told.by("test", &file, &planted).await;
                told.by("graph", &file, &planted).await;
            }
            // YAML has JSON in it.
            let Ok(table) = text.parse::<toml::Table>() else {
                continue;
            };
            let json = serde_json::to_string(&table).unwrap();
            let form = ["wrong.json", "wrong.yaml"][looked % 2];
            told.place.file(form, &json);
            let (other, said) = told.by("validate", form, &planted).await;
            assert_eq!(other, code, "{form}: {json}: {said}");
        }
    }
    assert!(refused > 110, "{refused} of {looked}");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_without_a_secret() {
    let mut told = Told::new();
    for (ending, text) in BROKEN {
        let (planted, text) = told.plant(text);
        let file = told.place.file(&format!("broken.{ending}"), &text);
        let (code, said) = told.by("validate", &file, &planted).await;
        assert_eq!(code, 78, "{text}: {said}");
    }
}

#[tokio::test]
async fn a_token_in_the_place_of_its_file_is_not_told() {
    let mut told = Told::new();
    let line = "endpoints = [\"http://127.0.0.1:1\"]\ntoken_file = \"S\"";
    let (planted, text) = told.plant(&SOURCE.replace("LINE", line));
    let file = told.place.file("wrong.toml", &text);
    let mut command = nomad_events(&["run", "--config", &file]);
    command.env("NOMAD_EVENTS_LOG", "trace");
    let mut run = told.place.start(&mut command);
    run.until_errors("hardly a path, not shown): No such file")
        .await;
    assert_eq!(run.stop().await, 0);
    planted.assert_absent("the log", &run.errors());
    planted.assert_absent("the output", &run.output());
}

#[tokio::test]
async fn secrets_in_variables_of_nomad_are_not_told() {
    for (variable, value) in [
        ("NOMAD_TOKEN", "S S"),
        ("NOMAD_ADDR", "S"),
        ("NOMAD_ADDR", "S:4646"),
        ("NOMAD_ADDR", "http://me:S/x@h"),
        ("NOMAD_ADDR", "http://S#@h"),
        ("NOMAD_ADDR", "ht tp://me:S@h"),
    ] {
        let mut told = Told::new();
        let (planted, value) = told.plant(value);
        let file = told.place.file("right.toml", &SOURCE.replace("LINE", ""));
        for arguments in [&["validate", &file][..], &["tail"]] {
            let mut command = nomad_events(arguments);
            command.current_dir(told.folder()).env(variable, &value);
            let (code, output, errors) = finished(&mut command).await;
            assert_eq!(code, 78, "{variable}: {output} {errors}");
            planted.assert_absent(variable, &output);
            planted.assert_absent(variable, &errors);
        }
    }
}
