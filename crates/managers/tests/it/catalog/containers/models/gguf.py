# Makes a model in the format GGUF: one layer, weights of dice, the words of a byte each. `gguf.py FILE SEED`
import random
import struct
import sys

WIDTH, HEADS, INNER, CONTEXT = 64, 4, 128, 512
words = ["<unk>", "<s>", "</s>"] + [f"<0x{n:02X}>" for n in range(256)] + [chr(n) for n in range(97, 123)] + ["\u2581", "\u2581a"]
kinds = [2, 3, 3] + [6] * 256 + [1] * (len(words) - 259)
dice = random.Random(int(sys.argv[2]))


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, inner):
    plain = {4: "<I", 6: "<f", 7: "<?"}
    return struct.pack("<I", kind) + (text(inner) if kind == 8 else struct.pack(plain[kind], inner))


def several(kind, values):
    each = {5: lambda v: struct.pack("<i", v), 6: lambda v: struct.pack("<f", v), 8: text}[kind]
    return struct.pack("<IIQ", 9, kind, len(values)) + b"".join(map(each, values))


head = {
    "general.architecture": value(8, "llama"),
    "general.name": value(8, "dice"),
    "general.file_type": value(4, 0),
    "llama.context_length": value(4, CONTEXT),
    "llama.embedding_length": value(4, WIDTH),
    "llama.block_count": value(4, 1),
    "llama.feed_forward_length": value(4, INNER),
    "llama.attention.head_count": value(4, HEADS),
    "llama.attention.head_count_kv": value(4, HEADS),
    "llama.attention.layer_norm_rms_epsilon": value(6, 1e-5),
    "llama.rope.dimension_count": value(4, WIDTH // HEADS),
    "llama.vocab_size": value(4, len(words)),
    "tokenizer.ggml.model": value(8, "llama"),
    "tokenizer.ggml.tokens": several(8, words),
    "tokenizer.ggml.scores": several(6, [0.0] * len(words)),
    "tokenizer.ggml.token_type": several(5, kinds),
    "tokenizer.ggml.bos_token_id": value(4, 1),
    "tokenizer.ggml.eos_token_id": value(4, 2),
    "tokenizer.ggml.unknown_token_id": value(4, 0),
    "tokenizer.ggml.add_bos_token": value(7, True),
}
square = [WIDTH, WIDTH]
tensors = {"token_embd.weight": [WIDTH, len(words)], "output_norm.weight": [WIDTH], "output.weight": [WIDTH, len(words)]}
tensors |= {f"blk.0.attn_{name}.weight": square for name in ("q", "k", "v", "output")}
tensors |= {"blk.0.attn_norm.weight": [WIDTH], "blk.0.ffn_norm.weight": [WIDTH]}
tensors |= {"blk.0.ffn_gate.weight": [WIDTH, INNER], "blk.0.ffn_up.weight": [WIDTH, INNER], "blk.0.ffn_down.weight": [INNER, WIDTH]}

out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(head))
out += b"".join(text(key) + inner for key, inner in head.items())
data = b""
for name, shape in tensors.items():
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    out += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", 0, len(data))
    numbers = [1.0] * count if name.endswith("norm.weight") else [dice.gauss(0, 0.1) for _ in range(count)]
    data += struct.pack(f"<{count}f", *numbers)
    data += bytes(-len(data) % 32)
out += bytes(-len(out) % 32)
with open(sys.argv[1], "wb") as file:
    file.write(out + data)
