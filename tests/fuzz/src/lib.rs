//! What the fuzz targets share: models and vocabularies of a few kilobytes, from which `seeds` makes what they begin with.

#[path = "../../support/gguf_writer.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod gguf_writer;

use fanlight::gguf::Gguf;
use fanlight::model::Options;
use fanlight::quant::Type;
use fanlight::session::{Event, Request, Session};
use fanlight::source::{ByteSource, block_sum};
use fanlight::tokenizer::Tokenizer;
use gguf_writer::Writer;

/// Values of the residual stream: one block of Q8_0.
const WIDTH: u64 = 32;

/// A chat template that knows of thoughts, tools and turns.
const TEMPLATE: &str = "{%- for m in messages -%}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{%- endfor -%}\
    {%- if tools -%}<tools>{{ tools | tojson }}</tools>{%- endif -%}\
    {%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}";

/// How byte-level vocabularies write each byte: the printable ones as they are, the others moved up.
fn disguise() -> impl Iterator<Item = String> {
    let mut moved = 0..;
    (0..=255u32).map(move |byte| {
        let prints = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if prints {
            byte
        } else {
            256 + moved.next().unwrap_or(0)
        };
        char::from_u32(code).unwrap_or(' ').to_string()
    })
}

/// Kinds of [`vocabulary`].
pub const VOCABULARIES: [&str; 15] = [
    "llama-bpe",
    "qwen2",
    "qwen35",
    "gpt-2",
    "smollm",
    "starcoder",
    "falcon",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "tekken",
    "gpt-4o",
    "default",
    "sentencepiece",
    "gemma4",
];

/// A file with all bytes, a few words, and control tokens as its vocabulary.
fn vocabulary(file: Writer, kind: &str) -> Writer {
    let words = [
        "he",
        "ll",
        "hell",
        "hello",
        "▁hello",
        "aa",
        "\n\n",
        "▁▁",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
    ];
    let control = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"];
    let by_bytes = !matches!(kind, "sentencepiece" | "gemma4");
    let bytes: Vec<String> = match by_bytes {
        true => disguise().collect(),
        false => (0..256).map(|byte| format!("<0x{byte:02X}>")).collect(),
    };
    let tokens = bytes.iter().map(String::as_str).chain(words).chain(control);
    let byte_type = if by_bytes { 1 } else { 6 };
    let types: Vec<i32> = [vec![byte_type; 256], vec![1; words.len()], vec![3; control.len()]].concat();
    let scores: Vec<f32> = (0..types.len()).map(|id| -(id as f32)).collect();
    let first = 256 + words.len() as u32;
    let file = file
        .strings("tokenizer.ggml.tokens", tokens)
        .key("tokenizer.ggml.token_type", types)
        .key("tokenizer.ggml.bos_token_id", first + 1)
        .key("tokenizer.ggml.eos_token_id", first + 2)
        .key("tokenizer.chat_template", TEMPLATE);
    let merges = ["h e", "l l", "he ll", "hell o", "▁ hello", "a a", "▁ ▁"];
    match kind {
        "sentencepiece" => file
            .key("tokenizer.ggml.model", "llama")
            .key("tokenizer.ggml.scores", scores),
        "gemma4" => file
            .key("tokenizer.ggml.model", "gemma4")
            .strings("tokenizer.ggml.merges", merges),
        pre => file
            .key("tokenizer.ggml.model", "gpt2")
            .key("tokenizer.ggml.pre", pre)
            .strings("tokenizer.ggml.merges", merges),
    }
}

/// Its tokenizer.
pub fn tokenizer(kind: &str) -> Tokenizer {
    let file = vocabulary(Writer::new(), kind).build();
    let gguf = Gguf::read(&file).expect("a sound file");
    Tokenizer::from_metadata(&gguf.metadata).expect("a vocabulary")
}

/// Architectures of [`model`].
pub const MODELS: [&str; 2] = ["llama", "qwen35"];

