"""All cases of parity fixtures, by name of the file."""

from tests.parity.acoustic import flow, vocoder
from tests.parity.directory import directory
from tests.parity.fixture import Case
from tests.parity.language import arriving_text, generation, sampling, training
from tests.parity.signal import features, speaker_encoder

CASES = {
    "arriving_text": Case(arriving_text, ("tests/engine/test_bistream.py",)),
    "directory": Case(
        directory,
        (
            "tests/checkpoints/cosyvoice/test_lm.py",
            "tests/checkpoints/test_open_lm.py",
            "tests/conversion/test_convert.py",
            "tests/synthesis/test_streaming.py",
        ),
    ),
    "features": Case(features, ("tests/audio/test_features.py",)),
    "flow": Case(flow, ("tests/acoustic/test_flow.py", "tests/acoustic/test_flow_stream.py")),
    "generation": Case(generation, ("tests/engine/test_generate.py",)),
    "sampling": Case(sampling, ("tests/engine/test_sampling.py",)),
    "speaker_encoder": Case(speaker_encoder, ("tests/encoders/test_campplus.py",)),
    "training": Case(training, ("tests/models/test_golden.py", "tests/models/test_layout.py")),
    "vocoder": Case(vocoder, ("tests/acoustic/test_hift.py",)),
}
