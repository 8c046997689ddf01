//! When the types at the head of a file may be taken for those of its rows.

/// Rows and bytes that are looked at in any case.
const ROWS: u64 = 250;
const BYTES: u64 = 512 << 10;
/// Types that changed within the last so-manieth part of what was looked at may change again.
const PART: u64 = 2;

/// Follows the types that are found while more and more of a file is looked at.
#[derive(Debug)]
pub struct Settled<T> {
    types: Option<T>,
    /// Bytes that had been looked at when the types were first these.
    since: u64,
}

impl<T: PartialEq> Settled<T> {
    pub fn new() -> Self {
        Settled { types: None, since: 0 }
    }

    /// Whether the look may end: `types` are what the first `rows` rows, of `bytes` bytes, have, and
    /// `known` says that there was a value to tell each of them from.
    pub fn is_enough(&mut self, rows: u64, bytes: u64, types: T, known: bool) -> bool {
        if self.types.as_ref() != Some(&types) {
            (self.types, self.since) = (Some(types), bytes);
        }
        known && rows >= ROWS && bytes >= BYTES && bytes / PART >= self.since
    }
}

/// The first of `rows` rows with which types change, and how: `all` with all of them, and `changed` with so
/// many of the first ones. What has changed once stays so.
pub fn first_change<T>(rows: u64, all: T, changed: impl Fn(u64) -> Option<T>) -> (u64, T) {
    let (mut agreeing, mut differing, mut change) = (0, rows, all);
    while agreeing + 1 < differing {
        let middle = agreeing + (differing - agreeing) / 2;
        match changed(middle) {
            Some(earlier) => (differing, change) = (middle, earlier),
            None => agreeing = middle,
        }
    }
    (differing.saturating_sub(1), change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_changes_types() {
        for rows in 1..20 {
            for row in 0..rows {
                let changed = |count| (count > row).then_some(count);
                assert_eq!(first_change(rows, rows, changed), (row, row + 1));
            }
        }
        assert_eq!(first_change(0, "blank", |_| None), (0, "blank"));
    }

    const MB: u64 = 1 << 20;

    #[test]
    fn ends_with_enough_rows_and_bytes() {
        let mut settled = Settled::new();
        assert!(!settled.is_enough(200, MB / 4, "int", true));
        assert!(!settled.is_enough(5_000, MB * 3 / 8, "int", true));
        assert!(!settled.is_enough(249, 4 * MB, "int", true));
        assert!(settled.is_enough(250, 4 * MB, "int", true));
    }

    #[test]
    fn goes_on_while_types_change() {
        let mut settled = Settled::new();
        assert!(!settled.is_enough(5_000, MB, "int", true));
        assert!(!settled.is_enough(9_000, 2 * MB, "float", true));
        assert!(!settled.is_enough(9_500, 3 * MB, "float", true));
        assert!(settled.is_enough(9_900, 4 * MB, "float", true));
    }

    #[test]
    fn goes_on_where_nothing_tells_a_type() {
        let mut settled = Settled::new();
        assert!(!settled.is_enough(5_000, MB / 8, "null", false));
        assert!(!settled.is_enough(90_000, 8 * MB, "null", false));
    }
}
