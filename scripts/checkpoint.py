"""What scripts ask a run's checkpoint.safetensors."""
import hashlib
import json
import pathlib
import struct


def read(folder):
    path = pathlib.Path(folder) / "checkpoint.safetensors"
    content = path.read_bytes() if path.exists() else struct.pack("<Q", 2) + b"{}"
    begin = 8 + struct.unpack("<Q", content[:8])[0]
    return content, begin, json.loads(content[8:begin])


def updates(folder):
    """How many were made; 0 where there is no checkpoint."""
    metadata = read(folder)[2].get("__metadata__")
    return json.loads(metadata["progress"])["updates"] if metadata else 0


def tensors(folder):
    """A hash of each tensor's bytes, by name."""
    content, begin, header = read(folder)
    return {name: hashlib.sha256(content[begin + e["data_offsets"][0]:begin + e["data_offsets"][1]]).hexdigest()
            for name, e in header.items() if name != "__metadata__"}
