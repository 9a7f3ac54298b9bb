//! A strict reader of Prometheus' text format 0.0.4: what it takes, every scraper takes.
//!
//! Stricter than Prometheus where that shows mistakes: `HELP` and `TYPE` come first and once, the series of a name stand
//! together, labels are in order, and counters end in `_total`.

use std::collections::BTreeMap;

/// All metrics of a scrape, by name.
pub type Scrape = BTreeMap<String, Family>;

/// All series of a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// What it says.
    pub help: String,
    /// `counter` or `gauge`.
    pub kind: String,
    /// The values by labels.
    pub series: BTreeMap<BTreeMap<String, String>, Value>,
}

/// A value with its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The value itself.
    pub value: f64,
    /// Milliseconds since 1970, if the scrape says so.
    pub at: Option<i64>,
}

impl Family {
    /// The sum of the series that have all of these labels; not a number if there is none, so that it equals nothing.
    #[must_use]
    pub fn sum(&self, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &BTreeMap<String, String>| {
            labels
                .iter()
                .all(|(name, value)| series.get(*name).is_some_and(|found| found == value))
        };
        self.series
            .iter()
            .filter(|(series, _)| has(series))
            .map(|(_, value)| value.value)
            .reduce(|sum, value| sum + value)
            .unwrap_or(f64::NAN)
    }
}

/// Reads a scrape.
///
/// # Errors
///
/// The first line that is not right, and why.
pub fn parse(text: &str) -> Result<Scrape, String> {
    let mut scrape = Scrape::new();
    let mut current = String::new();
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    for line in text.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no text"))?;
            check_name(name).map_err(|why| wrong(&why))?;
            let family = Family {
                help: unescape(help, false).map_err(|why| wrong(&why))?,
                ..Family::default()
            };
            if scrape.insert(name.to_owned(), family).is_some() {
                return Err(wrong("said twice"));
            }
            name.clone_into(&mut current);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            let family = scrape
                .get_mut(name)
                .filter(|family| family.kind.is_empty() && name == current)
                .ok_or_else(|| wrong("not after its HELP"))?;
            if !["counter", "gauge"].contains(&kind)
                || name.ends_with("_total") != (kind == "counter")
            {
                return Err(wrong("not the type of such a name"));
            }
            kind.clone_into(&mut family.kind);
        } else {
            let (name, labels, value) = sample(line).map_err(|why| wrong(&why))?;
            let family = scrape
                .get_mut(&name)
                .filter(|family| !family.kind.is_empty() && name == current)
                .ok_or_else(|| wrong("not among the series of its name"))?;
            if family.kind == "counter" && (value.value < 0.0 || value.value.is_nan()) {
                return Err(wrong("no value of a counter"));
            }
            if family.series.insert(labels, value).is_some() {
                return Err(wrong("the series comes twice"));
            }
        }
    }
    match scrape.iter().find(|(_, family)| family.series.is_empty()) {
        Some((name, _)) => Err(format!("{name} has no series")),
        None => Ok(scrape),
    }
}

fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, Value), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    check_name(name)?;
    let mut labels = BTreeMap::new();
    let mut last = String::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            check_name(label)?;
            if label.contains(':') || label <= last.as_str() {
                return Err(format!("label {label} is out of order"));
            }
            let end = closing_quote(after).ok_or("a value without an end")?;
            let value = unescape(after.get(..end).unwrap_or_default(), true)?;
            labels.insert(label.to_owned(), value);
            label.clone_into(&mut last);
            rest = after.get(end + 1..).unwrap_or_default();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').ok_or("no closing brace")?;
    }
    let rest = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let (number, at) = match rest.split_once(' ') {
        Some((number, at)) => (number, Some(at.parse().map_err(|_| "no time")?)),
        None => (rest, None),
    };
    let value = match number {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        plain if plain.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
            plain.parse().map_err(|_| "no number")?
        }
        _ => return Err("no number".to_owned()),
    };
    Ok((name.to_owned(), labels, Value { value, at }))
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let right =
        name.starts_with(|c: char| plain(c) && !c.is_ascii_digit()) && name.chars().all(plain);
    if right {
        Ok(())
    } else {
        Err(format!("{name:?} is no name"))
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match (character, quotes) {
            ('\\', _) => match characters.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("{other:?} is not escaped so")),
            },
            (other, _) => other,
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_total x\n# TYPE a_total counter\n";

    #[test]
    fn reads_what_is_right() {
        let text = format!("{HEAD}a_total 1\na_total{{b=\"x\\\\y\\\"z\\n\",c=\"\"}} 2 1700\n");
        let scrape = parse(&text).unwrap();
        assert_eq!(scrape["a_total"].sum(&[]), 3.0);
        assert_eq!(scrape["a_total"].sum(&[("b", "x\\y\"z\n")]), 2.0);
        let (_, last) = scrape["a_total"].series.last_key_value().unwrap();
        assert_eq!(last.at, Some(1700));
    }

    #[test]
    fn refuses_what_is_not() {
        for wrong in [
            "a_total 1",
            "a_total 1\na_total 2\n",
            "a_total +1\n",
            "a_total inf\n",
            "a_total -1\n",
            "a_total  1\n",
            "a_total{} 1\n",
            "a_total{b=\"1\",a=\"2\"} 1\n",
            "a_total{b=\"1\"c=\"2\"} 1\n",
            "a_total{b=\"\\x\"} 1\n",
            "a_total{b:c=\"1\"} 1\n",
            "a_total{b=\"1} 1\n",
            "b_total 1\n",
            "a_total 1 soon\n",
            "# HELP a_total again\n",
        ] {
            assert!(parse(&format!("{HEAD}{wrong}")).is_err(), "{wrong}");
        }
        assert!(parse("# HELP a x\n# TYPE a counter\na 1\n").is_err());
        assert!(parse("# HELP a_total x\n# TYPE a_total gauge\na_total 1\n").is_err());
        assert!(parse("a_total 1\n").is_err());
    }
}
