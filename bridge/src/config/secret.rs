//! Secrets: read from files, and never printed.

use super::{ConfigError, fail};
use std::fmt;
use std::path::Path;

/// The largest file of a secret.
const SIZE_MAX: u64 = 64 << 10;

/// A secret. Its debug output does not contain it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret from a file, without spaces around it. An error names the key of the
    /// configuration: the path may be a secret in a wrong place.
    pub fn read(key: &str, path: &Path) -> Result<Self, ConfigError> {
        let name = format!("the file of {key}");
        let too_large = |meta: std::fs::Metadata| meta.len() > SIZE_MAX;
        if std::fs::metadata(path).is_ok_and(too_large) {
            return fail(format!("{name}: larger than {SIZE_MAX} bytes"));
        }
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError(format!("{name}: {error}")))?;
        match text.trim() {
            "" => fail(format!("{name}: empty")),
            text => Ok(Self(text.into())),
        }
    }

    /// The secret, for the engine only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("(secret)")
    }
}
