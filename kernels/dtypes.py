"""Storage types of kernels as torch has them."""

from __future__ import annotations

from typing import Final

import torch

from codegen.kernel import Storage

DTYPES: Final[dict[Storage, torch.dtype]] = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}
STORAGES: Final[dict[torch.dtype, Storage]] = {dtype: storage for storage, dtype in DTYPES.items()}
