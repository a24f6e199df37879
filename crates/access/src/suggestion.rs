//! What somebody may have meant.

/// The word that is nearest, if it is near.
pub(crate) fn suggestion<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |word: &&str| distance(found, word);
    known.iter().copied().min_by_key(near).filter(|word| near(word) <= word.len() / 3 + 1)
}

/// Letters to insert, take out or replace.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in (1..).zip(from.bytes()) {
        let mut diagonal = std::mem::replace(&mut row[0], line);
        for (place, b) in (1..).zip(to.bytes()) {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[place];
            row[place] = changed.min(diagonal + 1).min(row[place - 1] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far() {
        let known = ["user", "topic", "pattern"];
        let check = |found, expected| assert_eq!(suggestion(found, &known), expected, "{found}");
        check("topics", Some("topic"));
        check("topci", Some("topic"));
        check("patern", Some("pattern"));
        check("User", Some("user"));
        check("", None);
        check("allow", None);
    }
}
