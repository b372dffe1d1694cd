//! Splitting a text into the pieces within which byte-level BPE merges: the "pre-tokenizer" that
//! `tokenizer.ggml.pre` names. The published rules are regular expressions with look-ahead over Unicode
//! classes; here each is a hand-written scanner, linear in the length of the text, so the product carries no
//! regex engine.
//!
//! A rule is a list of passes. Each pass cuts every piece that the pass before it left: what it matches is a
//! piece, and so is the text between two matches.

mod passes;
mod words;

/// What a pass says about one position of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A match begins here and ends before this byte.
    Match(usize),
    /// No match begins before this byte.
    Skip(usize),
}

/// One pass: looks at the byte position in the piece, which is a character boundary before the end of the
/// piece.
type Pass = fn(&str, usize) -> Step;

/// A split rule, with the habits of the tokenizers that bear its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    passes: &'static [Pass],
    /// A piece that is a token as a whole is that token, whatever the merges would make of it.
    pub(super) ignore_merges: bool,
    /// BOS is added unless the file says otherwise.
    pub(super) add_bos: bool,
    /// Whole-text decoding closes the gaps before punctuation and English contractions.
    pub(super) clean_spaces: bool,
}

/// The names for error messages: one for each rule.
pub(super) const NAMES: &str = "llama-bpe, qwen2, qwen35, gpt-2, smollm, starcoder, falcon, deepseek-llm, deepseek-coder, \
                                deepseek-v3, tekken, gpt-4o, default";

impl Rule {
    /// The rule of the tokenizer `gemma4`, which names none: newlines apart.
    pub(super) const GEMMA4: Rule = rule(&[passes::newline_runs]).and_clean();

    /// The rule that `tokenizer.ggml.pre` names, if the engine has it. Names that share a line share a rule.
    pub(super) fn named(name: &str) -> Option<Rule> {
        Some(match name {
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
            | "lfm2" => rule(&[words::llama3]).and_whole_tokens().and_bos().and_clean(),
            "smaug-bpe" | "dbrx" | "glm4" | "chatglm-bpe" => rule(&[words::llama3]).and_clean(),
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "hunyuan" | "solar-open" | "grok-2" => {
                rule(&[words::qwen2])
            }
            "stablelm2" | "megrez" => rule(&[words::qwen2]).and_clean(),
            "qwen35" => rule(&[words::qwen35]),
            "tekken" => rule(&[words::tekken]).and_whole_tokens().and_bos(),
            "gpt-4o" | "llama4" | "kanana2" => rule(&[words::gpt4o]),
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "exaone4" | "gigachat" | "a.x-4.0" | "mellum" => {
                rule(&[words::gpt2]).and_clean()
            }
            "trillion" | "granite-docling" => rule(&[words::gpt2]),
            "smollm" | "command-r" => rule(&[passes::digit, words::gpt2]),
            "starcoder" | "refact" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
                rule(&[passes::digit, words::gpt2]).and_clean()
            }
            "falcon" => rule(&[passes::falcon_punctuation, words::gpt2, passes::digit_triple]).and_clean(),
            "default" => {
                let passes: &'static [Pass] = &[
                    passes::default_punctuation,
                    words::gpt2,
                    passes::numbers,
                    passes::digit_triple,
                ];
                rule(passes).and_clean()
            }
            "deepseek-llm" => rule(&[
                passes::newline,
                passes::deepseek_letters,
                passes::deepseek_punctuation,
                passes::spaces_at_end,
                passes::cjk_and_hangul,
                passes::numbers,
            ]),
            "deepseek-coder" => rule(&[
                passes::newline,
                passes::space_and_letters,
                passes::space_and_punctuation,
                passes::cjk_and_hangul,
                passes::digit,
            ]),
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => rule(&[
                passes::up_to_three_numbers,
                passes::cjk_and_kana,
                words::deepseek_v3,
            ]),
            _ => return None,
        })
    }

    /// Calls `emit` with every piece of `text`, in order; together they are the text.
    pub(super) fn split<'t>(&self, text: &'t str, emit: &mut dyn FnMut(&'t str)) {
        split(text, self.passes, emit);
    }

    const fn and_whole_tokens(mut self) -> Rule {
        self.ignore_merges = true;
        self
    }

    const fn and_bos(mut self) -> Rule {
        self.add_bos = true;
        self
    }

    const fn and_clean(mut self) -> Rule {
        self.clean_spaces = true;
        self
    }
}

