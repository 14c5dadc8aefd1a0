"""What would make a better voice of a recording: one sentence for each thing that stands out.

The thresholds were chosen on training speech (LibriSpeech train-clean-100, LJSpeech, cathy, synthetic voices) with noise, band
limits, rooms and second speakers added to it.
"""

from __future__ import annotations

import numpy as np

from mamtra.audio.speech_level import background_db, high_band_db, pauses, shorten_pauses, speech_level

CLIPPED = 0.985
BACKGROUND_DB = 26.0
"""`background_db` of LibriSpeech with white noise at an SNR of 31 dB is 24 in the median, of studio speech 31 or more."""
HEARD_DB = 3.0
HIGH_BAND_DB = -40.0
"""`high_band_db` of speech is above -39, of speech cut at 4 kHz below -42 even under noise."""
QUIET_DB = -45.0
PAUSE_SECONDS = 1.5
_MIN_RATE = 15000


def advise(wave: np.ndarray, rate: int, text: str | None, continued: bool = True) -> list[str]:
    """Sentences on what would make a better voice of samples (T,); none where nothing stands out."""
    advice = []
    seconds = len(wave) / rate
    if seconds < 3:
        advice.append(f"The recording holds {seconds:.1f} s of sound; 5 to 10 s give a closer voice.")
    if np.mean(np.abs(wave) > CLIPPED) > 1e-3:
        advice.append("The recording is clipped; record it at a lower level.")
    if (level := speech_level(wave, rate)) < QUIET_DB:
        advice.append(f"The recording is very quiet ({level:.0f} dBFS); record it closer to the microphone.")
    if np.array_equal(steps := wave * 256, np.round(steps)):  # 8 bits, also as the mean of two channels
        advice.append("The recording has only 8 bits a sample; record it with 16.")
    # without long pauses, whose digital silence would pass for a quiet room
    if (background := background_db(shorten_pauses(wave, rate), rate)) < BACKGROUND_DB:
        advice.append(
            f"Speech is only about {background:.0f} dB above the background; a quieter room gives a closer voice."
            if background >= HEARD_DB
            else "No speech stands out from the background; record someone speaking in a quiet room."
        )
    if rate >= _MIN_RATE and high_band_db(wave, rate) < HIGH_BAND_DB:
        advice.append(
            "There is no sound above about 4 kHz, as on a telephone; record the full band for a closer voice."
        )
    inner = (end - start for start, end in pauses(wave, rate) if start > 0 and end < len(wave) - rate // 50)
    gap = max(inner, default=0) / rate
    if gap >= PAUSE_SECONDS:
        advice.append(f"There is a pause of {gap:.1f} s inside; cut it out.")
    if not continued:
        if text is not None:
            advice.append("This model takes over the sound of a voice only; the transcript is not used.")
    elif text is None:
        advice.append("No transcript was given; with one the voice also takes over rhythm and manner.")
    elif not 4 <= len(text.strip()) / seconds <= 30:
        advice.append("The transcript seems too long or too short for the recording; write each word that is said.")
    return advice
