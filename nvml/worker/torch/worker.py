#!/usr/bin/env python3
"""The reference worker of vramsim: models of transformers on one CUDA device.

It speaks the protocol of PROTOCOL.md on standard input and output. Weights are
random, made once from a seed and kept as safetensors below VRAMSIM_WORKER_DIR;
nothing is downloaded. Shapes and token counts are fixed, so that batches differ
in their size only.

  worker.py                       torch on the first CUDA device
  worker.py --device cpu          torch without one: no hardware figure
  worker.py --backend fake        no torch, no device: the protocol, sleeping

Only --backend torch imports anything beyond the standard library.
"""

import argparse
import gc
import hashlib
import json
import os
import queue
import socket
import sys
import threading
import time

MAX_LINE = 8 << 20
MAX_MESSAGE = 400
BEGUN = time.monotonic_ns()


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, code, message, retryable=False):
        super().__init__(message)
        self.code, self.message, self.retryable = code, message, retryable


class Cancelled(Exception):
    """The request's cancel was asked for."""


# ---------------------------------------------------------------- protocol


def take_stdout():
    """Return a descriptor for the protocol alone; what libraries print goes to
    standard error from now on."""
    protocol = os.dup(1)
    os.dup2(2, 1)
    return protocol


def unique(pairs):
    """Make an object of pairs, or refuse a key that stands twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def integer(request, name, least=None, default=None):
    value = request.get(name, default)
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise Refusal("bad_arg", f"{name} is no 64-bit integer")
    if least is not None and value < least:
        raise Refusal("bad_arg", f"{name} is less than {least}")
    return value


def text(request, name):
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal("bad_arg", f"{name} is missing")
    return value


def shorten(message):
    data = " ".join(str(message).split()).encode("utf-8", "replace")[:MAX_MESSAGE]
    return data.decode("utf-8", "ignore")


class Cancel:
    """A request's flag, which pauses and steps look at."""

    def __init__(self):
        self.event = threading.Event()

    def check(self):
        if self.event.is_set():
            raise Cancelled()

    def pause(self, seconds):
        if self.event.wait(seconds):
            raise Cancelled()


class Loop:
    """Reads requests, has the backend carry them out on threads of its own, and
    answers. Standard input's end ends the process at once."""

    def __init__(self, backend, protocol, concurrent, heartbeat):
        self.backend, self.protocol, self.concurrent, self.heartbeat = backend, protocol, concurrent, heartbeat
        self.writing = threading.Lock()
        self.lock = threading.Lock()
        self.open = {}  # id -> Cancel
        self.last = 0
        self.todo = queue.SimpleQueue()

    def say(self, event, number=None, **fields):
        reply = {"ev": event, "t_ns": time.monotonic_ns()}
        if number is not None:
            reply["id"] = number
        reply.update(fields)
        self.write(json.dumps(reply, allow_nan=False, separators=(",", ":")).encode() + b"\n")

    def write(self, data):
        with self.writing:
            while data:
                data = data[os.write(self.protocol, data):]

    def run(self):
        self.say("hello", proto=1, pid=os.getpid(), concurrent=self.concurrent, **self.backend.hello())
        threading.Thread(target=self.beat, daemon=True).start()
        for _ in range(self.concurrent):
            threading.Thread(target=self.work, daemon=True).start()
        while True:
            line = sys.stdin.buffer.readline(MAX_LINE + 2)
            if not line.endswith(b"\n"):
                os._exit(0 if len(line) <= MAX_LINE else 2)  # the end of the input, or a line without one
            self.take(line)

    def beat(self):
        while True:
            time.sleep(self.heartbeat)
            with self.lock:
                busy = max(self.open, default=0)
            if self.backend.audible():
                self.say("hb", busy=busy)

    def take(self, line):
        """Begin a request."""
        try:
            request = json.loads(line, object_pairs_hook=unique)
            number = request["id"]
            if type(number) is not int or number <= 0:
                raise ValueError("the id is no integer above 0")
        except (ValueError, KeyError, TypeError) as error:
            print("error: a bad request:", error, file=sys.stderr)
            os._exit(2)
        op = request.get("op")
        with self.lock:
            rises, self.last = number > self.last, max(self.last, number)
            busy = len(self.open) >= self.concurrent
            if rises and not busy and op not in ("shutdown", "cancel"):
                self.open[number] = Cancel()
                self.todo.put(request)
                return
            if rises and op == "cancel" and request.get("target") in self.open:
                self.open[request["target"]].event.set()
        if not rises:
            self.say("error", number, code="bad_arg", retryable=False, msg="ids rise")
        elif op == "shutdown":
            self.backend.close()
            self.say("bye", number)
            os._exit(0)  # what frameworks do at the end of an interpreter takes long
        elif op == "cancel":
            self.say("ok", number)
        else:
            self.say("error", number, code="busy", retryable=True, msg="as many at once as there may be")

    def work(self):
        while True:
            request = self.todo.get()
            self.carry_out(request, self.open[request["id"]])

    def carry_out(self, request, cancel):
        number, began = request["id"], time.monotonic_ns()
        try:
            event, fields = self.backend.carry_out(request, cancel)
            if event is None:
                return  # a fault that leaves the request open
        except Refusal as why:
            event, fields = "error", {"code": why.code, "retryable": why.retryable, "msg": shorten(why.message)}
        except Cancelled:
            event, fields = "error", {"code": "cancelled", "retryable": True, "msg": "as it was asked for"}
        except Exception as error:  # whatever a framework raises must not end the conversation
            event, fields = "error", self.backend.explain(error)
        if event == "error":
            self.backend.clean()
            try:
                fields["vram"] = self.backend.memory()
            except Exception:
                pass  # it is optional, and a lost context cannot tell
        else:
            fields.setdefault("wall_ns", time.monotonic_ns() - began)
        with self.lock:
            del self.open[number]
        self.say(event, number, **fields)


