//! The metadata of a file: ordered keys, each with a typed value.

use std::borrow::Cow;

use crate::error::Result;

use super::array::{Array, Strings, read_bool};
use super::cursor::{Cursor, malformed, out_of_memory};

/// The least that one key takes in the file: an empty key's length, one byte of key, the type, one byte of value.
const MIN_ENTRY_BYTES: u64 = 8 + 1 + 4 + 1;

/// The longest key that the format allows.
const MAX_KEY: usize = 65_535;

/// One value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are the types
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// Should be UTF-8, and is when [`Metadata::str`] returned it.
    String(Vec<u8>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// What type this is, for people: `u32`, `array of 3 string`.
    pub fn type_name(&self) -> Cow<'static, str> {
        match self {
            Value::U8(_) => "u8".into(),
            Value::I8(_) => "i8".into(),
            Value::U16(_) => "u16".into(),
            Value::I16(_) => "i16".into(),
            Value::U32(_) => "u32".into(),
            Value::I32(_) => "i32".into(),
            Value::F32(_) => "f32".into(),
            Value::Bool(_) => "bool".into(),
            Value::String(_) => "string".into(),
            Value::Array(a) => format!("array of {} {}", a.len(), a.element_name()).into(),
            Value::U64(_) => "u64".into(),
            Value::I64(_) => "i64".into(),
            Value::F64(_) => "f64".into(),
        }
    }

    /// The value as i128 if it is an integer of any width: wide enough for u64 and i64.
    fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(n) => n.into(),
            Value::I8(n) => n.into(),
            Value::U16(n) => n.into(),
            Value::I16(n) => n.into(),
            Value::U32(n) => n.into(),
            Value::I32(n) => n.into(),
            Value::U64(n) => n.into(),
            Value::I64(n) => n.into(),
            Value::F32(_) | Value::F64(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) => {
                return None;
            }
        })
    }

    /// The next value of the header: type, then value.
    fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self> {
        Ok(match cursor.u32(what)? {
            0 => Value::U8(u8::from_le_bytes(cursor.array(what)?)),
            1 => Value::I8(i8::from_le_bytes(cursor.array(what)?)),
            2 => Value::U16(u16::from_le_bytes(cursor.array(what)?)),
            3 => Value::I16(i16::from_le_bytes(cursor.array(what)?)),
            4 => Value::U32(u32::from_le_bytes(cursor.array(what)?)),
            5 => Value::I32(i32::from_le_bytes(cursor.array(what)?)),
            6 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
            7 => Value::Bool(read_bool(u8::from_le_bytes(cursor.array(what)?), what)?),
            8 => Value::String(cursor.string(what)?),
            9 => Value::Array(Array::read(cursor, what)?),
            10 => Value::U64(u64::from_le_bytes(cursor.array(what)?)),
            11 => Value::I64(i64::from_le_bytes(cursor.array(what)?)),
            12 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
            other => return Err(malformed(format!("{what} has type {other}; types are 0 to 12"))),
        })
    }
}

/// The metadata of a file, in file order.
///
/// The typed getters give `Ok(None)` for an absent key, and an error that names the key, the type found and the
/// type expected if the value does not fit. Integers of every width are accepted where an integer is expected:
/// real files are lax about this.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    /// Numbers of the entries, in the order of their keys.
    by_key: Vec<u32>,
}

