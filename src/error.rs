//! One error for the whole engine: a stable kind, a message that helps, and where it happened.

use std::fmt;

/// What went wrong, as a stable code. The strings of [`Kind::code`] are public API: the same ones that
/// `FanlightError.code` carries in JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The first bytes are not a GGUF header (an HTML error page, say).
    NotAGguf,
    /// It is a GGUF file, and something in it is wrong or missing.
    MalformedFile,
    /// `general.architecture` names a model family that the engine does not have.
    UnsupportedArchitecture,
    /// A tensor has a type that the engine does not know.
    UnsupportedQuantization,
    /// The prompt, or the prompt and the answer, do not fit in the context.
    ContextFull,
    /// The chat template is invalid, ran out of fuel, or refused the messages.
    Template,
    /// A JSON schema or grammar cannot be used as a constraint.
    Schema,
    /// An option or argument has a value that makes no sense.
    InvalidArgument,
    /// Memory for the weights, the KV cache or the buffers could not be had.
    OutOfMemory,
    /// The byte source failed or returned fewer bytes than it promised.
    Integrity,
}

impl Kind {
    /// The stable code, the same in Rust and in JavaScript.
    pub fn code(self) -> &'static str {
        match self {
            Kind::NotAGguf => "not-a-gguf",
            Kind::MalformedFile => "malformed-file",
            Kind::UnsupportedArchitecture => "unsupported-architecture",
            Kind::UnsupportedQuantization => "unsupported-quantization",
            Kind::ContextFull => "context-full",
            Kind::Template => "template",
            Kind::Schema => "schema",
            Kind::InvalidArgument => "invalid-argument",
            Kind::OutOfMemory => "out-of-memory",
            Kind::Integrity => "integrity",
        }
    }
}

/// A failure: its [`Kind`], and a message that says what was found, what was expected and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The stable kind.
    pub kind: Kind,
    /// For people. May change between versions.
    pub message: String,
}

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
        }
    }

    /// The same error, saying where it happened: `context: message`.
    pub fn at(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.kind.code())
    }
}

impl std::error::Error for Error {}

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;
