//! Decimal digits of integers. Rows of tokens are thousands of small ones: eight digits are looked up
//! and shifted into place without a branch; or, where the CPU can, eight numbers at a time.

#[cfg(target_arch = "x86_64")]
mod eight;

/// Bytes that `write` may touch: 20 digits, and what is written beyond them.
pub const ROOM: usize = 32;

/// Bytes that `write_list_item` may touch: a sign and ", " more.
pub const ITEM_ROOM: usize = 32;

/// Below this, eight digits are enough.
const SMALL: u64 = 100_000_000;

/// The four digits of a number below 10,000, the first in the lowest byte.
const fn four_digits(n: usize) -> u32 {
    u32::from_le_bytes([
        b'0' + (n / 1000) as u8,
        b'0' + (n / 100 % 10) as u8,
        b'0' + (n / 10 % 10) as u8,
        b'0' + (n % 10) as u8,
    ])
}

static FOUR: [u32; 10_000] = {
    let mut table = [0; 10_000];
    let mut n = 0;
    while n < 10_000 {
        table[n] = four_digits(n);
        n += 1;
    }
    table
};

/// Below this, six digits are enough, and with ", " behind them an item is one word. Every token id is.
const TINY: u64 = 1_000_000;

/// The three digits of each number below 1,000, the first in the lowest byte; as long as to need no
/// check of bounds.
static THREE: [u32; 1024] = {
    let mut table = [0; 1024];
    let mut n = 0;
    while n < 1000 {
        table[n] = four_digits(n) >> 8;
        n += 1;
    }
    table
};

/// A number below `TINY` and ", " behind it, and how many bytes that is.
#[inline(always)]
fn tiny_item(n: u32) -> (u64, usize) {
    let (high, low) = (n / 1000, n % 1000);
    let three = |n: u32| u64::from(THREE[n as usize % 1024]);
    let digits = three(high) | three(low) << 24;
    // The last digit stays, be it zero.
    let zeros = ((digits ^ 0x3030_3030_3030) | 1 << 40).trailing_zeros() & !7;
    let end = u64::from(u16::from_le_bytes(*b", ")) << 48;
    ((digits | end) >> zeros, 8 - zeros as usize / 8)
}

/// All eight digits of a number below `SMALL`, zeros before it included.
#[inline(always)]
fn eight(n: u32) -> u64 {
    let (high, low) = ((n / 10_000) as usize, (n % 10_000) as usize);
    // The remainder is taken so that no bound has to be checked; it changes nothing.
    u64::from(FOUR[high % 10_000]) | u64::from(FOUR[low]) << 32
}

/// The digits of a number below `SMALL` without zeros before it, and how many there are.
#[inline(always)]
fn small(n: u32) -> (u64, usize) {
    let digits = eight(n);
    // The last digit stays, be it zero.
    let zeros = (((digits ^ 0x3030_3030_3030_3030) | 1 << 56).trailing_zeros() / 8) as usize;
    (digits >> (8 * zeros), 8 - (zeros & 7))
}

/// Writes the digits of `value` to the start of `out`, of at least `ROOM` bytes; returns their number.
#[inline(always)]
pub fn write(value: u64, out: &mut [u8]) -> usize {
    if value < SMALL {
        let (digits, length) = small(value as u32);
        out[..8].copy_from_slice(&digits.to_le_bytes());
        return length;
    }
    write_large(value, out)
}

#[inline(never)]
fn write_large(value: u64, out: &mut [u8]) -> usize {
    let (rest, last) = (value / SMALL, (value % SMALL) as u32);
    let length = write(rest, out);
    out[length..length + 8].copy_from_slice(&eight(last).to_le_bytes());
    length + 8
}

/// Numbers that are written at once.
pub const MANY: usize = 4;

/// Writes `MANY` numbers with ", " behind each; returns the number of bytes, or `None` where one is not
/// a short one.
#[inline(always)]
fn write_tiny_items(
    numbers: &[(bool, u64); MANY],
    out: &mut [u8; MANY * ITEM_ROOM],
) -> Option<usize> {
    let is_tiny = |&(is_negative, magnitude): &(bool, u64)| !is_negative & (magnitude < TINY);
    if !numbers.iter().fold(true, |all, number| all & is_tiny(number)) {
        return None;
    }
    let mut end = 0;
    for &(_, magnitude) in numbers {
        let (item, length) = tiny_item(magnitude as u32);
        // Never more than eight bytes each: the remainder changes nothing, but to spare a check.
        let place = end % (MANY * 8);
        out[place..place + 8].copy_from_slice(&item.to_le_bytes());
        end += length;
    }
    Some(end)
}

/// Writes the values with ", " behind each to the start of `out`; returns the number of bytes.
///
/// `read` gives the sign and the magnitude of a value; `out` has `ITEM_ROOM` bytes for each, and for `MANY`
/// more: what it has no room for is left out.
#[inline(always)]
pub fn write_list_items<const WIDTH: usize>(
    mut values: &[[u8; WIDTH]],
    read: impl Fn(&[u8; WIDTH]) -> (bool, u64),
    out: &mut [u8],
) -> usize {
    let mut at = 0;
    #[cfg(target_arch = "x86_64")]
    if let Some(eight) = eight::EightItems::available() {
        loop {
            let room = out.get_mut(at..).unwrap_or_default();
            let (done, written) = eight.write(values, &read, room);
            at += written;
            values = values.get(done..).unwrap_or_default();
            // What stopped it, one by one.
            let Some((odd, rest)) = values.split_at_checked(eight::EIGHT) else { break };
            at += write_each(odd.iter().map(&read), out.get_mut(at..).unwrap_or_default());
            values = rest;
        }
    }
    let (many, rest) = values.as_chunks();
    for values in many {
        let numbers = values.each_ref().map(&read);
        let Some(room) = out.get_mut(at..).and_then(|room| room.first_chunk_mut()) else {
            break;
        };
        at += match write_tiny_items(&numbers, room) {
            Some(written) => written,
            None => write_each(numbers.into_iter(), room),
        };
    }
    at + write_each(rest.iter().map(&read), out.get_mut(at..).unwrap_or_default())
}