# ------------------------------------------------------------ fake backend


class Fake:
    """A backend without a device: a ledger of memory, and faults. Its ledger may
    be in another process, so that several workers share one."""

    def __init__(self, options, loop):
        self.o, self.loop = options, loop
        self.models, self.held, self.begun, self.silent = {}, 0, 0, False
        self.lock = threading.Lock()
        self.remote = None
        if options.fake_device:
            host, port = options.fake_device.rsplit(":", 1)
            self.remote = socket.create_connection((host, int(port)), timeout=10).makefile("rw", newline="\n")
            self.ask(f"pid {os.getpid()}")

    def ask(self, question):
        with self.lock:
            self.remote.write(question + "\n")
            self.remote.flush()
            free, total, *answer = self.remote.readline().rstrip("\n").split(" ", 2)
            return int(free), int(total), "".join(answer)

    def fault(self):
        if self.remote:
            return self.ask("begin")[2]
        self.begun += 1
        return self.o.fault if self.begun - 1 == self.o.at else "-"

    def alloc(self, size):
        if self.remote:
            ok = self.ask(f"alloc {size}")[2] == "ok"
        else:
            with self.lock:
                ok = size <= self.o.memory - self.held
                self.held += size if ok else 0
        if not ok:
            raise Refusal("oom", f"{size} bytes wanted, {self.memory()['free']} free", True)

    def free(self, size):
        if self.remote:
            self.ask(f"free {size}")
        else:
            with self.lock:
                self.held -= size

    def memory(self, peak=0):
        if self.remote:
            free, total, _ = self.ask("memory")
        else:
            free, total = self.o.memory - self.held, self.o.memory
        here = sum(m["bytes"] for m in self.models.values() if m["loaded"])
        return {"free": free, "total": total, "allocated": here, "reserved": here, "peak_allocated": here + peak, "peak_reserved": here + peak}

    def hello(self):
        memory = self.memory()
        return {"worker": "reference, fake backend", "version": "1", "caps": ["stage", "cancel", "telemetry"], "models": [],
                "device": {"uuid": self.o.uuid, "name": "no device (figures are no hardware figures)", "total": memory["total"]},
                "versions": {"python": sys.version.split()[0]}, "vram": memory,
                "spawn": {"import_ns": 0, "ctx_ns": 0, "total_ns": time.monotonic_ns() - BEGUN}}

    def audible(self):
        return not self.silent

    def explain(self, error):
        return {"code": "op_failed", "retryable": False, "msg": shorten(f"{type(error).__name__}: {error}")}

    def clean(self):
        pass

    def close(self):
        pass

    def carry_out(self, request, cancel):
        op = request.get("op")
        fault = self.fault() if op in ("load", "run", "unload") else "-"
        if fault == "hang":
            return None, None
        done = getattr(self, "do_" + str(op), None)
        if done is None:
            raise Refusal("bad_op", "there is no such operation")
        event, fields = done(request, cancel)
        if fault == "failure":
            self.undo(request)
            raise Refusal("op_failed", "as it was told")
        return self.misbehave(fault, request["id"], event, fields)

    def misbehave(self, fault, number, event, fields):
        if fault == "crash":
            os._exit(3)
        elif fault == "partial":
            self.loop.write(b'{"ev":"ran","id":')
            os._exit(0)
        elif fault == "garbage":
            self.loop.write(b"}{ no json\n")
        elif fault == "huge line":
            while True:
                self.loop.write(b"x" * (1 << 20))
        elif fault == "lost":
            raise Refusal("fatal", "off the bus")
        elif fault == "double id":
            self.loop.say(event, number, **fields)
        elif fault == "wrong id":
            self.loop.say(event, number + 1000, **fields)
        elif fault == "wrong event":
            self.loop.say("staged", number)
        elif fault == "silent":
            self.silent = True
        else:
            return event, fields
        return (event, fields) if fault == "double id" else (None, None)

    def model(self, request):
        found = self.models.get(text(request, "model"))
        if found is None:
            raise Refusal("no_model", "no such model was prepared")
        return found

    def do_prepare(self, request, cancel):
        name, size = text(request, "model"), integer(request, "bytes", 0, 0)
        self.models.setdefault(name, {"bytes": size, "item": integer(request, "item_bytes", 0, 0), "loaded": False, "staged": False, "used": False, "busy": 0})
        digest = hashlib.sha256(f"{name} {size} {request.get('seed', 0)}".encode()).hexdigest()
        return "prepared", {"bytes": size, "path": name + ".none", "sha256": digest}

    def do_stage(self, request, cancel):
        model = self.model(request)
        model["staged"] = True
        return "staged", {"bytes": model["bytes"]}

    def do_unstage(self, request, cancel):
        model = self.model(request)
        model["staged"] = False
        return "unstaged", {"bytes": model["bytes"]}

    def do_load(self, request, cancel):
        model, tier, began = self.model(request), text(request, "tier"), time.monotonic_ns()
        if model["loaded"]:
            raise Refusal("bad_arg", "the model is loaded already")
        if tier not in ("disk", "pagecache", "pinned") or tier == "pinned" and not model["staged"]:
            raise Refusal("bad_arg", "there is no such tier, or nothing in it")
        self.alloc(model["bytes"])
        try:
            cancel.pause(self.o.load / 1e3)
        except Cancelled:
            self.free(model["bytes"])
            raise
        first, model["used"], model["loaded"] = not model["used"], True, True
        zero = dict.fromkeys(("build_ns", "read_ns", "bind_ns", "warmup_ns"), 0)
        return "loaded", {"bytes": model["bytes"], "first": first, "phases": {**zero, "h2d_ns": time.monotonic_ns() - began}, "vram": self.memory()}

    def do_run(self, request, cancel):
        model, items, began = self.model(request), request.get("items"), time.monotonic_ns()
        if not model["loaded"]:
            raise Refusal("not_loaded", "the model is not loaded")
        if not isinstance(items, list) or not items:
            raise Refusal("bad_arg", "there are no items")
        need = model["item"] * len(items)
        self.alloc(need)
        model["busy"] += 1
        try:
            memory = self.memory(need)
            cancel.pause(self.o.item / 1e3 * len(items))
        finally:
            model["busy"] -= 1
            self.free(need)
        return "ran", {"n": len(items), "gpu_ns": time.monotonic_ns() - began, "first": False, "vram": memory}

    def do_unload(self, request, cancel):
        model = self.model(request)
        if not model["loaded"]:
            raise Refusal("not_loaded", "the model is not loaded")
        if model["busy"]:
            raise Refusal("busy", "the model is in use")
        model["loaded"] = False
        self.free(model["bytes"])
        return "unloaded", {"vram": self.memory()}

    def do_mem(self, request, cancel):
        return "mem", {"vram": self.memory()}

    def do_telemetry(self, request, cancel):
        return "telemetry", {"energy_mj": 0, "power_mw": 0, "sm_mhz": 0, "mem_mhz": 0, "reasons": 0, "temp_c": 0,
                             "processes": [{"pid": os.getpid(), "bytes": self.memory()["allocated"]}]}

    def undo(self, request):
        model = self.models.get(request.get("model"))
        if request["op"] == "load":
            model["loaded"] = False
            self.free(model["bytes"])
        elif request["op"] == "unload":
            self.alloc(model["bytes"])
            model["loaded"] = True