/// A model of two layers; of `qwen35` the first is a delta net.
pub fn model(arch: &str) -> Vec<u8> {
    let hybrid = arch == "qwen35";
    let key = |name: &str| format!("{arch}.{name}");
    let mut file = vocabulary(Writer::new().key("general.architecture", arch), "qwen2");
    let mut sizes = vec![
        ("block_count", 2u32),
        ("context_length", 64),
        ("embedding_length", WIDTH as u32),
        ("feed_forward_length", WIDTH as u32),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 8),
        ("attention.value_length", 8),
    ];
    if hybrid {
        sizes.extend([
            ("full_attention_interval", 2),
            ("ssm.state_size", 8),
            ("ssm.group_count", 1),
            ("ssm.time_step_rank", 2),
            ("ssm.conv_kernel", 4),
            ("ssm.inner_size", 16),
            ("rope.dimension_count", 4),
        ]);
    }
    for (name, value) in sizes {
        file = file.key(&key(name), value);
    }
    let rows = file
        .keys
        .iter()
        .find(|key| key.name == b"tokenizer.ggml.token_type");
    let rows = rows.map_or(0, |key| (key.value.len() as u64 - 12) / 4);
    let file = tensor(file, "token_embd.weight", &[WIDTH, rows]);
    let mut file = tensor(file, "output_norm.weight", &[WIDTH]);
    for block in 0..2 {
        let mut tensors = vec![
            ("attn_norm.weight", vec![WIDTH]),
            ("ffn_gate.weight", vec![WIDTH, WIDTH]),
            ("ffn_up.weight", vec![WIDTH, WIDTH]),
            ("ffn_down.weight", vec![WIDTH, WIDTH]),
        ];
        tensors.push((
            if hybrid {
                "post_attention_norm.weight"
            } else {
                "ffn_norm.weight"
            },
            vec![WIDTH],
        ));
        if hybrid && block == 0 {
            tensors.extend([
                ("attn_qkv.weight", vec![WIDTH, 32]),
                ("attn_gate.weight", vec![WIDTH, 16]),
                ("ssm_alpha.weight", vec![WIDTH, 2]),
                ("ssm_beta.weight", vec![WIDTH, 2]),
                ("ssm_conv1d.weight", vec![4, 32]),
                ("ssm_a", vec![2]),
                ("ssm_dt.bias", vec![2]),
                ("ssm_norm.weight", vec![8]),
                ("ssm_out.weight", vec![16, WIDTH]),
            ]);
        } else {
            let queries = if hybrid { 32 } else { 16 };
            tensors.extend([
                ("attn_q.weight", vec![WIDTH, queries]),
                ("attn_k.weight", vec![WIDTH, 8]),
                ("attn_v.weight", vec![WIDTH, 8]),
                ("attn_output.weight", vec![16, WIDTH]),
            ]);
            if hybrid {
                tensors.extend([("attn_q_norm.weight", vec![8]), ("attn_k_norm.weight", vec![8])]);
            }
        }
        for (name, dims) in tensors {
            file = tensor(file, &format!("blk.{block}.{name}"), &dims);
        }
    }
    file.build()
}

/// Vectors as F32, matrices as F16: small numbers, none like its neighbour.
fn tensor(file: Writer, name: &str, dims: &[u64]) -> Writer {
    let count = dims.iter().product::<u64>() as usize;
    let values = (0..count).map(|i| ((i * 37 + name.len() * 11) % 101) as f32 / 101.0 - 0.45);
    match dims.len() {
        2 if !name.contains("conv1d") => {
            let halves =
                values.map(|x| ((x.to_bits() >> 16 & 0x8000) as u16) | 0x2c00 | (x.abs() * 1000.0) as u16);
            file.tensor(name, Type::F16, dims, halves.flat_map(u16::to_le_bytes).collect())
        }
        _ => file.f32s(name, dims, &values.collect::<Vec<_>>()),
    }
}

/// A loaded model.
pub fn session(file: &[u8]) -> Session {
    let file = &file.to_vec() as &dyn ByteSource;
    let mut session = Session::open(&[file], &Options::default()).expect("a sound model");
    while !session.load_step(&[file]).expect("all its weights") {}
    session
}

/// Computes these tokens, and so many more.
pub fn run(session: &mut Session, prompt: Vec<u32>, more: usize) -> fanlight::Result<()> {
    session.start(Request {
        prompt_tokens: Some(prompt),
        max_tokens: Some(more),
        ignore_end: true,
        ..Request::default()
    })?;
    loop {
        match session.run()? {
            Event::Done => return Ok(()),
            Event::Output => drop(session.take_output()),
            Event::Pause => {}
            Event::Exchange(_) => unreachable!("there is one shard"),
        }
    }
}

/// The session that a conversation of so many tokens leaves, as it is saved.
pub fn saved(session: &mut Session, tokens: u32) -> Vec<u8> {
    run(session, (0..tokens).collect(), 3).expect("an answer");
    let plan = session.plan_memory().expect("a plan");
    session.save_memory(plan).expect("a saved session")
}

/// Gives each part of a saved session the length that there is and the sum that it should have, so that what comes behind the
/// sum is looked at. See `src/model/saved.rs` for the layout.
pub fn mend_sums(bytes: &mut [u8]) {
    const PREFIX: usize = 24;
    let mut at = 0;
    while bytes.len() - at >= PREFIX {
        let part = &mut bytes[at..];
        part[..8].copy_from_slice(b"FANLSESS");
        let length = u64::from_le_bytes(part[8..16].try_into().expect("eight bytes"));
        let length = (length as usize).clamp(PREFIX, part.len());
        part[8..16].copy_from_slice(&(length as u64).to_le_bytes());
        let sum = block_sum(&part[PREFIX..length]);
        part[16..PREFIX].copy_from_slice(&sum.to_le_bytes());
        at += length;
    }
}
