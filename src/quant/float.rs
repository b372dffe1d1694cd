//! Plain numbers: a "block" is one value. Integers and f64 round to the nearest f32.

use half::{bf16, f16};

use super::block::{Block, Fields};

/// F32: four bytes, the value itself.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueF32(pub f32);

/// F16: IEEE half precision.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueF16(pub f16);

/// BF16: the upper half of an f32.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueBf16(pub bf16);

/// F64: IEEE double precision.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueF64(pub f64);

/// I8: a signed byte.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueI8(pub i8);

/// I16: a signed 16-bit number.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueI16(pub i16);

/// I32: a signed 32-bit number.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueI32(pub i32);

/// I64: a signed 64-bit number.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ValueI64(pub i64);

impl Block for ValueF32 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueF32(f32::from_le_bytes(fields.bytes()))
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.0;
    }
}

impl Block for ValueF16 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueF16(fields.f16())
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.0.to_f32();
    }
}

impl Block for ValueBf16 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueBf16(bf16::from_le_bytes(fields.bytes()))
    }

    fn dequantize(&self, out: &mut [f32]) {
        // Shifted by hand: `bf16::to_f32` quiets NaNs, the format's definition does not.
        out[0] = f32::from_bits(u32::from(self.0.to_bits()) << 16);
    }
}

impl Block for ValueF64 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueF64(f64::from_le_bytes(fields.bytes()))
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.0 as f32;
    }
}

impl Block for ValueI8 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueI8(i8::from_le_bytes(fields.bytes()))
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = f32::from(self.0);
    }
}

impl Block for ValueI16 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueI16(i16::from_le_bytes(fields.bytes()))
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = f32::from(self.0);
    }
}

impl Block for ValueI32 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueI32(i32::from_le_bytes(fields.bytes()))
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.0 as f32;
    }
}

impl Block for ValueI64 {
    const LEN: usize = 1;

    fn read(fields: &mut Fields<'_>) -> Self {
        ValueI64(i64::from_le_bytes(fields.bytes()))
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = self.0 as f32;
    }
}
