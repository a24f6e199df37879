//! The name that somebody may have meant.

/// The nearest of these names, if one is near enough.
pub(crate) fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (distance_of_keys(text, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).clamp(1, 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The right name in the wrong table is near as well.
fn distance_of_keys(one: &str, other: &str) -> usize {
    let (last_of_one, last_of_other) = (last(one), last(other));
    if words(last_of_one) == words(last_of_other) {
        return 1;
    }
    let moved = 1 + distance(last_of_one, last_of_other);
    if last_of_one.len() + last_of_other.len() < MOVED_BYTES_MIN {
        return distance(one, other);
    }
    distance(one, other).min(moved)
}

/// The words of a name in an order of their own: who swaps them means the same.
fn words(name: &str) -> Vec<String> {
    let spelled: String = spelled(name).into_iter().collect();
    let mut words: Vec<String> = spelled.split('_').map(Into::into).collect();
    words.sort_unstable();
    words
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// How many characters must be put in, taken out, replaced or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = spelled(one);
    let other: Vec<char> = spelled(other);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for row in 1..=one.len() {
        let mut line = vec![row];
        for column in 1..=other.len() {
            let is_other = usize::from(one[row - 1] != other[column - 1]);
            let mut best =
                (above[column - 1] + is_other).min(above[column] + 1).min(line[column - 1] + 1);
            let is_swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            if is_swapped {
                best = best.min(before[column - 2] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[other.len()]
}

/// Case and kind of dash are no difference, and who writes a whole book is not near anything.
fn spelled(text: &str) -> Vec<char> {
    let letter = |letter: char| if letter == '-' { '_' } else { letter.to_ascii_lowercase() };
    text.chars().take(TEXT_CHARS_MAX).map(letter).collect()
}

/// A short name in another table is a coincidence.
const MOVED_BYTES_MIN: usize = 10;
const TEXT_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let names =
            ["data", "shards", "listen", "limits.receive_max", "limits.inflight_max", "log.level"];
        let check = |text: &str, expected: &str| {
            assert_eq!(nearest(text, names).unwrap_or("none"), expected, "{text}");
        };
        check("shrads", "shards");
        check("Data", "data");
        check("listenn", "listen");
        check("limits.recieve-max", "limits.receive_max");
        check("receive_max", "limits.receive_max");
        check("limit.inflight_max", "limits.inflight_max");
        check("log.levle", "log.level");
        check("limits.max_inflight", "limits.inflight_max");
        check("max_receive", "limits.receive_max");
        check("log.colour", "none");
        check("port", "none");
        check("", "none");
    }
}
