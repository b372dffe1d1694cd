//! From metadata to a tokenizer. The metadata are those of a stranger's file: every length is held against
//! the number of tokens, every id against the vocabulary.

use std::borrow::Cow;

use super::bpe::Bpe;
use super::pre::{self, Rule};
use super::special::Specials;
use super::spm::Spm;
use super::vocab::{Spelling, TokenKind, Vocab};
use super::{Model, Roles, Tokenizer};
use crate::error::{Error, Kind, Result};
use crate::gguf::{Metadata, Strings};

/// Tokens that are known by name where no key tells their id: most files tell only BOS and EOS.
struct Known {
    /// Keys that tell the id, the first one first; without `tokenizer.ggml.`.
    keys: &'static [&'static str],
    /// Names to look for when no key does, the first one first.
    names: &'static [&'static str],
    ends_generation: bool,
}

const EOT: Known = Known {
    keys: &["eot_token_id"],
    names: &[
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "<｜end▁of▁sentence｜>",
        "<end_of_utterance>",
    ],
    ends_generation: true,
};

const EOM: Known = Known {
    keys: &["eom_token_id"],
    names: &["<|eom_id|>"],
    ends_generation: true,
};

/// The tokens for filling in the middle. Nothing here uses them, but their names are those of control tokens.
const FILL_IN: [Known; 6] = [
    Known {
        keys: &["fim_pre_token_id", "prefix_token_id"],
        names: &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
        ends_generation: false,
    },
    Known {
        keys: &["fim_suf_token_id", "suffix_token_id"],
        names: &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
        ends_generation: false,
    },
    Known {
        keys: &["fim_mid_token_id", "middle_token_id"],
        names: &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
        ends_generation: false,
    },
    Known {
        keys: &["fim_pad_token_id"],
        names: &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
        ends_generation: true,
    },
    Known {
        keys: &["fim_rep_token_id"],
        names: &[
            "<|fim_repo|>",
            "<|repo_name|>",
            "<fim-repo>",
            "<REPO>",
            "<reponame>",
        ],
        ends_generation: true,
    },
    Known {
        keys: &["fim_sep_token_id"],
        names: &["<|file_sep|>"],
        ends_generation: true,
    },
];

/// Names that end generation wherever a vocabulary has them.
const ENDS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// The frame of a message in the harmony format: text to the parser above, so never hidden.
const SHOWN: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// The work of [`Tokenizer::from_metadata`].
pub(super) fn tokenizer(meta: &Metadata) -> Result<Tokenizer> {
    let model = meta.str(&key("model"))?.ok_or_else(|| missing("model"))?;
    let (spelling, rule, defaults) = family(meta, model)?;
    let tokens = meta
        .strings(&key("tokens"))?
        .filter(|tokens| !tokens.is_empty())
        .ok_or_else(|| missing("tokens"))?;

    let mut kinds = token_kinds(meta, tokens)?;
    let mut roles = Roles {
        bos: id(meta, tokens, &["bos_token_id"], defaults.bos)?,
        eos: id(meta, tokens, &["eos_token_id"], defaults.eos)?,
        unknown: id(meta, tokens, &["unknown_token_id"], defaults.unknown)?,
        // The first spelling is the one that files use.
        separator: id(meta, tokens, &["seperator_token_id", "separator_token_id"], None)?,
        pad: id(meta, tokens, &["padding_token_id"], None)?,
        ..Roles::default()
    };
    let end_of_generation = known_tokens(meta, tokens, &mut kinds, &mut roles)?;
    let suppressed = suppressed(meta, tokens, &kinds, &end_of_generation)?;

    let vocab = Vocab::new(spelling, tokens.iter().zip(kinds.iter().copied()), tokens.len())?;
    let name = meta
        .get("general.name")
        .and(meta.str("general.name").ok().flatten())
        .unwrap_or("")
        .to_lowercase();
    let phi3 = name.contains("phi-3") || name.contains("phi3");
    let specials = Specials::new(&vocab, |id| {
        // Which tokens swallow the space after them is in no key; Phi-3's tokenizer says it of these.
        phi3 && !matches!(vocab.text(id), b"<unk>" | b"<s>" | b"<|endoftext|>")
    })?;
    let model = match rule {
        Some(rule) => {
            let merges = meta.strings(&key("merges"))?.ok_or_else(|| missing("merges"))?;
            let bpe = Bpe::new(&vocab, spelling, merges.iter(), merges.len())?;
            Model::Bpe {
                bpe,
                rule,
                space_mark: spelling == Spelling::SpaceMark,
            }
        }
        None => Model::Spm(Spm::new(&vocab, scores(meta, tokens)?, roles.unknown)),
    };
    let add_bos = match spelling {
        // Gemma 4's files say false, and its templates print no BOS.
        Spelling::SpaceMark if matches!(model, Model::Bpe { .. }) => true,
        _ => meta.bool(&key("add_bos_token"))?.unwrap_or(defaults.add_bos),
    };
    Ok(Tokenizer {
        vocab,
        specials,
        roles,
        add_bos: add_bos && roles.bos.is_some(),
        add_eos: meta.bool(&key("add_eos_token"))?.unwrap_or(false) && roles.eos.is_some(),
        add_space_prefix: meta
            .bool(&key("add_space_prefix"))?
            .unwrap_or(defaults.add_space_prefix),
        clean_spaces: rule.is_some_and(|rule| rule.clean_spaces),
        end_of_generation,
        suppressed,
        model,
    })
}