/// Writes the number and ", "; returns the number of bytes.
#[inline(always)]
fn write_list_item(is_negative: bool, magnitude: u64, out: &mut [u8; ITEM_ROOM]) -> usize {
    let sign = usize::from(is_negative);
    if magnitude < SMALL {
        let (digits, length) = small(magnitude as u32);
        out[0] = b'-';
        out[sign..sign + 8].copy_from_slice(&digits.to_le_bytes());
        let end = sign + length;
        out[end..end + 2].copy_from_slice(b", ");
        return end + 2;
    }
    write_large_list_item(is_negative, magnitude, out)
}

#[inline(never)]
fn write_large_list_item(is_negative: bool, magnitude: u64, out: &mut [u8; ITEM_ROOM]) -> usize {
    let sign = usize::from(is_negative);
    let mut digits = [0; ROOM];
    let length = write(magnitude, &mut digits);
    out[0] = b'-';
    out[sign..sign + length].copy_from_slice(&digits[..length]);
    out[sign + length..sign + length + 2].copy_from_slice(b", ");
    sign + length + 2
}

/// Writes numbers with ", " behind each, and returns how many bytes that took.
#[inline]
fn write_each(numbers: impl Iterator<Item = (bool, u64)>, out: &mut [u8]) -> usize {
    let mut at = 0;
    for (is_negative, magnitude) in numbers {
        if let Some(room) = out.get_mut(at..).and_then(|room| room.first_chunk_mut()) {
            at += write_list_item(is_negative, magnitude, room);
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: u64) -> String {
        let mut out = [b'x'; ROOM];
        let length = write(value, &mut out);
        String::from_utf8_lossy(&out[..length]).into_owned()
    }

    fn item(value: i64) -> String {
        let mut out = [b'x'; ITEM_ROOM];
        let length = write_list_item(value < 0, value.unsigned_abs(), &mut out);
        String::from_utf8_lossy(&out[..length]).into_owned()
    }

    #[test]
    fn short_numbers_at_once() {
        let mut out = [b'x'; MANY * ITEM_ROOM];
        for power in 0..6 {
            let power = 10u64.pow(power);
            for numbers in [[power - 1, power, 0, 7 * power], [9, 10 * power - 1, power, 100]] {
                let length = write_tiny_items(&numbers.map(|n| (false, n)), &mut out);
                let expected: String = numbers.iter().map(|n| format!("{n}, ")).collect();
                let written = length.and_then(|length| out.get(..length));
                assert_eq!(written.map(String::from_utf8_lossy), Some(expected.into()));
            }
        }
        for odd in [(true, 1), (false, TINY), (false, u64::MAX), (true, 1 << 63)] {
            for place in 0..MANY {
                let mut numbers = [(false, 5); MANY];
                numbers[place] = odd;
                assert_eq!(write_tiny_items(&numbers, &mut out), None);
            }
        }
    }

    #[test]
    fn around_every_power_of_ten() {
        for power in 0..20 {
            let power = 10u64.pow(power);
            for value in [power - 1, power, power + 1, u64::MAX - power] {
                assert_eq!(written(value), value.to_string());
            }
        }
        for value in [0, -1, i64::MIN, i64::MAX, -100, -99_999_999, -100_000_000] {
            assert_eq!(item(value), format!("{value}, "));
        }
    }

    proptest! {
        #[test]
        fn lists_like_display(
            values in proptest::collection::vec((prop_oneof![Just(44), 0..64u32], any::<i64>()), 0..80),
        ) {
            // Most of them as short as tokens are.
            let values: Vec<i64> = values.into_iter().map(|(bits, value)| value >> bits).collect();
            let bytes: Vec<[u8; 8]> = values.iter().map(|value| value.to_ne_bytes()).collect();
            let mut out = vec![b'x'; (values.len() + MANY) * ITEM_ROOM];
            let signed = |bytes: &_| {
                let value = i64::from_ne_bytes(*bytes);
                (value < 0, value.unsigned_abs())
            };
            let length = write_list_items(&bytes, signed, &mut out);
            let expected: String = values.iter().map(|value| format!("{value}, ")).collect();
            prop_assert_eq!(String::from_utf8_lossy(&out[..length]), expected);
            let length =
                write_list_items(&bytes, |bytes| (false, u64::from_ne_bytes(*bytes)), &mut out);
            let expected: String = values.iter().map(|&value| format!("{}, ", value as u64)).collect();
            prop_assert_eq!(String::from_utf8_lossy(&out[..length]), expected);
        }

        #[test]
        fn like_display(value: u64, bits in 0..64u32, signed: i64) {
            prop_assert_eq!(written(value >> bits), (value >> bits).to_string());
            prop_assert_eq!(item(signed >> bits), format!("{}, ", signed >> bits));
        }
    }
}
