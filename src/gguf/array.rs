//! Arrays of metadata: numbers in one vector, strings in one arena.

use std::fmt;

use crate::error::Result;

use super::cursor::{Cursor, malformed, out_of_memory};

/// Many strings in one buffer, so that a vocabulary of 248,320 tokens is two allocations. A string may be any
/// bytes: tokens need not be UTF-8.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where in `bytes` each string ends. The next one begins there.
    ends: Vec<u32>,
}

impl Strings {
    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String number `i`. Panics if there are not that many.
    pub fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.bytes[start..self.ends[i] as usize]
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// The next `count` strings of the header.
    fn read(cursor: &mut Cursor<'_>, count: u64, what: &str) -> Result<Self> {
        cursor.expect_records(count, 8, "strings")?;
        let mut strings = Strings::default();
        strings
            .ends
            .try_reserve_exact(count as usize)
            .map_err(|_| out_of_memory(count * 4, what))?;
        for _ in 0..count {
            cursor.append_string(&mut strings.bytes, what)?;
            // The arena holds bytes of one header, and headers are limited to far less than 4 GiB.
            strings.ends.push(strings.bytes.len() as u32);
        }
        Ok(strings)
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut all = Strings::default();
        for s in strings {
            all.bytes.extend_from_slice(s.as_ref());
            all.ends
                .push(u32::try_from(all.bytes.len()).expect("strings of less than 4 GiB together"));
        }
        all
    }
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(String::from_utf8_lossy))
            .finish()
    }
}

/// An array of metadata. All its elements have one type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are the element types
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Strings(Strings),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Array {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::Strings(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F64(v) => v.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the element type.
    pub fn element_name(&self) -> &'static str {
        match self {
            Array::U8(_) => "u8",
            Array::I8(_) => "i8",
            Array::U16(_) => "u16",
            Array::I16(_) => "i16",
            Array::U32(_) => "u32",
            Array::I32(_) => "i32",
            Array::F32(_) => "f32",
            Array::Bool(_) => "bool",
            Array::Strings(_) => "string",
            Array::U64(_) => "u64",
            Array::I64(_) => "i64",
            Array::F64(_) => "f64",
        }
    }

    /// The elements as i128, if they are integers: wide enough for u64 and i64.
    pub(super) fn integers(&self) -> Option<Box<dyn Iterator<Item = i128> + '_>> {
        Some(match self {
            Array::U8(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::I8(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::U16(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::I16(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::U32(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::I32(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::U64(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::I64(v) => Box::new(v.iter().map(|&n| n.into())),
            Array::F32(_) | Array::F64(_) | Array::Bool(_) | Array::Strings(_) => return None,
        })
    }

    /// The next array of the header: element type, count, elements.
    pub(super) fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self> {
        let element = cursor.u32(what)?;
        let count = cursor.u64(what)?;
        Ok(match element {
            0 => Array::U8(cursor.numbers(count, what, u8::from_le_bytes)?),
            1 => Array::I8(cursor.numbers(count, what, i8::from_le_bytes)?),
            2 => Array::U16(cursor.numbers(count, what, u16::from_le_bytes)?),
            3 => Array::I16(cursor.numbers(count, what, i16::from_le_bytes)?),
            4 => Array::U32(cursor.numbers(count, what, u32::from_le_bytes)?),
            5 => Array::I32(cursor.numbers(count, what, i32::from_le_bytes)?),
            6 => Array::F32(cursor.numbers(count, what, f32::from_le_bytes)?),
            7 => {
                let bytes = cursor.numbers(count, what, u8::from_le_bytes)?;
                Array::Bool(
                    bytes
                        .into_iter()
                        .map(|byte| read_bool(byte, what))
                        .collect::<Result<_>>()?,
                )
            }
            8 => Array::Strings(Strings::read(cursor, count, what)?),
            9 => {
                return Err(malformed(format!(
                    "{what} is an array of arrays, which is not supported"
                )));
            }
            10 => Array::U64(cursor.numbers(count, what, u64::from_le_bytes)?),
            11 => Array::I64(cursor.numbers(count, what, i64::from_le_bytes)?),
            12 => Array::F64(cursor.numbers(count, what, f64::from_le_bytes)?),
            other => {
                return Err(malformed(format!(
                    "{what} is an array of type {other}; types are 0 to 12"
                )));
            }
        })
    }
}

/// A bool is one byte, 0 or 1.
pub(super) fn read_bool(byte: u8, what: &str) -> Result<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(malformed(format!(
            "{what} is a bool, which is 0 or 1, but {other} was found"
        ))),
    }
}
