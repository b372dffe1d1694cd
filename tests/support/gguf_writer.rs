//! Writes GGUF files for tests: well-formed ones in a line or two, and broken ones by overriding single fields.
//!
//! ```ignore
//! let bytes = Writer::new().key("general.architecture", "llama").f32s("output_norm.weight", &[2], &[1.0, 2.0]).build();
//! ```

use fanlight::gguf::{Array, Strings, Value};
use fanlight::quant::Type;

/// A file in the making. The fields that are `Option` replace what would be written: they are there to lie.
#[derive(Clone)]
pub struct Writer {
    pub magic: [u8; 4],
    pub version: u32,
    /// Padding of the data. [`Writer::alignment`] sets it together with its key.
    pub alignment: usize,
    pub key_count: Option<u64>,
    pub tensor_count: Option<u64>,
    pub keys: Vec<Key>,
    pub tensors: Vec<Tensor>,
}

/// A key and its value: the type, and the bytes that follow it.
#[derive(Clone)]
pub struct Key {
    pub name: Vec<u8>,
    pub ty: u32,
    pub value: Vec<u8>,
}

/// A tensor and its data.
#[derive(Clone)]
pub struct Tensor {
    pub name: Vec<u8>,
    pub n_dims: Option<u32>,
    pub dims: Vec<u64>,
    pub ty: u32,
    pub offset: Option<u64>,
    pub data: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            key_count: None,
            tensor_count: None,
            keys: Vec::new(),
            tensors: Vec::new(),
        }
    }
}

impl Writer {
    /// An empty file of version 3.
    pub fn new() -> Self {
        Writer::default()
    }

    /// Adds a key. Numbers, bools, `&str`, `Value` and `Array` become values.
    pub fn key(mut self, name: &str, value: impl IntoValue) -> Self {
        let value = value.into_value();
        self.keys.push(Key {
            name: name.into(),
            ty: type_id(&value),
            value: value_bytes(&value),
        });
        self
    }

    /// Adds a key with an array of strings.
    pub fn strings<S: AsRef<[u8]>>(self, name: &str, strings: impl IntoIterator<Item = S>) -> Self {
        self.key(name, Array::Strings(strings.into_iter().collect::<Strings>()))
    }

    /// Adds `general.alignment`, and keeps to it.
    pub fn alignment(mut self, alignment: u32) -> Self {
        self.alignment = alignment as usize;
        self.key("general.alignment", alignment)
    }

    /// Adds a tensor.
    pub fn tensor(mut self, name: &str, ty: Type, dims: &[u64], data: Vec<u8>) -> Self {
        self.tensors.push(Tensor {
            name: name.into(),
            n_dims: None,
            dims: dims.to_vec(),
            ty: ty.id(),
            offset: None,
            data,
        });
        self
    }

    /// Adds a tensor of F32.
    pub fn f32s(self, name: &str, dims: &[u64], values: &[f32]) -> Self {
        let count: u64 = dims.iter().product();
        assert_eq!(count, values.len() as u64, "shape of {name}");
        self.tensor(
            name,
            Type::F32,
            dims,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// The bytes of the file. Tensors follow each other, each padded to the alignment.
    pub fn build(&self) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(self.magic);
        file.extend(self.version.to_le_bytes());
        file.extend(
            self.tensor_count
                .unwrap_or(self.tensors.len() as u64)
                .to_le_bytes(),
        );
        file.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for key in &self.keys {
            put_string(&mut file, &key.name);
            file.extend(key.ty.to_le_bytes());
            file.extend(&key.value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            put_string(&mut file, &tensor.name);
            file.extend(tensor.n_dims.unwrap_or(tensor.dims.len() as u32).to_le_bytes());
            file.extend(tensor.dims.iter().flat_map(|n| n.to_le_bytes()));
            file.extend(tensor.ty.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        if !self.tensors.is_empty() {
            file.resize(file.len().next_multiple_of(self.alignment), 0);
        }
        file.extend(data);
        file
    }
}

/// What can stand as the value of a key.
pub trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for Value {
    fn into_value(self) -> Value {
        self
    }
}

impl IntoValue for Array {
    fn into_value(self) -> Value {
        Value::Array(self)
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::String(self.into())
    }
}

impl IntoValue for bool {
    fn into_value(self) -> Value {
        Value::Bool(self)
    }
}

impl IntoValue for u32 {
    fn into_value(self) -> Value {
        Value::U32(self)
    }
}

impl IntoValue for f32 {
    fn into_value(self) -> Value {
        Value::F32(self)
    }
}

impl IntoValue for Vec<i32> {
    fn into_value(self) -> Value {
        Value::Array(Array::I32(self))
    }
}

impl IntoValue for Vec<f32> {
    fn into_value(self) -> Value {
        Value::Array(Array::F32(self))
    }
}

fn put_string(file: &mut Vec<u8>, bytes: &[u8]) {
    file.extend((bytes.len() as u64).to_le_bytes());
    file.extend(bytes);
}

/// The number that the file format gives a value's type.
fn type_id(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

/// The bytes of a value, after its type.
fn value_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::U8(n) => n.to_le_bytes().into(),
        Value::I8(n) => n.to_le_bytes().into(),
        Value::U16(n) => n.to_le_bytes().into(),
        Value::I16(n) => n.to_le_bytes().into(),
        Value::U32(n) => n.to_le_bytes().into(),
        Value::I32(n) => n.to_le_bytes().into(),
        Value::F32(n) => n.to_le_bytes().into(),
        Value::Bool(b) => vec![u8::from(*b)],
        Value::String(s) => {
            let mut bytes = Vec::new();
            put_string(&mut bytes, s);
            bytes
        }
        Value::Array(array) => array_bytes(array),
        Value::U64(n) => n.to_le_bytes().into(),
        Value::I64(n) => n.to_le_bytes().into(),
        Value::F64(n) => n.to_le_bytes().into(),
    }
}

/// The bytes of an array: element type, count, elements.
fn array_bytes(array: &Array) -> Vec<u8> {
    let (id, elements): (u32, Vec<u8>) = match array {
        Array::U8(v) => (0, v.clone()),
        Array::I8(v) => (1, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::U16(v) => (2, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::I16(v) => (3, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::U32(v) => (4, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::I32(v) => (5, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::F32(v) => (6, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::Bool(v) => (7, v.iter().map(|&b| u8::from(b)).collect()),
        Array::Strings(v) => {
            let mut bytes = Vec::new();
            v.iter().for_each(|s| put_string(&mut bytes, s));
            (8, bytes)
        }
        Array::U64(v) => (10, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::I64(v) => (11, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Array::F64(v) => (12, v.iter().flat_map(|n| n.to_le_bytes()).collect()),
    };
    [
        &id.to_le_bytes()[..],
        &(array.len() as u64).to_le_bytes(),
        &elements,
    ]
    .concat()
}
