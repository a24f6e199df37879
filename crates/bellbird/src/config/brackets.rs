//! The bracket that is never closed: the parser takes all that follows for what stands in it, and
//! complains of each line.

/// Where the first list or table within a line begins that has no end.
pub(crate) fn unclosed(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    // A bracket before it is a heading's.
    let mut is_value = false;
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        let mut next = at + 1;
        match byte {
            b'=' => is_value = true,
            b'\n' => is_value = !open.is_empty(),
            b'#' => next = end(text, at, "\n", false),
            b'"' | b'\'' => next = end_of_text(text, at),
            b'[' | b'{' if is_value => open.push(at),
            b']' | b'}' => drop(open.pop()),
            _ => {}
        }
        at = next;
    }
    open.first().copied()
}

/// Behind the text in quotes that begins here.
fn end_of_text(text: &str, at: usize) -> usize {
    let quote = if text.as_bytes().get(at) == Some(&b'"') { "\"" } else { "'" };
    let long = quote.repeat(3);
    let has_escapes = quote == "\"";
    if text.as_bytes()[at..].starts_with(long.as_bytes()) {
        end(text, at + 3, &long, has_escapes) + 3
    } else {
        // One that has no end is a mistake of its own line.
        let line = end(text, at + 1, "\n", false);
        (end(text, at + 1, quote, has_escapes) + 1).min(line)
    }
}

/// Where the mark stands next, or the text ends.
fn end(text: &str, from: usize, mark: &str, has_escapes: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() && !bytes[at..].starts_with(mark.as_bytes()) {
        at += if has_escapes && bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_closed_is_found() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(unclosed(text), expected, "{text}");
        };
        check("", None);
        check("[a]\nb = [1, [2]]\n[[c]]\nd = { e = [] }", None);
        check("b = [1\nc = 2\n[d]\ne = [3]\n", Some(4));
        check("b = [[1]\n", Some(4));
        check("[a]\nb = {c = 1\n", Some(8));
        check("b = \"[\" # [\nc = '['\nd = \"\"\"\n[\"\"\"", None);
        check("b = \"\\\"[\"", None);
        check("b = \"[\nc = [", Some(11));
        check("[a\nb = 1", None);
        check("b = ]", None);
        check("b = \"\"\"[", None);
        check("b = \"\\", None);
        check("ä = ['ö'", Some(5));
    }
}
