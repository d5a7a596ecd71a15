//! Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", 2019, §4): lengths keep
//! only their leading bits, so that a length tells little and padding costs less than 12 %.

use crate::limits::CONTENT_FLOOR;

/// The least padded length that holds `length` bytes.
pub fn padded_length(length: usize) -> usize {
    let length = length.max(CONTENT_FLOOR);
    let exponent = length.ilog2();
    let significant = exponent.ilog2().saturating_add(1);
    let zeros = exponent.saturating_sub(significant);
    let mask = 1_usize.checked_shl(zeros).map_or(usize::MAX, |bit| bit.wrapping_sub(1));
    length.saturating_add(mask) & !mask
}

/// How many bytes a CBOR byte-string header takes for `length` bytes (RFC 8949 §3).
const fn header_length(length: usize) -> usize {
    match length {
        0..24 => 1,
        24..256 => 2,
        256..65_536 => 3,
        _ => 5,
    }
}

/// How many padding bytes bring an encoding of `bare` bytes, counted without the padding's header,
/// to a Padmé length. Lengths no padding can reach, because its header grows, go to the next one.
pub fn padding_for(bare: usize) -> usize {
    let mut target = padded_length(bare.saturating_add(1));
    loop {
        let room = target.saturating_sub(bare);
        for header in [1, 2, 3, 5] {
            if let Some(padding) = room.checked_sub(header)
                && header_length(padding) == header
            {
                return padding;
            }
        }
        target = padded_length(target.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_contents_look_alike() {
        for bare in 0..CONTENT_FLOOR - 3 {
            // 25 bytes of room cannot be filled: the header would grow from one byte to two.
            if bare != CONTENT_FLOOR - 25 {
                let padding = padding_for(bare);
                assert_eq!(bare + header_length(padding) + padding, CONTENT_FLOOR, "{bare}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn padding_reaches_a_padme_length_at_small_cost(bare in 0_usize..2_000_000) {
            let padding = padding_for(bare);
            let total = bare + header_length(padding) + padding;
            proptest::prop_assert_eq!(padded_length(total), total);
            proptest::prop_assert!(total <= CONTENT_FLOOR.max(bare + bare / 8 + 16));
        }
    }
}
