//! Secrets, through the built command: whatever a server, a sink or a mistake makes of them, nothing that comes out shows one.

mod mirror;
mod running;
mod wrong;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// So many characters of a secret in a row are a leak.
const PART: usize = 6;
/// The shortest secret that is planted.
const SHORTEST: usize = 4;

/// Letters of which no word, no number and no hash is made.
const LETTERS: &[u8] = b"GHJKLMNPQRSTVWXYZghjkmnpqrstvwxyz";

/// Secrets, each with what it is.
#[derive(Clone, Default)]
pub(super) struct Planted(Vec<(String, String)>);

impl Planted {
    /// A new secret that looks like a token, the same in every run of the tests.
    pub(super) fn secret(&mut self, what: &str) -> String {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for byte in what.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let letters = (0..20).map(|place| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Digits and a hyphen, as tokens have them.
            match place {
                9 => '-',
                4 | 8 | 12 | 16 => char::from(b'0' + u8::try_from(state % 10).unwrap()),
                _ => char::from(LETTERS[usize::try_from(state % 33).unwrap()]),
            }
        });
        let secret: String = letters.collect();
        self.add(what, &secret);
        secret
    }

    /// A secret that is what it is.
    fn add(&mut self, what: &str, secret: &str) {
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// The same as `Basic` sends it, which is as good as the password.
    pub(super) fn add_basic(&mut self, what: &str, user: &str, password: &str) {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        self.add(&format!("{what} in base64"), &encoded);
    }

    /// Looks for a part of any of them.
    #[track_caller]
    pub(super) fn assert_absent(&self, way: &str, text: &str) {
        let mut parts: BTreeMap<&[u8], &str> = BTreeMap::new();
        // Logs are long, and few places in them begin like a part.
        let mut beginnings = vec![false; 1 << 16];
        for (what, secret) in &self.0 {
            for part in secret.as_bytes().windows(PART.min(secret.len())) {
                beginnings[beginning(part)] = true;
                parts.insert(part, what);
            }
        }
        let bytes = text.as_bytes();
        for (at, pair) in bytes.windows(2).enumerate() {
            if !beginnings[beginning(pair)] {
                continue;
            }
            for length in SHORTEST..=PART {
                let part = bytes.get(at..at + length);
                let Some(what) = part.and_then(|part| parts.get(part)) else {
                    continue;
                };
                let line = text[..at].matches('\n').count();
                let line = text.lines().nth(line).unwrap_or_default();
                panic!("a part of {what} leaks by {way}, at byte {at}: {line}");
            }
        }
    }
}

/// The first two bytes as a number.
fn beginning(part: &[u8]) -> usize {
    usize::from(part[0]) << 8 | usize::from(part[1])
}

#[test]
#[should_panic = "a part of the token"]
fn a_part_of_a_secret_is_found() {
    let mut planted = Planted::default();
    let secret = planted.secret("the token");
    planted.assert_absent("a log", "nothing to see");
    planted.assert_absent("a log", &format!("a line\nits end is {}\n", &secret[14..]));
}