# ------------------------------------------------------------ architectures
#
# A batch of n items has n inputs of a fixed shape and, where a model generates,
# a fixed number of tokens; an item's work does not change them.

TOKENS = 32  # that are generated
PROMPT = 128  # tokens


class Architecture:
    """A model: how it is built, what a batch is, how it is run."""

    dtype = "bfloat16"

    def build(self, torch):
        raise NotImplementedError

    def inputs(self, torch, generator, device):
        """Return the inputs of one item, without the batch's dimension."""
        raise NotImplementedError

    def run(self, torch, module, batch, cancel):
        """Return a tensor of outputs."""
        raise NotImplementedError


def noise(torch, generator, device, *shape):
    return torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(torch.bfloat16)


def tokens(torch, generator, device, vocabulary, count):
    return torch.randint(0, vocabulary, (count,), generator=generator, device=device)


class Whisper(Architecture):
    """Whisper large-v3: encodes 30 s of sound, then decodes TOKENS tokens greedily."""

    def build(self, torch):
        from transformers import WhisperConfig, WhisperForConditionalGeneration
        return WhisperForConditionalGeneration(WhisperConfig(
            vocab_size=51866, num_mel_bins=128, d_model=1280, encoder_layers=32, encoder_attention_heads=20, encoder_ffn_dim=5120,
            decoder_layers=32, decoder_attention_heads=20, decoder_ffn_dim=5120, max_source_positions=1500, max_target_positions=448))

    def inputs(self, torch, generator, device):
        return (noise(torch, generator, device, 128, 3000),)

    def run(self, torch, module, batch, cancel):
        encoded = module.model.encoder(batch[0])[0]
        token = torch.full((encoded.shape[0], 1), 50258, device=encoded.device)
        past = None
        for _ in range(TOKENS):
            cancel.check()
            out = module(encoder_outputs=(encoded,), decoder_input_ids=token, past_key_values=past, use_cache=True)
            past, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
        return out.logits


class VideoMAE(Architecture):
    """VideoMAE-L: 16 frames of 224 x 224, 400 classes."""

    def build(self, torch):
        from transformers import VideoMAEConfig, VideoMAEForVideoClassification
        return VideoMAEForVideoClassification(VideoMAEConfig(
            image_size=224, patch_size=16, num_frames=16, tubelet_size=2, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
            intermediate_size=4096, num_labels=400))

    def inputs(self, torch, generator, device):
        return (noise(torch, generator, device, 16, 3, 224, 224),)

    def run(self, torch, module, batch, cancel):
        return module(pixel_values=batch[0]).logits


class Clap(Architecture):
    """CLAP (HTSAT, unfused): 10 s of sound against a text of 77 tokens."""

    def build(self, torch):
        from transformers import ClapConfig, ClapModel
        return ClapModel(ClapConfig())

    def inputs(self, torch, generator, device):
        return noise(torch, generator, device, 1, 1001, 64), tokens(torch, generator, device, 50000, 77) + 2

    def run(self, torch, module, batch, cancel):
        out = module(input_ids=batch[1], attention_mask=torch.ones_like(batch[1]), input_features=batch[0])
        return torch.cat((out.audio_embeds, out.text_embeds), -1)


