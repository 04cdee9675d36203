//! Text by eight bytes at a time.
//!
//! Owns: digits, times of day and single characters, found and read within words of 64 bits ("SIMD within a register": Mycroft's test
//! for a zero byte, Lamport 1975 for the sums). Does not own: what a text means.

/// Eight times the byte.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH: u64 = all(0x80);
const LOW: u64 = all(0x7F);

/// The value of the decimal digits at the begin of `text`, and how many there are. Beyond 18 digits the value means nothing.
#[inline]
pub(crate) fn leading_digits(text: &[u8]) -> (i64, usize) {
    let (mut value, mut count) = (0_u64, 0);
    while let Some(chunk) = text[count..].first_chunk::<8>() {
        let digits = u64::from_le_bytes(*chunk) ^ all(b'0');
        let others = (digits | ((digits & LOW) + all(0x76))) & HIGH;
        if others == 0 {
            value = value.wrapping_mul(100_000_000).wrapping_add(eight_digits(digits));
            count += 8;
            continue;
        }
        let found = others.trailing_zeros() as usize / 8;
        if found > 0 {
            // Zeros in front of the digits change nothing.
            value = value.wrapping_mul(TENS[found]).wrapping_add(eight_digits(digits << (64 - 8 * found)));
        }
        return (value.cast_signed(), count + found);
    }
    for byte in &text[count..] {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    (value.cast_signed(), count)
}

const TENS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The number whose digits, the first in the lowest byte, are the bytes of `digits`.
#[inline]
fn eight_digits(digits: u64) -> u64 {
    let pairs = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    (fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF
}

/// The seconds of `HH:mm:ss`; `None` for any other text.
#[inline]
pub(crate) fn seconds_of_day(text: [u8; 8]) -> Option<i64> {
    // Colons become 10, which is no digit.
    const COLONS: u64 = u64::from_le_bytes([0, 0, 0xFF, 0, 0, 0xFF, 0, 0]);
    let digits = u64::from_le_bytes(text) ^ all(b'0');
    if digits & COLONS != all(b':' ^ b'0') & COLONS {
        return None;
    }
    let digits = digits & !COLONS;
    if (digits | ((digits & LOW) + all(0x76))) & HIGH != 0 {
        return None;
    }
    let pairs = digits * 10 + (digits >> 8);
    let (hour, minute, second) = (pairs & 0xFF, pairs >> 24 & 0xFF, pairs >> 48 & 0xFF);
    (hour <= 23 && minute <= 59 && second <= 59).then_some(((hour * 60 + minute) * 60 + second).cast_signed())
}

/// The place of the first of two bytes.
#[inline]
pub(crate) fn find_either(text: &[u8], first: u8, second: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(chunk) = text[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let found = zero_bytes(word ^ all(first)) | zero_bytes(word ^ all(second));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let place = text[at..].iter().position(|byte| *byte == first || *byte == second);
    place.map(|place| at + place)
}

/// The high bit of each byte that is zero, up to and including the first; behind it there may be others.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(all(1)) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_read_to_the_first_other_byte(
            digits in "[0-9]{0,18}", rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let text = [digits.as_bytes(), &rest].concat();
            let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (value, found) = leading_digits(&text);
            prop_assert_eq!(found, count);
            if (1..=18).contains(&count) {
                prop_assert_eq!(value, std::str::from_utf8(&text[..count]).unwrap().parse::<i64>().unwrap());
            }
        }

        #[test]
        fn the_first_of_two_bytes_is_found(text in prop::collection::vec(0..6_u8, 0..40), first in 0..8_u8, second in 0..8_u8) {
            let expected = text.iter().position(|byte| *byte == first || *byte == second);
            prop_assert_eq!(find_either(&text, first, second), expected);
        }

        #[test]
        fn times_of_day_are_read_and_nothing_else(text in "[0-2][0-9][:0][0-6][0-9a]:[0-6][0-9ä/]") {
            let Ok(bytes) = <[u8; 8]>::try_from(text.as_bytes()) else { return Ok(()) };
            let two = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
            let is_marked = bytes[2] == b':' && bytes[5] == b':';
            let parts = (two(0), two(3), two(6));
            let expected = match parts {
                (Some(h), Some(m), Some(s)) if is_marked && h < 24 && m < 60 && s < 60 => Some((h * 60 + m) * 60 + s),
                _ => None,
            };
            prop_assert_eq!(seconds_of_day(bytes), expected);
        }
    }
}
