//! Answers that quote the request, with its token.

use super::*;

const TOKEN: &str = "7b1f-t0ken-of-ours";

fn quoting(status: &str, token: &str) -> Vec<Act> {
    let text = format!("HTTP/1.1 {status}\r\n\r\nno route for X-Nomad-Token: {token} here");
    vec![Act::Bytes(text.into()), Act::Close]
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_quotes_the_token_to_an_inquiry_is_quoted_without_it() {
    let memory = Memory::new(|_, request| match asked_for(request) {
        Some(_) => quoting("403 Forbidden", TOKEN),
        None => quoting("502 Bad Gateway", TOKEN),
    });
    let mut follower = Follower::with(&memory, &format!(r#"{{"token": "{TOKEN}"}}"#));
    let (cause, message) = follower.until_disconnected().await;
    assert_eq!(cause, "denied");
    assert!(
        message.contains("asked for the token, the agent answered 502"),
        "{message}"
    );
    assert_eq!(message.matches("[REDACTED] here").count(), 2, "{message}");
    assert!(!message.contains(TOKEN), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_renewed_before_its_refusal_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let renewed = file.clone();
    let memory = Memory::new(move |_, request| match asked_for(request) {
        Some(_) => {
            std::fs::write(&renewed, "another-one").unwrap();
            quoting("500 Internal Server Error", TOKEN)
        }
        None => list(),
    });
    let options = serde_json::json!({ "token_file": file });
    let mut follower = Follower::with(&memory, &options.to_string());
    let (_, message) = follower.until_disconnected().await;
    assert!(
        message.contains("X-Nomad-Token: [REDACTED] here"),
        "{message}"
    );
    assert!(!message.contains(TOKEN), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_token_file_that_is_no_token_file_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "x".repeat(16 * 1024 + 1)).unwrap();
    let memory = Memory::new(|_, _| list());
    let options = serde_json::json!({ "token_file": file });
    let mut follower = Follower::with(&memory, &options.to_string());
    let (cause, message) = follower.until_disconnected().await;
    assert_eq!(cause, "token_file");
    assert!(message.contains("longer than 16384 bytes"), "{message}");
    assert!(memory.requests().is_empty());
}