class Qwen3(Architecture):
    """Qwen3-0.6B: a prompt of PROMPT tokens, then TOKENS tokens greedily."""

    vocabulary = 151936

    def build(self, torch):
        from transformers import Qwen3Config, Qwen3ForCausalLM
        return Qwen3ForCausalLM(Qwen3Config(
            vocab_size=self.vocabulary, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
            num_key_value_heads=8, head_dim=128, max_position_embeddings=40960, rope_theta=1e6, rms_norm_eps=1e-6, tie_word_embeddings=True))

    def inputs(self, torch, generator, device):
        return (tokens(torch, generator, device, self.vocabulary, PROMPT),)

    def run(self, torch, module, batch, cancel):
        token, past = batch[0], None
        for _ in range(TOKENS):
            cancel.check()
            out = module(input_ids=token, past_key_values=past, use_cache=True)
            past, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
        return out.logits


class DINOv3(Architecture):
    """DINOv3 ViT-L/16: an image of 224 x 224."""

    def build(self, torch):
        from transformers import DINOv3ViTConfig, DINOv3ViTModel
        return DINOv3ViTModel(DINOv3ViTConfig(
            image_size=224, patch_size=16, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
            num_register_tokens=4))

    def inputs(self, torch, generator, device):
        return (noise(torch, generator, device, 3, 224, 224),)

    def run(self, torch, module, batch, cancel):
        return module(pixel_values=batch[0]).last_hidden_state


class Tiny(Architecture):
    """A model of 0.6 MB that needs torch alone, with all that goes wrong elsewhere:
    tied weights, a buffer that is not saved, a tensor that is a plain attribute."""

    def build(self, torch):
        nn = torch.nn

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Embedding(1000, 256)
                self.norm = nn.LayerNorm(256)
                self.count = nn.BatchNorm1d(256)
                self.mix = nn.Linear(256, 256)
                self.head = nn.Linear(256, 1000, bias=False)
                self.head.weight = self.embed.weight
                self.register_buffer("phase", torch.arange(256, dtype=torch.float32) / 256, persistent=False)
                self.scale = torch.ones(1, dtype=torch.float32) * 2

            def forward(self, ids):
                x = self.norm(self.embed(ids) + self.phase.to(self.embed.weight.dtype))
                x = self.count(self.mix(x).transpose(1, 2)).transpose(1, 2)
                return self.head(x) * self.scale.to(x.dtype)

        return Model()

    def inputs(self, torch, generator, device):
        return (tokens(torch, generator, device, 1000, 64),)

    def run(self, torch, module, batch, cancel):
        cancel.check()
        return module(batch[0])


ARCHITECTURES = {"whisper": Whisper, "videomae": VideoMAE, "clap": Clap, "qwen3": Qwen3, "dinov3": DINOv3, "tiny": Tiny}
USUAL = "whisper,videomae,clap,qwen3,dinov3"


# ------------------------------------------------------------- weights file
#
# A safetensors file: the length of a JSON header, the header, the tensors. Pads
# keep every tensor at a multiple of ALIGN, as kernels want it, because the
# format allows no gaps. Tied tensors are there once; the header's metadata says
# which names share one. Tensors that no state has (buffers that are not saved,
# plain attributes) are there under HIDDEN + name.

ALIGN = 256
HIDDEN = "hidden."
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64", "I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}


def layout(tensors):
    """Return the header's entries and the size of the data, for (name, dtype
    name, shape, bytes) in order."""
    entries, at = {}, 0
    for name, dtype, shape, size in tensors:
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
        if pad := -at % ALIGN:
            entries[f"pad.{len(entries)}"] = {"dtype": "U8", "shape": [pad], "data_offsets": [at, at + pad]}
            at += pad
    return entries, at


