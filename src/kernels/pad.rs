//! The plan of a padded batch: one width, from the lengths alone.

use thiserror::Error;

/// What `plan` was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The width where the rows are not to decide it.
    pub target: Option<usize>,
    /// The width is rounded up to a multiple of this; 0 for no rounding.
    pub multiple: usize,
    /// Rows longer than the width are cut to their head.
    pub truncate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PadError {
    #[error("row {row} has length {length}, longer than {width}")]
    TooLong { row: usize, length: usize, width: usize },
    /// Rounding up leaves the range of sizes; holds the exact width.
    #[error("the padded length {0} is too large")]
    Overflow(u128),
}

impl Request {
    /// The width where the rows have no say in it.
    pub fn given_width(&self) -> Option<usize> {
        self.rounded(self.target?).ok()
    }

    fn rounded(&self, width: usize) -> Result<usize, PadError> {
        if self.multiple <= 1 {
            return Ok(width);
        }
        let rounded = width.div_ceil(self.multiple) as u128 * self.multiple as u128;
        match usize::try_from(rounded) {
            Ok(width) if width <= isize::MAX as usize => Ok(width),
            _ => Err(PadError::Overflow(rounded)),
        }
    }
}

/// Returns the width of the padded batch in elements. `longest` is the greatest of `lengths`, 0 of none;
/// all of them are only looked at for the first row that is too long.
pub fn plan(
    longest: usize,
    lengths: impl Iterator<Item = usize>,
    request: Request,
) -> Result<usize, PadError> {
    let width = request.rounded(request.target.unwrap_or(longest))?;
    if longest > width && !request.truncate {
        let mut lengths = lengths.enumerate();
        let culprit = lengths.find(|&(_, length)| length > width);
        if let Some((row, length)) = culprit {
            return Err(PadError::TooLong { row, length, width });
        }
    }
    Ok(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn width(lengths: &[usize], request: Request) -> Result<usize, PadError> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        plan(longest, lengths.iter().copied(), request)
    }

    #[test]
    fn no_rows_have_no_width() {
        assert_eq!(width(&[], Request::default()), Ok(0));
        let eight = Request { target: Some(5), multiple: 8, truncate: false };
        assert_eq!(width(&[], eight), Ok(8));
    }

    #[test]
    fn the_first_row_that_is_too_long_is_named() {
        let request = Request { target: Some(2), ..Request::default() };
        let error = PadError::TooLong { row: 1, length: 3, width: 2 };
        assert_eq!(width(&[2, 3, 9], request), Err(error));
        assert_eq!(width(&[2, 3], Request { truncate: true, ..request }), Ok(2));
    }

    #[test]
    fn rounding_past_the_largest_size_is_an_error() {
        let request = Request { target: Some(isize::MAX as usize), multiple: 2, truncate: false };
        assert_eq!(width(&[], request), Err(PadError::Overflow(1 << 63)));
        assert_eq!(request.given_width(), None);
    }

    proptest! {
        #[test]
        fn the_width_is_the_least_multiple_that_holds_every_row(
            lengths in proptest::collection::vec(0usize..500, 0..20),
            target in proptest::option::of(0usize..500),
            multiple in 0usize..70,
        ) {
            let request = Request { target, multiple, truncate: true };
            let found = width(&lengths, request)?;
            prop_assert_eq!(request.given_width(), target.map(|_| found));
            let base = target.unwrap_or(lengths.iter().copied().max().unwrap_or(0));
            let step = multiple.max(1);
            prop_assert!(found >= base && found < base + step && found % step == 0);
        }
    }
}
