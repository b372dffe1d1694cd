//! Where a model writes its thoughts: the markers of each family, and whether a prompt already opened them.

/// The markers around a model's reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reasoning {
    /// Opens the thoughts.
    pub open: &'static str,
    /// Ends them.
    pub close: &'static str,
    /// What ends thoughts that are cut short: the marker with the white space that the family writes around it.
    pub closing: &'static str,
    /// The opening may come in the middle of an answer. Only where it is a control token, which the model does not
    /// write by accident; `<think>` in the middle of an answer is text about the tag.
    pub anywhere: bool,
}

/// Every family, most specific first.
pub const FAMILIES: [Reasoning; 4] = [
    // Gemma 4
    Reasoning {
        open: "<|channel>thought\n",
        close: "<channel|>",
        closing: "\n<channel|>",
        anywhere: true,
    },
    // Magistral, Ministral 3 Reasoning
    Reasoning {
        open: "[THINK]",
        close: "[/THINK]",
        closing: "[/THINK]",
        anywhere: true,
    },
    // Qwen3, Qwen3.5, DeepSeek R1, SmolLM3, Nemotron, LFM2.5
    Reasoning {
        open: "<think>",
        close: "</think>",
        closing: "\n</think>\n\n",
        anywhere: false,
    },
    // Seed-OSS
    Reasoning {
        open: "<seed:think>",
        close: "</seed:think>",
        closing: "\n</seed:think>",
        anywhere: false,
    },
];

impl Reasoning {
    /// The family whose closing marker appears in the source of a chat template; `None` if the model does not reason.
    pub fn of_template(source: &str) -> Option<Reasoning> {
        FAMILIES.into_iter().find(|family| source.contains(family.close))
    }

    /// Whether thoughts are open at the end of this text: the generation prompt that a template appends
    /// ([`super::ChatTemplate::generation_prompt`]). Qwen3.5 and Nemotron open them in the prompt.
    pub fn is_open_after(&self, text: &str) -> bool {
        match (text.rfind(self.open.trim_end()), text.rfind(self.close)) {
            (Some(open), Some(close)) => open > close,
            (open, _) => open.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_and_state_from_text() {
        let qwen = Reasoning::of_template("... content.split('</think>') ...").unwrap();
        assert_eq!(qwen.open, "<think>");
        assert!(qwen.is_open_after("<|im_start|>assistant\n<think>\n"));
        assert!(!qwen.is_open_after("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
        assert!(!qwen.is_open_after("<|im_start|>assistant\n"));
        let gemma = Reasoning::of_template("{{ text.split('<channel|>') }}").unwrap();
        assert!(!gemma.is_open_after("<|turn>model\n<|channel>thought\n<channel|>"));
        assert!(gemma.is_open_after("<|turn>model\n<|channel>thought\n"));
        assert_eq!(Reasoning::of_template("{{ messages }}"), None);
    }
}