impl Metadata {
    /// The next `count` keys of the header.
    pub(super) fn read(cursor: &mut Cursor<'_>, count: u64) -> Result<Self> {
        cursor.expect_records(count, MIN_ENTRY_BYTES, "metadata keys")?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let key = cursor.name(MAX_KEY, "a metadata key")?;
            let value = Value::read(cursor, &format!("metadata key {key:?}"))?;
            entries
                .try_reserve(1)
                .map_err(|_| out_of_memory(count, "metadata keys"))?;
            entries.push((key, value));
        }
        let by_key = sorted_unique(&entries, |(key, _)| key, "metadata key")?;
        Ok(Metadata { entries, by_key })
    }

    /// Drops the arrays whose keys begin so, and their memory.
    pub fn forget_arrays(&mut self, prefix: &str) {
        let kept =
            |(key, value): &(String, Value)| !(key.starts_with(prefix) && matches!(value, Value::Array(_)));
        self.entries.retain(kept);
        self.by_key = sorted(&self.entries, |(key, _)| key);
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All keys with their values, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self
            .by_key
            .binary_search_by(|&i| self.entries[i as usize].0.as_str().cmp(key))
            .ok()?;
        Some(&self.entries[self.by_key[found] as usize].1)
    }

    /// An integer that fits u32.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "an integer of 32 bits", |value| {
            value.integer()?.try_into().ok()
        })
    }

    /// An integer that fits u64.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "an integer that is not negative", |value| {
            value.integer()?.try_into().ok()
        })
    }

    /// An integer that fits i32.
    pub fn i32(&self, key: &str) -> Result<Option<i32>> {
        self.typed(key, "a signed integer of 32 bits", |value| {
            value.integer()?.try_into().ok()
        })
    }

    /// A number: f32, f64 or an integer.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a number", |value| match value {
            Value::F32(n) => Some(*n),
            Value::F64(n) => Some(*n as f32),
            other => other.integer().map(|n| n as f32),
        })
    }

    /// A bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a bool", |value| {
            if let Value::Bool(b) = value {
                Some(*b)
            } else {
                None
            }
        })
    }

    /// A string, which must be UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string of UTF-8", |value| match value {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    }

    /// An array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&Strings>> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(Array::Strings(strings)) => Some(strings),
            _ => None,
        })
    }

    /// An array of f32.
    pub fn f32s(&self, key: &str) -> Result<Option<&[f32]>> {
        self.typed(key, "an array of f32", |value| match value {
            Value::Array(Array::F32(numbers)) => Some(numbers.as_slice()),
            _ => None,
        })
    }

    /// An array of integers that all fit i32.
    pub fn i32s(&self, key: &str) -> Result<Option<Cow<'_, [i32]>>> {
        self.typed(
            key,
            "an array of signed integers of 32 bits",
            |value| match value {
                Value::Array(Array::I32(numbers)) => Some(Cow::Borrowed(numbers.as_slice())),
                Value::Array(array) => integers(array).map(Cow::Owned),
                _ => None,
            },
        )
    }

    /// An array of integers that all fit u32.
    pub fn u32s(&self, key: &str) -> Result<Option<Cow<'_, [u32]>>> {
        self.typed(key, "an array of integers of 32 bits", |value| match value {
            Value::Array(Array::U32(numbers)) => Some(Cow::Borrowed(numbers.as_slice())),
            Value::Array(array) => integers(array).map(Cow::Owned),
            _ => None,
        })
    }

    /// `n` integers that fit u32, from an array of that length, or from one integer, repeated. For the keys that
    /// may differ from block to block.
    pub fn u32_or_array(&self, key: &str, n: usize) -> Result<Option<Vec<u32>>> {
        let expected = format!("an integer of 32 bits, or an array of {n} of them");
        self.typed(key, &expected, |value| match value {
            Value::Array(array) if array.len() == n => integers(array),
            value => Some(vec![value.integer()?.try_into().ok()?; n]),
        })
    }

    /// `n` bools, from an array of that length, or from one bool, repeated.
    pub fn bool_or_array(&self, key: &str, n: usize) -> Result<Option<Vec<bool>>> {
        self.typed(
            key,
            &format!("a bool, or an array of {n} bools"),
            |value| match value {
                Value::Array(Array::Bool(bools)) if bools.len() == n => Some(bools.clone()),
                Value::Bool(b) => Some(vec![*b; n]),
                _ => None,
            },
        )
    }

    /// `n` numbers, from an array of f32 of that length, or from one number, repeated.
    pub fn f32_or_array(&self, key: &str, n: usize) -> Result<Option<Vec<f32>>> {
        match self.get(key) {
            Some(Value::Array(_)) => {
                self.typed(
                    key,
                    &format!("a number, or an array of {n} f32"),
                    |value| match value {
                        Value::Array(Array::F32(numbers)) if numbers.len() == n => Some(numbers.clone()),
                        _ => None,
                    },
                )
            }
            _ => Ok(self.f32(key)?.map(|number| vec![number; n])),
        }
    }

    /// What `convert` makes of the value of `key`; an error if that is nothing.
    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => {
                let found = match value.integer() {
                    Some(n) => format!("{n} ({})", value.type_name()),
                    None => value.type_name().into_owned(),
                };
                Err(malformed(format!(
                    "metadata key {key:?} should be {expected}, but is {found}"
                )))
            }
        }
    }
}

/// All elements, if they are integers that fit.
fn integers<T: TryFrom<i128>>(array: &Array) -> Option<Vec<T>> {
    array.integers()?.map(|n| T::try_from(n).ok()).collect()
}

/// The numbers of `items` in the order of their names; an error if two names are equal. Sorting needs no more
/// memory than this list, and no input makes it slow.
pub(super) fn sorted_unique<T>(items: &[T], name: impl Fn(&T) -> &str, what: &str) -> Result<Vec<u32>> {
    let order = sorted(items, &name);
    for pair in order.windows(2) {
        let (a, b) = (name(&items[pair[0] as usize]), name(&items[pair[1] as usize]));
        if a == b {
            return Err(malformed(format!("{what} {a:?} is there twice")));
        }
    }
    Ok(order)
}

fn sorted<T>(items: &[T], name: impl Fn(&T) -> &str) -> Vec<u32> {
    let mut order: Vec<u32> = (0..items.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| name(&items[a as usize]).cmp(name(&items[b as usize])));
    order
}
