//! Every block format, against recorded answers of ggml, bit for bit; the rest against values worked out by hand.

mod support;

use std::path::Path;

use fanlight::Kind;
use fanlight::quant::{Type, dequantize, f16_to_f32};
use support::{f32s, golden};

/// The types with recordings, with the numbers, values and bytes per block of the recording's index.
const RECORDED: [(Type, u32, &str, usize, usize); 25] = [
    (Type::F16, 1, "F16", 1, 2),
    (Type::Bf16, 30, "BF16", 1, 2),
    (Type::Q4_0, 2, "Q4_0", 32, 18),
    (Type::Q4_1, 3, "Q4_1", 32, 20),
    (Type::Q5_0, 6, "Q5_0", 32, 22),
    (Type::Q5_1, 7, "Q5_1", 32, 24),
    (Type::Q8_0, 8, "Q8_0", 32, 34),
    (Type::Q2K, 10, "Q2_K", 256, 84),
    (Type::Q3K, 11, "Q3_K", 256, 110),
    (Type::Q4K, 12, "Q4_K", 256, 144),
    (Type::Q5K, 13, "Q5_K", 256, 176),
    (Type::Q6K, 14, "Q6_K", 256, 210),
    (Type::Iq4Nl, 20, "IQ4_NL", 32, 18),
    (Type::Iq4Xs, 23, "IQ4_XS", 256, 136),
    (Type::Iq2Xxs, 16, "IQ2_XXS", 256, 66),
    (Type::Iq2Xs, 17, "IQ2_XS", 256, 74),
    (Type::Iq2S, 22, "IQ2_S", 256, 82),
    (Type::Iq3Xxs, 18, "IQ3_XXS", 256, 98),
    (Type::Iq3S, 21, "IQ3_S", 256, 110),
    (Type::Iq1S, 19, "IQ1_S", 256, 50),
    (Type::Iq1M, 29, "IQ1_M", 256, 56),
    (Type::Tq1_0, 34, "TQ1_0", 256, 54),
    (Type::Tq2_0, 35, "TQ2_0", 256, 66),
    (Type::Mxfp4, 39, "MXFP4", 32, 17),
    (Type::Nvfp4, 40, "NVFP4", 64, 36),
];

/// The values of `raw`, which holds whole blocks.
fn values(ty: Type, raw: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; raw.len() / ty.block_bytes() * ty.block_len()];
    dequantize(ty, raw, &mut out).unwrap();
    out
}

/// Fails, naming the value, unless all bits agree. NaNs agree with each other.
fn assert_same_bits(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
        assert!(same, "{what}: value {i} is {found:e}, recorded {expected:e}");
    }
}

#[test]
fn random_blocks_unfold_to_the_recorded_bits() {
    for (ty, .., name, block_len, _) in RECORDED {
        let raw = golden(&format!("quants/{name}.rnd.q.bin"));
        let expected = f32s(&golden(&format!("quants/{name}.rnd.f32.bin")));
        assert_eq!(expected.len(), 16 * block_len, "{name}: the recording");
        assert_same_bits(name, &values(ty, &raw), &expected);
    }
}

#[test]
fn quantised_rows_unfold_to_the_recorded_bits() {
    let Some(fixtures) = support::shared_fixtures("rows of real-looking weights, 25 types") else {
        return;
    };
    for (ty, .., name, _, _) in RECORDED {
        let read = |file: String| std::fs::read(Path::new(&fixtures).join("quants").join(file)).unwrap();
        let expected = f32s(&read(format!("{name}.f32.bin")));
        assert_eq!(expected.len(), 7 * 512, "{name}: the recording");
        assert_same_bits(name, &values(ty, &read(format!("{name}.q.bin"))), &expected);
    }
}

#[test]
fn the_table_of_types_agrees_with_the_recordings() {
    for (ty, id, name, block_len, block_bytes) in RECORDED {
        assert_eq!((ty.id(), ty.name()), (id, name));
        assert_eq!(
            (ty.block_len(), ty.block_bytes()),
            (block_len, block_bytes),
            "{name}"
        );
    }
}

#[test]
fn numbers_and_types_belong_together() {
    let removed = [4, 5, 31, 32, 33, 36, 37, 38];
    for id in 0..=42 {
        let ty = Type::from_id(id);
        assert_eq!(ty.is_none(), removed.contains(&id), "{id}");
        assert_eq!(ty.map_or(id, Type::id), id);
    }
    for id in [43, 64, 255, 256, u32::MAX] {
        assert_eq!(Type::from_id(id), None);
    }
    let mut names: Vec<_> = Type::ALL.map(Type::name).into();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Type::ALL.len());
}

#[test]
fn rows_are_whole_blocks() {
    assert_eq!(Type::Q4K.row_bytes(512), Some(288));
    assert_eq!(Type::Q4K.row_bytes(0), Some(0));
    assert_eq!(Type::Q4K.row_bytes(511), None);
    assert_eq!(Type::F32.row_bytes(3), Some(12));
    assert_eq!(Type::F32.row_bytes(u64::MAX), None);
    assert_eq!(Type::Iq1S.row_bytes(1 << 63), Some(50 << 55));
    assert_eq!(Type::Q8_0.row_bytes(1 << 63), Some(34 << 58));
    assert_eq!(Type::Q8K.row_bytes(1 << 63), Some(292 << 55));
}

