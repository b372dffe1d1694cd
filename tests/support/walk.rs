//! Walks texts through a constraint: what a model would have to choose to write them.

use std::path::Path;
use std::sync::Arc;

use fanlight::Result;
use fanlight::constrain::{Constraints, Grammar, Local};
use fanlight::gguf::Gguf;
use fanlight::source::ByteSource;
use fanlight::tokenizer::Tokenizer;

/// A tokenizer and its vocabulary as constraints need it.
pub struct Words {
    pub tokenizer: Arc<Tokenizer>,
    pub constraints: Local<Tokenizer>,
    /// Token ids by their first byte.
    by_first: Vec<Vec<u32>>,
}

impl Words {
    /// Of a GGUF file; only its metadata are read.
    pub fn load(path: &Path) -> Words {
        let file = std::fs::File::open(path).unwrap();
        let gguf = Gguf::read_parts(&[&file as &dyn ByteSource]).unwrap();
        let tokenizer = Arc::new(Tokenizer::from_metadata(&gguf.metadata).unwrap());
        let constraints = Local::new(Arc::clone(&tokenizer));
        let mut by_first = vec![Vec::new(); 256];
        for id in 0..tokenizer.len() as u32 {
            if let Some(first) = tokenizer.token_bytes(id).first() {
                by_first[usize::from(*first)].push(id);
            }
        }
        Words {
            tokenizer,
            constraints,
            by_first,
        }
    }

    /// Whether the constraint lets a model write exactly this text and end there.
    pub fn writes(&self, grammar: &Grammar, text: &str) -> Result<bool> {
        let mut constraint = self.constraints.begin(grammar)?;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if constraint.is_complete() {
                return Ok(false);
            }
            let allowed = constraint.allowed()?;
            let fits = |id: &&u32| {
                let bytes = self.tokenizer.token_bytes(**id);
                rest.starts_with(bytes) && allowed[**id as usize / 32] >> (**id % 32) & 1 == 1
            };
            let longest = self.by_first[usize::from(rest[0])]
                .iter()
                .filter(fits)
                .max_by_key(|id| self.tokenizer.token_bytes(**id).len());
            let Some(id) = longest else {
                return Ok(false);
            };
            constraint.accept(*id)?;
            rest = &rest[self.tokenizer.token_bytes(*id).len()..];
        }
        Ok(constraint.may_end())
    }
}
