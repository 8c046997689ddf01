//! Decimal digits of integers. Rows of tokens are thousands of small ones: eight digits are looked up
//! and shifted into place without a branch.

/// Bytes that `write` may touch: 20 digits, and what is written beyond them.
pub const ROOM: usize = 32;

/// Bytes that `write_list_item` may touch: a sign and ", " more.
pub const ITEM_ROOM: usize = 32;

/// Below this, eight digits are enough.
const SMALL: u64 = 100_000_000;

/// The four digits of each number below 10,000, the first in the lowest byte.
static FOUR: [u32; 10_000] = four_digits();

const fn four_digits() -> [u32; 10_000] {
    let mut table = [0; 10_000];
    let mut n = 0;
    while n < 10_000 {
        let digits = [
            b'0' + (n / 1000) as u8,
            b'0' + (n / 100 % 10) as u8,
            b'0' + (n / 10 % 10) as u8,
            b'0' + (n % 10) as u8,
        ];
        table[n] = u32::from_le_bytes(digits);
        n += 1;
    }
    table
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

/// Writes the number and ", "; returns the number of bytes.
#[inline(always)]
pub fn write_list_item(is_negative: bool, magnitude: u64, out: &mut [u8; ITEM_ROOM]) -> usize {
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
        fn like_display(value: u64, bits in 0..64u32, signed: i64) {
            prop_assert_eq!(written(value >> bits), (value >> bits).to_string());
            prop_assert_eq!(item(signed >> bits), format!("{}, ", signed >> bits));
        }
    }
}
