//! Secrets, through the built command: whatever a server, a sink or a mistake makes of them, nothing that comes out shows one.

mod mirror;
mod running;
mod wrong;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// So many characters of a secret in a row are a leak.
const PART: usize = 6;

/// Letters of which no word, no number and no hash is made.
const LETTERS: &[u8] = b"GHJKLMNPQRSTVWXYZghjkmnpqrstvwxyz";

/// Secrets, each with what it is.
#[derive(Clone, Default)]
struct Planted(Vec<(String, String)>);

impl Planted {
    /// A new secret that looks like a token, the same in every run of the tests.
    fn secret(&mut self, what: &str) -> String {
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
    fn add_basic(&mut self, what: &str, user: &str, password: &str) {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        self.add(&format!("{what} in base64"), &encoded);
    }

    /// Looks for a part of any of them.
    #[track_caller]
    fn assert_absent(&self, way: &str, text: &str) {
        for (what, secret) in &self.0 {
            for part in secret.as_bytes().windows(PART.min(secret.len())) {
                let part = std::str::from_utf8(part).unwrap();
                let line = text.lines().find(|line| line.contains(part));
                assert_eq!(line, None, "a part of {what} ({part}) leaks by {way}");
            }
        }
    }
}

#[test]
#[should_panic = "a part of the token"]
fn a_part_of_a_secret_is_found() {
    let mut planted = Planted::default();
    let secret = planted.secret("the token");
    planted.assert_absent("a log", "nothing to see");
    planted.assert_absent("a log", &format!("a line\nits end is {}\n", &secret[14..]));
}
