//! Hashes of passwords in the three forms that Mosquitto writes.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Base64Unpadded, Encoding};
use ctutils::CtEq;
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha512};

use crate::limits::{ARGON2_KIB_MAX, ARGON2_PASSES_MAX, PBKDF2_ITERATIONS_MAX};

/// A hash, with the salt and everything else it takes to compare it. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    scheme: Scheme,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
}

/// How a new hash is made and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// `$argon2id$`: memory-hard; Mosquitto reads it from 2.1 on.
    #[default]
    Argon2id,
    /// `$7$`: PBKDF2 with SHA-512, which each Mosquitto since 2.0 reads.
    Mosquitto,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// `$6$SALT$HASH`: one pass of SHA-512 over password and salt.
    Sha512,
    /// `$7$ITERATIONS$SALT$HASH`.
    Pbkdf2 { iterations: u32 },
    /// `$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH`, a PHC string.
    Argon2id { kib: u32, passes: u32, lanes: u32 },
}

impl PasswordHash {
    /// Hashes a password with a new salt, which the system may fail to give.
    pub fn new(password: &[u8], format: Format) -> Result<Self, PasswordHashError> {
        let (scheme, salt_len, hash_len) = match format {
            Format::Argon2id => (ARGON2ID, 16, 32),
            // Mosquitto takes these lengths and no others.
            Format::Mosquitto => (PBKDF2, 12, SHA512_BYTES),
        };
        let mut salt = vec![0; salt_len];
        getrandom::fill(&mut salt).map_err(|_| PasswordHashError::NoRandomness)?;
        let hash =
            scheme.compute(password, &salt, hash_len).ok_or(PasswordHashError::OutOfRange)?;
        Ok(Self { scheme, salt: salt.into(), hash: hash.into() })
    }

    /// Reads what stands behind the colon in a password file.
    pub fn parse(text: &str) -> Result<Self, PasswordHashError> {
        let mut fields = text.split('$');
        if fields.next() != Some("") {
            return Err(PasswordHashError::Plain);
        }
        let scheme = match fields.next() {
            Some("6") => Scheme::Sha512,
            Some("7") => {
                let iterations =
                    fields.next().and_then(number).ok_or(PasswordHashError::Damaged)?;
                if !(1..=PBKDF2_ITERATIONS_MAX).contains(&iterations) {
                    return Err(PasswordHashError::OutOfRange);
                }
                Scheme::Pbkdf2 { iterations }
            }
            Some("argon2id") => {
                if fields.next() != Some("v=19") {
                    return Err(PasswordHashError::Damaged);
                }
                argon2id(fields.next().unwrap_or_default())?
            }
            // A single `$` in front may well be a password in plain text.
            Some(_) if text.matches('$').count() > 2 => return Err(PasswordHashError::Unknown),
            _ => return Err(PasswordHashError::Plain),
        };
        let (Some(salt), Some(hash), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(PasswordHashError::Damaged);
        };
        let decode = match scheme {
            Scheme::Sha512 | Scheme::Pbkdf2 { .. } => Base64::decode_vec,
            Scheme::Argon2id { .. } => Base64Unpadded::decode_vec,
        };
        let (Ok(salt), Ok(hash)) = (decode(salt), decode(hash)) else {
            return Err(PasswordHashError::Damaged);
        };
        let is_whole = match scheme {
            Scheme::Sha512 | Scheme::Pbkdf2 { .. } => hash.len() == SHA512_BYTES,
            Scheme::Argon2id { .. } => (16..=512).contains(&hash.len()),
        };
        if !is_whole || !(8..=512).contains(&salt.len()) {
            return Err(PasswordHashError::Damaged);
        }
        Ok(Self { scheme, salt: salt.into(), hash: hash.into() })
    }

    /// Whether this is the password. Takes the same time whatever the password.
    pub fn verify(&self, password: &[u8]) -> bool {
        let computed = self.scheme.compute(password, &self.salt, self.hash.len());
        computed.is_some_and(|hash| hash.ct_eq(&self.hash[..]).to_bool())
    }

