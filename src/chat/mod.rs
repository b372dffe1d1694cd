//! Messages to a prompt (the file's own chat template), and generated text back to messages.
//! May import: `error`, `gguf`, `tokenizer`, `constrain`.
//!
//! One direction: [`messages::normalize`] brings what people send into the form that a template expects, and
//! [`ChatTemplate::render`] writes the prompt, with the text that came from messages marked ([`marking`]). The
//! other direction: [`ReplyParser`] splits generated text into answer, reasoning and tool calls as it arrives, and
//! [`StopMatcher`] ends it at a stop string.

mod bounds;
pub mod marking;
pub mod messages;
mod python;
pub mod reasoning;
pub mod reply;
mod source;
pub mod stop;
pub mod template;
pub mod time;
pub mod tools;

pub use marking::TextSpan;
pub use reasoning::Reasoning;
pub use reply::{Delta, ReplyOptions, ReplyParser, ToolCallDelta};
pub use stop::{Stop, StopMatcher};
pub use template::{ChatTemplate, PromptInput};
pub use time::Time;
