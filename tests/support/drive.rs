//! Drives one or several shards of a model by hand: what the workers do in a page, without workers.

use fanlight::Result;
use fanlight::gguf::Gguf;
use fanlight::model::{Batch, Exchange, Forward, LogitsFor, MAX_BATCH, Model, Options, Shard, Step};
use fanlight::source::ByteSource;

/// Loads all shards of a model.
pub fn load(gguf: &Gguf, parts: &[&dyn ByteSource], shards: usize, options: Options) -> Result<Vec<Model>> {
    let mut scratch = Vec::new();
    (0..shards)
        .map(|index| {
            let shard = Shard::new(index, shards)?;
            let options = Options { shard, ..options };
            let mut model = Model::new(gguf, &options)?;
            while !model.weights.load_step(parts, &mut scratch)? {}
            Ok(model)
        })
        .collect()
}

/// Logits of every token of `ids`, `[tokens, vocabulary]`, from an empty cache.
#[allow(dead_code, reason = "not every user needs it")]
pub fn logits(models: &mut [Model], ids: &[u32]) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for (index, batch) in ids.chunks(MAX_BATCH).enumerate() {
        forward(models, batch, index * MAX_BATCH, LogitsFor::All)?;
        all.extend(taken(&mut models[0]));
    }
    Ok(all)
}

/// The logits that the last batch asked for, `[positions, vocabulary]`.
#[allow(dead_code, reason = "not every user needs it")]
pub fn taken(leader: &mut Model) -> Vec<f32> {
    let mut logits = leader.state.logits();
    (0..logits.len())
        .flat_map(|position| logits.row(position).to_vec())
        .collect()
}

/// One batch through all shards; the logits are then in `models[0].state`.
#[allow(dead_code, reason = "not every user needs it")]
pub fn forward(models: &mut [Model], tokens: &[u32], first: usize, logits: LogitsFor) -> Result<()> {
    batch(models, tokens, Batch::at(first, logits))
}

/// [`forward`], with all that a batch can ask for.
pub fn batch(models: &mut [Model], tokens: &[u32], batch: Batch) -> Result<()> {
    let mut programs = models
        .iter_mut()
        .map(|m| Forward::begin(m, tokens, batch))
        .collect::<Result<Vec<_>>>()?;
    loop {
        let steps: Vec<Step> = models
            .iter_mut()
            .zip(&mut programs)
            .map(|(model, program)| run(model, program))
            .collect();
        assert!(
            steps.iter().all(|step| *step == steps[0]),
            "the shards parted: {steps:?}"
        );
        match steps[0] {
            Step::Done => return Ok(()),
            Step::Exchange(exchange) => deliver(models, exchange),
            Step::Pause => unreachable!("run() steps over pauses"),
        }
    }
}

fn run(model: &mut Model, program: &mut Forward) -> Step {
    loop {
        match program.step(model) {
            Step::Pause => continue,
            step => return step,
        }
    }
}

fn deliver(models: &mut [Model], exchange: Exchange) {
    for from in 0..models.len() {
        let slice = models[from].exchange_slice(from).to_vec();
        for (to, model) in models.iter_mut().enumerate() {
            let wanted = match exchange {
                Exchange::AllGather => true,
                Exchange::FromLeader => from == 0,
                Exchange::ToLeader => to == 0,
            };
            assert_eq!(
                model.exchange_len(from),
                slice.len(),
                "shard {to} expects another slice of {from}"
            );
            if wanted && to != from {
                model.exchange_slice(from).copy_from_slice(&slice);
            }
        }
    }
}
