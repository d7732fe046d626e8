//! Takes serde's messages apart and finds the name the user may have meant.

/// A message without its list of alternatives, and the list.
pub(super) struct Parts {
    /// `unknown field`, say, with the offending name.
    pub head: String,
    /// The offending name, if the message is about one.
    pub name: Option<String>,
    /// What was possible; empty if the message does not say.
    pub alternatives: Vec<String>,
}

/// Splits “unknown field `x`, expected one of `a`, `b`” and its kin.
pub(super) fn split(message: &str) -> Parts {
    let unknown = message.starts_with("unknown field `") || message.starts_with("unknown variant `");
    if !unknown {
        return Parts { head: message.to_owned(), name: None, alternatives: Vec::new() };
    }
    // The name may itself hold a backtick or a comma, so the list is cut off first.
    let cut = message.rfind("`, expected ").map(|at| at + 1);
    let head = cut.and_then(|at| message.get(..at)).unwrap_or(message);
    let tail = cut.and_then(|at| message.get(at..)).unwrap_or_default();
    let name = head.split_once('`').and_then(|(_, rest)| rest.rsplit_once('`')).map(|(name, _)| name);
    let alternatives = tail.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Parts { head: head.to_owned(), name: name.map(str::to_owned), alternatives }
}

/// The alternative nearest to `name`, if near enough to be a slip. The first wins a tie.
pub(super) fn nearest<'a>(name: &str, alternatives: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(name);
    let limit = (wanted.chars().count() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for alternative in alternatives {
        let candidate = plain(alternative);
        let mut distance = strsim::damerau_levenshtein(&wanted, &candidate);
        // `forest` for `random_forest`: far by letters, near in meaning.
        if distance > limit && wanted.len() >= 4 && (candidate.contains(&wanted) || wanted.contains(&candidate)) {
            distance = limit;
        }
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, alternative));
        }
    }
    best.map(|(_, alternative)| alternative)
}

/// Letters alone: case and separators are the most common slips.
fn plain(name: &str) -> String {
    // Bounds the quadratic distance; no real name is longer.
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_one_two_and_many() {
        for (list, want) in [("`a`", 1), ("`a` or `b`", 2), ("one of `a`, `b`, `c`", 3)] {
            let parts = split(&format!("unknown field `x`, expected {list}"));
            assert_eq!(parts.head, "unknown field `x`");
            assert_eq!(parts.name.as_deref(), Some("x"));
            assert_eq!(parts.alternatives.len(), want);
        }
        let parts = split("unknown field `a`, expected `b`, expected `c`");
        assert_eq!((parts.name.as_deref(), parts.alternatives.len()), (Some("a`, expected `b"), 1));
        assert!(split("unknown field `x`, there are no fields").alternatives.is_empty());
        assert!(split("invalid type: string \"unknown\", expected u32").name.is_none());
    }

    #[test]
    fn nearest_takes_slips_only() {
        let names = ["random_forest", "ridge", "scale"];
        assert_eq!(nearest("RandomForest", names), Some("random_forest"));
        assert_eq!(nearest("forest", names), Some("random_forest"));
        assert_eq!(nearest("rigde", names), Some("ridge"));
        assert_eq!(nearest("scael", names), Some("scale"));
        assert_eq!(nearest("boost", names), None);
        assert_eq!(nearest("", names), None);
    }
}
