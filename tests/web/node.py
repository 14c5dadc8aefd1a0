"""JavaScript of the page, run by node."""

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from mamtra.web.site import PAGE

NODE = shutil.which("node")
node_needed = pytest.mark.skipif(NODE is None, reason="no node")
_HEAD = """
import fs from "node:fs";
const { folder, given } = JSON.parse(fs.readFileSync(0));
const use = name => import(`file://${folder}/${name}`);
const read = path => { const all = fs.readFileSync(path); return all.buffer.slice(all.byteOffset, all.byteOffset + all.length); };
const floats = numbers => Float32Array.from(numbers);
const answer = async () => {
"""
_TAIL = """
};
const plain = (_, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
process.stdout.write(JSON.stringify(await answer(), plain));
"""


def run(code: str, folder: Any = PAGE, **given: Any) -> Any:
    """What the body of a function returns that has `given`, and `use` to import modules of the page in a folder."""
    told = json.dumps({"folder": str(folder), "given": given}, default=lambda array: np.asarray(array).tolist())
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", _HEAD + code + _TAIL],
        input=told, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
