//! Integers of any width into int64.

/// A row of machine integers, contiguous in memory.
#[derive(Clone, Copy, Debug)]
pub enum Integers<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
}

/// Runs `$body` with `$slice` bound to the slice inside, whatever its type.
#[macro_export]
macro_rules! with_integers {
    ($integers:expr, $slice:ident => $body:expr) => {
        match $integers {
            $crate::integers::Integers::I8($slice) => $body,
            $crate::integers::Integers::I16($slice) => $body,
            $crate::integers::Integers::I32($slice) => $body,
            $crate::integers::Integers::I64($slice) => $body,
            $crate::integers::Integers::U8($slice) => $body,
            $crate::integers::Integers::U16($slice) => $body,
            $crate::integers::Integers::U32($slice) => $body,
            $crate::integers::Integers::U64($slice) => $body,
        }
    };
}

impl<'a> Integers<'a> {
    pub fn len(&self) -> usize {
        with_integers!(self, slice => slice.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements from `start` to `end`, or None where that is not within the row.
    pub fn get(&self, start: usize, end: usize) -> Option<Integers<'a>> {
        Some(match self {
            Integers::I8(slice) => Integers::I8(slice.get(start..end)?),
            Integers::I16(slice) => Integers::I16(slice.get(start..end)?),
            Integers::I32(slice) => Integers::I32(slice.get(start..end)?),
            Integers::I64(slice) => Integers::I64(slice.get(start..end)?),
            Integers::U8(slice) => Integers::U8(slice.get(start..end)?),
            Integers::U16(slice) => Integers::U16(slice.get(start..end)?),
            Integers::U32(slice) => Integers::U32(slice.get(start..end)?),
            Integers::U64(slice) => Integers::U64(slice.get(start..end)?),
        })
    }

    /// Writes the elements to `out`, as many as it holds.
    ///
    /// Returns the place and value of the first element that does not fit in an int64, if any.
    pub fn widen(&self, out: &mut [i64]) -> Result<(), (usize, u64)> {
        match self {
            Integers::I64(slice) => out.copy_from_slice(&slice[..out.len()]),
            Integers::U64(slice) => {
                for (place, (to, &from)) in out.iter_mut().zip(*slice).enumerate() {
                    *to = i64::try_from(from).map_err(|_| (place, from))?;
                }
            }
            Integers::I8(slice) => copy(slice, out),
            Integers::I16(slice) => copy(slice, out),
            Integers::I32(slice) => copy(slice, out),
            Integers::U8(slice) => copy(slice, out),
            Integers::U16(slice) => copy(slice, out),
            Integers::U32(slice) => copy(slice, out),
        }
        Ok(())
    }
}

fn copy<T: Copy + Into<i64>>(from: &[T], out: &mut [i64]) {
    for (to, &from) in out.iter_mut().zip(from) {
        *to = from.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_keep_their_values() {
        let mut out = [0; 2];
        assert_eq!(Integers::I8(&[-128, 127]).widen(&mut out), Ok(()));
        assert_eq!(out, [-128, 127]);
        assert_eq!(Integers::U32(&[u32::MAX, 0]).widen(&mut out), Ok(()));
        assert_eq!(out, [u32::MAX.into(), 0]);
        assert_eq!(Integers::I64(&[i64::MIN, i64::MAX, 1]).widen(&mut out), Ok(()));
        assert_eq!(out, [i64::MIN, i64::MAX]);
    }

    #[test]
    fn what_an_int64_cannot_hold_is_named() {
        let mut out = [0; 3];
        let row = Integers::U64(&[1, 1 << 63, u64::MAX]);
        assert_eq!(row.widen(&mut out), Err((1, 1 << 63)));
        assert_eq!(row.get(0, 1).map(|row| row.len()), Some(1));
        assert!(row.get(2, 4).is_none());
    }
}
