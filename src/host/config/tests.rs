use std::io;
use std::path::Path;

use super::*;

mod mutations;
pub(super) mod options;
mod positions;

/// The part that most tests share: a source, and a sink that takes everything.
const SOURCE: &str = "[sources.nomad]\ntype = \"nomad_events\"\n";
const SINK: &str = "[sinks.out]\ntype = \"blackhole\"\ninputs = [\"*\"]\n";

fn load_named(name: &str, text: &str) -> Result<(Config, Warnings), String> {
    let env = |name: &str| (name == "TOKEN").then(|| "top-secret".to_owned());
    let files = |path: &Path| -> io::Result<String> {
        match path.to_str() {
            Some("vrl/good.vrl") => Ok(".seen = true".to_owned()),
            Some(other) if other == name => Ok(text.to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    };
    Config::load(Path::new(name), &env, &files).map_err(|errors| errors.to_string())
}

fn load(text: &str) -> Result<(Config, Warnings), String> {
    load_named("t.toml", text)
}

fn errors(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors,
    }
}

fn inputs(config: &Config, sink: &str) -> Vec<String> {
    let node = config.sinks.iter().find(|node| node.id == sink).unwrap();
    node.inputs.iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_configuration_is_read() {
    let (config, warnings) = load(
        r#"
        acknowledgements.enabled = true
        [sources.nomad]
        type = "nomad_events"
        multiple_outputs = true
        topics = ["Job", "ACLToken", "Node:a", "Node:b"]
        token = "${TOKEN}"
        [transforms.shape]
        type = "remap"
        inputs = ["nomad.job"]
        file = "vrl/good.vrl"
        drop_on_error = true
        [transforms.split]
        type = "route"
        inputs = ["shape"]
        route.web = '.Key == "web"'
        route.other = { type = "vrl", source = '.Key != "web"' }
        [transforms.quiet]
        type = "filter"
        inputs = ["nomad.node"]
        condition = '.Type != "AllocationUpdated"'
        [sinks.all]
        type = "console"
        inputs = ["split.*", "quiet", "nomad.notices", "nomad._unmatched", "nomad.acl_token"]
        encoding.codec = "json"
        [sinks.fast]
        type = "blackhole"
        inputs = ["split.web"]
        acknowledgements = false
        "#,
    )
    .unwrap();
    assert_eq!(warnings, Warnings::default());
    assert_eq!(
        inputs(&config, "all"),
        vec![
            "split._unmatched",
            "split.other",
            "split.web",
            "quiet",
            "nomad.notices",
            "nomad._unmatched",
            "nomad.acl_token"
        ]
    );
    let acknowledgements: Vec<(&str, bool)> = config
        .sinks
        .iter()
        .map(|node| (node.id.as_str(), node.acknowledgements))
        .collect();
    assert_eq!(acknowledgements, vec![("all", true), ("fast", false)]);
    let TransformConfig::Remap(remap) = &config.transforms[1].transform else {
        panic!("shape is a remap");
    };
    assert_eq!(remap.program.text, ".seen = true");
    assert!(remap.drop_on_error && remap.drop_on_abort);
    assert!(!format!("{config:?}").contains("top-secret"));
}

#[test]
fn wrong_configurations_are_refused_with_place_and_remedy() {
    let cases: &[(&str, String, &[&str])] = &[
        (
            "unknown option",
            format!("{SOURCE}flavour = 1\n{SINK}"),
            &["t.toml:3: source \"nomad\": unknown option `flavour`, expected one of `endpoints`"],
        ),
        (
            "several mistakes at once",
            format!(
                "{SOURCE}flavour = 1\ntopics = 5\nredact = \"no\"\nstart_at = \"lates\"\nstop_timeout_secs = 0\n{SINK}"
            ),
            &[
                "t.toml:3: source \"nomad\": unknown option `flavour`",
                "t.toml:4: source \"nomad\": option `topics`: expected an array, found an integer",
                "t.toml:5: source \"nomad\": option `redact`: expected a boolean, found a string",
                "t.toml:6: source \"nomad\": option `start_at`: expected \"earliest\", \"latest\" or a Raft index, found another string",
                "t.toml:7: source \"nomad\": option `stop_timeout_secs`: 0 is not a number of seconds from 1 to 86400",
            ],
        ),
        (
            "option with a bad value",
            format!("{SOURCE}topics = [\"job\"]\n{SINK}"),
            &["t.toml:3: source \"nomad\": option `topics`: \"job\" matches nothing"],
        ),
        (
            "source of Vector",
            format!("[sources.x]\ntype = \"http_server\"\n{SINK}"),
            &[
                "t.toml:1: source \"x\": type `http_server`: Vector has it, this program has only `internal_metrics`, `nomad_events`; run this file with `nomad-vector`",
            ],
        ),
        (
            "unknown type",
            format!("{SOURCE}[sinks.x]\ntype = \"lokki\"\ninputs = [\"nomad\"]\n"),
            &[
                "t.toml:3: sink \"x\": unknown type `lokki` (did you mean `loki`?), expected `blackhole`, `console`, `http`, `loki`",
            ],
        ),
        (
            "no type, no inputs",
            format!("{SOURCE}[sinks.x]\n{SINK}"),
            &[
                "t.toml:3: sink \"x\": option `type` is missing: `blackhole`",
                "t.toml:3: sink \"x\": option `inputs` is missing",
            ],
        ),
        (
            "empty inputs",
            format!(
                "{SOURCE}[transforms.x]\ntype = \"remap\"\nsource = \".\"\ninputs = []\n{SINK}"
            ),
            &["t.toml:3: transform \"x\": `inputs` is empty"],
        ),
        (
            "what Vector has at the top",
            format!(
                "timezone = \"UTC\"\n{SOURCE}{SINK}[schema]\nlog_namespace = true\n[[enrichment_tables]]\n"
            ),
            &[
                "t.toml:1: `timezone`: Vector has it, this program does not; remove it, or run this file with `nomad-vector`",
                "t.toml:7: `schema`: Vector has it",
                "t.toml:9: `enrichment_tables`: Vector has it",
            ],
        ),
        (
            "what nobody has at the top",
            format!("sink = 1\n{SOURCE}{SINK}"),
            &[
                "t.toml:1: unknown table or option `sink` (did you mean `sinks`?), expected `sources`",
            ],
        ),
        (
            "what Vector has in a sink",
            format!("{SOURCE}{SINK}rate = 5\nbuffer.type = \"disk\"\nfoo = 1\n"),
            &[
                "t.toml:6: sink \"out\": option `rate`: Vector has it, this program does not",
                "t.toml:7: sink \"out\": option `buffer`: Vector has `type",
                "t.toml:8: sink \"out\": unknown option `foo`: there are none here",
            ],
        ),
        (
            "what Vector has in a table of a sink",
            format!(
                "{SOURCE}[sinks.c]\ntype = \"console\"\ninputs = [\"nomad\"]\n[sinks.c.encoding]\ncodec = \"json\"\ncsv.fields = [\"a\"]\nfoo = 1\n"
            ),
            // One mistake of a table is found at a time.
            &["t.toml:8: sink \"c\": option `encoding.csv`: Vector has it, this program does not"],
        ),
        (
            "codec of Vector",
            format!(
                "{SOURCE}[sinks.c]\ntype = \"console\"\ninputs = [\"nomad\"]\nencoding.codec = \"logfmt\"\n"
            ),
            &[
                "t.toml:6: sink \"c\": option `encoding.codec`: codec `logfmt` is none of `json`, `text`; run this configuration with `nomad-vector`",
            ],
        ),
        (
            "missing option",
            format!("{SOURCE}[sinks.c]\ntype = \"console\"\ninputs = [\"nomad\"]\n"),
            &["t.toml:3: sink \"c\": option `encoding` is missing"],
        ),
        (
            "missing option in a table",
            format!(
                "{SOURCE}[sinks.c]\ntype = \"console\"\ninputs = [\"nomad\"]\nencoding = {{}}\n"
            ),
            &["t.toml:6: sink \"c\": option `encoding.codec` is missing"],
        ),
        (
            "option of remap that Vector has",
            format!(
                "{SOURCE}{SINK}[transforms.r]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = \".\"\nruntime = \"ast\"\n"
            ),
            &["t.toml:10: transform \"r\": option `runtime`: Vector has it"],
        ),
        (
            "two programs, none, and one that is not there",
            format!(
                "{SOURCE}{SINK}[transforms.a]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = \".\"\nfile = \"vrl/good.vrl\"\n\
                 [transforms.b]\ntype = \"remap\"\ninputs = [\"nomad\"]\n\
                 [transforms.c]\ntype = \"remap\"\ninputs = [\"nomad\"]\nfile = \"vrl/gone.vrl\"\n"
            ),
            &[
                "t.toml:10: transform \"a\": `source` and `file` are both set; keep one of them",
                "t.toml:11: transform \"b\": there is no program; set `source`, or `file`",
                "t.toml:17: transform \"c\": option `file`: cannot read vrl/gone.vrl: entity not found; a relative path starts from the working directory",
            ],
        ),
        (
            "condition of Vector",
            format!(
                "{SOURCE}{SINK}[transforms.f]\ntype = \"filter\"\ninputs = [\"nomad\"]\ncondition = {{ type = \"is_log\" }}\n"
            ),
            &[
                "t.toml:9: transform \"f\": option `condition.type`: Vector has `is_log`, this program does not, expected `vrl`",
            ],
        ),
        (
            "condition that is none",
            format!(
                "{SOURCE}{SINK}[transforms.f]\ntype = \"route\"\ninputs = [\"nomad\"]\nroute.a = 5\nroute._default = \"true\"\n"
            ),
            &[
                "t.toml:9: transform \"f\": option `route.a`: expected a VRL program, or a table with `type` and `source`, found an integer",
            ],
        ),
        (
            "reserved route",
            format!(
                "{SOURCE}{SINK}[transforms.f]\ntype = \"route\"\ninputs = [\"nomad\"]\nroute._unmatched = \"true\"\n"
            ),
            &["t.toml:6: transform \"f\": option `route._unmatched`: the name is reserved"],
        ),
        (
            "no TOML, twice",
            "[sources.nomad]\ntype = \"nomad_events\ntoken = \"top-secret\"\n= 5\n".to_owned(),
            &["t.toml:2:21: not TOML: "],
        ),
        (
            "empty file",
            String::new(),
            &[
                "t.toml: there is no source; add a table [sources.<id>]",
                "t.toml: there is no sink; add a table [sinks.<id>]",
            ],
        ),
        (
            "no table",
            format!("sources = 1\n{SINK}"),
            &["t.toml:1: `sources` must be a table, found an integer"],
        ),
        (
            "component that is no table",
            format!("sinks.a = 1\n{SOURCE}{SINK}"),
            &["t.toml:1: sink \"a\": `a` must be a table, found an integer"],
        ),
        (
            "same id twice",
            format!("{SOURCE}[sinks.nomad]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n"),
            &["t.toml:3: sink \"nomad\": there is a source of the same name on line 1"],
        ),
        (
            "dot in an id",
            format!("{SOURCE}[sinks.\"a.b\"]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n"),
            &["t.toml:3: sink \"a.b\": an id must not be empty or contain a \".\""],
        ),
        (
            "acknowledgements with other options",
            format!("{SOURCE}{SINK}acknowledgements = {{ enabled = true, indexer = 1 }}\n"),
            &[
                "t.toml:6: sink \"out\": unknown option `acknowledgements.indexer`, expected `enabled`",
            ],
        ),
        (
            "variable that is not set",
            format!("{SOURCE}{SINK}# ${{NOWHERE}}\n\nx = \"$ELSEWHERE\"\n"),
            &[
                "t.toml:6: environment variable NOWHERE is not set",
                "t.toml:8: environment variable ELSEWHERE is not set",
            ],
        ),
    ];
    for (name, text, expected) in cases {
        let found = errors(text);
        for part in *expected {
            assert!(
                found.lines().any(|line| line.starts_with(part)),
                "{name}: expected a line that begins with\n  {part}\nin\n{found}"
            );
        }
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_in_the_order_of_their_lines() {
    let found = errors(&format!(
        "{SOURCE}flavour = 1\n[sinks.a]\ntype = \"console\"\ninputs = [\"nowhere\"]\nencoding.codec = \"json\"\nfoo = 1\n{SINK}bar = 1\n"
    ));
    let lines: Vec<&str> = found
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    // The sink that could not be read has no inputs that could be wrong as well... but its inputs were read.
    assert_eq!(
        lines,
        vec!["t.toml:3:", "t.toml:4:", "t.toml:8:", "t.toml:12:"]
    );
    assert!(found.contains("input \"nowhere\" is no output of any component"));
}

#[test]
fn values_that_may_be_secret_are_never_repeated() {
    for text in [
        format!("{SOURCE}endpoints = \"http://user:${{TOKEN}}@host\"\n{SINK}"),
        format!("{SOURCE}token = [\"${{TOKEN}}\"]\n{SINK}"),
        format!("{SOURCE}start_at = \"${{TOKEN}}\"\n{SINK}"),
        format!("{SOURCE}token = \"${{TOKEN}}\n{SINK}"),
        format!("{SOURCE}token = \"${{TOKEN}}\"\ntoken = \"${{TOKEN}}\"\n{SINK}"),
    ] {
        let found = errors(&text);
        assert!(!found.contains("top-secret"), "{found}");
    }
}

/// The same configuration in the three forms.
const TOML: &str = r#"
acknowledgements.enabled = true
[sources.nomad]
type = "nomad_events"
topics = ["Job", "Node:a"]
start_at = 17
token = "${TOKEN}"
[sinks.loki]
type = "loki"
inputs = ["nomad"]
endpoint = "http://127.0.0.1:3100"
encoding.codec = "json"
batch.timeout_secs = 0.5
[sinks.loki.labels]
topic = "{{ Topic }}"
"#;
const YAML: &str = r#"
acknowledgements:
  enabled: true
sources:
  nomad:
    type: nomad_events
    topics: [Job, "Node:a"]
    start_at: 17
    token: "${TOKEN}"
sinks:
  loki:
    type: loki
    inputs:
      - nomad
    endpoint: http://127.0.0.1:3100
    encoding:
      codec: json
    batch: {timeout_secs: 0.5}
    labels:
      topic: "{{ Topic }}"
"#;
const JSON: &str = r#"
{
  "acknowledgements": {"enabled": true},
  "sources": {
    "nomad": {
      "type": "nomad_events", "topics": ["Job", "Node:a"], "start_at": 17,
      "token": "${TOKEN}"
    }
  },
  "sinks": {
    "loki": {
      "type": "loki", "inputs": ["nomad"], "endpoint": "http://127.0.0.1:3100",
      "encoding": {"codec": "json"}, "batch": {"timeout_secs": 0.5},
      "labels": {"topic": "{{ Topic }}"}
    }
  }
}
"#;

/// What a configuration says, but for where it says it.
fn meaning(name: &str, text: &str) -> String {
    let (mut config, warnings) = load_named(name, text).unwrap();
    assert_eq!(warnings, Warnings::default());
    config.file.clear();
    for source in &mut config.sources {
        source.file.clear();
        source.line = 0;
    }
    for sink in &mut config.sinks {
        sink.file.clear();
        sink.line = 0;
    }
    format!("{config:?}")
}

#[test]
fn the_three_forms_mean_the_same() {
    let toml = meaning("a.toml", TOML);
    for (name, text) in [
        ("a.yaml", YAML),
        ("a.yml", YAML),
        ("a.json", JSON),
        // As in Vector: other names are read as TOML, case counts.
        ("a.conf", TOML),
        ("a", TOML),
        ("a.YAML", TOML),
        // A JSON text is YAML too.
        ("j.yaml", JSON),
    ] {
        assert_eq!(meaning(name, text), toml, "of {name}");
    }
    // One configuration does not say the same as another.
    assert_ne!(meaning("a.yaml", &YAML.replace("17", "18")), toml);
}

#[test]
fn a_form_that_is_given_wins_over_the_name() {
    let path = ConfigPath {
        path: PathBuf::from("a.toml"),
        format: Some(Format::Json),
    };
    let files = |_: &Path| Ok(JSON.replace("${TOKEN}", "t"));
    let (config, _) = Config::load_all(&[path], &|_| None, &files).unwrap();
    assert_eq!(config.sinks[0].line, 11);
}

#[test]
fn places_are_found_in_every_form() {
    for (name, text, line) in [
        ("a.toml", TOML, 13),
        ("a.yaml", YAML, 18),
        ("a.json", JSON, 13),
    ] {
        let text = text.replace("0.5", "true").replace("endpoint", "endpiont");
        assert_eq!(
            load_named(name, &text).unwrap_err(),
            format!(
                "{name}:{}: sink \"loki\": unknown option `endpiont` (did you mean `endpoint`?), expected one of `endpoint`, \
                 `path`, `encoding`, `labels`, `remove_label_fields`, `structured_metadata`, `remove_structured_metadata_fields`, \
                 `remove_timestamp`, `compression`, `out_of_order_action`, `auth`, `batch`, `request`, `healthcheck`, `tenant_id`, \
                 `tls`, `proxy`\n\
                 {name}:{line}: sink \"loki\": option `batch.timeout_secs`: expected a number, found a boolean",
                if name == "a.json" {
                    12
                } else {
                    line - if name == "a.toml" { 2 } else { 3 }
                }
            )
        );
    }
}

fn load_files(files: &[(&str, &str)]) -> Result<(Config, Warnings), String> {
    let paths: Vec<ConfigPath> = files
        .iter()
        .map(|(name, _)| ConfigPath {
            path: PathBuf::from(name),
            format: None,
        })
        .collect();
    let read = |path: &Path| -> io::Result<String> {
        let found = files.iter().find(|(name, _)| path == Path::new(name));
        found
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    Config::load_all(&paths, &|_| None, &read).map_err(|errors| errors.to_string())
}

/// The last file's `api` used to replace what the others said.
#[test]
fn what_several_files_say_of_the_api_is_taken_together() {
    let base = "[sources.nomad]\ntype = \"nomad_events\"\n\
                [sinks.out]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n";
    let on = format!("api.enabled = true\n{base}");
    for (other, expected) in [
        ("", "127.0.0.1:8686"),
        ("api.enabled = false", "127.0.0.1:8686"),
        ("api.address = \"127.0.0.1:9000\"", "127.0.0.1:9000"),
    ] {
        for (first, second) in [(on.as_str(), other), (other, &on)] {
            let (config, _) = load_files(&[("a.toml", first), ("b.toml", second)]).unwrap();
            let api = config.observability.api;
            assert!(api.enabled, "{other}");
            assert_eq!(api.address.to_string(), expected);
        }
    }
    let error = load_files(&[
        (
            "a.toml",
            &format!("api.address = \"127.0.0.1:9000\"\n{base}"),
        ),
        ("b.toml", "\napi.address = \"127.0.0.1:9001\"\n"),
    ])
    .unwrap_err();
    assert_eq!(
        error,
        "b.toml:2: option `api.address`: another file has 127.0.0.1:9000; keep one of them"
    );
}

#[test]
fn several_files_are_one_configuration() {
    let load = load_files;
    let source = "[sources.nomad]\ntype = \"nomad_events\"\n";
    let sink = "sinks: {out: {type: blackhole, inputs: [nomad]}}";
    let (config, _) = load(&[("s.yaml", sink), ("a.toml", source)]).unwrap();
    assert_eq!(config.file, "a.toml, s.yaml");
    assert_eq!(inputs(&config, "out"), ["nomad"]);
    assert!(!config.sinks[0].acknowledgements);
    // The same file twice is read once.
    assert!(load(&[("a.toml", source), ("s.yaml", sink), ("a.toml", source)]).is_ok());
    // What stands at the top of one holds for the components of the other.
    let on = format!("acknowledgements.enabled = true\n{source}");
    let again = "acknowledgements = true";
    let (config, _) = load(&[("a.toml", &on), ("s.yaml", sink), ("z.toml", again)]).unwrap();
    assert!(config.sinks[0].acknowledgements);
    // The first one used to win, where Vector refuses.
    let off = "\nacknowledgements.enabled = false";
    let error = load(&[("a.toml", &on), ("s.yaml", sink), ("z.toml", off)]).unwrap_err();
    assert_eq!(
        error,
        "z.toml:2: option `acknowledgements.enabled`: another file has true; keep one of them"
    );

    let error = load(&[("a.toml", source), ("b.toml", source), ("s.yaml", sink)]).unwrap_err();
    assert_eq!(
        error,
        "b.toml:1: source \"nomad\": there is a source of the same name on line 1 of a.toml; ids are unique over all kinds"
    );
    let error = load(&[
        ("a.toml", "x = 1\n"),
        ("b.yaml", "x: 1\n"),
        ("s.yaml", sink),
    ])
    .unwrap_err();
    for part in [
        "a.toml:1: unknown",
        "b.yaml:1: unknown",
        "a.toml, b.yaml, s.yaml: there is no source",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_value_of_the_environment_is_never_shown_by_any_form() {
    // The last ones quote a line of a program, a name that is none, and a key.
    for (name, text) in [
        (
            "a.yaml",
            "sources: {nomad: {type: nomad_events, token: [\"${TOKEN}\"]}}\n",
        ),
        (
            "a.yaml",
            "sources: {nomad: {type: nomad_events, token: *${TOKEN}\n",
        ),
        (
            "a.yaml",
            "sources: {nomad: {type: nomad_events, start_at: \"${TOKEN}\"}}\n",
        ),
        (
            "a.yaml",
            "sources: {nomad: {type: nomad_events, redact: \"${TOKEN}\"}}\n",
        ),
        (
            "a.yaml",
            "sources: {nomad: {type: nomad_events, \"${TOKEN}\": 1}}\n",
        ),
        ("a.yaml", "sources: {nomad: {type: \"${TOKEN}\"}}\n"),
        ("a.yaml", "${TOKEN}\n"),
        ("a.yaml", "!${TOKEN} a: 1\n"),
        ("a.yaml", "a: !${TOKEN} 1\n"),
        ("a.yaml", "a: \"${TOKEN}\n"),
        ("a.yaml", "a: 1\n${TOKEN}\n"),
        (
            "a.json",
            "{\"sources\": {\"nomad\": {\"type\": \"nomad_events\", \"token\": [\"${TOKEN}\"]}}}",
        ),
        (
            "a.json",
            "{\"sources\": {\"nomad\": {\"type\": \"nomad_events\", \"start_at\": \"${TOKEN}\"}}}",
        ),
        (
            "a.json",
            "{\"sources\": {\"nomad\": {\"type\": \"nomad_events\", \"${TOKEN}\": \"${TOKEN}\"}}}",
        ),
        ("a.json", "{\"sources\": \"${TOKEN}\"}"),
        ("a.json", "{\"sources\": ${TOKEN}}"),
        ("a.json", "\"${TOKEN}\""),
        ("a.json", "${TOKEN}"),
        ("a.toml", "${TOKEN} = 1\n"),
        ("a.toml", "[sources.nomad]\ntype = \"${TOKEN}\"\n"),
        (
            "a.toml",
            "[sources.nomad]\ntype = \"nomad_events\"\ntopics = [\"${TOKEN}\"]\n",
        ),
        (
            "a.toml",
            "[sources.nomad]\ntype = \"nomad_events\"\n[sinks.a]\ntype = \"console\"\ninputs = [\"${TOKEN}\"]\nencoding.codec = \"${TOKEN}\"\n",
        ),
    ] {
        let error = load_named(name, text).unwrap_err();
        assert!(!error.contains("top-secret"), "for {text}: {error}");
        assert!(error.starts_with(name), "for {text}: {error}");
    }
    let (config, _) = load_named(
        "a.toml",
        &format!(
            "{SOURCE}[transforms.t]\ntype = \"remap\"\ninputs = [\"nomad\"]\nsource = '.a = \"${{TOKEN}}\"; .b = to_int(.c)'\n\
             [sinks.out]\ntype = \"blackhole\"\ninputs = [\"t\"]\n"
        ),
    )
    .unwrap();
    let error = match crate::host::topology::Topology::build(config) {
        Ok(_) => panic!("compiled"),
        Err(error) => error.to_string(),
    };
    assert!(
        error.contains(".a = \"**********\"; .b = to_int(.c)"),
        "{error}"
    );
    assert!(!error.contains("top-secret"), "{error}");
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    let gone = Config::load(Path::new("gone.toml"), &|_| None, &|_| {
        Err(io::Error::from(io::ErrorKind::NotFound))
    });
    assert_eq!(
        gone.unwrap_err().to_string(),
        "gone.toml: cannot read the file: entity not found; a relative path starts from the working directory"
    );
}

#[test]
fn outputs_of_a_source_follow_its_topics() {
    for (options, expected) in [
        ("", vec!["nomad"]),
        ("multiple_outputs = false", vec!["nomad"]),
        (
            "multiple_outputs = true",
            vec![
                "nomad._unmatched",
                "nomad.allocation",
                "nomad.deployment",
                "nomad.evaluation",
                "nomad.job",
                "nomad.node",
                "nomad.notices",
                "nomad.service",
            ],
        ),
        (
            "multiple_outputs = true\ntopics = [\"Job:a\", \"Job:b\", \"CSIVolume\"]",
            vec![
                "nomad._unmatched",
                "nomad.csi_volume",
                "nomad.job",
                "nomad.notices",
            ],
        ),
        (
            "multiple_outputs = true\ntopics = [\"*\"]",
            vec!["nomad._unmatched", "nomad.notices"],
        ),
    ] {
        let (config, _) = load(&format!("{SOURCE}{options}\n{SINK}")).unwrap();
        assert_eq!(inputs(&config, "out"), expected, "with {options}");
    }
}

/// A source with outputs, two transforms, and sinks with the given inputs.
fn with_inputs(inputs: &str) -> String {
    format!(
        "{SOURCE}multiple_outputs = true\ntopics = [\"Job\", \"Node\"]\n\
         [transforms.route]\ntype = \"route\"\ninputs = [\"nomad.job\"]\nroute.a = \"true\"\nroute.b = \"true\"\n\
         [transforms.shape]\ntype = \"remap\"\ninputs = [\"nomad.node\"]\nsource = \".\"\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = {inputs}\n"
    )
}

#[test]
fn globs_range_over_outputs() {
    for (text, expected) in [
        (
            r#"["nomad.*"]"#,
            vec![
                "nomad._unmatched",
                "nomad.job",
                "nomad.node",
                "nomad.notices",
            ],
        ),
        (r#"["*.job"]"#, vec!["nomad.job"]),
        (r#"["nomad.no*"]"#, vec!["nomad.node", "nomad.notices"]),
        (r#"["nomad.no?e"]"#, vec!["nomad.node"]),
        (r#"["route.[ab]"]"#, vec!["route.a", "route.b"]),
        (r#"["s*", "route.b"]"#, vec!["shape", "route.b"]),
        (r#"["nomad.job"]"#, vec!["nomad.job"]),
    ] {
        let (config, _) = load(&with_inputs(text)).unwrap();
        assert_eq!(inputs(&config, "out"), expected, "for {text}");
    }
}

#[test]
fn inputs_that_mean_nothing_are_refused_with_what_there_is() {
    for (text, expected) in [
        (
            r#"["job"]"#,
            "input \"job\" is no output of any component; there are: \"nomad._unmatched\", \"nomad.job\"",
        ),
        (
            r#"["nomad"]"#,
            "input \"nomad\": with `multiple_outputs`, source \"nomad\" has no output of that name; it has: \"nomad.job\", \"nomad.node\", \"nomad.notices\", \"nomad._unmatched\"",
        ),
        (
            r#"["nomad.jobs"]"#,
            "source \"nomad\" has no output `jobs`; it has: \"nomad.job\"",
        ),
        (
            r#"["nomad.allocation"]"#,
            "(subscribe to a topic to have an output for it)",
        ),
        (
            r#"["route"]"#,
            "transform \"route\" has only named outputs: \"route.a\", \"route.b\", \"route._unmatched\"",
        ),
        (
            r#"["route.c"]"#,
            "transform \"route\" has no output `c`; it has: \"route.a\"",
        ),
        (
            r#"["shape.a"]"#,
            "transform \"shape\" has no output `a`; it has: \"shape\"",
        ),
        (r#"["out"]"#, "input \"out\" is the component itself"),
        (r#"["allo*"]"#, "input \"allo*\" matches no output"),
        (
            r#"["nomad.job", "nomad.*"]"#,
            "input \"nomad.job\" is named twice",
        ),
        (r#"["shape", "shape"]"#, "input \"shape\" is named twice"),
    ] {
        let found = errors(&with_inputs(text));
        assert!(
            found.starts_with("t.toml:14: sink \"out\": ") && found.contains(expected),
            "for {text}:\n{found}"
        );
    }
    let found = errors(&format!(
        "{SOURCE}[sinks.a]\ntype = \"blackhole\"\ninputs = [\"nomad.job\"]\n\
         [sinks.b]\ntype = \"blackhole\"\ninputs = [\"a\"]\n"
    ));
    assert!(
        found.contains("only \"nomad\"; set `multiple_outputs = true`"),
        "{found}"
    );
    assert!(
        found.contains("input \"a\" is a sink, which has no output"),
        "{found}"
    );
}

#[test]
fn cycles_are_found() {
    let found = errors(&format!(
        "{SOURCE}[transforms.a]\ntype = \"remap\"\nsource = \".\"\ninputs = [\"nomad\", \"c\"]\n\
         [transforms.b]\ntype = \"remap\"\nsource = \".\"\ninputs = [\"a\"]\n\
         [transforms.c]\ntype = \"remap\"\nsource = \".\"\ninputs = [\"b\"]\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"c\"]\n"
    ));
    assert_eq!(
        found,
        "t.toml:3: the transforms form a cycle: a -> b -> c -> a"
    );
}

#[test]
fn outputs_without_consumers_are_warned_of() {
    let (_, warnings) = load(&with_inputs(r#"["route.a"]"#)).unwrap();
    assert_eq!(
        warnings.0,
        vec![
            "Transform \"route.b\" has no consumers",
            "Transform \"route._unmatched\" has no consumers",
            "Transform \"shape\" has no consumers",
            "Source \"nomad.notices\" has no consumers",
            "Source \"nomad._unmatched\" has no consumers",
        ]
    );
}

#[test]
fn a_component_that_cannot_be_read_makes_no_further_noise() {
    let found = errors(&format!(
        "{SOURCE}flavour = 1\n[transforms.a]\ntype = \"remap\"\nsource = \".\"\ninputs = [\"nomad\"]\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"a\", \"nomad.job\", \"nom*\"]\n"
    ));
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn acknowledgements_of_a_sink_win_over_global_ones() {
    for (global, own, expected) in [
        ("", "", false),
        ("acknowledgements.enabled = true", "", true),
        ("acknowledgements = true", "", true),
        (
            "acknowledgements.enabled = true",
            "acknowledgements.enabled = false",
            false,
        ),
        ("acknowledgements = true", "acknowledgements = {}", true),
        ("", "acknowledgements.enabled = true", true),
        ("", "acknowledgements = true", true),
    ] {
        let (config, _) = load(&format!("{global}\n{SOURCE}{SINK}{own}\n")).unwrap();
        assert_eq!(
            config.sinks[0].acknowledgements, expected,
            "global {global:?}, own {own:?}"
        );
    }
}

#[test]
fn route_without_rerouting_has_no_unmatched_output() {
    let text = format!(
        "{SOURCE}[transforms.r]\ntype = \"route\"\ninputs = [\"nomad\"]\nroute.a = \"true\"\nreroute_unmatched = false\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"r.*\"]\n"
    );
    let (config, _) = load(&text).unwrap();
    assert_eq!(inputs(&config, "out"), vec!["r.a"]);
}

#[test]
fn a_loki_sink_can_be_doubled_with_another_address() {
    let (mut config, _) = load(&format!(
        "{SOURCE}[sinks.loki]\ntype = \"loki\"\ninputs = [\"nomad\"]\nendpoint = \"http://a\"\n\
         encoding.codec = \"json\"\nlabels.a = \"b\"\n\
         [sinks.hole]\ntype = \"blackhole\"\ninputs = [\"nomad\"]\n"
    ))
    .unwrap();
    config.duplicate_loki("loki", "mirror", "http://b").unwrap();
    let mirror = config
        .sinks
        .iter()
        .find(|node| node.id == "mirror")
        .unwrap();
    assert_eq!(inputs(&config, "mirror"), vec!["nomad"]);
    assert!(matches!(&mirror.sink, SinkConfig::Loki(loki) if loki.endpoint == "http://b"));
    for (id, new_id, expected) in [
        ("loki", "mirror", "there is a component \"mirror\" already"),
        ("loki", "nomad", "there is a component \"nomad\" already"),
        ("gone", "x", "there is no sink \"gone\""),
        ("hole", "x", "sink \"hole\" is no `loki` sink"),
    ] {
        let error = config.duplicate_loki(id, new_id, "http://c").unwrap_err();
        assert_eq!(error.to_string(), format!("t.toml: {expected}"));
    }
}

#[test]
fn files_of_the_disk_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    let long = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
    std::fs::write(&path, vec![b'x'; long]).unwrap();
    assert!(
        disk_files(&path)
            .unwrap_err()
            .to_string()
            .contains("longer than")
    );
    std::fs::write(&path, "text").unwrap();
    assert_eq!(disk_files(&path).unwrap(), "text");
}