/// What holds when no key says otherwise.
#[derive(Default)]
struct Defaults {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    add_bos: bool,
    add_space_prefix: bool,
}

/// The family that `tokenizer.ggml.model` names: how it spells, how it splits (not at all: SentencePiece),
/// its defaults.
fn family(meta: &Metadata, model: &str) -> Result<(Spelling, Option<Rule>, Defaults)> {
    match model {
        "gpt2" => {
            let name = meta
                .str(&key("pre"))?
                .filter(|name| !name.is_empty())
                .unwrap_or("default");
            let rule = Rule::named(name).ok_or_else(|| {
                let message = format!(
                    "the file wants the pre-tokenizer {name:?} (tokenizer.ggml.pre), which Fanlight does not have; it has {}",
                    pre::NAMES
                );
                Error::new(Kind::UnsupportedArchitecture, message)
            })?;
            Ok((
                Spelling::ByteLevel,
                Some(rule),
                Defaults {
                    add_bos: rule.add_bos,
                    ..Defaults::default()
                },
            ))
        }
        "gemma4" => Ok((Spelling::SpaceMark, Some(Rule::GEMMA4), Defaults::default())),
        "llama" => Ok((
            Spelling::SpaceMark,
            None,
            Defaults {
                bos: Some(1),
                eos: Some(2),
                unknown: Some(0),
                add_bos: true,
                add_space_prefix: true,
            },
        )),
        other => Err(Error::new(
            Kind::UnsupportedArchitecture,
            format!(
                "the file wants the tokenizer {other:?} (tokenizer.ggml.model), which Fanlight does not have; it has gpt2 \
                 (byte-level BPE), llama (SentencePiece) and gemma4"
            ),
        )),
    }
}

/// The kind of every token. Files without `token_type` leave special tokens to be told by their `<|…|>`.
fn token_kinds(meta: &Metadata, tokens: &Strings) -> Result<Vec<TokenKind>> {
    let Some(types) = meta.i32s(&key("token_type"))? else {
        let looks_special = |text: &[u8]| text.len() > 4 && text.starts_with(b"<|") && text.ends_with(b"|>");
        let kind = |text| {
            if looks_special(text) {
                TokenKind::Control
            } else {
                TokenKind::Normal
            }
        };
        return Ok(tokens.iter().map(kind).collect());
    };
    if types.len() < tokens.len() {
        return Err(too_short("token_type", types.len(), tokens.len()));
    }
    Ok(types
        .iter()
        .take(tokens.len())
        .map(|&number| TokenKind::from_file(number))
        .collect())
}

/// The scores, one for each token or none at all.
fn scores<'a>(meta: &'a Metadata, tokens: &Strings) -> Result<&'a [f32]> {
    match meta.f32s(&key("scores"))? {
        Some(scores) if scores.len() < tokens.len() => Err(too_short("scores", scores.len(), tokens.len())),
        Some(scores) => Ok(scores),
        None => Ok(&[]),
    }
}

/// The first of these keys that tells an id of the vocabulary, else the default if it is one.
fn id(meta: &Metadata, tokens: &Strings, keys: &[&str], default: Option<u32>) -> Result<Option<u32>> {
    let mut found = None;
    for name in keys {
        if found.is_none() {
            // Files write -1 for "none" as well as leaving the key out.
            let told = match meta.get(&key(name)) {
                Some(_) => meta.u32(&key(name)).or_else(|error| match meta.i32(&key(name)) {
                    Ok(Some(-1)) => Ok(None),
                    _ => Err(error),
                })?,
                None => None,
            };
            found = told.filter(|&id| (id as usize) < tokens.len());
        }
    }
    Ok(found.or(default.filter(|&id| (id as usize) < tokens.len())))
}

