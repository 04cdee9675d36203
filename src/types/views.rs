//! Text columns made of views, without reading the text again.
//!
//! Owns: making a view, and the one place of the crate that trusts its caller. Does not own: which pieces of a text there are.
//!
//! Arrow's own constructors look at every piece of text once more, to see that it is UTF-8. Where pieces are cut out of text that is known
//! to be, at places that are known to be between characters, that is a fifth of what a count of words in windows costs
//! (`docs/decisions/0007`). Debug builds look all the same.

use arrow::array::StringViewArray;
use arrow::array::builder::make_view;
use arrow::buffer::{Buffer, NullBuffer};

use crate::error::Result;

/// Texts of at most so many bytes stand in the view itself.
pub(crate) const INLINE_BYTES: usize = 12;

/// A column of these views.
///
/// # Safety
/// Every view must be one of a text of at most [`INLINE_BYTES`], or of bytes within the buffer it names; these bytes must be UTF-8 in
/// themselves, which pieces of UTF-8 cut between characters are. Of `nulls` there must be as many as views.
///
/// # Errors
/// In debug builds, when that is not so.
#[expect(unsafe_code, reason = "the check that is left out is the caller's promise")]
pub(crate) unsafe fn text_column(
    views: Vec<u128>,
    buffers: Vec<Buffer>,
    nulls: Option<NullBuffer>,
) -> Result<StringViewArray> {
    if cfg!(debug_assertions) {
        return Ok(StringViewArray::try_new(views.into(), buffers, nulls)?);
    }
    // SAFETY: what Arrow asks for is what the caller promises.
    Ok(unsafe { StringViewArray::new_unchecked(views.into(), buffers, nulls) })
}

/// The view of `length` bytes of `text` from `start` on, which lie at `place` in the buffer of this number. As Arrow's own, without a
/// branch for each length where bytes follow.
///
/// # Panics
/// When there are not so many bytes.
#[inline]
pub(crate) fn view_of(text: &[u8], start: usize, length: usize, buffer: u32, place: u32) -> u128 {
    let rest = &text[start..];
    let Some(chunk) = rest.first_chunk::<16>().filter(|_| length <= rest.len()) else {
        return make_view(&rest[..length], buffer, place);
    };
    let bytes = u128::from_le_bytes(*chunk);
    if length <= INLINE_BYTES {
        let kept = bytes & ((1 << (8 * length)) - 1);
        return kept << 32 | length as u128;
    }
    let prefix = bytes & u128::from(u32::MAX);
    u128::from(place) << 96 | u128::from(buffer) << 64 | prefix << 32 | (length as u128 & u128::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_view_is_what_arrow_makes(text in prop::collection::vec(any::<u8>(), 0..60), from in 0..60_usize, length in 0..60_usize) {
            let start = from.min(text.len());
            let length = length.min(text.len() - start);
            let expected = make_view(&text[start..start + length], 3, 77);
            prop_assert_eq!(view_of(&text, start, length, 3, 77), expected);
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "the promise is kept, then broken")]
    fn a_broken_promise_is_seen_in_debug_builds() {
        let block = Buffer::from("a text that is longer than a view".as_bytes());
        let column = |place| {
            let views = vec![view_of(&block, 2, 20, 0, place)];
            // SAFETY: debug builds look.
            unsafe { text_column(views, vec![block.clone()], None) }
        };
        assert_eq!(column(2).unwrap().value(0), "text that is longer ");
        assert!(cfg!(not(debug_assertions)) || column(100).is_err());
    }
}
