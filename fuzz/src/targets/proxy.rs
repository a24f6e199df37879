//! The header of the PROXY protocol: decided by its own bytes alone, and as soon as they are there.

use bellbird_server::proxy::{Parsed, parse};

use crate::outcome::{Outcome, rough};

/// What begins a connection.
pub(super) fn header(bytes: &[u8]) -> Outcome {
    let whole = parse(bytes);
    // The first prefix about which something can be said decides.
    let first = (0..=bytes.len()).find(|len| parse(&bytes[..*len]) != Ok(Parsed::Incomplete));
    match (&whole, first) {
        (Ok(Parsed::Incomplete), first) => assert_eq!(first, None),
        (Ok(Parsed::Whole { len, .. }), first) => {
            assert_eq!(first, Some(*len), "before its end or behind it");
            assert_eq!(parse(&bytes[..*len]), whole);
        }
        (Err(_), first) => {
            let first = first.expect("at the latest the whole");
            assert_eq!(parse(&bytes[..first]), whole, "what follows has no say");
        }
    }
    match whole {
        Ok(Parsed::Incomplete) => Outcome::of(&0_u8).and(&rough(bytes.len())),
        Ok(Parsed::Whole { brought, .. }) => {
            let family = brought.source.map(|source| source.is_ipv4());
            let tls = brought.tls.map(|tls| (tls.is_certified, tls.common_name.is_some()));
            Outcome::of(&1_u8).and(&family).and(&tls)
        }
        Err(broken) => Outcome::of(&2_u8).and(&(broken as u8)),
    }
}
