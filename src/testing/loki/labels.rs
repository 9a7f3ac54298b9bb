//! Reads a set of labels as LogQL writes it: `{a="b", c="d"}`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Parses a set of labels.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut rest = text.chars().peekable();
    let mut labels = BTreeMap::new();
    skip_space(&mut rest);
    expect(&mut rest, '{')?;
    skip_space(&mut rest);
    while rest.peek() != Some(&'}') {
        let name = name(&mut rest)?;
        skip_space(&mut rest);
        expect(&mut rest, '=')?;
        skip_space(&mut rest);
        let value = quoted(&mut rest)?;
        if labels.insert(name.clone(), value).is_some() {
            return Err(format!("label {name} twice"));
        }
        skip_space(&mut rest);
        if rest.peek() == Some(&',') {
            rest.next();
            skip_space(&mut rest);
        } else if rest.peek() != Some(&'}') {
            return Err(format!("expected , or }} behind label {name}"));
        }
    }
    rest.next();
    skip_space(&mut rest);
    match rest.next() {
        None => Ok(labels),
        Some(other) => Err(format!("{other:?} behind the closing brace")),
    }
}

fn skip_space(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|next| next.is_whitespace()).is_some() {}
}

fn expect(rest: &mut Peekable<Chars<'_>>, wanted: char) -> Result<(), String> {
    match rest.next() {
        Some(next) if next == wanted => Ok(()),
        other => Err(format!("expected {wanted:?}, found {other:?}")),
    }
}

fn name(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut name = String::new();
    while let Some(next) = rest.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
        name.push(next);
    }
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!("no label name at {:?}", rest.peek()));
    }
    Ok(name)
}

/// A string in double quotes with Go's escapes, or one in backquotes with none.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let quote = rest.next();
    if !matches!(quote, Some('"' | '`')) {
        return Err(format!("expected a quoted value, found {quote:?}"));
    }
    // Escapes can spell single bytes, so it is text only when it is complete.
    let mut bytes = Vec::new();
    let mut buffer = [0; 4];
    loop {
        let next = rest.next().ok_or("unterminated value")?;
        match next {
            end if Some(end) == quote => break,
            '\n' if quote == Some('"') => return Err("newline in a quoted value".to_owned()),
            '\\' if quote == Some('"') => escape(rest, &mut bytes)?,
            other => bytes.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "value is not UTF-8".to_owned())
}

fn escape(rest: &mut Peekable<Chars<'_>>, bytes: &mut Vec<u8>) -> Result<(), String> {
    let kind = rest.next().ok_or("unterminated escape")?;
    let simple = match kind {
        '\\' | '"' => Some(kind),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        _ => None,
    };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    let decoded = match simple {
        Some(simple) => simple,
        None if digits == 0 => return Err(format!("unknown escape {kind:?}")),
        None => {
            let mut code = 0_u32;
            for _ in 0..digits {
                let digit = rest.next().and_then(|digit| digit.to_digit(16));
                code = code << 4 | digit.ok_or("escape with too few digits")?;
            }
            if let (2, Ok(byte)) = (digits, u8::try_from(code)) {
                bytes.push(byte);
                return Ok(());
            }
            char::from_u32(code).ok_or("escape is no character")?
        }
    };
    bytes.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_loki_reads_them() {
        let table: [(&str, &[(&str, &str)]); 7] = [
            ("{}", &[]),
            (r#"{a="b"}"#, &[("a", "b")]),
            (r#" { a = "b" , _c9="d", } "#, &[("_c9", "d"), ("a", "b")]),
            (r#"{a="x,y}={\""}"#, &[("a", "x,y}={\"")]),
            (r#"{a="\\n\n\t\r"}"#, &[("a", "\\n\n\t\r")]),
            (r#"{a="\xc3\xa9\u00e9\U0001F600é"}"#, &[("a", "éé😀é")]),
            (r#"{a=`\n"`}"#, &[("a", "\\n\"")]),
        ];
        for (text, expected) in table {
            let expected = expected
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(parse(text), Ok(expected), "labels {text:?}");
        }
    }

    #[test]
    fn what_loki_refuses_is_refused() {
        for text in [
            "",
            "{",
            "a=\"b\"",
            r#"{a="b"} x"#,
            r#"{a="b" c="d"}"#,
            r#"{0a="b"}"#,
            r#"{a-b="c"}"#,
            r#"{="b"}"#,
            r#"{a=b}"#,
            r#"{a="b}"#,
            r#"{a="say "hi""}"#,
            "{a=\"line\nbreak\"}",
            r#"{a="\q"}"#,
            r#"{a="\xff"}"#,
            r#"{a="b",a="c"}"#,
        ] {
            assert!(parse(text).is_err(), "labels {text:?}");
        }
    }
}
