"""Settings of the engine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arno.images.decode import ImageLimits
from arno.ops.config import Settings


class EngineSettings(Settings):
    """The model, its device, and the limits of the engine."""

    help_section = "Model"

    model: str = Field(
        "tiny",
        min_length=1,
        description="tiny (bundled), null (answers nothing real, for load tests), a folder with a "
        "checkpoint or a LoRA adapter, or a hub id (OWNER/NAME or OWNER/NAME@REVISION).",
    )
    base_model: str = Field(
        "",
        description="Model that a LoRA folder adapts; if empty, the model that it was trained on.",
    )
    download: bool = Field(False, description="Download a hub id that is not in the local cache.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="cpu, cuda, cuda:N, or auto: a GPU if there is one, else the CPU.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        "auto",
        description="Number format of the weights; auto: float32 on CPU, bfloat16 on GPU; int8: "
        "the products of the vision encoder in 8 bits, on CPUs with VNNI or AMX, inexact.",
    )
    image_side: int = Field(
        0,
        ge=0,
        description="Side of the square that images are resized to, pixels; 0: the model's own. A "
        "smaller one is quicker and inexact.",
    )
    scaled_decoding: bool = Field(
        False,
        description="Decode large JPEGs at a half, a quarter or an eighth of their size, at least "
        "1.5 times the model's own side: quicker, and inexact.",
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of the model; 0: one for a small model, else as many as there are "
        "CPUs that this process may use.",
    )
    batch_sequences_max: int = Field(
        16, ge=1, le=4096, description="Most sequences that decode together."
    )
    tenant_reserve_share: float = Field(
        0.25,
        ge=0.0,
        lt=1.0,
        description="Largest part of `batch_sequences_max` that stays free for what other tenants "
        "needed lately and do not have now; 0: none. A tenant that is alone has all of it.",
    )
    batch_tokens_max: int = Field(
        32768,
        ge=1,
        description="Most predicted tokens, times beams, of the sequences that decode together.",
    )
    admit_sequences_max: int = Field(
        4,
        ge=1,
        le=1024,
        description="Most sequences whose images, or whose prompts, are encoded in one go.",
    )
    decode_share: float = Field(
        0.3,
        ge=0.0,
        lt=1.0,
        description="Part of the time that a full batch decodes while new sequences wait to be "
        "encoded; one that is half full gets half of it.",
    )
    encode_overlap: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Encode images beside decoding, on a thread of their own; auto: on a CPU, if "
        "the model's threads leave a core free.",
    )
    vision_compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Run the vision encoder, and on a CPU a small model's decode step, compiled; "
        "auto: on a CPU, if `arno model compile` was run; on a GPU, always (it takes a minute or "
        "more, and is then kept in TORCHINDUCTOR_CACHE_DIR). on: a start on a CPU compiles if need "
        "be, and waits.",
    )
    compiled_folder: str = Field(
        "",
        description="Where `arno model compile` keeps what it makes, and starts look for it; if "
        "empty, ~/.cache/arno/compiled.",
    )
    loop_tokens: int = Field(
        0,
        ge=0,
        description="Stop answers that end in a loop once they have this many tokens; 0 lets them "
        "run to their limit, as transformers does.",
    )
    decode_cache_bytes: int = Field(
        0,
        ge=0,
        description="Memory for sequences that decode, bytes; 0: a part of what is free.",
    )
    encoded_cache_bytes: int = Field(
        256 * 1024**2, ge=0, description="Memory for encoded images kept for further tasks, bytes."
    )
    image_bytes_max: int = Field(
        32 * 1024**2, ge=1, description="Largest image file that is decoded, bytes."
    )
    image_pixels_max: int = Field(
        50_000_000, ge=1, description="Most pixels of an image that is decoded."
    )
    image_scans_max: int = Field(
        20,
        ge=1,
        description="Most scans of a JPEG of as many pixels; smaller ones may have more in "
        "proportion.",
    )
    image_pixels_in_flight_max: int = Field(
        100_000_000,
        ge=1,
        description="Most pixels that are decoded at once, over all threads; a decode takes up to "
        "16 bytes each. Images of at most a thirty-second part pass beside it, one a thread.",
    )
    allow_untrained: bool = Field(
        False,
        description="Serve a model with random weights, or one whose answers in the self-test are "
        "empty.",
    )

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of an image, as its decoder takes them."""
        return ImageLimits(self.image_bytes_max, self.image_pixels_max, self.image_scans_max)
