//! `graph`: a configuration as a picture.

use std::fs;

use super::{Place, finished, nomad_events, root};

async fn graph(arguments: &[&str]) -> String {
    let mut command = nomad_events(&[&["graph"], arguments].concat());
    let (code, output, errors) = finished(command.current_dir(root())).await;
    assert_eq!((code, &*errors), (0, ""));
    output
}

#[tokio::test]
async fn the_recommended_configuration_is_drawn_as_vector_draws_it() {
    let dot = graph(&["--config", "config/vector.toml"]).await;
    insta::assert_snapshot!("graph_dot", dot);
    assert_eq!(
        dot,
        graph(&["-c", "config/vector.toml", "--format", "dot"]).await
    );
}

/// The picture is part of the documentation, and GitHub draws it.
#[tokio::test]
async fn the_picture_in_the_readme_is_that_of_the_talk_s_pipeline() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, picture) = readme.split_once("```mermaid\n").expect("a picture");
    let (picture, _) = picture.split_once("```").unwrap();
    assert_eq!(
        picture,
        graph(&["--config", "config/talk.toml", "--format", "mermaid"]).await
    );
}

#[tokio::test]
async fn a_wrong_configuration_is_not_drawn() {
    let place = Place::new();
    let file = place.file(
        "wrong.toml",
        "[sinks.loki]\ntype = \"lokki\"\ninputs = [\"x\"]\n",
    );
    let mut command = nomad_events(&["graph", "--config", &file]);
    let (code, output, errors) = finished(command.current_dir(place.0.path())).await;
    assert_eq!((code, &*output), (78, ""));
    assert!(
        errors.contains("wrong.toml:1: sink \"loki\": unknown type `lokki`"),
        "{errors}"
    );
}
