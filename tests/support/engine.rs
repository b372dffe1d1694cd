//! An engine of one or several shards driven by hand, and the recorded conversations it is asked.
#![allow(dead_code, reason = "not every user needs everything")]

use std::path::{Path, PathBuf};

use fanlight::Result;
use fanlight::model::{Exchange, Options, Shard};
use fanlight::session::{Event, FinishReason, Output, Request, Session};
use fanlight::source::ByteSource;
use serde_json::{Value, json};

/// All shards of a loaded model.
pub struct Engine(pub Vec<Session>);

impl Engine {
    pub fn load(path: &Path, shards: usize, options: Options) -> Result<Engine> {
        Engine::open(&std::fs::File::open(path).unwrap(), shards, options)
    }

    pub fn open(file: &dyn ByteSource, shards: usize, options: Options) -> Result<Engine> {
        let parts = [file];
        let open = |index| {
            let shard = Shard::new(index, shards)?;
            let mut session = Session::open(&parts, &Options { shard, ..options })?;
            while !session.load_step(&parts)? {}
            Ok(session)
        };
        (0..shards).map(open).collect::<Result<_>>().map(Engine)
    }

    /// Runs a request to its end, or until `stop` says so (then it is cancelled).
    pub fn run(&mut self, request: Request, mut stop: impl FnMut(&Output) -> bool) -> Result<Output> {
        let mut all = Output::default();
        self.each(request, |output| {
            join(&mut all, output);
            stop(&all)
        })?;
        Ok(all)
    }

    /// Runs several requests together; what each gave, in their order.
    pub fn together(&mut self, requests: Vec<Request>) -> Result<Vec<Output>> {
        let mut outputs = vec![Output::default(); requests.len()];
        let together = Request {
            together: requests,
            ..Request::default()
        };
        self.each(together, |output| {
            let place = &mut outputs[output.index.unwrap()];
            assert_eq!(*place, Output::default(), "told twice");
            *place = output;
            false
        })?;
        Ok(outputs)
    }

    /// Runs a request to its end, or until `take`, which gets what is said, says so (then it is cancelled).
    pub fn each(&mut self, request: Request, mut take: impl FnMut(Output) -> bool) -> Result<()> {
        let (leader, followers) = self.0.split_first_mut().unwrap();
        leader.start(request)?;
        for follower in followers {
            follower.follow()?;
        }
        loop {
            let event = until_needed(&mut self.0[0], &mut take)?;
            if event == Event::Output {
                self.0.iter_mut().for_each(Session::cancel);
                return Ok(());
            }
            for follower in &mut self.0[1..] {
                assert_eq!(until_needed(follower, &mut |_| false)?, event);
            }
            match event {
                Event::Exchange(exchange) => self.deliver(exchange),
                _ => return Ok(()),
            }
        }
    }

    /// Begins a request, and cancels it when the shards have computed `steps` times, one after the other: in the middle of
    /// a batch, with some shards further than others.
    pub fn cancel_after(&mut self, request: Request, steps: usize) -> Result<()> {
        self.0[0].start(request)?;
        for follower in &mut self.0[1..] {
            follower.follow()?;
        }
        let mut left = steps;
        'request: loop {
            let mut event = Event::Done;
            for session in &mut self.0 {
                loop {
                    if left == 0 {
                        break 'request;
                    }
                    left -= 1;
                    event = session.run()?;
                    if !matches!(event, Event::Pause | Event::Output) {
                        break;
                    }
                }
            }
            match event {
                Event::Exchange(exchange) => self.deliver(exchange),
                _ => break,
            }
        }
        self.0.iter_mut().for_each(Session::cancel);
        Ok(())
    }

    fn deliver(&mut self, exchange: Exchange) {
        for from in 0..self.0.len() {
            let slice = self.0[from].exchange_slice(from).to_vec();
            for to in (0..self.0.len()).filter(|to| *to != from) {
                let wanted = match exchange {
                    Exchange::AllGather => true,
                    Exchange::FromLeader => from == 0,
                    Exchange::ToLeader => to == 0,
                };
                if wanted {
                    self.0[to].exchange_slice(from).copy_from_slice(&slice);
                }
            }
        }
    }
}

/// Runs one shard until it needs another, is done, or is to stop (then the event is `Output`).
fn until_needed(session: &mut Session, take: &mut dyn FnMut(Output) -> bool) -> Result<Event> {
    loop {
        match session.run()? {
            Event::Pause => {}
            Event::Output => {
                if take(session.take_output()) {
                    return Ok(Event::Output);
                }
            }
            event => return Ok(event),
        }
    }
}