def read_header(path):
    """Return the entries, the metadata and where the data begins."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= 100 << 20:
            raise Refusal("op_failed", "the file of weights is damaged")
        header = json.loads(file.read(size))
    return header, header.pop("__metadata__", {}), 8 + size


class Uninitialised:
    """While it is open, modules are built without initial values of their
    parameters, which takes most of the time and is overwritten anyway."""

    def __init__(self, torch):
        self.init, self.saved = torch.nn.init, {}

    def __enter__(self):
        for name in dir(self.init):
            if name.endswith("_") and not name.startswith("_") and callable(getattr(self.init, name)):
                self.saved[self.init, name] = getattr(self.init, name)
                setattr(self.init, name, lambda tensor, *_, **__: tensor)
        if transformers := sys.modules.get("transformers"):
            base = transformers.PreTrainedModel
            self.saved[base, "init_weights"] = base.init_weights
            base.init_weights = lambda model: model.tie_weights()

    def __exit__(self, *_):
        for (owner, name), value in self.saved.items():
            setattr(owner, name, value)


# ------------------------------------------------------------ torch backend


class Torch:
    """Models of transformers on a device of torch."""

    CHUNK = 64 << 20  # of what is read, and copied, at once

    def __init__(self, options, loop):
        self.o, self.loop = options, loop
        began = time.monotonic_ns()
        import torch
        self.torch, self.versions = torch, {"python": sys.version.split()[0], "torch": torch.__version__, "cuda": str(torch.version.cuda)}
        for name in ("transformers", "safetensors", "numpy"):
            try:
                self.versions[name] = __import__(name).__version__
            except ImportError:
                pass  # a model that needs it says so
        self.import_ns = time.monotonic_ns() - began
        began = time.monotonic_ns()
        self.cuda = options.device != "cpu"
        self.device = torch.device("cuda:0" if options.device == "cuda" else options.device)
        if self.cuda:
            torch.cuda.set_device(self.device)
            torch.zeros(1, device=self.device)
            torch.cuda.synchronize()
            self.copying = torch.cuda.Stream()
        self.context_ns = time.monotonic_ns() - began
        self.building = threading.Lock()  # default types are of the whole process
        self.names = options.models.split(",")
        unknown = [name for name in self.names if name not in ARCHITECTURES]
        if unknown:
            raise SystemExit(f"error: there is no model {', '.join(unknown)}; there are {', '.join(ARCHITECTURES)}")
        self.models = {name: Model(name, ARCHITECTURES[name](), self.folder) for name in self.names}
        self.telemetry = Telemetry(self.uuid()) if self.cuda else None

    @property
    def folder(self):
        return self.o.dir or os.environ.get("VRAMSIM_WORKER_DIR") or "."

    def uuid(self):
        if not self.cuda:
            return "cpu"
        found = getattr(self.torch.cuda.get_device_properties(self.device), "uuid", None)
        if found is not None:
            return found if str(found).startswith("GPU-") else f"GPU-{found}"
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return visible if visible.startswith("GPU-") and "," not in visible else ""

    def hello(self):
        name = self.torch.cuda.get_device_name(self.device) if self.cuda else "CPU (figures are no hardware figures)"
        memory = self.memory()
        caps = ["stage", "cancel"] + (["telemetry"] if self.telemetry and self.telemetry.there else [])
        return {"worker": "reference, torch", "version": "1", "caps": caps, "versions": self.versions, "vram": memory,
                "device": {"uuid": str(self.uuid()), "name": name, "total": memory["total"]},
                "models": [{"name": m.name, "params": m.about.get("params", 0), "bytes": m.about.get("bytes", 0), "dtype": m.kind.dtype} for m in self.models.values()],
                "spawn": {"import_ns": self.import_ns, "ctx_ns": self.context_ns, "total_ns": time.monotonic_ns() - BEGUN}}

    def audible(self):
        return True

    def memory(self):
        if not self.cuda:
            pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
            here = sum(m.about["bytes"] for m in self.models.values() if m.module is not None)
            return {"free": os.sysconf("SC_AVPHYS_PAGES") * size, "total": pages * size, "allocated": here, "reserved": here, "peak_allocated": here, "peak_reserved": here}
        cuda = self.torch.cuda
        free, total = cuda.mem_get_info(self.device)
        return {"free": free, "total": total, "allocated": cuda.memory_allocated(), "reserved": cuda.memory_reserved(),
                "peak_allocated": cuda.max_memory_allocated(), "peak_reserved": cuda.max_memory_reserved()}

    def explain(self, error):
        said = f"{type(error).__name__}: {error}"
        print("error:", said, file=sys.stderr)
        if isinstance(error, (self.torch.cuda.OutOfMemoryError, MemoryError)) or "allocate memory" in said:
            return {"code": "oom", "retryable": True, "msg": shorten(said)}
        if self.cuda and (type(error).__name__ == "AcceleratorError" or "CUDA error" in said or "cuDNN error" in said and "EXECUTION_FAILED" in said):
            return {"code": "fatal", "retryable": False, "msg": shorten(said)}
        return {"code": "op_failed", "retryable": False, "msg": shorten(said)}

    def clean(self):
        gc.collect()
        if self.cuda:
            try:
                self.torch.cuda.empty_cache()
            except Exception:
                pass  # the context is lost; the error says so

    def close(self):
        for model in self.models.values():
            model.module = model.arena = model.pinned = None
        self.clean()

    def carry_out(self, request, cancel):
        done = getattr(self, "do_" + str(request.get("op")), None)
        if done is None:
            raise Refusal("bad_op", "there is no such operation")
        if self.cuda:
            self.torch.cuda.set_device(self.device)  # which is a thread's own
            self.torch.cuda.reset_peak_memory_stats()
        with self.torch.no_grad():
            return done(request, cancel)

    def model(self, request):
        found = self.models.get(text(request, "model"))
        if found is None:
            raise Refusal("no_model", f"there is no such model; there are {', '.join(self.models)}")
        return found

    def do_prepare(self, request, cancel):
        model, seed = self.model(request), integer(request, "seed", 0, 0)
        if not model.there(seed):
            with self.building:
                self.make(model, seed, cancel)
        return "prepared", {"bytes": model.about["bytes"], "path": model.path(), "sha256": model.about["sha256"]}

    def build(self, model, device):
        """Build a module; parameters have no values yet."""
        torch, before = self.torch, self.torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, model.kind.dtype))
        try:
            if not isinstance(model.kind, Tiny):
                import transformers  # so that Uninitialised finds it
            with Uninitialised(torch), torch.device(device):
                return model.kind.build(torch).eval()
        except ImportError as error:
            raise Refusal("op_failed", f"model {model.name} cannot be built: {error}")
        finally:
            torch.set_default_dtype(before)

    def make(self, model, seed, cancel):
        """Write a model's weights: a build on the CPU gives all that is no
        parameter, the seed the rest."""
        torch, module = self.torch, self.build(model, "cpu")
        state, first, alias = [], {}, {}
        for name, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) in first:
                alias[name] = first[id(tensor)]
                continue
            first[id(tensor)] = name
            state.append((name, tensor))
        state += [(HIDDEN + name, tensor) for name, tensor in hidden(torch, module)]
        kinds = {getattr(torch, full): short for short, full in DTYPES.items()}
        entries, size = layout([(n, kinds[t.dtype], list(t.shape), t.numel() * t.element_size()) for n, t in state])
        header = json.dumps({"__metadata__": {"alias": json.dumps(alias)}, **entries}).encode()
        header += b" " * (-len(header) % 8)
        digest, temporary = hashlib.sha256(), model.path() + f".{os.getpid()}"
        try:
            with open(temporary, "wb") as file:
                for data in self.stream(header, entries, dict(state), seed, cancel):
                    digest.update(data)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())  # or its pages could not be dropped from the cache
            os.replace(temporary, model.path())
        except BaseException:
            if os.path.exists(temporary):
                os.remove(temporary)
            raise
        params = sum(t.numel() for n, t in state if isinstance(t, torch.nn.Parameter))
        model.tell({"seed": seed, "bytes": size, "params": params, "sha256": digest.hexdigest(), "size": 8 + len(header) + size})

    def stream(self, header, entries, tensors, seed, cancel):
        """Yield the bytes of a file of weights."""
        yield len(header).to_bytes(8, "little")
        yield header
        for name, entry in entries.items():
            cancel.check()
            if name not in tensors:
                yield bytes(entry["shape"][0])
                continue
            tensor = tensors[name]
            if isinstance(tensor, self.torch.nn.Parameter):
                tensor = self.fill(name, tensor, seed)
            data = tensor.detach().cpu().contiguous().reshape(-1).view(self.torch.uint8)
            yield raw(data)

    def fill(self, name, like, seed):
        """Return random values of a parameter: scales are one, shifts zero."""
        torch = self.torch
        if like.ndim < 2:
            return torch.full(like.shape, 0.0 if name.endswith("bias") else 1.0, dtype=like.dtype)
        key = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "little")
        generator = torch.Generator(device=self.device).manual_seed(key)
        return torch.empty(like.shape, dtype=like.dtype, device=self.device).normal_(0, 0.02, generator=generator)

    def do_stage(self, request, cancel):
        model = self.model(request)
        model.prepared()
        if model.pinned is None:
            size = model.about["bytes"]
            pinned = self.torch.empty(size, dtype=self.torch.uint8, pin_memory=self.cuda)
            with open(model.path(), "rb", buffering=0) as file:
                file.seek(read_header(model.path())[2])
                for at in range(0, size, self.CHUNK):
                    cancel.check()
                    fill_from(file, pinned[at:at + self.CHUNK])
            model.pinned = pinned
        return "staged", {"bytes": model.about["bytes"]}

    def do_unstage(self, request, cancel):
        model = self.model(request)
        model.pinned = None
        gc.collect()
        return "unstaged", {"bytes": model.about.get("bytes", 0)}

    def do_load(self, request, cancel):
        model, tier = self.model(request), text(request, "tier")
        model.prepared()
        if model.module is not None:
            raise Refusal("bad_arg", "the model is loaded already")
        if tier not in ("disk", "pagecache", "pinned"):
            raise Refusal("bad_arg", "there is no such tier")
        if tier == "pinned" and model.pinned is None:
            raise Refusal("bad_arg", "the model is not staged")
        phases, mark = {}, time.monotonic_ns()

        def phase(name):
            nonlocal mark
            now = time.monotonic_ns()
            phases[name], mark = now - mark, now

        with self.building:
            module = self.build(model, "meta")
        phase("build_ns")
        entries, metadata, begins = read_header(model.path())
        arena, phases["read_ns"], phases["h2d_ns"] = self.bring(model, tier, begins, cancel)
        mark = time.monotonic_ns()
        self.bind(module, arena, entries, json.loads(metadata["alias"]))
        phase("bind_ns")
        first = not model.used
        if request.get("warmup"):
            self.batch(model, module, [0], cancel)
        phase("warmup_ns")
        model.module, model.arena, model.used = module, arena, True
        return "loaded", {"bytes": model.about["bytes"], "first": first, "phases": phases, "vram": self.memory()}

    def bring(self, model, tier, begins, cancel):
        """Return the weights on the device, and how long reading and copying
        took; of what is read in chunks the two overlap."""
        torch, size, began = self.torch, model.about["bytes"], time.monotonic_ns()
        arena = torch.empty(size, dtype=torch.uint8, device=self.device)
        if self.cuda:
            self.copying.wait_stream(torch.cuda.current_stream())  # the bytes may have been in use there until now
        if tier == "pinned":
            with self.stream_of_copies():
                for at in range(0, size, self.CHUNK):
                    cancel.check()
                    arena[at:at + self.CHUNK].copy_(model.pinned[at:at + self.CHUNK], non_blocking=True)
            self.wait_for_copies()
            return arena, 0, time.monotonic_ns() - began
        reading = 0
        with open(model.path(), "rb", buffering=0) as file, self.stream_of_copies():
            if tier == "disk" and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(begins)
            slots = Slots(torch, self.CHUNK, self.cuda)
            for at in range(0, size, self.CHUNK):
                cancel.check()
                part = arena[at:at + self.CHUNK]
                target = slots.next(part)
                mark = time.monotonic_ns()
                fill_from(file, target)
                reading += time.monotonic_ns() - mark
                slots.copy(part, target)
        self.wait_for_copies()
        return arena, reading, time.monotonic_ns() - began - reading

    def stream_of_copies(self):
        if self.cuda:
            return self.torch.cuda.stream(self.copying)
        return threading.Lock()  # any context: nothing is asynchronous without a device

    def wait_for_copies(self):
        if self.cuda:
            self.copying.synchronize()

    def bind(self, module, arena, entries, alias):
        """Make a module of the meta device use the weights in an arena. Buffers
        and attributes that no state has would stay without values and nobody
        would say so: they come from the file, where a build on the CPU put them."""
        torch, there = self.torch, {}
        for name, entry in entries.items():
            if not name.startswith("pad."):
                a, b = entry["data_offsets"]
                there[name] = arena[a:b].view(getattr(torch, DTYPES[entry["dtype"]])).view(entry["shape"])
        for name, old in hidden(torch, module):
            value = there.pop(HIDDEN + name, None)
            if value is None:
                raise Refusal("op_failed", f"a build on the CPU had no tensor {name}")
            if not old.is_meta and not torch.equal(old.cpu(), value.cpu()):
                raise Refusal("op_failed", f"{name} is not what a build on the CPU had")
            put(torch, module, name, value)
        made = {name: torch.nn.Parameter(value, requires_grad=False) if value.is_floating_point() else value for name, value in there.items()}
        for name in list(module.state_dict(keep_vars=True)):
            value = made.get(alias.get(name, name))
            if value is None:
                raise Refusal("op_failed", f"the file of weights has no {name}")
            put(torch, module, name, value)
        left = [n for n, t in [*module.named_parameters(), *module.named_buffers(), *hidden(torch, module)] if t.is_meta]
        if left:
            raise Refusal("op_failed", f"no values for {', '.join(left[:5])}")

    def batch(self, model, module, seeds, cancel):
        """Run one batch; return how long the device took."""
        torch, rows = self.torch, []
        for seed in seeds:
            generator = torch.Generator(device=self.device).manual_seed(seed & (1 << 63) - 1)
            rows.append(model.kind.inputs(torch, generator, self.device))
        batch = [torch.stack(column) for column in zip(*rows)]
        cancel.check()
        if self.cuda:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
        mark = time.monotonic_ns()
        out = model.kind.run(torch, module, batch, cancel)
        if self.cuda:
            end.record()
            end.synchronize()
            took = int(begin.elapsed_time(end) * 1e6)
        else:
            took = time.monotonic_ns() - mark
        if not bool(torch.isfinite(out).all()):
            raise Refusal("op_failed", "the output is not finite")
        return took

    def do_run(self, request, cancel):
        model, items = self.model(request), request.get("items")
        if model.module is None:
            raise Refusal("not_loaded", "the model is not loaded")
        if not isinstance(items, list) or not items:
            raise Refusal("bad_arg", "there are no items")
        seeds = [integer(item, "seed") for item in items]
        with model.use():
            took = self.batch(model, model.module, seeds, cancel)
        first, model.ran = not model.ran, True
        return "ran", {"n": len(items), "gpu_ns": took, "first": first, "vram": self.memory()}

    def do_unload(self, request, cancel):
        model = self.model(request)
        if model.module is None:
            raise Refusal("not_loaded", "the model is not loaded")
        if model.users:
            raise Refusal("busy", "the model is in use")
        model.module = model.arena = None
        self.clean()
        if self.cuda:
            self.torch.cuda.synchronize()
        return "unloaded", {"vram": self.memory()}

    def do_mem(self, request, cancel):
        return "mem", {"vram": self.memory()}

    def do_telemetry(self, request, cancel):
        if not self.telemetry or not self.telemetry.there:
            raise Refusal("bad_op", "there is no NVML")
        return "telemetry", self.telemetry.read()


class Model:
    """What the worker knows of one of its models."""

    def __init__(self, name, kind, folder):
        self.name, self.kind, self.folder = name, kind, folder
        self.module = self.arena = self.pinned = None
        self.used = self.ran = False
        self.users, self.lock = 0, threading.Lock()
        self.about = {}
        try:
            with open(self.path() + ".json", encoding="utf-8") as file:
                self.about = json.load(file)
        except (OSError, ValueError):
            pass  # it has not been prepared yet

    def path(self):
        return os.path.join(self.folder, self.name + ".safetensors")

    def there(self, seed):
        """Report whether the file of weights is the one of a seed."""
        try:
            return self.about.get("seed") == seed and os.path.getsize(self.path()) == self.about["size"]
        except OSError:
            return False

    def tell(self, about):
        """Keep what is known of the file beside it."""
        with open(self.path() + ".json", "w", encoding="utf-8") as file:
            json.dump(about, file)
        self.about = about

    def prepared(self):
        if not self.about:
            raise Refusal("no_model", "the model was not prepared")

    def use(self):
        return Use(self)


class Use:
    """Counts a batch among the users of its model."""

    def __init__(self, model):
        self.model = model

    def __enter__(self):
        with self.model.lock:
            self.model.users += 1

    def __exit__(self, *_):
        with self.model.lock:
            self.model.users -= 1


class Slots:
    """Pinned buffers that take turns: one is read into while others are copied
    from. Without a device what is read goes where it belongs at once."""

    COUNT = 4

    def __init__(self, torch, size, cuda):
        self.torch, self.size, self.cuda, self.turn = torch, size, cuda, 0
        self.buffers, self.copied = [], []

    def next(self, part):
        if not self.cuda:
            return part
        at = self.turn % self.COUNT
        if at == len(self.buffers):
            self.buffers.append(self.torch.empty(self.size, dtype=self.torch.uint8, pin_memory=True))
            self.copied.append(self.torch.cuda.Event())
        else:
            self.copied[at].synchronize()
        return self.buffers[at][:part.numel()]

    def copy(self, part, source):
        if self.cuda:
            part.copy_(source, non_blocking=True)
            self.copied[self.turn % self.COUNT].record()
        self.turn += 1


def hidden(torch, module):
    """Yield the tensors of a module that its state does not have."""
    for path, sub in module.named_modules():
        names = [n for n in sub._non_persistent_buffers_set if sub._buffers.get(n) is not None]
        names += [n for n, value in vars(sub).items() if isinstance(value, torch.Tensor)]
        for name in sorted(names):
            yield (f"{path}.{name}" if path else name), getattr(sub, name)


def put(torch, module, name, value):
    """Make a tensor the one of a name in a module."""
    path, _, leaf = name.rpartition(".")
    sub = module.get_submodule(path)
    if leaf in sub._parameters:
        sub._parameters[leaf] = value
    elif leaf in sub._buffers:
        sub._buffers[leaf] = value
    else:
        setattr(sub, leaf, value)


def raw(tensor):
    """Return the memory of a tensor of bytes on the CPU, without a copy."""
    import ctypes
    if tensor.numel() == 0:
        return b""
    made = (ctypes.c_char * tensor.numel()).from_address(tensor.data_ptr())
    made.owner = tensor
    return memoryview(made).cast("B")


def fill_from(file, tensor):
    """Read exactly a tensor's bytes."""
    target = raw(tensor)
    while len(target):
        n = file.readinto(target)
        if not n:
            raise Refusal("op_failed", "the file of weights is too short")
        target = target[n:]


