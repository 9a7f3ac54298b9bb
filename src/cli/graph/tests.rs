use std::path::Path;

use super::*;

const ODD: &str = r#"
[sources.nomad]
type = "nomad_events"
[transforms.split]
type = "route"
inputs = ["nomad"]
route."end" = '.Topic == "Job"'
route.'say "x"' = '.Topic == "Node"'
[transforms.'a "b" \c']
type = "filter"
inputs = ['split.say "x"']
condition = "true"
[sinks.end]
type = "blackhole"
inputs = ["split.end", 'a "b" \c', "split._unmatched"]
"#;

fn config(text: &str) -> Config {
    let files = |_: &Path| Ok(text.to_owned());
    Config::load(Path::new("odd.toml"), &|_| None, &files)
        .unwrap()
        .0
}

#[test]
fn names_of_any_kind_are_quoted_where_they_have_to_be() {
    let config = config(ODD);
    let expected = r#"digraph {
  "nomad" [shape="trapezium"]
  "a \"b\" \\c" [shape="diamond"]
  "split" -> "a \"b\" \\c" [label="say \"x\""]
  "split" [shape="diamond"]
  "nomad" -> "split"
  "end" [shape="invtrapezium"]
  "split" -> "end" [label="end"]
  "a \"b\" \\c" -> "end"
  "split" -> "end" [label="_unmatched"]
}
"#;
    assert_eq!(dot(&config), expected);
    let expected = r#"flowchart TD;

  %% Sources
  nomad[/nomad/]

  %% Transforms
  n1{"a #quot;b#quot; \c"}
  split -->|"say #quot;x#quot;"| n1
  split{split}
  nomad --> split

  %% Sinks
  n3[\"end"\]
  split -->|"end"| n3
  n1 --> n3
  split -->|_unmatched| n3
"#;
    assert_eq!(mermaid(&config), expected);
}
