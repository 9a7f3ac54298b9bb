//! Who may scrape.

use http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::host::USE_VECTOR;
use crate::secrets::basic;

/// The option `auth`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "strategy", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Auth {
    Basic {
        user: String,
        password: SecretString,
    },
    Bearer {
        token: SecretString,
    },
    /// The whole value of the header.
    Custom {
        value: SecretString,
    },
    /// Known so that the refusal can say where it works.
    Aws(IgnoredAny),
}

/// The value that the header `Authorization` must have; none, if everybody may scrape.
#[derive(Debug)]
pub(super) struct Access(Option<SecretString>);

impl Access {
    /// Reads the option.
    ///
    /// # Errors
    ///
    /// A strategy that only Vector has.
    pub(super) fn new(auth: Option<&Auth>) -> Result<Self, String> {
        let expected = match auth {
            None => None,
            Some(Auth::Basic { user, password }) => Some(basic(user, password.expose_secret())),
            Some(Auth::Bearer { token }) => Some(SecretString::from(format!(
                "Bearer {}",
                token.expose_secret()
            ))),
            Some(Auth::Custom { value }) => Some(value.clone()),
            Some(Auth::Aws(_)) => {
                return Err(format!(
                    "option `auth.strategy`: Vector has `aws`, this program has `basic`, `bearer` and `custom`; {USE_VECTOR}"
                ));
            }
        };
        Ok(Self(expected))
    }

    /// Whether a request with these headers may pass.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = &self.0 else {
            return true;
        };
        headers
            .get(header::AUTHORIZATION)
            .is_some_and(|given| same(given.as_bytes(), expected.expose_secret().as_bytes()))
    }
}

/// Takes as long for a wrong text as for the right one, so that the time tells nothing of it but its length.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let different = given
        .iter()
        .zip(expected)
        .fold(0, |different, (given, expected)| {
            different | (given ^ expected)
        });
    given.len() == expected.len() && different == 0
}
