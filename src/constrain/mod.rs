//! The set of tokens allowed next. The room for JSON Schema and grammars; empty today.