    /// As it stands behind the colon in a password file.
    pub fn encode(&self) -> String {
        match self.scheme {
            Scheme::Sha512 | Scheme::Pbkdf2 { .. } => {
                let salt = Base64::encode_string(&self.salt);
                let hash = Base64::encode_string(&self.hash);
                match self.scheme {
                    Scheme::Pbkdf2 { iterations } => format!("$7${iterations}${salt}${hash}"),
                    Scheme::Sha512 | Scheme::Argon2id { .. } => format!("$6${salt}${hash}"),
                }
            }
            Scheme::Argon2id { kib, passes, lanes } => {
                let salt = Base64Unpadded::encode_string(&self.salt);
                let hash = Base64Unpadded::encode_string(&self.hash);
                format!("$argon2id$v=19$m={kib},t={passes},p={lanes}${salt}${hash}")
            }
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

impl Scheme {
    /// None if argon2 refuses its parameters.
    fn compute(self, password: &[u8], salt: &[u8], hash_len: usize) -> Option<Vec<u8>> {
        match self {
            Self::Sha512 => {
                Some(Sha512::new().chain_update(password).chain_update(salt).finalize().to_vec())
            }
            Self::Pbkdf2 { iterations } => {
                let mut hash = vec![0; hash_len];
                pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut hash);
                Some(hash)
            }
            Self::Argon2id { kib, passes, lanes } => {
                let params = Params::new(kib, passes, lanes, Some(hash_len)).ok()?;
                let mut hash = vec![0; hash_len];
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(password, salt, &mut hash)
                    .ok()?;
                Some(hash)
            }
        }
    }
}

/// `m=KIB,t=PASSES,p=LANES`.
fn argon2id(text: &str) -> Result<Scheme, PasswordHashError> {
    let mut fields = text.split(',');
    let mut field = |key: &str| fields.next()?.strip_prefix(key).and_then(number);
    let (Some(kib), Some(passes), Some(lanes)) = (field("m="), field("t="), field("p=")) else {
        return Err(PasswordHashError::Damaged);
    };
    if kib > ARGON2_KIB_MAX || passes > ARGON2_PASSES_MAX {
        return Err(PasswordHashError::OutOfRange);
    }
    Params::new(kib, passes, lanes, None).map_err(|_| PasswordHashError::OutOfRange)?;
    Ok(Scheme::Argon2id { kib, passes, lanes })
}

/// Decimal digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Why there is no hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PasswordHashError {
    /// It does not look like a hash at all.
    Plain,
    /// A form that is not known here.
    Unknown,
    /// A known form with a mistake in it.
    Damaged,
    /// Its parameters would cost too much, or are none.
    OutOfRange,
    /// The system gives no random bytes.
    NoRandomness,
}

impl fmt::Display for PasswordHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "the password stands there in plain text",
            Self::Unknown => "the hash is of an unknown kind; known are $argon2id$, $7$ and $6$",
            Self::Damaged => "the hash is damaged",
            Self::OutOfRange => "the hash asks for more memory or time than is allowed",
            Self::NoRandomness => "the system gives no random bytes",
        })
    }
}

impl std::error::Error for PasswordHashError {}

/// What OWASP asks for at least, and what Mosquitto 2.1 writes.
const ARGON2ID: Scheme = Scheme::Argon2id { kib: 47_104, passes: 1, lanes: 1 };
/// What OWASP asks for PBKDF2 with SHA-512. Mosquitto itself writes 101 or 1,000.
const PBKDF2: Scheme = Scheme::Pbkdf2 { iterations: 210_000 };
const SHA512_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_and_known_again() {
        for (format, start) in [
            (Format::Argon2id, "$argon2id$v=19$m=47104,t=1,p=1$"),
            (Format::Mosquitto, "$7$210000$"),
        ] {
            let made = PasswordHash::new(b"secret", format).unwrap();
            let text = made.encode();
            assert!(text.starts_with(start), "{text}");
            let read = PasswordHash::parse(&text).unwrap();
            assert_eq!(read.encode(), text);
            assert!(read.verify(b"secret"));
            assert!(!read.verify(b"Secret"));
            assert!(!read.verify(b""));
            assert_ne!(PasswordHash::new(b"secret", format).unwrap(), made, "salt");
            assert_eq!(format!("{made:?}"), "PasswordHash(hidden)");
        }
    }

    #[test]
    fn what_others_wrote() {
        // mosquitto_passwd 2.0.11, and the tests of the reference implementation of argon2.
        for (text, password) in
            [(MOSQUITTO_6, "secret"), (MOSQUITTO_7, "secret"), (REFERENCE, "password")]
        {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(password.as_bytes()), "{text}");
            assert!(!hash.verify(format!("{password} ").as_bytes()), "{text}");
            assert_eq!(hash.encode(), text);
        }
    }

    #[test]
    fn what_is_no_hash() {
        let check = |text: &str, expected| {
            assert_eq!(PasswordHash::parse(text), Err(expected), "{text}");
        };
        check("secret", PasswordHashError::Plain);
        check("$ecret", PasswordHashError::Plain);
        check("", PasswordHashError::Plain);
        check("$5$abc$def", PasswordHashError::Unknown);
        check("$6$", PasswordHashError::Damaged);
        check("$6$c2FsdHNhbHQ=$aGFzaA==", PasswordHashError::Damaged);
        check(&MOSQUITTO_6.replace("$6$", "$7$"), PasswordHashError::Damaged);
        check(&MOSQUITTO_7[..MOSQUITTO_7.len() - 1], PasswordHashError::Damaged);
        check(&format!("{MOSQUITTO_7}$"), PasswordHashError::Damaged);
        check(&MOSQUITTO_7.replace("$101$", "$0$"), PasswordHashError::OutOfRange);
        check(&MOSQUITTO_7.replace("$101$", "$+101$"), PasswordHashError::Damaged);
        check(&MOSQUITTO_7.replace("$101$", "$99999999$"), PasswordHashError::OutOfRange);
        check("$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", PasswordHashError::Damaged);
        check("$argon2id$v=19$m=9999999,t=1,p=1$c29tZXNhbHQ$AAAA", PasswordHashError::OutOfRange);
        check("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", PasswordHashError::Damaged);
        check("$argon2id$v=19$m=64,t=1$c29tZXNhbHQ$AAAA", PasswordHashError::Damaged);
    }

    const REFERENCE: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$\
        nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const MOSQUITTO_6: &str = "$6$/hV8QT8uCpCUsyHI$ArwzqTVkJD9w3oox0BvK6ns/2mor0iXapFO37qD5\
        TM4qvr4r6FhnWDoid/oqB4//JQUodXaUZhjYV3Rx8Dkzaw==";
    const MOSQUITTO_7: &str = "$7$101$BWyUz/tJB4PB+q//$4okwKvoVcgnaVXMAb+1I3z54XWAxsSQGvOx0\
        HKOCG0Uaz7ydOzNd6rguJOqjV/Jw8LFfKbDog7f83SC+r0wmLg==";
}