/// Finds the tokens that are known by name, corrects their kinds, and gives the set that ends generation,
/// ascending.
fn known_tokens(
    meta: &Metadata,
    tokens: &Strings,
    kinds: &mut [TokenKind],
    roles: &mut Roles,
) -> Result<Vec<u32>> {
    let named = Named::collect(tokens);
    let mut ends: Vec<u32> = Vec::new();
    let mut find = |known: &Known| -> Result<Option<u32>> {
        let mut found = id(meta, tokens, known.keys, None)?;
        if found.is_none() {
            found = known.names.iter().find_map(|name| named.get(name));
            if let Some(id) = found {
                kinds[id as usize] = TokenKind::Control;
            }
        }
        ends.extend(found.filter(|_| known.ends_generation));
        Ok(found)
    };
    roles.eot = find(&EOT)?;
    roles.eom = find(&EOM)?;
    for known in &FILL_IN {
        find(known)?;
    }
    ends.extend(roles.eos);
    for id in ENDS.iter().filter_map(|name| named.get(name)) {
        kinds[id as usize] = TokenKind::Control;
        ends.push(id);
    }
    for id in SHOWN.iter().filter_map(|name| named.get(name)) {
        kinds[id as usize] = TokenKind::UserDefined;
    }
    let has = |ends: &[u32], name| named.get(name).filter(|id| ends.contains(id));
    let mut take_back = |ends: &mut Vec<u32>, id: u32, kind| {
        ends.retain(|&end| end != id);
        kinds[id as usize] = kind;
    };
    // In the harmony format `<|end|>` ends a message and not the turn.
    if let Some(end) = has(&ends, "<|end|>") {
        let call = has(&ends, "<|call|>").or(has(&ends, "<|calls|>"));
        if call.is_some() && (has(&ends, "<|return|>").is_some() || has(&ends, "<|flush|>").is_some()) {
            take_back(&mut ends, end, TokenKind::UserDefined);
        }
    }
    // In Gemma 4's vocabulary `</s>` is HTML.
    if let (Some(tag), Some(_)) = (has(&ends, "</s>"), has(&ends, "<|tool_response>")) {
        take_back(&mut ends, tag, TokenKind::Normal);
    }
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

/// The tokens that must not be sampled, ascending; never one that ends generation.
fn suppressed(meta: &Metadata, tokens: &Strings, kinds: &[TokenKind], ends: &[u32]) -> Result<Vec<u32>> {
    let listed = meta.i32s(&key("suppress_tokens"))?.unwrap_or(Cow::Borrowed(&[]));
    let mut ids: Vec<u32> = listed.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
    for (id, (text, kind)) in tokens.iter().zip(kinds).enumerate() {
        let filler = match kind {
            TokenKind::Unused => true,
            TokenKind::Control => text.windows(6).any(|window| window == b"unused"),
            // Converters pad the vocabulary to the rows of the output matrix with `[PAD<id>]`, of changing
            // types.
            _ => text.is_empty() || (text.starts_with(b"[PAD") && text == format!("[PAD{id}]").as_bytes()),
        };
        if filler {
            ids.push(id as u32);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| (*id as usize) < tokens.len() && ends.binary_search(id).is_err());
    Ok(ids)
}

/// Where the names of the tables above are in this vocabulary.
struct Named {
    found: Vec<(&'static str, u32)>,
}

impl Named {
    fn collect(tokens: &Strings) -> Named {
        let known = FILL_IN.iter().chain([&EOT, &EOM]).flat_map(|known| known.names);
        let names: Vec<&'static str> = known.chain(&ENDS).chain(&SHOWN).copied().collect();
        let mut found = Vec::new();
        for (id, text) in tokens.iter().enumerate() {
            // All names begin with one of these; nearly all tokens do not.
            if !text.first().is_some_and(|first| b"<[_\xe2".contains(first)) {
                continue;
            }
            if let Some(name) = names.iter().find(|name| name.as_bytes() == text) {
                found.push((*name, id as u32));
            }
        }
        Named { found }
    }

    fn get(&self, name: &str) -> Option<u32> {
        self.found
            .iter()
            .find(|found| found.0 == name)
            .map(|found| found.1)
    }
}

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

fn missing(name: &str) -> Error {
    Error::new(
        Kind::MalformedFile,
        format!("the file has no tokenizer.ggml.{name}; a model file brings its vocabulary"),
    )
}

fn too_short(name: &str, found: usize, tokens: usize) -> Error {
    Error::new(
        Kind::MalformedFile,
        format!("tokenizer.ggml.{name} has {found} entries for {tokens} tokens"),
    )
}
