"""Trains the built-in model from scratch, on a processor or on a graphics card, and can be stopped and started again at any time.

    python -m builtin.train                      on two cores, until it is stopped
    python -m builtin.train --minutes 30         for half an hour, from the last checkpoint if there is one
    python -m builtin.train --finish 10          from the last checkpoint: the rate falls to zero within ten minutes; leaves the checkpoint as it is,
                                                 and keeps one of its own, `finishing.pt`
    python -m builtin.train --device cuda ...    the same on a graphics card: a larger network, other processes make the documents

It keeps `tokenizer.json`, `checkpoint.pt` and `log.jsonl` in `--out`, writes `weights.pt` and `training.json` for `export.py`, and begins
with a copying circuit and a few steps of copying random tokens (`circuit.py` says why). Documents become harder as the answers become right.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

# Threads that wait for others sleep: on a busy machine, spinning would waste most of the time. Must be said before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import torch.nn.functional as F
from torch import nn

from common.batches import by_length
from common.network import Model

from . import circuit, tasks, vocabulary

BASE = {"vocab": vocabulary.SIZE, "rope_base": 1e6, "epsilon": 1e-6}
PRESETS = {
    "cpu": {
        "shape": {**BASE, "embedding": 256, "blocks": 4, "heads": 8, "heads_kv": 4, "head": 32, "feed_forward": 512},
        "tokens": 4096, "rate": 3e-3, "muon": 0.02, "workers": 0, "copying": 40, "save_seconds": 600,
    },
    "cuda": {
        "shape": {**BASE, "embedding": 384, "blocks": 5, "heads": 6, "heads_kv": 3, "head": 64, "feed_forward": 768},
        "tokens": 32768, "rate": 3e-3, "muon": 0.02, "workers": 12, "copying": 20, "save_seconds": 120,
    },
}  # fmt: skip
# Examples drawn at once, so that those of one batch are of similar length.
CHUNK = 512
# The share of right beginnings of values, and of right labels, above which documents become harder, and by how much a step.
GATE, RISE = 0.80, 0.002


def chunk(seed, number, level, chats, test=False, count=CHUNK):
    """Conversations number `number` of the stream, as (ids, weights, kind of task); the same for the same arguments."""
    draw = tasks.stream(f"{seed}:{number}", test, () if test else chats.invented)
    made = [draw(level) for _ in range(count)]
    return [(*chats.conversation(item.turns, item.system), item.task) for item in made]


def tensors(group, device):
    """ids `[n, t]`; the positions that predict an answer's token `[n, m]`; these tokens and their weights, 0 where a row has fewer."""
    wanted = [[i for i, weight in enumerate(item[1]) if weight] for item in group]
    t, m = (-(-longest // 16) * 16 for longest in (max(len(item[0]) for item in group), max(map(len, wanted))))
    ids, positions, targets, weights = (torch.zeros(len(group), size, dtype=kind) for size, kind in ((t, torch.long), (m, torch.long), (m, torch.long), (m, torch.float)))
    for row, (item, at) in enumerate(zip(group, wanted, strict=True)):
        ids[row, : len(item[0])] = torch.tensor(item[0])
        at = torch.tensor(at)
        positions[row, : len(at)] = at - 1
        targets[row, : len(at)] = ids[row, at]
        weights[row, : len(at)] = torch.tensor(item[1])[at]
    return [x.to(device, non_blocking=True) for x in (ids, positions, targets, weights)]


def copying(order, rows=16, length=40):
    """Random tokens, and the same again: the task before the tasks."""
    items = []
    for _ in range(rows):
        size = order.randint(length // 2, length)
        once = [order.randrange(vocabulary.SIZE - len(vocabulary.SPECIALS)) for _ in range(size)]
        between = [order.randrange(vocabulary.SIZE) for _ in range(order.randint(1, 8))]
        items.append((once + between + once, [0.0] * (size + len(between) + 2) + [1.0] * (size - 2), "copy"))
    return items


class Muon:
    """Momentum, made orthogonal by Newton and Schulz: every direction of a matrix learns at the same pace. Same shapes go together."""

    def __init__(self, matrices, momentum=0.95):
        self.momentum = momentum
        self.groups = {}
        for p in matrices:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.buffers = {shape: torch.zeros(len(ps), *shape, device=ps[0].device) for shape, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, rate, decay):
        for shape, ps in self.groups.items():
            gradient = torch.stack([p.grad for p in ps])
            buffer = self.buffers[shape]
            buffer.lerp_(gradient, 1 - self.momentum)
            x = gradient.lerp(buffer, self.momentum)
            tall = shape[0] > shape[1]
            x = x.mT if tall else x
            if x.is_cuda:
                x = x.bfloat16()
            x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
            for _ in range(5):
                a = x @ x.mT
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = (x.mT if tall else x).float() * (rate * max(1, shape[0] / shape[1]) ** 0.5)
            for p, update in zip(ps, x, strict=True):
                p.mul_(1 - rate * decay).sub_(update)

    def state_dict(self):
        return self.buffers

    def load_state_dict(self, state):
        for shape, buffer in state.items():
            self.buffers[shape].copy_(buffer)


class Run:
    """A training in progress: the network, its optimisers, and where in the stream of documents it is."""

    def __init__(self, options, preset):
        self.options, self.preset = options, preset
        self.out, self.device = options.out, torch.device(options.device)
        self.out.mkdir(parents=True, exist_ok=True)
        self.chats = vocabulary.Chats(vocabulary.saved(self.out / "tokenizer.json"))
        torch.manual_seed(options.seed)
        self.model = Model(preset["shape"])
        circuit.install(self.model, options.seed)
        self.model.to(self.device)
        matrices = [p for name, p in self.model.named_parameters() if p.dim() == 2 and "embedding" not in name]
        rest = [p for name, p in self.model.named_parameters() if p.dim() != 2 or "embedding" in name]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(rest, lr=preset["rate"], betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, fused=True)
        self.state = {"step": 0, "seen": 0, "chunk": 0, "level": 0.0, "right": 0.0, "loss": 0.0, "seconds": 0.0}
        self.order = random.Random(options.seed)
        self.predict = torch.compile(self.scores, dynamic=True) if options.compile else self.scores

    def scores(self, ids, positions, targets, weights):
        logits = self.model.logits(self.model.hidden(ids, positions)).float()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        right = logits.argmax(-1).flatten() == targets.flatten()
        weights = weights.flatten()
        values = weights >= tasks.START
        return (loss * weights).sum() / weights.sum(), (right & values).sum() / values.sum().clamp(min=1)

    def save(self):
        state = {"shape": self.preset["shape"], "model": self.model.state_dict(), "muon": self.muon.state_dict(), "adam": self.adam.state_dict(), "state": self.state}
        part = self.out / "checkpoint.part"
        torch.save(state, part)
        os.replace(part, self.out / ("finishing.pt" if self.options.finish else "checkpoint.pt"))

    def load(self):
        path = self.out / ("finishing.pt" if self.options.pace < 1 else "checkpoint.pt")
        if not path.exists():
            return False
        saved = torch.load(path, map_location=self.device, weights_only=True)
        assert saved["shape"] == self.preset["shape"], f"{path} has another shape: {saved['shape']}"
        self.model.load_state_dict(saved["model"])
        self.muon.load_state_dict(saved["muon"])
        self.adam.load_state_dict(saved["adam"])
        self.state = saved["state"]
        self.order.seed(f"{self.options.seed}:{self.state['chunk']}")
        return True

    def export(self):
        """What `export.py` and `evaluate.py` read."""
        torch.save({name: weight.cpu() for name, weight in self.model.state_dict().items()}, self.out / "weights.part")
        os.replace(self.out / "weights.part", self.out / "weights.pt")
        report = {"shape": self.preset["shape"], "seed": self.options.seed, "device": self.options.device, **self.state}
        (self.out / "training.json").write_text(json.dumps(report, indent=1) + "\n")

    def learn(self, group, pace):
        ids, positions, targets, weights = tensors(group, self.device)
        for g in self.adam.param_groups:
            g["lr"] = self.preset["rate"] * pace
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss, right = self.predict(ids, positions, targets, weights)
        self.adam.zero_grad(set_to_none=True)
        for ps in self.muon.groups.values():
            for p in ps:
                p.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        self.muon.step(self.preset["muon"] * pace, decay=0.05)
        s, keep = self.state, 0.98
        s["step"] += 1
        s["seen"] += ids.numel()
        # The figures stay on the device until somebody asks.
        return loss.detach(), right.detach(), keep

    @torch.no_grad()
    def check(self, items):
        """Shares of right answers given the right beginning: all tokens of an example, by task."""
        self.model.eval()
        right = {}
        for group in by_length(items, 8192, random.Random(0)):
            ids, positions, targets, weights = tensors(group, self.device)
            best = self.model.logits(self.model.hidden(ids, positions)).argmax(-1)
            whole = ((best == targets) | (weights == 0)).all(1).tolist()
            for item, good in zip(group, whole, strict=True):
                right.setdefault(item[2], []).append(good)
        self.model.train()
        return {task: round(sum(goods) / len(goods), 3) for task, goods in sorted(right.items())}


def chunks(run):
    """Endless chunks from where the run is, made here or by other processes; their level is the run's at that moment."""
    workers, seed = run.preset["workers"], run.options.seed
    if not workers:
        while True:
            run.state["chunk"] += 1
            yield chunk(seed, run.state["chunk"], run.state["level"], run.chats)
    with multiprocessing.get_context("spawn").Pool(workers, begin_worker, (str(run.out / "tokenizer.json"),)) as pool:
        waiting = []
        while True:
            while len(waiting) < 2 * workers:
                run.state["chunk"] += 1
                waiting.append(pool.apply_async(work, (seed, run.state["chunk"], run.state["level"])))
            yield waiting.pop(0).get()


def begin_worker(tokenizer):
    global worker_chats
    worker_chats = vocabulary.Chats(vocabulary.saved(Path(tokenizer)))


def work(seed, number, level):
    return chunk(seed, number, level, worker_chats)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "out" / "builtin")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--finish", type=float, metavar="MINUTES", help="let the rate fall to zero within so many minutes, then stop; the checkpoint stays as it is")
    parser.add_argument("--pace", type=float, default=1.0, help="below 1, with --finish: goes on with a finish that was stopped, from this share of the rate")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    run = Run(options, PRESETS[options.device])
    resumed = run.load()
    print(f"{sum(p.numel() for p in run.model.parameters()):,} weights; {'goes on at' if resumed else 'begins:'} {run.state}", flush=True)
    train(run)


def train(run):
    options, state, preset = run.options, run.state, run.preset
    tests = [item for number in range(2) for item in chunk("check", number, 1.0, run.chats, test=True, count=120)]
    began, before, seen_before = time.time(), state["seconds"], state["seen"]
    saved = logged = began
    stop = (options.finish or options.minutes or math.inf) * 60

    def pace():
        """The share of the full rate: a warm-up, then the whole; towards zero when the run is to be finished."""
        left = options.pace * max(0.0, 1 - (time.time() - began) / stop) if options.finish else 1.0
        return min(1.0, (state["step"] + 1) / 50) * left

    def groups():
        while state["step"] < preset["copying"]:
            yield copying(run.order, preset["tokens"] // 80)
        for items in chunks(run):
            # What is left over at the end of a chunk is not worth a step.
            yield from (group for group in by_length(items, preset["tokens"], run.order) if 2 * len(group) * len(group[-1][0]) > preset["tokens"])

    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    recent = []
    for group in groups():
        loss, right, keep = run.learn(group, pace())
        recent.append((loss, right))
        if len(recent) == 10:
            for loss, right in [(float(a), float(b)) for a, b in recent]:
                state["loss"] = keep * state["loss"] + (1 - keep) * loss if state["loss"] else loss
                state["right"] = keep * state["right"] + (1 - keep) * right
            recent.clear()
            if state["step"] > preset["copying"] and state["right"] > GATE:
                state["level"] = min(1.0, state["level"] + 10 * RISE)
            if state["step"] == preset["copying"] + 10:
                state["loss"], state["right"] = 0.0, 0.0
        now = time.time()
        state["seconds"] = before + now - began
        ended = bool(stopped) or now - began > stop
        saving = ended or now - saved > preset["save_seconds"]
        if saving or now - logged > 60:
            logged = now
            line = {**{k: round(v, 4) for k, v in state.items()}, "tokens_per_second": round((state["seen"] - seen_before) / (now - began))}
            if saving and not stopped:
                line["check"] = run.check(tests)
            print(json.dumps(line), flush=True)
            with (run.out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        if saving:
            saved = now
            run.save()
            run.export()
        if ended:
            break


if __name__ == "__main__":
    main()
