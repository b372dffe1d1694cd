//! From a request to the ids of its prompt, and to what reads the reply.

use serde_json::Value;

use crate::chat::tools::Format;
use crate::chat::{ChatTemplate, PromptInput, ReplyOptions, ReplyParser, Time};
use crate::error::{Error, Result};
use crate::session::constrained::Talk;
use crate::session::leader::Leader;
use crate::session::request::Request;
use crate::tokenizer::{Span, TokenKind, Tokenizer};

/// What is known of the reply to a chat before it begins.
#[derive(Clone)]
pub(super) struct ChatReply {
    pub(super) parser: ReplyParser,
    /// What bears on a constraint.
    pub(super) talk: Talk,
    /// The model may think first: the prompt has not already ended its thoughts.
    pub(super) thinks: bool,
    /// The tokens that end thoughts.
    pub(super) closing: Option<Vec<u32>>,
}

/// The template's variable that switches thinking.
const THINKS: &str = "enable_thinking";

impl Leader {
    /// The ids of a request's prompt, and what reads the reply to a chat.
    pub(super) fn prompt(&mut self, request: &Request) -> Result<(Vec<u32>, Option<ChatReply>)> {
        if let Some(ids) = &request.prompt_tokens {
            if let Some(id) = ids.iter().find(|id| **id as usize >= self.tokenizer.len()) {
                return Err(self.no_such_token(*id));
            }
            return Ok((ids.clone(), None));
        }
        if let Some(text) = &request.prompt {
            return Ok((self.with_bos(self.tokenizer.encode(text, true)), None));
        }
        let template = self.template.as_ref().map_err(Error::clone)?;
        let now = request
            .now
            .map(|now| Time::from_unix(now.unix_seconds, now.utc_offset_minutes))
            .transpose()?;
        let mut input = PromptInput {
            messages: template.normalize(request.messages.as_ref().unwrap_or(&Value::Null))?,
            tools: request.tools.clone(),
            add_generation_prompt: true,
            variables: request.template_variables.clone(),
            now,
        };
        if let (Some(thinks), None) = (self.defaults.thinks(), input.variables.get(THINKS)) {
            input.variables.insert(THINKS.into(), thinks.into());
        }
        let spans = template.render(&input)?;
        let spans: Vec<_> = spans
            .iter()
            .map(|s| Span {
                text: &s.text,
                trusted: s.trusted,
            })
            .collect();
        let mut ids = self.with_bos(self.tokenizer.encode_spans(&spans));
        let mut options = ReplyOptions::for_prompt(template, &input)?;
        self.requests += 1;
        // After another start the same request has the same number, but hardly the same prompt.
        options.id_salt = ids.iter().fold(self.requests, |salt, id| {
            (salt ^ u64::from(*id)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let thinks = options.reasoning.is_some_and(|family| {
            !spans
                .last()
                .is_some_and(|last| last.text.trim_end().ends_with(family.close))
        });
        let (family, format) = (options.reasoning, options.tool_format);
        let closing = family.map(|family| self.tokenizer.encode(family.closing, true));
        let skipped = options.reasoning_open && request.thinking_budget == Some(0);
        let mut parser = ReplyParser::new(options);
        if let (true, Some(family), Some(closing)) = (skipped, family, &closing) {
            ids.extend(closing);
            parser.push(family.closing);
        }
        let reply = ChatReply {
            talk: Talk {
                format,
                thoughts: family
                    .filter(|_| thinks && !skipped)
                    .map(|family| (family.open, family.close)),
                thinking: parser.is_thinking(),
            },
            parser,
            thinks: thinks && !skipped,
            closing,
        };
        Ok((ids, Some(reply)))
    }

    /// The token that begins every text, where the file asks for it and the template has not written it.
    fn with_bos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let (true, Some(bos)) = (self.tokenizer.add_bos(), self.tokenizer.bos())
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        ids
    }
}

/// A token's literal text.
pub(super) fn spelling(tokenizer: &Tokenizer, id: u32) -> String {
    String::from_utf8_lossy(tokenizer.token_text(id)).into_owned()
}

/// How the tokens are spelled that text from a message must never become.
pub(super) fn control_spellings(tokenizer: &Tokenizer) -> Vec<String> {
    (0..tokenizer.len() as u32)
        .filter(|id| matches!(tokenizer.kind(*id), TokenKind::Control | TokenKind::Unknown))
        .map(|id| spelling(tokenizer, id))
        .filter(|text| !text.is_empty())
        .collect()
}

/// The control tokens that this model's replies may contain as markup of thoughts and tool calls, by ascending id.
pub(super) fn markup_tokens(tokenizer: &Tokenizer, template: &ChatTemplate) -> Vec<(u32, String)> {
    let reasoning = template.reasoning();
    let reasoning = reasoning.iter().flat_map(|family| [family.open, family.close]);
    let calls = template.tool_format().into_iter().flat_map(Format::markers);
    let markers: Vec<&str> = reasoning.chain(calls).collect();
    (0..tokenizer.len() as u32)
        .filter(|id| tokenizer.kind(*id) == TokenKind::Control)
        .map(|id| (id, spelling(tokenizer, id)))
        .filter(|(_, name)| !name.is_empty() && markers.iter().any(|marker| marker.contains(name.as_str())))
        .collect()
}