const fn rule(passes: &'static [Pass]) -> Rule {
    Rule {
        passes,
        ignore_merges: false,
        add_bos: false,
        clean_spaces: false,
    }
}

fn split<'t>(text: &'t str, passes: &[Pass], emit: &mut dyn FnMut(&'t str)) {
    let Some((pass, rest)) = passes.split_first() else {
        return emit(text);
    };
    // `done` is the end of the last match; a piece without a match waits from there to `at`.
    let (mut done, mut at) = (0, 0);
    while at < text.len() {
        match pass(text, at) {
            Step::Skip(next) => at = next,
            Step::Match(end) => {
                if done < at {
                    split(&text[done..at], rest, emit);
                }
                split(&text[at..end], rest, emit);
                done = end;
                at = end;
            }
        }
    }
    if done < text.len() {
        split(&text[done..], rest, emit);
    }
}

/// The character at `at`, and where it ends; `None` at the end of the piece.
fn char_at(text: &str, at: usize) -> Option<(char, usize)> {
    let c = text[at..].chars().next()?;
    Some((c, at + c.len_utf8()))
}

/// Where the run of characters that `belongs` accepts, beginning at `at`, ends.
fn run_end(text: &str, at: usize, belongs: impl Fn(char) -> bool) -> usize {
    text[at..]
        .find(|c| !belongs(c))
        .map_or(text.len(), |length| at + length)
}

#[cfg(test)]
mod tests {
    use super::Rule;

    fn pieces(name: &str, text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        Rule::named(name)
            .expect(name)
            .split(text, &mut |piece| pieces.push(piece.to_string()));
        assert_eq!(pieces.concat(), text, "{name} loses nothing");
        pieces
    }

    // Expected pieces by hand from the published regular expressions.

    #[test]
    fn tekken_cuts_where_a_capital_begins_a_word() {
        assert_eq!(pieces("tekken", "HelloWorld"), ["Hello", "World"]);
        assert_eq!(pieces("tekken", "HTTPServer is ON"), ["HTTPServer", " is", " ON"]);
        assert_eq!(pieces("tekken", "ÉtatÜber straße"), ["État", "Über", " straße"]);
        assert_eq!(pieces("tekken", "don't 123"), ["don", "'t", " ", "1", "2", "3"]);
        assert_eq!(pieces("tekken", "中文ABc"), ["中文ABc"]);
        assert_eq!(pieces("tekken", "中AB"), ["中", "AB"]);
        assert_eq!(pieces("tekken", "a/b //\n/x"), ["a", "/b", " //\n/", "x"]);
        assert_eq!(pieces("tekken", "e\u{301}t"), ["e\u{301}t"]);
    }

    #[test]
    fn gpt_4o_keeps_a_contraction_with_its_word() {
        assert_eq!(
            pieces("gpt-4o", "don't I'LL 1234"),
            ["don't", " I'LL", " ", "123", "4"]
        );
        assert_eq!(pieces("gpt-4o", "It's'x"), ["It's", "'x"]);
    }

    #[test]
    fn deepseek_v3_three_passes() {
        assert_eq!(
            pieces("deepseek-v3", "foo.bar 12345"),
            ["foo", ".bar", " ", "123", "45"]
        );
        assert_eq!(pieces("deepseek-v3", "你好world"), ["你好", "world"]);
        assert_eq!(
            pieces("deepseek-v3", "x += 1;\n\ny"),
            ["x", " +=", " ", "1", ";\n\n", "y"]
        );
        assert_eq!(pieces("deepseek-v3", "~ ~~a"), ["~", " ~~", "a"]);
    }

    #[test]
    fn a_single_space_goes_with_the_next_word() {
        assert_eq!(
            pieces("llama-bpe", "a   b\t\n  c  "),
            ["a", "  ", " b", "\t\n", " ", " c", "  "]
        );
        assert_eq!(pieces("gpt-2", "a   b\n\nc"), ["a", "  ", " b", "\n", "\n", "c"]);
    }

    #[test]
    fn every_rule_is_linear_and_total() {
        let names = super::NAMES.split(", ");
        let unit = [
            "a", "A", "1", " ", "\n", "'", "中", "\u{301}", "~", "/", "Aʰ", " \n", "\u{378}",
        ];
        for name in names {
            for unit in unit {
                let long = unit.repeat(20_000) + "x";
                assert!(!pieces(name, &long).is_empty());
            }
        }
    }
}
