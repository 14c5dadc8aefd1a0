"""Sizes of the two kinds of layers, the tables and the head, on which costs depend."""

from __future__ import annotations

from dataclasses import dataclass

from mamtra.models.config import BackboneConfig, CausalLMConfig, SpeechLMConfig
from mamtra.models.plan import LayerPlan


@dataclass(frozen=True)
class AttentionShape:
    """Causal grouped-query attention.

    Attributes:
        hidden: width of the residual stream.
        heads: query heads.
        groups: key/value heads.
        head_dim: size of a head.
        qkv_bias: q, k and v have biases.
    """

    hidden: int
    heads: int
    groups: int
    head_dim: int
    qkv_bias: bool = False

    @property
    def inner(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_dim

    @property
    def kv_elements(self) -> int:
        """Numbers that one token adds to the cache."""
        return 2 * self.groups * self.head_dim

    @property
    def projection_weights(self) -> int:
        """Weights of the projections, each used once a token."""
        return self.hidden * (2 * self.inner + self.kv_elements)

    @property
    def parameters(self) -> int:
        """All parameters of the mixer."""
        return self.projection_weights + (self.inner + self.kv_elements) * self.qkv_bias


@dataclass(frozen=True)
class MambaShape:
    """Mamba-2 (arXiv 2405.21060), in the shape of grouped-query attention or its own.

    Attributes:
        hidden: width of the residual stream.
        heads: heads.
        head_dim: P, size of a head.
        state_size: N, size of the state along B and C.
        x_size: channels of x before they are repeated to all heads.
        b_size: channels of B before they are repeated.
        c_size: channels of C before they are repeated.
        taps: of the causal convolution over x, B and C.
        in_bias: the input projection has a bias.
        chunk: inputs per chunk of the scan.
    """

    hidden: int
    heads: int
    head_dim: int
    state_size: int
    x_size: int
    b_size: int
    c_size: int
    taps: int = 4
    in_bias: bool = False
    chunk: int = 64

    @property
    def inner(self) -> int:
        """Width of all heads."""
        return self.heads * self.head_dim

    @property
    def conv_channels(self) -> int:
        """Channels of the convolution."""
        return self.x_size + self.b_size + self.c_size

    @property
    def in_size(self) -> int:
        """Outputs of the input projection: gate, x, B, C, and one step size a head."""
        return self.inner + self.conv_channels + self.heads

    @property
    def state_elements(self) -> int:
        """Numbers in the recurrent state."""
        return self.heads * self.head_dim * self.state_size

    @property
    def conv_elements(self) -> int:
        """Numbers in the state of the convolution: its previous taps - 1 inputs."""
        return (self.taps - 1) * self.conv_channels

    @property
    def projection_weights(self) -> int:
        """Weights of the projections, each used once a token."""
        return self.hidden * (self.in_size + self.inner)

    @property
    def parameters(self) -> int:
        """All parameters of the mixer: projections, convolution, dt_bias, A_log and D, and the weight of its norm."""
        conv = (self.taps + 1) * self.conv_channels
        return self.projection_weights + self.in_size * self.in_bias + conv + 3 * self.heads + self.inner


@dataclass(frozen=True)
class LayerShape:
    """A layer: a mixer, and a gated feed-forward where ``feed_forward`` (its width) is not 0.

    ``norms`` counts the parameters of the layer's norms.
    """

    mixer: AttentionShape | MambaShape
    feed_forward: int
    norms: int

    @property
    def feed_forward_weights(self) -> int:
        """Weights of the feed-forward's three matrices."""
        return 3 * self.mixer.hidden * self.feed_forward

    @property
    def parameters(self) -> int:
        """All parameters of the layer."""
        return self.mixer.parameters + self.feed_forward_weights + self.norms


@dataclass(frozen=True)
class Blueprint:
    """Sizes of a model, with any plan over its layers.

    Attributes:
        name: for display.
        attention: a layer of kind ``"full_attention"``.
        mamba: a layer of kind ``"linear_attention"``.
        plan: the model's own layers.
        embeddings: parameters of the input tables.
        head: rows of the output, None where it is unknown.
        head_parameters: parameters of the output; 0 where it shares an input table.
        final_norm: parameters of the norm after the last layer.
        rate: tokens per second of speech, Hz.
    """

    name: str
    attention: LayerShape
    mamba: LayerShape
    plan: LayerPlan
    embeddings: int
    head: int | None
    head_parameters: int
    final_norm: int
    rate: float = 25.0

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return self.attention.mixer.hidden

    def layers(self, plan: LayerPlan | None = None) -> list[LayerShape]:
        """The layers under a plan, by default the model's own."""
        kinds = {"full_attention": self.attention, "linear_attention": self.mamba}
        return [kinds[kind] for kind in (plan or self.plan).layer_types]

    def parameters(self, plan: LayerPlan | None = None) -> int:
        """Parameters of the whole model under a plan."""
        return sum(layer.parameters for layer in self.layers(plan)) + (
            self.final_norm + self.embeddings + self.head_parameters
        )


def blueprint_of(config: BackboneConfig, name: str, rate: float = 25.0) -> Blueprint:
    """Sizes of a model of this package, or of one that it can convert.

    Args:
        config: of a speech LM, a causal LM, or a backbone alone, which has neither tables nor a head.
        name: for display.
        rate: tokens per second of speech, Hz.
    """
    width, heads, groups, size = (
        config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim,
    )  # fmt: skip
    attention = AttentionShape(width, heads, groups, size, config.attention_bias)
    mamba = MambaShape(
        hidden=width,
        heads=heads,
        head_dim=size,
        state_size=size,
        x_size=config.key_value_size,
        b_size=config.key_value_size,
        c_size=config.query_size,
        taps=config.mamba_conv_kernel,
        in_bias=config.mamba_qkv_bias,
        chunk=config.mamba_chunk_size,
    )
    embeddings, head, head_parameters = _tables(config)
    return Blueprint(
        name=name,
        attention=LayerShape(attention, config.intermediate_size, 2 * width),
        mamba=LayerShape(mamba, config.intermediate_size, 2 * width),
        plan=config.plan,
        embeddings=embeddings,
        head=head,
        head_parameters=head_parameters,
        final_norm=width,
        rate=rate,
    )


def _tables(config: BackboneConfig) -> tuple[int, int | None, int]:
    """Parameters of the input tables, rows of the head, and its parameters."""
    width = config.hidden_size
    if isinstance(config, SpeechLMConfig):
        rows = config.text_vocab_size + config.speech_vocab_size + 2  # and the special tokens sos and task
        return rows * width, config.speech_vocab_size, config.speech_vocab_size * (width + 1)
    if isinstance(config, CausalLMConfig):
        head = 0 if config.tie_word_embeddings else config.vocab_size * width
        return config.vocab_size * width, config.vocab_size, head
    return 0, None, 0
