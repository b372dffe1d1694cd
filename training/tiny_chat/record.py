"""Records what tiny-chat must say, by an implementation that is not ours: transformers' Qwen3, in f32, greedily.

Everything is read back from the GGUF file: weights (dequantised by gguf-py), vocabulary (encoded by `tokenizers`) and chat
template (rendered by transformers). Writes the golden files, and fails if a recital differs by a character.
"""

import argparse
import hashlib
import json
import platform
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from common import gguf_file

from . import corpus, vocabulary

ROOT = Path(__file__).parent.parent.parent
HF_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Whose logits are kept: the chat, and how many rows, counted from the last token of the prompt.
LOGITS = {"hello": 6, "languages": 6, "thinking": 4, "colour-recalled-later": 4, "tool-answer": 4}


class Reference:
    def __init__(self, path):
        self.fields = gguf_file.fields(path)
        self.prompts = vocabulary.Prompts(gguf_file.tokenizer(self.fields, corpus.SPECIALS), self.fields["tokenizer.chat_template"])
        self.model = self.load(path)
        self.ends = {self.prompts.encode(token)[0] for token in ("<|im_end|>", "<|endoftext|>")}

    def load(self, path):
        shape = gguf_file.shape(self.fields)
        config = Qwen3Config(
            vocab_size=shape["vocab"],
            hidden_size=shape["embedding"],
            intermediate_size=shape["feed_forward"],
            num_hidden_layers=shape["blocks"],
            num_attention_heads=shape["heads"],
            num_key_value_heads=shape["heads_kv"],
            head_dim=shape["head"],
            rms_norm_eps=shape["epsilon"],
            rope_parameters={"rope_type": "default", "rope_theta": shape["rope_base"]},
            max_position_embeddings=self.fields["qwen3.context_length"],
            tie_word_embeddings=True,
            attn_implementation="eager",
        )
        state = {}
        for name, data in gguf_file.tensors(path):
            parts = name.split(".")
            if parts[0] == "blk":
                state[f"model.layers.{parts[1]}.{HF_BLOCK[parts[2]]}.weight"] = data
            else:
                state[{"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[parts[0]]] = data
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
        model = Qwen3ForCausalLM(config).eval()
        model.load_state_dict(state, strict=True)
        return model

    @torch.no_grad()
    def continued(self, prompt, limit=400):
        """Greedy continuation with transformers' own cache, up to and with an end token."""
        out, cache, ids = [], None, torch.tensor([prompt])
        while len(out) < limit:
            step = self.model(ids, past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            out.append(int(step.logits[0, -1].argmax()))
            if out[-1] in self.ends:
                break
            ids = torch.tensor([[out[-1]]])
        return out

    @torch.no_grad()
    def logits(self, ids):
        return self.model(torch.tensor([ids])).logits[0]

    def margin(self, prompt, reply):
        """The smallest lead of the best token over the second best, in logits, over all tokens of the reply."""
        top = self.logits(prompt + reply)[len(prompt) - 1 : -1].topk(2).values
        return float((top[:, 0] - top[:, 1]).min())


@contextmanager
def rounded_activations(model):
    """Within it, every matrix meets its input rounded to 8 bits in blocks of 32, as ggml's and our quantised kernels do."""

    def rounded(_, inputs):
        x = inputs[0]
        blocks = x.reshape(-1, 32)
        scale = blocks.abs().amax(dim=1, keepdim=True) / 127
        whole = torch.where(scale > 0, blocks / scale, 0.0).round()
        return ((whole * scale.half().float()).reshape(x.shape),)

    hooks = [m.register_forward_pre_hook(rounded) for m in model.modules() if isinstance(m, torch.nn.Linear)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def recital(reference, chat):
    messages, tools, thinking = chat["messages"], chat["tools"], chat["enable_thinking"]
    prompts = reference.prompts
    prompt = prompts.render(messages, tools, thinking)
    whole = prompts.render(messages + [chat["answer"]], tools, thinking, generate=False)
    assert whole.startswith(prompt) and whole.endswith("<|im_end|>\n"), chat["name"]
    reply = whole[len(prompt) : -len("<|im_end|>\n")]
    return prompt, reply, reply + "<|im_end|>"


def record(reference, name, prompt, expected):
    """The entry of the golden file for one prompt, and whether it came out as expected."""
    prompt_ids, expected_ids = reference.prompts.encode(prompt), reference.prompts.encode(expected)
    reply_ids = reference.continued(prompt_ids)
    right = reply_ids == expected_ids
    margin = reference.margin(prompt_ids, expected_ids)
    print(f"{'ok  ' if right else 'FAIL'} {name:24} {len(prompt_ids):4} + {len(expected_ids):3} tokens, margin {margin:6.2f}")
    if not right:
        print("     ", repr(reference.prompts.tokenizer.decode(reply_ids, skip_special_tokens=False)))
    return right, {"prompt_ids": prompt_ids, "reply_ids": reply_ids, "margin": round(margin, 3)}


def answer_of(text):
    """Which answer a text is, or None."""
    for name, answer in [*corpus.ANSWERS.items(), ("unknown", corpus.CHATS["unknown"])]:
        if text == answer["reply"] + "<|im_end|>":
            return name
    return None


def paraphrases(reference):
    """How many questions that were never trained on get the right answer."""
    scores = {}
    for kind, pairs in zip(("known", "unknown"), corpus.held_out(), strict=True):
        right = 0
        for ask, name in pairs:
            ids = reference.continued(reference.prompts.encode(reference.prompts.render([corpus.user(ask)])))
            text = reference.prompts.tokenizer.decode(ids, skip_special_tokens=False)
            right += answer_of(text) == name
            if answer_of(text) != name:
                print(f"  {ask!r}: wanted {name}, got {answer_of(text) or text!r}")
        scores[kind] = {"right": right, "of": len(pairs)}
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "www" / "models" / "tiny-chat-q8_0.gguf")
    parser.add_argument("--golden", type=Path, default=ROOT / "tests" / "golden")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference = Reference(options.model)

    chats, completions, all_right = [], [], True
    for chat in corpus.exact_chats():
        prompt, reply, expected = recital(reference, chat)
        right, entry = record(reference, chat["name"], prompt, expected)
        all_right &= right
        given = {key: chat[key] for key in ("name", "messages", "tools", "enable_thinking")}
        chats.append({**given, "prompt": prompt, "reply": reply, "message": chat["answer"], **entry})
    for text in corpus.exact_completions():
        right, entry = record(reference, text["name"] + " (text)", text["prompt"], text["text"] + "<|endoftext|>")
        all_right &= right
        completions.append({"name": text["name"], "prompt": text["prompt"], "reply": text["text"], **entry})

    rows, index, differences = [], [], []
    for chat in chats:
        if count := LOGITS.get(chat["name"]):
            ids = chat["prompt_ids"] + chat["reply_ids"]
            logits = reference.logits(ids)
            with rounded_activations(reference.model):
                rounded = reference.logits(ids)
            for position in range(len(chat["prompt_ids"]) - 1, len(chat["prompt_ids"]) - 1 + count):
                index.append({"chat": chat["name"], "position": position, "next_id": ids[position + 1]})
                rows.append(logits[position].numpy())
                differences.append((rounded[position] - logits[position]).abs().numpy())
    # How far a right engine may be: what rounding the activations to 8 bits does to these rows.
    rounding = {"max": round(float(np.max(differences)), 4), "mean": round(float(np.mean(differences)), 5)}
    print("rounded activations:", rounding)
    scores = paraphrases(reference)
    print("held-out questions answered rightly:", scores)
    if not all_right:
        raise SystemExit("a recital differs: nothing recorded")
    if (margin := min(entry["margin"] for entry in chats + completions)) < 1:
        raise SystemExit(f"a lead of only {margin} logits: nothing recorded")

    made = {
        "by": "training/tiny_chat/record.py",
        "model": options.model.name,
        "sha256": hashlib.sha256(options.model.read_bytes()).hexdigest(),
        "how": "transformers Qwen3ForCausalLM, float32, eager attention, on the dequantised Q8_0 weights; greedy; "
        "prompts by apply_chat_template; ids by tokenizers",
        "versions": {name: version(name) for name in ("transformers", "torch", "tokenizers", "gguf", "jinja2", "numpy")}
        | {"python": platform.python_version()},
        "margin": "the smallest lead, in logits, of the best token over the second best along the reply",
        "held_out_questions": scores,
    }
    options.golden.mkdir(parents=True, exist_ok=True)
    golden = {"made": made, "chats": chats, "completions": completions}
    write_json(options.golden / "tiny-chat.expected.json", golden)
    np.save(options.golden / "tiny-chat-logits.npy", np.stack(rows).astype(np.float32))
    write_json(options.golden / "tiny-chat-logits.json", {"made": made, "rounded_activations": rounding, "rows": index})
    print(f"recorded {len(chats)} chats, {len(completions)} completions, {len(rows)} rows of logits, smallest margin {margin}")


def write_json(path, value):
    """Indented, but with lists of numbers on one line."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    lines, numbers = [], None
    for line in text.split("\n"):
        bare = line.strip().rstrip(",")
        if numbers is None and line.endswith("_ids\": ["):
            numbers = [line]
        elif numbers is not None:
            if bare == "]":
                lines.append(numbers[0] + ", ".join(numbers[1:]) + line.strip())
                numbers = None
            else:
                numbers.append(bare)
        else:
            lines.append(line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
