//! Logits to one token id: a chain of small filters, then a seeded choice. May import: `error`.