class Telemetry:
    """NVML through ctypes, read-only, for builds of vramsim that lack it."""

    def __init__(self, uuid):
        import ctypes
        self.c, self.there = ctypes, False
        try:
            self.lib = ctypes.CDLL("libnvidia-ml.so.1")
            self.device = ctypes.c_void_p()
            self.there = self.lib.nvmlInit_v2() == 0 and self.lib.nvmlDeviceGetHandleByUUID(str(uuid).encode(), ctypes.byref(self.device)) == 0
        except (OSError, AttributeError):
            pass  # then there is no telemetry, which caps say

    def number(self, function, kind, *before):
        """Return what a function says, -1 if the driver cannot."""
        call, value = getattr(self.lib, function, None), kind()
        if call is None or call(self.device, *before, self.c.byref(value)) != 0:
            return -1
        return value.value

    def read(self):
        c = self.c
        return {"energy_mj": self.number("nvmlDeviceGetTotalEnergyConsumption", c.c_ulonglong), "power_mw": self.number("nvmlDeviceGetPowerUsage", c.c_uint),
                "sm_mhz": self.number("nvmlDeviceGetClockInfo", c.c_uint, 1), "mem_mhz": self.number("nvmlDeviceGetClockInfo", c.c_uint, 2),
                "reasons": self.number("nvmlDeviceGetCurrentClocksThrottleReasons", c.c_ulonglong),
                "temp_c": self.number("nvmlDeviceGetTemperature", c.c_uint, 0), "processes": self.processes()}

    def processes(self):
        c = self.c

        class Info(c.Structure):
            _fields_ = [("pid", c.c_uint), ("used", c.c_ulonglong), ("gpu", c.c_uint), ("compute", c.c_uint)]

        call = getattr(self.lib, "nvmlDeviceGetComputeRunningProcesses_v3", None)
        found, count = (Info * 256)(), c.c_uint(256)
        if call is None or call(self.device, c.byref(count), found) != 0:
            return []
        unknown = (1 << 64) - 1
        return [{"pid": p.pid, "bytes": 0 if p.used == unknown else p.used} for p in found[:count.value]]


