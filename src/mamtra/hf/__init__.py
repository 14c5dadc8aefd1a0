"""MamTra's language models as models of Hugging Face transformers (extra ``mamtra[hf]``).

Importing this module registers them: afterwards ``AutoConfig`` and ``AutoModelForCausalLM`` read model directories.
"""

from transformers import AutoConfig, AutoModelForCausalLM

from mamtra.hf.config import MamTraConfig
from mamtra.hf.model import MamTraForCausalLM
from mamtra.hf.speech_ids import speech_input_ids

__all__ = ["MamTraConfig", "MamTraForCausalLM", "speech_input_ids"]

AutoConfig.register("mamtra", MamTraConfig)
AutoModelForCausalLM.register(MamTraConfig, MamTraForCausalLM)
