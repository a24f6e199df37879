//! The subject of a certificate as RFC 4514 writes it: `CN=sensor-1,OU=client,O=Bellbird`.

use std::fmt::Write;

use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::X509Name;

/// The last part first, as the RFC has it.
pub(super) fn in_words(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes: Vec<String> = part
                .iter()
                .map(|attribute| {
                    let kind = oid2abbrev(attribute.attr_type(), oid_registry());
                    let kind =
                        kind.map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
                    match attribute.as_str() {
                        Ok(text) => format!("{kind}={}", escaped(text)),
                        Err(_) => {
                            let bytes = attribute.attr_value().data;
                            let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
                                write!(digits, "{byte:02x}").expect("a string takes everything");
                                digits
                            });
                            format!("{kind}=#{digits}")
                        }
                    }
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

/// What would mean something else stands behind a backslash (section 2.4).
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::new();
    for (at, sign) in text.chars().enumerate() {
        let is_edge = (sign == ' ' && (at == 0 || at == last)) || (sign == '#' && at == 0);
        if is_edge || matches!(sign, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            escaped.push('\\');
        }
        escaped.push(sign);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_is_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("sensor 1", "sensor 1");
        check("a,CN=b", "a\\,CN=b");
        check(" a ", "\\ a\\ ");
        check("#1 #2", "\\#1 #2");
        check("a+b\"c\\", "a\\+b\\\"c\\\\");
    }
}