/// Adds what was said later.
fn join(all: &mut Output, mut output: Output) {
    all.text.push_str(&output.text);
    all.reasoning.push_str(&output.reasoning);
    for call in output.tool_calls.drain(..) {
        call.join(&mut all.tool_calls);
    }
    all.tokens.append(&mut output.tokens);
    all.logprobs.append(&mut output.logprobs);
    all.prompt_tokens = all.prompt_tokens.or(output.prompt_tokens);
    all.cached_tokens = all.cached_tokens.or(output.cached_tokens);
    all.drafted += output.drafted;
    all.accepted += output.accepted;
    all.forced += output.forced;
    let before = all.text.encode_utf16().count() - output.text.encode_utf16().count();
    all.forced_text.extend(
        output
            .forced_text
            .iter()
            .map(|part| part.map(|place| before + place)),
    );
    all.skipped_rows += output.skipped_rows;
    all.confidence = output.confidence;
    all.scores.append(&mut output.scores);
    all.vector.append(&mut output.vector);
    all.finish_reason = output.finish_reason;
}

pub fn never(_: &Output) -> bool {
    false
}

pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn tiny_chat() -> PathBuf {
    project("www/models/tiny-chat-q8_0.gguf")
}

pub fn shared(path: &str) -> Option<PathBuf> {
    let full = project("../shared/fixtures").join(path);
    if !full.exists() {
        println!("SKIPPED: {path} (../shared is absent)");
        return None;
    }
    Some(full)
}

pub fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

pub fn request(value: Value) -> Request {
    serde_json::from_value(value).unwrap()
}

/// A greedy chat request for one recorded conversation.
pub fn chat(item: &Value) -> Request {
    let mut request = request(json!({ "messages": item["messages"], "sampling": { "temperature": 0 } }));
    request.tools = Some(item["tools"].clone()).filter(|tools| !tools.is_null());
    if let Some(thinking) = item["enable_thinking"].as_bool() {
        request
            .template_variables
            .insert("enable_thinking".into(), thinking.into());
    }
    request
}

pub fn greedy(prompt: &str, max_tokens: usize) -> Request {
    request(json!({ "prompt": prompt, "maxTokens": max_tokens, "sampling": { "temperature": 0 } }))
}

/// Asks for every conversation, and compares the ids and their parts with the record.
pub fn recites(engine: &mut Engine, items: &[Value]) {
    for item in items {
        let name = item["name"].as_str().unwrap();
        let output = engine.run(chat(item), never).unwrap();
        assert_eq!(
            output.prompt_tokens,
            Some(item["prompt_ids"].as_array().unwrap().len()),
            "{name}"
        );
        assert_eq!(output.tokens, ids(&item["reply_ids"]), "{name}: {}", output.text);
        let reply = item["reply"].as_str().unwrap();
        // Qwen 3.5's prompt opens the reasoning itself.
        let reply = reply.strip_prefix("<think>\n").unwrap_or(reply);
        let (reasoning, rest) = reply.split_once("\n</think>\n\n").unwrap_or(("", reply));
        assert_eq!(output.reasoning, reasoning, "{name}");
        if rest.starts_with("<tool_call>") {
            let calls: Vec<Value> = rest
                .split("<tool_call>")
                .filter(|call| !call.is_empty())
                .map(|call| written_call(call.trim().trim_end_matches("</tool_call>").trim()))
                .collect();
            assert_eq!(output.tool_calls.len(), calls.len(), "{name}");
            for (got, want) in output.tool_calls.iter().zip(&calls) {
                assert_eq!(got.name, want["name"].as_str().unwrap());
                assert_eq!(
                    serde_json::from_str::<Value>(&got.arguments).unwrap(),
                    want["arguments"]
                );
            }
            assert_eq!(output.finish_reason, Some(FinishReason::ToolCalls), "{name}");
        } else {
            assert_eq!(output.text, rest, "{name}");
            assert_eq!(output.finish_reason, Some(FinishReason::Stop), "{name}");
        }
    }
}

/// A tool call as Qwen 3 (JSON) or Qwen 3.5 (XML, here with text arguments only) writes it.
fn written_call(call: &str) -> Value {
    let Some(call) = call.strip_prefix("<function=") else {
        return serde_json::from_str(call).unwrap();
    };
    let (name, rest) = call.split_once(">\n").unwrap();
    let parameters = rest.split("<parameter=").skip(1).map(|parameter| {
        let (name, value) = parameter.split_once(">\n").unwrap();
        let (value, _) = value.split_once("\n</parameter>").unwrap();
        (name.to_string(), Value::from(value))
    });
    json!({ "name": name, "arguments": Value::Object(parameters.collect()) })
}