#[test]
fn lengths_that_do_not_belong_together_are_refused() {
    for ty in Type::ALL {
        let (bytes, len) = (ty.block_bytes(), ty.block_len());
        assert!(dequantize(ty, &[], &mut []).is_ok());
        assert!(dequantize(ty, &vec![0; 2 * bytes], &mut vec![0.0; 2 * len]).is_ok());
        for (bytes, len) in [
            (bytes, len + 1),
            (bytes, 2 * len),
            (bytes, 0),
            (bytes + 1, len),
            (0, len),
        ] {
            let error = dequantize(ty, &vec![0; bytes], &mut vec![0.0; len]).unwrap_err();
            assert_eq!(error.kind, Kind::InvalidArgument, "{}", ty.name());
            assert!(error.message.contains(ty.name()), "{error}");
        }
    }
}

#[test]
fn every_half_precision_number_has_its_value() {
    for bits in 0..=u16::MAX {
        let (sign, exponent, mantissa) = (bits >> 15, i32::from(bits >> 10 & 31), f64::from(bits & 1023));
        // The definition of IEEE 754, in double precision, where it is exact.
        let magnitude = match exponent {
            0 => mantissa * 2f64.powi(-24),
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            e => (1.0 + mantissa / 1024.0) * 2f64.powi(e - 15),
        };
        let expected = (if sign == 1 { -magnitude } else { magnitude }) as f32;
        assert_same_bits(&format!("{bits:#06x}"), &[f16_to_f32(bits)], &[expected]);
        assert_same_bits(
            &format!("{bits:#06x}"),
            &values(Type::F16, &bits.to_le_bytes()),
            &[expected],
        );
    }
}

