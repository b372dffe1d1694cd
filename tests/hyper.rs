//! Shapes that a header claims: what no model has is refused before anything is allocated for it.

mod support;

use fanlight::gguf::Gguf;
use fanlight::model::Hyper;
use support::gguf_writer::Writer;

/// Keys of a small model, some of them replaced.
fn read(architecture: &str, replaced: &[(&str, u32)]) -> fanlight::Result<()> {
    let keys = [
        ("block_count", 2),
        ("context_length", 64),
        ("embedding_length", 8),
        ("feed_forward_length", 8),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 4),
        ("attention.value_length", 4),
        ("expert_count", 4),
        ("expert_used_count", 2),
        ("expert_feed_forward_length", 8),
        ("ssm.state_size", 4),
        ("ssm.group_count", 1),
        ("ssm.time_step_rank", 2),
        ("ssm.conv_kernel", 4),
        ("ssm.inner_size", 8),
    ];
    let file = Writer::new().key("general.architecture", architecture);
    let file = keys.iter().fold(file, |file, (name, value)| {
        let value = replaced
            .iter()
            .find(|(key, _)| key == name)
            .map_or(*value, |(_, value)| *value);
        file.key(&format!("{architecture}.{name}"), value)
    });
    let file = file.f32s("token_embd.weight", &[8, 4], &[0.0; 32]).build();
    let gguf = Gguf::read(&file)?;
    Hyper::read(&gguf).map(|_| ())
}

#[test]
fn what_the_small_model_has_is_fine() {
    for architecture in ["llama", "qwen3", "qwen3moe", "qwen35", "qwen35moe"] {
        read(architecture, &[]).unwrap_or_else(|error| panic!("{architecture}: {error:?}"));
    }
}

#[test]
fn shapes_that_no_buffer_could_hold_are_refused() {
    for (architecture, replaced, says) in [
        ("qwen35", &[("attention.value_length", 8)][..], "gates of 4"),
        (
            "llama",
            &[("attention.head_count", 128), ("attention.key_length", 1 << 18)],
            "query heads",
        ),
        (
            "llama",
            &[("attention.head_count", 128), ("attention.value_length", 1 << 18)],
            "values of all heads",
        ),
        (
            "qwen3moe",
            &[
                ("expert_count", 64),
                ("expert_used_count", 64),
                ("expert_feed_forward_length", 1 << 17),
            ],
            "experts of a token",
        ),
        (
            "qwen3moe",
            &[("expert_count", 4096), ("block_count", 1024)],
            "in all",
        ),
        (
            "qwen35",
            &[
                ("ssm.state_size", 1024),
                ("ssm.time_step_rank", 64),
                ("ssm.inner_size", 65536),
            ],
            "states of 1024",
        ),
    ] {
        let error = read(architecture, replaced).expect_err(says);
        assert!(error.message.contains(says), "{architecture}: {error:?}");
    }
}
