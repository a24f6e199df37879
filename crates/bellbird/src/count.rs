//! Numbers with their nouns: "1 session", "2 sessions".

use std::fmt;

/// So many of something, by its name for one and for any other number.
pub(crate) struct Count<N>(pub(crate) N, pub(crate) &'static str, pub(crate) &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, one, many) = self;
        write!(f, "{number} {}", if *number == N::from(1) { one } else { many })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let count = |number: usize| Count(number, "delivery", "deliveries").to_string();
        assert_eq!(count(0), "0 deliveries");
        assert_eq!(count(1), "1 delivery");
        assert_eq!(count(2), "2 deliveries");
    }
}