#[test]
fn plain_numbers_round_to_the_nearest_f32() {
    let raw: Vec<u8> = [1.5f32, -0.0, f32::MIN_POSITIVE / 2.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    assert_same_bits(
        "F32",
        &values(Type::F32, &raw),
        &[1.5, -0.0, f32::MIN_POSITIVE / 2.0],
    );
    let raw: Vec<u8> = [0.1f64, -1e300, 1e-300]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    assert_same_bits("F64", &values(Type::F64, &raw), &[0.1, f32::NEG_INFINITY, 0.0]);
    assert_same_bits(
        "I8",
        &values(Type::I8, &[0, 127, 128, 255]),
        &[0.0, 127.0, -128.0, -1.0],
    );
    let raw: Vec<u8> = [i16::MIN, -2, 300].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_same_bits("I16", &values(Type::I16, &raw), &[-32768.0, -2.0, 300.0]);
    let raw: Vec<u8> = [i32::MIN, 16_777_217, 16_777_219]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    assert_same_bits(
        "I32",
        &values(Type::I32, &raw),
        &[-2147483648.0, 16_777_216.0, 16_777_220.0],
    );
    let raw: Vec<u8> = [i64::MIN, -1, 1 << 40]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    assert_same_bits(
        "I64",
        &values(Type::I64, &raw),
        &[-9223372036854775808.0, -1.0, 1099511627776.0],
    );
}

/// Half-precision 0.5, 2 and -3 in file order.
const HALF: [u8; 2] = [0x00, 0x38];
const TWO: [u8; 2] = [0x00, 0x40];
const MINUS_THREE: [u8; 2] = [0x00, 0xC2];

#[test]
fn q1_0_is_a_sign_per_bit() {
    let mut raw = HALF.to_vec();
    raw.extend([0b0000_0101, 0x80]);
    raw.extend([0; 13]);
    raw.push(0xFF);
    let mut expected = [-0.5f32; 128];
    for i in [0, 2, 15].into_iter().chain(120..128) {
        expected[i] = 0.5;
    }
    assert_same_bits("Q1_0", &values(Type::Q1_0, &raw), &expected);
}

#[test]
fn q2_0_is_two_bits_less_one() {
    let mut raw = TWO.to_vec();
    raw.push(0b11_10_01_00);
    raw.extend([0b01_01_01_01; 14]);
    raw.push(0b00_00_00_11);
    let mut expected = [0.0f32; 64];
    expected[..4].copy_from_slice(&[-2.0, 0.0, 2.0, 4.0]);
    expected[60..].copy_from_slice(&[4.0, -2.0, -2.0, -2.0]);
    assert_same_bits("Q2_0", &values(Type::Q2_0, &raw), &expected);
}

#[test]
fn q8_1_is_a_scale_a_sum_and_bytes() {
    let mut raw = [MINUS_THREE, TWO].concat();
    raw.extend((0..32).map(|i| (i - 16) as i8 as u8));
    let expected: Vec<f32> = (0..32).map(|i| -3.0 * (i as f32 - 16.0)).collect();
    // -3 * 0 is -0.
    assert_same_bits("Q8_1", &values(Type::Q8_1, &raw), &expected);
}

#[test]
fn q8_k_is_a_wide_scale_bytes_and_sums() {
    let mut raw = 0.001f32.to_le_bytes().to_vec();
    raw.extend((0..=255u8).map(|i| i.wrapping_sub(128)));
    raw.extend([0xAA; 32]);
    let expected: Vec<f32> = (0..256).map(|i| 0.001 * (i as f32 - 128.0)).collect();
    assert_same_bits("Q8_K", &values(Type::Q8K, &raw), &expected);
}

#[test]
fn every_e8m0_scale_is_a_power_of_two() {
    for e in 0..=255u8 {
        // Nibble 1 is a half, which the format scales by 2^(e - 127).
        let mut raw = vec![e];
        raw.extend([0x11; 16]);
        let expected = 2f64.powi(i32::from(e) - 128) as f32;
        assert_same_bits(&format!("E8M0 {e}"), &values(Type::Mxfp4, &raw), &[expected; 32]);
    }
}

#[test]
fn every_ue4m3_scale_has_its_value() {
    for code in 0..=127u8 {
        let (exponent, mantissa) = (i32::from(code >> 3), f64::from(code & 7));
        let scale = match (code, exponent) {
            (0x7F, _) => 0.0, // ggml's reading of the standard's NaN
            (_, 0) => mantissa * 2f64.powi(-9),
            (_, e) => (1.0 + mantissa / 8.0) * 2f64.powi(e - 7),
        };
        // Nibble 2 is one.
        let mut raw = vec![code; 4];
        raw.extend([0x22; 32]);
        assert_same_bits(
            &format!("UE4M3 {code:#x}"),
            &values(Type::Nvfp4, &raw),
            &[scale as f32; 64],
        );
    }
}

/// Blocks that name vectors `0..count` of a codebook in order, with a scale that makes the values the components.
fn codebook(ty: Type, count: usize, block: impl Fn(&[usize]) -> Vec<u8>) -> Vec<f32> {
    let numbers: Vec<usize> = (0..count).collect();
    let vectors_per_block = ty.block_len()
        / if matches!(ty, Type::Iq3Xxs | Type::Iq3S) {
            4
        } else {
            8
        };
    let raw: Vec<u8> = numbers.chunks(vectors_per_block).flat_map(block).collect();
    values(ty, &raw)
}

#[test]
fn every_codebook_vector_is_the_recorded_one() {
    const EIGHT: [u8; 2] = [0x00, 0x48];
    const FOUR: [u8; 2] = [0x00, 0x44];
    const ONE: [u8; 2] = [0x00, 0x3C];
    let low = |numbers: &[usize]| -> Vec<u8> { numbers.iter().map(|&n| n as u8).collect() };
    let zeros = |n: usize| vec![0u8; n];
    // The bits of each number above its low byte, `bits` per number, packed for each sub-block of `per`.
    let top = |numbers: &[usize], bits: usize, per: usize| -> Vec<u16> {
        let pack = |sub: &[usize]| sub.iter().rev().fold(0, |all, &n| all << bits | (n >> 8) as u16);
        numbers.chunks(per).map(pack).collect()
    };
    let top_bytes = |numbers: &[usize], bits: usize, per: usize| -> Vec<u8> {
        top(numbers, bits, per)
            .into_iter()
            .map(|word| word as u8)
            .collect()
    };

    let mut found = codebook(Type::Iq2Xxs, 256, |n| {
        let subs: Vec<u8> = n
            .chunks(4)
            .flat_map(|sub| [low(sub), zeros(4)].concat())
            .collect();
        [EIGHT.to_vec(), subs].concat()
    });
    found.extend(codebook(Type::Iq2Xs, 512, |n| {
        let words: Vec<u8> = n.iter().flat_map(|&n| (n as u16).to_le_bytes()).collect();
        [EIGHT.to_vec(), words, zeros(8)].concat()
    }));
    found.extend(codebook(Type::Iq2S, 1024, |n| {
        [EIGHT.to_vec(), low(n), zeros(32), top_bytes(n, 2, 4), zeros(8)].concat()
    }));
    found.extend(codebook(Type::Iq3Xxs, 256, |n| {
        [FOUR.to_vec(), low(n), zeros(32)].concat()
    }));
    found.extend(codebook(Type::Iq3S, 512, |n| {
        [ONE.to_vec(), low(n), top_bytes(n, 1, 8), zeros(32), zeros(4)].concat()
    }));
    let iq1 = codebook(Type::Iq1S, 2048, |n| {
        let qh: Vec<u8> = top(n, 3, 4).into_iter().flat_map(u16::to_le_bytes).collect();
        [ONE.to_vec(), low(n), qh].concat()
    });
    found.extend(iq1.iter().map(|value| value - 0.125));

    let recorded = golden("quants/iq_components.bin");
    let expected: Vec<f32> = recorded.iter().map(|&byte| f32::from(byte as i8)).collect();
    assert_same_bits("codebooks", &found, &expected);
}
