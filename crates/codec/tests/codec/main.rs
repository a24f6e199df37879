//! The codec from outside: golden vectors, refused packets, damaged packets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::wildcard_enum_match_arm, reason = "tables name what is special")]

mod golden;
mod malformed;
mod mutation;
mod places;
mod vectors;