def main():
    parser = argparse.ArgumentParser(description="The reference worker of vramsim.")
    parser.add_argument("--backend", choices=("torch", "fake"), default="torch")
    parser.add_argument("--device", default="cuda", help="of torch: cuda, cuda:N or cpu")
    parser.add_argument("--models", default=USUAL, help="of " + ",".join(ARCHITECTURES))
    parser.add_argument("--dir", default="", help="for weights; otherwise VRAMSIM_WORKER_DIR")
    parser.add_argument("--concurrent", type=int, default=1, help="requests at once")
    parser.add_argument("--heartbeat", type=float, default=1.0, help="seconds between two")
    fake = parser.add_argument_group("of --backend fake")
    fake.add_argument("--fake-device", default="", help="address of a shared ledger")
    fake.add_argument("--memory", type=int, default=10**12, help="bytes")
    fake.add_argument("--fault", default="-")
    fake.add_argument("--at", type=int, default=-1, help="load, batch or unload with the fault, from 0")
    fake.add_argument("--load", type=float, default=1, help="ms")
    fake.add_argument("--item", type=float, default=1, help="ms")
    fake.add_argument("--uuid", default="GPU-fake")
    options = parser.parse_args()
    protocol = take_stdout()
    for name, value in (("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1")):
        os.environ.setdefault(name, value)
    loop = Loop(None, protocol, max(1, options.concurrent), options.heartbeat)
    loop.backend = {"torch": Torch, "fake": Fake}[options.backend](options, loop)
    loop.run()


if __name__ == "__main__":
    main()
