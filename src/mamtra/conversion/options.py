"""Options of the transfer from attention to Mamba."""

from __future__ import annotations

from typing import Literal

from mamtra.errors import MamTraError
from mamtra.models.config import BackboneConfig, MambaForm
from mamtra.models.plan import LayerPlan
from mamtra.runtime.strict_models import ClosedModel

Init = Literal["transfer", "xavier", "kaiming"]
QkvBias = Literal["keep", "fold", "drop"]
ConvInit = Literal["identity", "default"]
GateInit = Literal["small", "neutral"]
DtInit = Literal["mamba2", "one"]
AInit = Literal["mamba2", "slow", "one", "neutral"]
DInit = Literal["one", "zero"]


class TransferOptions(ClosedModel):
    """Initialisation of the new mixers.

    With ``form="discrete"``, ``conv_init="identity"``, ``gate_init="neutral"``, ``a_init="neutral"`` and
    ``d_init="zero"`` a layer is the linear attention of the paper's Eq. 4, each head normalised.

    Attributes:
        init: ``transfer`` takes the projections from attention. ``xavier`` and ``kaiming`` initialise x, B, C and the output
            projection randomly, uniform within sqrt(6 / (inputs + outputs)) and sqrt(6 / inputs) for each of these blocks, and
            leave out their biases: the paper's comparison in Figure 6.
        form: of the mixer, see `mamtra.models.mamba.MambaMixer`; None for that of the model.
        qkv_bias: ``keep`` makes the biases of q, k, v those of C, B, x in the input projection. ``fold`` adds them to
            the bias of the convolution, times the sum of the taps: the same function with an identity convolution, and
            with others from position taps - 1 on. ``drop`` leaves them out. A model without biases (Llama)
            has nothing to keep.
        conv_init: ``identity`` lets x, B, C through unmixed (last tap 1, bias 0); ``default`` initialises taps and bias uniform
            within 1/sqrt(taps), as torch's Conv1d and MambaInLlama do.
        gate_init: ``small`` initialises the gate rows normal with standard deviation 0.02, bias 0, close to MambaInLlama; the
            norm after the gate restores its scale, but the gate's sign varies with the input. ``neutral`` sets the rows
            to zero and their bias so that SiLU gives 1; where the input projection has no bias it gets one, zero elsewhere.
        dt_init: ``mamba2``: for each head a step log-uniform in [0.001, 0.1], on which the input has little influence
            (rows normal with standard deviation 0.02). ``one`` is a step of 1 whatever the input.
        a_init: decay rate of each head. ``mamba2`` log-uniform in [1, 16]; ``slow`` log-uniform in [1/64, 1/4]; ``one``
            as in MOHAWK's discrete form; ``neutral`` 1e-9, practically no decay, which training hardly changes. None for
            ``mamba2``, or ``one`` in the discrete form. A head forgets within about 1 / (step * rate) tokens.
        d_init: the input reaches the output directly as well (``one``, as in Mamba-2) or not (``zero``, as in Eq. 4).
    """

    init: Init = "transfer"
    form: MambaForm | None = None
    qkv_bias: QkvBias = "keep"
    conv_init: ConvInit = "identity"
    gate_init: GateInit = "small"
    dt_init: DtInit = "mamba2"
    a_init: AInit | None = None
    d_init: DInit = "one"


def new_mamba_layers(config: BackboneConfig, plan: LayerPlan) -> list[int]:
    """The attention layers that a plan converts to Mamba, ascending."""
    return [i for i in plan.mamba_layers if config.layer_types[i] == "full_attention"]


def student_config(old: BackboneConfig, plan: LayerPlan, options: TransferOptions) -> BackboneConfig:
    """Sizes of the hybrid.

    Args:
        old: sizes of the teacher.
        plan: as many layers as the teacher has.
        options: of the new mixers.

    Raises:
        MamTraError: the plan does not fit the teacher, or the options do not fit its Mamba layers.
    """
    if plan.num_layers != old.num_hidden_layers:
        raise MamTraError(
            f"The plan has {plan.num_layers} layers but the model {old.num_hidden_layers}; make one for this model."
        )
    lost = [i for i in plan.attention_layers if old.layer_types[i] != "full_attention"]
    if lost:
        raise MamTraError(
            f"Layers {lost} are Mamba already and cannot be converted to attention; keep them Mamba in the plan."
        )
    if not new_mamba_layers(old, plan):
        return old.model_copy(update={"layer_types": plan.layer_types})
    form = options.form or old.mamba_form
    kept = old.attention_bias and options.init == "transfer" and options.qkv_bias == "keep"
    bias = kept or options.gate_init == "neutral"
    if old.plan.mamba_layers:
        if form != old.mamba_form:
            raise MamTraError(
                f"The model's Mamba layers have the form {old.mamba_form!r}; use it for the new ones as well."
            )
        if bias and not old.mamba_qkv_bias:
            raise MamTraError(
                "The input projections of the model's Mamba layers have no bias, which a neutral gate and kept biases of "
                "q, k, v need; use gate_init 'small' and qkv_bias 'fold' or 'drop'."
            )
        bias = old.mamba_qkv_bias
    update = {"layer_types": plan.layer_types, "mamba_qkv_bias": bias, "mamba_form": form}
    return old.model_copy(update=update)
